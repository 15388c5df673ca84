"""What a plan would change of a stack, as DescribeChangeSet lists it.

https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceChange.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sandbox.aws.cloudformation import schemas
from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.evaluation import evaluator, properties_of
from sandbox.aws.cloudformation.evaluator import Evaluator
from sandbox.aws.cloudformation.plan import Plan
from sandbox.aws.cloudformation.references import Reference, references
from sandbox.aws.cloudformation.resources.handler import handler_of
from sandbox.aws.cloudformation.stack import Resource, StackState
from sandbox.aws.lacking import Lacking

_ATTRIBUTES = ("Metadata", "DeletionPolicy", "UpdateReplacePolicy")
_PSEUDO = "AWS::"


class _Progress(NamedTuple):
    """What is known of the change set so far: resources that are new or replaced, those that are updated in place."""

    stack: StackState
    plan: Plan
    fresh: set[str]
    updated: set[str]


def changes(stack: StackState, plan: Plan) -> list[dict[str, Any]]:
    """Additions and modifications in the order of dependencies, then removals. Raises ValidationError."""
    progress = _Progress(stack, plan, set(), set())

    def find(name: str) -> Resource | None:
        return None if name in progress.fresh else stack.resources.get(name)

    evaluate = evaluator(stack, plan, find)
    definitions = evaluate.resources()
    _require_same_types(stack, definitions)
    listed = []
    for name, definition in definitions.items():
        old = stack.resources.get(name)
        if old is None:
            progress.fresh.add(name)
            listed.append(_change("Add", name, definition["Type"]))
        elif change := _modification(progress, evaluate, old, definition):
            listed.append(change)
    for name, old in stack.resources.items():
        if name not in definitions:
            policy = "Retain" if old.retained("DeletionPolicy", creating=False) else "Delete"
            listed.append(_change("Remove", name, old.type, old, PolicyAction=policy))
    return listed


def unchanged(stack: StackState, plan: Plan, listed: list[dict[str, Any]]) -> bool:
    """Whether there is nothing to do: same resources, tags and outputs."""
    if listed:
        return False
    outputs = [each.template.get("Outputs") or {} for each in (stack.plan, plan)]
    return stack.plan.tags == plan.tags and outputs[0] == outputs[1]


def _require_same_types(stack: StackState, definitions: dict[str, Any]) -> None:
    other = [
        name
        for name, each in definitions.items()
        if name in stack.resources and stack.resources[name].type != each["Type"]
    ]
    if other:
        raise ValidationError(
            "Update of resource type is not permitted. The new template modifies resource type of the following "
            f"resources: [{', '.join(other)}]"
        )


def _change(action: str, name: str, kind: str, old: Resource | None = None, **more: Any) -> dict[str, Any]:
    change = {"Action": action, "LogicalResourceId": name, "ResourceType": kind, "Scope": [], "Details": []}
    if old:
        change["PhysicalResourceId"] = old.physical.id
    return {"Type": "Resource", "ResourceChange": change | more}


def _modification(
    progress: _Progress, evaluate: Evaluator, old: Resource, definition: dict[str, Any]
) -> dict[str, Any] | None:
    """The change of a resource that is there; None when it stays as it is."""
    new = properties_of(evaluate, definition, progress.plan)
    details = [
        detail
        for name in sorted(old.properties | new)
        for detail in _property(progress, evaluate, old, definition, new, name)
    ]
    details += [detail for attribute in _ATTRIBUTES for detail in _attribute(progress, old, definition, attribute)]
    if not details:
        return None
    recreation = {(each["Target"]["RequiresRecreation"], each["Evaluation"]) for each in details}
    certain = ("Always", "Static") in recreation
    changed = {key for key in old.properties | new if old.properties.get(key) != new.get(key)}
    handler = handler_of(old.type)
    if handler and not certain and (unchangeable := handler.unchangeable(changed)):
        raise Lacking(f"updates of the property {unchangeable[0]} of {old.type} (resource {old.logical_id})")
    possible = any(kind != "Never" for kind, _ in recreation)
    (progress.fresh if certain else progress.updated).add(old.logical_id)
    more: dict[str, Any] = {
        "Replacement": "True" if certain else "Conditional" if possible else "False",
        "Scope": sorted({each["Target"]["Attribute"] for each in details}),
        "Details": details,
    }
    if possible:
        retained = definition.get("UpdateReplacePolicy") == "Retain"
        more["PolicyAction"] = "ReplaceAndRetain" if retained else "ReplaceAndDelete"
    return _change("Modify", old.logical_id, old.type, old, **more)


def _property(
    progress: _Progress, evaluate: Evaluator, old: Resource, definition: dict[str, Any], new: dict[str, Any], name: str
) -> Iterator[dict[str, Any]]:
    """Why one property changes or may change: each cause in a detail."""
    differs = old.properties.get(name) != new.get(name)
    node = (definition.get("Properties") or {}).get(name)
    before = (old.definition.get("Properties") or {}).get(name)
    kind = schemas.recreation(old.type, name, old.properties.get(name), new.get(name))
    target = {"Attribute": "Properties", "Name": name}
    used = list(dict.fromkeys(references(evaluate.chosen(node))))
    if not differs:
        # The value is the one that the resource it comes from has now; an update of that one may change it.
        kind = schemas.recreation(old.type, name, old.properties.get(name), object())
        for reference in used:
            if reference.is_attribute and reference.name in progress.updated:
                yield _detail(target, kind, "ResourceAttribute", "Dynamic", f"{reference.name}.{reference.attribute}")
        return
    if name == "Tags" and node == before and not used:
        yield _detail({"Attribute": "Tags"}, "Never", "DirectModification", "Static")  # the stack's tags
        return
    parameters = [reference for reference in used if _parameter_changed(progress, reference)]
    for reference in parameters:
        yield _detail(target, kind, "ParameterReference", "Static", reference.name)
    resources = [reference for reference in used if reference.name in progress.fresh]
    for reference in resources:
        source = "ResourceAttribute" if reference.is_attribute else "ResourceReference"
        entity = f"{reference.name}.{reference.attribute}" if reference.is_attribute else reference.name
        yield _detail(target, kind, source, "Static", entity)
    if parameters or not resources or node != before:
        yield _detail(target, kind, "DirectModification", "Dynamic" if parameters else "Static")


def _attribute(
    progress: _Progress, old: Resource, definition: dict[str, Any], attribute: str
) -> Iterator[dict[str, Any]]:
    node, before = definition.get(attribute), old.definition.get(attribute)
    target = {"Attribute": attribute}
    parameters = [reference for reference in dict.fromkeys(references(node)) if _parameter_changed(progress, reference)]
    for reference in parameters:
        yield _detail(target, "Never", "ParameterReference", "Static", reference.name)
    if parameters or node != before:
        yield _detail(target, "Never", "DirectModification", "Dynamic" if parameters else "Static")


def _parameter_changed(progress: _Progress, reference: Reference) -> bool:
    name, before, after = reference.name, progress.stack.plan.values, progress.plan.values
    return name in after and not name.startswith(_PSEUDO) and before.get(name) != after[name]


def _detail(target: dict[str, Any], kind: str, source: str, evaluation: str, entity: str = "") -> dict[str, Any]:
    detail = {"Target": target | {"RequiresRecreation": kind}, "Evaluation": evaluation, "ChangeSource": source}
    return detail | ({"CausingEntity": entity} if entity else {})
