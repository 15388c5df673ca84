"""The calls that change stacks."""

from __future__ import annotations

from moto.core.responses import ActionResult, EmptyResult

from sandbox.aws.cloudformation.changes import changes, unchanged
from sandbox.aws.cloudformation.errors import AlreadyExists, ValidationError
from sandbox.aws.cloudformation.exports import require_exports_unused
from sandbox.aws.cloudformation.operations import Stack
from sandbox.aws.cloudformation.request import Request
from sandbox.aws.cloudformation.stack import LOCK
from sandbox.aws.cloudformation.stack_policy import check_policy

_NO_STACK = "Stack [{}] does not exist"


class StackCalls(Request):
    def create_stack(self) -> ActionResult:
        self._require_known_parameters()
        name = self._stack_name()
        with LOCK:
            stack = self._find(name)
            if stack and stack.status != "REVIEW_IN_PROGRESS":
                if self._repeats(stack, "CREATE_STACK"):
                    return ActionResult({"StackId": stack.id})
                raise AlreadyExists(f"Stack [{name}] already exists")
            stack = stack or self._new(name)
            plan = self._plan(stack, None)
            on_failure = self._on_failure()
            policy = self._policy()
            self._act_as(stack)
            self._add(stack)  # only now: what is refused leaves no stack
            stack.capabilities = list(self._get_param("Capabilities", []))
            stack.protected = bool(self._get_bool_param("EnableTerminationProtection"))
            stack.on_failure, stack.policy = on_failure, policy
            _overtake_change_sets(stack)
            stack.create(plan, self._token())
        return ActionResult({"StackId": stack.id})

    def _on_failure(self) -> str:
        on_failure, disable_rollback = self._get_param("OnFailure"), self._get_bool_param("DisableRollback")
        if on_failure and disable_rollback is not None:
            raise ValidationError("You can specify either DisableRollback or OnFailure, but not both.")
        return str(on_failure or ("DO_NOTHING" if disable_rollback else "ROLLBACK"))

    def update_stack(self) -> ActionResult:
        self._require_known_parameters()
        with LOCK:
            stack = self._existing(_NO_STACK)
            if self._repeats(stack, "UPDATE_STACK"):
                return ActionResult({"StackId": stack.id})
            stack.require_updatable()
            plan = self._plan(stack, stack.plan)
            if unchanged(stack, plan, changes(stack, plan)):
                raise ValidationError("No updates are to be performed.")
            self._act_as(stack)
            stack.capabilities = list(self._get_param("Capabilities", []))
            stack.change_set_id = None
            _overtake_change_sets(stack)
            stack.update(plan, self._token())
        return ActionResult({"StackId": stack.id})

    def delete_stack(self) -> ActionResult:
        self._require_known_parameters()
        with LOCK:
            stack = self._find(self._get_param("StackName"))
            if stack is None or stack.status in ("DELETE_COMPLETE", "DELETE_IN_PROGRESS"):
                return EmptyResult()
            if stack.protected:
                raise ValidationError(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
            if stack.busy and stack.status != "CREATE_IN_PROGRESS":
                raise ValidationError(f"Stack [{stack.name}] cannot be deleted while in status {stack.status}")
            retained = list(self._get_param("RetainResources", []))
            if retained and stack.status != "DELETE_FAILED":
                raise ValidationError(
                    f"Invalid operation on stack [{stack.id}]. RetainResources can be specified only when the stack is "
                    "in the DELETE_FAILED state."
                )
            require_exports_unused(stack, {})
            self._act_as(stack)
            stack.delete(self._token(), retained)
        return EmptyResult()

    def cancel_update_stack(self) -> ActionResult:
        self._require_known_parameters()
        self._existing(_NO_STACK).cancel_update(self._token())
        return EmptyResult()

    def continue_update_rollback(self) -> ActionResult:
        self._require_known_parameters()
        stack = self._existing(_NO_STACK)
        self._act_as(stack)
        stack.continue_rollback(self._token(), list(self._get_param("ResourcesToSkip", [])))
        return ActionResult({})

    def update_termination_protection(self) -> ActionResult:
        stack = self._existing(_NO_STACK)
        stack.protected = bool(self._get_bool_param("EnableTerminationProtection"))
        return ActionResult({"StackId": stack.id})

    # --- stack policies ---------------------------------------------------------------------------------------------

    def set_stack_policy(self) -> ActionResult:
        stack = self._existing(_NO_STACK)
        stack.policy = self._policy()
        return EmptyResult()

    def get_stack_policy(self) -> ActionResult:
        return ActionResult({"StackPolicyBody": self._existing(_NO_STACK).policy})

    def _policy(self) -> str | None:
        body, url = self._get_param("StackPolicyBody"), self._get_param("StackPolicyURL")
        if body and url:
            raise ValidationError("You cannot specify both StackPolicyURL and StackPolicyBody")
        policy: str | None = self._file(url, "StackPolicyURL") if url else body
        if policy is not None:
            check_policy(policy)
        return policy


def _overtake_change_sets(stack: Stack) -> None:
    """Change sets were computed against a state that ends now."""
    for change_set in stack.change_sets.values():
        if change_set.execution != "EXECUTE_COMPLETE":
            change_set.execution = "OBSOLETE"
