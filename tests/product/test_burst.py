"""A small burst of approvals through the deployed trigger; `make bench` measures the large one."""

from __future__ import annotations

import pytest

from bench import burst


@pytest.mark.timeout(300)
def test_every_approval_of_a_burst_starts_its_pipeline_once_though_gitlab_often_fails() -> None:
    result = burst.run(approvals=12, groups=3, limit=120)

    assert result.failures > 0
    assert (result.lost, result.double, result.wrong) == (0, 0, 0)
    assert result.started == result.approvals == 12


@pytest.mark.timeout(300)
def test_no_approval_is_deployed_twice_or_lost_though_functions_are_killed_and_answers_get_lost() -> None:
    result = burst.run(approvals=8, groups=2, limit=150, lossy=True)

    assert result.kills > 0
    assert result.started > result.approvals == 8  # some pipelines were started twice
    assert (result.lost, result.double, result.wrong) == (0, 0, 0)
