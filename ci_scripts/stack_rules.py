"""Rules of CloudFormation stacks: what to do in which state, whose a change set is, the root cause of a failure.

Values in, decisions out, no call: stack.py makes the calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from itertools import takewhile
from typing import Any
from uuid import uuid4

from ci_scripts import errors, job

Event = Mapping[str, Any]


class Action(Enum):
    """What a stack's status calls for."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"  # what is left of a first deployment that never succeeded; then create
    WAIT = "wait"
    REFUSE = "refuse"


# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html#cfn-console-view-stack-data-resources-status-codes
_ACTIONS = {
    "CREATE_COMPLETE": Action.UPDATE,
    "UPDATE_COMPLETE": Action.UPDATE,
    "UPDATE_ROLLBACK_COMPLETE": Action.UPDATE,
    "IMPORT_COMPLETE": Action.UPDATE,
    "IMPORT_ROLLBACK_COMPLETE": Action.UPDATE,
    "DELETE_COMPLETE": Action.CREATE,
    # Empty: a change set was made for it, and none executed. It takes another one, so nobody's work is in the way, and
    # it must not be deleted: the change set may be that of a job which is about to execute it.
    "REVIEW_IN_PROGRESS": Action.CREATE,
    "ROLLBACK_COMPLETE": Action.DELETE,
    "ROLLBACK_FAILED": Action.DELETE,
}

_HINTS = {
    "UPDATE_ROLLBACK_FAILED": "Remove what stopped the rollback (see the stack's events), run "
    "`aws cloudformation continue-update-rollback --stack-name {stack}`, then retry the job.",
    "DELETE_FAILED": "Remove what blocks the deletion (see the stack's events), run "
    "`aws cloudformation delete-stack --stack-name {stack}`, then retry the job.",
    "CREATE_FAILED": "It was created with rollback switched off: run "
    "`aws cloudformation rollback-stack --stack-name {stack}`, then retry the job.",
    "UPDATE_FAILED": "It was updated with rollback switched off: run "
    "`aws cloudformation rollback-stack --stack-name {stack}`, then retry the job.",
    "IMPORT_ROLLBACK_FAILED": "An import of resources into {stack} failed half way: finish it in the CloudFormation "
    "console, then retry the job.",
    "ROLLBACK_COMPLETE": "Nothing was deployed. Fix the cause and run again: that removes what is left of the stack.",
    "UPDATE_ROLLBACK_COMPLETE": "CloudFormation restored the previous deployment. Fix the cause and run again.",
}


def next_action(status: str | None) -> Action:
    """What to do with a stack in `status`; None: there is no such stack."""
    if status is None:
        return Action.CREATE
    if status in _ACTIONS:
        return _ACTIONS[status]
    return Action.WAIT if status.endswith("_IN_PROGRESS") else Action.REFUSE


def hint(stack: str, status: str) -> str | None:
    """What a person can do about a stack that ended in `status`."""
    text = _HINTS.get(status)
    return text.format(stack=stack) if text else None


def says_no_change(reason: str) -> bool:
    """Whether a failed change set only means that the stack is as requested already; only texts tell, no code does."""
    return "No updates are to be performed" in reason or "didn't contain changes" in reason


def refusal_hint(text: str) -> str | None:
    """What to do when CreateChangeSet is refused in these words; None: what is true of every failed change set."""
    if "cannot be assumed" in text:
        return (
            "CLOUDFORMATION_ROLE_ARN names the role with which CloudFormation acts: correct it, or let the role trust "
            "cloudformation.amazonaws.com, as those of infra/gitlab-oidc.yml do."
        )
    return None


def newer(pages: Iterable[Sequence[Event]], last: str | None) -> list[Event]:
    """The events after the one with the EventId `last`, oldest first; `pages` come newest first.

    Reads no further page than needed.
    """
    events: list[Event] = []
    for page in pages:
        for event in page:
            if event["EventId"] == last:
                return events[::-1]
            events.append(event)
    return events[::-1]


def since(pages: Iterable[Sequence[Event]], began: datetime) -> list[Event]:
    """The events from this moment on, oldest first; `pages` come newest first.

    Reads no further page than needed.
    """
    every = (event for page in pages for event in page)
    return list(takewhile(lambda event: event["Timestamp"] >= began, every))[::-1]


def begun(events: Iterable[Event], token: str) -> bool | None:
    """Whether the operation marked with `token` has begun, by the events since it was asked for; None: none has yet.

    What is asked twice, because the first answer was lost, is refused although it goes on.
    """
    tokens = [event.get("ClientRequestToken") for event in events]
    return token in tokens if tokens else None


def ends_operation(event: Event, stack_id: str) -> bool:
    """Whether an operation on the stack ended with this event, whoever began it: there is one at a time."""
    return event["PhysicalResourceId"] == stack_id and not event["ResourceStatus"].endswith("_IN_PROGRESS")


# GitLab's numbers of the project, the pipeline and the job that a deployment is of.
_TOKEN = re.compile(r"sagemaker-ci-(?:local|(?P<project>\d+)-(?P<pipeline>\d+)-(?P<job>\d+))-[0-9a-f]{12}", re.ASCII)

# Far more than passes between the moments when a job makes a change set and executes it.
_ABANDONED_AFTER = timedelta(hours=1)


def client_token(at: job.Job) -> str:
    """What names a change set and marks the events of its execution."""
    numbers = (at.project_id, at.pipeline_id, at.id)
    return "-".join(["sagemaker-ci", *(numbers if all(numbers) else ["local"]), uuid4().hex[:12]])


