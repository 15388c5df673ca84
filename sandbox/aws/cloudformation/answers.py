"""CloudFormation's answers: stacks, change sets, resources, templates in the fields that AWS gives them.

A field that has nothing to say is None and left out by the serializer.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from sandbox.aws.cloudformation import drift, schemas
from sandbox.aws.cloudformation.plan import Plan, iam_resources, required_capabilities
from sandbox.aws.cloudformation.stack import ChangeSet, Operation, Resource, StackState
from sandbox.aws.cloudformation.template import text

Answer = dict[str, Any]


def stack(one: StackState) -> Answer:
    is_deleted = one.status == "DELETE_COMPLETE"
    return {
        "StackId": one.id,
        "StackName": one.name,
        "ChangeSetId": None if is_deleted else one.change_set_id,
        "Description": one.plan.template.get("Description"),
        "Parameters": _parameters(one.plan) or None,
        "CreationTime": one.created,
        "LastUpdatedTime": one.updated,
        "DeletionTime": one.deleted,
        "StackStatus": one.status,
        "StackStatusReason": one.reason or None,
        "DisableRollback": one.on_failure == "DO_NOTHING",
        "Capabilities": one.capabilities or None,
        "Outputs": one.outputs or None,
        "RoleARN": one.role_arn,
        "Tags": _tags(one.plan),
        "NotificationARNs": [],
        "RollbackConfiguration": {},
        "EnableTerminationProtection": None if is_deleted else one.protected,
        "DriftInformation": _drift(one),
    } | _relatives(one)


def stack_summary(one: StackState) -> Answer:
    return {
        "StackId": one.id,
        "StackName": one.name,
        "TemplateDescription": one.plan.template.get("Description"),
        "CreationTime": one.created,
        "LastUpdatedTime": one.updated,
        "DeletionTime": one.deleted,
        "StackStatus": one.status,
        "StackStatusReason": one.reason or None,
        "DriftInformation": _drift(one),
    } | _relatives(one)


def _drift(one: StackState) -> Answer:
    detection = drift.latest(one)
    if detection is None:
        return {"StackDriftStatus": "NOT_CHECKED"}
    return {"StackDriftStatus": detection.stack_status, "LastCheckTimestamp": detection.started}


def _drift_of(one: StackState, resource: Resource) -> Answer:
    detection = drift.latest(one)
    of_resource = detection.drifts.get(resource.logical_id) if detection else None
    if of_resource is None:
        return {"StackResourceDriftStatus": "NOT_CHECKED"}
    status, moment = of_resource["StackResourceDriftStatus"], of_resource["Timestamp"]
    return {"StackResourceDriftStatus": status, "LastCheckTimestamp": moment}


def _relatives(one: StackState) -> Answer:
    ancestors: list[StackState] = []
    while (parent := (ancestors[-1] if ancestors else one).parent) is not None:
        ancestors.append(parent)
    return {"ParentId": ancestors[0].id, "RootId": ancestors[-1].id} if ancestors else {}


def change_set_summary(one: StackState, change_set: ChangeSet) -> Answer:
    return {
        "StackId": one.id,
        "StackName": one.name,
        "ChangeSetId": change_set.id,
        "ChangeSetName": change_set.name,
        "ExecutionStatus": change_set.execution,
        "Status": change_set.status,
        "StatusReason": change_set.reason,
        "CreationTime": change_set.created,
        "Description": change_set.description,
        "IncludeNestedStacks": False,
    }


def change_set(one: StackState, described: ChangeSet) -> Answer:
    return change_set_summary(one, described) | {
        "Parameters": _parameters(described.plan) or None,
        "Capabilities": described.capabilities,
        "Tags": _tags(described.plan) or None,
        "NotificationARNs": [],
        "RollbackConfiguration": {},
        "OnStackFailure": described.on_failure,
    }


def _parameters(plan: Plan) -> list[Answer]:
    declared = plan.template.get("Parameters") or {}
    return [
        {
            "ParameterKey": name,
            "ParameterValue": "****" if _is_secret(declared[name]) else value,
            "ResolvedValue": plan.resolved.get(name),
        }
        for name, value in plan.parameters.items()
    ]


def _is_secret(rule: Mapping[str, Any]) -> bool:
    return str(rule.get("NoEcho")).lower() == "true"


def _tags(plan: Plan) -> list[Answer]:
    return [{"Key": key, "Value": value} for key, value in plan.tags.items()]


# --- resources ------------------------------------------------------------------------------------------------------


def resource(one: StackState, described: Resource) -> Answer:
    return {
        "StackName": one.name,
        "StackId": one.id,
        "LogicalResourceId": described.logical_id,
        "PhysicalResourceId": described.physical.id or None,
        "ResourceType": described.type,
        "Timestamp": described.timestamp,
        "ResourceStatus": described.status,
        "ResourceStatusReason": described.reason or None,
        "DriftInformation": _drift_of(one, described),
    }


def resource_detail(one: StackState, described: Resource, metadata: Any) -> Answer:
    answer = resource(one, described)
    return answer | {"LastUpdatedTimestamp": answer.pop("Timestamp"), "Metadata": json.dumps(metadata)}


# --- templates ------------------------------------------------------------------------------------------------------


def template_parameters(template: Mapping[str, Any]) -> list[Answer]:
    return [
        {
            "ParameterKey": name,
            "DefaultValue": text(rule["Default"]) if "Default" in rule else None,
            "NoEcho": _is_secret(rule),
            "Description": rule.get("Description"),
        }
        for name, rule in (template.get("Parameters") or {}).items()
    ]


def template_capabilities(template: Mapping[str, Any]) -> Answer:
    needed = required_capabilities(template)
    types = ", ".join(sorted({resource["Type"] for resource in iam_resources(template)}))
    why = f"The following resource(s) require capabilities: [{types}]" if needed else None
    return {"Capabilities": needed or None, "CapabilitiesReason": why}


def template_summary(template: Mapping[str, Any]) -> Answer:
    rules = (template.get("Parameters") or {}).values()
    parameters = [
        each
        | {
            "ParameterType": rule["Type"],
            "ParameterConstraints": {"AllowedValues": [text(value) for value in rule.get("AllowedValues", [])]},
        }
        for each, rule in zip(template_parameters(template), rules, strict=True)
    ]
    by_type: dict[str, list[str]] = {}
    for name, definition in template["Resources"].items():
        by_type.setdefault(definition["Type"], []).append(name)
    identifiers = [
        {"ResourceType": kind, "LogicalResourceIds": names, "ResourceIdentifiers": schemas.primary_identifier(kind)}
        for kind, names in sorted(by_type.items())
    ]
    metadata = template.get("Metadata")
    return template_capabilities(template) | {
        "Parameters": parameters,
        "Description": template.get("Description"),
        "Metadata": json.dumps(metadata) if metadata else None,
        "ResourceTypes": sorted(by_type),
        "ResourceIdentifierSummaries": identifiers,
        "Version": template.get("AWSTemplateFormatVersion"),
    }


# --- operations -----------------------------------------------------------------------------------------------------


def operation_events(one: StackState, operation: Operation) -> list[Answer]:
    if operation.type == "CREATE_CHANGESET":
        return []  # comes with its change set
    events = [_bracket(one, operation)]
    for event in one.events:
        if event["OperationId"] == operation.id:
            shown = {key: value for key, value in event.items() if key not in ("_error", "StackName")}
            kind = "PROVISIONING_ERROR" if event["_error"] else "PROGRESS_EVENT"
            events.append(shown | {"OperationType": operation.type, "EventType": kind})
    return events


def validation_events(one: StackState, change_set: ChangeSet) -> list[Answer]:
    common = {"StackId": one.id, "OperationId": change_set.operation.id, "OperationType": "CREATE_CHANGESET"}
    return [_bracket(one, change_set.operation)] + [
        common
        | {
            "EventId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{change_set.id}/{number}")),
            "EventType": "VALIDATION_ERROR",
            "LogicalResourceId": logical_id,
            "PhysicalResourceId": "",
            "ResourceType": kind,
            "Timestamp": change_set.created,
            "ValidationFailureMode": "FAIL",
            "ValidationName": "PROPERTY_VALIDATION",
            "ValidationStatus": "FAILED",
            "ValidationStatusReason": problem.message,
            "ValidationPath": problem.path(logical_id),
        }
        for number, (logical_id, kind, problem) in enumerate(change_set.problems)
    ]


def _bracket(one: StackState, operation: Operation) -> Answer:
    status = "IN_PROGRESS" if operation.ended is None else "FAILED" if operation.failed else "SUCCEEDED"
    return {
        "EventId": operation.id,
        "StackId": one.id,
        "OperationId": operation.id,
        "OperationType": operation.type,
        "OperationStatus": status,
        "EventType": "STACK_EVENT",
        "Timestamp": operation.ended or operation.started,
        "StartTime": operation.started,
        "EndTime": operation.ended,
        "ClientRequestToken": operation.token,
    }
