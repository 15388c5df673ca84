"""Batch transform: no endpoint, but a SageMaker pipeline of one step that reads rows from S3 and writes predictions."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import aws_errors, console, endpoint, errors, export, job, list_prices, settings, text
from ci_scripts.aws import Aws
from ci_scripts.export import Export
from ci_scripts.hosting.foreign import (
    CAPTURE,
    INSTANCES,
    INVOCATIONS,
    KEY,
    ON_DEMAND,
    POOL,
    QUEUE,
    SCALING,
    SECOND_MODEL,
    START,
    TOPICS,
    reasons,
)
from ci_scripts.hosting.kind import Objection, Predictor
from ci_scripts.hosting.on_endpoint import configured
from ci_scripts.hosting.real_time import missing_in_vpc
from ci_scripts.list_prices import Usage
from ci_scripts.registry import ModelPackage
from ci_scripts.s3_location import Location
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_RUNNING = ("Executing", "Stopping")
_ROWS_OF_PROOF = 5
# For held-out rows, which hold the features alone, and whose predictions are read.
_NO_FILTERS = {"InputFilter": "$", "JoinSource": "None", "OutputFilter": "$"}
_LARGEST_SAMPLE = 1_000_000  # bytes, of a row or of a file that is sent whole

_ENDPOINT = "a batch transform has no endpoint"


class BatchTransform:
    """See `Hosting`. The pipeline has the name that an endpoint of the stage would have."""

    name = "batch-transform"
    template_file = "batch-transform-template.yml"
    has_endpoint = False
    unguarded = "there is no endpoint whose requests could be shifted"
    package_parameters: Mapping[str, str] = {}
    foreign: Mapping[str, str] = reasons(
        ((*INSTANCES, *POOL), "a batch transform has TransformInstanceType and TransformInstanceCount"),
        ((*ON_DEMAND, *START, *SCALING, *INVOCATIONS, *QUEUE, *CAPTURE, *TOPICS), _ENDPOINT),
        (SECOND_MODEL, "a batch transform runs one model"),
        (KEY, "what a batch transform writes is encrypted as its bucket says"),
    )

    def parameters(self, project: Project, stage: str, role: str) -> dict[str, str | None]:
        return {
            **export.named_parameters(stage, project, ""),
            "ModelPackageName": None,
            "ModelExecutionRoleArn": role,
            "OutputPath": f"s3://{project.artifact_bucket}/{project.name}-{project.id}/batch-transform/{stage}",
            "ScheduleRoleArn": settings.value(os.environ, "SCHEDULE_ROLE_ARN") or "",
        }

    def objections(self, parameters: Mapping[str, str]) -> Iterator[Objection]:
        yield from missing_in_vpc(parameters)
        if parameters.get("ScheduleExpression") and not parameters.get("ScheduleRoleArn"):
            yield Objection(
                "ScheduleExpression",
                "a schedule needs a role to start the pipeline with: set the CI/CD variable SCHEDULE_ROLE_ARN to the "
                "output ScheduleRoleArn of infra/hosting.yml",
            )

    def usages(self, parameters: Mapping[str, str]) -> Sequence[Usage]:
        kind, count = parameters.get("TransformInstanceType", ""), parameters.get("TransformInstanceCount", "")
        if not kind or not count.isdecimal():
            return []
        return [Usage(kind, f"Tsform:{kind}", int(count), int(count), list_prices.RUN)]

    def other_packages(self, parameters: Mapping[str, str]) -> Mapping[str, str]:
        return {}

    def title(self, plan: Export) -> str:
        return f"batch transform {plan.endpoint_name}"

    def proven(self, plan: Export, package: str) -> str:
        return f"batch transform {plan.endpoint_name} runs {package}"

    def obstacle(self, aws: Aws, plan: Export) -> str:
        _, present = configured(aws, plan.endpoint_name)
        return present and f"endpoint {plan.endpoint_name} is {present} and is to be {self.name}: {_ENDPOINT}"

    def require_updatable(self, aws: Aws, plan: Export, poll_seconds: float) -> None:
        """A pipeline can be updated at any time; a run that is under way keeps its definition."""

    def prove(self, aws: Aws, plan: Export, package: ModelPackage, poll_seconds: float, *, of_stack: bool) -> None:
        """By the model that the pipeline names and, of the stack, by a run on the first rows.

        Raises BatchTransformNotAsDeployed or BatchTransformFailed.
        """
        pipeline = _Pipeline.read(aws, plan.endpoint_name)
        containers = endpoint.model_containers(aws.sagemaker, pipeline.model)
        if not any(endpoint.serves(each, package.description) for each in containers):
            served = ", ".join(endpoint.container_name(each) for each in containers) or "a model that does not exist"
            raise errors.BatchTransformNotAsDeployed(f"{self.title(plan)} runs {served}, not {package.arn}")
        if of_stack:
            rows = first_rows(aws.s3, Location.of(pipeline.default("InputUri")), whole=not pipeline.splits_lines)
            job.say(f"a run on {f'the first {rows.lines} rows of ' if rows.lines else ''}{rows.source}")
            output = pipeline.run(aws, rows.content, poll_seconds, {})
            lines = len(output.splitlines())
            if rows.lines and lines != rows.lines:
                raise errors.BatchTransformFailed(
                    f"{self.title(plan)} wrote {lines} lines for {rows.lines} rows: {text.short(_shown(output))}"
                )

    def state(self, aws: Aws, plan: Export) -> str:
        try:
            pipeline = _Pipeline.read(aws, plan.endpoint_name)
        except errors.BatchTransformNotAsDeployed as error:
            return error.message
        containers = endpoint.model_containers(aws.sagemaker, pipeline.model)
        served = ", ".join(endpoint.container_name(each) for each in containers)
        return f"{self.title(plan)} runs {served or 'a model that no longer exists'}"

    def links(self, region: str, plan: Export) -> Mapping[str, str]:
        page = console.url(region, f"sagemaker/home?region={region}#/transform-jobs")
        return {f"Transform jobs of {plan.endpoint_name}": page}

    def variables(self, region: str, plan: Export) -> Mapping[str, str]:
        return {
            "PIPELINE_NAME": plan.endpoint_name,
            "MODEL_PACKAGE_ARN": plan.model_package_arn,
            "STACK_NAME": plan.stack_name,
        }

    def predictor(self, aws: Aws, endpoint_name: str) -> Predictor:
        def ask(body: bytes, content_type: str) -> tuple[bytes, int]:
            pipeline = _Pipeline.read(aws, endpoint_name)
            if content_type != pipeline.content_type:
                raise errors.InvocationFailed(
                    f"batch transform {endpoint_name} takes {pipeline.content_type}, and is asked with {content_type}",
                    hint=f"Let quality.yml say `request: {{content_type: {pipeline.content_type}}}`.",
                )
            return pipeline.run(aws, body, settings.poll_seconds(), _NO_FILTERS), 0

        return Predictor(once=ask, patient=ask, concurrent=lambda _: ask, whole=True)


class Rows(NamedTuple):
    """What a proof is made with."""

    content: bytes
    source: str
    lines: int
    """How many they are; 0 for a file that is sent whole."""


def first_rows(s3: S3Client, place: Location, *, whole: bool) -> Rows:
    """The first lines of the first file that is not empty. Raises BatchTransformFailed when there is none."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=place.key)
    file = next((each for page in pages for each in page.get("Contents", []) if each["Size"]), None)
    if file is None:
        raise errors.BatchTransformFailed(
            f"there are no rows at {place} to prove the deployment with",
            hint="Put a file of rows there, or correct InputUri in the stage configuration; then run this job again.",
        )
    source = place._replace(key=file["Key"])
    last = int(file["Size"]) if whole else _LARGEST_SAMPLE
    content = s3.get_object(Bucket=source.bucket, Key=source.key, Range=f"bytes=0-{last - 1}")["Body"].read()
    if whole:
        return Rows(content, str(source), 0)
    lines = content.splitlines(keepends=True)
    if file["Size"] > len(content) and len(lines) > 1:
        lines.pop()  # cut off
    return Rows(b"".join(lines[:_ROWS_OF_PROOF]), str(source), len(lines[:_ROWS_OF_PROOF]))


