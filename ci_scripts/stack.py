"""CloudFormation stacks: what one is, bringing it into a state that takes a change, and its events.

change_set.py deploys one. What is decided on values alone is in stack_rules.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypedDict

from ci_scripts import aws_errors, errors, job, stack_rules
from ci_scripts.stack_rules import Action, Event

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef


class RoleArgument(TypedDict, total=False):
    """Of a request to CloudFormation."""

    RoleARN: str


def describe(cloudformation: CloudFormationClient, stack: str) -> StackTypeDef | None:
    """The stack by name or id; None when there is none."""
    from botocore.exceptions import ClientError

    try:
        return cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        # CloudFormation has no code of its own for a missing stack.
        if "does not exist" in aws_errors.text(error):
            return None
        raise


def make_ready(cloudformation: CloudFormationClient, name: str, role_arn: str | None, poll_seconds: float) -> Action:
    """Bring the stack into a state that takes a change set: waits for others, removes what a failed create left.

    Returns CREATE or UPDATE. Raises StackNotDeployable or StackNotDeleted.
    """
    last_status = ""
    while True:
        stack = describe(cloudformation, name)
        status = stack["StackStatus"] if stack else None
        action = stack_rules.next_action(status)
        if stack is None or status is None or action in (Action.CREATE, Action.UPDATE):
            job.say(f"stack {name}: {status or 'does not exist yet'}")
            return action
        if action is Action.REFUSE:
            raise errors.StackNotDeployable(f"stack {name} is {status}", hint=stack_rules.hint(name, status))
        if action is Action.DELETE:
            job.say(f"stack {name}: {status}, the remains of a deployment that never succeeded are removed")
            _delete(cloudformation, stack["StackId"], name, role_arn, poll_seconds)
            continue
        if status != last_status:
            last_status = status
            job.say(f"stack {name}: {status}, waiting for the operation that holds it")
        job.pause(poll_seconds)


def last_pipeline(cloudformation: CloudFormationClient, stack: str, project_id: str) -> int | None:
    """The pipeline of this GitLab project that made the stack what it is, by its events: see stack_rules.last_pipeline.

    `stack` is its name or id; of a deleted stack only the id still leads to its events.

    GitLab itself prevents outdated deployments only between commits, while approvals start pipelines of the same one:
    https://docs.gitlab.com/ci/environments/deployment_safety/#prevent-outdated-deployment-jobs
    """
    return stack_rules.last_pipeline(event_pages(cloudformation, stack), project_id)


def delete(cloudformation: CloudFormationClient, name: str, role_arn: str | None, poll_seconds: float) -> bool:
    """Delete the stack, and with it what it has made, once nothing holds it; whether there was one.

    Raises StackNotDeleted.
    """
    last_status = ""
    while (description := describe(cloudformation, name)) is not None:
        status = description["StackStatus"]
        if status == "DELETE_IN_PROGRESS" or stack_rules.next_action(status) is not Action.WAIT:
            job.say(f"stack {name}: {status}, it is deleted")
            _delete(cloudformation, description["StackId"], name, role_arn, poll_seconds)
            return True
        if status != last_status:
            last_status = status
            job.say(f"stack {name}: {status}, waiting for the operation that holds it")
        job.pause(poll_seconds)
    return False


def _delete(
    cloudformation: CloudFormationClient, stack_id: str, name: str, role_arn: str | None, poll_seconds: float
) -> None:
    from botocore.exceptions import ClientError

    last = last_event(cloudformation, stack_id)
    try:
        cloudformation.delete_stack(StackName=stack_id, **role_argument(role_arn))
    except ClientError as error:
        if aws_errors.code(error) != "ValidationError":
            raise
        text = " ".join(aws_errors.text(error).split())
        raise errors.StackNotDeleted(f"stack {name} could not be deleted: {text}") from error
    last_seen = last
    while True:
        stack = describe(cloudformation, stack_id)
        for event in stack_rules.newer(event_pages(cloudformation, stack_id), last_seen):
            job.say(f"{event['Timestamp']:%H:%M:%S} {stack_rules.event_text(event)}")
            last_seen = event["EventId"]
        if stack is None or stack["StackStatus"] == "DELETE_COMPLETE":
            return
        if stack["StackStatus"] == "DELETE_FAILED":
            cause = stack_rules.root_cause(stack_rules.newer(event_pages(cloudformation, stack_id), last))
            reason = stack_rules.event_text(cause) if cause else stack.get("StackStatusReason", "no reason given")
            raise errors.StackNotDeleted(f"stack {name} could not be deleted: {reason}")
        job.pause(poll_seconds)


def physical_ids(cloudformation: CloudFormationClient, stack: str, *resource_types: str) -> dict[str, list[str]]:
    """The physical ids of the stack's resources of these types, by type."""
    ids: dict[str, list[str]] = {each: [] for each in resource_types}
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceType"] in ids and resource.get("PhysicalResourceId"):
                ids[resource["ResourceType"]].append(resource["PhysicalResourceId"])
    return ids


# --- events --------------------------------------------------------------------------------------------------------


def event_pages(cloudformation: CloudFormationClient, stack_id: str) -> Iterable[Sequence[Event]]:
    """The stack's events, newest first, page by page."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    return (page["StackEvents"] for page in pages)


def events_after(
    cloudformation: CloudFormationClient,
    stack_id: str,
    last: str | None,
    poll_seconds: float,
    holds: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """The events after the one with the EventId `last`, as they come; without end.

    `holds` is asked first at each poll: true when nothing is to be heard of the stack for now.
    """
    while True:
        job.pause(poll_seconds)
        if holds():
            continue
        for event in stack_rules.newer(event_pages(cloudformation, stack_id), last):
            yield event
            last = event["EventId"]


def last_event(cloudformation: CloudFormationClient, stack_id: str) -> str | None:
    """The EventId of the stack's newest event; None when it has none."""
    first_page = next(iter(event_pages(cloudformation, stack_id)), [])
    return first_page[0]["EventId"] if first_page else None


def role_argument(role_arn: str | None) -> RoleArgument:
    """The argument that lets CloudFormation act with a role; nothing for None, the caller's own."""
    return {"RoleARN": role_arn} if role_arn else {}
