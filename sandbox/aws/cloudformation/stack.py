"""What a stack is: its plan, resources, outputs, change sets and events. operations.py is what is done to it.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.plan import EMPTY, Plan
from sandbox.aws.cloudformation.resources.handler import PhysicalResource, Properties
from sandbox.aws.cloudformation.validation import Problem
from sandbox.aws.ground import ACCOUNT


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Resource:
    """A resource of a stack as it is now."""

    logical_id: str
    type: str
    properties: Properties
    physical: PhysicalResource
    status: str
    definition: dict[str, Any]
    reason: str = ""
    timestamp: datetime = field(default_factory=now)

    def retained(self, policy: str, creating: bool) -> bool:
        """Whether a policy attribute keeps the physical resource; RetainExceptOnCreate does not while creating."""
        return self.definition.get(policy) in (("Retain",) if creating else ("Retain", "RetainExceptOnCreate"))


@dataclass
class Operation:
    """One piece of work on a stack, as DescribeEvents groups it."""

    type: str
    token: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: datetime = field(default_factory=now)
    ended: datetime | None = None
    failed: bool = False


@dataclass
class ChangeSet:
    """A change set; its changes are found while it is CREATE_IN_PROGRESS."""

    name: str
    id: str
    type: str
    plan: Plan
    description: str | None
    role_arn: str | None
    credentials: dict[str, str]
    capabilities: list[str]
    on_failure: str | None = None
    status: str = "CREATE_PENDING"
    reason: str | None = None
    execution: str = "UNAVAILABLE"
    changes: list[dict[str, Any]] = field(default_factory=list)
    problems: list[tuple[str, str, Problem]] = field(default_factory=list)
    created: datetime = field(default_factory=now)
    operation: Operation = field(default_factory=lambda: Operation("CREATE_CHANGESET"))
    executed_by: str | None = None
    """The ClientRequestToken of the request that executed it."""


class StackState:
    """One stack: its state and what has become of it so far."""

    def __init__(self, name: str, region: str) -> None:
        self.name, self.region = name, region
        self.id = f"arn:aws:cloudformation:{region}:{ACCOUNT}:stack/{name}/{uuid.uuid4()}"
        self.status, self.reason = "REVIEW_IN_PROGRESS", ""
        self.plan = EMPTY
        self.role_arn: str | None = None
        self.credentials: dict[str, str] = {}
        self.capabilities: list[str] = []
        self.protected = False
        self.policy: str | None = None
        self.on_failure = "ROLLBACK"
        self.change_set_id: str | None = None  # the one that made it what it is
        self.resources: dict[str, Resource] = {}
        self.outputs: list[dict[str, str]] = []
        self.exports: dict[str, str] = {}
        self.imports: set[str] = set()
        self.events: list[dict[str, Any]] = []
        self.operations: list[Operation] = []
        self.change_sets: dict[str, ChangeSet] = {}
        self.created = now()
        self.updated: datetime | None = None
        self.deleted: datetime | None = None  # when a deletion began, that of a roll-back included

    @property
    def parent(self) -> StackState | None:
        """The stack whose resource this one is."""
        identity = ("AWS::CloudFormation::Stack", self.id)
        for stack in in_region(self.region):
            if any((each.type, each.physical.id) == identity for each in list(stack.resources.values())):
                return stack
        return None

    @property
    def busy(self) -> bool:
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    def require_updatable(self) -> None:
        """Raises the service's ValidationError when the stack's state takes no update."""
        refused = (
            "CREATE_FAILED DELETE_COMPLETE DELETE_FAILED REVIEW_IN_PROGRESS ROLLBACK_COMPLETE ROLLBACK_FAILED "
            "UPDATE_ROLLBACK_FAILED"
        )
        if self.busy or self.status in refused.split():
            raise ValidationError(f"Stack:{self.id} is in {self.status} state and can not be updated.")

    def operation(self, token: str | None) -> Operation | None:
        """The operation that a request with this token has started."""
        return next((each for each in self.operations if token and each.token == token), None)

    def say(self, status: str, why: str | None = None, resource: Resource | None = None, error: bool = False) -> None:
        """Move the stack or one of its resources to a state, and record the event."""
        operation = self.operations[-1]
        if resource:
            resource.status, resource.reason, resource.timestamp = status, why or "", now()
        else:
            self.status, self.reason = status, why or ""
        event = {
            "EventId": str(uuid.uuid4()) if resource is None else f"{resource.logical_id}-{status}-{uuid.uuid4()}",
            "StackId": self.id,
            "StackName": self.name,
            "LogicalResourceId": resource.logical_id if resource else self.name,
            "PhysicalResourceId": resource.physical.id if resource else self.id,
            "ResourceType": resource.type if resource else "AWS::CloudFormation::Stack",
            "Timestamp": now(),
            "ResourceStatus": status,
            "ResourceStatusReason": why,
            "ResourceProperties": json.dumps(resource.properties, default=str) if resource else None,
            "ClientRequestToken": operation.token,
            "OperationId": operation.id,
            "_error": error,
        }
        self.events.append({key: value for key, value in event.items() if value is not None})


# --- all of them ----------------------------------------------------------------------------------------------------

STACKS: dict[str, StackState] = {}
"""By id, the deleted ones included; a name belongs to the stack that is not deleted."""
LOCK = threading.RLock()
"""Held while a request decides what becomes of a stack."""


def known_stacks() -> list[StackState]:
    """Every stack, the one that has its name now before those that had it."""
    return sorted([*STACKS.values()], key=lambda stack: stack.status == "DELETE_COMPLETE")


def resume() -> None:
    """What the end of the server interrupted has failed: such a stack can be deleted."""
    for stack in STACKS.values():
        operation = stack.operations[-1] if stack.operations else None
        kind, busy, _ = stack.status.rpartition("_IN_PROGRESS")
        if operation and operation.ended is None and busy and kind != "REVIEW":
            stack.say(
                f"{kind.removesuffix('_CLEANUP').removesuffix('_COMPLETE')}_FAILED",
                "Internal Failure: the sandbox ended meanwhile",
            )
            operation.ended, operation.failed = now(), True


def in_region(region: str) -> list[StackState]:
    return [stack for stack in list(STACKS.values()) if stack.region == region]


ClientFactory = Callable[[dict[str, str], str], Any]
"""A client of a service of this server, for credentials."""
