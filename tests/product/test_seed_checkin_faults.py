"""The seed check-in under faults: what fails names its cause and leaves nothing, and the next attempt completes it."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from tests.support.gitlab_client import commit, pipeline_of, settled
from tests.support.seed_checkin import (  # noqa: F401 - the fixtures
    CHECKIN,
    MUTATING,
    PROJECTS,
    Fault,
    Proxy,
    Stack,
    assert_complete,
    behind,
    commits_of,
    stack,
    token,
    variables_of,
)
from tests.support.servers import Aws, Project

pytest_plugins = ["tests.support.gitlab_fixtures"]

# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_crash_at_any_step_is_completed_by_the_next_attempt(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    """Lambda invokes a function again that has died: here it dies after every change it makes in GitLab."""
    proxy = behind(lambda method, path, count: "crash" if method in ("POST", "PUT") and count == 1 else None)
    crashes = 0
    for resource in (PROJECTS, CHECKIN):
        event = stack.event(resource, "Create")
        while not stack.cloudformation.answers:
            process = stack.start(event)
            proxy.crash = process.kill
            process.communicate(timeout=60)
            crashes += process.returncode != 0
            assert crashes < 30
        answer = stack.answered(event)
        assert answer["Status"] == "SUCCESS", answer["Reason"]

    assert crashes >= 14  # two projects, each protected and with its setting, six variables, a token, two commits
    assert_complete(stack)


def test_a_busy_gitlab_does_not_break_it(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    """Every request first meets 502, then 429; of every change that succeeds, the answer is lost once."""

    def fault(method: str, path: str, count: int) -> int | str | None:
        return {1: 502, 2: 429 if method in MUTATING else None, 3: "lost" if method in MUTATING else None}.get(count)

    proxy = behind(fault)
    answer = stack.request("Create", seconds=200)
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert len(proxy.requests) > 50
    assert_complete(stack)


def test_an_answer_that_cloudformation_did_not_take_is_sent_again(stack: Stack) -> None:
    stack.cloudformation.refusals = 2
    assert stack.request("Create")["Status"] == "SUCCESS"


def test_cloudformation_is_answered_before_the_time_is_over(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    behind(lambda method, path, count: 503 if path.endswith("/variables") and method == "POST" else None)
    answer = stack.request("Create", seconds=19)
    assert answer["Status"] == "FAILED"
    assert answer["Reason"] == (
        f"Could not set the CI/CD variables of {stack.group.full_path}/abalone-build: "
        "there was no time left; GitLab answered 503"
    )
    assert stack.request("Delete")["Status"] == "SUCCESS"


def test_gitlab_that_cannot_be_reached_fails_create_but_not_delete(stack: Stack) -> None:
    down = {"GitLabServerUrl": "http://127.0.0.1:9"}
    for kind, status in (("Create", "FAILED"), ("Delete", "SUCCESS")):
        answer = stack.request(kind, seconds=18, **down)
        assert answer["Status"] == status
        assert "find group" in answer["Reason"]
        assert "GitLab cannot be reached: " in answer["Reason"]
        assert "Connection refused" in answer["Reason"]


def test_the_token_follows_no_redirect(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    elsewhere = behind(lambda method, path, count: None)
    behind(lambda method, path, count: 301).elsewhere = elsewhere
    answer = stack.request("Create")
    assert answer["Status"] == "FAILED"
    assert "GitLab redirects to another address" in answer["Reason"]
    assert elsewhere.requests == []


class Refusal(NamedTuple):
    """A stack that cannot work: the properties that make it so, and what the reason must say."""

    changes: Callable[[Stack], dict[str, Any]]
    reason: str


def group_token(stack: Stack) -> dict[str, Any]:
    access_token = stack.group.access_tokens.create({"name": "t", "scopes": ["api"], "access_level": 40})
    return {"GitLabSecretName": stack.secret("other", access_token.token), "GitLabGroupId": "None"}


def seed(stack: Stack, files: dict[str | zipfile.ZipInfo, bytes]) -> dict[str, Any]:
    stack.put_seed("other.zip", files)
    return {"ModelDeploySeedKey": "other.zip"}


def variable(settings: Any) -> dict[str, Any]:
    return {"Variables": {"Build": {"A": settings}}}


REFUSALS = {
    "unknown group": Refusal(lambda stack: {"GitLabGroupId": "987654"}, "no such group"),
    "wrong token": Refusal(
        lambda stack: {"GitLabSecretName": stack.secret("other", "nonsense")}, "refused the access token"
    ),
    "expired token": Refusal(lambda stack: token(stack, expires_at="2020-01-01"), "Token is expired"),
    "token without scope": Refusal(lambda stack: token(stack, scopes=["read_api"]), "lacks the scope api"),
    "group token without its group": Refusal(lambda stack: group_token(stack), "needs the ID of its group"),
    "token with a line break": Refusal(
        lambda stack: {"GitLabSecretName": stack.secret("other", "glpat-1\nglpat-2")}, "does not hold an access token"
    ),
    "secret without token": Refusal(
        lambda stack: {"GitLabSecretName": stack.secret("other", '{"key": "x"}')}, "an entry 'token'"
    ),
    "no secret": Refusal(lambda stack: {"GitLabSecretName": "missing"}, "it does not exist"),
    "no seed": Refusal(lambda stack: {"ModelDeploySeedKey": "missing.zip"}, "it does not exist"),
    "no bucket": Refusal(lambda stack: {"SeedBucket": "no-such-bucket-here"}, "it does not exist"),
    "unsafe file": Refusal(lambda stack: seed(stack, {"../x": b""}), "'../x' is refused"),
    "no CI file": Refusal(lambda stack: seed(stack, {"README.md": b""}), "no .gitlab-ci.yml"),
    "malformed property": Refusal(lambda stack: {"ComponentVersion": "one two"}, "ComponentVersion is 'one two'"),
    "value that cannot be masked": Refusal(
        lambda stack: variable({"value": "short", "masked": "true"}), "variable A: GitLab answered 400"
    ),
    "name that is not allowed": Refusal(lambda stack: {"ModelBuildRepositoryName": "x.git"}, "GitLab answered 400"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_failure_names_its_cause_and_leaves_nothing(stack: Stack, case: str) -> None:
    answer = stack.request("Create", **REFUSALS[case].changes(stack))
    assert answer["Status"] == "FAILED"
    assert REFUSALS[case].reason in answer["Reason"]

    assert stack.request("Delete")["Status"] == "SUCCESS"  # CloudFormation's roll-back
    assert stack.names() == []


def test_a_name_that_is_taken_is_said_and_left_alone(stack: Stack) -> None:
    theirs = stack.server.client.projects.create({"name": "abalone-deploy", "namespace_id": stack.group.id})
    answer = stack.request("Create")
    assert answer["Status"] == "FAILED"
    assert f"{theirs.web_url} exists and was not created by this stack" in answer["Reason"]
    assert stack.names() == ["abalone-deploy"]  # nothing half-made

    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert stack.names() == ["abalone-deploy"]
    assert not variables_of(stack.project("abalone-deploy"))


def test_two_stacks_do_not_share_a_name(stack: Stack, aws: Aws, project: Project) -> None:
    assert stack.request("Create")["Status"] == "SUCCESS"
    stack.start_over()
    answer = stack.request("Create")
    assert answer["Status"] == "FAILED"
    assert "was not created by this stack" in answer["Reason"]
    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert_complete(stack)


def test_the_roll_back_of_a_failed_create_removes_what_nobody_has_touched(
    stack: Stack, behind: Callable[[Fault], Proxy]
) -> None:
    """The last step fails: one repository has its seed, the other is empty."""
    commits: list[str] = []

    def fault(method: str, path: str, count: int) -> int | None:
        if method == "POST" and path.endswith("/commits"):
            commits.append(path)
            return 400 if len(commits) > 1 else None
        return None

    behind(fault)
    assert stack.request("Create")["Status"] == "FAILED"
    assert stack.names() == ["abalone-build", "abalone-deploy"]
    assert commits_of(stack.project("abalone-deploy"))

    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert stack.names() == []


def test_the_roll_back_of_a_failed_create_keeps_peoples_work(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    behind(lambda method, path, count: 400 if method == "POST" and path.endswith("/commits") else None)
    assert stack.request("Create")["Status"] == "FAILED"
    commit(stack.project("abalone-build"), {"work.txt": "hers"})

    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert stack.names() == ["abalone-build"]


def test_the_same_names_work_after_a_failed_create(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    """A path that another project had gets ID tokens only when they name the project by its number."""
    stack.put_seed("build.zip", {".gitlab-ci.yml": b"show: {id_tokens: {TOKEN: {aud: aws}}, script: ['true']}\n"})
    assert stack.request("Create", ModelDeploySeedKey="missing.zip")["Status"] == "FAILED"
    assert stack.request("Delete")["Status"] == "SUCCESS"

    stack.start_over()
    assert stack.request("Create", ModelDeploySeedKey="deploy.zip")["Status"] == "SUCCESS"
    build = stack.project("abalone-build")
    [head] = build.commits.list(get_all=True)
    assert settled(build, pipeline_of(build, head.id)).status == "success"


def test_what_a_maintainer_cannot_delete_is_taken_by_the_next_attempt(stack: Stack) -> None:
    good = stack.properties
    maintainer = token(stack, level=40)
    assert stack.request("Create", **maintainer, ModelDeploySeedKey="missing.zip")["Status"] == "FAILED"
    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert stack.names() == ["abalone-build", "abalone-deploy"]
    left = {stack.project(name).id for name in stack.names()}
    assert not any(variables_of(stack.project(name)) for name in stack.names())

    stack.start_over()
    answer = stack.request("Create", **good | maintainer)
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert_complete(stack)
    assert {stack.project(name).id for name in stack.names()} == left


def test_a_name_is_free_when_its_project_was_renamed(stack: Stack) -> None:
    theirs = stack.server.client.projects.create({"name": "abalone-build", "namespace_id": stack.group.id})
    stack.server.client.projects.update(theirs.id, {"name": "old-build", "path": "old-build"})
    answer = stack.request("Create")
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert stack.names() == ["abalone-build", "abalone-deploy", "old-build"]


def test_a_gitlab_that_knows_no_numbers_in_subjects_gets_paths(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    """GitLab 18.7 to 19.0: the first change of the setting is refused."""
    changes: list[str] = []

    def fault(method: str, path: str, count: int) -> int | None:
        if method == "PUT":
            changes.append(path)
            return 400 if len(changes) == 1 else None
        return None

    behind(fault)
    data = stack.request("Create")["Data"]
    group = stack.group.full_path
    assert data["ModelBuildSubject"] == f"project_path:{group}/abalone-build"
    assert data["ModelDeploySubject"] == f"project_path:{group}/abalone-deploy"
    assert data["SubjectComponents"] == "ref_type,ref,deployment_tier"
    components = ["project_path", "ref_type", "ref"]
    assert stack.project("abalone-build").ci_id_token_sub_claim_components == components
    assert stack.project("abalone-deploy").ci_id_token_sub_claim_components == [*components, "deployment_tier"]

    data = stack.request("Update", ModelBuildRepositoryName="renamed")["Data"]
    assert data["ModelBuildSubject"] == f"project_path:{group}/renamed"


def test_what_is_asked_again_when_nobody_waits_any_more_is_not_done(stack: Stack) -> None:
    """Lambda repeats an invocation that has died minutes later; CloudFormation may have rolled back by then."""
    long_ago = datetime.now(UTC) - timedelta(minutes=10)
    stack.cloudformation.url += f"&X-Amz-Date={long_ago:%Y%m%dT%H%M%SZ}"
    answer = stack.request("Create")
    assert (answer["Status"], answer["Reason"]) == ("FAILED", "Could not read the request: there was no time left")
    assert stack.names() == []