class _Pipeline(NamedTuple):
    """A pipeline of one transform step."""

    name: str
    definition: Mapping[str, Any]
    step: Mapping[str, Any]
    """The arguments of the transform step."""

    @classmethod
    def read(cls, aws: Aws, name: str) -> _Pipeline:
        """Raises BatchTransformNotAsDeployed."""
        from botocore.exceptions import ClientError

        try:
            content = aws.sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"]
        except ClientError as error:
            if aws_errors.code(error) == "ResourceNotFound" or "does not exist" in aws_errors.text(error):
                raise errors.BatchTransformNotAsDeployed(f"there is no pipeline {name}") from error
            raise
        definition = json.loads(content)
        steps = [each for each in definition.get("Steps", []) if each.get("Type") == "Transform"]
        if len(steps) != 1:
            raise errors.BatchTransformNotAsDeployed(f"the pipeline {name} has {len(steps)} transform steps, not one")
        return cls(name, definition, steps[0]["Arguments"])

    @property
    def model(self) -> str:
        return str(self._settled(self.step.get("ModelName", "")))

    @property
    def content_type(self) -> str:
        return str(self._settled(self.step["TransformInput"].get("ContentType", "")))

    @property
    def splits_lines(self) -> bool:
        return bool(self._settled(self.step["TransformInput"].get("SplitType", "None")) == "Line")

    @property
    def parameters(self) -> Sequence[str]:
        return [each["Name"] for each in self.definition.get("Parameters", [])]

    def default(self, parameter: str) -> str:
        """The default of a parameter; empty for one that the pipeline does not have."""
        declared = self.definition.get("Parameters", [])
        return next((str(each.get("DefaultValue", "")) for each in declared if each["Name"] == parameter), "")

    def _settled(self, value: Any) -> Any:
        """A value of the definition, which may be that of a parameter."""
        if isinstance(value, dict) and str(value.get("Get", "")).startswith("Parameters."):
            return self.default(value["Get"].partition(".")[2])
        return value

    def run(self, aws: Aws, content: bytes, poll_seconds: float, filters: Mapping[str, str]) -> bytes:
        """What a run on these rows writes, with the pipeline's own filters and join but for those given.

        Raises BatchTransformFailed; stops the run when the job is cancelled.
        """
        outputs = self._output_path()
        token = uuid.uuid4().hex
        rows = outputs._replace(key=f"{outputs.key}/samples/{token}/rows")
        aws.s3.put_object(Bucket=rows.bucket, Key=rows.key, Body=content, ContentType=self.content_type)
        values = {"InputUri": str(rows), **filters}
        arn = aws.sagemaker.start_pipeline_execution(
            PipelineName=self.name,
            ClientRequestToken=token,
            PipelineExecutionDisplayName=f"sample-{token[:12]}",
            PipelineParameters=[{"Name": name, "Value": values[name]} for name in values if name in self.parameters],
        )["PipelineExecutionArn"]
        try:
            while (execution := aws.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn))[
                "PipelineExecutionStatus"
            ] in _RUNNING:
                job.pause(poll_seconds)
        except job.Cancelled:
            with job.after_cancellation():
                aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=token)
            raise
        if execution["PipelineExecutionStatus"] != "Succeeded":
            raise errors.BatchTransformFailed(
                f"batch transform {self.name} ended as {execution['PipelineExecutionStatus']} on a sample of its rows: "
                f"{self._reason(aws, arn) or execution.get('FailureReason', 'no reason given')}",
            )
        output = outputs._replace(key=f"{outputs.key}/{arn.rpartition('/')[2]}/rows.out")
        return aws.s3.get_object(Bucket=output.bucket, Key=output.key)["Body"].read()

    def _output_path(self) -> Location:
        """The folder in which every run has its own: Std:Join of it and the execution's id."""
        path = self.step["TransformOutput"]["S3OutputPath"]
        parts = path.get("Std:Join", {}).get("Values", []) if isinstance(path, dict) else []
        if len(parts) != 2 or not isinstance(parts[0], str):
            raise errors.BatchTransformNotAsDeployed(
                f"the pipeline {self.name} does not write below a folder for each run",
                hint="Let S3OutputPath in the template join OutputPath and Execution.PipelineExecutionId, as the "
                "packaged template does: so it is known where the predictions of a sample are.",
            )
        return Location.of(parts[0].rstrip("/"))

    def _reason(self, aws: Aws, arn: str) -> str:
        pages = aws.sagemaker.get_paginator("list_pipeline_execution_steps").paginate(PipelineExecutionArn=arn)
        reasons = [each.get("FailureReason", "") for page in pages for each in page["PipelineExecutionSteps"]]
        return "; ".join(" ".join(each.split()) for each in reasons if each)


def _shown(output: bytes) -> str:
    return output[:400].decode(errors="replace")
