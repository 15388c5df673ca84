"""One pipeline execution per GitLab job: start it or find it again, follow it, stop it, show why it failed.

Called by run.py. A retried job gives the same name and token, and so gets its execution back.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import aws_errors, errors, job
from ci_scripts.run_pipeline import advice, step_kinds
from ci_scripts.run_pipeline.progress import Step, changes, failed, view
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

_RUNNING = ("Executing", "Stopping")
_LOOKS = 3  # for an execution that was started a moment ago
_SHORT = 200  # characters of a reason whose end says more than its beginning


class Result(NamedTuple):
    """How an execution ended."""

    arn: str
    status: str
    reason: str
    steps: Mapping[str, Step]
    began: datetime | None = None


# --- start ---------------------------------------------------------------------------------------------------------


def token(*parts: str) -> str:
    """A ClientRequestToken (32 to 128 characters): the same for the same parts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def start_request(pipeline: str, parameters: Mapping[str, str], where: job.Job, new_data: str = "") -> dict[str, Any]:
    """The arguments of StartPipelineExecution, without the pipeline's version; the same for a retry of the GitLab job.

    For an arrival of `new_data` they have the name of that: its trigger may start a second GitLab pipeline when it
    cannot know of the first. Outside GitLab every call is a new execution.
    """
    unique = uuid.uuid4().hex
    request: dict[str, Any] = {
        "PipelineName": pipeline,
        "ClientRequestToken": unique,
        "PipelineExecutionDisplayName": f"local-{unique[:16]}",
    }
    if parameters:
        request["PipelineParameters"] = [{"Name": name, "Value": text} for name, text in parameters.items()]
    if where.in_gitlab:
        request["ClientRequestToken"] = token(where.project_id, where.pipeline_id, where.name, pipeline)
        # Nothing of the single attempt in here: the request of a retry must not differ.
        short = f"{where.commit[:8]}-{request['ClientRequestToken'][:8]}"
        request["PipelineExecutionDisplayName"] = f"gitlab-{where.pipeline_id}-{short}"
        if new_data:
            request["ClientRequestToken"] = token(where.project_id, "new data", new_data, where.name, pipeline)
            request["PipelineExecutionDisplayName"] = f"new-data-{request['ClientRequestToken'][:16]}"
        request["PipelineExecutionDescription"] = f"{where.project_url}/-/pipelines/{where.pipeline_id}"
    return request


def earlier(sagemaker: SageMakerClient, request: Mapping[str, Any]) -> str:
    """The ARN of the execution that this request, or an earlier attempt of this GitLab job, started; empty if none.

    Looked up by name among the latest hundred: how long SageMaker remembers a ClientRequestToken is not documented.
    """
    name = request["PipelineExecutionDisplayName"]
    try:
        page = sagemaker.list_pipeline_executions(
            PipelineName=request["PipelineName"], SortBy="CreationTime", SortOrder="Descending", MaxResults=100
        )
    except sagemaker.exceptions.ResourceNotFound:
        return ""
    executions = [
        each for each in page["PipelineExecutionSummaries"] if each.get("PipelineExecutionDisplayName") == name
    ]
    return str(executions[0]["PipelineExecutionArn"]) if executions else ""


def start(sagemaker: SageMakerClient, request: Mapping[str, Any]) -> str:
    """Start the execution, or learn the ARN of the one that the same request (its token) started before."""
    return str(sagemaker.start_pipeline_execution(**request)["PipelineExecutionArn"])


def resume(sagemaker: SageMakerClient, arn: str, where: job.Job, poll_seconds: float) -> str:
    """Bring an execution of an earlier attempt of this job back to life if it ended badly; tells what was found.

    One that is still being stopped is waited for: SageMaker retries only what has ended.
    """
    job.raise_if_cancelled()
    while (status := _describe(sagemaker, arn)["PipelineExecutionStatus"]) == "Stopping":
        job.pause(poll_seconds)
    if status not in ("Executing", "Succeeded"):
        sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=token(arn, where.id))
    return str(status)


