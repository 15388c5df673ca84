"""What the two repositories of a user do, beyond the happy path that `make demo` shows. One sandbox, in this order."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import gitlab
import pytest

from sandbox import job_images
from sandbox.world import installed
from sandbox.world.installed import World
from tests.support import permissions
from tests.support.loop import finished, log, merge_request, statuses

pytestmark = pytest.mark.timeout(300)
GROUP = f"{installed.PROJECT_NAME}-{installed.PROJECT_ID}"
PERMISSIONS = installed.ROOT / ".sandbox" / "permissions.md"  # for a reviewer; the pipeline keeps it


class Loop(NamedTuple):
    """The installed product, and the two repositories with their seeds."""

    world: World
    build: Any
    deploy: Any
    trained: Any
    """The finished pipeline of the first commit to model-build."""

    def executions(self) -> list[str]:
        rows = self.world.aws("sagemaker").list_pipeline_executions(PipelineName=GROUP)
        return [row["PipelineExecutionArn"] for row in rows["PipelineExecutionSummaries"]]

    def packages(self) -> list[str]:
        rows = self.world.aws("sagemaker").list_model_packages(ModelPackageGroupName=GROUP, SortOrder="Ascending")
        return [row["ModelPackageArn"] for row in rows["ModelPackageSummaryList"]]

    def stacks(self) -> dict[str, str]:
        rows = self.world.aws("cloudformation").describe_stacks()["Stacks"]
        return {row["StackName"]: row["StackStatus"] for row in rows if "-deploy-" in row["StackName"]}


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    images = job_images.build(print)
    with installed.running(tmp_path_factory.mktemp("loop"), images) as world:
        installed.set_up(world, print)
        server = world.gitlab()
        build, deploy = (
            server.projects.get(path) for path in (installed.BUILD_REPOSITORY, installed.DEPLOY_REPOSITORY)
        )
        yield Loop(world, build, deploy, finished(build, lambda pipeline: pipeline.source == "push"))


def change(project: Any, path: str, old: str, new: str, branch: str = "main", message: str = "Change") -> Any:
    """Commit a replacement in one file, on `main` or on a new branch."""
    text = project.files.get(file_path=path, ref="main").decode().decode()
    assert old in text
    action = {"action": "update", "file_path": path, "content": text.replace(old, new)}
    start = {} if branch == "main" else {"start_branch": "main"}
    return project.commits.create({"branch": branch, "commit_message": message, "actions": [action], **start})


def test_the_first_commit_trains_and_registers_version_1(loop: Loop) -> None:
    assert statuses(loop.trained) == {"training": "success"}
    assert [arn.rpartition("/")[2] for arn in loop.packages()] == ["1"]


def test_a_registered_version_tells_which_commit_and_job_it_comes_from(loop: Loop) -> None:
    package = loop.world.aws("sagemaker").describe_model_package(ModelPackageName=loop.packages()[0])
    properties = package["CustomerMetadataProperties"]
    assert properties["GitLabCommit"] == loop.trained.sha
    assert properties["GitLabProject"] == installed.BUILD_REPOSITORY
    assert properties["GitLabJob"].startswith(loop.world.gitlab_url)


def test_a_retried_training_job_starts_no_second_execution(loop: Loop) -> None:
    before = loop.executions()
    job = loop.trained.jobs.list(get_all=True)[0]
    loop.build.jobs.get(job.id).retry()
    again = finished(loop.build, lambda pipeline: pipeline.id == loop.trained.id, {"success", "failed"})
    deadline = time.monotonic() + 60
    while statuses(again) != {"training": "success"} and time.monotonic() < deadline:
        time.sleep(0.3)
    assert statuses(again) == {"training": "success"}
    assert loop.executions() == before
    assert len(loop.packages()) == 1


def test_a_merge_request_in_model_build_shows_the_difference_and_starts_nothing(loop: Loop) -> None:
    before = loop.executions()
    change(loop.build, "pipelines/abalone/pipeline.py", '"max_depth": 5', '"max_depth": 4', branch="shallower")
    pipeline = merge_request(loop.build, "shallower")
    assert statuses(pipeline) == {"training": "success"}
    assert '+        "max_depth": "4"' in re.sub(r" +\"max", '        "max', log(loop.build, pipeline, "training"))
    assert loop.executions() == before


def test_a_failing_step_fails_the_job_and_shows_why(loop: Loop) -> None:
    commit = change(loop.build, "pipelines/abalone/preprocess.py", "    files = sorted(", "    raise OSError('the disk is full')\n    files = sorted(")  # fmt: skip  # noqa: E501
    pipeline = finished(loop.build, lambda each: each.sha == commit.id)
    assert statuses(pipeline) == {"training": "failed"}
    output = log(loop.build, pipeline, "training")
    assert "error SMCI-3" in output
    assert "PreprocessAbaloneData" in output
    assert "OSError: the disk is full" in output
    assert len(loop.packages()) == 1
    fixed = "    raise OSError('the disk is full')\n"
    change(loop.build, "pipelines/abalone/preprocess.py", fixed, "", message="Fix [skip ci]")


def test_a_model_above_the_threshold_passes_and_says_that_nothing_was_registered(loop: Loop) -> None:
    commit = change(loop.build, "pipelines/abalone/pipeline.py", '"MseThreshold", default_value=6.0', '"MseThreshold", default_value=1.5')  # fmt: skip  # noqa: E501
    pipeline = finished(loop.build, lambda each: each.sha == commit.id)
    assert statuses(pipeline) == {"training": "success"}
    output = log(loop.build, pipeline, "training")
    assert "No model package was registered" in output
    assert "<= MseThreshold 1.5" in output


def test_a_merge_request_in_model_deploy_validates_and_deploys_nothing(loop: Loop) -> None:
    change(loop.deploy, "prod-config.json", '"EndpointInstanceCount": 1', '"EndpointInstanceCount": "many"', "broken")
    pipeline = merge_request(loop.deploy, "broken")
    assert statuses(pipeline) == {"build": "failed"}
    assert "prod-config.json: Parameters.EndpointInstanceCount" in log(loop.deploy, pipeline, "build")
    assert loop.stacks() == {}


def test_a_push_to_model_deploy_before_any_approval_says_what_to_do(loop: Loop) -> None:
    commit = change(loop.deploy, "README.md", "#", "# ")
    pipeline = finished(loop.deploy, lambda each: each.sha == commit.id)
    assert statuses(pipeline)["build"] == "failed"
    assert "error SMCI-404" in log(loop.deploy, pipeline, "build")
    assert loop.stacks() == {}


def test_quality_below_the_threshold_stops_before_production(loop: Loop) -> None:
    change(loop.deploy, "quality.yml", "max: 6.0", "max: 0.5")
    loop.world.aws("sagemaker").update_model_package(ModelPackageArn=loop.packages()[0], ModelApprovalStatus="Approved")
    pipeline = finished(loop.deploy, lambda each: each.source == "trigger")
    by_job = statuses(pipeline)
    assert by_job == {
        "build": "success",
        "staging-deploy": "success",
        "test-staging": "failed",
        "prod-deploy": "skipped",
    }
    assert "mse <= 0.5" in log(loop.deploy, pipeline, "test-staging")
    gate = next(job for job in pipeline.jobs.list(get_all=True) if job.name == "prod-deploy")
    with pytest.raises(gitlab.GitlabJobPlayError):
        loop.deploy.jobs.get(gate.id).play()
    assert [name.rpartition("-")[2] for name in loop.stacks()] == ["staging"]


def test_a_push_to_model_deploy_deploys_the_newest_approved_version_and_waits(loop: Loop) -> None:
    commit = change(loop.deploy, "quality.yml", "max: 0.5", "max: 6.0")
    pipeline = finished(loop.deploy, lambda each: each.sha == commit.id and each.source == "push")
    assert pipeline.status == "manual"
    assert statuses(pipeline)["prod-deploy"] == "manual"
    assert f"{GROUP} version 1" in log(loop.deploy, pipeline, "build")


def test_a_further_approval_of_the_same_version_starts_a_pipeline_of_its_own(loop: Loop) -> None:
    def started() -> int:
        return sum(pipeline.source == "trigger" for pipeline in loop.deploy.pipelines.list(get_all=True))

    assert started() == 1
    sagemaker = loop.world.aws("sagemaker")
    for status in ("Rejected", "Approved"):
        sagemaker.update_model_package(ModelPackageArn=loop.packages()[0], ModelApprovalStatus=status)
        time.sleep(0.1)  # a person is slower than the copies of an event, which are told up to 20 ms apart
    deadline = time.monotonic() + 30
    while started() < 2 and time.monotonic() < deadline:
        time.sleep(0.3)
    time.sleep(2)
    assert started() == 2


def test_production_takes_what_staging_proved_when_a_person_presses_play(loop: Loop) -> None:
    pipeline = finished(loop.deploy, lambda each: each.source == "trigger", {"manual"})
    job = next(job for job in pipeline.jobs.list(get_all=True) if job.name == "prod-deploy")
    loop.deploy.jobs.get(job.id).play()
    finished(loop.deploy, lambda each: each.id == pipeline.id, {"success"})
    assert sorted(name.rpartition("-")[2] for name in loop.stacks()) == ["prod", "staging"]


def test_a_second_pipeline_of_one_approval_deploys_nothing(loop: Loop) -> None:
    """As the trigger starts one when GitLab's answer is lost."""
    owner = finished(loop.deploy, lambda each: each.source == "trigger")
    before = stack_events(loop)
    token = secrets_of(loop)["trigger token"]
    inputs = {"model_package_arn": loop.packages()[0], "approval_number": "2"}
    started = loop.deploy.manager.gitlab.http_post(
        f"/projects/{loop.deploy.id}/trigger/pipeline", post_data={"ref": "main", "token": token, "inputs": inputs}
    )

    second = finished(loop.deploy, lambda each: each.id == started["id"])

    assert statuses(second) == {
        "build": "success", "staging-deploy": "success", "test-staging": "success", "prod-deploy": "manual",
    }  # fmt: skip
    job = next(job for job in second.jobs.list(get_all=True) if job.name == "prod-deploy")
    loop.deploy.jobs.get(job.id).play()
    finished(loop.deploy, lambda each: each.id == second.id, {"success"})
    address = f"{loop.world.gitlab_url}/{installed.DEPLOY_REPOSITORY}/-/pipelines/{owner.id}"
    for name in statuses(second):
        assert f"belongs to {address}" in log(loop.deploy, second, name)
    assert stack_events(loop) == before


