"""The values of `spec: inputs`: what was given, or the default, checked against the specification.

The rules and messages follow https://docs.gitlab.com/ci/inputs/ and GitLab's lib/ci/inputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.gitlab.config import expressions, ruby
from sandbox.gitlab.config.errors import InvalidConfiguration
from sandbox.gitlab.config.patterns import InvalidPattern, Pattern

TYPES = ("array", "boolean", "number", "string")
_SHOWN = 3  # of several problems


def refused(*problems: str) -> InvalidConfiguration:
    """GitLab shows at most three problems of one file."""
    return InvalidConfiguration(", ".join(problems[:_SHOWN]), category="inputs")


def resolve(specification: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Every declared input's value. Raises InvalidConfiguration."""
    problems: list[str] = []
    if unknown := [name for name in arguments if name not in specification]:
        problems.append(f"unknown input arguments: {', '.join(map(ruby.text, unknown))}")
    values: dict[str, Any] = {}
    for name, declared in specification.items():
        details = _strings(declared or {})
        kind = details.get("type", "string")
        if kind not in TYPES:
            problems.append(f"unknown input specification for `{name}` (valid types: {', '.join(TYPES)})")
            continue
        inputs = {**arguments, **values}
        value = arguments.get(name)
        if value == "" and "rules" in details:
            value = None
        problems += [f"`{name}` input: {problem}" for problem in _problems(kind, details, value, inputs)]
        values[name] = _coerced(kind, _default(details, inputs) if value is None else value)
    if problems:
        raise refused(*problems)
    return values


def _strings(value: Any) -> Any:
    """The specification as GitLab keeps it: with texts for keys, also deep inside."""
    if isinstance(value, dict):
        return {key: _strings(inner) for key, inner in value.items()}
    return [_strings(each) for each in value] if isinstance(value, list) else value


def _problems(kind: str, details: Mapping[str, Any], value: Any, inputs: Mapping[str, Any]) -> Iterator[str]:
    rules = details.get("rules") or []
    required = "default" not in details and not any(isinstance(rule, dict) and "default" in rule for rule in rules)
    if required and value is None:
        yield "required value has not been provided"
        return
    default = _default(details, inputs)
    if not required and default is not None:
        yield from _judged(kind, details, default, inputs, "default")
    if value is not None:
        yield from _judged(kind, details, value, inputs, "provided")


def _judged(kind: str, details: Mapping[str, Any], value: Any, inputs: Mapping[str, Any], origin: str) -> Iterator[str]:
    value = _coerced(kind, value)
    if not _is(kind, value):
        yield f"{origin} value is not {'an' if kind == 'array' else 'a'} {kind}"
    options = _options(details, inputs)
    if kind == "string" and options is not None and value not in [ruby.text(option) for option in options]:
        yield f"`{value}` cannot be used because it is not in the list of allowed options"
    elif kind == "number" and options is not None and value and not any(_same(value, option) for option in options):
        yield f"`{ruby.text(value)}` cannot be used because it is not in the list of the allowed options"
    elif kind in ("array", "boolean") and details.get("options") is not None:
        yield "Options can only be used with string and number inputs"
    if "regex" not in details:
        return
    if kind != "string":
        yield "RegEx validation can only be used with string inputs"
        return
    try:
        if details["regex"] is None or not Pattern(details["regex"]).found_in(value):
            yield f"{origin} value does not match required RegEx pattern"
    except InvalidPattern:
        yield "invalid regular expression"


def _is(kind: str, value: Any) -> bool:
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, {"array": list, "boolean": bool, "string": str}[kind])


def _same(value: Any, option: Any) -> bool:
    return isinstance(value, bool) == isinstance(option, bool) and bool(value == option)


def _coerced(kind: str, value: Any) -> Any:
    # The API receives numbers, booleans and arrays as text, too.
    if kind == "string":
        return ruby.text(value)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_no_constant)
    except ValueError:
        return value


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _options(details: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[Any] | None:
    options = details.get("options")
    if details.get("rules") and (matching := _matching(details, inputs)) and matching.get("options") is not None:
        options = matching["options"]
    return options if isinstance(options, list) else None


def _default(details: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    if details.get("rules") and (matching := _matching(details, inputs)) and matching.get("default") is not None:
        return matching["default"]
    return details.get("default")


def _matching(details: Mapping[str, Any], inputs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first rule of an input that holds for the inputs before it."""
    rules = (rule for rule in details["rules"] if isinstance(rule, dict))
    return next((rule for rule in rules if rule.get("if") is None or expressions.holds(rule["if"], {}, inputs)), None)
