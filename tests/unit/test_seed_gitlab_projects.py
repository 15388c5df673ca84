"""What Custom::GitLabProjects decides on its own: its properties, what the base URL must be, what it answers."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from seed_checkin import gitlab_api, gitlab_projects, request
from seed_checkin.reasons import CheckinFailed

PROPERTIES = {
    "GitLabServerUrl": "https://gitlab.example.com",
    "GitLabGroupId": "42",
    "GitLabSecretName": "token",
    "GitLabBaseUrl": "https://gitlab.example.com/data-science/ml",
    "ModelBuildRepositoryName": "abalone-build",
    "ModelDeployRepositoryName": "abalone-deploy",
}


def test_none_is_the_namespace_of_the_tokens_owner() -> None:
    assert request.read_projects(PROPERTIES).group_id == 42
    assert request.read_projects(PROPERTIES | {"GitLabGroupId": "None"}).group_id is None


def test_the_repositories_have_different_names() -> None:
    with pytest.raises(CheckinFailed, match="different names"):
        request.read_projects(PROPERTIES | {"ModelDeployRepositoryName": "Abalone-Build"})


@pytest.mark.parametrize("change", [{"GitLabGroupId": "my-group"}, {"GitLabBaseUrl": ""}])
def test_wrong_properties_are_named(change: dict[str, str]) -> None:
    with pytest.raises(CheckinFailed, match=next(iter(change))):
        request.read_projects(PROPERTIES | change)


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
    properties = request.read_projects(PROPERTIES | {"GitLabBaseUrl": base_url})
    if fits:
        gitlab_projects.require_base_url(properties, path)
        return
    with pytest.raises(CheckinFailed, match=f"but group 42 is at https://gitlab.example.com/{path}"):
        gitlab_projects.require_base_url(properties, path)


def test_the_answer_to_a_roll_back_is_that_of_the_creation() -> None:
    """So the resources that use it stay as they were though GitLab cannot be asked."""
    properties = request.read_projects(PROPERTIES)
    for current in (
        gitlab_projects.Identity(4711, 4712, by_path=False),
        gitlab_projects.Identity(4711, 4712, by_path=True),
    ):
        assert gitlab_projects.identity(current.physical_id) == current
        event = {"ResourceProperties": PROPERTIES, "PhysicalResourceId": current.physical_id}
        assert gitlab_projects.unchanged(event).attributes == gitlab_projects.attributes(
            properties, "data-science/ml", current
        )
    assert gitlab_projects.identity("not-created-4711") is None


def test_a_project_that_gitlab_is_about_to_delete_is_left_alone() -> None:
    """Deletion takes days, and asking for it again is an error."""
    project = Mock(attributes={"marked_for_deletion_on": "2026-11-22"})
    gitlab_api.give_up(project)
    project.delete.assert_not_called()