def stack_events(loop: Loop) -> dict[str, list[str]]:
    """What has ever happened to the endpoints' stacks."""
    cloudformation = loop.world.aws("cloudformation")
    return {
        name: [each["EventId"] for each in cloudformation.describe_stack_events(StackName=name)["StackEvents"]]
        for name in loop.stacks()
    }


# --- what all of the above needed and left behind ---------------------------------------------------------------------


def test_every_permission_of_every_shipped_role_is_used_or_explained(loop: Loop) -> None:
    requests = loop.world.folder / "aws" / "requests.jsonl"
    reasons = permissions.explained()
    unused, needless = [], []
    aws = loop.world.aws
    roles = permissions.shipped_roles(aws("cloudformation"), aws("iam"), "hosting.yml")  # test_hosting_roles.py has it
    PERMISSIONS.parent.mkdir(exist_ok=True)
    PERMISSIONS.write_text(permissions.report(roles, requests))
    for role in roles:
        called = permissions.used(requests, role)
        excused = set(reasons.pop(role.logical_id, {}))
        unused += [f"{role.logical_id}: {action}" for action in sorted(role.granted - called - excused)]
        needless += [f"{role.logical_id}: {action}" for action in sorted(excused - (role.granted - called))]
    assert unused == [], "granted, never used, and not explained in tests/contract/iam/exceptions.yml"
    assert needless == [], "explained in tests/contract/iam/exceptions.yml, though used or not granted"
    assert reasons == {}, "roles of tests/contract/iam/exceptions.yml that do not exist"


