"""The REST API of the sandbox's GitLab, by python-gitlab: triggers, pipelines, jobs."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import gitlab
import pytest
import requests
from gitlab.exceptions import (
    GitlabAuthenticationError,
    GitlabCreateError,
    GitlabGetError,
    GitlabJobPlayError,
    GitlabOperationError,
)

from tests.support.gitlab_client import GitLab, commit, job_of, pipeline_of, run, settled

pytest_plugins = ["tests.support.gitlab_fixtures"]

# --- pipelines through the API --------------------------------------------------------------------------------------

TRIGGERED = """
spec:
  inputs:
    arn: {default: ""}
    count: {type: number, default: 1}
---
show:
  rules: [{if: $CI_PIPELINE_SOURCE == "trigger"}, {if: $CI_PIPELINE_SOURCE == "api"}]
  variables: {ARN: "$[[ inputs.arn ]]", COUNT: "$[[ inputs.count ]]"}
  script: ['echo "arn=$ARN count=$COUNT source=$CI_PIPELINE_SOURCE"']
"""


@pytest.fixture
def triggered(repository: Any) -> Any:
    commit(repository, {".gitlab-ci.yml": TRIGGERED})
    repository.ci_pipeline_variables_minimum_override_role = "maintainer"  # a trigger brings TRIGGER_PAYLOAD along
    repository.save()
    return repository


def test_a_trigger_starts_a_pipeline_with_inputs(triggered: Any) -> None:
    token = triggered.triggers.create({"description": "approvals"}).token
    started = triggered.trigger_pipeline("main", token, inputs={"arn": "arn:aws:x:1", "count": 3})
    assert started.source == "trigger"
    pipeline = settled(triggered, started)
    assert "arn=arn:aws:x:1 count=3 source=trigger" in job_of(triggered, pipeline, "show").trace().decode()


def test_a_trigger_takes_inputs_of_a_form_and_needs_no_other_token(gitlab_server: GitLab, triggered: Any) -> None:
    token = triggered.triggers.create({"description": "approvals"}).token
    url = f"{gitlab_server.url}/api/v4/projects/{triggered.id}/trigger/pipeline"
    form = {"token": token, "ref": "main", "inputs[arn]": "arn:1", "inputs[count]": "2"}
    answer = requests.post(url, data=form, timeout=20)
    assert answer.status_code == 201, answer.text
    pipeline = settled(triggered, triggered.pipelines.get(answer.json()["id"]))
    assert "arn=arn:1 count=2" in job_of(triggered, pipeline, "show").trace().decode()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"inputs": {"count": "many"}}, "`count` input: provided value is not a number"),
        ({"inputs": {"nome": "x"}}, "unknown input arguments: nome"),
    ],
)
def test_wrong_inputs_of_a_trigger_leave_a_failed_pipeline(
    triggered: Any, request_: dict[str, Any], message: str
) -> None:
    token = triggered.triggers.create({"description": "approvals"}).token
    with pytest.raises(GitlabCreateError, match=message) as error:
        triggered.trigger_pipeline(**({"ref": "main", "token": token} | request_))
    assert error.value.response_code == 422
    (pipeline,) = triggered.pipelines.list()
    failed = triggered.pipelines.get(pipeline.id)
    assert (failed.status, failed.source) == ("failed", "trigger")
    assert message in failed.yaml_errors


def test_a_wrong_trigger_request_starts_nothing(triggered: Any) -> None:
    token = triggered.triggers.create({"description": "approvals"}).token
    with pytest.raises(GitlabCreateError, match="Reference not found") as error:
        triggered.trigger_pipeline("nope", token)
    assert error.value.response_code == 400
    assert triggered.pipelines.list() == []


def test_what_a_trigger_brings_along_counts_as_variables(triggered: Any) -> None:
    token = triggered.triggers.create({"description": "approvals"}).token
    triggered.ci_pipeline_variables_minimum_override_role = "no_one_allowed"
    triggered.save()
    with pytest.raises(GitlabCreateError, match="Insufficient permissions to set pipeline variables") as error:
        triggered.trigger_pipeline("main", token, inputs={"arn": "arn:1"})
    assert error.value.response_code == 400
    assert triggered.pipelines.list() == []


def test_a_trigger_token_opens_its_own_project_only(gitlab_server: GitLab, group: Any, triggered: Any) -> None:
    other = gitlab_server.client.projects.create({"name": "other", "namespace_id": group.id})
    token = other.triggers.create({"description": "x"}).token
    with pytest.raises(GitlabCreateError) as error:
        triggered.trigger_pipeline("main", token)
    assert error.value.response_code == 404
    with pytest.raises(GitlabAuthenticationError):
        gitlab.Gitlab(gitlab_server.url, private_token=token).projects.list()


def test_a_trigger_starts_nothing_when_its_owner_has_left(gitlab_server: GitLab, group: Any, triggered: Any) -> None:
    owner = gitlab_server.user(group, 40)
    token = owner.projects.get(triggered.id).triggers.create({"description": "approvals"}).token
    owner.auth()
    group.members.delete(owner.user.id)  # type: ignore[union-attr]
    with pytest.raises(GitlabCreateError, match="Insufficient permissions to create a new pipeline"):
        triggered.trigger_pipeline("main", token)


@pytest.mark.parametrize(("may_merge", "started"), [(40, False), (30, True)])
def test_a_pipeline_of_a_protected_branch_needs_the_right_to_push_or_to_merge_there(
    gitlab_server: GitLab, group: Any, triggered: Any, may_merge: int, started: bool
) -> None:
    triggered.protectedbranches.delete("main")
    triggered.protectedbranches.create({"name": "main", "push_access_level": 40, "merge_access_level": may_merge})
    pipelines = gitlab_server.user(group, 30).projects.get(triggered.id).pipelines
    if started:
        pipelines.create({"ref": "main"})
    else:
        with pytest.raises(
            GitlabCreateError, match="You do not have sufficient permission to run a pipeline on 'main'"
        ):
            pipelines.create({"ref": "main"})


def test_a_pipeline_is_created_with_inputs_and_allowed_variables(triggered: Any) -> None:
    created = triggered.pipelines.create({"ref": "main", "inputs": {"arn": "a"}})
    assert "arn=a count=1 source=api" in job_of(triggered, settled(triggered, created), "show").trace().decode()
    triggered.ci_pipeline_variables_minimum_override_role = "maintainer"
    triggered.save()
    with_variable = triggered.pipelines.create({"ref": "main", "variables": [{"key": "ARN", "value": "forced"}]})
    assert "arn=forced" in job_of(triggered, settled(triggered, with_variable), "show").trace().decode()


def test_a_pipeline_without_jobs_or_configuration_is_refused(gitlab_server: GitLab, repository: Any) -> None:
    commit(repository, {"README.md": "x"})
    with pytest.raises(GitlabCreateError, match="Missing CI config file"):
        repository.pipelines.create({"ref": "main"})
    commit(repository, {".gitlab-ci.yml": "a:\n  script: [x]\n  rules: [{if: $CI_COMMIT_TAG}]\n"})
    with pytest.raises(GitlabCreateError, match="rules configuration prevented any jobs"):
        repository.pipelines.create({"ref": "main"})
    commit(repository, {".gitlab-ci.yml": "workflow:\n  rules: [{if: $CI_COMMIT_TAG}]\na:\n  script: [x]\n"})
    with pytest.raises(GitlabCreateError, match="Pipeline filtered out by workflow rules"):
        repository.pipelines.create({"ref": "main"})


def test_artifacts_are_served_whole_and_file_by_file(repository: Any) -> None:
    pipeline = run(
        repository,
        """
