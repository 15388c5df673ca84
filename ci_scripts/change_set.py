"""Deploy a stack by a change set: make one, show it, execute it, follow its events, and name the cause of a failure.

Called by `deploy` and `bootstrap`; both enter by `deploy()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypedDict

from ci_scripts import aws_errors, errors, job, stack, stack_rules
from ci_scripts.stack_rules import Action, Event

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.literals import CapabilityType
    from mypy_boto3_cloudformation.type_defs import DescribeChangeSetOutputTypeDef

_ATTEMPTS = 3  # to execute a change set before another deployment changes the stack
_LOOKS = 3  # for the first event of an execution whose answer was lost
_DEEPEST = 5  # stacks within stacks that are looked into


class TemplateArgument(TypedDict, total=False):
    """Of a request to CloudFormation: TemplateBody, or TemplateURL for a template that is too long to be sent."""

    TemplateBody: str
    TemplateURL: str


class Plan(NamedTuple):
    """What a stack shall become."""

    stack_name: str
    template: TemplateArgument
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    capabilities: Sequence[CapabilityType]
    role_arn: str | None
    """The role with which CloudFormation acts; None: the caller's own."""


class Listener(Protocol):
    """Somebody who knows more of what the events tell of."""

    def hear(self, event: Event) -> None:
        """An event of the stack, in its order."""

    def holds(self) -> bool:
        """Whether, for now, the stack's events are not worth a look."""


class ChangeSet(NamedTuple):
    """A change set that is ready to be executed. By ARN: names of stacks and change sets can be reused, ARNs cannot."""

    name: str
    arn: str
    stack_id: str
    plan: Plan
    action: Action


