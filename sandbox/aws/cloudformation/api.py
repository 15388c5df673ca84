"""The CloudFormation API on top of stacks.py: names and states are checked here, work is started, answers are shaped.

`install()` puts it in the place of moto's.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from moto.cloudformation import urls
from moto.cloudformation.exceptions import AlreadyExistsException, CloudFormationError
from moto.core.responses import ActionResult, BaseResponse, EmptyResult

from sandbox.aws import identity
from sandbox.aws.cloudformation import custom, nested, sagemaker, servicecatalog  # noqa: F401 - they register their handlers
from sandbox.aws.cloudformation.stacks import ChangeSet, Operation, Plan, Stack, now
from sandbox.aws.cloudformation.template import ValidationError, parse

_NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."
_EARLY_VALIDATION = (
    "The following hook(s)/validation failed: [AWS::EarlyValidation::PropertyValidation]. "
    "To troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information."
)
_IAM_TYPES = ("AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::OIDCProvider")
_IAM_NAMES = ("RoleName", "ManagedPolicyName")

_stacks: dict[str, Stack] = {}  # by id, deleted ones included; the name belongs to the one that is not deleted
_lock = threading.RLock()


class ChangeSetNotFound(CloudFormationError):
    code = "ChangeSetNotFound"


class InvalidChangeSetStatus(CloudFormationError):
    code = "InvalidChangeSetStatus"


class InsufficientCapabilities(CloudFormationError):
    code = "InsufficientCapabilitiesException"


def known_stacks() -> list[Stack]:
    """Every stack, the one that has its name now before those that had it."""
    return sorted(_stacks.values(), key=lambda stack: stack.status == "DELETE_COMPLETE")


def install() -> None:
    urls.url_paths["{0}/$"] = CloudFormation.dispatch


def _client(region: str) -> Callable[[dict[str, str], str], Any]:
    def client(credentials: dict[str, str], service: str) -> Any:
        made = identity.client(service, credentials, region)
        made.meta.events.register("after-call", _remember_service)
        return made

    def _remember_service(parsed: dict[str, Any], model: Any, **_: Any) -> None:
        if "Error" in parsed:  # CloudFormation's reasons name the service
            parsed["Service"] = model.service_model.service_id.replace(" ", "")

    return client


class CloudFormation(BaseResponse):
    """One method per action, as moto dispatches them."""

    def __init__(self) -> None:
        super().__init__(service_name="cloudformation")
        self.automated_parameter_parsing = True

    # --- stacks -----------------------------------------------------------------------------------------------------

    def create_stack(self) -> ActionResult:
        name = self._stack_name()
        with _lock:
            if self._find(name):
                raise AlreadyExistsException(f"Stack [{name}] already exists")
            plan = Plan.make(self._template(), self._parameters({}), self._tags({}))
            self._require_capabilities(plan, self._get_param("Capabilities", []))
            stack = self._new(name)
            self._act_as(stack)
            _check(stack, plan)
            _stacks[stack.id] = stack  # only now: what is refused leaves no stack
            stack.capabilities = list(self._get_param("Capabilities", []))
            stack.create(plan, self._token())
        return ActionResult({"StackId": stack.id})

    def update_stack(self) -> ActionResult:
        stack = self._existing(f"Stack [{self._get_param('StackName')}] does not exist")
        with _lock:
            stack.require_updatable()
            plan = self._next_plan(stack)
            self._require_capabilities(plan, self._get_param("Capabilities", []))
            if stack.unchanged(plan, stack.changes(plan)):
                raise ValidationError("No updates are to be performed.")
            self._act_as(stack)
            stack.capabilities = list(self._get_param("Capabilities", []))
            stack.update(plan, self._token())
        return ActionResult({"StackId": stack.id})

    def delete_stack(self) -> ActionResult:
        stack = self._find(self._get_param("StackName"))
        if stack is None or stack.status in ("DELETE_COMPLETE", "DELETE_IN_PROGRESS"):
            return EmptyResult()
        if stack.busy and stack.status != "CREATE_IN_PROGRESS":
            raise ValidationError(f"Stack [{stack.name}] cannot be deleted while in status {stack.status}")
        self._act_as(stack)
        stack.delete(self._token())
        return EmptyResult()

    def cancel_update_stack(self) -> ActionResult:
        self._existing(f"Stack [{self._get_param('StackName')}] does not exist").cancel_update(self._token())
        return EmptyResult()

    def continue_update_rollback(self) -> ActionResult:
        stack = self._existing(f"Stack [{self._get_param('StackName')}] does not exist")
        self._act_as(stack)
        stack.continue_rollback(self._token(), list(self._get_param("ResourcesToSkip", [])))
        return ActionResult({})

    # --- change sets ------------------------------------------------------------------------------------------------

    def create_change_set(self) -> ActionResult:
        kind, name = self._get_param("ChangeSetType", "UPDATE"), self._get_param("ChangeSetName")
        if not re.fullmatch(r"[a-zA-Z][-a-zA-Z0-9]{0,127}", name):
            raise ValidationError(
                f"1 validation error detected: Value '{name}' at 'changeSetName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
            )
        with _lock:
            stack = self._find(self._get_param("StackName"))
            if kind == "UPDATE":
                if stack is None:
                    raise ValidationError(f"Stack [{self._get_param('StackName')}] does not exist")
                stack.require_updatable()
                plan = self._next_plan(stack)
            else:
                if stack and stack.status != "REVIEW_IN_PROGRESS":
                    raise ValidationError(
                        f"Stack [{stack.name}] already exists and cannot be created again with the changeSet [{name}]."
                    )
                plan = Plan.make(self._template(), self._parameters({}), self._tags({}))
            capabilities = list(self._get_param("Capabilities", []))
            self._require_capabilities(plan, capabilities)
            token = self._get_param("ClientToken")
            known = [each for each in stack.change_sets.values() if each.name == name] if stack else []
            if stack and known:
                if token and known[0].operation.token == token:  # the same request, once more
                    return ActionResult({"Id": known[0].id, "StackId": stack.id})
                raise AlreadyExistsException(f"ChangeSet {name} already exists")
            role_arn = self._get_param("RoleARN")
            credentials = self._credentials(role_arn or (stack.role_arn if stack else None))
            if stack is None:
                stack = self._new(self._stack_name())
                _stacks[stack.id] = stack
                stack.review(plan)
            change_set = ChangeSet(
                name=name,
                id=f"arn:aws:cloudformation:{self.region}:{self.current_account}:changeSet/{name}/{uuid.uuid4()}",
                type=kind,
                plan=plan,
                description=self._get_param("Description"),
                role_arn=role_arn,
                credentials=credentials,
                capabilities=capabilities,
            )
            change_set.operation.token = token
            stack.change_sets[change_set.id] = change_set
        threading.Thread(target=_compute, args=(stack, change_set), daemon=True).start()
        return ActionResult({"Id": change_set.id, "StackId": stack.id})

    def describe_change_set(self) -> ActionResult:
        stack, change_set = self._change_set()
        return ActionResult(
            {
                "ChangeSetName": change_set.name,
                "ChangeSetId": change_set.id,
                "StackId": stack.id,
                "StackName": stack.name,
                "Description": change_set.description,
                "Parameters": _parameter_list(change_set.plan),
                "CreationTime": change_set.created,
                "ExecutionStatus": change_set.execution,
                "Status": change_set.status,
                "StatusReason": change_set.reason,
                "Capabilities": change_set.capabilities,
                "Tags": _tag_list(change_set.plan.tags),
                "Changes": change_set.changes,
                "NotificationARNs": [],
            }
        )

    def execute_change_set(self) -> ActionResult:
        stack, change_set = self._change_set()
        with _lock:
            if change_set.execution != "AVAILABLE":
                raise InvalidChangeSetStatus(
                    f"ChangeSet [{change_set.id}] cannot be executed in its current execution status of "
                    f"[{change_set.execution}]"
                )
            if change_set.type == "UPDATE":
                stack.require_updatable()
            change_set.execution = "EXECUTE_IN_PROGRESS"
            if change_set.role_arn:
                stack.role_arn = change_set.role_arn
            stack.credentials = self._credentials(stack.role_arn) if stack.role_arn else change_set.credentials
            stack.capabilities = change_set.capabilities
            # Every other change set was computed against a state that ends now.
            stack.change_sets = {change_set.id: change_set}
            begin = stack.create if change_set.type == "CREATE" else stack.update
            begin(change_set.plan, self._token())
            change_set.execution = "EXECUTE_COMPLETE"
        return EmptyResult()

    def delete_change_set(self) -> ActionResult:
        stack, change_set = self._change_set()
        stack.change_sets.pop(change_set.id, None)
        return EmptyResult()

    def list_change_sets(self) -> ActionResult:
        stack = self._existing(f"Stack [{self._get_param('StackName')}] does not exist")
        summaries = [
            {
                "StackId": stack.id,
                "StackName": stack.name,
                "ChangeSetId": change_set.id,
                "ChangeSetName": change_set.name,
                "ExecutionStatus": change_set.execution,
                "Status": change_set.status,
                "StatusReason": change_set.reason,
                "CreationTime": change_set.created,
                "Description": change_set.description,
            }
            for change_set in list(stack.change_sets.values())
        ]
        return ActionResult({"Summaries": summaries})

    # --- answers ----------------------------------------------------------------------------------------------------

    def describe_stacks(self) -> ActionResult:
        if self._get_param("StackName"):
            stacks = [self._existing()]
        else:
            stacks = [stack for stack in self._all() if stack.status != "DELETE_COMPLETE"]
        return ActionResult({"Stacks": [_describe(stack) for stack in stacks]})

    def describe_stack_events(self) -> ActionResult:
        stack = self._existing(f"Stack [{self._get_param('StackName')}] does not exist")
        events, token = self._page(list(reversed(stack.events)))
        return ActionResult({"StackEvents": events, "NextToken": token})

    def describe_events(self) -> ActionResult:
        name, change_set_name = self._get_param("StackName"), self._get_param("ChangeSetName")
        operation = self._get_param("OperationId")
        if not (name or operation or (change_set_name or "").startswith("arn:")):
            raise ValidationError("One of ChangeSetName, OperationId or StackName must be specified")
        events = []
        for stack in [self._existing(f"Stack [{name}] does not exist")] if name else self._all():
            change_sets = list(stack.change_sets.values())
            if change_set_name:
                change_sets = [one for one in change_sets if change_set_name in (one.name, one.id)]
            found = [event for change_set in change_sets for event in _validation_events(stack, change_set)]
            if not change_set_name:
                found += [event for one in stack.operations for event in _operation_events(stack, one)]
            events += [event for event in found if operation in (None, event["OperationId"])]
        if (self._get_param("Filters") or {}).get("FailedEvents"):
            events = [event for event in events if event["EventType"].endswith("_ERROR")]
        events.sort(key=lambda event: event["Timestamp"], reverse=True)
        page, token = self._page(events)
        return ActionResult({"OperationEvents": page, "NextToken": token})

    def describe_stack_resources(self) -> ActionResult:
        wanted = self._get_param("LogicalResourceId")
        resources = self._resources(self._existing(f"Stack with id {self._get_param('StackName')} does not exist"))
        return ActionResult(
            {"StackResources": [one for one in resources if wanted in (None, one["LogicalResourceId"])]}
        )

    def list_stack_resources(self) -> ActionResult:
        resources = [one | {"LastUpdatedTimestamp": one["Timestamp"]} for one in self._resources(self._existing())]
        return ActionResult({"StackResourceSummaries": resources})

    def get_template_summary(self) -> ActionResult:
        stack = self._existing() if self._get_param("StackName") else None
        template = stack.plan.template if stack else parse(self._template())
        types = sorted({resource["Type"] for resource in template["Resources"].values()})
        return ActionResult(_summary(template) | {"ResourceTypes": types})

    # --- the request ------------------------------------------------------------------------------------------------

    def _all(self) -> list[Stack]:
        return [stack for stack in list(_stacks.values()) if stack.region == self.region]

    def _find(self, name: str | None) -> Stack | None:
        """By id, or by name when it is not deleted."""
        found = [stack for stack in self._all() if stack.id == name]
        found += [stack for stack in self._all() if stack.name == name and stack.status != "DELETE_COMPLETE"]
        return found[0] if found else None

    def _existing(self, message: str = "") -> Stack:
        stack = self._find(self._get_param("StackName"))
        if stack is None:
            raise ValidationError(message or f"Stack with id {self._get_param('StackName')} does not exist")
        return stack

    def _change_set(self) -> tuple[Stack, ChangeSet]:
        name, stack_name = self._get_param("ChangeSetName"), self._get_param("StackName")
        for stack in self._all():
            for change_set in list(stack.change_sets.values()):
                if name == change_set.id or (name == change_set.name and stack_name in (stack.name, stack.id)):
                    return stack, change_set
        raise ChangeSetNotFound(f"ChangeSet [{name}] does not exist")

    def _stack_name(self) -> str:
        name: str = self._get_param("StackName")
        if not re.fullmatch(r"[a-zA-Z][-a-zA-Z0-9]{0,127}", name):
            raise ValidationError(
                f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
            )
        return name

    def _new(self, name: str) -> Stack:
        return Stack(name, self.region, _client(self.region))

    def _template(self) -> str:
        body, url = self._get_param("TemplateBody"), self._get_param("TemplateURL")
        if bool(body) == bool(url):
            raise ValidationError("Either Template URL or Template Body must be specified.")
        if body:
            if len(body.encode()) > 51_200:
                raise ValidationError(
                    "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: "
                    "Member must have length less than or equal to 51200"
                )
            return str(body)
        # https://BUCKET.s3.REGION.amazonaws.com/KEY or https://s3.REGION.amazonaws.com/BUCKET/KEY
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path.lstrip("/")
        bucket, key = (
            path.split("/", 1) if not re.match(r".+\.s3[.-]", host) else (re.split(r"\.s3[.-]", host)[0], path)
        )
        client = _client(self.region)(self._credentials(None), "s3")
        return str(client.get_object(Bucket=bucket, Key=key)["Body"].read().decode())

    def _parameters(self, previous: dict[str, str]) -> dict[str, str]:
        values = {}
        for parameter in self._get_param("Parameters", []):
            name = parameter["ParameterKey"]
            if not parameter.get("UsePreviousValue"):
                values[name] = parameter.get("ParameterValue", "")
            elif name in previous:
                values[name] = previous[name]
            else:
                raise ValidationError(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true"
                )
        return values

    def _tags(self, previous: dict[str, str]) -> dict[str, str]:
        tags = self._get_param("Tags")
        return previous if tags is None else {tag["Key"]: tag["Value"] for tag in tags}

    def _next_plan(self, stack: Stack) -> Plan:
        text = stack.plan.text if self._get_bool_param("UsePreviousTemplate") else self._template()
        plan = Plan.make(text, self._parameters(stack.plan.parameters), self._tags(stack.plan.tags))
        _check(stack, plan)
        return plan

    def _require_capabilities(self, plan: Plan, given: list[str]) -> None:
        resources = [one for one in plan.template["Resources"].values() if one["Type"] in _IAM_TYPES]
        named = any(name in (one.get("Properties") or {}) for one in resources for name in _IAM_NAMES)
        needed = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
        if resources and not {needed, "CAPABILITY_NAMED_IAM"} & set(given):
            raise InsufficientCapabilities(f"Requires capabilities : [{needed}]")

    def _credentials(self, role_arn: str | None) -> dict[str, str]:
        if not role_arn:
            return identity.caller_credentials(self.access_key)
        try:
            return identity.service_credentials(role_arn, "cloudformation.amazonaws.com", "AWSCloudFormation")
        except identity.CannotAssume as error:
            raise ValidationError(f"Role {role_arn} is invalid or cannot be assumed") from error

    def _act_as(self, stack: Stack) -> None:
        """A role once given stays with its stack; without one the caller's own credentials are used."""
        role_arn = self._get_param("RoleARN") or stack.role_arn
        stack.credentials, stack.role_arn = self._credentials(role_arn), role_arn

    def _token(self) -> str | None:
        token: str | None = self._get_param("ClientRequestToken")
        return token

    def _page(self, items: list[Any], size: int = 100) -> tuple[list[Any], str | None]:
        start = int(self._get_param("NextToken") or 0)
        more = str(start + size) if len(items) > start + size else None
        return items[start : start + size], more

    @staticmethod
    def _resources(stack: Stack) -> list[dict[str, Any]]:
        return [
            {
                "StackName": stack.name,
                "StackId": stack.id,
                "LogicalResourceId": resource.logical_id,
                "PhysicalResourceId": resource.made.physical_id,
                "ResourceType": resource.type,
                "Timestamp": resource.timestamp,
                "ResourceStatus": resource.status,
                "ResourceStatusReason": resource.reason or None,
            }
            for resource in list(stack.resources.values())
        ]


