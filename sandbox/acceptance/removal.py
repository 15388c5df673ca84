"""Take away everything that an acceptance run made, in the order in which it depends on each other.

Each step finds what there is by the names of the run, so it also cleans up after a run that was killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from gitlab.exceptions import GitlabError, GitlabGetError

from sandbox.acceptance.place import Account
from sandbox.world.people import STAGES, Say

_GONE = {
    "ValidationError",  # CloudFormation: no such stack
    "ValidationException",  # SageMaker: no such project, endpoint, group
    "ResourceNotFound",
    "ResourceNotFoundException",
    "NoSuchBucket",
    "NoSuchEntity",
    "404",
}
_STACK_MINUTES = 40


@contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise


def remove(place: Account, project_id: str, own_provider: bool, say: Say) -> list[str]:
    """Remove the run; what could not be removed, each with the reason.

    `project_id` is the SageMaker project's, "" if none was made; `own_provider`: the run made the identity provider.
    """
    left: list[str] = []
    steps: list[tuple[str, Callable[[], object]]] = [
        ("pipelines that still run", lambda: _cancel_pipelines(place)),
        *((f"stack of {stage}", lambda stage=stage: _delete_stage(place, project_id, stage)) for stage in STAGES),
        ("SageMaker pipeline", lambda: _delete_sagemaker_pipeline(place, project_id)),
        ("SageMaker project", lambda: _delete_project(place, project_id)),
        ("model versions and their group", lambda: _delete_versions(place, project_id)),
        ("artifact bucket", lambda: _delete_bucket(place, f"sagemaker-{project_id}-{place.account}-{place.region}")),
        ("GitLab projects", lambda: _delete_repositories(place)),
        ("platform stack", lambda: _delete_stack(place, place.platform_stack)),
        ("identity provider", lambda: _delete_provider(place) if own_provider else None),
        ("platform bucket", lambda: _delete_bucket(place, place.platform_bucket)),
        ("secret", lambda: _delete_secret(place)),
        ("logs", lambda: _delete_logs(place)),
    ]
    for what, step in steps:
        try:
            step()
        except (ClientError, BotoCoreError, GitlabError, SystemExit) as error:
            left.append(f"{what}: {error}")
            say(f"[red]not removed[/red] {left[-1]}")
        else:
            say(f"removed: {what}")
    return left


def _cancel_pipelines(place: Account) -> None:
    for path in (place.build_repository, place.deploy_repository):
        for project in _repository(place, path):
            for scope in ("running", "pending"):
                for pipeline in project.pipelines.list(scope=scope, get_all=True):
                    pipeline.cancel()


def _repository(place: Account, path: str) -> Iterator[Any]:
    """The GitLab project at this path, or nothing."""
    try:
        yield place.gitlab().projects.get(path)
    except GitlabGetError as error:
        if error.response_code != 404:
            raise


def _delete_stage(place: Account, project_id: str, stage: str) -> None:
    if project_id:
        _delete_stack(place, f"sagemaker-{place.project}-{project_id}-deploy-{stage}")


def _delete_stack(place: Account, name: str) -> None:
    cloudformation = place.aws("cloudformation")
    with _unless_gone():
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
        cloudformation.delete_stack(StackName=stack)
        _wait_for_deletion(place, stack)


def _wait_for_deletion(place: Account, stack: str) -> None:
    """Raises SystemExit if the deletion fails or takes too long."""
    cloudformation = place.aws("cloudformation")
    deadline = time.monotonic() + 60 * _STACK_MINUTES
    while True:
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        if described["StackStatus"] == "DELETE_COMPLETE":
            return
        if not described["StackStatus"].endswith("_IN_PROGRESS") or time.monotonic() > deadline:
            reason = described.get("StackStatusReason", "")
            raise SystemExit(f"stack {stack} is {described['StackStatus']}: {reason}")
        time.sleep(place.look_seconds)


def _delete_sagemaker_pipeline(place: Account, project_id: str) -> None:
    sagemaker, name = place.aws("sagemaker"), f"{place.project}-{project_id}"
    with _unless_gone():
        executions = sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
        for execution in executions:
            if execution["PipelineExecutionStatus"] == "Executing":
                sagemaker.stop_pipeline_execution(
                    PipelineExecutionArn=execution["PipelineExecutionArn"], ClientRequestToken=f"{place.run:a<32}"
                )
        sagemaker.delete_pipeline(PipelineName=name, ClientRequestToken=f"{place.run:a<32}")


def _delete_project(place: Account, project_id: str) -> None:
    """The project and, whether or not SageMaker does that itself, its stack."""
    with _unless_gone():
        place.aws("sagemaker").delete_project(ProjectName=place.project)
    if project_id:
        _delete_stack(place, f"SP-{place.project}-{project_id}")


def _delete_versions(place: Account, project_id: str) -> None:
    sagemaker, group = place.aws("sagemaker"), f"{place.project}-{project_id}"
    with _unless_gone():
        pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
        for package in [each for page in pages for each in page["ModelPackageSummaryList"]]:
            sagemaker.delete_model_package(ModelPackageName=package["ModelPackageArn"])
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)


def _delete_bucket(place: Account, name: str) -> None:
    s3 = place.aws("s3")
    with _unless_gone():
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
            entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            keys = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in entries]
            if keys:
                s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
        s3.delete_bucket(Bucket=name)


def _delete_repositories(place: Account) -> None:
    for path in (place.build_repository, place.deploy_repository):
        for project in _repository(place, path):
            project.delete()


def _delete_provider(place: Account) -> None:
    host = place.gitlab_url.partition("://")[2]
    with _unless_gone():
        place.aws("iam").delete_open_id_connect_provider(
            OpenIDConnectProviderArn=f"arn:{_partition(place)}:iam::{place.account}:oidc-provider/{host}"
        )


def _partition(place: Account) -> str:
    return str(place.aws("sts").get_caller_identity()["Arn"].split(":")[1])


def _delete_secret(place: Account) -> None:
    with _unless_gone():
        place.aws("secretsmanager").delete_secret(SecretId=place.token_secret, ForceDeleteWithoutRecovery=True)


def _delete_logs(place: Account) -> None:
    """Log groups that are the run's own; those of processing and training jobs are the account's."""
    logs = place.aws("logs")
    for prefix in ("/aws/lambda/", "/aws/sagemaker/Endpoints/"):
        for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
            for group in page["logGroups"]:
                if place.project in group["logGroupName"]:
                    logs.delete_log_group(logGroupName=group["logGroupName"])
