"""What a rollback goes back to: read from the records, and from the stack, which may hold what no record tells of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ci_scripts import deployment_record, errors, job, stack, stack_rules
from ci_scripts.aws import Aws
from ci_scripts.deployment_history import History
from ci_scripts.deployment_record import ROLLED_BACK, Record
from ci_scripts.settings import Project


class Target(NamedTuple):
    """A rollback that can be done."""

    record: Record
    """What to deploy again."""
    latest: Record
    """The newest record when it was chosen: what comes later is another's."""


def find(aws: Aws, project: Project, stage: str, reference: str | None, taken_back: str | None) -> Target | None:
    """What to go back to; None when there is nothing to do, because `taken_back` does not serve.

    Raises NothingToRollBackTo, AlreadyRolledBack when nobody said what to go back to after a rollback, or what
    reading the records raises.
    """
    history = History(aws, project, stage)
    latest = history.latest()
    if latest is None:
        raise errors.NothingToRollBackTo(
            f"nothing is recorded of {stage}, below {history.place}",
            hint="Deployments are recorded from this version of sagemaker-ci on. Deploy the version that you want with "
            "a pipeline of its own.",
        )
    description = stack.describe(aws.cloudformation, latest.deployed.stack_name)
    parameters = description.get("Parameters", []) if description else []
    current = {each["ParameterKey"]: each.get("ParameterValue", "") for each in parameters}
    unrecorded = description is not None and (
        not latest.serves or bool(stack_rules.differing(current, latest.deployed.parameters))
    )
    serving = current.get("ModelPackageName", "") if unrecorded else latest.model_package_arn if latest.serves else ""
    state = f"the stack holds {serving}, which no record tells of" if unrecorded else _in_words(latest)
    job.say(f"{stage} now: {state}")
    begun = _begun(history, latest, current) if unrecorded else None
    if taken_back and taken_back != (latest.model_package_arn if begun else serving):
        job.say(f"Nothing to do: {taken_back} is not what {stage} serves.")
        return None
    if begun and not reference:
        job.say(f"What follows record {latest.number} has begun and is not on record. This rollback finishes it.")
        record = begun
    else:
        record = _choose(history, latest, reference, unrecorded=unrecorded, from_serving=bool(taken_back))
    job.say(f"back to:  {_in_words(record)}")
    return Target(record, latest)


def _begun(history: History, latest: Record, current: Mapping[str, Any]) -> Record | None:
    """What a rollback of the newest deployment goes back to, if the stack holds just that already.

    Its job was lost, or it is another one that has not written its record yet: going back to the newest record would
    bring back what somebody has just taken away.
    """
    try:
        record = deployment_record.before(latest, history.newest_first(before=latest.number))
    except errors.NothingToRollBackTo:
        return None
    return None if stack_rules.differing(current, record.deployed.parameters) else record


def _choose(history: History, latest: Record, reference: str | None, *, unrecorded: bool, from_serving: bool) -> Record:
    stage = latest.deployed.stage
    if reference:
        record = deployment_record.chosen(reference, history.newest_first(), stage)
        if record.digest == latest.digest and latest.serves and not unrecorded:
            raise errors.NothingToRollBackTo(f"{stage} serves version {record.version} already, since {latest.time}")
        return record
    if unrecorded:
        return latest
    if latest.event == ROLLED_BACK and not from_serving:
        at = job.current()
        if at.pipeline_id and latest.is_of(at, latest.digest):
            return latest  # this job's own, tried again: it may have been lost after its record
        raise errors.AlreadyRolledBack(
            f"{stage} was rolled back to version {latest.version} on {latest.time}, {latest.by}"
        )
    return deployment_record.before(latest, history.newest_first(before=latest.number))


def _in_words(record: Record) -> str:
    return f"version {record.version}, {record.event} on {record.time} (record {record.number}, {record.by})"
