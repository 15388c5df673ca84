"""What SageMaker has to show: pipeline executions as drawings, the registry, endpoints, jobs.

Every function asks AWS by boto3 and returns values for the templates.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from sandbox.console import drawing
from sandbox.console.links import of_arn
from sandbox.console.place import Seen, took

_WORDS = {
    "Equals": "=",
    "GreaterThan": ">",
    "GreaterThanOrEqualTo": "≥",
    "LessThan": "<",
    "LessThanOrEqualTo": "≤",
}
Json = dict[str, Any]


class Step(NamedTuple):
    """A step of an execution; `note` is its reason, or what a condition measured."""

    name: str
    kind: str
    status: str
    took: str
    note: str
    path: str


class Condition(NamedTuple):
    """One comparison of a condition step; `value` and `limit` are None where they cannot be known."""

    metric: str
    operator: str
    value: float | str | None
    limit: float | str | None
    limit_name: str

    @property
    def words(self) -> str:
        """As a sentence: mse 4.88 ≤ 6."""
        measured = [_number(self.value)] if self.value is not None else []
        limit = _number(self.limit) if self.limit is not None else self.limit_name
        return " ".join([self.short, *measured, self.operator, limit])

    @property
    def short(self) -> str:
        """The metric's name alone: the path of it in the report is `regression_metrics.mse.value`."""
        return self.metric.removesuffix(".value").rpartition(".")[2]


class Execution(NamedTuple):
    facts: Json
    steps: list[Step]
    graph: drawing.Graph
    conditions: dict[str, list[Condition]]

    @property
    def path(self) -> str:
        return of_arn(self.facts["PipelineExecutionArn"])


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float | int) else str(value)


def pipelines(place: Seen) -> list[Json]:
    """All pipelines, each with its newest executions under `executions`."""
    sagemaker = place.aws("sagemaker")
    rows: list[Json] = sagemaker.list_pipelines(SortBy="CreationTime", SortOrder="Descending")["PipelineSummaries"]
    return [row | {"executions": executions(place, row["PipelineName"])} for row in rows]


def executions(place: Seen, pipeline: str, limit: int = 20) -> list[Json]:
    """The newest executions of a pipeline."""
    answer = place.aws("sagemaker").list_pipeline_executions(
        PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending", MaxResults=limit
    )
    rows: list[Json] = answer["PipelineExecutionSummaries"]
    return rows


def execution(place: Seen, arn: str) -> Execution:
    """An execution as far as it has come."""
    sagemaker = place.aws("sagemaker")
    facts: Json = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    definition = _definition(place, arn)
    pages = sagemaker.get_paginator("list_pipeline_execution_steps").paginate(PipelineExecutionArn=arn)
    begun = {row["StepName"]: row for page in pages for row in page["PipelineExecutionSteps"]}
    conditions = {
        name: [_condition(place, arn, definition, begun, each) for each in _flat(step["Arguments"]["Conditions"])]
        for name, step in definition.steps.items()
        if step["Type"] == "Condition"
    }
    steps = [_step(name, step, begun.get(name), conditions.get(name)) for name, step in definition.steps.items()]
    return Execution(facts, steps, drawing.graph(definition), conditions)


@lru_cache(maxsize=64)
def _document(place: Seen, arn: str) -> Json:
    """What an execution runs; it does not change any more."""
    answer = place.aws("sagemaker").describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    document: Json = json.loads(answer["PipelineDefinition"])
    return document


def _definition(place: Seen, arn: str) -> drawing.Definition:
    return drawing.read(_document(place, arn))


@lru_cache(maxsize=64)
def _parameters(place: Seen, arn: str) -> Json:
    """The values of an execution's parameters: the defaults of its definition, and what it was started with."""
    defaults = {row["Name"]: row.get("DefaultValue") for row in _document(place, arn).get("Parameters", [])}
    pages = place.aws("sagemaker").get_paginator("list_pipeline_parameters_for_execution")
    kinds = {row["Name"]: row["Type"] for row in _document(place, arn).get("Parameters", [])}
    overrides = {
        row["Name"]: float(row["Value"]) if kinds.get(row["Name"]) in ("Float", "Integer") else row["Value"]
        for page in pages.paginate(PipelineExecutionArn=arn)
        for row in page["PipelineParameters"]
    }
    return defaults | overrides


def _step(name: str, step: Json, row: Json | None, conditions: list[Condition] | None) -> Step:
    note = " and ".join(each.words for each in conditions or [])
    if row is None:
        return Step(name, step["Type"], "Waiting", "", note, "")
    metadata = row.get("Metadata") or {}
    arn = next((each["Arn"] for each in metadata.values() if isinstance(each, dict) and "Arn" in each), "")
    outcome = metadata.get("Condition", {}).get("Outcome", "")
    note = row.get("FailureReason") or (f"{outcome.lower()}: {note}" if outcome else note)
    cached = " (cached)" if row.get("CacheHitResult") else ""
    duration = took(row.get("StartTime"), row.get("EndTime")) + cached
    return Step(name, step["Type"], row["StepStatus"], duration, note, of_arn(arn))


