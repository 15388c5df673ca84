"""EventBridge's event patterns: read with every refusal of the service, and matched against an event.

AWS publishes the matcher, github.com/aws/event-ruler; what is accepted, in which words the rest is refused and how
arrays match follow it. There is no sound port of it to Python: moto's knows no refusals and flattens arrays of objects.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sandbox.aws import java_json
from sandbox.aws.events import wildcards

Matcher = Callable[[Any], bool]
_RESERVED = frozenset(
    "exactly equals-ignore-case prefix suffix anything-but exists wildcard numeric cidr = < <= > >= regex not-wildcard "
    "not-equals-ignore-case date-after date-on-or-after date-before date-on-or-before in-date-range "
    "ip-address-in-range ip-address-not-in-range".split()
)
"""Names that no field may have inside $or."""


class InvalidPattern(ValueError):
    """The pattern is refused; the text is EventBridge's reason."""


class Field(NamedTuple):
    """What one field of an event must be: one of the matchers holds for a value, or it may be missing."""

    matchers: tuple[Matcher, ...]
    may_be_missing: bool


class Leaf(NamedTuple):
    """A value that is neither object nor array, and in which object of which array it stands."""

    value: Any
    places: Mapping[int, int]


class Pattern:
    """A pattern as alternatives ($or), each a field by path; keys of a path are joined by dots."""

    def __init__(self, alternatives: list[dict[str, Field]]) -> None:
        self._alternatives = alternatives

    def matches(self, event: Mapping[str, Any]) -> bool:
        leaves: dict[str, list[Leaf]] = {}
        for path, leaf in _leaves(event, "", {}, itertools.count()):
            leaves.setdefault(path, []).append(leaf)
        return any(_fits(list(fields.items()), leaves, {}) for fields in self._alternatives)


def _leaves(node: Any, path: str, places: Mapping[int, int], arrays: Iterator[int]) -> Iterator[tuple[str, Leaf]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else key, places, arrays)
    elif isinstance(node, list):
        array = next(arrays)
        for index, item in enumerate(node):
            yield from _leaves(item, path, {**places, array: index} if isinstance(item, dict) else places, arrays)
    else:
        yield path, Leaf(node, places)


def _fits(fields: list[tuple[str, Field]], leaves: Mapping[str, list[Leaf]], places: Mapping[int, int]) -> bool:
    """Whether all fields fit values that stand in the same objects of arrays."""
    if not fields:
        return True
    (path, field), rest = fields[0], fields[1:]
    if field.may_be_missing and path not in leaves and _fits(rest, leaves, places):
        return True
    return any(
        _fits(rest, leaves, {**places, **leaf.places})
        for leaf in leaves.get(path, [])
        if all(places.get(array, index) == index for array, index in leaf.places.items())
        and any(matcher(leaf.value) for matcher in field.matchers)
    )


# --- reading --------------------------------------------------------------------------------------------------------


