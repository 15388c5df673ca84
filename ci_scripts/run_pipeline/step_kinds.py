"""The kinds of steps that SageMaker Pipelines has: what a step ran as, where its log is, which parameter grants it.

One table, by the members of PipelineExecutionStepMetadata; tests/contract/test_step_kinds.py holds it to botocore.
Pure; called by run.py, execution.py, jobs.py and command.py.
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_PipelineExecutionStepMetadata.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ci_scripts.errors import StepKindNotAllowed
from ci_scripts.run_pipeline.progress import Step

Metadata = Mapping[str, Any]


class Kind(NamedTuple):
    """One member of PipelineExecutionStepMetadata."""

    thing: str
    """What such a step runs as, in words; empty where there is nothing but the step."""
    names: tuple[str, ...] = ()
    """The members of its metadata that name it."""
    types: tuple[str, ...] = ()
    """The step types of definitions that have it."""
    log: str = ""
    """Where the log is; `{name}` is the last name of its ARN, other members are named as they are."""
    remark: Callable[[Metadata], str] = lambda metadata: ""
    """What its metadata says beside that, in words."""


def _outputs(metadata: Metadata) -> str:
    return ", ".join(f"{each.get('Name')} {each.get('Value')}" for each in metadata.get("OutputParameters") or [])


def _checked(metadata: Metadata) -> str:
    if metadata.get("SkipCheck"):
        return "check skipped"
    report = metadata.get("ViolationReport")
    return f"violations, if there are any: {report}" if report else ""


def _loop(metadata: Metadata) -> str:
    done, every = metadata.get("SucceededStepCount"), metadata.get("TotalStepCount")
    failed = metadata.get("FailedStepCount")
    return f"{done or 0} of {every} steps succeeded" + (f", {failed} failed" if failed else "") if every else ""


def _cleaned(metadata: Metadata) -> str:
    failed_steps = metadata.get("FailedSteps") or []
    return f"could not clean up after {', '.join(map(str, failed_steps))}" if failed_steps else ""


def _waits(metadata: Metadata) -> str:
    # Its token is as good as a key: who has it may answer for the step.
    return _outputs(metadata) or f"asked by a message to {metadata.get('SqsQueueUrl', 'its queue')}"


_STREAMS = "CloudWatch Logs, /aws/sagemaker/{group}, streams that begin with {{name}}"
_PROCESSING, _TRAINING, _TRANSFORM = (
    _STREAMS.format(group=group) for group in ("ProcessingJobs", "TrainingJobs", "TransformJobs")
)
_BEDROCK = "Amazon Bedrock's console has its state and, if it is switched on, its log"

KINDS: Mapping[str, Kind] = {
    "ProcessingJob": Kind("processing job", ("Arn",), ("Processing",), _PROCESSING),
    "TrainingJob": Kind("training job", ("Arn",), ("Training",), _TRAINING),  # of notebook jobs and @step, too
    "TransformJob": Kind("transform job", ("Arn",), ("Transform",), _TRANSFORM),
    "TuningJob": Kind("tuning job", ("Arn",), ("Tuning",), _TRAINING),
    "AutoMLJob": Kind(
        "AutoML job", ("Arn",), ("AutoML",), "those of the jobs that it started, which are named after {name}"
    ),
    "QualityCheck": Kind("check, processing job", ("CheckJobArn",), ("QualityCheck",), _PROCESSING, _checked),
    "ClarifyCheck": Kind("check, processing job", ("CheckJobArn",), ("ClarifyCheck",), _PROCESSING, _checked),
    "Model": Kind("model", ("Arn",), ("Model",)),
    "RegisterModel": Kind("model package", ("Arn",), ("RegisterModel",)),
    "Condition": Kind("", (), ("Condition",)),
    "Fail": Kind("", (), ("Fail",)),
    "Lambda": Kind("Lambda function", ("Arn",), ("Lambda",), "CloudWatch Logs, /aws/lambda/{name}", _outputs),
    "Callback": Kind(
        "message to the queue", ("SqsQueueUrl",), ("Callback",), "that of whoever takes messages from the queue", _waits
    ),
    "EMR": Kind("EMR step", ("StepId", "ClusterId"), ("EMR",), "{LogFilePath}"),
    "EMRServerless": Kind("EMR Serverless job run", ("JobRunId", "ApplicationId"), ("EMRServerless",), "{LogFilePath}"),
    "Athena": Kind("Athena query", ("QueryExecutionId",), ("Athena",), "its history in Athena"),
    "Endpoint": Kind("endpoint", ("Arn",), ("Endpoint",), "CloudWatch Logs, /aws/sagemaker/Endpoints/{name}"),
    "EndpointConfig": Kind("endpoint configuration", ("Arn",), ("EndpointConfig",)),
    "InferenceComponent": Kind(
        "inference component",
        ("Arn",),
        ("InferenceComponent",),
        "CloudWatch Logs, /aws/sagemaker/InferenceComponents/{name}",
    ),
    "BedrockCustomModel": Kind("Bedrock custom model", ("Arn",), log=_BEDROCK),
    "BedrockCustomModelDeployment": Kind("Bedrock custom model deployment", ("Arn",), log=_BEDROCK),
    "BedrockProvisionedModelThroughput": Kind("Bedrock provisioned throughput", ("Arn",), log=_BEDROCK),
    "BedrockModelImport": Kind("Bedrock model import", ("Arn",), log=_BEDROCK),
    "Lineage": Kind("", (), ("Lineage",)),
    "Job": Kind("job", ("Arn",), ("Job",)),
    "Cleanup": Kind("", (), ("Cleanup",), remark=_cleaned),
    "ForEach": Kind("", (), ("ForEach",), "those of the steps inside, each with its number", _loop),
    "HubContent": Kind("hub content", ("HubContentArn",)),
}

GRANTED_BY: Mapping[str, str] = {
    "Tuning": "TuningSteps of infra/gitlab-oidc.yml (and of infra/steps.yml)",
    "Lambda": "LambdaFunctions of infra/gitlab-oidc.yml (and of infra/steps.yml)",
    "Callback": "CallbackQueues of infra/steps.yml",
    "EMR": "EmrSteps of infra/steps.yml",
    "AutoML": "AutoMLSteps of infra/steps.yml",
}
"""The parameter with which the pipeline's role may run a type of step that it may not run without."""

