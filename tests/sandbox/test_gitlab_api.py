"""The REST API of the sandbox's GitLab, by python-gitlab: projects, tokens, variables, commits, git."""

from __future__ import annotations

import base64
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import gitlab
import pytest
import requests
from gitlab.exceptions import (
    GitlabAuthenticationError,
    GitlabCreateError,
    GitlabDeleteError,
    GitlabGetError,
    GitlabUpdateError,
)

from tests.support.git import git, with_token
from tests.support.gitlab_client import GitLab, commit

pytest_plugins = ["tests.support.gitlab_fixtures"]

# --- users, groups, projects ----------------------------------------------------------------------------------------


def test_the_root_token_is_private_and_belongs_to_the_administrator(gitlab_server: GitLab) -> None:
    gitlab_server.client.auth()
    user = gitlab_server.client.user
    assert user is not None
    assert user.username == "root"
    assert (gitlab_server.state / "root-token").stat().st_mode & 0o777 == 0o600


def test_a_project_is_found_by_id_and_by_path(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    projects = gitlab_server.client.projects
    path = f"{group.path}/demo"
    assert projects.get(path).id == projects.get(repository.id).id
    assert projects.get(path).default_branch == "main"
    assert [project.path_with_namespace for project in group.projects.list()] == [path]
    assert repository.http_url_to_repo == f"{gitlab_server.url}/{path}.git"


def test_a_project_is_created_in_the_own_namespace_without_a_group(gitlab_server: GitLab) -> None:
    project = gitlab_server.client.projects.create({"name": "My Own Project"})
    assert project.path_with_namespace == "root/my-own-project"
    project.delete()
    assert gitlab_server.client.projects.get(project.id).marked_for_deletion_on
    assert project.id not in [each.id for each in gitlab_server.client.projects.list(get_all=True)]


def test_a_taken_name_is_refused(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    with pytest.raises(GitlabCreateError, match="has already been taken") as project_error:
        gitlab_server.client.projects.create({"name": "demo", "namespace_id": group.id})
    assert project_error.value.response_code == 400
    with pytest.raises(GitlabCreateError, match="has already been taken"):
        gitlab_server.client.groups.create({"name": "x", "path": group.path})


def test_a_moved_project_is_redirected_to_by_its_number(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    gitlab_server.client.projects.update(repository.id, {"path": "moved"})
    address = f"{gitlab_server.url}/api/v4/projects/{group.path}%2Fdemo/triggers"
    headers = {"PRIVATE-TOKEN": gitlab_server.token}
    answer = requests.get(address, headers=headers, allow_redirects=False, timeout=10)
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"{gitlab_server.url}/api/v4/projects/{repository.id}/triggers"
    assert requests.post(address, headers=headers, timeout=10).status_code == 405
    stranger = gitlab_server.user(None, 0)
    with pytest.raises(GitlabGetError, match="404"):
        stranger.projects.get(f"{group.path}/demo")
    gitlab_server.client.projects.create({"name": "demo", "namespace_id": group.id})  # the path is free
    assert gitlab_server.client.projects.get(f"{group.path}/demo").id != repository.id


def test_who_creates_a_project_in_a_group_has_no_more_rights_than_in_the_group(
    gitlab_server: GitLab, group: Any
) -> None:
    maintainer = gitlab_server.user(group, 40)
    project = maintainer.projects.create({"name": "mine", "namespace_id": group.id})
    project.variables.create({"key": "A", "value": "b"})
    with pytest.raises(GitlabDeleteError) as refused:
        project.delete()
    assert refused.value.response_code == 403


def test_the_subject_of_id_tokens_begins_with_the_project(gitlab_server: GitLab, repository: Any) -> None:
    projects = gitlab_server.client.projects
    for components in (["ref"], ["project_id", "user_login"]):
        with pytest.raises(GitlabUpdateError, match="sub claim"):
            projects.update(repository.id, {"ci_id_token_sub_claim_components": components})


def test_a_private_project_is_invisible_to_others(gitlab_server: GitLab, repository: Any) -> None:
    stranger = gitlab_server.user(None, 0)
    with pytest.raises(GitlabGetError) as error:
        stranger.projects.get(repository.id)
    assert error.value.response_code == 404
    assert repository.id not in [project.id for project in stranger.projects.list(get_all=True)]


def test_a_developer_may_not_change_settings(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    project = gitlab_server.user(group, 30).projects.get(repository.id)
    with pytest.raises(GitlabCreateError) as error:
        project.variables.create({"key": "A", "value": "b"})
    assert error.value.response_code == 403


def test_lists_come_in_pages(gitlab_server: GitLab, repository: Any) -> None:
    for number in range(5):
        repository.triggers.create({"description": str(number)})
    url = f"{gitlab_server.url}/api/v4/projects/{repository.id}/triggers"
    answer = requests.get(url, headers={"PRIVATE-TOKEN": gitlab_server.token}, params={"per_page": 2}, timeout=10)
    assert answer.headers["X-Total"] == "5"
    assert answer.headers["X-Next-Page"] == "2"
    assert 'rel="next"' in answer.headers["Link"]
    assert [t.description for t in repository.triggers.list(per_page=2, get_all=True)] == list("01234")
    assert len(list(repository.triggers.list(per_page=2, iterator=True))) == 5


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_a_wrong_token_is_unauthorized(gitlab_server: GitLab) -> None:
    with pytest.raises(GitlabAuthenticationError):
        gitlab.Gitlab(gitlab_server.url, private_token="glpat-wrong").projects.list()
    assert requests.get(f"{gitlab_server.url}/api/v4/projects", timeout=10).json() == {"message": "401 Unauthorized"}


def test_an_access_token_works_as_bearer_until_it_is_revoked(
    gitlab_server: GitLab, group: Any, repository: Any
) -> None:
    access_token = group.access_tokens.create({"name": "bot", "scopes": ["api"], "access_level": 40})
    bot = gitlab.Gitlab(gitlab_server.url, oauth_token=access_token.token)
    assert bot.projects.get(repository.id).id == repository.id
    access_token.delete()
    with pytest.raises(GitlabAuthenticationError):
        bot.projects.get(repository.id)


def test_an_expired_token_says_so(gitlab_server: GitLab, repository: Any) -> None:
    yesterday = (date.today() - timedelta(days=1)).isoformat()
    access_token = repository.access_tokens.create({"name": "old", "scopes": ["api"], "expires_at": yesterday})
    with pytest.raises(GitlabAuthenticationError, match="invalid_token") as error:
        gitlab.Gitlab(gitlab_server.url, private_token=access_token.token).projects.list()
    assert error.value.response_code == 401
    assert b"Token is expired" in (error.value.response_body or b"")


def test_a_token_that_may_only_read_cannot_write(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    reader = gitlab_server.user(group, 40, scopes=("read_api",)).projects.get(repository.id)
    with pytest.raises(GitlabCreateError, match="insufficient_scope") as error:
        reader.triggers.create({"description": "x"})
    assert error.value.response_code == 403


# --- variables ------------------------------------------------------------------------------------------------------


def test_variables_are_kept_by_key_and_scope(repository: Any) -> None:
    repository.variables.create({"key": "ROLE", "value": "all"})
    repository.variables.create({"key": "ROLE", "value": "prod", "environment_scope": "prod", "protected": True})
    assert {v.environment_scope: v.value for v in repository.variables.list()} == {"*": "all", "prod": "prod"}
    with pytest.raises(GitlabCreateError, match="has already been taken"):
        repository.variables.create({"key": "ROLE", "value": "again"})
    repository.variables.update("ROLE", {"value": "new", "filter": {"environment_scope": "prod"}})
    variable = repository.variables.get("ROLE", filter={"environment_scope": "prod"})
    assert (variable.value, variable.protected) == ("new", True)


@pytest.mark.parametrize(
    "variable",
    [
        {"key": "with-hyphen", "value": "x"},
        {"key": "SECRET", "value": "short", "masked": True},
        {"key": "SECRET", "value": "two words here", "masked": True},
        {"key": "FILE", "value": "x", "variable_type": "folder"},
        {"value": "no key"},
    ],
)
def test_a_variable_that_gitlab_refuses_is_refused(gitlab_server: GitLab, repository: Any, variable: Any) -> None:
    url = f"{gitlab_server.url}/api/v4/projects/{repository.id}/variables"
    answer = requests.post(url, json=variable, headers={"PRIVATE-TOKEN": gitlab_server.token}, timeout=10)
    assert answer.status_code == 400
    assert repository.variables.list() == []


def test_a_hidden_variable_never_shows_its_value(repository: Any) -> None:
    variable = repository.variables.create({"key": "SECRET", "value": "0123456789", "masked_and_hidden": True})
    assert (variable.value, variable.hidden, variable.masked) == (None, True, True)


# --- commits and files ----------------------------------------------------------------------------------------------


def test_one_commit_creates_updates_moves_and_deletes(repository: Any) -> None:
    binary = bytes(range(256)) * 20
    encoded = base64.b64encode(binary).decode()
    actions = [
        {"action": "create", "file_path": "a b/ü.txt", "content": "one\n"},
        {"action": "create", "file_path": "data.bin", "content": encoded, "encoding": "base64"},
        {"action": "create", "file_path": "run.sh", "content": "#!/bin/sh\n", "execute_filemode": True},
        {"action": "create", "file_path": "old.txt", "content": "old\n"},
    ]
    first = repository.commits.create({"branch": "main", "commit_message": "First\n\nBody", "actions": actions})
    assert (first.title, first.parent_ids) == ("First", [])
    actions = [
        {"action": "update", "file_path": "a b/ü.txt", "content": "two\n"},
        {"action": "move", "file_path": "new.txt", "previous_path": "old.txt"},
        {"action": "chmod", "file_path": "run.sh", "execute_filemode": False},
        {"action": "delete", "file_path": "data.bin"},
    ]
    second = repository.commits.create({"branch": "main", "commit_message": "Second", "actions": actions})
    assert second.parent_ids == [first.id]
    tree = {e["path"]: e["mode"] for e in repository.repository_tree(recursive=True) if e["type"] == "blob"}
    assert tree == {"a b/ü.txt": "100644", "new.txt": "100644", "run.sh": "100644"}
    assert repository.files.get("a b/ü.txt", ref="main").decode() == b"two\n"
    assert repository.files.raw("data.bin", ref=first.id) == binary
    assert repository.files.get("run.sh", ref=first.id).execute_filemode is True
    assert [c.title for c in repository.commits.list()] == ["Second", "First"]


@pytest.mark.parametrize(
    ("branch", "action", "message"),
    [
        ("main", {"action": "create", "file_path": "README.md", "content": ""}, "already exists"),
        ("main", {"action": "update", "file_path": "nope", "content": ""}, "doesn't exist"),
        ("main", {"action": "create", "file_path": "../out", "content": ""}, "path"),
        ("other", {"action": "create", "file_path": "x", "content": ""}, "when you are on a branch"),
    ],
)
def test_a_commit_that_cannot_be_changes_nothing(repository: Any, branch: str, action: Any, message: str) -> None:
    head = commit(repository, {"README.md": "# x\n"}).id
    actions = [{"action": "create", "file_path": "fine", "content": ""}, action]
    with pytest.raises(GitlabCreateError, match=message) as error:
        repository.commits.create({"branch": branch, "commit_message": "x", "actions": actions})
    assert error.value.response_code == 400
    assert [c.id for c in repository.commits.list()] == [head]


def test_the_first_default_branch_is_protected(gitlab_server: GitLab, group: Any, repository: Any) -> None:
    assert repository.protectedbranches.list() == []
    commit(repository, {"a": "1"})
    (branch,) = repository.protectedbranches.list()
    assert (branch.name, branch.push_access_levels[0]["access_level"]) == ("main", 40)
    with pytest.raises(GitlabCreateError, match="already exists") as conflict:
        repository.protectedbranches.create({"name": "main"})
    assert conflict.value.response_code == 409
    developer = gitlab_server.user(group, 30).projects.get(repository.id)
    with pytest.raises(GitlabCreateError, match="not allowed to push") as error:
        commit(developer, {"b": "2"})
    assert error.value.response_code == 403
    assert commit(developer, {"b": "2"}, branch="feature", start_branch="main").parent_ids


def test_branches_and_tags(repository: Any) -> None:
    sha = commit(repository, {"a": "1"}).id
    repository.branches.create({"branch": "feature/x", "ref": "main"})
    repository.tags.create({"tag_name": "1.0.0", "ref": "main"})
    assert repository.branches.get("feature/x").commit["id"] == sha
    assert [tag.name for tag in repository.tags.list()] == ["1.0.0"]
    with pytest.raises(GitlabCreateError, match="already exists"):
        repository.branches.create({"branch": "feature/x", "ref": "main"})
    repository.branches.delete("feature/x")
    with pytest.raises(GitlabDeleteError):
        repository.branches.delete("main")


def test_a_merge_request_is_opened_once_and_merged(repository: Any) -> None:
    commit(repository, {"a": "1"})
    commit(repository, {"b": "2"}, branch="feature", start_branch="main")
    request = {"source_branch": "feature", "target_branch": "main", "title": "Add b"}
    opened = repository.mergerequests.create(request)
    with pytest.raises(GitlabCreateError, match="Another open merge request already exists") as error:
        repository.mergerequests.create(request)
    assert error.value.response_code == 409
    opened.merge()
    assert repository.mergerequests.get(opened.iid).state == "merged"
    assert repository.files.raw("b", ref="main") == b"2"


# --- git ------------------------------------------------------------------------------------------------------------


def test_git_clones_and_pushes_with_a_token(gitlab_server: GitLab, repository: Any, tmp_path: Path) -> None:
    url = with_token(repository.http_url_to_repo, gitlab_server.token)
    git("init", "--quiet", "--initial-branch=main", cwd=tmp_path)
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 12_000)  # larger than git's post buffer: comes in chunks
    git("add", ".", cwd=tmp_path)
    git("commit", "--quiet", "-m", "Release", cwd=tmp_path)
    git("tag", "-a", "1.0.0", "-m", "Release", cwd=tmp_path)
    pushed = git("push", url, "main", "1.0.0", cwd=tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    assert repository.tags.get("1.0.0").commit["title"] == "Release"
    cloned = git("clone", "--quiet", "--branch", "1.0.0", url.removesuffix(".git"), "copy", cwd=tmp_path)
    assert cloned.returncode == 0, cloned.stderr
    assert (tmp_path / "copy" / "large.bin").stat().st_size == 256 * 12_000


def test_git_is_refused_without_a_token_and_to_strangers(
    gitlab_server: GitLab, repository: Any, tmp_path: Path
) -> None:
    assert (
        "could not read Username"
        in git("-c", "core.askPass=", "clone", repository.http_url_to_repo, cwd=tmp_path).stderr
    )
    stranger = gitlab_server.user(None, 0).private_token
    assert "not found" in git("clone", with_token(repository.http_url_to_repo, stranger or ""), cwd=tmp_path).stderr


def test_a_push_to_a_protected_branch_needs_a_maintainer(
    gitlab_server: GitLab, group: Any, repository: Any, tmp_path: Path
) -> None:
    commit(repository, {"a": "1"})
    url = with_token(repository.http_url_to_repo, gitlab_server.user(group, 30).private_token or "")
    git("clone", "--quiet", url, ".", cwd=tmp_path)
    git("commit", "--quiet", "--allow-empty", "-m", "x", cwd=tmp_path)
    assert git("push", "--quiet", "origin", "main", cwd=tmp_path).returncode != 0
    assert git("push", "--quiet", "origin", "main:feature", cwd=tmp_path).returncode == 0
    assert {branch.name for branch in repository.branches.list()} == {"main", "feature"}


def test_an_unknown_route_and_a_wrong_body_are_client_errors(gitlab_server: GitLab, repository: Any) -> None:
    headers = {"PRIVATE-TOKEN": gitlab_server.token, "Content-Type": "application/json"}
    answer = requests.get(f"{gitlab_server.url}/api/v4/nope", headers=headers, timeout=10)
    assert answer.status_code == 501
    assert answer.json() == {"message": "the sandbox does not have GET /nope"}
    url = f"{gitlab_server.url}/api/v4/projects/{repository.id}/triggers"
    assert requests.post(url, data="{", headers=headers, timeout=10).status_code == 400
    with pytest.raises(GitlabUpdateError):
        gitlab_server.client.projects.update(repository.id, {"visibility": "secret"})
