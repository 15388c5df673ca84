"""The pipeline operations of SageMaker's API, over executions that really run (executions.py).

`install()` replaces moto's handlers: theirs mark every execution Succeeded and lack steps, stop and retry.
"""

from __future__ import annotations

import random
import string
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.s3.models import s3_backends
from moto.sagemaker.exceptions import ConflictException, ResourceNotFound, ValidationError
from moto.sagemaker.models import FakePipeline
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemaker.utils import arn_formatter

from sandbox.aws.sagemaker import definition, selection
from sandbox.aws.sagemaker.executions import Execution, Step


class Version(NamedTuple):
    """What a pipeline was once defined as; the first one of `pipeline.versions` has the id 1."""

    text: str
    creation_time: datetime


# One request token, one execution; one update, one version: also when two requests come at once.
_counting = threading.Lock()


def install() -> None:
    """Put this module's operations in place of moto's; the rest (ListPipelines) stays."""
    responses: Any = SageMakerResponse
    for operation in _OPERATIONS:
        setattr(responses, operation.__name__, _answering(operation))


def _answering(operation: Callable[[Any], dict[str, Any]]) -> Callable[[Any], ActionResult]:
    def handler(self: Any) -> ActionResult:
        try:
            answer = operation(self)
        except definition.InvalidDefinition as error:
            raise ValidationError(str(error)) from error
        return ActionResult({key: value for key, value in answer.items() if value is not None})

    return handler


# --- finding things ------------------------------------------------------------------------------------------------


def _pipeline(self: Any, name: str) -> Any:
    backend = self.sagemaker_backend
    name = name.rpartition("/")[2]  # the API takes an ARN, too
    if name not in backend.pipelines:
        arn = arn_formatter("pipeline", name, backend.account_id, backend.region_name)
        raise ResourceNotFound(f"Pipeline '{arn}' does not exist.")
    return backend.pipelines[name]


def _version(self: Any, pipeline: Any) -> int:
    """The id of the version that the request names, else of the newest."""
    number = self._get_param("PipelineVersionId") or len(pipeline.versions)
    if not 0 < number <= len(pipeline.versions):
        raise ResourceNotFound(f"Pipeline '{pipeline.arn}' has no version {number}.")
    return int(number)


def _execution(self: Any) -> Execution:
    arn = self._get_param("PipelineExecutionArn")
    for pipeline in self.sagemaker_backend.pipelines.values():
        if arn in pipeline.pipeline_executions:
            execution: Execution = pipeline.pipeline_executions[arn]
            return execution
    raise ResourceNotFound(f"Pipeline execution with ARN '{arn}' does not exist.")


def _definition_text(self: Any) -> Any:
    """The definition in the request or in S3, checked; None when the request has none."""
    text, location = self._get_param("PipelineDefinition"), self._get_param("PipelineDefinitionS3Location")
    if text and location:
        raise ValidationError("Both PipelineDefinition and PipelineDefinitionS3Location are given; only one may be.")
    if location:
        backend = s3_backends[self.current_account]["aws"]
        s3_object = backend.get_object(location["Bucket"], location["ObjectKey"], location.get("VersionId"))
        if s3_object is None:
            raise ValidationError(f"Unable to read s3://{location['Bucket']}/{location['ObjectKey']}.")
        text = str(s3_object.value, "utf-8")
    if text:
        definition.parse(text)
    return text or None


def _page(self: Any, name: str, items: list[dict[str, Any]], most: int = 100) -> dict[str, Any]:
    start = int(self._get_param("NextToken") or 0)
    end = start + (self._get_param("MaxResults") or most)
    return {name: items[start:end], "NextToken": str(end) if end < len(items) else None}


def _descending(self: Any) -> bool:
    return bool((self._get_param("SortOrder") or "Descending") == "Descending")


# --- pipelines -----------------------------------------------------------------------------------------------------


