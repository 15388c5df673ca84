"""What a resource type allows, from the registry schemas that cfn-lint ships: properties, their types, what replaces.

The engine uses it to refuse what CloudFormation refuses before it starts, and to tell an update from a replacement.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.aws.server import REGION

# Found without importing cfn-lint, which takes longer than everything else here.
_SCHEMAS = Path(str(distribution("cfn-lint").locate_file("cfnlint/data/schemas")))


class Problem(NamedTuple):
    """One thing wrong with a resource's properties; `path` as CloudFormation writes it: /Resources/Queue/Properties."""

    path: str
    message: str


@cache
def schema(resource_type: str) -> dict[str, Any] | None:
    """The registry schema of a resource type; None for a type that does not exist."""
    if resource_type.startswith("Custom::"):
        resource_type = "AWS::CloudFormation::CustomResource"
    name = _index().get(resource_type)
    return json.loads((_SCHEMAS / "resources" / f"{name}.json").read_text()) if name else None


@cache
def _index() -> dict[str, str]:
    index: dict[str, str] = json.loads((_SCHEMAS / "providers" / f"{REGION}.json").read_text())
    return index


def replaces(resource_type: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether the change needs a new physical resource: a create-only property differs."""
    create_only = (schema(resource_type) or {}).get("createOnlyProperties", [])
    names = {path.split("/")[2] for path in create_only}
    return any(old.get(name) != new.get(name) for name in names)


def has_tags(resource_type: str) -> bool:
    """Whether the type has a `Tags` list of Key and Value, to which the stack's tags are added."""
    found = schema(resource_type) or {}
    tags = _resolve(found, found.get("properties", {}).get("Tags", {}))
    return bool(found.get("tagging", {}).get("taggable", "Tags" in found.get("properties", {}))) and (
        tags.get("type") == "array"
    )


def problems(logical_id: str, resource_type: str, properties: Any) -> list[Problem]:
    """Properties that do not exist, and required ones that are missing. Values are not judged: the services do that."""
    found = schema(resource_type) or {}
    if found.get("typeName") == "AWS::CloudFormation::CustomResource":
        found = found | {"additionalProperties": True}  # whatever its function understands
    return list(_problems(found, found, properties, f"/Resources/{logical_id}/Properties"))


def _problems(root: dict[str, Any], rule: dict[str, Any], value: Any, path: str) -> list[Problem]:
    rule = _resolve(root, rule)
    if isinstance(value, list):
        items = rule.get("items", {})
        return [
            problem for number, item in enumerate(value) for problem in _problems(root, items, item, f"{path}/{number}")
        ]
    if not isinstance(value, dict) or any(key == "Ref" or key.startswith("Fn::") for key in value):
        return []
    known = rule.get("properties")
    if known is None:
        return []
    result = [
        Problem(path, f"Required property [{name}] not found") for name in rule.get("required", []) if name not in value
    ]
    for name, item in value.items():
        if name in known:
            result += _problems(root, known[name], item, f"{path}/{name}")
        elif rule.get("additionalProperties") is False:
            result.append(Problem(f"{path}/{name}", f"Unsupported property [{name}]"))
    return result


def coerce(resource_type: str, properties: dict[str, Any]) -> dict[str, Any]:
    """The properties in the types of the schema: CloudFormation accepts "1" for a number and 1 for a string."""
    found = schema(resource_type) or {}
    result: dict[str, Any] = _coerce(found, found, properties)
    return result


def _coerce(root: dict[str, Any], rule: dict[str, Any], value: Any) -> Any:
    rule = _resolve(root, rule)
    if isinstance(value, dict):
        known = rule.get("properties", {})
        return {name: _coerce(root, known.get(name, {}), item) for name, item in value.items()}
    if isinstance(value, list):
        return [_coerce(root, rule.get("items", {}), item) for item in value]
    kind = rule.get("type")
    if kind == "string" and isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    if kind in ("integer", "number") and isinstance(value, str):
        try:
            return int(value) if kind == "integer" or value.lstrip("-").isdigit() else float(value)
        except ValueError:
            return value  # the service says what is wrong with it
    return value


def _resolve(root: dict[str, Any], rule: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in rule:
        target: dict[str, Any] = root
        for part in rule["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        rule = target
    return rule