def test_no_secret_stands_in_a_log_an_event_an_output_or_a_parameter(loop: Loop) -> None:
    secrets = secrets_of(loop)
    assert {"access token", "trigger token"} <= set(secrets)
    texts = written(loop)
    assert len(texts) > 30
    leaks = [(place, kind) for place, text in texts.items() for kind, secret in secrets.items() if secret in text]
    leaks += [(place, "ID token") for place, text in texts.items() if re.search(r"eyJ[\w-]+\.eyJ[\w-]+\.", text)]
    assert leaks == []


def secrets_of(loop: Loop) -> dict[str, str]:
    """What must be nowhere but in its own place, by what it is."""
    manager = loop.world.aws("secretsmanager")
    names = {"access token": installed.TOKEN_SECRET, "trigger token": f"sagemaker/{GROUP}/trigger-token"}
    values = {kind: manager.get_secret_value(SecretId=name)["SecretString"] for kind, name in names.items()}
    return values | {"root key": "sandbox-root-secret"}


def written(loop: Loop) -> dict[str, str]:
    """Everything that people can read of the run, by where it stands."""
    texts = {}
    for project in (loop.build, loop.deploy):
        for job in project.jobs.list(get_all=True):
            texts[f"job {job.name} {job.id}"] = project.jobs.get(job.id).trace().decode("utf-8", "replace")
    logs = loop.world.aws("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        events = logs.filter_log_events(logGroupName=group["logGroupName"])["events"]
        texts[group["logGroupName"]] = "\n".join(event["message"] for event in events)
    cloudformation = loop.world.aws("cloudformation")
    for stack in cloudformation.describe_stacks()["Stacks"]:
        texts[f"stack {stack['StackName']}"] = json.dumps(stack, default=str)
        events = cloudformation.describe_stack_events(StackName=stack["StackName"])["StackEvents"]
        texts[f"events of {stack['StackName']}"] = json.dumps(events, default=str)
    for path in loop.world.folder.rglob("*"):
        if path.suffix in (".log", ".jsonl", ".json", ".txt", ".html", ".xml", ".env"):
            texts[str(path.relative_to(loop.world.folder))] = path.read_text(encoding="utf-8", errors="replace")
    return texts
