"""What Custom::GitLabNamespace decides on its own: its properties, and whether base URL and group belong together."""

from __future__ import annotations

import pytest

from infra.functions.seed_checkin import namespace
from infra.functions.seed_checkin.reasons import CheckinFailed

GIVEN = {
    "GitLabServerUrl": "https://gitlab.example.com",
    "GitLabGroupId": "42",
    "GitLabSecretName": "token",
    "GitLabBaseUrl": "https://gitlab.example.com/data-science/ml",
}


def test_none_is_the_namespace_of_the_tokens_owner() -> None:
    assert namespace.read(GIVEN).group_id == 42
    assert namespace.read(GIVEN | {"GitLabGroupId": "None"}).group_id is None


@pytest.mark.parametrize("change", [{"GitLabGroupId": "my-group"}, {"GitLabBaseUrl": ""}])
def test_wrong_properties_are_named(change: dict[str, str]) -> None:
    with pytest.raises(CheckinFailed, match=next(iter(change))):
        namespace.read(GIVEN | change)


@pytest.mark.parametrize(
    ("base_url", "path", "fits"),
    [
        ("https://gitlab.example.com/data-science/ml", "data-science/ml", True),
        ("https://gitlab.example.com/data-science/ml/", "data-science/ml", True),
        ("https://gitlab.example.com/Data-Science/ML", "data-science/ml", True),  # GitLab finds paths in any case
        ("https://gitlab.example.com/data-science", "data-science/ml", False),
        ("https://elsewhere.example.com/data-science/ml", "data-science/ml", False),
    ],
)
def test_base_url_and_group_belong_together(base_url: str, path: str, fits: bool) -> None:
    wanted = namespace.read(GIVEN | {"GitLabBaseUrl": base_url})
    if fits:
        namespace.require_base_url(wanted, path)
        return
    with pytest.raises(CheckinFailed, match=f"but group 42 is at https://gitlab.example.com/{path}"):
        namespace.require_base_url(wanted, path)
