"""A pipeline definition as SageMaker reads it: checks, the order of steps, and the values of its functions.

Pure: executions.py gives it what is known at run time. The format is published at
https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.aws.sagemaker import step_cache

Json = dict[str, Any]

VERSION = "2020-12-01"
_STEP_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REFERENCE = re.compile(r"Steps\.([A-Za-z0-9_-]+)")
_TYPES: dict[str, Callable[[str], Any]] = {"String": str, "Integer": int, "Float": float}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "NotEquals": operator.ne,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}


class InvalidDefinition(Exception):
    """The service would refuse the definition, or parameters for it; the message is its ValidationException."""


class Unresolved(Exception):
    """A function of the definition has no value at run time; the message becomes the step's FailureReason."""


# --- reading a definition ------------------------------------------------------------------------------------------


def parse(text: str) -> Json:
    """The definition in `text`. Raises InvalidDefinition for everything that would never run."""
    try:
        definition = json.loads(text)
    except ValueError as error:
        raise InvalidDefinition(f"Unable to parse pipeline definition. {error}") from error
    if not isinstance(definition, dict) or definition.get("Version") != VERSION:
        raise InvalidDefinition(f"Unable to parse pipeline definition. Version must be {VERSION}.")
    if not definition.get("Steps"):
        raise InvalidDefinition("Unable to parse pipeline definition. Pipeline must contain at least one step.")
    names = [step.get("Name", "") for step, _, _ in walk(definition)]
    if len(set(names)) != len(names):
        raise InvalidDefinition("Unable to parse pipeline definition. Step names must be unique.")
    for step, _, _ in walk(definition):
        _check_step(step, set(names), {each["Name"] for each in definition.get("Parameters", [])})
    _check_cycles(dependencies(definition))
    return definition


def walk(definition: Json) -> Iterator[tuple[Json, str, str]]:
    """Every step with the condition step that decides on it ("" for none) and the branch: IfSteps or ElseSteps."""

    def below(steps: list[Json], condition: str, branch: str) -> Iterator[tuple[Json, str, str]]:
        for step in steps:
            yield step, condition, branch
            if step.get("Type") == "Condition":
                for name in ("IfSteps", "ElseSteps"):
                    yield from below(step["Arguments"].get(name) or [], step["Name"], name)

    yield from below(definition["Steps"], "", "")


def own_part(step: Json) -> Json:
    """A step without the steps inside it: a condition waits for what its conditions read, not for its branches."""
    inner = {key: value for key, value in step.get("Arguments", {}).items() if key not in ("IfSteps", "ElseSteps")}
    return {**step, "Arguments": inner}


def dependencies(definition: Json) -> dict[str, set[str]]:
    """For each step, the steps that must succeed before it: DependsOn, what it reads, and its condition."""
    needs = {}
    for step, condition, _ in walk(definition):
        reads = {match.group(1) for get in _gets(own_part(step)) if (match := _REFERENCE.match(get))}
        needs[step["Name"]] = reads | set(step.get("DependsOn") or []) | ({condition} if condition else set())
    return needs


