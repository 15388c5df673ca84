"""Whether a value is what a shape of botocore's service models says: members, types, enums, patterns, lengths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import re2
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape


class Problem(NamedTuple):
    """What is wrong at a path of members: a constraint in the words that AWS's services have for it."""

    path: str
    value: Any
    constraint: str

    def __str__(self) -> str:
        return f"{self.path or 'the answer'} is {str(self.value)[:200]!r}: {self.constraint}"


def problems(shape: Shape, value: Any, path: str = "", *, skip: frozenset[str] = frozenset()) -> Iterator[Problem]:
    """Everything that is wrong with a value as JSON has it; `skip` names members of the top that are not in it."""
    if value is None:
        yield Problem(path, value, "Member must not be null")
    elif isinstance(shape, StructureShape):
        yield from _structure(shape, value, path, skip)
    elif isinstance(shape, ListShape):
        yield from _list(shape, value, path)
    elif isinstance(shape, MapShape):
        yield from _map(shape, value, path)
    elif isinstance(shape, StringShape) or shape.type_name == "character":
        yield from _string(shape, value, path)
    else:
        yield from _scalar(shape, value, path)


def _structure(shape: StructureShape, value: Any, path: str, skip: frozenset[str]) -> Iterator[Problem]:
    if shape.metadata.get("document"):
        return
    if not isinstance(value, dict):
        yield Problem(path, value, "Member must be a structure")
        return
    # Under the name of the wire or, where a parser has read it, the member's own.
    names = {member.serialization.get("name", name): (name, member) for name, member in shape.members.items()}
    names |= {name: (name, member) for name, member in shape.members.items()}
    for name in shape.required_members:
        if name not in skip and not {name, shape.members[name].serialization.get("name", name)} & value.keys():
            yield Problem(f"{path}.{name}".lstrip("."), None, "Member must not be null")
    for key, each in value.items():
        if key in names:
            name, member = names[key]
            yield from problems(member, each, f"{path}.{name}".lstrip("."))
        else:
            yield Problem(f"{path}.{key}".lstrip("."), each, "The model has no such member")


def _list(shape: ListShape, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield Problem(path, value, "Member must be a list")
        return
    yield from _length(shape, value, path)
    for index, each in enumerate(value):
        yield from problems(shape.member, each, f"{path}.{index + 1}.member")


def _map(shape: MapShape, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem(path, value, "Member must be a map")
        return
    yield from _length(shape, value, path)
    for key, each in value.items():
        yield from problems(shape.key, key, f"{path}.{key}.key")
        yield from problems(shape.value, each, f"{path}.{key}")


def _string(shape: Shape, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem(path, value, "Member must be a string")
        return
    pattern = shape.metadata.get("pattern")
    if pattern and not _fits(pattern, value):
        yield Problem(path, value, f"Member must satisfy regular expression pattern: {pattern}")
    yield from _length(shape, value, path)
    if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        yield Problem(path, value, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")


def _length(shape: Shape, value: Any, path: str) -> Iterator[Problem]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and len(value) < low:
        yield Problem(path, value, f"Member must have length greater than or equal to {low}")
    if high is not None and len(value) > high:
        yield Problem(path, value, f"Member must have length less than or equal to {high}")


_NUMBERS: dict[str, Any] = {"integer": int, "long": int, "float": (int, float), "double": (int, float)}


def _scalar(shape: Shape, value: Any, path: str) -> Iterator[Problem]:
    kind = shape.type_name
    if kind == "boolean" and not isinstance(value, bool):
        yield Problem(path, value, "Member must be a boolean")
    elif kind == "timestamp" and not isinstance(value, (int, float, str, datetime)):
        yield Problem(path, value, "Member must be a timestamp")
    elif kind in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, _NUMBERS[kind]):
            yield Problem(path, value, f"Member must be a number ({kind})")
            return
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and value < low:
            yield Problem(path, value, f"Member must have value greater than or equal to {low}")
        if high is not None and value > high:
            yield Problem(path, value, f"Member must have value less than or equal to {high}")


def _fits(pattern: str, value: str) -> bool:
    expression = _compiled(pattern)
    return expression is None or expression.fullmatch(value) is not None


@cache
def _compiled(pattern: str) -> Any:
    """A pattern of Java's kind; Python lacks its classes of letters, RE2 its look-ahead. None if it is neither's."""
    for compiler in (re2.compile, re.compile) if r"\p" in pattern else (re.compile,):
        try:
            return compiler(pattern)
        except (re.error, re2.error):
            continue
    return None
