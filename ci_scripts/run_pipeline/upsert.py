"""The deployed pipeline: what SageMaker has now, and creating or updating it to what this commit says.

Called by run.py, and by command.py for `--check`. The SDK's own `pipeline.upsert()` costs more calls and permissions.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts.run_pipeline import definition
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import TagTypeDef

# The SDK moves a definition to S3 above this size as well; requests of SageMaker's API are limited.
_INLINE_BYTES = 100 * 1024

# What CreatePipeline makes: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-version-aliases.html
_FIRST_VERSION = 1


class Deployed(NamedTuple):
    """A pipeline as SageMaker has it."""

    definition: str
    role: str

    def holds(self, text: str, role: str) -> bool:
        return self.role == role and definition.same(self.definition, text)


class Upserted(NamedTuple):
    """What became of the pipeline, and the id of its version that holds this commit's definition."""

    state: str
    """`created`, `updated` or `unchanged`."""
    version: int


def deployed(sagemaker: SageMakerClient, pipeline: str) -> Deployed | None:
    """The deployed pipeline of that name, None if there is none."""
    try:
        return _describe(sagemaker, PipelineName=pipeline)
    except sagemaker.exceptions.ResourceNotFound:
        return None


def upsert(sagemaker: SageMakerClient, s3: S3Client, project: Project, role: str, text: str) -> Upserted:
    """Create or update the project's pipeline, which other jobs of the project may do at the same moment.

    An unchanged one is left alone, because every update makes a new pipeline version.
    """
    from botocore.exceptions import ClientError

    before = deployed(sagemaker, project.pipeline)
    if before and before.holds(text, role) and (version := _newest_if_same(sagemaker, project.pipeline, text, role)):
        return Upserted("unchanged", version)
    tags: list[TagTypeDef] = [{"Key": key, "Value": content} for key, content in project.tags().items()]
    pipeline = {"PipelineName": project.pipeline, "RoleArn": role, **_definition(s3, project, text)}
    if not before:
        try:
            sagemaker.create_pipeline(**pipeline, Tags=tags)
        except ClientError:
            # Refused because another job came first? The message would tell, but SageMaker has reworded it before.
            if not deployed(sagemaker, project.pipeline):
                raise
        else:
            return Upserted("created", _FIRST_VERSION)
    answer = sagemaker.update_pipeline(**pipeline)
    sagemaker.add_tags(ResourceArn=answer["PipelineArn"], Tags=tags)  # UpdatePipeline takes none
    return Upserted("updated", answer["PipelineVersionId"])


def _newest_if_same(sagemaker: SageMakerClient, pipeline: str, text: str, role: str) -> int | None:
    """The id of the pipeline's newest version if that holds the definition; None, too, if no versions are kept.

    Compared once more by its id: another job may have updated the pipeline since it was looked at.
    """
    answer = sagemaker.list_pipeline_versions(PipelineName=pipeline, SortOrder="Descending", MaxResults=1)
    for newest in answer["PipelineVersionSummaries"]:
        version: int = newest["PipelineVersionId"]
        if _describe(sagemaker, PipelineName=pipeline, PipelineVersionId=version).holds(text, role):
            return version
    return None


def _describe(sagemaker: SageMakerClient, **which: Any) -> Deployed:
    answer = sagemaker.describe_pipeline(**which)
    return Deployed(answer["PipelineDefinition"], answer["RoleArn"])


def _definition(s3: S3Client, project: Project, text: str) -> dict[str, Any]:
    body = text.encode()
    if len(body) <= _INLINE_BYTES:
        return {"PipelineDefinition": text}
    # Named by its content: a retried job overwrites it with itself.
    key = f"{project.pipeline}/definitions/{hashlib.sha256(body).hexdigest()}.json"
    s3.put_object(Bucket=project.artifact_bucket, Key=key, Body=body, ContentType="application/json")
    return {"PipelineDefinitionS3Location": {"Bucket": project.artifact_bucket, "ObjectKey": key}}