ALLOWED = "ALLOWED_STEPS"
"""The CI/CD variable with the step types that the pipeline's role may run: an output of infra/steps.yml."""

ALLOWED_APART = "MERGE_REQUEST_ALLOWED_STEPS"
"""The same of the role of merge requests' own pipelines, which may less: an output of infra/merge-requests.yml."""

_SHOWN = ("ProcessingJob", "TrainingJob", "TransformJob", "TuningJob", "QualityCheck", "ClarifyCheck")
"""Whose last log lines the job shows by itself."""


def remark(step: Step) -> str:
    """What a step's metadata says of it, beside what its name and status tell; empty for most kinds."""
    remarks = [KINDS[kind].remark(metadata) for kind, metadata in step.metadata.items() if kind in KINDS]
    return "; ".join(filter(None, remarks))


def ran_as(step: Step) -> str:
    """`Lambda function abalone-notify`: what a step ran as, by its name in AWS; empty if it is nothing of its own."""
    for kind, metadata in step.metadata.items():
        step_kind = KINDS.get(kind)
        names = [_short(str(metadata[name])) for name in step_kind.names if metadata.get(name)] if step_kind else []
        if step_kind and names:
            return f"{step_kind.thing} {' of '.join(names)}"
    return ""


def log_place(step: Step) -> str:
    """Where the log of a step is, in words; empty if it has none, or none that is known."""
    for kind, metadata in step.metadata.items():
        step_kind = KINDS.get(kind)
        if step_kind is None or not step_kind.log:
            continue
        name = _short(str(metadata.get(step_kind.names[0], ""))) if step_kind.names else ""
        try:
            place = step_kind.log.format(**{**metadata, "name": name})
        except KeyError:  # EMR tells a path if the cluster keeps logs
            return ""
        return place if name or not step_kind.names else ""
    return ""


def failed(step: Step) -> str:
    """` (Lambda function abalone-notify, its log: ...)`, behind the reason why a step failed; empty where the job log
    has the lines themselves, or there is nothing to name.
    """
    what = ran_as(step)
    if not what or step.metadata.keys() & set(_SHOWN):
        return ""
    place = log_place(step)
    return f" ({what}{f', its log: {place}' if place else ''})"


def require_allowed(steps: Mapping[str, Mapping[str, Any]], allowed: str, apart: str = "") -> None:
    """Raise StepKindNotAllowed for steps of types that the role of the pipeline may not run.

    `allowed` and `apart` are the values of the variables ALLOWED and, in a merge request that trains, ALLOWED_APART:
    types, separated by commas. The latter wins; a role of which nothing is said may run everything.
    """
    types = {each.strip() for each in (apart or allowed).split(",") if each.strip()}
    refused = {name: str(step.get("Type")) for name, step in steps.items() if step.get("Type") not in types}
    if not types or not refused:
        return
    steps_refused = ", ".join(f"{name} ({kind})" for name, kind in refused.items())
    kinds = list(dict.fromkeys(refused.values()))
    if apart:
        raise StepKindNotAllowed(
            f"the role of merge requests' pipelines may not run steps of these types: {steps_refused}",
            hint=f"No parameter of infra/merge-requests.yml grants {', '.join(kinds)}: anybody who may push a branch "
            "acts as this role. Grant it what AWS's guide lists for them and put the type into the CI/CD variable "
            f"{ALLOWED_APART}, or leave the steps out where CI_PIPELINE_SOURCE is merge_request_event.",
        )
    grants = [f"{kind}: the parameter {GRANTED_BY[kind]}" for kind in kinds if kind in GRANTED_BY]
    if others := [kind for kind in kinds if kind not in GRANTED_BY]:
        grants.append(f"{', '.join(others)}: no parameter, grant the role what AWS's guide lists for it")
    raise StepKindNotAllowed(
        f"the role of the pipeline may not run steps of these types: {steps_refused}",
        hint=f"{'; '.join(grants)}. Then put the type into the CI/CD variable {ALLOWED}, which is the output "
        "AllowedSteps of infra/steps.yml.",
    )


def _short(name: str) -> str:
    """The last part of an ARN (of a function's, without its version); everything else as it is."""
    if not name.startswith("arn:"):
        return name
    parts = name.split(":", 6)
    return parts[6].partition(":")[0] if parts[2] == "lambda" else name.rpartition("/")[2]
