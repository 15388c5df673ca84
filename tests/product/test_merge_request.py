"""The comment of a merge request, in the sandbox's GitLab: created once, updated in place, no reason for a red job."""

# ruff: noqa: F811 - the fixtures are used under the names they are imported by

from __future__ import annotations

import json
import os
import uuid
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest

from ci_scripts import __version__
from tests.support.component_project import (  # noqa: F401 - the fixture
    Released,
    deploy_variables,
    register_predicting,
    released,
    seed,
)
from tests.support.gitlab_client import GitLab, access_token, commit, job_of, log_of, pipeline_of, settled
from tests.support.run_pipeline import MEASURE, Repository, repository  # noqa: F401 - the fixture
from tests.support.servers import Aws, Project, sagemaker_ci

pytest_plugins = ["tests.support.gitlab_fixtures"]
REPORTER = 20


class Request(NamedTuple):
    """A merge request, and the variables by which its jobs know it."""

    project: Any
    request: Any
    environ: dict[str, str]

    def notes(self) -> list[Any]:
        return list(self.request.notes.list(get_all=True, sort="asc"))

    def comment(self) -> str:
        [note] = self.notes()
        return str(note.body)


def open_request(project: Any, branch: str) -> Any:
    return project.mergerequests.create({"source_branch": branch, "target_branch": "main", "title": branch})


def reporter_token(project: Any) -> str:
    return access_token(project, REPORTER)


@pytest.fixture
def request_of(gitlab_server: GitLab, group: Any) -> Request:
    project = gitlab_server.client.projects.create({"name": "model-build", "namespace_id": group.id})
    commit(project, {"README.md": "Model\n"})
    project.branches.create({"branch": "change", "ref": "main"})
    commit(project, {"README.md": "Changed\n"}, "change")
    request = open_request(project, "change")
    environ = {
        "CI_API_V4_URL": f"{gitlab_server.url}/api/v4",
        "CI_DEFAULT_BRANCH": "main",
        "CI_MERGE_REQUEST_IID": str(request.iid),
        "CI_MERGE_REQUEST_PROJECT_ID": str(project.id),
        "CI_PIPELINE_SOURCE": "merge_request_event",
        "CI_PROJECT_ID": str(project.id),
        "MERGE_REQUEST_TOKEN": reporter_token(project),
    }
    return Request(project, request, environ)


def check(repository: Repository, request: Request, pipeline: int, **more: str) -> CompletedProcess[str]:
    """The job `training` of a merge request's pipeline."""
    environ = repository.environ(pipeline, pipeline) | request.environ | more
    kwargs = json.dumps({"evaluate": MEASURE})
    return sagemaker_ci("run-pipeline", "--check", "--kwargs", kwargs, environ=environ, cwd=repository.path)


def set_threshold(repository: Repository, before: str, after: str) -> None:
    """Changes the file and neither its size nor its time, as two commits within a second do."""
    path = repository.path / "pipelines" / "abalone" / "pipeline.py"
    text = path.read_text()
    assert text.count(f'"DefaultValue": {before}') == 1
    path.write_text(text.replace(f'"DefaultValue": {before}', f'"DefaultValue": {after}'))
    os.utime(path, (1_800_000_000, 1_800_000_000))


def test_two_pushes_make_one_comment_that_tells_the_change_in_words(
    repository: Repository, request_of: Request
) -> None:
    assert repository.run().returncode == 0
    set_threshold(repository, "6.0", "3.0")
    first = check(repository, request_of, 200)
    assert first.returncode == 0, first.stderr
    assert "commented in the merge request" in first.stdout
    assert "- parameter `MseThreshold`: `6.0` → `3.0`\n" in request_of.comment()
    set_threshold(repository, "3.0", "0.9")
    second = check(repository, request_of, 201)
    assert "updated the comment in the merge request" in second.stdout
    assert "- parameter `MseThreshold`: `6.0` → `0.9`\n" in request_of.comment()
    assert "`6.0` → `0.9`" in repository.report("summary.md")