def deploy(
    cloudformation: CloudFormationClient,
    plan: Plan,
    poll_seconds: float,
    examine: Callable[[Action], Action] = lambda action: action,
    confirm: Callable[[], None] = lambda: None,
    listener: Listener | None = None,
) -> None:
    """Bring the stack to what `plan` says, or find that it is there.

    `examine` hears what is about to be done before a change set is made, and returns it, or DELETE to have the stack
    deleted and made anew. `confirm` is called right before a change set is executed. What they raise ends the
    deployment with nothing changed. `listener` hears the events of the execution.
    Raises StackNotDeployable, StackNotDeleted, ChangeSetFailed, StackFailed, or StackContended when other deployments
    come first again and again.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with job.section("Stack"):
                action = stack.make_ready(cloudformation, plan.stack_name, plan.role_arn, poll_seconds)
                if examine(action) is Action.DELETE:
                    stack.delete(cloudformation, plan.stack_name, plan.role_arn, poll_seconds)
                    action = Action.CREATE
            with job.section("Change set"):
                change_set = prepare(cloudformation, plan, action, poll_seconds)
            if change_set is not None:
                with job.section("Stack events"):
                    execute(cloudformation, change_set, poll_seconds, confirm, listener)
        except errors.StackContended as contended:
            if attempt == _ATTEMPTS:
                raise
            job.say(f"{contended.message}: once more from the beginning")
            job.pause(poll_seconds)
        else:
            return


# --- the change set ------------------------------------------------------------------------------------------------


def prepare(cloudformation: CloudFormationClient, plan: Plan, action: Action, poll_seconds: float) -> ChangeSet | None:
    """Create a change set and show what it will do; None when there is nothing to change.

    A change set that is not to be executed leaves nothing behind, nor do those that earlier runs have left.
    Raises ChangeSetFailed, also for what CloudFormation refuses at once, or StackContended when another deployment came
    in between.
    """
    name = stack_rules.client_token(job.current())
    with _discarding(cloudformation, plan, action, name, job.Cancelled):
        arn = _create(cloudformation, plan, action, name)
    with _discarding(cloudformation, plan, action, name, Exception, job.Cancelled):
        description = _wait_for_change_set(cloudformation, plan.stack_name, arn or name, poll_seconds)
        change_set = ChangeSet(name, description["ChangeSetId"], description["StackId"], plan, action)
        if description["Status"] == "CREATE_COMPLETE":
            for page in _pages(cloudformation, plan.stack_name, change_set.arn, description):
                for change in page["Changes"]:
                    job.say(stack_rules.change_text(change))
            return change_set
    reason = description.get("StatusReason", "no reason given")
    no_change = stack_rules.says_no_change(reason)
    details = _validation_failures(cloudformation, plan, change_set) if "DescribeEvents" in reason else []
    _discard(cloudformation, plan, action, name, description["CreationTime"])
    if no_change:
        job.say("no change: the stack is already as requested")
        return None
    for line in details:
        job.say(line)
    raise errors.ChangeSetFailed(
        f"the change set for the stack {plan.stack_name} failed: {'; '.join(details) or ' '.join(reason.split())}"
    )


def _create(cloudformation: CloudFormationClient, plan: Plan, action: Action, name: str) -> str:
    """Create the change set `name`; its ARN, or nothing when an earlier request, whose answer was lost, has made it."""
    from botocore.exceptions import ClientError

    try:
        answer = cloudformation.create_change_set(
            StackName=plan.stack_name,
            ChangeSetName=name,
            ClientToken=name,  # botocore repeats a request whose answer was lost
            ChangeSetType="CREATE" if action is Action.CREATE else "UPDATE",
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in plan.parameters.items()],
            Tags=[{"Key": key, "Value": value} for key, value in plan.tags.items()],
            Capabilities=list(plan.capabilities),
            Description=f"sagemaker-ci {job.current().url}".strip(),
            **plan.template,
            **stack.role_argument(plan.role_arn),
        )
    except ClientError as error:
        if aws_errors.code(error) == "AlreadyExistsException":
            return ""
        _raise_if_contended(cloudformation, plan.stack_name, action, error)
        if aws_errors.code(error) == "ValidationError":
            text = " ".join(aws_errors.text(error).split())
            raise errors.ChangeSetFailed(
                f"the change set for the stack {plan.stack_name} was refused: {text}",
                hint=stack_rules.refusal_hint(text),
            ) from error
        raise
    return str(answer["Id"])


def _wait_for_change_set(
    cloudformation: CloudFormationClient, stack_name: str, name: str, poll_seconds: float
) -> DescribeChangeSetOutputTypeDef:
    where: Any = {} if name.startswith("arn:") else {"StackName": stack_name}
    while True:
        description = _describe(cloudformation, stack_name, ChangeSetName=name, **where)
        if description["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            return description
        job.pause(min(poll_seconds, 3))  # a matter of seconds


def _pages(
    cloudformation: CloudFormationClient, stack_name: str, arn: str, first: DescribeChangeSetOutputTypeDef
) -> Iterator[DescribeChangeSetOutputTypeDef]:
    """The whole description of a change set, of which the first page is here already."""
    page = first
    yield page
    while token := page.get("NextToken"):
        page = _describe(cloudformation, stack_name, ChangeSetName=arn, NextToken=token)
        yield page


def _describe(cloudformation: CloudFormationClient, stack_name: str, **request: Any) -> DescribeChangeSetOutputTypeDef:
    """What DescribeChangeSet tells. Another deployment that is executed removes the change set: StackContended."""
    from botocore.exceptions import ClientError

    try:
        return cloudformation.describe_change_set(**request)
    except ClientError as error:
        _raise_if_contended(cloudformation, stack_name, None, error)
        raise


def _raise_if_contended(
    cloudformation: CloudFormationClient, stack_name: str, action: Action | None, error: Any
) -> None:
    """Raise StackContended if the refusal came because another deployment removed the change set or moved the stack.

    `action`: what the stack's status called for; None where its status cannot be the reason.
    """
    contended = aws_errors.code(error) in ("ChangeSetNotFound", "InvalidChangeSetStatus")
    if action and aws_errors.code(error) == "ValidationError":  # the code for everything else, wrong templates included
        description = stack.describe(cloudformation, stack_name)
        contended = stack_rules.next_action(description["StackStatus"] if description else None) is not action
    if contended:
        raise errors.StackContended(
            f"another deployment changed the stack {stack_name} meanwhile ({aws_errors.text(error)})"
        ) from error


def _validation_failures(cloudformation: CloudFormationClient, plan: Plan, change_set: ChangeSet) -> list[str]:
    """Why CloudFormation's pre-deployment validation refused a change set: only DescribeEvents tells.

    A role that may not call it must not hide that the change set failed.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        events = cloudformation.describe_events(ChangeSetName=change_set.arn, Filters={"FailedEvents": True})
    except (BotoCoreError, ClientError) as error:
        return [f"the reasons cannot be seen: {error}"]
    return [
        f"{event.get('LogicalResourceId', plan.stack_name)} {event.get('ValidationPath', '')}".strip()
        + f": {event['ValidationStatusReason']}"
        for event in events["OperationEvents"]
        if event.get("ValidationStatusReason")
    ]


@contextmanager
def _discarding(
    cloudformation: CloudFormationClient, plan: Plan, action: Action, name: str, *kinds: type[BaseException]
) -> Iterator[None]:
    """Remove the change set when one of these exceptions ends what is done about it."""
    try:
        yield
    except kinds:
        with job.after_cancellation():
            _discard(cloudformation, plan, action, name)
        raise


