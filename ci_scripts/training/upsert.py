"""The deployed pipeline: what SageMaker has now, and creating or updating it to what this commit says.

Called by run.py, and by command.py for `--check`. The SDK's own `pipeline.upsert()` costs more calls and permissions.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from ci_scripts.settings import Project
from ci_scripts.training import definition

# The SDK moves a definition to S3 above this size as well; requests of SageMaker's API are limited.
_INLINE_BYTES = 100 * 1024


class Deployed(NamedTuple):
    """A pipeline as SageMaker has it."""

    definition: str
    role: str


def deployed(sagemaker: Any, pipeline: str) -> Deployed | None:
    """The deployed pipeline of that name, None if there is none."""
    try:
        answer = sagemaker.describe_pipeline(PipelineName=pipeline)
    except sagemaker.exceptions.ResourceNotFound:
        return None
    return Deployed(answer["PipelineDefinition"], answer["RoleArn"])


def upsert(sagemaker: Any, s3: Any, project: Project, role: str, text: str) -> str:
    """Create or update the project's pipeline; tells which: "created", "updated" or "unchanged".

    An unchanged one is left alone, because every update makes a new pipeline version.
    """
    found = deployed(sagemaker, project.pipeline)
    if found and found.role == role and definition.same(found.definition, text):
        return "unchanged"
    tags = [{"Key": key, "Value": content} for key, content in project.tags().items()]
    pipeline = {"PipelineName": project.pipeline, "RoleArn": role, **_definition(s3, project, text)}
    if not found:
        sagemaker.create_pipeline(**pipeline, Tags=tags)
        return "created"
    answer = sagemaker.update_pipeline(**pipeline)
    sagemaker.add_tags(ResourceArn=answer["PipelineArn"], Tags=tags)  # UpdatePipeline takes none
    return "updated"


def _definition(s3: Any, project: Project, text: str) -> dict[str, Any]:
    body = text.encode()
    if len(body) <= _INLINE_BYTES:
        return {"PipelineDefinition": text}
    # Named by its content: a retried job overwrites it with itself.
    key = f"{project.pipeline}/definitions/{hashlib.sha256(body).hexdigest()}.json"
    s3.put_object(Bucket=project.artifact_bucket, Key=key, Body=body, ContentType="application/json")
    return {"PipelineDefinitionS3Location": {"Bucket": project.artifact_bucket, "ObjectKey": key}}