def is_abandoned(change_set: Mapping[str, Any], at: job.Job, now: datetime) -> bool:
    """Whether a change set of the stack, a summary of ListChangeSets, was made by a run that will not execute it.

    A failed or obsolete one can never be executed; another attempt of the job `at` is over, as GitLab runs one at a
    time; and any run is after an hour. `now` is CloudFormation's time, like the change set's own. Who is wrong about
    that does no harm: a run whose change set is gone makes another one.
    """
    match = _TOKEN.fullmatch(change_set["ChangeSetName"])
    if match is None or change_set["Status"] not in (
        "CREATE_PENDING",
        "CREATE_IN_PROGRESS",
        "CREATE_COMPLETE",
        "FAILED",
    ):
        return False
    if change_set.get("ExecutionStatus", "").startswith("EXECUTE_"):
        return False
    dead = change_set["Status"] == "FAILED" or change_set.get("ExecutionStatus") == "OBSOLETE"
    same_job = bool(at.id) and (match["project"], match["pipeline"]) == (at.project_id, at.pipeline_id)
    created: datetime = change_set["CreationTime"]
    return dead or now - created > _ABANDONED_AFTER or (same_job and match["job"] != at.id)


def last_pipeline(pages: Iterable[Sequence[Event]], project_id: str) -> int | None:
    """The pipeline of this GitLab project that made the stack what it is; `pages` of events come newest first.

    None: something else did, or too long ago to tell. CloudFormation keeps events for 90 days, as long as the exports
    are kept without which no pipeline deploys.
    """
    for page in pages:
        for event in page:
            is_stack = event["PhysicalResourceId"] == event["StackId"]
            if is_stack and event["ResourceStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
                match = _TOKEN.fullmatch(event.get("ClientRequestToken", ""))
                return int(match["pipeline"]) if match and match["project"] == project_id else None
    return None


def root_cause(events: Iterable[Event]) -> Event | None:
    """The failure that the others follow from: the first one that is not a mere cancellation of a neighbour."""
    failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    causes = [event for event in failed if not is_cancellation(event)]
    return next(iter(causes or failed), None)


def is_cancellation(event: Event) -> bool:
    """Whether a resource failed only because another one did."""
    reason: str = event.get("ResourceStatusReason", "")  # "Resource creation cancelled", "Resource update cancelled"
    return reason.startswith("Resource ") and reason.rstrip(".").lower().endswith("cancelled")


def nested_stack(event: Event) -> str | None:
    """The id of the nested stack whose own events tell why this one reports a failure; None for any other event."""
    is_nested = (
        event["ResourceType"] == "AWS::CloudFormation::Stack" and event["PhysicalResourceId"] != event["StackId"]
    )
    failed = event["ResourceStatus"].endswith("_FAILED") and not is_cancellation(event)
    return event["PhysicalResourceId"] or None if is_nested and failed else None


def failure(
    events: Sequence[Event], token: str, stack: str, inner: Mapping[str, Sequence[Event]] | None = None
) -> errors.StackFailed:
    """What to say of the operation that was started with `token` and ended badly with the last of `events`.

    `inner` has, by the EventId of a nested stack's failure, the failures that led to it from the outside in.
    After CancelUpdateStack or DeleteStack the events carry the token of whoever called it, and no failure that caused
    them: https://github.com/glassechidna/stackit/issues/26.
    """
    status, last_token = events[-1]["ResourceStatus"], events[-1].get("ClientRequestToken", token)
    cause = root_cause(event for event in events if event.get("ClientRequestToken", token) == token)
    advice = hint(stack, status)
    if last_token != token and (cause is None or is_cancellation(cause)):
        what = f"another caller ended the deployment (client request token {last_token})"
        if next_action(status) is not Action.REFUSE:
            advice = "Ask who cancelled the update or deleted the stack (CloudTrail knows), then run the job again."
    elif cause is None:
        what = "no event names the cause"
    else:
        causes = [cause, *(inner or {}).get(cause["EventId"], [])]
        what = " in the nested stack ".join(
            [event_text(causes[-1]), *(each["LogicalResourceId"] for each in causes[-2::-1])]
        )
    return errors.StackFailed(f"{what}; the stack {stack} ended in {status}", hint=advice)


def event_text(event: Event) -> str:
    """One line for an event: `CREATE_FAILED Endpoint (AWS::SageMaker::Endpoint): why`."""
    text = f"{event['ResourceStatus']} {event['LogicalResourceId']} ({event['ResourceType']})"
    reason = " ".join(event.get("ResourceStatusReason", "").split())
    return f"{text}: {reason}" if reason else text


def change_text(change: Mapping[str, Any]) -> str:
    """One line for a change: `replace Model (AWS::SageMaker::Model)`."""
    resource = change["ResourceChange"]
    verb = resource["Action"].lower()
    if verb == "modify" and resource.get("Replacement") in ("True", "Conditional"):
        verb = "replace" if resource["Replacement"] == "True" else "modify or replace"
    return f"{verb} {resource['LogicalResourceId']} ({resource['ResourceType']})"


_HIDDEN = "****"  # what CloudFormation tells of a parameter with NoEcho


def differing(current: Mapping[str, str], recorded: Mapping[str, str]) -> dict[str, str]:
    """Those parameters of an export that a stack holds with another value, as far as it can be seen."""
    return {name: value for name, value in recorded.items() if current.get(name) not in (value, _HIDDEN)}