make:
  script: [mkdir -p out/deep, echo 1 > out/a.txt, echo 2 > out/deep/b.txt, echo 3 > out/skip.log]
  artifacts: {paths: [out/], exclude: [out/*.log]}
""",
    )
    job = job_of(repository, pipeline, "make")
    names = zipfile.ZipFile(io.BytesIO(job.artifacts())).namelist()
    assert names == ["out/a.txt", "out/deep/b.txt"]
    assert job.artifact("out/deep/b.txt") == b"2\n"
    assert repository.artifacts.raw("main", "out/a.txt", "make") == b"1\n"
    with pytest.raises(GitlabGetError):
        job.artifact("out/skip.log")


def test_a_job_that_cannot_be_played_says_so(repository: Any) -> None:
    pipeline = run(repository, "a:\n  script: ['true']\n")
    with pytest.raises(GitlabJobPlayError, match="Unplayable Job") as error:
        job_of(repository, pipeline, "a").play()
    assert error.value.response_code == 400


@pytest.mark.parametrize("action", ["play", "cancel", "retry"])
def test_a_developer_leaves_the_jobs_of_a_protected_branch_alone(
    gitlab_server: GitLab, group: Any, repository: Any, action: str
) -> None:
    pipeline = run(repository, "deploy:\n  script: ['true']\n  when: manual\n")
    developer = gitlab_server.user(group, 30).projects.get(repository.id)
    with pytest.raises(GitlabOperationError) as error:
        getattr(job_of(developer, pipeline, "deploy"), action)()
    assert error.value.response_code == 403
    assert job_of(repository, pipeline, "deploy").status == "manual"


def test_a_developer_plays_the_jobs_of_a_branch_of_their_own(
    gitlab_server: GitLab, group: Any, repository: Any
) -> None:
    commit(repository, {"a": "1"})
    pushed = commit(
        repository, {".gitlab-ci.yml": "deploy: {script: ['true'], when: manual}"}, "own", start_branch="main"
    )
    pipeline = settled(repository, pipeline_of(repository, pushed.id))
    developer = gitlab_server.user(group, 30).projects.get(repository.id)
    job_of(developer, pipeline, "deploy").play()
    assert settled(repository, pipeline, "success").ref == "own"


def test_the_jobs_of_a_project_and_its_latest_pipeline(repository: Any) -> None:
    pipeline = run(repository, "a:\n  script: ['true']\nb:\n  script: [exit 1]\n  allow_failure: true\n")
    assert repository.pipelines.latest(ref="main").id == pipeline.id
    assert [job.name for job in repository.jobs.list(scope=["failed"])] == ["b"]
    pipeline.delete()
    assert repository.pipelines.list() == []


def test_a_push_and_its_pipeline_are_found_by_commit(repository: Any) -> None:
    pushed = commit(repository, {".gitlab-ci.yml": "a:\n  script: ['true']\n"})
    assert pipeline_of(repository, pushed.id, ref="main", source="push").sha == pushed.id