def stop(sagemaker: SageMakerClient, arn: str, request: Mapping[str, Any]) -> str:
    """Ask SageMaker to stop the execution; without its ARN, what the request has started although no answer came.

    Tells in words what came of it, and raises nothing that AWS answers.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        # Looked for, not asked for by the same request once more: that would start it if the first was never sent.
        for _ in range(_LOOKS if not arn else 0):
            if arn := earlier(sagemaker, request):
                break
            job.pause(1)
        if not arn:
            return f"no pipeline execution of {request['PipelineName']} was started"
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=uuid.uuid4().hex)
    except (BotoCoreError, ClientError) as error:
        which = arn or f"of pipeline {request['PipelineName']}, if it was started,"
        return f"pipeline execution {which} could not be stopped: {error}"
    return f"pipeline execution {arn} is being stopped"


# --- follow --------------------------------------------------------------------------------------------------------


def follow(
    sagemaker: SageMakerClient,
    arn: str,
    defined: Mapping[str, Mapping[str, Any]],
    poll_seconds: float,
    tell: Callable[[float, Step, Mapping[str, Step]], None],
) -> Result:
    """Wait until the execution has ended; `tell(elapsed seconds, step, all steps)` hears of every change of a step."""
    began, steps_before = time.monotonic(), dict[str, Step]()
    while True:
        # In this order: once the execution has ended, its steps do not change any more.
        execution = _describe(sagemaker, arn)
        pages = sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
            PipelineExecutionArn=arn, SortOrder="Ascending"
        )
        steps = view((row for page in pages for row in page["PipelineExecutionSteps"]), defined)
        for step in changes(steps_before, steps):
            tell(time.monotonic() - began, step, steps)
        steps_before = steps
        if execution["PipelineExecutionStatus"] not in _RUNNING:
            reason = " ".join(execution.get("FailureReason", "").split())
            return Result(arn, execution["PipelineExecutionStatus"], reason, steps, execution.get("CreationTime"))
        job.pause(poll_seconds)


def require_success(result: Result, project: Project, *, causes: Mapping[str, str], log_shown: bool) -> None:
    """Raise the error that says how the execution ended, with the failed steps, their reasons and what to do.

    `causes`: by step name, the error that its own log ends with; SageMaker cuts the reason off. `log_shown`: whether
    the job log has the last lines of a failed step above.
    """
    if result.status == "Succeeded":
        return
    kind = {
        "Stopped": errors.PipelineExecutionStopped,
        "CompletedWithFailures": errors.PipelineExecutionIncomplete,
    }.get(result.status, errors.PipelineExecutionFailed)
    steps = list(result.steps.values())
    whys = [
        f"step {each.name}: {_why(each.reason, causes.get(each.name, ''))}{step_kinds.failed(each)}"
        for each in failed(steps)
    ]
    why = "; ".join(whys) or result.reason or "no reason given"
    text = f"pipeline execution {result.arn} ended as {result.status}: {why}"
    if over := aws_errors.over_quota(f"{result.reason} {why}", project.region):
        raise errors.QuotaExceeded(
            text,
            hint=f"{over} Or let the step use an instance type that the account has. Then retry the job: it resumes.",
        )
    error = kind(text)
    if result.status != "Stopped":
        error.hint = advice.failed([result.reason, why], project, error.hint)
    if log_shown:
        error.hint = f"The last log lines of the step are above. {error.hint}"
    raise error


def period(sagemaker: SageMakerClient, arn: str) -> tuple[datetime, datetime]:
    """When an execution that has ended began and ended."""
    execution = _describe(sagemaker, arn)
    return execution["CreationTime"], execution["LastModifiedTime"]


def _why(reason: str, cause: str) -> str:
    """A step's reason, and the cause if the reason was cut off before it came to that."""
    if not cause or cause in reason:
        return reason or "no reason given"
    if len(reason) > _SHORT:
        reason = f"{reason[:_SHORT]} ..."
    return f"{reason or 'no reason given'} (its log ends with: {cause})"


def _describe(sagemaker: SageMakerClient, arn: str) -> Mapping[str, Any]:
    return sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
