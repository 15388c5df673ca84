"""What each type of pipeline step does: one function per type, through this server's API, as the pipeline's role."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from typing import Any, NamedTuple

from botocore.exceptions import ClientError, ParamValidationError

from sandbox.aws.access import identity
from sandbox.aws.sagemaker import definition, jobs
from sandbox.aws.sagemaker.definition import Json

# What a step's metadata call the job of a kind: PipelineExecutionStepMetadata in the API.
_JOBS = {
    "Processing": "ProcessingJob",
    "Training": "TrainingJob",
    "Transform": "TransformJob",
    "HyperParameterTuning": "TuningJob",
}


class StepFailed(Exception):
    """The step ends as Failed; the message is its FailureReason, which SageMaker cuts off."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason[:1024])


class Call(NamedTuple):
    """One run of one step. `step` is an executions.Step; `resolve` fills in the functions of a definition."""

    execution_arn: str
    execution_id: str
    step: Any
    credentials: dict[str, str]
    resolve: Callable[[Any], Any]

    def arguments(self) -> Json:
        filled: Json = self.resolve(definition.own_part(self.step.document)["Arguments"])
        return filled

    def name(self) -> str:
        """A resource name as the service makes them: pipelines-<execution id>-<step, cut>-<random>."""
        suffix = "".join(random.choices(string.ascii_letters + string.digits, k=10))  # noqa: S311
        return f"pipelines-{self.execution_id}-{self.step.name[:20].rstrip('-_').replace('_', '-')}-{suffix}"

    def short_name(self) -> str:
        suffix = "".join(random.choices(string.ascii_letters + string.digits, k=10))  # noqa: S311
        return f"{self.execution_id}-{self.step.name[:8].rstrip('-_').replace('_', '-')}-{suffix}"

    def tags(self) -> list[Json]:
        # The service tags what a pipeline makes; a pipeline's role needs sagemaker:AddTags because of it.
        return [
            {"Key": "sagemaker:pipeline-execution-arn", "Value": self.execution_arn},
            {"Key": "sagemaker:pipeline-step-name", "Value": self.step.name},
        ]

    def invoke(self, operation: str, **request: Any) -> Json:
        """Call a SageMaker operation; a refusal fails the step with the service's words."""
        method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("_")
        try:
            answer: Json = getattr(identity.client("sagemaker", self.credentials), method)(**request)
        except (ClientError, ParamValidationError) as error:
            text = error.response["Error"]["Message"] if isinstance(error, ClientError) else str(error)
            raise StepFailed(
                f"ClientError: Failed to invoke sagemaker:{operation}. Error Details: {text}\nRetry not appropriate "
                f"on execution of step with PipelineExecutionArn {self.execution_arn} and StepId {self.step.name}."
            ) from error
        return answer


def stop_job(call: Call) -> None:
    """Stop the job that a step waits for, if it has started one that still runs."""
    for kind, entry in _JOBS.items():
        arn = call.step.metadata.get(entry, {}).get("Arn")
        if arn and not jobs.finished(arn).is_set():
            call.invoke(f"Stop{kind}Job", **{f"{kind}JobName": arn.rpartition("/")[2]})


def _job(kind: str) -> Callable[[Call], None]:
    def run(call: Call) -> None:
        # A tuning job's name may have 32 characters, all others 63.
        name = {f"{kind}JobName": call.short_name() if kind == "HyperParameterTuning" else call.name()}
        request = call.arguments() | name
        request["Tags"] = [*request.get("Tags", []), *call.tags()]
        arn = call.invoke(f"Create{kind}Job", **request)[f"{kind}JobArn"]
        call.step.metadata = {_JOBS[kind]: {"Arn": arn}}
        if call.step.status == "Stopping":
            stop_job(call)  # the execution was stopped while the job was being made
        jobs.finished(arn).wait()
        call.step.properties = answer = call.invoke(f"Describe{kind}Job", **name)
        if answer[f"{kind}JobStatus"] == "Failed":
            raise StepFailed(f"ClientError: {answer['FailureReason']}")
        if answer[f"{kind}JobStatus"] == "Stopped" and call.step.status != "Stopping":
            raise StepFailed(f"ClientError: {kind} job stopped: {answer.get('SecondaryStatus', 'Stopped')}")
        if kind == "HyperParameterTuning":
            jobs_of_it = call.invoke(
                "ListTrainingJobsForHyperParameterTuningJob", **name, SortBy="FinalObjectiveMetricValue"
            )
            answer["TrainingJobSummaries"] = jobs_of_it["TrainingJobSummaries"]

    return run