def _discard(
    cloudformation: CloudFormationClient, plan: Plan, action: Action, name: str, now: datetime | None = None
) -> None:
    """Remove a change set that nobody will execute, those that earlier runs left, and the stack if it was made for it.

    `now` is CloudFormation's time; None: only the change set itself is removed.
    What the deployment came to is known by now, so being refused is only said.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        _delete_change_set(cloudformation, plan.stack_name, name)
        if now is None and action is not Action.CREATE:
            return
        pages = cloudformation.get_paginator("list_change_sets").paginate(StackName=plan.stack_name)
        others = [each for page in pages for each in page["Summaries"] if each["ChangeSetName"] != name]
        for other in [each for each in others if now and stack_rules.is_abandoned(each, job.current(), now)]:
            _delete_change_set(cloudformation, plan.stack_name, other["ChangeSetName"])
            job.say(f"removed the change set {other['ChangeSetName']}, which an earlier run left behind")
            others.remove(other)
        # The change set of a stack that does not exist creates an empty one to belong to.
        if action is Action.CREATE and not others:
            description = stack.describe(cloudformation, plan.stack_name)
            if description and description["StackStatus"] == "REVIEW_IN_PROGRESS":
                cloudformation.delete_stack(StackName=description["StackId"], **stack.role_argument(plan.role_arn))
    except (BotoCoreError, ClientError) as error:
        if "does not exist" not in str(error):
            job.say(f"a change set of the stack {plan.stack_name} is left behind: {error}")


def _delete_change_set(cloudformation: CloudFormationClient, stack_name: str, name: str) -> None:
    from botocore.exceptions import ClientError

    try:
        cloudformation.delete_change_set(StackName=stack_name, ChangeSetName=name)
    except ClientError as error:
        if aws_errors.code(error) != "ChangeSetNotFound":
            raise


# --- its execution -------------------------------------------------------------------------------------------------


def execute(
    cloudformation: CloudFormationClient,
    change_set: ChangeSet,
    poll_seconds: float,
    confirm: Callable[[], None] = lambda: None,
    listener: Listener | None = None,
) -> None:
    """Execute the change set and stream the stack's events until the operation ends, whoever ends it.

    Raises StackFailed with the root cause, or StackContended when another deployment came first.
    """
    plan = change_set.plan
    with _discarding(cloudformation, plan, change_set.action, change_set.name, Exception, job.Cancelled):
        last = stack.last_event(cloudformation, change_set.stack_id)
        confirm()
        _begin(cloudformation, change_set, last, poll_seconds)
    events: list[Event] = []
    inner: dict[str, list[Event]] = {}
    holds = listener.holds if listener else lambda: False
    for event in stack.events_after(cloudformation, change_set.stack_id, last, poll_seconds, holds):
        job.say(f"{event['Timestamp']:%H:%M:%S} {stack_rules.event_text(event)}")
        if listener:
            listener.hear(event)
        events.append(event)
        if stack_rules.nested_stack(event):
            inner[event["EventId"]] = list(_inner_failures(cloudformation, event, events[0]["Timestamp"]))
        if stack_rules.ends_operation(event, change_set.stack_id):
            break
    if events[-1]["ResourceStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise stack_rules.failure(events, change_set.name, plan.stack_name, inner)


def _begin(cloudformation: CloudFormationClient, change_set: ChangeSet, last: str | None, poll_seconds: float) -> None:
    """Execute the change set. A refusal counts only when the stack's events do not tell that it is being executed."""
    from botocore.exceptions import ClientError

    try:
        cloudformation.execute_change_set(ChangeSetName=change_set.arn, ClientRequestToken=change_set.name)
    except ClientError as error:
        if aws_errors.code(error) in aws_errors.DENIED:
            raise
        if _has_begun(cloudformation, change_set, last, poll_seconds):
            job.say("the answer to ExecuteChangeSet was lost: the stack's events tell that it is being executed")
            return
        _raise_if_contended(cloudformation, change_set.plan.stack_name, change_set.action, error)
        raise


def _has_begun(
    cloudformation: CloudFormationClient, change_set: ChangeSet, last: str | None, poll_seconds: float
) -> bool:
    for look in range(_LOOKS):
        if look:
            job.pause(min(poll_seconds, 3))
        events = stack_rules.newer(stack.event_pages(cloudformation, change_set.stack_id), last)
        begun = stack_rules.begun(events, change_set.name)
        if begun is not None:
            return begun
    return False


def _inner_failures(cloudformation: CloudFormationClient, event: Event, began: datetime) -> Iterator[Event]:
    """The failures in a nested stack, and in one nested in that, which led to the failure that `event` reports.

    By id a stack's events are told after it was deleted, too. What may not be looked at is only said.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    for _ in range(_DEEPEST):
        nested = stack_rules.nested_stack(event)
        if nested is None:
            return
        try:
            events = stack_rules.since(stack.event_pages(cloudformation, nested), began)
        except (BotoCoreError, ClientError) as error:
            job.say(f"         the events of the nested stack {event['LogicalResourceId']} cannot be seen: {error}")
            return
        cause = stack_rules.root_cause(events)
        if cause is None:
            return
        job.say(f"         in the nested stack {event['LogicalResourceId']}: {stack_rules.event_text(cause)}")
        yield cause
        event = cause
