"""Bring the pipeline to SageMaker, run it once for this GitLab job, and say what came of it.

Called by command.py with a definition that was checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
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
    records,
    report,
    selection,
    tracking,
    upsert,
)
from ci_scripts.run_pipeline.condition import Condition
from ci_scripts.run_pipeline.execution import Result
from ci_scripts.run_pipeline.job_facts import Facts
from ci_scripts.run_pipeline.progress import Step
from ci_scripts.run_pipeline.records import Run
from ci_scripts.run_pipeline.tracking import Experiment
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

# What a retried job does with the execution that it already has, by the status it is found in.
_RESUMED = {
    "Executing": "is still running: following it",
    "Succeeded": "has succeeded: nothing is started again",
}
_RESUMED_ELSE = "ended badly: resuming it where it failed"

Conditions = Mapping[str, Sequence[Condition]]
"""What was compared in each condition step that has been reached, by step name."""


class Compiled(NamedTuple):
    """A checked pipeline: its definition as text and parsed, and the parameter values for one execution."""

    text: str
    definition: Mapping[str, Any]
    parameters: Mapping[str, str]
    selected: list[str] = []  # noqa: RUF012 - nobody changes it
    """The steps that run; empty for all of them."""
    new_data: str = ""
    """The arrival of data that started the GitLab pipeline, if one did."""
    image: str = ""
    """The image that a job of the GitLab pipeline has built, if one did."""

    @property
    def built_image(self) -> str:
        """That image, if a step names it."""
        return self.image if self.image and self.image in self.text else ""


def execute(
    aws: Aws,
    project: Project,
    role: str,
    pipeline: Compiled,
    poll_seconds: float,
    experiment: Experiment | None = None,
) -> None:
    """Upsert, start, follow, stamp. A cancelled job stops the execution; a retried one gets it back.

    `experiment` gets a run for it.

    Raises JobCancelled, or the error that says how the execution ended if it did not succeed.
    """
    where, sagemaker = job.current(), aws.sagemaker
    request = execution.start_request(project.pipeline, pipeline.parameters, where, pipeline.new_data)
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
            whose = (
                f"for the same new data ({pipeline.new_data})"
                if pipeline.new_data
                else "of an earlier attempt of this job"
            )
            job.say(f"pipeline execution {arn} {whose} {_RESUMED.get(status, _RESUMED_ELSE)}")
        else:
            job.say(f"pipeline execution {arn} started")
        result, conditions, facts = _follow(aws, pipeline, arn, poll_seconds)
    except job.Cancelled as cancelled:
        with job.after_cancellation():
            outcome = execution.stop(sagemaker, arn, request)
        raise JobCancelled(f"{cancelled}; {outcome}") from cancelled
    parameters = definition.parameter_values(pipeline.definition, pipeline.parameters)
    run = Run(where, result, pipeline.definition, parameters, conditions, facts, pipeline.built_image)
    _finish(aws, project, pipeline, run, experiment)


def _selection(sagemaker: SageMakerClient, project: Project, pipeline: Compiled) -> dict[str, Any]:
    config = selection.configuration(sagemaker, project.pipeline, pipeline.definition, pipeline.selected)
    source = str(config.get("SourcePipelineExecutionArn", ""))
    origin = f"; what they need is of execution {source.rpartition('/')[2]}" if source else ""
    job.say(f"running {', '.join(pipeline.selected)} alone{origin}")
    return config


def _follow(aws: Aws, pipeline: Compiled, arn: str, poll_seconds: float) -> tuple[Result, Conditions, Facts]:
    defined = definition.steps(pipeline.definition)
    parameters = definition.parameter_values(pipeline.definition, pipeline.parameters)
    conditions: dict[str, Sequence[Condition]] = {}
    facts, width = Facts(defined), max(map(len, defined))

    def tell(elapsed: float, step: Step, steps: Mapping[str, Step]) -> None:
        remark = step.reason or progress.origin(step) or facts.of(aws.sagemaker, step)
        if step.outcome and step.name in defined:
            read = partial(jobs.read_property_file, aws.sagemaker, aws.s3, defined, steps)
            conditions[step.name] = condition.explain(defined[step.name], parameters, read)
            remark = f"{step.outcome}: {condition.words(conditions[step.name])}"
        job.say(progress.row(elapsed, step, width, remark))

    with job.section("Follow the pipeline execution"):
        job.say(progress.heading(width))
        result = execution.follow(aws.sagemaker, arn, defined, poll_seconds, tell)
    return result, conditions, facts


def _finish(aws: Aws, project: Project, pipeline: Compiled, run: Run, experiment: Experiment | None) -> None:
    result, conditions = run.result, run.conditions
    steps = list(result.steps.values())
    packages = [step.model_package_arn for step in steps if step.model_package_arn and step.status == "Succeeded"]
    if result.status == "Succeeded" and not packages and not definition.registers(pipeline.definition):
        packages = _registered_by_code(aws.sagemaker, project, result)
    verdict = conclusion(result, packages, conditions)
    links = tracking.record(aws, experiment, run, packages) if experiment else {}
    report.write(project.region, result, packages, conditions, verdict, run.facts.remarks, links)

    from ci_scripts.run_pipeline import training_page  # loads what pages are made with

    training_page.write(
        aws, project, pipeline.definition, pipeline.parameters, result, packages, conditions, verdict, run.facts.remarks
    )
    if project.merge_request:
        merge_request.comment(
            in_merge_request.comment(project, pipeline.definition, pipeline.parameters, conditions, verdict)
        )
    logs = {step.name: jobs.show_log(aws.logs, step) for step in progress.failed(steps)}
    causes = {name: jobs.last_error(lines) for name, lines in logs.items()}
    execution.require_success(result, project, causes=causes, log_shown=any(logs.values()))
    cards = records.keep(aws, run, _of_the_group(packages, project))
    if cards:
        job.write_summary([*report.summary(result, conditions, verdict, run.facts.remarks), *cards])
    job.say(verdict)


def _of_the_group(packages: Sequence[str], project: Project) -> list[str]:
    """The packages of the watched group; of the others it is said that nothing will deploy them."""
    in_group = [arn for arn in packages if registry.group_of(arn) == project.model_package_group.lower()]
    for arn in packages:
        if arn not in in_group:
            job.say(
                f"warning: model package {arn} is in the group {registry.group_of(arn)}, approvals are watched in "
                f"{project.model_package_group} alone: it is not stamped, and no approval will deploy it"
            )
    return in_group


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