def _check(stack: Stack, plan: Plan) -> None:
    """What is refused before anything starts: references that lead nowhere, circles."""
    stack.evaluator(plan, lambda _: None).resources()


def _compute(stack: Stack, change_set: ChangeSet) -> None:
    change_set.status = "CREATE_IN_PROGRESS"
    operation = change_set.operation
    try:
        change_set.changes = stack.changes(change_set.plan)
        change_set.problems = stack.problems(change_set.plan)
        if change_set.type == "UPDATE" and stack.unchanged(change_set.plan, change_set.changes):
            change_set.reason = _NO_CHANGES
        elif change_set.problems:
            change_set.reason = _EARLY_VALIDATION
    except ValidationError as error:
        change_set.reason = str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the change set must not stay in progress for ever
        change_set.reason = f"Internal Failure: {error!r}"
    operation.failed = change_set.reason is not None
    operation.ended = now()
    change_set.execution = "UNAVAILABLE" if operation.failed else "AVAILABLE"
    change_set.status = "FAILED" if operation.failed else "CREATE_COMPLETE"


def _describe(stack: Stack) -> dict[str, Any]:
    plan = stack.plan
    return {
        "StackId": stack.id,
        "StackName": stack.name,
        "Description": plan.template.get("Description"),
        "TemplateDescription": plan.template.get("Description"),
        "Parameters": _parameter_list(plan),
        "CreationTime": stack.created,
        "LastUpdatedTime": stack.updated,
        "DeletionTime": stack.deleted,
        "StackStatus": stack.status,
        "StackStatusReason": stack.reason or None,
        "DisableRollback": False,
        "Capabilities": stack.capabilities,
        "Outputs": stack.outputs,
        "RoleARN": stack.role_arn,
        "Tags": _tag_list(plan.tags),
        "NotificationARNs": [],
        "RollbackConfiguration": {},
        "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
    }


