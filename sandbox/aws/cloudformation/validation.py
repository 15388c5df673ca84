"""Properties judged by their type's schema: CloudFormation's validation before deployment, and a resource's own.

A change set is refused by AWS::EarlyValidation::PropertyValidation; a stack that is created without one fails at the
resource. https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError as Violation
from jsonschema.validators import extend

from sandbox.aws.cloudformation import schemas
from sandbox.aws.cloudformation.dynamic_references import REFERENCE
from sandbox.aws.cloudformation.evaluator import UNKNOWN

_NAMES = {"object": "JSONObject", "array": "JSONArray"}
# Keywords whose texts the registry shows; others could give a value away and are only named.
# https://github.com/aws-cloudformation/cloudformation-resource-schema
_TEXTS: dict[str, Callable[[Any], str]] = {
    "minLength": lambda error: f"expected minLength: {error.validator_value}, actual: {len(error.instance)}",
    "maxLength": lambda error: f"expected maxLength: {error.validator_value}, actual: {len(error.instance)}",
    "minItems": lambda error: f"expected minimum item count: {error.validator_value}, found: {len(error.instance)}",
    "maxItems": lambda error: f"expected maximum item count: {error.validator_value}, found: {len(error.instance)}",
    "uniqueItems": lambda _: "array items are not unique",
    "oneOf": lambda _: "#: 0 subschemas matched instead of one",
    "anyOf": lambda error: f"#: no subschema matched out of the total {len(error.validator_value)} subschemas",
    "type": lambda error: f"expected type: {_expected(error.validator_value)}, found: {_kind(error.instance)}",
}


class Problem(NamedTuple):
    """One thing wrong with a resource's properties.

    `pointer` leads to the place (`#/Tags/0`), `text` says what is wrong in the registry's words; `missing` and `extra`
    name a property that is required or not supported.
    """

    pointer: str
    text: str
    missing: str = ""
    extra: str = ""

    @property
    def message(self) -> str:
        return f"{self.pointer}: {self.text}"

    def path(self, logical_id: str) -> str:
        """The place as DescribeEvents writes it: /Resources/Queue/Properties."""
        return f"/Resources/{logical_id}/Properties{self.pointer[1:]}"


def problems(resource_type: str, properties: dict[str, Any]) -> list[Problem]:
    """What the schema refuses. Values that are known only after the change set is executed are not judged."""
    coerced = schemas.coerce(resource_type, properties)
    result = [problem for error in _validator(resource_type).iter_errors(coerced) for problem in _problems(error)]
    result += [
        Problem("#", f"extraneous key [{name}] is not permitted", extra=name)
        for name in sorted(schemas.read_only(resource_type) & properties.keys())
    ]
    return result


def failure(logical_id: str, refusals: list[Problem]) -> str:
    """The reason of a resource that failed for these problems."""
    parts = [f"The property {{{_inside(each)}/{each.missing}}} is required" for each in refusals if each.missing]
    extra: dict[str, list[str]] = {}
    for each in refusals:
        if each.extra:
            extra.setdefault(_inside(each) or "/", []).append(each.extra)
    parts += [
        f"Encountered unsupported properties in {{{place}}}: [{', '.join(names)}]" for place, names in extra.items()
    ]
    if parts:
        return f"Property validation failure: [{', '.join(parts)}]"
    messages = "\n".join(each.message for each in refusals)
    return f"Properties validation failed for resource {logical_id} with message:\n{messages}"


def _inside(problem: Problem) -> str:
    return problem.pointer[1:]


@cache
def _validator(resource_type: str) -> Any:
    return _KnownValues(schemas.schema(resource_type))


def _skipping(keyword: str) -> Any:
    original = Draft7Validator.VALIDATORS[keyword]

    def check(validator: Any, expected: Any, instance: Any, rule: Any) -> Iterator[Violation]:
        if isinstance(instance, str) and (UNKNOWN in instance or REFERENCE.search(instance)):
            return
        if keyword in ("oneOf", "anyOf") and all(each.keys() <= {"required"} for each in expected):
            return  # cfn-lint's own additions among them; the services say it themselves
        try:
            yield from original(validator, expected, instance, rule) or ()
        except re.error:
            return  # a pattern that only Java reads

    return check


_KnownValues: Any = extend(  # type: ignore[no-untyped-call]
    Draft7Validator,
    {
        name: _skipping(name)
        for name in ("type", "enum", "const", "pattern", "minLength", "maxLength", "oneOf", "anyOf")
    },
)


def _problems(error: Any) -> Iterator[Problem]:
    """The problems that one of the library's errors stands for."""
    pointer = "".join(["#", *(f"/{part}" for part in error.absolute_path)])
    keyword = str(error.validator)
    if keyword == "required":
        name = error.message.split("'")[1]  # one error for each
        yield Problem(pointer, f"required key [{name}] not found", missing=name)
    elif keyword == "additionalProperties":
        patterns = error.schema.get("patternProperties", {})
        for name in error.instance:
            if name not in error.schema.get("properties", {}) and not any(re.search(each, name) for each in patterns):
                yield Problem(pointer, f"extraneous key [{name}] is not permitted", extra=name)
    elif keyword in _TEXTS:
        yield Problem(pointer, _TEXTS[keyword](error))
    elif keyword == "dependencies":
        yield Problem(pointer, f"property {error.message.split(' is a dependency')[0]} is required")
    else:
        yield Problem(pointer, f"failed validation constraint for keyword [{keyword}]")


def _expected(kinds: Any) -> str:
    names = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_NAMES.get(name, name.capitalize()) for name in names)


def _kind(value: Any) -> str:
    kinds = {bool: "Boolean", int: "Integer", float: "Double", str: "String", list: "JSONArray", dict: "JSONObject"}
    return kinds.get(type(value), "Null")
