"""What a template must look like before anything is looked up in it: sections, members, names.

`check` raises the service's ValidationError for the first thing that is wrong. Texts without a source are recorded in
tests/fixtures/golden/aws/cloudformation.json or quoted in users' reports; AWS documents none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.functions import check_functions, is_boolean
from sandbox.aws.cloudformation.parameters import PARAMETER_TYPE
from sandbox.aws.cloudformation.template import is_function
from sandbox.aws.lacking import Lacking

_SECTIONS = (
    "AWSTemplateFormatVersion Description Metadata Parameters Rules Mappings Conditions Transform Hooks Resources "
    "Outputs"
).split()
_RESOURCE_KEYS = (
    "Type Properties DependsOn Condition Metadata CreationPolicy UpdatePolicy DeletionPolicy UpdateReplacePolicy "
    "Description Version"
).split()
_PARAMETER_KEYS = (
    "Type Default AllowedValues AllowedPattern ConstraintDescription Description NoEcho MinLength MaxLength MinValue "
    "MaxValue"
).split()
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html
_POLICIES = {
    "DeletionPolicy": ("Delete", "Retain", "RetainExceptOnCreate", "Snapshot"),
    "UpdateReplacePolicy": ("Delete", "Retain", "Snapshot"),
}


def check(template: dict[str, Any]) -> None:
    """Raises ValidationError for a template whose form is wrong, Lacking for a section the sandbox cannot do."""
    for path in _nulls(template):
        raise ValidationError(f"[{path}] 'null' values are not allowed in templates")
    if unknown := [section for section in template if section not in _SECTIONS]:
        raise ValidationError(f"Invalid template property or properties [{', '.join(unknown)}]")
    if str(template.get("AWSTemplateFormatVersion", "2010-09-09")) != "2010-09-09":
        raise ValidationError("Template format error: unsupported value for AWSTemplateFormatVersion.")
    if not isinstance(description := template.get("Description", ""), str):
        raise ValidationError("Template format error: Description must be a string.")
    if len(description.encode()) > 1024:
        raise ValidationError("Template format error: 'Description' length is greater than 1024.")
    if not isinstance(template.get("Resources"), dict) or not template["Resources"]:
        raise ValidationError("Template format error: At least one Resources member must be defined.")
    for section in ("Parameters", "Mappings", "Conditions", "Outputs", "Rules"):
        if not isinstance(template.get(section, {}), dict):
            raise ValidationError(f"Template format error: Any {section} member must be an object.")
    for transform in _transforms(template):
        raise Lacking(f"the transform {transform}")
    if "Hooks" in template:
        raise Lacking("the template section Hooks")
    _check_parameters(template.get("Parameters", {}))
    _check_mappings(template.get("Mappings", {}))
    for condition in template.get("Conditions", {}).values():
        if not is_boolean(condition):
            raise ValidationError(
                "Template format error: Conditions can only be boolean operations on parameters and other conditions"
            )
    for name, resource in template["Resources"].items():
        _check_resource(name, resource)
    _check_outputs(template.get("Outputs", {}))
    for part in ("Conditions", "Resources", "Outputs"):
        check_functions(template.get(part, {}))


def transforms_asked_for(template: dict[str, Any]) -> bool:
    """Whether the template is expanded before it is read, for which the caller's consent is needed."""
    return bool(_transforms(template))


def _transforms(template: dict[str, Any]) -> list[str]:
    declared = template.get("Transform", [])
    return [str(name) for name in (declared if isinstance(declared, list) else [declared])] + [
        str(name) for name in _members(template, "Fn::Transform")
    ]


def _members(node: Any, key: str) -> Iterator[Any]:
    """What stands under a key anywhere; a macro's name when it is given with parameters."""
    if isinstance(node, list):
        for item in node:
            yield from _members(item, key)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value.get("Name", value) if isinstance(value, dict) else value
            else:
                yield from _members(value, key)


def _nulls(node: Any, path: str = "") -> Iterator[str]:
    if node is None:
        yield path
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _nulls(value, f"{path}/{key}")
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from _nulls(item, f"{path}/{number}")


def _alphanumeric(name: Any) -> bool:
    return re.fullmatch(r"[a-zA-Z0-9]+", str(name)) is not None