def _parameter_list(plan: Plan) -> list[dict[str, str]]:
    declared = plan.template.get("Parameters") or {}
    return [
        {
            "ParameterKey": name,
            "ParameterValue": "****" if str(declared[name].get("NoEcho")).lower() == "true" else value,
        }
        for name, value in plan.parameters.items()
    ]


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _summary(template: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {
            "ParameterKey": name,
            "DefaultValue": str(rule["Default"]) if "Default" in rule else None,
            "ParameterType": rule["Type"],
            "NoEcho": str(rule.get("NoEcho")).lower() == "true",
            "Description": rule.get("Description"),
        }
        for name, rule in (template.get("Parameters") or {}).items()
    ]
    return {"Parameters": parameters, "Description": template.get("Description"), "Capabilities": []}


def _operation_events(stack: Stack, operation: Operation) -> list[dict[str, Any]]:
    if operation.type == "CREATE_CHANGESET":
        return []  # comes with its change set
    events = [_bracket(stack, operation)]
    for event in stack.events:
        if event["OperationId"] == operation.id:
            shown = {key: value for key, value in event.items() if key not in ("_error", "StackName")}
            kind = "PROVISIONING_ERROR" if event["_error"] else "PROGRESS_EVENT"
            events.append(shown | {"OperationType": operation.type, "EventType": kind})
    return events


