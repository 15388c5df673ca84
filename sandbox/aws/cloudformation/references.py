"""What parts of a template refer to: names that nothing has, and the order that the others demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.functions import SUBSTITUTION
from sandbox.aws.cloudformation.template import functions

PSEUDO_PARAMETERS = (
    "AWS::AccountId AWS::NotificationARNs AWS::NoValue AWS::Partition AWS::Region AWS::StackId AWS::StackName "
    "AWS::URLSuffix"
).split()


class Reference(NamedTuple):
    """One name that is referred to; `attribute` is empty for Ref, and for an attribute that a function names."""

    name: str
    attribute: str = ""
    is_attribute: bool = False


def references(node: Any) -> Iterator[Reference]:
    """Every reference by Ref, Fn::GetAtt or Fn::Sub in a part of a template, to whatever it leads."""
    for function, argument, _ in functions(node):
        if function == "Ref":
            yield Reference(argument)
        elif function == "Fn::GetAtt":
            name, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
            yield Reference(name, attribute if isinstance(attribute, str) else "", True)
        elif function == "Fn::Sub":
            text, own = (argument, {}) if isinstance(argument, str) else argument
            for literal, variable in SUBSTITUTION.findall(text):
                if not literal and variable not in own:
                    name, dot, attribute = variable.partition(".")
                    yield Reference(name, attribute, bool(dot))


def check_names(template: Mapping[str, Any]) -> None:
    """Raises ValidationError for references to parameters, resources, conditions and mappings that are not there."""
    resources, conditions = template["Resources"], template.get("Conditions", {})
    values = {*template.get("Parameters", {}), *PSEUDO_PARAMETERS}
    if unknown := _unknown(references(conditions), values):
        raise ValidationError(
            f"Template format error: Unresolved dependencies [{', '.join(unknown)}]. Cannot reference resources in the "
            "Conditions block of the template"
        )
    for block in ("Resources", "Outputs"):
        for member in template.get(block, {}).values():
            if (condition := member.get("Condition")) is not None and condition not in conditions:
                raise ValidationError(
                    f"Template format error: Unresolved condition dependency {condition} in the {block} block of the "
                    "template"
                )
    for function, argument, _ in (*functions(resources), *functions(template.get("Outputs", {}))):
        if function == "Fn::If" and argument[0] not in conditions:
            raise ValidationError(f"Template error: unresolved condition dependency {argument[0]} in Fn::If")
    mappings = template.get("Mappings", {})
    for function, argument, _ in functions(template):
        if function == "Fn::FindInMap" and isinstance(name := argument[0], str) and name not in mappings:
            raise ValidationError(
                f"Template error: Mapping named '{name}' is not present in the 'Mappings' section of template."
            )
    for name in _attributes_of_nothing((resources, template.get("Outputs", {})), resources):
        raise ValidationError(f"Template error: instance of Fn::GetAtt references undefined resource {name}")
    for block in ("Resources", "Outputs"):
        used = list(references(template.get(block, {})))
        used += [Reference(name) for member in template.get(block, {}).values() for name in depends_on(member)]
        raise_unresolved(_unknown(used, values | set(resources)), block, "Template format error: ")


def raise_unresolved(names: Iterable[str], block: str, prefix: str) -> None:
    """Raises the service's ValidationError when there are such names. The text of outputs may begin otherwise."""
    if listed := ", ".join(dict.fromkeys(names)):
        raise ValidationError(
            f"{prefix}Unresolved resource dependencies [{listed}] in the {block} block of the template"
        )


def _unknown(used: Iterable[Reference], declared: Iterable[str]) -> list[str]:
    return sorted({reference.name for reference in used} - set(declared))


def _attributes_of_nothing(parts: Iterable[Any], resources: Mapping[str, Any]) -> Iterator[str]:
    for part in parts:
        for function, argument, _ in functions(part):
            if function == "Fn::GetAtt":
                name = argument[0] if isinstance(argument, list) else argument.split(".")[0]
                if name not in resources:
                    yield name


def depends_on(resource: Mapping[str, Any]) -> list[str]:
    after = resource.get("DependsOn", [])
    return [after] if isinstance(after, str) else list(after)


def ordered(graph: Mapping[str, set[str]]) -> list[str]:
    """The names of a graph, dependencies first. Raises ValidationError for a circle."""
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        names = ", ".join(sorted(set(error.args[1])))
        raise ValidationError(f"Circular dependency between resources: [{names}]") from error
