"""A small burst of approvals through the deployed trigger; `make bench` measures the large one."""

from __future__ import annotations

import pytest

from bench import burst


@pytest.mark.timeout(300)
def test_every_approval_of_a_burst_starts_its_pipeline_once_though_gitlab_often_fails() -> None:
    found = burst.run(approvals=30, groups=3, limit=120)

    assert found.failures > 0
    assert (found.lost, found.double, found.wrong) == (0, 0, 0)
    assert found.started == found.approvals == 30
