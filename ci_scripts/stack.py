"""CloudFormation stacks: what to do in which state, change sets, stack events, and the root cause of a failure.

Called by `deploy`, in the order `make_ready` → `prepare` → `execute`. The functions above the first call of AWS decide
on values alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple
from uuid import uuid4

from ci_scripts import aws, errors, job

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
    "REVIEW_IN_PROGRESS": Action.DELETE,  # the one that ends in _IN_PROGRESS and waits for nothing but a person
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
    """Whether a failed change set only means that the stack is as asked already; only texts tell, no code does."""
    return "No updates are to be performed" in reason or "didn't contain changes" in reason


def newer(pages: Iterable[Sequence[Event]], last: str | None) -> list[Event]:
    """The events after the one with the EventId `last`, oldest first; `pages` come newest first.

    Reads no further page than needed.
    """
    found: list[Event] = []
    for page in pages:
        for event in page:
            if event["EventId"] == last:
                return found[::-1]
            found.append(event)
    return found[::-1]


def ends_operation(event: Event, stack_id: str) -> bool:
    """Whether an operation on the stack ended with this event, whoever began it: there is one at a time."""
    return event["PhysicalResourceId"] == stack_id and not event["ResourceStatus"].endswith("_IN_PROGRESS")


# GitLab's numbers of the project, the pipeline and the job that a deployment is of.
_TOKEN = re.compile(r"sagemaker-ci-(?P<project>\d+)-(?P<pipeline>\d+)-\d+-[0-9a-f]{12}")


def client_token(at: job.Job) -> str:
    """What names a change set and marks the events of its execution."""
    numbers = (at.project_id, at.pipeline_id, at.id)
    return "-".join(["sagemaker-ci", *(numbers if all(numbers) else ["local"]), uuid4().hex[:12]])


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
    causes = [event for event in failed if not _is_cancellation(event.get("ResourceStatusReason", ""))]
    return next(iter(causes or failed), None)


def _is_cancellation(reason: str) -> bool:
    # "Resource creation cancelled", "Resource update cancelled": it was stopped because another resource failed.
    return reason.startswith("Resource ") and reason.rstrip(".").lower().endswith("cancelled")


def failure(events: Sequence[Event], token: str, stack: str) -> errors.StackFailed:
    """What to say of the operation that was started with `token` and ended badly with the last of `events`.

    After CancelUpdateStack or DeleteStack the events carry the token of whoever called it, and no failure that caused
    them: https://github.com/glassechidna/stackit/issues/26.
    """
    status, last_token = events[-1]["ResourceStatus"], events[-1].get("ClientRequestToken", token)
    cause = root_cause(event for event in events if event.get("ClientRequestToken", token) == token)
    said = hint(stack, status)
    if last_token != token and (cause is None or _is_cancellation(cause.get("ResourceStatusReason", ""))):
        what = f"somebody else ended the deployment (client request token {last_token})"
        if next_action(status) is not Action.REFUSE:
            said = "Ask who cancelled the update or deleted the stack (CloudTrail knows), then run the job again."
    else:
        what = event_text(cause) if cause else "no event names the cause"
    return errors.StackFailed(f"{what}; the stack {stack} ended in {status}", hint=said)


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


# --- calls ---------------------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """What a stack shall become."""

    stack_name: str
    template: Mapping[str, str]
    """TemplateBody, or TemplateURL for a template that is too long to be sent."""
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    capabilities: Sequence[str]
    role_arn: str | None
    """The role with which CloudFormation acts; None: the caller's own."""


class ChangeSet(NamedTuple):
    """A change set that is ready to be executed."""

    name: str
    arn: str
    stack_name: str
    stack_id: str


def describe(cloudformation: Any, stack: str) -> dict[str, Any] | None:
    """The stack by name or id; None when there is none."""
    from botocore.exceptions import ClientError

    try:
        found: dict[str, Any] = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        # CloudFormation has no code of its own for a missing stack.
        if "does not exist" in aws.error_text(error):
            return None
        raise
    return found