def _condition(call: Call) -> None:
    conditions = call.step.document["Arguments"]["Conditions"]
    outcome = all(definition.holds(each, call.resolve) for each in conditions)
    # Two spellings, as the service has them: the metadata's is an enum, the property's is a JSON literal.
    call.step.metadata = {"Condition": {"Outcome": str(outcome)}}
    call.step.properties = {"Outcome": str(outcome).lower()}


def _register_model(call: Call) -> None:
    request = call.arguments()
    group = request.get("ModelPackageGroupName")
    if group and not _has_group(call, group):
        # The service makes a missing group, which is why notebooks never do.
        call.invoke("CreateModelPackageGroup", ModelPackageGroupName=group)
    arn = call.invoke("CreateModelPackage", **request)["ModelPackageArn"]
    call.step.metadata = {"RegisterModel": {"Arn": arn}}
    call.step.properties = call.invoke("DescribeModelPackage", ModelPackageName=arn)


def _has_group(call: Call, group: str) -> bool:
    try:
        call.invoke("DescribeModelPackageGroup", ModelPackageGroupName=group)
    except StepFailed:
        return False
    return True


def _create_model(call: Call) -> None:
    name = call.name()
    arn = call.invoke("CreateModel", **(call.arguments() | {"ModelName": name}))["ModelArn"]
    call.step.metadata = {"Model": {"Arn": arn}}
    call.step.properties = call.invoke("DescribeModel", ModelName=name)


def _call_function(call: Call) -> None:
    """A Lambda step: the step's arguments are the event, and the named members of the answer are its outputs."""
    arn = call.step.document["FunctionArn"]
    event = json.dumps(call.arguments()).encode()
    try:
        answer = identity.client("lambda", call.credentials).invoke(FunctionName=arn, Payload=event)
    except ClientError as error:
        raise StepFailed(
            f"ClientError: Failed to invoke lambda:Invoke. {error.response['Error']['Message']}"
        ) from error
    text = answer["Payload"].read().decode()
    if answer.get("FunctionError"):
        raise StepFailed(f"ClientError: Lambda function {arn} failed: {text}")
    call.step.metadata = {"Lambda": {"Arn": arn, "OutputParameters": []}}
    names = [each["OutputName"] for each in call.step.document.get("OutputParameters") or []]
    if not names:
        return
    try:
        document = json.loads(text)
        outputs = {name: document[name] for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise StepFailed(f"ClientError: the answer of {arn} lacks one of the outputs {names}: {text}") from error
    call.step.metadata["Lambda"]["OutputParameters"] = [
        {"Name": name, "Value": value if isinstance(value, str) else json.dumps(value)}
        for name, value in outputs.items()
    ]
    call.step.properties = {"OutputParameters": outputs}


def _fail(call: Call) -> None:
    text = call.arguments().get("ErrorMessage", "")
    call.step.metadata = {"Fail": {"ErrorMessage": text}}
    raise StepFailed(text)


ACTIONS: dict[str, Callable[[Call], None]] = {
    "Processing": _job("Processing"),
    "Training": _job("Training"),
    "Transform": _job("Transform"),
    "Tuning": _job("HyperParameterTuning"),
    "Lambda": _call_function,
    "Condition": _condition,
    "RegisterModel": _register_model,
    "Model": _create_model,
    "Fail": _fail,
}
