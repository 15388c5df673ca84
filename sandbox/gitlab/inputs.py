"""`spec: inputs`: values checked and `$[[ … ]]` replaced, as GitLab does. Pure; called by `includes.py` for every file.

gitlab-ci-local has inputs of its own, but accepts unknown ones, leaves `component.version` alone, knows no functions.
The rules and messages follow https://docs.gitlab.com/ci/inputs/ and GitLab's lib/ci/inputs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.gitlab.expansion import expand

TYPES = ("array", "boolean", "number", "string")
_SPECIFICATION_KEYS = {"default", "description", "options", "regex", "type"}
_BLOCK = re.compile(r"\$\[\[\s*(?P<data>(?!\s)(?:(?!\]\]).)+?)\s*\]\]")
_MAX_FUNCTIONS = 3


class InvalidInput(Exception):
    """A configuration whose inputs, or whose use of them, GitLab refuses."""


def resolve(specification: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every declared input's value. Raises InvalidInput naming at most three problems, as GitLab shows them."""
    problems = []
    if unknown := [name for name in given if name not in specification]:
        problems.append(f"unknown input arguments: {', '.join(unknown)}")
    values = {}
    for name, declared in specification.items():
        details = declared or {}
        kind = details.get("type", "string")
        if unknown_keys := set(details) - _SPECIFICATION_KEYS:
            problems.append(
                f"header:spec:inputs:{name} config contains unknown keys: {', '.join(sorted(unknown_keys))}"
            )
        elif kind not in TYPES:
            problems.append(f"header:spec:inputs:{name} input type unknown value: {kind}")
        elif "default" not in details and given.get(name) is None:
            problems.append(f"`{name}` input: required value has not been provided")
        else:
            if "default" in details:
                problems += _problems(name, kind, details, details["default"], "default")
            if given.get(name) is not None:
                problems += _problems(name, kind, details, given[name], "provided")
            chosen = details.get("default") if given.get(name) is None else given[name]
            values[name] = _coerced(kind, chosen)
    if problems:
        raise InvalidInput(", ".join(problems[:3]))
    return values


def _coerced(kind: str, value: Any) -> Any:
    # The API receives numbers, booleans and arrays as text, too.
    if kind == "string":
        return "" if value is None else value if isinstance(value, str) else json.dumps(value)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _problems(name: str, kind: str, details: Mapping[str, Any], raw: Any, origin: str) -> list[str]:
    value = _coerced(kind, raw)
    matches = {
        "array": isinstance(value, list),
        "boolean": isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "string": not isinstance(raw, list | dict),
    }
    found = []
    if not matches[kind]:
        found.append(f"`{name}` input: {origin} value is not {'an' if kind == 'array' else 'a'} {kind}")
    if options := details.get("options"):
        if kind not in ("string", "number"):
            found.append(f"`{name}` input: Options can only be used with string and number inputs")
        elif value not in options and str(value) not in map(str, options):
            found.append(f"`{name}` input: `{value}` cannot be used because it is not in the list of allowed options")
    if regex := details.get("regex"):
        if kind != "string":
            found.append(f"`{name}` input: RegEx validation can only be used with string inputs")
        elif not re.search(regex, str(value)):
            found.append(f"`{name}` input: {origin} value does not match required RegEx pattern")
    return found


def interpolate(node: Any, context: Mapping[str, Any], variables: Mapping[str, str]) -> Any:
    """A configuration with its `$[[ … ]]` blocks replaced. A block that is the whole value keeps its type.

    Raises InvalidInput.
    """
    if isinstance(node, dict):
        return {
            interpolate(key, context, variables): interpolate(value, context, variables) for key, value in node.items()
        }
    if isinstance(node, list):
        return type(node)(interpolate(item, context, variables) for item in node)
    if not isinstance(node, str) or "$[[" not in node:
        return node
    whole = _BLOCK.fullmatch(node)
    if whole:
        return _block(whole["data"], context, variables)
    return _BLOCK.sub(lambda match: _text(_block(match["data"], context, variables)), node)


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _block(data: str, context: Mapping[str, Any], variables: Mapping[str, str]) -> Any:
    access, *functions = (part.strip() for part in data.split("|"))
    if access.startswith("matrix."):
        return f"$[[ {data} ]]"
    value: Any = context
    for key in access.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise InvalidInput(f"unknown interpolation key: `{key}`")
        value = value[key]
    if len(functions) > _MAX_FUNCTIONS:
        raise InvalidInput("too many functions in interpolation block")
    for function in functions:
        value = _apply(function, value, variables)
    return value


def _apply(expression: str, value: Any, variables: Mapping[str, str]) -> str:
    functions: dict[str, Callable[[re.Match[str], str], str]] = {
        r"expand_vars": lambda _, text: expand(text, variables, keep_unknown=True),
        r"posix_escape": lambda _, text: (
            re.sub(r"([^A-Za-z0-9_\-.,:+/@\n])", r"\\\1", text).replace("\n", "'\n'") or "''"
        ),
        r"truncate\(\s*(\d+)\s*,\s*(\d+)\s*\)": lambda m, text: text[int(m[1]) : int(m[1]) + int(m[2])],
    }
    for pattern, function in functions.items():
        if match := re.fullmatch(pattern, expression):
            if not isinstance(value, str):
                raise InvalidInput(
                    f"invalid input type: {expression.split('(')[0]} can only be used with string inputs"
                )
            return function(match, value)
    raise InvalidInput(
        f"no function matching `{expression}`: check that the function name, arguments, and types are correct"
    )
