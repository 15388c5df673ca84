"""Who may do what with schedules, members, users and protected environments, as GitLab's source says it.

lib/api/ci/pipeline_schedules.rb and app/policies/ci/pipeline_schedule_policy.rb, lib/api/members.rb, lib/api/users.rb,
ee/lib/api/protected_environments.rb.
"""

from __future__ import annotations

from typing import Any

import gitlab
import pytest
from gitlab.exceptions import GitlabError

from tests.support.gitlab_client import GitLab, commit

pytest_plugins = ["tests.support.gitlab_fixtures"]
NIGHTLY = {"description": "nightly", "ref": "main", "cron": "0 1 * * *"}


@pytest.fixture
def schedule(repository: Any) -> Any:
    """A schedule of the administrator's."""
    commit(repository, {".gitlab-ci.yml": "a: {script: ['true']}\n"})
    repository.ci_pipeline_variables_minimum_override_role = "developer"
    repository.save()
    return repository.pipelineschedules.create(NIGHTLY)


def as_member(gitlab_server: GitLab, repository: Any, level: int) -> Any:
    """The repository as a member of this access level sees it."""
    return gitlab_server.user(repository, level).projects.get(repository.id)


def refused(error: pytest.ExceptionInfo[GitlabError]) -> tuple[int | None, str]:
    return error.value.response_code, str(error.value.error_message)


def test_a_schedule_is_changed_by_its_owner_and_by_a_maintainer_who_has_taken_it_over(
    gitlab_server: GitLab, repository: Any, schedule: Any
) -> None:
    seen = as_member(gitlab_server, repository, 40).pipelineschedules.get(schedule.id)
    with pytest.raises(GitlabError) as error:
        seen.manager.update(seen.id, {"active": False})
    assert refused(error) == (403, "403 Forbidden")
    with pytest.raises(GitlabError) as error:
        seen.variables.create({"key": "A", "value": "b"})
    assert refused(error) == (403, "403 Forbidden")
    path = f"/projects/{repository.id}/pipeline_schedules/{schedule.id}/take_ownership"
    raw = seen.manager.gitlab
    assert raw.http_request("POST", path).status_code == 201
    assert raw.http_request("POST", path).status_code == 200  # it is the caller's already
    seen.manager.update(seen.id, {"active": False})
    assert repository.pipelineschedules.get(schedule.id).active is False


def test_a_maintainer_deletes_the_schedule_of_another_and_a_developer_does_not(
    gitlab_server: GitLab, repository: Any, schedule: Any
) -> None:
    for level in (30, 40):
        seen = as_member(gitlab_server, repository, level).pipelineschedules.get(schedule.id)
        if level == 30:
            for attempt in (seen.delete, seen.take_ownership):
                with pytest.raises(GitlabError) as error:
                    attempt()
                assert refused(error) == (403, "403 Forbidden")
        else:
            seen.delete()
    assert repository.pipelineschedules.list() == []


def test_a_schedule_has_variables_where_the_project_lets_its_owner_set_them(repository: Any, schedule: Any) -> None:
    schedule.variables.create({"key": "A", "value": "b"})
    path = f"/projects/{repository.id}/pipeline_schedules/{schedule.id}/variables"
    assert repository.manager.gitlab.http_get(f"{path}/A")["value"] == "b"
    repository.ci_pipeline_variables_minimum_override_role = "no_one_allowed"
    repository.save()
    with pytest.raises(GitlabError) as error:
        schedule.variables.create({"key": "B", "value": "c"})
    assert refused(error) == (403, "403 Forbidden")
    with pytest.raises(GitlabError) as error:
        repository.manager.gitlab.http_get(f"{path}/B")
    assert refused(error) == (404, "404 Pipeline Schedule Variable Not Found")


def test_a_member_takes_a_level_and_a_user_and_is_found_by_number(gitlab_server: GitLab, repository: Any) -> None:
    member = gitlab_server.user(repository, 30)
    member.auth()
    user: Any = member.user
    assert [each.id for each in repository.members.list(query_parameters={"user_ids[]": user.id})] == [user.id]
    client = repository.manager.gitlab
    path = f"/projects/{repository.id}/members"
    for data, answer in (
        ({}, (400, "access_level is missing, user_id is missing")),
        ({"access_level": 30, "user_id": 99_999}, (404, "404 User Not Found")),
        ({"access_level": 30, "user_id": user.id}, (409, "Member already exists")),
        ({"access_level": 31, "user_id": user.id}, (400, "access_level does not have a valid value")),
    ):
        with pytest.raises(GitlabError) as error:
            client.http_post(path, post_data=data)
        assert refused(error) == answer


def test_a_new_user_has_an_address_and_some_way_to_a_password(gitlab_server: GitLab) -> None:
    with pytest.raises(gitlab.GitlabCreateError) as error:
        gitlab_server.client.users.create({"name": "Ada", "username": "ada"})
    assert refused(error) == (400, "email is missing")
    with pytest.raises(gitlab.GitlabCreateError) as error:
        gitlab_server.client.users.create({"email": "ada@example.com", "name": "Ada", "username": "ada"})
    assert refused(error)[1].endswith("are missing, at least one parameter must be provided")


def test_protected_environments_are_sorted_by_name_and_protected_once(repository: Any) -> None:
    for name in ("staging", "prod"):
        repository.protected_environments.create({"name": name, "deploy_access_levels": [{"access_level": 40}]})
    assert [each.name for each in repository.protected_environments.list()] == ["prod", "staging"]
    for data, answer in (
        ({}, (409, "Environment 'prod' is already protected")),
        ({"required_approval_count": 1}, (422, "Parameter 'required_approval_count' is deprecated")),
    ):
        with pytest.raises(GitlabError) as error:
            repository.protected_environments.create(
                {"name": "prod", "deploy_access_levels": [{"access_level": 40}], **data}
            )
        code, message = refused(error)
        assert (code, message.startswith(answer[1])) == (answer[0], True)