def create_pipeline(self: Any) -> dict[str, Any]:
    name, text = self._get_param("PipelineName"), _definition_text(self)
    if name in self.sagemaker_backend.pipelines:
        raise ValidationError(
            "Pipeline names must be unique within an AWS account and region. "
            f"Pipeline with name ({name}) already exists."
        )
    if not text:
        raise ValidationError("Either PipelineDefinition or PipelineDefinitionS3Location must be given.")
    pipeline = FakePipeline(
        pipeline_name=name,
        pipeline_display_name=self._get_param("PipelineDisplayName"),
        pipeline_definition=text,
        pipeline_description=self._get_param("PipelineDescription"),
        role_arn=self._get_param("RoleArn"),
        tags=self._get_param("Tags"),
        account_id=self.sagemaker_backend.account_id,
        region_name=self.sagemaker_backend.region_name,
        parallelism_configuration=self._get_param("ParallelismConfiguration"),
    )
    pipeline.versions = [Version(text, pipeline.creation_time)]
    pipeline.tokens = {}  # client request tokens seen, with the execution each of them started
    self.sagemaker_backend.pipelines[name] = pipeline
    return {"PipelineArn": pipeline.arn}


def update_pipeline(self: Any) -> dict[str, Any]:
    pipeline, text = _pipeline(self, self._get_param("PipelineName")), _definition_text(self)
    changes = {
        "pipeline_display_name": self._get_param("PipelineDisplayName"),
        "pipeline_description": self._get_param("PipelineDescription"),
        "role_arn": self._get_param("RoleArn"),
        "parallelism_configuration": self._get_param("ParallelismConfiguration"),
    }
    for name, value in changes.items():
        if value is not None:
            setattr(pipeline, name, value)
    pipeline.last_modified_time = utcnow()
    with _counting:
        if text:  # the same text again is a new version, too
            pipeline.versions.append(Version(text, pipeline.last_modified_time))
        return {"PipelineArn": pipeline.arn, "PipelineVersionId": len(pipeline.versions)}


def describe_pipeline(self: Any) -> dict[str, Any]:
    pipeline = _pipeline(self, self._get_param("PipelineName"))
    answer: dict[str, Any] = self.sagemaker_backend.describe_pipeline(pipeline.pipeline_name)
    return answer | {"PipelineDefinition": pipeline.versions[_version(self, pipeline) - 1].text}


def list_pipeline_versions(self: Any) -> dict[str, Any]:
    pipeline = _pipeline(self, self._get_param("PipelineName"))
    rows = [
        {"PipelineArn": pipeline.arn, "PipelineVersionId": number, "CreationTime": version.creation_time}
        for number, version in enumerate(pipeline.versions, start=1)
    ]
    return _page(self, "PipelineVersionSummaries", rows[::-1] if _descending(self) else rows)


# --- executions ----------------------------------------------------------------------------------------------------


def start_pipeline_execution(self: Any) -> dict[str, Any]:
    pipeline, token = _pipeline(self, self._get_param("PipelineName")), self._get_param("ClientRequestToken")
    with _counting:
        if token in pipeline.tokens:
            return {"PipelineExecutionArn": pipeline.tokens[token]}
        execution_id = "".join(random.choices(string.ascii_lowercase + string.digits, k=12))  # noqa: S311
        arn = f"{pipeline.arn}/execution/{execution_id}"
        version = _version(self, pipeline)
        text = pipeline.versions[version - 1].text
        source = selection.check(definition.parse(text), self._get_param("SelectiveExecutionConfig"), pipeline)
        execution = Execution(pipeline, version, text, arn, dict(self.params), source)
        pipeline.tokens[token] = arn
        pipeline.pipeline_executions[arn] = execution
        pipeline.last_execution_time = execution.start_time
    execution.run()
    return {"PipelineExecutionArn": arn}


def delete_pipeline(self: Any) -> dict[str, Any]:
    """A pipeline goes when nothing of it runs any more, and its executions with it.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeletePipeline.html
    """
    pipeline = _pipeline(self, self._get_param("PipelineName"))
    if running := [e.arn for e in pipeline.pipeline_executions.values() if e.status in ("Executing", "Stopping")]:
        raise ConflictException(f"Pipeline {pipeline.arn} has executions that are running: {', '.join(running)}.")
    del self.sagemaker_backend.pipelines[pipeline.pipeline_name]
    return {"PipelineArn": pipeline.arn}