def read(text: str) -> Pattern:
    """Raises InvalidPattern."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidPattern(java_json.reason(error)) from error
    if not isinstance(document, dict):
        raise InvalidPattern("Filter is not an object")
    alternatives: list[dict[str, Field]] = []
    _read_object(alternatives, "", document, inside_or=False)
    return Pattern(alternatives)


def _read_object(alternatives: list[dict[str, Field]], path: str, node: dict[str, Any], *, inside_or: bool) -> None:
    """Add the fields of one object to every alternative so far."""
    if not node:
        raise InvalidPattern("Empty objects are not allowed")
    for key, value in node.items():
        below = f"{path}.{key}" if path else key
        if key == "$or":
            _read_or(alternatives, path, value)
        elif inside_or and key in _RESERVED:
            raise InvalidPattern(f"{key} is Ruler reserved fieldName which cannot be used inside $or.")
        elif isinstance(value, dict):
            _read_object(alternatives, below, value, inside_or=inside_or)
        elif isinstance(value, list):
            field = _read_field(value)
            alternatives[:] = [each | {below: field} for each in alternatives or [{}]]
        else:
            raise InvalidPattern(f'"{key}" must be an object or an array')


def _read_or(alternatives: list[dict[str, Field]], path: str, node: Any) -> None:
    if not isinstance(node, list):
        raise InvalidPattern("It must be an Array followed with $or.")
    before, after = list(alternatives) or [{}], list[dict[str, Field]]()
    for each in node:
        if not isinstance(each, dict):
            raise InvalidPattern("Only JSON object is allowed in array of $or relationship.")
        requirements = list(before)
        _read_object(requirements, path, each, inside_or=True)
        after += requirements
    if len(node) < 2:
        raise InvalidPattern("There must have at least 2 Objects in $or relationship.")
    alternatives[:] = after


def _read_field(values: list[Any]) -> Field:
    matchers: list[Matcher] = []
    missing = False
    for value in values:
        if isinstance(value, list):
            raise InvalidPattern("Match value must be String, number, true, false, or null")
        if not isinstance(value, dict):
            matchers.append(_exactly(value))
        elif list(value) == ["exists"] and value["exists"] is False:
            missing = True
        else:
            matchers.append(_read_expression(value))
    if not values:
        raise InvalidPattern("Empty arrays are not allowed")
    return Field(tuple(matchers), missing)


def _read_expression(expression: dict[str, Any]) -> Matcher:
    if not expression:
        raise InvalidPattern("Match expression name not found")
    name, value = next(iter(expression.items()))
    if name not in _EXPRESSIONS:
        raise InvalidPattern(f"Unrecognized match type {name}")
    matcher = _EXPRESSIONS[name](value)
    if len(expression) > 1:
        many = name in ("numeric", "anything-but")
        raise InvalidPattern(
            "Too many elements in numeric expression" if many else "Only one key allowed in match expression"
        )
    return matcher


# --- values ---------------------------------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _address(value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _exactly(value: Any) -> Matcher:
    if address := _address(value):
        return lambda own: _address(own) == address
    # True is 1 to Python.
    return lambda own: own == value and isinstance(own, bool) == isinstance(value, bool)


def _of_text(value: Any, name: str, test: Callable[[str, str], bool]) -> Matcher:
    if not isinstance(value, str):
        raise InvalidPattern(f"{name} match pattern must be a string")
    return lambda own: isinstance(own, str) and test(own, value)


def _same_in_any_case(own: str, text: str) -> bool:
    return own.lower() == text.lower()


def _affix(name: str, test: Callable[[str, str], bool]) -> Callable[[Any], Matcher]:
    """prefix and suffix: a text, or one whose case does not count."""

    def read(value: Any) -> Matcher:
        if not isinstance(value, dict):
            return _of_text(value, name, test)
        if not value:
            raise InvalidPattern(f"{name.capitalize()} expression name not found")
        operator, text = next(iter(value.items()))
        if operator != "equals-ignore-case":
            raise InvalidPattern(f"Unsupported {name} pattern: {operator}")
        matcher = _of_text(text, operator, lambda own, part: test(own.lower(), part.lower()))
        if len(value) > 1:
            raise InvalidPattern("Only one key allowed in match expression")
        return matcher

    return read


def _exists(value: Any) -> Matcher:
    if not isinstance(value, bool):
        raise InvalidPattern("exists match pattern must be either true or false.")
    return lambda _: value  # a leaf is there


def _wildcard(value: Any) -> Matcher:
    if not isinstance(value, str):
        raise InvalidPattern("wildcard match pattern must be a string")
    try:
        expression = wildcards.read(value)
    except ValueError as error:
        raise InvalidPattern(str(error)) from error
    return lambda own: isinstance(own, str) and expression.fullmatch(own) is not None


def _cidr(value: Any) -> Matcher:
    if not isinstance(value, str):
        raise InvalidPattern("prefix match pattern must be a string")  # EventBridge's own words
    parts = value.split("/")
    if len(parts) != 2:
        raise InvalidPattern("Malformed CIDR, one '/' required")
    if not re.fullmatch(r"[+-]?\d+", parts[1]):
        raise InvalidPattern("Malformed CIDR, mask bits must be an integer")
    bits, address = int(parts[1]), _address(parts[0])
    if bits < 0:
        raise InvalidPattern("Malformed CIDR, mask bits must not be negative")
    if address is None:
        raise InvalidPattern(f"Nonstandard IP address: {parts[0]}")
    if bits >= address.max_prefixlen:
        raise InvalidPattern(f"IPv{address.version} mask bits must be < {address.max_prefixlen}")
    network = ipaddress.ip_network(f"{parts[0]}/{bits}", strict=False)
    return lambda own: (other := _address(own)) is not None and other in network


_EQUAL: dict[str, Callable[[float, float], bool]] = {"=": lambda a, b: a == b}
_LOWER: dict[str, Callable[[float, float], bool]] = {">": lambda a, b: a > b, ">=": lambda a, b: a >= b}
_UPPER: dict[str, Callable[[float, float], bool]] = {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b}


def _numeric(value: Any) -> Matcher:
    """`["=", 1]`, one bound, or a lower and an upper one."""
    if not isinstance(value, list):
        raise InvalidPattern("Value of numeric must be an array.")
    operator = value[0] if value else "]"
    if not isinstance(operator, str) or not value:
        raise InvalidPattern(f"Invalid member in numeric match: {_as_json(operator)}")
    tests = _EQUAL | _LOWER | _UPPER
    if operator not in tests:
        raise InvalidPattern(f"Unrecognized numeric range operator: {operator}")
    if not _is_number_at(value, 1):
        raise InvalidPattern(f"Value of {'equals' if operator == '=' else operator} must be numeric")
    bounds = [(tests[operator], value[1])]
    if len(value) > 2:
        if operator not in _LOWER:
            raise InvalidPattern("Too many elements in numeric expression")
        bounds.append(_upper_bound(value))
    return lambda own: _is_number(own) and all(test(own, bound) for test, bound in bounds)


def _upper_bound(value: list[Any]) -> tuple[Callable[[float, float], bool], float]:
    operator = value[2]
    if not isinstance(operator, str):
        raise InvalidPattern(f"Bad value in numeric range: {_as_json(operator)}")
    if operator not in _UPPER:
        raise InvalidPattern(f"Bad numeric range operator: {operator}")
    if not _is_number_at(value, 3):
        raise InvalidPattern(f"Value of {operator} must be numeric")
    if len(value) > 4:
        raise InvalidPattern("Too many terms in numeric range expression")
    if value[1] >= value[3]:
        raise InvalidPattern("Bottom must be less than top")
    return _UPPER[operator], value[3]


def _is_number_at(value: list[Any], index: int) -> bool:
    return index < len(value) and _is_number(value[index])


def _as_json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# --- anything-but ---------------------------------------------------------------------------------------------------

_BUT: dict[str, Callable[[Any], Matcher]] = {
    "equals-ignore-case": lambda text: lambda own: isinstance(own, str) and _same_in_any_case(own, text),
    "prefix": lambda text: lambda own: isinstance(own, str) and own.startswith(text),
    "suffix": lambda text: lambda own: isinstance(own, str) and own.endswith(text),
    "wildcard": _wildcard,
}


def _anything_but(value: Any) -> Matcher:
    """Holds for every value, null too, that is none of these."""
    operator = ""
    if isinstance(value, dict):
        if not value:
            raise InvalidPattern("Anything-But expression name not found")
        operator = next(iter(value))
        if operator not in _BUT:
            raise InvalidPattern(f"Unsupported anything-but pattern: {operator}")
        if len(value) > 1:
            raise InvalidPattern("Too many elements in numeric expression")
        value = value[operator]
    if not (isinstance(value, (list, str)) or _is_number(value)):
        raise InvalidPattern("Value of anything-but must be an array or single string/number value.")
    values = value if isinstance(value, list) else [value]
    _check_excluded(values, operator)
    excluded = [_BUT[operator](each) if operator else _exactly(each) for each in values]
    return lambda own: not any(matcher(own) for matcher in excluded)


def _check_excluded(values: list[Any], operator: str) -> None:
    if operator:
        for value in values:
            if not isinstance(value, str):
                raise InvalidPattern(_NO_TEXT.get(operator, "prefix/suffix match pattern must be a string"))
            if operator in ("prefix", "suffix") and not value:
                raise InvalidPattern("Null prefix/suffix not allowed")
        return
    if not all(isinstance(value, str) or _is_number(value) for value in values):
        raise InvalidPattern("Inside anything but list, start|null|boolean is not supported.")
    if len({isinstance(value, str) for value in values}) != 1:
        raise InvalidPattern(
            "Inside anything but list, either all values are number or string, mixed type is not supported"
        )


_NO_TEXT = {
    "equals-ignore-case": "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.",
    "wildcard": "wildcard match pattern must be a string",
}
_EXPRESSIONS: dict[str, Callable[[Any], Matcher]] = {
    "exactly": lambda value: _of_text(value, "exact", lambda own, text: own == text),
    "prefix": _affix("prefix", str.startswith),
    "suffix": _affix("suffix", str.endswith),
    "equals-ignore-case": lambda value: _of_text(value, "equals-ignore-case", _same_in_any_case),
    "wildcard": _wildcard,
    "numeric": _numeric,
    "anything-but": _anything_but,
    "exists": _exists,
    "cidr": _cidr,
}