def _gets(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {"Get"}:
            yield str(value["Get"])
        for each in value.values():
            yield from _gets(each)
    elif isinstance(value, list):
        for each in value:
            yield from _gets(each)


def _check_step(step: Json, steps: set[str], parameters: set[str]) -> None:
    name = step.get("Name", "")
    if not _STEP_NAME.fullmatch(name) or not step.get("Type") or not isinstance(step.get("Arguments"), dict):
        raise InvalidDefinition(f"Unable to parse pipeline definition. Step {name!r} needs Name, Type and Arguments.")
    if step_cache.is_on(step):
        try:
            step_cache.oldest(step, datetime.now(UTC))
        except ValueError as error:
            raise InvalidDefinition(f"Unable to parse pipeline definition. Step {name}: {error}.") from error
    for other in step.get("DependsOn") or []:
        if other not in steps:
            raise InvalidDefinition(f"Unable to parse pipeline definition. Step {name} depends on unknown {other}.")
    for get in _gets(own_part(step)):
        match = _REFERENCE.match(get)
        parameter = get.removeprefix("Parameters.") if get.startswith("Parameters.") else None
        exists = match.group(1) in steps if match else parameter in parameters or get.startswith("Execution.")
        if not exists:
            raise InvalidDefinition(f"Unable to parse pipeline definition. Invalid reference {get} in step {name}.")


def _check_cycles(needs: dict[str, set[str]]) -> None:
    left = dict(needs)
    while left:
        free = [name for name, waits in left.items() if not waits & set(left)]
        if not free:
            raise InvalidDefinition(f"Unable to parse pipeline definition. Cycle between steps {', '.join(left)}.")
        for name in free:
            del left[name]


def parameters(definition: Json, overrides: Mapping[str, str]) -> Json:
    """The value of every parameter, typed, with `overrides` before the defaults. Raises InvalidDefinition."""
    declared = {each["Name"]: each for each in definition.get("Parameters", [])}
    if unknown := sorted(set(overrides) - set(declared)):
        raise InvalidDefinition(f"Unknown parameters {unknown}: they are not defined in the pipeline definition.")
    missing = sorted(name for name, each in declared.items() if name not in overrides and "DefaultValue" not in each)
    if missing:
        raise InvalidDefinition(f"Missing values for parameters {missing}: they have no default value.")
    return {
        name: _typed(each, overrides[name]) if name in overrides else each["DefaultValue"]
        for name, each in declared.items()
    }


def _typed(parameter: Json, text: str) -> Any:
    name, kind = parameter["Name"], parameter.get("Type", "String")
    if not text:
        raise InvalidDefinition('[string "" is too short (length: 0, required minimum: 1)]')
    if kind == "Boolean":
        if text.lower() not in ("true", "false"):
            raise InvalidDefinition(f"Value {text!r} of parameter {name} is not of type Boolean.")
        return text.lower() == "true"
    try:
        value = _TYPES[kind](text)
    except ValueError as error:
        raise InvalidDefinition(f"Value {text!r} of parameter {name} is not of type {kind}.") from error
    if value not in parameter.get("EnumValues", [value]):
        raise InvalidDefinition(f"Value {text!r} of parameter {name} is not one of {parameter['EnumValues']}.")
    return value


# --- values at run time --------------------------------------------------------------------------------------------


def resolve(value: Any, context: Json, read_json: Callable[[Json], Any]) -> Any:
    """`value` with its functions replaced.

    `context` is {"Parameters": …, "Execution": …, "Steps": {name: what Describe says of it}}; `read_json` reads the
    document of a Std:JsonGet. Raises Unresolved.
    """
    if isinstance(value, list):
        return [resolve(each, context, read_json) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Get"}:
        return follow(context, value["Get"])
    if set(value) == {"Std:Join"}:
        parts = resolve(value["Std:Join"]["Values"], context, read_json)
        return value["Std:Join"].get("On", "").join(_text(part) for part in parts)
    if set(value) == {"Std:JsonGet"}:
        return follow(read_json(value["Std:JsonGet"]), value["Std:JsonGet"]["Path"])
    return {key: resolve(each, context, read_json) for key, each in value.items()}


def follow(document: Any, path: str) -> Any:
    """What `path` names in `document`: `a.b[0].c['name']`; a name in a list means the item called that."""
    for word, index, name in re.findall(r"([^.\[\]]+)|\[(\d+)\]|\[['\"]([^'\"]*)['\"]\]", path):
        key: Any = int(index) if index else word or name
        try:
            document = _named(document, key) if isinstance(document, list) and not index else document[key]
        except (KeyError, IndexError, TypeError) as error:
            raise Unresolved(f"ClientError: Unable to resolve {path}: there is no {key!r}.") from error
    return document


def _named(items: list[Any], name: str) -> Any:
    # OutputName, InputName, ChannelName, MetricName …: Outputs['train'] is the output of that name.
    for item in items:
        if any(key.endswith("Name") and value == name for key, value in item.items()):
            return item
    raise KeyError(name)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def holds(condition: Json, value_of: Callable[[Any], Any]) -> bool:
    """Whether a condition of a condition step is true; `value_of` resolves its operands. Raises Unresolved."""
    kind = condition["Type"]
    if kind == "Or":
        return any(holds(each, value_of) for each in condition["Conditions"])
    if kind == "Not":
        return not holds(condition["Condition"], value_of)
    if kind in ("In", "NotIn"):
        return bool(value_of(condition["QueryValue"]) in value_of(condition["Values"])) is (kind == "In")
    if kind not in _COMPARISONS:
        raise Unresolved(f"ClientError: Unknown condition type {kind}.")
    left, right = value_of(condition["LeftValue"]), value_of(condition["RightValue"])
    try:
        return bool(_COMPARISONS[kind](left, right))
    except TypeError as error:
        raise Unresolved(f"ClientError: Unable to compare {left!r} with {right!r} ({kind}).") from error
