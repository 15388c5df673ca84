"""Lambda `seed_checkin`: the custom resources of infra/project.yml, which make the two GitLab repositories.

Custom::GitLabProjects is gitlab_projects.py, Custom::SeedCheckin is checkin.py. Each request is answered once, before
the function's time is over.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from . import answer, aws, checkin, gitlab_projects, reasons
from .answer import Outcome
from .progress import Progress

Event = Mapping[str, Any]
Action = Callable[[Event, Progress], Outcome]

logger = Logger()

PATIENCE_SECONDS = 600
"""CloudFormation waits a minute longer: the ServiceTimeout of project.yml."""
_ACTIONS: dict[tuple[str, str], Action] = {
    ("Custom::GitLabProjects", "Create"): gitlab_projects.create,
    ("Custom::GitLabProjects", "Update"): gitlab_projects.update,
    ("Custom::GitLabProjects", "Delete"): gitlab_projects.delete,
    ("Custom::SeedCheckin", "Create"): checkin.create,
    ("Custom::SeedCheckin", "Update"): checkin.update,
    ("Custom::SeedCheckin", "Delete"): checkin.delete,
}
_UNCHANGED: dict[str, Callable[[Event], Outcome]] = {
    "Custom::GitLabProjects": gitlab_projects.unchanged,
    "Custom::SeedCheckin": checkin.unchanged,
}


class OutOfTime(BaseException):
    """The function's time is nearly over. No library on the way may take it for an error to retry."""


@logger.inject_lambda_context(clear_state=True)
def handle(event: dict[str, Any], context: LambdaContext) -> None:
    """The Lambda's entry point. Raises only when CloudFormation itself cannot be told: Lambda then invokes it again."""
    seconds = context.get_remaining_time_in_millis() / 1000
    # A function that has died is invoked again minutes later: it must not create what nobody waits for any more.
    if request_time := answer.asked_at(event["ResponseURL"]):
        seconds = min(seconds, request_time + PATIENCE_SECONDS - time.time())
    outcome = carry_out(event, seconds - answer.SECONDS)
    logger.info("done", succeeded=outcome.succeeded, reason=outcome.reason, request_type=event.get("RequestType"))
    answer.send(event["ResponseURL"], answer.body(event, outcome))


def carry_out(event: Event, seconds: float) -> Outcome:
    """Do what the request asks within so many seconds; what came of it, whatever happens."""
    progress = Progress(logger.info)
    resource, kind = str(event.get("ResourceType")), str(event.get("RequestType"))
    if kind == "Update":
        seconds -= aws.STACK_SECONDS
    try:
        with time_limit(seconds):
            return _ACTIONS[resource, kind](event, progress)
    except OutOfTime:
        cause = f"there was no time left; {progress.trouble}" if progress.trouble else "there was no time left"
    except Exception as error:
        cause = reasons.explain(error)
        logger.exception("failed")
    reason = f"Could not {progress.step}: {cause}"
    # What a roll-back finds is what there was, or GitLab is away. A stack whose roll-back failed could not be updated.
    if kind == "Update" and aws.is_rolled_back(event["StackId"]):
        return _UNCHANGED[resource](event)._replace(reason=reason)
    # A stack must be deletable whatever became of GitLab, its token or its projects.
    return Outcome(kind == "Delete", event.get("PhysicalResourceId") or f"not-created-{event['RequestId']}", reason)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in this thread, Lambda's main one, when the time is over."""
    if seconds <= 0:  # which would switch the timer off
        raise OutOfTime

    def stop(*_: object) -> None:
        raise OutOfTime

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
