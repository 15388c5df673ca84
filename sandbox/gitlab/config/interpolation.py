"""`$[[ inputs.name | function ]]` replaced by what it stands for.

A block that is a whole value keeps its type, and a list within a list is spread out; within a longer text it is Ruby's
`to_s`. See lib/gitlab/ci/config/interpolation of GitLab.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sandbox.gitlab.config import ruby
from sandbox.gitlab.config.inputs import refused
from sandbox.gitlab.config.ruby import Symbols
from sandbox.gitlab.config.substitution import MaskedVariable, expanded_existing

_BLOCK = re.compile(r"(\$\[\[\s*(\S.*?\S)\s*\]\])", re.ASCII)
_MAX_FUNCTIONS, _MAX_BLOCKS, _MAX_NODES, _MAX_BYTES = 3, 10_000, 500_000, 1024 * 1024
_MAX_PARTS, _MAX_ACCESS, _MAX_INDICES = 5, 1024, 5
_INDEXED = re.compile(r"(\w*)((?:\[\d+\])+)", re.ASCII)
_TRUNCATE = re.compile(r"^truncate\(\s*(\d+)\s*,\s*(\d+)\s*\)?$", re.MULTILINE | re.ASCII)


class Context(NamedTuple):
    """What blocks can name, and the variables of `expand_vars`."""

    values: Mapping[str, Mapping[str, Any]]  # "inputs" and "component"
    variables: Mapping[str, str]
    masked: frozenset[str]


def interpolate(content: Mapping[Any, Any], context: Context) -> dict[Any, Any]:
    """The content with its blocks replaced. Raises InvalidConfiguration."""
    result = _Interpolation(context).node(content)
    return result if isinstance(result, dict) else Symbols()


class _Interpolation:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._blocks: dict[str, Any] = {}
        self._nodes = 0

    def node(self, node: Any) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise refused("config too large")
        if isinstance(node, dict):
            return Symbols((ruby.hashable(self.node(key)), self.node(value)) for key, value in node.items())
        if isinstance(node, list):
            items: list[Any] = []
            for item in node:
                value = self.node(item)
                items += value if isinstance(item, str) and isinstance(value, list) else [value]
            return items
        return self._text(str(node)) if isinstance(node, str) else node

    def _text(self, node: str) -> Any:
        if len(node.encode(errors="replace")) > _MAX_BYTES:
            raise refused("config node too large")
        if "$[[" not in node or not (matches := _BLOCK.findall(node)):
            return node
        blocks = [(block, self._block(block, data)) for block, data in matches]
        if len(blocks) == 1 and len(node) == len(blocks[0][0]):
            return blocks[0][1]
        for block, value in blocks:
            node = ruby.substituted(node, block, ruby.text(value))
        return node

    def _block(self, block: str, data: str) -> Any:
        if block not in self._blocks:
            if len(self._blocks) == _MAX_BLOCKS:
                raise refused("too many interpolation blocks")
            self._blocks[block] = self._value(block, data)
        return self._blocks[block]

    def _value(self, block: str, data: str) -> Any:
        # A bar at the end is followed by nothing.
        access, *functions = (part.strip() for part in data.rstrip("|").split("|"))
        if access.split(".")[0] == "matrix":
            return block  # replaced when the jobs of `parallel: matrix` are known
        value = accessed(access, self._context.values)
        if len(functions) > _MAX_FUNCTIONS:
            raise refused("too many functions in interpolation block")
        return self._applied(functions, value)

    def _applied(self, functions: Sequence[str], value: Any) -> Any:
        if unknown := [function for function in functions if _named(function) is None]:
            raise refused(
                *(
                    f"no function matching `{function}`: check that the function name, arguments, and types are correct"
                    for function in unknown
                )
            )
        for function in functions:
            name = _named(function)
            if not isinstance(value, str):
                raise refused(
                    f"error in `{name}` function: invalid input type: {name} can only be used with string inputs"
                )
            if name == "truncate" and (match := _TRUNCATE.search(function)):
                value = value[int(match[1]) : int(match[1]) + int(match[2])]
            elif name == "posix_escape":
                escaped = re.sub(r"[^A-Za-z0-9_\-.,:+/@\n]", r"\\\g<0>", value)
                value = escaped.replace("\n", "'\n'") or "''"
            else:
                value = self._expanded(value)
        return value

    def _expanded(self, value: str) -> str:
        try:
            return expanded_existing(value, self._context.variables, self._context.masked)
        except MaskedVariable as error:
            raise refused(
                "error in `expand_vars` function: variable expansion error: masked variables cannot be expanded"
            ) from error


def _named(function: str) -> str | None:
    if function in ("expand_vars", "posix_escape"):
        return function
    return "truncate" if _TRUNCATE.search(function) else None


def accessed(access: str, values: Mapping[str, Any]) -> Any:
    """The value at `inputs.name` or `inputs.list[0]`. Raises InvalidConfiguration."""
    parts = access.split(".", _MAX_PARTS - 1)
    problems = []
    if len(parts) <= 1:
        problems.append("invalid pattern used for interpolation. valid pattern is $[[ inputs.input ]]")
    if len(access.encode()) > _MAX_ACCESS:
        problems.append("maximum interpolation expression size exceeded")
    if problems:
        raise refused(*problems)
    value: Any = values
    for part in parts:
        value = _indexed(value, part, access) if "[" in part else _member(value, part, access)
    return value


def _member(value: Any, key: str, access: str) -> Any:
    if not isinstance(value, Mapping) or key not in value:
        raise refused(f"unknown interpolation provided: `{key}` in `{access}`")
    return value[key]


def _indexed(value: Any, part: str, access: str) -> Any:
    match = _INDEXED.fullmatch(part)
    if match is None:
        if part.count("[") != part.count("]"):
            raise refused(f"invalid array index in `{access}`: missing closing bracket")
        wrong = next((inside for inside in re.findall(r"\[([^\]]*)\]", part) if not inside.isdecimal()), None)
        if wrong is not None:
            raise refused(f"invalid array index in `{access}`: `{wrong}` is not a valid index")
        raise refused(f"invalid array index syntax in `{access}`")
    if not match[1]:
        raise refused(f"invalid indexed access without a key in `{access}`")
    indices = [int(index) for index in re.findall(r"\d+", match[2])]
    if len(indices) > _MAX_INDICES:
        raise refused(f"too many array indices in `{access}` (maximum depth: {_MAX_INDICES})")
    value = _member(value, match[1], access)
    for index in indices:
        if not isinstance(value, list):
            raise refused(f"cannot index into non-array value at [{index}] in `{access}`")
        if index >= len(value):
            raise refused(f"array index {index} out of bounds (size: {len(value)}) in `{access}`")
        value = value[index]
    return value