def _check_parameters(parameters: dict[str, Any]) -> None:
    for name, rule in parameters.items():
        if not _alphanumeric(name):
            raise ValidationError(f"Template format error: Parameter name {name} is non alphanumeric.")
        if not isinstance(rule, dict):
            raise ValidationError("Template format error: Any Parameters member must be an object.")
        for key in rule:
            if key not in _PARAMETER_KEYS:
                raise ValidationError(f"Invalid template parameter property '{key}'")
        if "Type" not in rule:
            raise ValidationError("Template format error: Every Parameters object must contain a Type member.")
        if not re.fullmatch(PARAMETER_TYPE, str(rule["Type"])):
            raise ValidationError(f"Template format error: Unrecognized parameter type: {rule['Type']}")
        if isinstance(rule.get("Default"), dict | list):
            raise ValidationError("Template format error: Every Default member must be a string.")
        for bound in ("MinLength", "MaxLength", "MinValue", "MaxValue"):
            if not re.fullmatch(r"-?\d+(\.\d+)?", str(rule.get(bound, 0))):
                raise ValidationError(f"Template format error: {bound} of parameter {name} must be a number.")
        if not isinstance(rule.get("AllowedValues", []), list):
            raise ValidationError("Template format error: Every AllowedValues member must be a list.")


def _check_mappings(mappings: dict[str, Any]) -> None:
    for name, mapping in mappings.items():
        if not _alphanumeric(name):
            raise ValidationError(f"Template format error: Mapping name {name} is non alphanumeric.")
        if not isinstance(mapping, dict):
            raise ValidationError(f"Template format error: Every Mappings member {name} must be a map")
        for key, attributes in mapping.items():
            if not isinstance(attributes, dict):
                raise ValidationError(f"Template format error: Every Mappings member {key} must be a map")
            for attribute, value in attributes.items():
                if not _alphanumeric(attribute):
                    raise ValidationError(
                        f"Template format error: Mappings attribute name '{attribute}' must contain only alphanumeric "
                        "characters."
                    )
                if isinstance(value, dict):
                    raise ValidationError("Template format error: Every Mappings attribute must be a String or a List.")


def _check_resource(name: str, resource: Any) -> None:
    if not _alphanumeric(name):
        raise ValidationError(f"Template format error: Resource name {name} is non alphanumeric.")
    if not isinstance(resource, dict):
        raise ValidationError("Template format error: Any Resources member must be an object.")
    if not isinstance(resource.get("Type"), str):
        raise ValidationError(
            f"Template format error: [/Resources/{name}] Every Resources object must contain a Type member."
        )
    for key in resource:
        if key not in _RESOURCE_KEYS:
            raise ValidationError(f"Invalid template resource property '{key}'")
    for key in ("Properties", "Metadata"):
        content = resource.get(key, {})
        if not isinstance(content, dict) or any(is_function(content, member) for member in content):
            raise ValidationError(f"Template format error: [/Resources/{name}/{key}] must be an object.")
    after = resource.get("DependsOn", [])
    if not all(isinstance(each, str) for each in (after if isinstance(after, list) else [after])):
        raise ValidationError("Template format error: DependsOn must be a string or list of strings.")
    if not isinstance(resource.get("Condition", ""), str):
        raise ValidationError(f"Template format error: [/Resources/{name}/Condition] must be a string.")
    for attribute, policies in _POLICIES.items():
        if resource.get(attribute, "Delete") not in policies:
            raise ValidationError(
                f"Template format error: Unrecognized {attribute} {resource[attribute]} for resource {name}"
            )
    if "Snapshot" in (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")):
        raise Lacking(f"the policy Snapshot (resource {name})")


def _check_outputs(outputs: dict[str, Any]) -> None:
    for name, output in outputs.items():
        if not _alphanumeric(name):
            raise ValidationError(f"Template format error: Outputs name '{name}' is non alphanumeric.")
        if not isinstance(output, dict) or "Value" not in output:
            raise ValidationError("Template format error: Every Outputs member must contain a Value object")
        if "Export" in output and not (isinstance(output["Export"], dict) and "Name" in output["Export"]):
            raise ValidationError("Template format error: Every Export member must contain a Name object")