def keys_without(aws: Aws, action: str) -> dict[str, str]:
    """Keys that may do everything else."""
    iam, name = aws.client("iam"), f"without-{uuid.uuid4().hex[:6]}"
    statements = [
        {"Effect": effect, "Action": each, "Resource": "*"} for effect, each in (("Allow", "*"), ("Deny", action))
    ]
    iam.create_user(UserName=name)
    iam.put_user_policy(
        UserName=name,
        PolicyName="all-but",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def test_a_training_that_failed_is_told_before_the_removal_of_a_closed_merge_request_that_fails_too(
    repository: Repository, request_of: Request, aws: Aws
) -> None:
    request_of.request.state_event = "close"
    request_of.request.save()
    environ = repository.environ() | request_of.environ | keys_without(aws, "sagemaker:DeletePipeline")
    environ["MERGE_REQUEST_PIPELINE_ROLE_ARN"] = repository.project.pipeline_role
    kwargs = json.dumps({"evaluate": "exit 3"})
    done = sagemaker_ci("run-pipeline", "--merge-request", "--kwargs", kwargs, environ=environ, cwd=repository.path)
    assert done.returncode == 1
    assert "it was closed meanwhile" in done.stdout
    lines = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert lines == ["error SMCI-310", "hint", "docs", "error SMCI-204", "hint", "docs"], done.stderr
    assert "sagemaker:DeletePipeline" in done.stderr


def test_an_older_pipeline_does_not_take_the_place_of_a_newer_one(repository: Repository, request_of: Request) -> None:
    check(repository, request_of, 201)
    newer = request_of.comment()
    late = check(repository, request_of, 200)
    assert "the comment in the merge request stays: it is of a newer pipeline" in late.stdout
    assert request_of.comment() == newer


def test_each_job_has_a_comment_of_its_own(repository: Repository, request_of: Request) -> None:
    check(repository, request_of, 200)
    check(repository, request_of, 200, CI_JOB_NAME="other-training")
    assert len(request_of.notes()) == 2


def test_a_comment_that_a_person_made_with_the_same_mark_is_left_alone(
    repository: Repository, request_of: Request
) -> None:
    forged = "<!-- sagemaker-ci training, pipeline 9999 -->\nmine"
    request_of.request.notes.create({"body": forged})
    assert check(repository, request_of, 200).returncode == 0
    person, job = request_of.notes()
    assert person.body == forged
    assert "## SageMaker pipeline" in job.body


def test_without_a_token_the_same_text_is_the_jobs_summary(repository: Repository, request_of: Request) -> None:
    repository.run()
    set_threshold(repository, "6.0", "0.9")
    done = check(repository, request_of, 200, MERGE_REQUEST_TOKEN="")
    assert done.returncode == 0
    assert request_of.notes() == []
    assert "no comment in the merge request, as MERGE_REQUEST_TOKEN is not set" in done.stdout
    assert "- parameter `MseThreshold`: `6.0` → `0.9`\n" in repository.report("summary.md")


@pytest.mark.parametrize(
    "broken",
    [
        {"MERGE_REQUEST_TOKEN": "glpat-wrong"},
        {"CI_API_V4_URL": "http://127.0.0.1:9/api/v4"},
        {"CI_API_V4_URL": "nonsense"},
        {"CI_MERGE_REQUEST_IID": "4711"},
    ],
    ids=["token", "silence", "address", "request"],
)
def test_whatever_gitlab_answers_the_job_is_green_and_warns(
    repository: Repository, request_of: Request, broken: dict[str, str]
) -> None:
    done = check(repository, request_of, 200, **broken)
    assert done.returncode == 0, done.stderr
    assert "warning: no comment in the merge request: " in done.stdout
    assert "glpat" not in done.stdout + done.stderr
    assert request_of.notes() == []


def test_the_newest_training_of_the_default_branch_is_told_beside_the_new_threshold(
    repository: Repository, request_of: Request
) -> None:
    repository.run()
    folder = "sagemaker-ci-reports"
    job = {
        "script": [
            f"mkdir {folder}",
            f"printf '%s\\n' 'measured_metrics_mse 4.25' 'x <script>' > {folder}/metrics.txt",
        ],
        "artifacts": {"paths": [f"{folder}/"], "access": "all"},
    }
    pushed = commit(request_of.project, {".gitlab-ci.yml": json.dumps({"training": job})})
    assert settled(request_of.project, pipeline_of(request_of.project, pushed.id)).status == "success"
    set_threshold(repository, "6.0", "0.9")
    done = check(repository, request_of, 200)
    assert done.returncode == 0, done.stderr
    assert "| metrics_mse | 4.25 |" in request_of.comment()
    assert "condition `CheckMse` compares: `metrics.mse 4.25 <= MseThreshold 0.9`" in request_of.comment()
    assert "<script>" not in request_of.comment()


# --- the components ------------------------------------------------------------------------------------------------


def in_merge_request(project: Any, files: dict[str, str], branch: str) -> tuple[Any, str]:
    """Commit to the branch of a merge request; its job `build` and the log."""
    pushed = commit(project, files, branch)
    [request] = project.mergerequests.list(source_branch=branch) or [open_request(project, branch)]
    pipeline = settled(project, pipeline_of(project, pushed.id, ref=f"refs/merge-requests/{request.iid}/head"))
    assert pipeline.yaml_errors is None
    return job_of(project, pipeline, "build"), log_of(project, pipeline, "build")


def with_count(files: dict[str, str], count: str) -> dict[str, str]:
    config = json.loads(files["staging-config.json"])
    config["Parameters"]["EndpointInstanceCount"] = count
    return {"staging-config.json": json.dumps(config)}


def test_a_merge_request_of_model_deploy_previews_what_differs_from_the_default_branch(
    released: Released, aws: Aws, project: Project
) -> None:
    register_predicting(aws, project, 4.0)
    files = seed(__version__, artifacts_access="all")
    repository = released.consumer(f"preview-{uuid.uuid4().hex[:6]}", project.environ | deploy_variables(aws))
    token = reporter_token(repository)
    repository.variables.create({"key": "MERGE_REQUEST_TOKEN", "value": token, "masked": True})
    pushed = commit(repository, files)
    assert settled(repository, pipeline_of(repository, pushed.id)).status == "success"
    repository.branches.create({"branch": "bigger", "ref": "main"})
    for count in ("2", "3"):
        done, log = in_merge_request(repository, with_count(files, count), "bigger")
        assert done.status == "success", log
    assert token not in log
    assert "updated the comment in the merge request" in log
    [request] = repository.mergerequests.list(source_branch="bigger")
    [note] = request.notes.list(get_all=True)
    assert f"## Deployment preview: {project.group} version 1\n" in note.body
    assert "- parameter `EndpointInstanceCount`: `1` → `3`\n" in note.body
    assert (
        f"### prod: `{project.name}-prod`, `real-time`\n\nAs in the newest successful pipeline of `main`.\n"
        in note.body
    )
    summary = repository.jobs.get(done.id).artifact("sagemaker-ci-reports/summary.md").decode()
    assert "- parameter `EndpointInstanceCount`: `1` → `3`\n" in summary
    done, _ = in_merge_request(repository, with_count(files, "many"), "bigger")
    assert done.status == "failed"
    [note] = request.notes.list(get_all=True)
    assert "## Deployment preview: nothing can be deployed\n" in note.body
    assert "- `staging-config.json: Parameters.EndpointInstanceCount: " in note.body
