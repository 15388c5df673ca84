"""What is done to a stack: creation, update, deletion, roll-back, each in a thread of its own.

Whoever describes the stack meanwhile sees every *_IN_PROGRESS state. The handlers of resources/ do the work itself.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError, WaiterError
from moto.core.exceptions import ServiceException

from sandbox.aws.cloudformation import schemas, validation
from sandbox.aws.cloudformation.dynamic_references import resolved
from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.evaluation import evaluator, impossible_outputs, properties_of
from sandbox.aws.cloudformation.evaluator import Evaluator
from sandbox.aws.cloudformation.exports import exports, imported, require_exports_unused
from sandbox.aws.cloudformation.plan import Plan
from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Failed,
    Handler,
    PhysicalResource,
    Properties,
    handler_of,
    reason,
    resource_handler_returned,
)
from sandbox.aws.cloudformation.stack import ClientFactory, Operation, Resource, StackState, now
from sandbox.aws.cloudformation.stack_policy import denial

_CANCELLED = "Resource update cancelled"


class Stack(StackState):
    """One stack and the operations that change it."""

    def __init__(self, name: str, region: str, client: ClientFactory) -> None:
        super().__init__(name, region)
        self._client = client
        self._worker: threading.Thread | None = None
        self._cancelled = threading.Event()
        self._deciding = threading.Lock()  # an update that was cancelled in time does not complete
        self._rollback: dict[str, Resource | None] = {}
        self._previous = self.plan

    def _run(self, kind: str, token: str | None, first: str, work: Callable[[], None]) -> None:
        self._cancelled.clear()
        operation, earlier = Operation(kind, token), self._worker
        self.operations.append(operation)
        self.say(first, "User Initiated")

        def target() -> None:
            try:
                if earlier:
                    earlier.join()  # a deletion takes over from a creation
                work()
            except Exception as error:
                # A fault of the sandbox must not look like a stack that is still busy.
                self.say(first.replace("_IN_PROGRESS", "_FAILED"), f"Internal Failure: {error!r}")
                raise
            finally:
                operation.ended = now()
                operation.failed = "FAILED" in self.status or "ROLLBACK" in self.status

        self._worker = threading.Thread(target=target, daemon=True, name=f"{kind} {self.name}")
        self._worker.start()

    # --- operations -------------------------------------------------------------------------------------------------

    def review(self) -> None:
        """A stack that exists only for its first change set."""
        self.operations.append(Operation("CREATE_CHANGESET"))
        self.say("REVIEW_IN_PROGRESS", "User Initiated")

    def create(self, plan: Plan, token: str | None) -> None:
        def work() -> None:
            problem = self._apply(plan, {})
            if self.status == "DELETE_IN_PROGRESS":
                return None  # the deletion waits for this
            if not problem:
                return self.say("CREATE_COMPLETE")
            if self.on_failure == "DO_NOTHING":
                return self.say("CREATE_FAILED", problem)
            if self.on_failure == "DELETE":
                self.say("DELETE_IN_PROGRESS", f"{problem}Delete requested by user.")
                return self._delete_all([])
            return self._undo_creation(problem)

        self.plan = plan
        self._run("CREATE_STACK", token, "CREATE_IN_PROGRESS", work)

    def update(self, plan: Plan, token: str | None) -> None:
        def work() -> None:
            before = dict(self.resources)
            self._previous, self.plan = self.plan, plan
            touched: dict[str, Resource | None] = {}
            problem = self._apply(plan, touched)
            with self._deciding:
                problem = problem or (_CANCELLED if self._cancelled.is_set() else "")
                if not problem:
                    self.say("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
            if problem:
                self._rollback = touched
                return self._undo_update(problem)
            replaced = [resource for name, resource in before.items() if self.resources.get(name) is not resource]
            staying_ids = {id(resource.physical) for resource in self.resources.values()}
            # An updated resource is a new record of the same physical resource: only the others go.
            staying = {(resource.type, resource.physical.id) for resource in self.resources.values()}
            obsolete = [
                resource
                for resource in replaced
                if id(resource.physical) not in staying_ids and (resource.type, resource.physical.id) not in staying
            ]
            self._clean_up(obsolete)
            return self.say("UPDATE_COMPLETE")

        self.updated = now()
        self._run("UPDATE_STACK", token, "UPDATE_IN_PROGRESS", work)

    def delete(self, token: str | None, retained: list[str]) -> None:
        """Delete every resource, and leave alone those of `retained`."""
        for change_set in list(self.change_sets.values()):
            if change_set.execution != "EXECUTE_COMPLETE":
                del self.change_sets[change_set.id]
        self._run("DELETE_STACK", token, "DELETE_IN_PROGRESS", lambda: self._delete_all(retained))

    def _delete_all(self, retained: list[str]) -> None:
        self.deleted = now()
        failed = self._delete_resources(retained, creating=False)
        if failed:
            return self.say("DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
        self.outputs, self.exports, self.imports, self.change_set_id = [], {}, set(), None
        return self.say("DELETE_COMPLETE")

    def cancel_update(self, token: str | None) -> None:
        with self._deciding:
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
        used: set[str] = set()

        def import_value(name: str) -> str:
            used.add(name)
            return imported(self.region, name)

        evaluate = evaluator(self, plan, lambda name: self.resources[name], import_value)
        try:
            for problem in impossible_outputs(evaluate, plan):
                return f"{problem} "
            definitions = evaluate.resources()
            for name, definition in definitions.items():
                if problem := self._bring_about(evaluate, plan, name, definition, touched):
                    return problem
            for name in [name for name in self.resources if name not in definitions]:
                resource = self.resources[name]
                if why := denial(self.policy, "Delete", name, resource.type):
                    touched[name] = resource
                    return self._denied(resource, why)
                touched[name] = self.resources.pop(name)
            self.resources = {name: self.resources[name] for name in definitions}  # in the order of their dependencies
            self._set_outputs(evaluate)
            self.imports = used
        except ServiceException as error:
            return f"{error.message.rstrip('. ')}. "
        return ""

    def _bring_about(
        self,
        evaluate: Evaluator,
        plan: Plan,
        name: str,
        definition: dict[str, Any],
        touched: dict[str, Resource | None],
    ) -> str:
        """Create or change one resource, if there is anything to do; the reason why that failed, or an empty text."""
        old = self.resources.get(name)
        properties = properties_of(evaluate, definition, plan)
        if old and old.properties == properties:
            old.definition = definition
            return ""
        if self._cancelled.is_set():
            return _CANCELLED
        touched[name] = old
        replaced = old is not None and schemas.replaces(old.type, old.properties, properties)
        if old and (why := denial(self.policy, "Replace" if replaced else "Modify", name, old.type)):
            return self._denied(old, why)
        if old and not replaced:
            done = self._update(old, properties, definition)
        else:
            done = self._create(name, definition, properties, old)
        return "" if done else f"The following resource(s) failed to {'update' if old else 'create'}: [{name}]. "

    def _denied(self, resource: Resource, why: str) -> str:
        self.say("UPDATE_FAILED", why, resource, error=True)
        return f"The following resource(s) failed to update: [{resource.logical_id}]. "

    def _set_outputs(self, evaluate: Evaluator) -> None:
        outputs, offered = [], {}
        for name, output in evaluate.outputs().items():
            entry = {"OutputKey": name, "OutputValue": str(evaluate.value(output["Value"]))}
            if "Description" in output:
                entry["Description"] = output["Description"]
            if "Export" in output:
                entry["ExportName"] = str(evaluate.value(output["Export"]["Name"]))
                offered[entry["ExportName"]] = entry["OutputValue"]
            outputs.append(entry)
        require_exports_unused(self, offered)
        for export in exports(self.region):
            if export.name in offered and export.stack is not self:
                raise ValidationError(
                    f"Export with name {export.name} is already exported by stack {export.stack.name}"
                )
        self.outputs, self.exports = outputs, offered

    def _create(self, name: str, definition: dict[str, Any], properties: Properties, old: Resource | None) -> bool:
        resource = Resource(name, definition["Type"], properties, PhysicalResource(""), "", definition)
        why = "Requested update requires the creation of a new physical resource; hence creating one." if old else None
        verb = "UPDATE" if old else "CREATE"
        if old:
            resource.physical = old.physical
        self.say(f"{verb}_IN_PROGRESS", why, resource)
        resource.physical = PhysicalResource("")
        self.resources[name] = resource

        def work(call: Call) -> None:
            handler = _handler(resource)
            try:
                resource.physical = handler.create(call, resolved(properties, call.client))
                self.say(f"{verb}_IN_PROGRESS", "Resource creation Initiated", resource)
                resource.physical = handler.settle(call, resource.physical, properties) or resource.physical
            except Failed as error:
                resource.physical = error.physical or resource.physical
                raise

        return self._attempt(resource, verb, work)

    def _update(self, old: Resource, properties: Properties, definition: dict[str, Any]) -> bool:
        resource = Resource(old.logical_id, old.type, properties, old.physical, "", definition)
        self.resources[old.logical_id] = resource
        self.say("UPDATE_IN_PROGRESS", None, resource)

        def work(call: Call) -> None:
            handler = _handler(old)
            before, after = resolved(old.properties, call.client), resolved(properties, call.client)
            resource.physical = handler.update(call, old.physical, before, after)
            resource.physical = handler.settle(call, resource.physical, properties) or resource.physical

        return self._attempt(resource, "UPDATE", work)

    def _delete_resources(self, retained: list[str], creating: bool) -> list[str]:
        """Delete what the stack has, last made first; the logical ids of what could not be deleted."""
        failed = []
        for resource in reversed(list(self.resources.values())):
            if resource.logical_id in retained:
                self.say("DELETE_SKIPPED", None, resource)
            elif not self._delete(resource, creating=creating):
                failed.append(resource.logical_id)
                continue
            del self.resources[resource.logical_id]
        return failed

    def _delete(self, resource: Resource, policy: str = "DeletionPolicy", creating: bool = False) -> bool:
        if resource.retained(policy, creating):
            self.say("DELETE_SKIPPED", None, resource)
            return True
        if not resource.physical.id:
            return True  # it was never made
        self.say("DELETE_IN_PROGRESS", None, resource)

        def work(call: Call) -> None:
            try:
                handler, properties = _handler(resource), resource.properties
                handler.delete(
                    call, resource.physical, resolved(properties, call.client) if handler.sends else properties
                )
            except ClientError as error:
                if not says_gone(error):
                    raise

        return self._attempt(resource, "DELETE", work)

    def _attempt(self, resource: Resource, verb: str, work: Callable[[Call], None]) -> bool:
        def client(service: str) -> Any:
            return self._client(self.credentials, service)

        call = Call(client, self.name, resource.logical_id, self._cancelled.is_set, self.id, resource.type, self.region)
        try:
            if verb != "DELETE" and (problems := validation.problems(resource.type, resource.properties)):
                raise Failed(validation.failure(resource.logical_id, problems), verbatim=True)
            work(call)
        except ClientError as error:
            why = reason(error)
        except (ParamValidationError, WaiterError) as error:
            why = resource_handler_returned(str(error), "InvalidRequest")
        except ServiceException as error:
            why = error.message
        except Failed as error:
            why = str(error)
            if why != _CANCELLED and not error.verbatim:
                why = resource_handler_returned(why, "NotStabilized")
        else:
            self.say(f"{verb}_COMPLETE", None, resource)
            return True
        self.say(f"{verb}_FAILED", why, resource, error=True)
        return False

    # --- going back -------------------------------------------------------------------------------------------------

    def _undo_creation(self, problem: str) -> None:
        self.say("ROLLBACK_IN_PROGRESS", f"{problem}Rollback requested by user.")
        self.deleted = now()
        failed = self._delete_resources([], creating=True)
        if failed:
            return self.say("ROLLBACK_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
        return self.say("ROLLBACK_COMPLETE")

    def _undo_update(self, problem: str) -> None:
        self.say("UPDATE_ROLLBACK_IN_PROGRESS", problem)
        self._restore()

    def _restore(self) -> None:
        """Bring the touched resources back to what they were, then delete what the failed update had made."""
        self._cancelled.clear()
        created = []
        for name, old in list(self._rollback.items()):
            present = self.resources.get(name)
            if old is None:  # added by the update
                created.append(self.resources.pop(name))
            elif present is None:  # removed by the update, not deleted yet
                self.resources[name] = old
            elif present is old:  # refused before anything was done
                self.say("UPDATE_COMPLETE", None, old)
            elif present.physical.id != old.physical.id:  # replaced
                created.append(present)
                self.resources[name] = old
                self.say("UPDATE_COMPLETE", None, old)
            else:
                if not self._update(present, old.properties, old.definition):
                    why = f"The following resource(s) failed to update: [{name}]. "
                    return self.say("UPDATE_ROLLBACK_FAILED", why)
            del self._rollback[name]
        self.say("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        for resource in reversed(created):
            self._delete(resource, creating=True)
        self.plan = self._previous
        return self.say("UPDATE_ROLLBACK_COMPLETE")

    def _clean_up(self, resources: list[Resource]) -> None:
        # What cannot be deleted here stays behind with a DELETE_FAILED event; the stack's state does not suffer.
        for resource in reversed(resources):
            self._delete(resource, "UpdateReplacePolicy" if resource.logical_id in self.resources else "DeletionPolicy")


def _handler(resource: Resource) -> Handler:
    handler = handler_of(resource.type)
    if handler is None:  # evaluation.check lets no such resource in
        raise Failed(f"no handler for {resource.type}")
    return handler


def says_gone(error: ClientError) -> bool:
    """Whether a service refused a call because what it names is not there."""
    details = error.response["Error"]
    return bool(
        re.search(r"NotFound|NoSuch|NonExistent", details["Code"])
        or re.search(r"Could not find|does not exist", details.get("Message", ""))
    )
