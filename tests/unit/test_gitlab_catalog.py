"""The sandbox's GitLab: which published version a component's reference means."""

from __future__ import annotations

import pytest

from sandbox.gitlab.config.catalog import find

VERSIONS = dict.fromkeys(["0.9.0", "1.0.0", "1.0.2", "1.0.10", "1.2.0", "2.0.0-rc.1", "1.3.0-alpha"], "sha")


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("1.0.0", "1.0.0"),
        ("2.0.0-rc.1", "2.0.0-rc.1"),
        ("1.0", "1.0.10"),
        ("1", "1.2.0"),
        ("0", "0.9.0"),
        ("~latest", "1.2.0"),
        ("2", None),
        ("1.3", None),
        ("1.0.1", None),
        ("10", None),
        ("v1", None),
        ("main", None),
        ("", None),
    ],
)
def test_a_short_version_is_the_newest_of_its_line_and_never_a_pre_release(reference: str, version: str | None) -> None:
    assert find(reference, VERSIONS) == version


def test_the_first_version_is_the_latest_and_none_is_not() -> None:
    assert find("~latest", {"0.1.0": "sha"}) == "0.1.0"
    assert find("~latest", {"0.1.0-rc.1": "sha"}) is None
    assert find("1", {}) is None
