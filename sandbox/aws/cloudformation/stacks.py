"""Stacks and change sets: states, events, the order of work, rollback. api.py calls it; handlers do the work itself.

An operation runs in a thread of its own; whoever describes the stack meanwhile sees every *_IN_PROGRESS state.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError, WaiterError

from sandbox.aws.cloudformation import schemas
from sandbox.aws.cloudformation.handlers import (
    Call,
    Failed,
    Handler,
    Made,
    Properties,
    handler_of,
    reason,
    resource_handler_returned,
)
from sandbox.aws.cloudformation.template import (
    UNKNOWN,
    Evaluator,
    ValidationError,
    check_rules,
    parameter_values,
    parse,
)
from sandbox.aws.server import ACCOUNT


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Plan:
    """What a stack is to become: a template with everything the caller gave for it."""

    text: str
    template: dict[str, Any]
    parameters: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, text: str, given: dict[str, str], tags: dict[str, str]) -> Plan:
        """Raises ValidationError for a template or parameters that CloudFormation refuses at once."""
        template = parse(text)
        types = {resource["Type"] for resource in template["Resources"].values()}
        if unknown := sorted(kind for kind in types if schemas.schema(kind) is None or handler_of(kind) is None):
            raise ValidationError(f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")
        values = parameter_values(template, given)
        check_rules(template, values)
        return cls(text, template, values, tags)


@dataclass
class Resource:
    """A resource of a stack as it is now."""

    logical_id: str
    type: str
    properties: Properties
    made: Made
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
    status: str = "CREATE_PENDING"
    reason: str | None = None
    execution: str = "UNAVAILABLE"
    changes: list[dict[str, Any]] = field(default_factory=list)
    problems: list[tuple[str, str, schemas.Problem]] = field(default_factory=list)
    created: datetime = field(default_factory=now)
    operation: Operation = field(default_factory=lambda: Operation("CREATE_CHANGESET"))


class Stack:
    """One stack: its state and the operations that change it."""

    def __init__(self, name: str, region: str, client: Callable[[dict[str, str], str], Any]) -> None:
        self.name, self.region = name, region
        self.id = f"arn:aws:cloudformation:{region}:{ACCOUNT}:stack/{name}/{uuid.uuid4()}"
        self.status, self.reason = "REVIEW_IN_PROGRESS", ""
        self.plan = Plan("", {"Resources": {}}, {})
        self.role_arn: str | None = None
        self.credentials: dict[str, str] = {}
        self.capabilities: list[str] = []
        self.resources: dict[str, Resource] = {}
        self.outputs: list[dict[str, str]] = []
        self.events: list[dict[str, Any]] = []
        self.operations: list[Operation] = []
        self.change_sets: dict[str, ChangeSet] = {}
        self.created = now()
        self.updated: datetime | None = None
        self.deleted: datetime | None = None
        self._client = client
        self._worker: threading.Thread | None = None
        self._cancelled = threading.Event()
        self._rollback: dict[str, Resource | None] = {}
        self._previous = self.plan

    # --- what can be asked ------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    def require_updatable(self) -> None:
        """Raises the service's ValidationError when the stack's state takes no update."""
        refused = ("ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS", "DELETE_FAILED", "UPDATE_ROLLBACK_FAILED")
        if self.busy or self.status in refused or self.status in ("CREATE_FAILED", "ROLLBACK_FAILED"):
            raise ValidationError(f"Stack:{self.id} is in {self.status} state and can not be updated.")

    def evaluator(self, plan: Plan, made: Callable[[str], Made | None]) -> Evaluator:
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": self.region,
            "AWS::StackId": self.id,
            "AWS::StackName": self.name,
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::Partition": "aws",
            "AWS::NotificationARNs": [],
        }

        def attribute(name: str, key: str) -> Any:
            resource = made(name)
            if resource is None:
                return UNKNOWN
            if key not in resource.attributes:
                kind = plan.template["Resources"][name]["Type"]
                raise ValidationError(
                    f"Template error: resource {name} of type {kind} does not support attribute {key}"
                )
            return resource.attributes[key]

        def ref(name: str) -> str:
            resource = made(name)
            return resource.physical_id if resource else UNKNOWN

        return Evaluator(plan.template, plan.parameters, pseudo, ref, attribute)

    def changes(self, plan: Plan) -> list[dict[str, Any]]:
        """What `plan` would change, as DescribeChangeSet lists it. Raises ValidationError."""
        fresh: set[str] = set()  # resources whose physical id is not known yet

        def made(name: str) -> Made | None:
            return None if name in fresh or name not in self.resources else self.resources[name].made

        evaluator = self.evaluator(plan, made)
        wanted = evaluator.resources()
        found = []
        for name, definition in wanted.items():
            old = self.resources.get(name)
            if old is None:
                fresh.add(name)
                found.append(_change("Add", name, definition["Type"]))
                continue
            properties = self._properties(evaluator, definition, plan)
            changed = [key for key in properties | old.properties if properties.get(key) != old.properties.get(key)]
            if not changed and definition.get("Metadata") == old.definition.get("Metadata"):
                continue
            replaced = old.type != definition["Type"] or schemas.replaces(old.type, old.properties, properties)
            if replaced:
                fresh.add(name)
            found.append(_change("Modify", name, definition["Type"], old, changed, replaced))
        found += [_change("Remove", name, old.type, old) for name, old in self.resources.items() if name not in wanted]
        return found

    def unchanged(self, plan: Plan, changes: list[dict[str, Any]]) -> bool:
        """Whether there is nothing to do: same resources, tags and outputs."""
        if changes:
            return False
        outputs = [candidate.template.get("Outputs") or {} for candidate in (self.plan, plan)]
        return self.plan.tags == plan.tags and outputs[0] == outputs[1]

    def problems(self, plan: Plan) -> list[tuple[str, str, schemas.Problem]]:
        """What CloudFormation's validation before deployment finds: logical id, type, problem."""
        evaluator = self.evaluator(plan, lambda _: None)
        return [
            (name, definition["Type"], problem)
            for name, definition in evaluator.resources().items()
            for problem in schemas.problems(
                name, definition["Type"], evaluator.value(definition.get("Properties") or {})
            )
        ]

    def _properties(self, evaluator: Evaluator, definition: dict[str, Any], plan: Plan) -> Properties:
        properties: Properties = evaluator.value(definition.get("Properties") or {})
        if plan.tags and schemas.has_tags(definition["Type"]):
            own = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
            merged = plan.tags | own
            properties = properties | {"Tags": [{"Key": key, "Value": value} for key, value in merged.items()]}
        return schemas.coerce(definition["Type"], properties)

    # --- events -----------------------------------------------------------------------------------------------------

    def _say(self, status: str, why: str | None = None, resource: Resource | None = None, error: bool = False) -> None:
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
            "PhysicalResourceId": resource.made.physical_id if resource else self.id,
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

    def _run(self, kind: str, token: str | None, first: str, work: Callable[[], None]) -> None:
        self._cancelled.clear()
        operation, earlier = Operation(kind, token), self._worker
        self.operations.append(operation)
        self._say(first, "User Initiated")

        def target() -> None:
            try:
                if earlier:
                    earlier.join()  # a deletion takes over from a creation
                work()
            except Exception as error:
                # A fault of the sandbox must not look like a stack that is still busy.
                self._say(first.replace("_IN_PROGRESS", "_FAILED"), f"Internal Failure: {error!r}")
                raise
            finally:
                operation.ended = now()
                operation.failed = "FAILED" in self.status or "ROLLBACK" in self.status

        self._worker = threading.Thread(target=target, daemon=True, name=f"{kind} {self.name}")
        self._worker.start()

    # --- operations -------------------------------------------------------------------------------------------------

    def review(self, plan: Plan) -> None:
        """A stack that exists only for its first change set."""
        self.operations.append(Operation("CREATE_CHANGESET"))
        self.plan = Plan(plan.text, {"Resources": {}}, {}, plan.tags)
        self._say("REVIEW_IN_PROGRESS", "User Initiated")

    def create(self, plan: Plan, token: str | None) -> None:
        def work() -> None:
            problem = self._apply(plan, {})
            if self.status == "DELETE_IN_PROGRESS":
                return None  # the deletion waits for this
            return self._undo_creation(problem) if problem else self._say("CREATE_COMPLETE")

        self.plan = plan
        self._run("CREATE_STACK", token, "CREATE_IN_PROGRESS", work)

    def update(self, plan: Plan, token: str | None) -> None:
        def work() -> None:
            before = dict(self.resources)
            self._previous, self.plan = self.plan, plan
            touched: dict[str, Resource | None] = {}
            if problem := self._apply(plan, touched):
                self._rollback = touched
                return self._undo_update(problem)
            self._say("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
            gone = [resource for name, resource in before.items() if self.resources.get(name) is not resource]
            kept = {id(resource.made) for resource in self.resources.values()}
            # An updated resource is a new record of the same physical resource: only the others go.
            wanted = {(resource.type, resource.made.physical_id) for resource in self.resources.values()}
            obsolete = [
                resource
                for resource in gone
                if id(resource.made) not in kept and (resource.type, resource.made.physical_id) not in wanted
            ]
            self._clean_up(obsolete)
            return self._say("UPDATE_COMPLETE")

        self.updated = now()
        self._run("UPDATE_STACK", token, "UPDATE_IN_PROGRESS", work)

    def delete(self, token: str | None) -> None:
        def work() -> None:
            failed = []
            for resource in reversed(list(self.resources.values())):
                if not self._delete(resource):
                    failed.append(resource.logical_id)
                else:
                    del self.resources[resource.logical_id]
            if failed:
                return self._say(
                    "DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. "
                )
            self.deleted, self.outputs = now(), []
            return self._say("DELETE_COMPLETE")

        self._run("DELETE_STACK", token, "DELETE_IN_PROGRESS", work)

    def cancel_update(self, token: str | None) -> None:
        if self.status != "UPDATE_IN_PROGRESS":
            raise ValidationError("CancelUpdateStack cannot be called from current stack status")
        self.operations[-1].token = token  # all events from here on are those of whoever cancelled
        self._cancelled.set()

    def continue_rollback(self, token: str | None, skip: list[str]) -> None:
        if self.status != "UPDATE_ROLLBACK_FAILED":
            raise ValidationError(f"Stack:{self.id} is in {self.status} state and can not continue update rollback.")
        for name in skip:
            self._rollback.pop(name, None)
        self._run("CONTINUE_ROLLBACK", token, "UPDATE_ROLLBACK_IN_PROGRESS", self._restore)

    # --- the work ---------------------------------------------------------------------------------------------------

    def _apply(self, plan: Plan, touched: dict[str, Resource | None]) -> str:
        """Bring every resource of `plan` about; the reason why that failed, or an empty text.

        `touched` is filled with the former record of every resource that was begun (None: there was none).
        """
        evaluator = self.evaluator(plan, lambda name: self.resources[name].made)
        try:
            wanted = evaluator.resources()
            for name, definition in wanted.items():
                old = self.resources.get(name)
                properties = self._properties(evaluator, definition, plan)
                same_type = old is not None and old.type == definition["Type"]
                if old and same_type and old.properties == properties:
                    self.resources[name] = _with_definition(old, definition)
                    continue
                if self._cancelled.is_set():
                    return "Resource update cancelled"
                touched[name] = old
                if old and same_type and not schemas.replaces(old.type, old.properties, properties):
                    done = self._update(old, properties, definition)
                else:
                    done = self._create(name, definition, properties, old)
                if not done:
                    return f"The following resource(s) failed to {'update' if old else 'create'}: [{name}]. "
            for name in [name for name in self.resources if name not in wanted]:
                touched[name] = self.resources.pop(name)
            self.resources = {name: self.resources[name] for name in wanted}  # in the order of their dependencies
            self.outputs = list(self._outputs(plan, evaluator))
        except ValidationError as error:
            return str(error)
        return ""

    def _create(self, name: str, definition: dict[str, Any], properties: Properties, old: Resource | None) -> bool:
        resource = Resource(name, definition["Type"], properties, Made(""), "", definition)
        why = "Requested update requires the creation of a new physical resource; hence creating one." if old else None
        verb = "UPDATE" if old else "CREATE"
        if old:
            resource.made = old.made
        self._say(f"{verb}_IN_PROGRESS", why, resource)
        resource.made = Made("")
        self.resources[name] = resource

        def work(call: Call) -> None:
            handler = _handler(resource)
            try:
                resource.made = handler.create(call, properties)
                self._say(f"{verb}_IN_PROGRESS", "Resource creation Initiated", resource)
                resource.made = handler.settle(call, resource.made, properties) or resource.made
            except Failed as error:
                resource.made = error.made or resource.made
                raise

        return self._attempt(resource, verb, work)

    def _update(self, old: Resource, properties: Properties, definition: dict[str, Any]) -> bool:
        resource = Resource(old.logical_id, old.type, properties, old.made, "", definition)
        self.resources[old.logical_id] = resource
        self._say("UPDATE_IN_PROGRESS", None, resource)

        def work(call: Call) -> None:
            handler = _handler(old)
            resource.made = handler.update(call, old.made, old.properties, properties)
            resource.made = handler.settle(call, resource.made, properties) or resource.made

        return self._attempt(resource, "UPDATE", work)

    def _delete(self, resource: Resource, policy: str = "DeletionPolicy", creating: bool = False) -> bool:
        if resource.retained(policy, creating):
            self._say("DELETE_SKIPPED", None, resource)
            return True
        if not resource.made.physical_id:
            return True  # it was never made
        self._say("DELETE_IN_PROGRESS", None, resource)

        def work(call: Call) -> None:
            try:
                _handler(resource).delete(call, resource.made, resource.properties)
            except ClientError as error:
                if not _says_gone(error):
                    raise

        return self._attempt(resource, "DELETE", work)

    def _attempt(self, resource: Resource, verb: str, work: Callable[[Call], None]) -> bool:
        def client(service: str) -> Any:
            return self._client(self.credentials, service)

        try:
            work(Call(client, self.name, resource.logical_id, self._cancelled.is_set, self.id, resource.type))
        except ClientError as error:
            why = reason(error)
        except (ParamValidationError, WaiterError) as error:
            why = resource_handler_returned(str(error), "InvalidRequest")
        except Failed as error:
            why = str(error)
            if why != "Resource update cancelled" and not error.verbatim:
                why = resource_handler_returned(why, "NotStabilized")
        else:
            self._say(f"{verb}_COMPLETE", None, resource)
            return True
        self._say(f"{verb}_FAILED", why, resource, error=True)
        return False

    def _undo_creation(self, problem: str) -> None:
        self._say("ROLLBACK_IN_PROGRESS", f"{problem}Rollback requested by user.")
        failed = []
        for resource in reversed(list(self.resources.values())):
            if self._delete(resource, creating=True):
                del self.resources[resource.logical_id]
            else:
                failed.append(resource.logical_id)
        if failed:
            return self._say("ROLLBACK_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
        return self._say("ROLLBACK_COMPLETE")

    def _undo_update(self, problem: str) -> None:
        self._say("UPDATE_ROLLBACK_IN_PROGRESS", problem)
        self._restore()

    def _restore(self) -> None:
        """Bring the touched resources back to what they were, then delete what the failed update had made."""
        self._cancelled.clear()
        made = []
        for name, old in list(self._rollback.items()):
            present = self.resources.get(name)
            if old is None:  # added by the update
                made.append(self.resources.pop(name))
            elif present is None:  # removed by the update, not deleted yet
                self.resources[name] = old
            elif present.made.physical_id != old.made.physical_id:  # replaced
                made.append(present)
                self.resources[name] = old
                self._say("UPDATE_COMPLETE", None, old)
            else:
                if not self._update(present, old.properties, old.definition):
                    why = f"The following resource(s) failed to update: [{name}]. "
                    return self._say("UPDATE_ROLLBACK_FAILED", why)
            del self._rollback[name]
        self._say("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        for resource in reversed(made):
            self._delete(resource, creating=True)
        self.plan = self._previous
        return self._say("UPDATE_ROLLBACK_COMPLETE")

    def _clean_up(self, resources: list[Resource]) -> None:
        # What cannot be deleted here stays behind with a DELETE_FAILED event; the stack's state does not suffer.
        for resource in reversed(resources):
            self._delete(resource, "UpdateReplacePolicy" if resource.logical_id in self.resources else "DeletionPolicy")

    def _outputs(self, plan: Plan, evaluator: Evaluator) -> Iterator[dict[str, str]]:
        for name, output in (plan.template.get("Outputs") or {}).items():
            if "Condition" in output and not evaluator.condition(output["Condition"]):
                continue
            entry = {"OutputKey": name, "OutputValue": str(evaluator.value(output["Value"]))}
            if "Description" in output:
                entry["Description"] = output["Description"]
            yield entry


def _with_definition(resource: Resource, definition: dict[str, Any]) -> Resource:
    resource.definition = definition
    return resource


def _handler(resource: Resource) -> Handler:
    handler = handler_of(resource.type)
    if handler is None:  # Plan.make lets no such resource in
        raise Failed(f"no handler for {resource.type}")
    return handler


def _says_gone(error: ClientError) -> bool:
    details = error.response["Error"]
    return bool(
        re.search(r"NotFound|NoSuch|NonExistent", details["Code"])
        or re.search(r"Could not find|does not exist", details.get("Message", ""))
    )


def _change(
    action: str,
    name: str,
    kind: str,
    old: Resource | None = None,
    changed: list[str] | None = None,
    replaced: bool = False,
) -> dict[str, Any]:
    change: dict[str, Any] = {"Action": action, "LogicalResourceId": name, "ResourceType": kind, "Scope": []}
    if old:
        change["PhysicalResourceId"] = old.made.physical_id
    if action == "Modify":
        change["Replacement"] = "True" if replaced else "False"
        change["Scope"] = ["Tags" if key == "Tags" else "Properties" for key in (changed or ["Metadata"])][:1]
        change["Details"] = [
            {
                "Target": {"Attribute": "Tags"} if key == "Tags" else {"Attribute": "Properties", "Name": key},
                "Evaluation": "Static",
                "ChangeSource": "DirectModification",
            }
            for key in changed or []
        ]
    return {"Type": "Resource", "ResourceChange": change}
