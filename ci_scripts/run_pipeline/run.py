"""Bring the pipeline to SageMaker, run it once for this GitLab job, and say what came of it.

Called by command.py with a definition that was checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import job, merge_request, registry
from ci_scripts.aws import Aws
from ci_scripts.errors import JobCancelled
from ci_scripts.run_pipeline import (
    condition,
    definition,
    execution,
    in_merge_request,
    jobs,
    progress,
    report,
    selection,
    step_kinds,
    upsert,
)
from ci_scripts.run_pipeline.condition import Condition
from ci_scripts.run_pipeline.execution import Result
from ci_scripts.run_pipeline.job_facts import tuned
from ci_scripts.run_pipeline.progress import Step
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

# What a retried job does with the execution that it already has, by the status it is found in.
_RESUMED = {
    "Executing": "is still running: following it",
    "Succeeded": "has succeeded: nothing is started again",
}
_RESUMED_ELSE = "ended badly: resuming it where it failed"

_PARAMETERS, _METRICS = 26, 6  # at most, among the 50 properties of a model package

Conditions = Mapping[str, Sequence[Condition]]
"""What was compared in each condition step that has been reached, by step name."""


class Compiled(NamedTuple):
    """A checked pipeline: its definition as text and parsed, and the parameter values for one execution."""

    text: str
    definition: Mapping[str, Any]
    parameters: Mapping[str, str]
    selected: list[str] = []  # noqa: RUF012 - nobody changes it
    """The steps that run; empty for all of them."""


def execute(aws: Aws, project: Project, role: str, pipeline: Compiled, poll_seconds: float) -> None:
    """Upsert, start, follow, stamp. A cancelled job stops the execution; a retried one gets it back.

    Raises JobCancelled, or the error that says how the execution ended if it did not succeed.
    """
    where, sagemaker = job.current(), aws.sagemaker
    request = execution.start_request(project.pipeline, pipeline.parameters, where)
    arn = ""
    try:
        arn = execution.earlier(sagemaker, request) if where.in_gitlab else ""
        resumed = bool(arn)
        if not resumed:  # a retried job must not bring back the definition of an older commit
            if project.merge_request:
                about = f"Merge request {project.merge_request} of {where.project_url}. Its approvals deploy nothing."
                registry.create_group(sagemaker, project.model_package_group, about, project.tags())
            state, version = upsert.upsert(sagemaker, aws.s3, project, role, pipeline.text)
            request["PipelineVersionId"] = version  # the newest one may be another job's by now
            if pipeline.selected:
                request["SelectiveExecutionConfig"] = _selection(sagemaker, project, pipeline)
            job.say(f"pipeline {project.pipeline} {state}, version {version}")
            arn = execution.start(sagemaker, request)
        report.write_links(project.region, arn, {}, [])
        if resumed:
            status = execution.resume(sagemaker, arn, where, poll_seconds)
            job.say(f"pipeline execution {arn} of an earlier attempt of this job {_RESUMED.get(status, _RESUMED_ELSE)}")
        else:
            job.say(f"pipeline execution {arn} started")
        result, conditions = _follow(aws, project, pipeline, arn, poll_seconds)
    except job.Cancelled as cancelled:
        with job.after_cancellation():
            outcome = execution.stop(sagemaker, arn, request)
        raise JobCancelled(f"{cancelled}; {outcome}") from cancelled
    _finish(aws, project, pipeline, where, result, conditions)


def _selection(sagemaker: SageMakerClient, project: Project, pipeline: Compiled) -> dict[str, Any]:
    config = selection.configuration(sagemaker, project.pipeline, pipeline.definition, pipeline.selected)
    source = str(config.get("SourcePipelineExecutionArn", ""))
    taken = f"; what they need is of execution {source.rpartition('/')[2]}" if source else ""
    job.say(f"running {', '.join(pipeline.selected)} alone{taken}")
    return config


def _follow(aws: Aws, project: Project, pipeline: Compiled, arn: str, poll_seconds: float) -> tuple[Result, Conditions]:
    defined = definition.steps(pipeline.definition)
    parameters = definition.parameter_values(pipeline.definition, pipeline.parameters)
    conditions: dict[str, Sequence[Condition]] = {}
    width = max(map(len, defined))

    def tell(elapsed: float, step: Step, steps: Mapping[str, Step]) -> None:
        remark = step.reason or progress.taken(step) or tuned(aws.sagemaker, step) or step_kinds.remark(step)
        if step.outcome and step.name in defined:
            read = partial(jobs.read_property_file, aws.sagemaker, aws.s3, defined, steps)
            conditions[step.name] = condition.explain(defined[step.name], parameters, read)
            remark = f"{step.outcome}: {condition.words(conditions[step.name])}"
        job.say(progress.row(elapsed, step, width, remark))

    with job.section("Follow the pipeline execution"):
        job.say(progress.heading(width))
        result = execution.follow(aws.sagemaker, arn, defined, poll_seconds, tell)
    return result, conditions


def _finish(
    aws: Aws, project: Project, pipeline: Compiled, where: job.Job, result: Result, conditions: Conditions
) -> None:
    steps = list(result.steps.values())
    packages = [step.model_package_arn for step in steps if step.model_package_arn and step.status == "Succeeded"]
    if result.status == "Succeeded" and not packages and not definition.registers(pipeline.definition):
        packages = _registered_by_code(aws.sagemaker, project, result)
    verdict = conclusion(result, packages, conditions)
    remarks = {step.name: tuned(aws.sagemaker, step) or step_kinds.remark(step) for step in steps}
    report.write(project.region, result, packages, conditions, verdict, remarks)
    if project.merge_request:
        merge_request.comment(
            in_merge_request.told(project, pipeline.definition, pipeline.parameters, conditions, verdict)
        )
    logs = {step.name: jobs.show_log(aws.logs, step) for step in progress.failed(steps)}
    causes = {name: jobs.last_error(lines) for name, lines in logs.items()}
    execution.require_success(result, project, causes=causes, log_shown=any(logs.values()))
    parameters = definition.parameter_values(pipeline.definition, pipeline.parameters)
    for arn in packages:
        stamps = lineage(where, result.arn, parameters, report.measured(conditions)) | _taken_from(steps)
        registry.stamp(aws.sagemaker, arn, stamps)
    job.say(verdict)


def _registered_by_code(sagemaker: SageMakerClient, project: Project, result: Result) -> list[str]:
    """Packages that a step's own code registered: those that came to the group while the execution ran.

    An `@step` function that calls CreateModelPackage leaves nothing of it in the execution's steps.
    """
    from botocore.exceptions import ClientError

    began, ended = execution.period(sagemaker, result.arn)
    try:
        return registry.created_between(sagemaker, project.model_package_group, began, ended)
    except ClientError as error:
        job.say(f"whether a step registered a model package by itself cannot be seen: {error}")
        return []


def conclusion(result: Result, packages: Sequence[str], conditions: Conditions) -> str:
    """The result in one sentence."""
    if result.status != "Succeeded":
        return f"The pipeline execution ended as {result.status}."
    if packages:
        # SageMaker registers anew, whatever it took from the cache.
        sources = progress.sources(result.steps.values())
        trained = f" Nothing was trained for it: every job is of {', '.join(sources)}." if sources else ""
        return f"Registered model package {', '.join(packages)}.{trained}"
    false = [each for each in conditions if result.steps[each].outcome == "false"]
    why = "; ".join(f"condition {name} is false: {condition.words(conditions[name])}" for name in false)
    return f"No model package was registered: {why or 'no step of this pipeline registered one'}."


def _taken_from(steps: Sequence[Step]) -> dict[str, str]:
    """Beside the execution that registered a package, the one that trained it, if that is another."""
    sources = progress.sources(steps)
    return {"TakenFromExecution": sources[-1]} if sources else {}


def lineage(
    where: job.Job, execution_arn: str, parameters: Mapping[str, Any], measured: Mapping[str, float]
) -> dict[str, str]:
    """What a registered model package is stamped with: the way back from a model to its commit, job, data and
    parameters, and what it was measured to be; as many as leave room for properties of the pipeline's own.
    """
    properties = {
        "GitLabProject": where.project_path,
        "GitLabCommit": where.commit,
        "GitLabRef": where.ref,
        "GitLabPipeline": f"{where.project_url}/-/pipelines/{where.pipeline_id}" if where.in_gitlab else "",
        "GitLabJob": where.url,
        "PipelineExecutionArn": execution_arn,
    }
    properties |= {
        f"{registry.PARAMETER}{name}": str(content) for name, content in islice(parameters.items(), _PARAMETERS)
    }
    properties |= {f"{registry.METRIC}{path}": f"{value:.6g}" for path, value in islice(measured.items(), _METRICS)}
    return {key: content for key, content in properties.items() if content}
