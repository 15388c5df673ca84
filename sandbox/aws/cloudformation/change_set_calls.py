"""The calls on change sets.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-changesets.html
"""

from __future__ import annotations

import threading
import uuid
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult

from sandbox.aws.cloudformation import answers, validation
from sandbox.aws.cloudformation.changes import changes, unchanged
from sandbox.aws.cloudformation.errors import (
    AlreadyExists,
    ChangeSetNotFound,
    InvalidChangeSetStatus,
    ValidationError,
)
from sandbox.aws.cloudformation.evaluation import evaluator
from sandbox.aws.cloudformation.operations import Stack
from sandbox.aws.cloudformation.plan import Plan
from sandbox.aws.cloudformation.request import Request
from sandbox.aws.cloudformation.stack import LOCK, ChangeSet, now
from sandbox.aws.cloudformation.validation import Problem
from sandbox.aws.lacking import Lacking

_NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."
_EARLY_VALIDATION = (
    "The following hook(s)/validation failed: [AWS::EarlyValidation::PropertyValidation]. "
    "To troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information."
)


class ChangeSetCalls(Request):
    def create_change_set(self) -> ActionResult:
        self._require_known_parameters()
        kind, name = self._get_param("ChangeSetType", "UPDATE"), self._get_param("ChangeSetName")
        self._require_pattern("changeSetName", name, "[a-zA-Z][-a-zA-Z0-9]{0,127}", "[a-zA-Z][-a-zA-Z0-9]*")
        with LOCK:
            stack_name = self._get_param("StackName")
            stack = self._find(stack_name)
            if stack and (repeated := self._repeated(stack, name)):
                return ActionResult({"Id": repeated.id, "StackId": stack.id})
            if kind == "UPDATE":
                stack = self._existing("Stack [{}] does not exist")
                stack.require_updatable()
            elif kind == "CREATE":
                if stack and stack.status != "REVIEW_IN_PROGRESS":
                    raise ValidationError(
                        f"Stack [{stack_name}] already exists and cannot be created again with the changeSet [{name}]."
                    )
            else:
                raise Lacking(f"change sets of the type {kind}")
            stack = stack or self._new(self._stack_name())
            plan = self._plan(stack, stack.plan if kind == "UPDATE" else None)
            role_arn = self._get_param("RoleARN")
            credentials = self._credentials(role_arn or stack.role_arn)
            if not stack.operations:
                self._add(stack)
                stack.review()
            change_set = ChangeSet(
                name=name,
                id=f"arn:aws:cloudformation:{self.region}:{self.current_account}:changeSet/{name}/{uuid.uuid4()}",
                type=kind,
                plan=plan,
                description=self._get_param("Description"),
                role_arn=role_arn,
                credentials=credentials,
                capabilities=list(self._get_param("Capabilities", [])),
                on_failure=self._get_param("OnStackFailure"),
            )
            change_set.operation.token = self._get_param("ClientToken")
            stack.change_sets[change_set.id] = change_set
        threading.Thread(target=_compute, args=(stack, change_set), daemon=True).start()
        return ActionResult({"Id": change_set.id, "StackId": stack.id})

    def _repeated(self, stack: Stack, name: str) -> ChangeSet | None:
        """The change set that this very request has made. Raises AlreadyExists for another one of its name."""
        token = self._get_param("ClientToken")
        for change_set in stack.change_sets.values():
            if change_set.name == name and change_set.execution != "EXECUTE_COMPLETE":
                if token and change_set.operation.token == token:
                    return change_set
                raise AlreadyExists(f"ChangeSet {name} already exists")
            if change_set.name == name and token and change_set.operation.token == token:
                return change_set
        return None

    def describe_change_set(self) -> ActionResult:
        self._require_known_parameters()
        stack, change_set = self._change_set()
        listed, token = self._page(change_set.changes)
        return ActionResult(answers.change_set(stack, change_set) | {"Changes": listed, "NextToken": token})

    def execute_change_set(self) -> ActionResult:
        self._require_known_parameters()
        with LOCK:
            stack, change_set = self._change_set()
            token = self._token()
            if token and change_set.executed_by == token:
                return EmptyResult()  # the same request, once more
            if change_set.status != "CREATE_COMPLETE":
                raise InvalidChangeSetStatus(
                    f"ChangeSet [{change_set.id}] cannot be executed in its current status of [{change_set.status}]"
                )
            if change_set.execution != "AVAILABLE":
                raise InvalidChangeSetStatus(
                    f"ChangeSet [{change_set.id}] cannot be executed in its current execution status of "
                    f"[{change_set.execution}]"
                )
            if change_set.type == "UPDATE":
                stack.require_updatable()
            if change_set.role_arn:
                stack.role_arn = change_set.role_arn
            stack.credentials = self._credentials(stack.role_arn) if stack.role_arn else change_set.credentials
            stack.capabilities = change_set.capabilities
            disable_rollback = self._get_bool_param("DisableRollback")
            if disable_rollback and change_set.type == "UPDATE":
                raise Lacking("the parameter DisableRollback of ExecuteChangeSet for an update")
            stack.on_failure = "DO_NOTHING" if disable_rollback else change_set.on_failure or "ROLLBACK"
            # Every other change set was computed against a state that ends now.
            stack.change_sets = {change_set.id: change_set}
            stack.change_set_id, stack.updated = change_set.id, now()
            begin = stack.create if change_set.type == "CREATE" else stack.update
            begin(change_set.plan, token)
            change_set.execution, change_set.executed_by = "EXECUTE_COMPLETE", token
        return EmptyResult()

    def delete_change_set(self) -> ActionResult:
        try:
            stack, change_set = self._change_set()
        except ChangeSetNotFound:
            return EmptyResult()  # the operation knows no such error
        stack.change_sets.pop(change_set.id, None)
        return EmptyResult()

    def list_change_sets(self) -> ActionResult:
        stack = self._existing("Stack [{}] does not exist")
        listed, token = self._page([answers.change_set_summary(stack, each) for each in stack.change_sets.values()])
        return ActionResult({"Summaries": listed, "NextToken": token})

    def _change_set(self) -> tuple[Stack, ChangeSet]:
        name, stack_name = self._get_param("ChangeSetName"), self._get_param("StackName")
        if name.startswith("arn:"):
            stacks = self._all()
        elif not stack_name:
            raise ValidationError("StackName must be specified if ChangeSetName is not specified as an ARN.")
        else:
            stacks = [self._existing("Stack [{}] does not exist")]
        for stack in stacks:
            for change_set in list(stack.change_sets.values()):
                if name in (change_set.id, change_set.name):
                    return stack, change_set
        raise ChangeSetNotFound(f"ChangeSet [{name}] does not exist")