def stop_pipeline_execution(self: Any) -> dict[str, Any]:
    execution = _execution(self)
    execution.stop()
    return {"PipelineExecutionArn": execution.arn}


def retry_pipeline_execution(self: Any) -> dict[str, Any]:
    execution, token = _execution(self), self._get_param("ClientRequestToken")
    with _counting:
        if token not in execution.retry_tokens:
            execution.retry()
            execution.retry_tokens.add(token)
    return {"PipelineExecutionArn": execution.arn}


def describe_pipeline_execution(self: Any) -> dict[str, Any]:
    execution = _execution(self)
    return _summary(execution, "FailureReason") | {
        "PipelineArn": execution.pipeline_arn,
        "PipelineVersionId": execution.version,
        "PipelineExperimentConfig": {"ExperimentName": execution.pipeline_name, "TrialName": execution.id},
        "CreationTime": execution.start_time,
        "LastModifiedTime": execution.last_modified_time,
        "ParallelismConfiguration": execution.request.get("ParallelismConfiguration"),
        "SelectiveExecutionConfig": execution.request.get("SelectiveExecutionConfig"),
    }


def _summary(execution: Execution, reason: str) -> dict[str, Any]:
    return {
        "PipelineExecutionArn": execution.arn,
        "PipelineExecutionStatus": execution.status,
        "PipelineExecutionDescription": execution.request.get("PipelineExecutionDescription"),
        "PipelineExecutionDisplayName": execution.request.get("PipelineExecutionDisplayName") or execution.display_name,
        reason: execution.failure_reason,
    }


def list_pipeline_executions(self: Any) -> dict[str, Any]:
    executions = _pipeline(self, self._get_param("PipelineName")).pipeline_executions.values()
    ordered = sorted(executions, key=lambda each: each.start_time, reverse=_descending(self))
    rows = [{"StartTime": e.start_time} | _summary(e, "PipelineExecutionFailureReason") for e in ordered]
    return _page(self, "PipelineExecutionSummaries", rows)


def list_pipeline_execution_steps(self: Any) -> dict[str, Any]:
    # Only steps that were reached, the newest first unless asked otherwise: as the service does.
    steps = list(_execution(self).steps.values())
    ordered = sorted(steps, key=lambda step: step.start_time, reverse=_descending(self))
    return _page(self, "PipelineExecutionSteps", [_step(step) for step in ordered])


def _step(step: Step) -> dict[str, Any]:
    row = {
        "StepName": step.name,
        "StepDisplayName": step.document.get("DisplayName"),
        "StepDescription": step.document.get("Description"),
        "StartTime": step.start_time,
        "EndTime": step.end_time,
        "StepStatus": step.status,
        "AttemptCount": step.attempts,
        "FailureReason": step.failure_reason,
        "Metadata": step.metadata,
        "CacheHitResult": {"SourcePipelineExecutionArn": step.source} if step.source else None,
        "SelectiveExecutionResult": {"SourcePipelineExecutionArn": step.reused} if step.reused else None,
    }
    return {key: value for key, value in row.items() if value is not None}


def describe_pipeline_definition_for_execution(self: Any) -> dict[str, Any]:
    execution = _execution(self)
    return {"PipelineDefinition": execution.text, "CreationTime": execution.start_time}


_OPERATIONS: tuple[Callable[[Any], dict[str, Any]], ...] = (
    create_pipeline,
    update_pipeline,
    describe_pipeline,
    list_pipeline_versions,
    start_pipeline_execution,
    delete_pipeline,
    stop_pipeline_execution,
    retry_pipeline_execution,
    describe_pipeline_execution,
    list_pipeline_executions,
    list_pipeline_execution_steps,
    describe_pipeline_definition_for_execution,
)
