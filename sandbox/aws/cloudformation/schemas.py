"""What a resource type allows, from the registry schemas that cfn-lint ships: properties, their types, what replaces.

The engine uses it to tell a type that a region has, an update from a replacement, an attribute that exists.
validation.py judges properties by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

# Found without importing cfn-lint, which takes longer than everything else here.
_SCHEMAS = Path(str(distribution("cfn-lint").locate_file("cfnlint/data/schemas")))

Schema = dict[str, Any]


def exists(resource_type: str, region: str) -> bool:
    """Whether CloudFormation has the resource type in a region."""
    return _registered(resource_type) in _index(region)


@cache
def schema(resource_type: str) -> Schema:
    """The registry schema of a resource type that exists somewhere; KeyError for any other."""
    registered = _registered(resource_type)
    # Schemas differ little between regions; a type that the oldest region lacks is looked for in the others.
    regions = ["us-east-1", *(path.stem for path in sorted((_SCHEMAS / "providers").glob("*.json")))]
    name = next((_index(region)[registered] for region in regions if registered in _index(region)), None)
    if name is None:
        raise KeyError(resource_type)
    result: Schema = json.loads((_SCHEMAS / "resources" / f"{name}.json").read_text())
    if result["typeName"] == "AWS::CloudFormation::CustomResource":
        result["additionalProperties"] = True  # whatever its function understands
    return result


def _registered(resource_type: str) -> str:
    return "AWS::CloudFormation::CustomResource" if resource_type.startswith("Custom::") else resource_type


@cache
def _index(region: str) -> dict[str, str]:
    path = _SCHEMAS / "providers" / f"{region}.json"
    index: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return index


def primary_identifier(resource_type: str) -> list[str]:
    return [path.split("/")[2] for path in schema(resource_type).get("primaryIdentifier", [])]


def recreation(resource_type: str, name: str, old: Any, new: Any) -> str:
    """What a changed top-level property asks for: a new physical resource `Always`, `Conditionally` or `Never`."""
    rule = schema(resource_type)
    for kind, answer in (("createOnlyProperties", "Always"), ("conditionalCreateOnlyProperties", "Conditionally")):
        for path in rule.get(kind, []):
            top, *rest = path.split("/")[2:]
            if top == name and _part(old, rest) != _part(new, rest):
                return answer
    return "Never"


def _part(value: Any, path: list[str]) -> Any:
    """What stands under a path; all of it where the path goes through a list."""
    for key in path:
        if key == "*" or not isinstance(value, dict):
            return value
        value = value.get(key)
    return value


def replaces(resource_type: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether the change needs a new physical resource: a create-only property differs."""
    return any(recreation(resource_type, name, old.get(name), new.get(name)) == "Always" for name in old | new)


def has_attribute(resource_type: str, attribute: str) -> bool:
    """Whether Fn::GetAtt can ask a resource of the type for it: any property of the schema, read-only or not."""
    rule = schema(resource_type)
    if rule.get("additionalProperties") is True or resource_type == "AWS::CloudFormation::Stack":
        return True
    return attribute.split(".")[0] in rule.get("properties", {})


def read_only(resource_type: str) -> set[str]:
    """Top-level properties that only the service sets."""
    paths = schema(resource_type).get("readOnlyProperties", [])
    return {path.split("/")[2] for path in paths if path.count("/") == 2}


def has_tags(resource_type: str) -> bool:
    """Whether the type has a `Tags` list of Key and Value, to which the stack's tags are added."""
    rule = schema(resource_type)
    tags = _resolve(rule, rule.get("properties", {}).get("Tags", {}))
    return bool(rule.get("tagging", {}).get("taggable", "Tags" in rule.get("properties", {}))) and (
        tags.get("type") == "array"
    )


def permissions(resource_type: str) -> dict[str, list[str]]:
    """The IAM actions that each handler of the type may ask for: `create`, `read`, `update`, `delete`, `list`."""
    return {name: handler["permissions"] for name, handler in schema(resource_type).get("handlers", {}).items()}


def coerce(resource_type: str, properties: dict[str, Any]) -> dict[str, Any]:
    """The properties in the types of the schema: CloudFormation accepts "1" for a number and 1 for a string."""
    rule = schema(resource_type)
    result: dict[str, Any] = _coerce(rule, rule, properties)
    return result


def _coerce(root: Schema, rule: Schema, value: Any) -> Any:
    rule = _resolve(root, rule)
    if isinstance(value, dict):
        properties = rule.get("properties", {})
        return {name: _coerce(root, properties.get(name, {}), item) for name, item in value.items()}
    if isinstance(value, list):
        return [_coerce(root, rule.get("items", {}), item) for item in value]
    kinds = set(_kinds(root, rule))
    if isinstance(value, bool | int | float) and "string" in kinds and not kinds & {"boolean", "integer", "number"}:
        return str(value).lower() if isinstance(value, bool) else str(value)
    if "string" in kinds or not isinstance(value, str):
        return value
    if "boolean" in kinds and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kinds & {"integer", "number"}:
        try:
            return int(value) if "integer" in kinds or value.lstrip("-").isdigit() else float(value)
        except ValueError:
            return value  # validation.py says what is wrong with it
    return value


def _kinds(root: Schema, rule: Schema) -> Iterator[str]:
    """The types that a rule allows, its alternatives' included."""
    rule = _resolve(root, rule)
    kind = rule.get("type", [])
    yield from [kind] if isinstance(kind, str) else kind
    for keyword in ("anyOf", "oneOf", "allOf"):
        for alternative in rule.get(keyword, []):
            yield from _kinds(root, alternative)


def _resolve(root: Schema, rule: Schema) -> Schema:
    while "$ref" in rule:
        target: Schema = root
        for part in rule["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        rule = target
    return rule