def _flat(conditions: list[Json]) -> list[Json]:
    """The comparisons, those under Or and Not too."""
    rows = []
    for row in conditions:
        inner = row.get("Conditions") or ([row["Condition"]] if "Condition" in row else [])
        rows += _flat(inner) if inner else [row]
    return rows


def _condition(place: Seen, arn: str, definition: drawing.Definition, begun: Json, condition: Json) -> Condition:
    left = condition.get("LeftValue", condition.get("QueryValue"))
    right = condition.get("RightValue", condition.get("Values"))
    kind = str(condition["Type"])
    operator = str(_WORDS.get(kind, kind))
    return Condition(
        _name(left),
        operator,
        _value(place, arn, definition, begun, left),
        _value(place, arn, definition, begun, right),
        _name(right),
    )


def _name(operand: object) -> str:
    """What an operand is called: a path in a report, a parameter, or itself."""
    if isinstance(operand, dict):
        if "Std:JsonGet" in operand:
            return str(operand["Std:JsonGet"]["Path"])
        return str(operand.get("Get", operand)).removeprefix("Parameters.")
    return str(operand)


def _value(place: Seen, arn: str, definition: drawing.Definition, begun: Json, operand: object) -> Any:
    """What an operand comes to: a number, a parameter, or a value of a property file that a step has written."""
    if not isinstance(operand, dict):
        return operand
    if str(operand.get("Get", "")).startswith("Parameters."):
        return _parameters(place, arn).get(operand["Get"].partition(".")[2])
    if "Std:JsonGet" not in operand:
        return None
    step, _, file_name = (
        operand["Std:JsonGet"]["PropertyFile"]["Get"].removeprefix("Steps.").partition(".PropertyFiles.")
    )
    row = begun.get(step)
    if row is None or row["StepStatus"] != "Succeeded" or "ProcessingJob" not in row.get("Metadata", {}):
        return None
    [file] = [each for each in definition.steps[step]["PropertyFiles"] if each["PropertyFileName"] == file_name]
    job = row["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    value: Any = _property_file(place, job, file["OutputName"], file["FilePath"])
    for part in operand["Std:JsonGet"]["Path"].split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


@lru_cache(maxsize=256)
def _property_file(place: Seen, job: str, output: str, path: str) -> Json:
    described = place.aws("sagemaker").describe_processing_job(ProcessingJobName=job)
    outputs = described["ProcessingOutputConfig"]["Outputs"]
    [address] = [each["S3Output"]["S3Uri"] for each in outputs if each["OutputName"] == output]
    return _json(place, f"{address.rstrip('/')}/{path}")


def _json(place: Seen, address: str) -> Json:
    """A JSON file of S3; empty if it is gone."""
    parts = urlsplit(address)
    try:
        body = place.aws("s3").get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"].read()
        document = json.loads(body)
    except (ClientError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


# --- the registry ----------------------------------------------------------------------------------------------------


class Version(NamedTuple):
    """A model version; `metrics` by name, `facts` is DescribeModelPackage's answer."""

    number: int
    status: str
    arn: str
    path: str
    metrics: dict[str, float]
    facts: Json


def groups(place: Seen) -> list[str]:
    """The model package groups, the newest first."""
    answer = place.aws("sagemaker").list_model_package_groups(SortBy="CreationTime", SortOrder="Descending")
    return [row["ModelPackageGroupName"] for row in answer["ModelPackageGroupSummaryList"]]


def versions(place: Seen, group: str, limit: int = 20) -> list[Version]:
    """The newest versions of a group, the newest first."""
    answer = place.aws("sagemaker").list_model_packages(
        ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", MaxResults=limit
    )
    return [version(place, row["ModelPackageArn"]) for row in answer["ModelPackageSummaryList"]]


def version(place: Seen, arn: str) -> Version:
    """A version with its metrics."""
    facts: Json = place.aws("sagemaker").describe_model_package(ModelPackageName=arn)
    statistics = (facts.get("ModelMetrics") or {}).get("ModelQuality", {}).get("Statistics", {})
    metrics = _metrics(place, statistics["S3Uri"]) if statistics else {}
    path = of_arn(facts["ModelPackageArn"])
    return Version(facts["ModelPackageVersion"], facts["ModelApprovalStatus"], arn, path, metrics, facts)


@lru_cache(maxsize=256)
def _metrics(place: Seen, address: str) -> dict[str, float]:
    """The values of an evaluation in the form of Model Monitor's: kind, metric, value."""
    metrics = {}
    for kind in _json(place, address).values():
        for name, row in kind.items() if isinstance(kind, dict) else ():
            value = row.get("value") if isinstance(row, dict) else row
            if isinstance(value, float | int) and not isinstance(value, bool):
                metrics[name] = float(value)
    return metrics


def limits(place: Seen, row: Version) -> dict[str, Condition]:
    """The conditions that a version had to meet before it was registered, by metric."""
    arn = (row.facts.get("CustomerMetadataProperties") or {}).get("PipelineExecutionArn")
    if not arn:
        return {}
    try:
        conditions = execution(place, arn).conditions
    except ClientError:  # the pipeline is gone, the version is not
        return {}
    flat = [each for rows in conditions.values() for each in rows]
    return {each.short: each for each in flat}


def charts(rows: list[Version], held_to: dict[str, Condition]) -> list[drawing.Chart]:
    """A chart for each metric of the newest version, those with a threshold first; of a single version these alone."""
    if not rows:
        return []
    names = sorted(rows[0].metrics, key=lambda name: name not in held_to)
    drawn = []
    for name in names[:4]:
        if len(rows) == 1 and name not in held_to:
            continue
        values = [(row.number, row.metrics[name], row.status) for row in reversed(rows) if name in row.metrics]
        limit = held_to[name].limit if name in held_to else None
        drawn.append(drawing.chart(name, values, float(limit) if isinstance(limit, float | int) else None))
    return drawn


# --- endpoints and jobs ----------------------------------------------------------------------------------------------


class Variant(NamedTuple):
    name: str
    package: str
    path: str
    weight: float
    instances: str


class Endpoint(NamedTuple):
    name: str
    status: str
    variants: list[Variant]
    facts: Json


def endpoints(place: Seen) -> list[Endpoint]:
    """All endpoints."""
    rows = place.aws("sagemaker").list_endpoints(SortBy="Name", SortOrder="Ascending")["Endpoints"]
    return [each for row in rows if (each := endpoint(place, row["EndpointName"]))]


def endpoint(place: Seen, name: str) -> Endpoint | None:
    """An endpoint and which model version each of its variants serves; None if there is none."""
    sagemaker = place.aws("sagemaker")
    try:
        facts: Json = sagemaker.describe_endpoint(EndpointName=name)
    except ClientError:
        return None
    variants = [_variant(place, facts["EndpointConfigName"], row) for row in facts.get("ProductionVariants") or []]
    return Endpoint(name, facts["EndpointStatus"], variants, facts)


def _variant(place: Seen, config: str, row: Json) -> Variant:
    package = _package(place, config, row["VariantName"])
    size = "serverless" if row.get("CurrentServerlessConfig") else _instances(row.get("CurrentInstanceCount", 0))
    return Variant(row["VariantName"], package, of_arn(package), row.get("CurrentWeight", 1.0), size)


def version_of(place: Seen, config: str, variant: str) -> tuple[str, str]:
    """Number and path of the model version that a variant of an endpoint configuration serves; empty if it has none."""
    package = _package(place, config, variant)
    return package.rpartition("/")[2], of_arn(package) if package else ""


def _instances(number: int) -> str:
    return f"{number} instance" + ("" if number == 1 else "s")


@lru_cache(maxsize=256)
def _package(place: Seen, config: str, variant: str) -> str:
    """The model package behind a variant: endpoint configurations and models never change."""
    sagemaker = place.aws("sagemaker")
    rows = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    [model] = [row["ModelName"] for row in rows if row["VariantName"] == variant]
    described = sagemaker.describe_model(ModelName=model)
    container = described.get("PrimaryContainer") or described["Containers"][0]
    return str(container.get("ModelPackageName", ""))


_LOGS = {kind: f"/aws/sagemaker/{kind.title()}Jobs" for kind in ("training", "processing", "transform")}


def job(place: Seen, kind: str, name: str) -> tuple[Json, str]:
    """A job as it is described, and its log in CloudWatch Logs. Raises LookupError for a kind that there is not."""
    if kind not in _LOGS:
        raise LookupError(kind)
    describe = getattr(place.aws("sagemaker"), f"describe_{kind}_job")
    facts: Json = describe(**{f"{kind.title()}JobName": name})
    return facts, log(place, _LOGS[kind], name)


def log(place: Seen, group: str, prefix: str = "", limit: int = 2000) -> str:
    """The last lines of a log group's streams."""
    logs = place.aws("logs")
    try:
        names = [row["logStreamName"] for row in logs.describe_log_streams(logGroupName=group)["logStreams"]]
        names = [name for name in names if name.startswith(f"{prefix}/")] if prefix else names[-20:]
        rows = logs.filter_log_events(logGroupName=group, logStreamNames=names)["events"] if names else []
    except ClientError:
        return ""
    rows = sorted(rows, key=lambda row: row["timestamp"])[-limit:]
    return "\n".join(row["message"].rstrip() for row in rows)