def make_ready(cloudformation: Any, name: str, role_arn: str | None, poll_seconds: float) -> Action:
    """Bring the stack into a state that takes a change set: waits for others, removes what a failed create left.

    Returns CREATE or UPDATE. Raises StackNotDeployable or StackNotDeleted.
    """
    shown = ""
    while True:
        stack = describe(cloudformation, name)
        status = stack["StackStatus"] if stack else None
        action = next_action(status)
        if stack is None or status is None or action in (Action.CREATE, Action.UPDATE):
            job.say(f"stack {name}: {status or 'does not exist yet'}")
            return action
        if action is Action.REFUSE:
            raise errors.StackNotDeployable(f"stack {name} is {status}", hint=hint(name, status))
        if action is Action.DELETE:
            job.say(f"stack {name}: {status}, the remains of a deployment that never succeeded are removed")
            _delete(cloudformation, stack["StackId"], name, role_arn, poll_seconds)
            continue
        if status != shown:
            shown = status
            job.say(f"stack {name}: {status}, waiting for the operation that holds it")
        job.pause(poll_seconds)


def require_newest_pipeline(cloudformation: Any, name: str) -> None:
    """Raise PipelineOvertaken when a newer pipeline of this GitLab project has deployed to the stack.

    GitLab itself prevents outdated deployments only between commits, while approvals start pipelines of the same one:
    https://docs.gitlab.com/ci/environments/deployment_safety/#prevent-outdated-deployment-jobs
    """
    at = job.current()
    if not at.pipeline_id:
        return
    newest = last_pipeline(_event_pages(cloudformation, name), at.project_id)
    if newest and newest > int(at.pipeline_id):
        raise errors.PipelineOvertaken(
            f"pipeline {newest} has deployed to {name} since pipeline {at.pipeline_id} began"
        )


def _delete(cloudformation: Any, stack_id: str, name: str, role_arn: str | None, poll_seconds: float) -> None:
    last = _last_event(cloudformation, stack_id)
    cloudformation.delete_stack(StackName=stack_id, **_role(role_arn))
    while (stack := describe(cloudformation, stack_id)) is not None and stack["StackStatus"] != "DELETE_COMPLETE":
        if stack["StackStatus"] == "DELETE_FAILED":
            cause = root_cause(newer(_event_pages(cloudformation, stack_id), last))
            reason = event_text(cause) if cause else stack.get("StackStatusReason", "no reason given")
            raise errors.StackNotDeleted(f"stack {name} could not be deleted: {reason}")
        job.pause(poll_seconds)


def prepare(cloudformation: Any, plan: Plan, action: Action, poll_seconds: float) -> ChangeSet | None:
    """Create a change set and show what it will do; None when there is nothing to change.

    A change set that is not to be executed leaves nothing behind. Raises ChangeSetFailed.
    """
    name = client_token(job.current())
    answer = cloudformation.create_change_set(
        StackName=plan.stack_name,
        ChangeSetName=name,
        ClientToken=name,  # botocore repeats a request whose answer was lost
        ChangeSetType=action.name,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in plan.parameters.items()],
        Tags=[{"Key": key, "Value": value} for key, value in plan.tags.items()],
        Capabilities=list(plan.capabilities),
        Description=f"sagemaker-ci deploy {job.current().url}".strip(),
        **plan.template,
        **_role(plan.role_arn),
    )
    # From here on by ARN: names of stacks and change sets can be reused, ARNs cannot.
    change_set = ChangeSet(name, answer["Id"], plan.stack_name, answer["StackId"])
    try:
        description = _wait_for_change_set(cloudformation, change_set, poll_seconds)
    except errors.JobCancelled:
        _discard(cloudformation, change_set, action, plan.role_arn)
        raise
    if description["Status"] == "CREATE_COMPLETE":
        for page in cloudformation.get_paginator("describe_change_set").paginate(ChangeSetName=change_set.arn):
            for change in page["Changes"]:
                job.say(change_text(change))
        return change_set
    reason = description.get("StatusReason", "no reason given")
    if says_no_change(reason):
        _discard(cloudformation, change_set, action, plan.role_arn)
        job.say("no change: the stack is already as asked")
        return None
    details = _validation_failures(cloudformation, change_set) if "DescribeEvents" in reason else []
    for line in details:
        job.say(line)
    _discard(cloudformation, change_set, action, plan.role_arn)
    raise errors.ChangeSetFailed(
        f"the change set for the stack {plan.stack_name} failed: {'; '.join(details) or ' '.join(reason.split())}"
    )


