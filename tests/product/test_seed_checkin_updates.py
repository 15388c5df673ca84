"""The seed check-in when a project's stack is updated or deleted: people's work stays."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gitlab
import pytest

from tests.support.gitlab_client import commit
from tests.support.seed_checkin import (  # noqa: F401 - the fixtures
    JOB,
    Fault,
    Proxy,
    Stack,
    assert_complete,
    at,
    behind,
    commits_of,
    stack,
    token,
    variables_of,
)

pytest_plugins = ["tests.support.gitlab_fixtures"]

# --- update and delete ------------------------------------------------------------------------------------------------


def test_an_update_follows_the_stack_and_keeps_the_work(stack: Stack) -> None:
    created = stack.request("Create")
    build = stack.project("abalone-build")
    commit(build, {"work.txt": "hers"})
    build.variables.create({"key": "HERS", "value": "kept"})
    before = commits_of(build)
    other = stack.server.client.groups.create({"name": f"new-{stack.name}", "path": f"new-{stack.name}"})
    old_token, trigger = stack.secret_value(stack.trigger), stack.secret("trigger-2", "none yet")
    stack.put_seed("new.zip", {".gitlab-ci.yml": JOB.encode(), "new.txt": b"not for existing repositories"})

    answer = stack.request(
        "Update",
        **at(url := stack.server.url.replace("127.0.0.1", "localhost"), other),
        GitLabGroupId=str(other.id),
        ModelBuildRepositoryName="renamed-build",
        ModelDeployRepositoryName="renamed-deploy",
        GitLabSecretName=stack.secret("json", json.dumps({"token": stack.server.token})),
        ModelBuildSeedKey="new.zip",
        ModelDeploySeedKey="new.zip",
        ComponentProjectPath="other/components",
        ComponentVersion="2.0.0",
        TriggerTokenSecretArn=trigger,
        Variables={"Build": {"AWS_REGION": "eu-central-1", "ADDED": "1"}, "Deploy": {}},
    )

    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert answer["Data"]["ModelBuildProjectId"] == created["Data"]["ModelBuildProjectId"]
    assert answer["Data"]["ModelBuildProjectUrl"] == f"{url}/{other.full_path}/renamed-build"
    assert answer["Data"]["ModelDeployCloneUrl"] == f"{url}/{other.full_path}/renamed-deploy.git"
    build = stack.server.client.projects.get(build.id)
    assert commits_of(build) == before
    plain = (False, False)
    assert variables_of(build) == {
        ("AWS_REGION", "*"): ("eu-central-1", *plain), ("ADDED", "*"): ("1", *plain), ("HERS", "*"): ("kept", *plain),
    }  # fmt: skip
    deploy = stack.server.client.projects.get(answer["Data"]["ModelDeployProjectId"])
    assert variables_of(deploy) == {}
    (token,) = deploy.triggers.list(get_all=True)
    assert token.token == stack.secret_value(trigger) != old_token


def test_an_update_that_changes_nothing_here_asks_nobody(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    """A new version of the template, with new seeds: neither GitLab nor its token need to be there."""
    proxy = behind(lambda method, path, count: None)
    assert stack.request("Create")["Status"] == "SUCCESS"
    proxy.requests.clear()
    stack.aws.client("secretsmanager").put_secret_value(SecretId=stack.token, SecretString="glpat-expired")
    changes: dict[str, Any] = {"ComponentVersion": "1.1.0", "ModelBuildSeedKey": "new.zip", "SeedBucket": "another"}
    assert stack.request("Update", **changes)["Status"] == "SUCCESS"
    assert proxy.requests == []
    assert_complete(stack)


def test_approvals_start_pipelines_again_after_the_access_token_was_revoked(stack: Stack) -> None:
    """The bot of a group access token goes with it, and takes along its trigger token."""

    def start() -> int:
        token = stack.secret_value(stack.trigger)
        try:
            stack.server.client.projects.get(number, lazy=True).trigger_pipeline("main", token)
        except gitlab.GitlabError as error:
            return int(error.response_code or 0)
        return 201

    settings = {"name": "sagemaker", "scopes": ["api"], "access_level": 50}  # only Owners let variables in
    lost = stack.group.access_tokens.create(settings)
    answer = stack.request("Create", GitLabSecretName=stack.secret("lost", lost.token))
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    number = answer["Data"]["ModelDeployProjectId"]
    assert start() == 201

    stack.group.access_tokens.delete(lost.id)
    assert start() == 404

    new = stack.group.access_tokens.create(settings)
    answer = stack.request("Update", GitLabSecretName=stack.secret("new", new.token))
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert start() == 201


def test_with_another_key_the_trigger_token_is_stored_anew(stack: Stack) -> None:
    stack.request("Create")
    old = stack.secret_value(stack.trigger)
    for key in ("arn:aws:kms:eu-west-1:123456789012:key/1-2", ""):
        assert stack.request("Update", KmsKeyArn=key)["Status"] == "SUCCESS"
        [trigger] = stack.project("abalone-deploy").triggers.list(get_all=True)
        assert trigger.token == stack.secret_value(stack.trigger) != old
        old = trigger.token


def test_a_failed_update_is_rolled_back(stack: Stack) -> None:
    stack.request("Create")
    good = stack.properties
    stack.server.client.projects.create({"name": "theirs", "namespace_id": stack.group.id})
    changes: dict[str, Any] = {"ModelBuildRepositoryName": "mine", "ModelDeployRepositoryName": "theirs"}
    answer = stack.request("Update", **changes)
    assert answer["Status"] == "FAILED"
    assert "abalone-deploy to theirs: the name is taken" in answer["Reason"]

    assert stack.request("Update", **good)["Status"] == "SUCCESS"
    assert stack.names() == ["abalone-build", "abalone-deploy", "theirs"]

    assert stack.request("Update", TriggerTokenSecretArn="one two")["Status"] == "FAILED"
    assert stack.request("Update", **good)["Status"] == "SUCCESS"


def test_a_project_cannot_change_its_server(stack: Stack) -> None:
    stack.request("Create")
    for name in ("build", "deploy"):  # what a project of the same number on another server would look like
        project = stack.project(f"abalone-{name}")
        project.description = "something else"
        project.save()
    answer = stack.request("Update", **at(stack.server.url.replace("127.0.0.1", "localhost"), stack.group))
    assert answer["Status"] == "FAILED"
    assert "cannot change its server" in answer["Reason"]


def test_an_update_of_a_project_that_is_gone_says_so(stack: Stack) -> None:
    stack.request("Create")
    stack.project("abalone-build").delete()
    updates: tuple[dict[str, Any], ...] = ({"ModelBuildRepositoryName": "renamed"}, {"Variables": {}})
    for change in updates:
        answer = stack.request("Update", **change)
        assert answer["Status"] == "FAILED"
        assert "is gone" in answer["Reason"]
    assert stack.request("Delete")["Status"] == "SUCCESS"


def test_deleting_the_stack_leaves_the_repositories_and_revokes_the_token(stack: Stack) -> None:
    stack.request("Create")
    token = stack.secret_value(stack.trigger)
    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert stack.names() == ["abalone-build", "abalone-deploy"]
    deploy = stack.project("abalone-deploy")
    assert commits_of(deploy) == ["Start from the model deploy seed [skip ci]"]
    with pytest.raises(gitlab.GitlabError):
        deploy.trigger_pipeline("main", token)


def test_a_stack_without_its_secret_can_be_deleted(stack: Stack) -> None:
    stack.request("Create")
    answer = stack.request("Delete", GitLabSecretName="missing")
    assert answer["Status"] == "SUCCESS"
    assert "Could not read the access token in secret missing" in answer["Reason"]
