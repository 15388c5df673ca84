"""What a merge request's training leaves in AWS, and its removal: executions, pipeline, model packages, files.

Called by `cleanup`, and by `run-pipeline` in a merge request that was closed while it trained. Every step can be
repeated, and takes what an earlier run has left.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ci_scripts import job, merge_request, registry
from ci_scripts.aws import Aws
from ci_scripts.errors import FilesNotRemoved, NoMergeRequest
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef
    from mypy_boto3_sagemaker import SageMakerClient

_RUNNING = ("Executing", "Stopping")
_MOST_OBJECTS = 1000  # in one request
_SHOWN = 5  # of what S3 refused


def remove(aws: Aws, project: Project, poll_seconds: float) -> Iterator[str]:
    """Remove all of it; says in a line what each kind came to. Raises NoMergeRequest for a whole project."""
    if not project.merge_request:
        raise NoMergeRequest("what a project has trained is not removed, only what one of its merge requests has")
    yield _pipeline(aws.sagemaker, project.pipeline, poll_seconds)
    yield _model_packages(aws.sagemaker, project.model_package_group)
    yield f"files below s3://{project.artifact_bucket}/{project.pipeline}/: removed {_files(aws.s3, project)}"


def _pipeline(sagemaker: SageMakerClient, pipeline: str, poll_seconds: float) -> str:
    """SageMaker deletes a pipeline when none of its executions runs, and the executions with it."""
    try:
        while running := _running(sagemaker, pipeline):
            for arn, status in running.items():
                if status == "Executing":
                    _stop(sagemaker, arn)
            job.pause(poll_seconds)
        sagemaker.delete_pipeline(PipelineName=pipeline, ClientRequestToken=uuid.uuid4().hex)
    except sagemaker.exceptions.ResourceNotFound:
        return f"pipeline {pipeline}: is not there"
    return f"pipeline {pipeline}: removed"


def _running(sagemaker: SageMakerClient, pipeline: str) -> dict[str, str]:
    pages = sagemaker.get_paginator("list_pipeline_executions").paginate(PipelineName=pipeline)
    executions = (each for page in pages for each in page["PipelineExecutionSummaries"])
    return {
        each["PipelineExecutionArn"]: each["PipelineExecutionStatus"]
        for each in executions
        if each["PipelineExecutionStatus"] in _RUNNING
    }


def _stop(sagemaker: SageMakerClient, arn: str) -> None:
    from botocore.exceptions import ClientError

    try:
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=uuid.uuid4().hex)
    except ClientError as error:
        job.say(f"pipeline execution {arn} is not stopped, and looked at again: {error}")  # it may have ended meanwhile


def _model_packages(sagemaker: SageMakerClient, group: str) -> str:
    arns = registry.versions(sagemaker, group)
    if not registry.delete_group(sagemaker, group, arns):
        return f"model package group {group}: is not there"
    return f"model package group {group}: removed, with {len(arns)} versions"


def _files(s3: S3Client, project: Project) -> int:
    """The number of objects that were removed, with all their versions: the bucket of a project keeps them.

    Page by page, as many as DeleteObjects takes: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html.
    Raises FilesNotRemoved with what S3 refused.
    """
    count = 0
    refused: list[str] = []
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=project.artifact_bucket, Prefix=f"{project.pipeline}/"
    )
    for page in pages:
        versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        for start in range(0, len(versions), _MOST_OBJECTS):
            keys: list[ObjectIdentifierTypeDef] = [
                {"Key": each["Key"], "VersionId": each["VersionId"]} for each in versions[start : start + _MOST_OBJECTS]
            ]
            answer = s3.delete_objects(Bucket=project.artifact_bucket, Delete={"Objects": keys, "Quiet": True})
            failures = answer.get("Errors", [])
            refused += [f"{each.get('Key')}: {each.get('Message') or each.get('Code')}" for each in failures]
            count += len(keys) - len(failures)
    if refused:
        more = f" and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise FilesNotRemoved(f"S3 kept {'; '.join(refused[:_SHOWN])}{more}")
    return count


def remove_if_closed(aws: Aws, project: Project, poll_seconds: float) -> None:
    """Remove all of it if the merge request is open no more: GitLab had nothing to stop while its first training ran.

    A job that cannot see the merge request, for want of a token, leaves it to GitLab, which stops it later.
    """
    if merge_request.state() not in ("closed", "merged"):
        return
    with job.section(f"Remove what merge request {project.merge_request} trained: it was closed meanwhile"):
        for line in remove(aws, project, poll_seconds):
            job.say(line)