def _validation_events(stack: Stack, change_set: ChangeSet) -> list[dict[str, Any]]:
    common = {"StackId": stack.id, "OperationId": change_set.operation.id, "OperationType": "CREATE_CHANGESET"}
    events = [_bracket(stack, change_set.operation)]
    for logical_id, kind, problem in change_set.problems:
        events.append(
            common
            | {
                "EventId": str(uuid.uuid4()),
                "EventType": "VALIDATION_ERROR",
                "LogicalResourceId": logical_id,
                "PhysicalResourceId": "",
                "ResourceType": kind,
                "Timestamp": change_set.created,
                "ValidationFailureMode": "FAIL",
                "ValidationName": "PROPERTY_VALIDATION",
                "ValidationStatus": "FAILED",
                "ValidationStatusReason": problem.message,
                "ValidationPath": problem.path,
            }
        )
    return events


def _bracket(stack: Stack, operation: Operation) -> dict[str, Any]:
    status = "IN_PROGRESS" if operation.ended is None else "FAILED" if operation.failed else "SUCCEEDED"
    return {
        "EventId": operation.id,
        "StackId": stack.id,
        "OperationId": operation.id,
        "OperationType": operation.type,
        "OperationStatus": status,
        "EventType": "STACK_EVENT",
        "Timestamp": operation.ended or operation.started,
        "StartTime": operation.started,
        "EndTime": operation.ended,
        "ClientRequestToken": operation.token,
    }
