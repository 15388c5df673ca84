"""`sagemaker-ci teardown`: delete what a stage's stack has made, so that it costs nothing until the next deployment.

It needs no export and no checkout. The record of it says what to bring back: `sagemaker-ci rollback` does.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from ci_scripts import settings

if TYPE_CHECKING:
    from ci_scripts.deployment_history import History
    from ci_scripts.deployment_record import Record


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--stage", required=True, choices=settings.STAGES, help="the stage to delete")
    settings.add_cloudformation_role(parser)


def run(arguments: Namespace) -> None:
    project = settings.load_project()
    role_arn = settings.cloudformation_role(arguments)
    poll_seconds = settings.poll_seconds()
    stage = arguments.stage

    # Imported when the settings are known to be right: a missing variable is answered at once.
    from ci_scripts import deployment_record, job, stack
    from ci_scripts.aws import Aws
    from ci_scripts.deployment_history import History

    aws = Aws(project.region)
    job.say(str(aws.log_in()))
    history, name, at = History(aws, project, stage), project.stack(stage), job.current()
    latest = history.latest()
    job.say(f"stage: {stage}, stack {name} in {project.region}")
    with job.section("Stack"):
        newest = None
        if at.pipeline_id and (description := stack.describe(aws.cloudformation, name)):
            # By its id: a teardown that was cancelled may be deleting it, and by name its events are then gone.
            newest = stack.last_pipeline(aws.cloudformation, description["StackId"], at.project_id)
        deployment_record.require_may_tear_down(latest, at, name, newest)
        deleted = stack.delete(aws.cloudformation, name, role_arn, poll_seconds)
        job.say(f"stack {name}: {'deleted' if deleted else 'there is none'}")
    with job.section("Record"):
        _record(history, latest, stage)


def _record(history: History, latest: Record | None, stage: str) -> None:
    """Write down that nothing serves, unless that is known, or nobody knew that something did."""
    from ci_scripts import deployment_record, errors, job

    if latest is None or not latest.serves:
        job.say(f"nothing to record: {'that is known' if latest else f'nothing is recorded of {stage}'}")
        return
    record = deployment_record.torn_down(latest, job.current())
    if not history.append(record):
        newer = history.latest()
        if newer is not None and not newer.serves:
            job.say(f"record {newer.number} of {stage} tells of it already, {newer.by}")
            return
        event = f"version {newer.version} {newer.event}, {newer.by}" if newer else "another deployment"
        raise errors.DeployedMeanwhile(
            f"while {stage} was being deleted, another job has recorded: {event}",
            hint="See `sagemaker-ci history`. If nothing shall serve, run the job again.",
        )
    job.say(f"record {record.number} of {stage}: {record.event}, below {history.place}")