def _compute(stack: Stack, change_set: ChangeSet) -> None:
    """Find the changes and what is wrong with the properties; whatever happens, the change set comes to an end."""
    change_set.status = "CREATE_IN_PROGRESS"
    operation = change_set.operation
    try:
        change_set.changes = changes(stack, change_set.plan)
        change_set.problems = _problems(stack, change_set.plan)
        if change_set.type == "UPDATE" and unchanged(stack, change_set.plan, change_set.changes):
            change_set.reason = _NO_CHANGES
        elif change_set.problems:
            change_set.reason = _EARLY_VALIDATION
    except ServiceException as error:
        change_set.reason = error.message
    except Exception as error:  # noqa: BLE001 - a fault of the sandbox must not leave it in progress
        change_set.reason = f"Internal Failure: {error!r}"
    operation.failed = change_set.reason is not None
    operation.ended = now()
    change_set.execution = "UNAVAILABLE" if operation.failed else "AVAILABLE"
    change_set.status = "FAILED" if operation.failed else "CREATE_COMPLETE"


def _problems(stack: Stack, plan: Plan) -> list[tuple[str, str, Problem]]:
    """What CloudFormation's validation before deployment finds: logical id, type, problem."""
    evaluate: Any = evaluator(stack, plan, lambda _: None)
    return [
        (name, definition["Type"], problem)
        for name, definition in evaluate.resources().items()
        for problem in validation.problems(definition["Type"], evaluate.value(definition.get("Properties") or {}))
    ]