def _wait_for_change_set(cloudformation: Any, change_set: ChangeSet, poll_seconds: float) -> dict[str, Any]:
    while True:
        description: dict[str, Any] = cloudformation.describe_change_set(ChangeSetName=change_set.arn)
        if description["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            return description
        job.pause(min(poll_seconds, 3))  # a matter of seconds


def _validation_failures(cloudformation: Any, change_set: ChangeSet) -> list[str]:
    """Why CloudFormation's pre-deployment validation refused a change set: only DescribeEvents tells.

    A role that may not call it must not hide that the change set failed.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        events = cloudformation.describe_events(ChangeSetName=change_set.arn, Filters={"FailedEvents": True})
    except (BotoCoreError, ClientError) as error:
        return [f"the reasons cannot be seen: {error}"]
    return [
        f"{event.get('LogicalResourceId', change_set.stack_name)} {event.get('ValidationPath', '')}".strip()
        + f": {event['ValidationStatusReason']}"
        for event in events["OperationEvents"]
        if event.get("ValidationStatusReason")
    ]


def _discard(cloudformation: Any, change_set: ChangeSet, action: Action, role_arn: str | None) -> None:
    """Remove a change set that nobody will execute; what it came to is known, so being refused is only said."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        # The change set of a stack that does not exist has created an empty one, REVIEW_IN_PROGRESS, to belong to.
        if action is Action.CREATE:
            cloudformation.delete_stack(StackName=change_set.stack_id, **_role(role_arn))
        else:
            cloudformation.delete_change_set(ChangeSetName=change_set.arn)
    except (BotoCoreError, ClientError) as error:
        job.say(f"the change set {change_set.name} is left behind: {error}")


def execute(cloudformation: Any, change_set: ChangeSet, poll_seconds: float) -> None:
    """Execute the change set and stream the stack's events until the operation ends, by itself or by somebody else.

    Raises StackFailed with the root cause.
    """
    last = _last_event(cloudformation, change_set.stack_id)
    cloudformation.execute_change_set(ChangeSetName=change_set.arn, ClientRequestToken=change_set.name)
    events: list[Event] = []
    for event in _events_after(cloudformation, change_set.stack_id, last, poll_seconds):
        job.say(f"{event['Timestamp']:%H:%M:%S} {event_text(event)}")
        events.append(event)
        if ends_operation(event, change_set.stack_id):
            break
    if events[-1]["ResourceStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise failure(events, change_set.name, change_set.stack_name)


def physical_ids(cloudformation: Any, stack: str, resource_type: str) -> list[str]:
    """The physical ids of the stack's resources of one type."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return [
        resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == resource_type and resource.get("PhysicalResourceId")
    ]


def _event_pages(cloudformation: Any, stack_id: str) -> Iterable[list[Event]]:
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    return (page["StackEvents"] for page in pages)


def _events_after(cloudformation: Any, stack_id: str, last: str | None, poll_seconds: float) -> Iterator[Event]:
    """The events after the one with the EventId `last`, as they come; without end."""
    while True:
        job.pause(poll_seconds)
        for event in newer(_event_pages(cloudformation, stack_id), last):
            yield event
            last = event["EventId"]


def _last_event(cloudformation: Any, stack_id: str) -> str | None:
    first_page = next(iter(_event_pages(cloudformation, stack_id)), [])
    return first_page[0]["EventId"] if first_page else None


def _role(role_arn: str | None) -> dict[str, str]:
    return {"RoleARN": role_arn} if role_arn else {}
