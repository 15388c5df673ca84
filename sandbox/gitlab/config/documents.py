"""The documents of a configuration file, read as Ruby's YAML library reads them.

It takes YAML 1.1 in its own way: `1,000` is a number, `1e3` a text, `<<` wins or loses by where it stands, and dates
make the whole file invalid. See ScalarScanner and ToRuby in https://github.com/ruby/psych.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from sandbox.gitlab.config.errors import InvalidConfiguration
from sandbox.gitlab.config.ruby import Symbol, Symbols, blank, hashable, inspect

_BYTES, _DEPTH = 2 * 1024 * 1024, 100  # GitLab's max_yaml_size_bytes and max_yaml_depth
_NODE_BYTES = 40  # of every value that Ruby keeps
_DIVIDER = re.compile(r"^---[ \t\r\n\f\v]+", re.MULTILINE)


class Reference:
    """`!reference [job, keyword]`; `path` is None if it is written in another form."""

    def __init__(self, path: list[str] | None, written: str) -> None:
        self.path = path
        self.written = written


class Documents(NamedTuple):
    """The header with its `spec`, None where there is none, and the content."""

    header: dict[Any, Any] | None
    content: dict[Any, Any]


def load(text: str) -> Documents:
    """Raises InvalidConfiguration."""
    if len(text.encode(errors="replace")) > _BYTES:
        raise _refused("The provided YAML is too big")
    pieces = _DIVIDER.split(text, maxsplit=2) if text else []
    parsed = [value for piece in pieces if not blank(value := _parse(piece))]
    for document in parsed:
        if not isinstance(document, dict):
            raise _refused("Invalid configuration format")
    if len(parsed) > 1 and "spec" in parsed[0]:
        return Documents(parsed[0], parsed[-1])
    return Documents(None, parsed[0] if parsed else {})


def _refused(message: str) -> InvalidConfiguration:
    return InvalidConfiguration(message, category="yaml")


def _parse(text: str) -> Any:
    try:
        return _Reader(yaml.parse(text, Loader=yaml.CSafeLoader)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1} column {mark.column + 1}" if mark else ""
        context = f" {error.context}" if error.context else ""
        raise _refused(f"(<unknown>): {error.problem}{context}{where}") from error
    except yaml.YAMLError as error:
        raise _refused(f"(<unknown>): {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise _refused("The parsed YAML is too big") from error


class _Reader:
    """Builds the first document's value from the events of the parser."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._anchors: dict[str, Any] = {}
        self._sizes: dict[int, int] = {}
        self._size = 0

    def document(self) -> Any:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                value = self._value(next(self._events), 0)
                next(self._events)  # its end: only there is a plain scalar known to be no key
                return value
        return None

    def _value(self, event: yaml.Event, depth: int) -> Any:
        if depth > _DEPTH:
            raise _refused("The parsed YAML is too big")
        before = self._size
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _refused(f"An alias referenced an unknown anchor: {event.anchor}")
            value = self._anchors[event.anchor]
            self._count(self._sizes.get(id(value), _NODE_BYTES))
            return value
        self._count(_NODE_BYTES)
        if isinstance(event, yaml.ScalarEvent):
            self._count(len(event.value) if len(event.value) > _NODE_BYTES // 2 else 0)
            value = _scalar(event)
            self._keep(event.anchor, value)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(event, depth)
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(event, depth)
        else:
            raise _refused(f"(<unknown>): unexpected {type(event).__name__}")
        self._sizes[id(value)] = self._size - before
        return value

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > _BYTES:
            raise _refused("The parsed YAML is too big")

    def _keep(self, anchor: str | None, value: Any) -> None:
        if anchor:
            self._anchors[anchor] = value

    def _sequence(self, start: yaml.SequenceStartEvent, depth: int) -> Any:
        items: list[Any] = []
        self._keep(start.anchor, items)
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        if match := re.fullmatch(r"!(?:seq|ruby/array):(.*)", start.tag or ""):
            _only_known(match[1])
        if re.fullmatch(r"(?:!|tag:yaml\.org,2002:)omap", start.tag or ""):
            return _ordered(items)
        if start.tag == "!reference":
            texts = bool(items) and all(isinstance(item, str) for item in items)
            value = Reference(items if texts else None, inspect(items))
            self._keep(start.anchor, value)
            return value
        return items

    def _mapping(self, start: yaml.MappingStartEvent, depth: int) -> Any:
        mapping = Symbols()
        self._keep(start.anchor, mapping)
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            explicit = getattr(event, "tag", None) == "tag:yaml.org,2002:str"
            key = self._value(event, depth + 1)
            event = next(self._events)
            value = self._value(event, depth + 1)
            if not (key == "<<" and not explicit and _merge(mapping, event, value)):
                mapping[hashable(key)] = value
        _only_known(_class_of(start.tag))
        if start.tag == "!reference":
            return Reference(None, inspect(mapping))
        return mapping


def _ordered(items: list[Any]) -> Symbols:
    """`!!omap [a: 1, b: 2]`."""
    if not all(isinstance(each, dict) and each for each in items):
        raise _refused("Invalid YAML syntax")
    return Symbols(next(iter(each.items())) for each in items)


def _class_of(tag: str | None) -> str | None:
    """The class of Ruby's that a mapping's tag asks for."""
    kinds = {"set": "Psych::Set", "omap": "Psych::Omap"}
    if match := re.fullmatch(r"(?:!|tag:yaml\.org,2002:)(set|omap)", tag or ""):
        return kinds[match[1]]
    match = re.fullmatch(r"!(?:ruby/(?:object|struct|exception)(?::(.*))?|(?:ruby/hash|map):(.*))", tag or "")
    return None if match is None else next((name for name in match.groups() if name), "Object")


def _only_known(name: str | None) -> None:
    """GitLab lets YAML make no objects but its own."""
    if name:
        raise _refused(f"Tried to load unspecified class: {name}")


def _merge(mapping: Symbols, event: yaml.Event, value: Any) -> bool:
    """Merge what `<<` names; False if it is no mapping and `<<` an ordinary key."""
    if isinstance(event, yaml.SequenceStartEvent) and isinstance(value, list):
        if not all(isinstance(each, dict) for each in value):
            return False
        for each in reversed(value):
            mapping.update(each)
        return True
    if isinstance(value, dict) and not isinstance(event, yaml.ScalarEvent):
        mapping.update(value)
        return True
    return False


# --- scalars ----------------------------------------------------------------------------------------------------------

_TEXT = re.compile(r"[^\d.:-]?(?:[^\W\d]|[_ \t\r\n\f\v!@#$%^&*(){}<>|/\\~;=])+")
_TIME = re.compile(
    r"-?\d{4}-\d{1,2}-\d{1,2}(?:[Tt]|\s+)\d{1,2}:\d\d:\d\d(?:\.\d*)?(?:\s*(?:Z|[-+]\d{1,2}:?(\d\d)?))?", re.ASCII
)
_DATE = re.compile(r"\d{4}-(?:1[012]|0\d|\d)-(?:[12]\d|3[01]|0\d|\d)", re.ASCII)
_SIXTIES = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9]){1,2}")
_SIXTIES_FLOAT = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9]){1,2}\.[0-9_]*")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_,]*)?\.[0-9]*([eE][+-][0-9]+)?")
_INTEGERS = {
    2: re.compile(r"[-+]?0b[_,]*[0-1][0-1_,]*"),
    8: re.compile(r"[-+]?0[_,]*[0-7][0-7_,]*"),
    10: re.compile(r"[-+]?(?:0|[1-9](?:[0-9]|,[0-9]|_[0-9])*)"),
    16: re.compile(r"[-+]?0x[_,]*[0-9a-fA-F][0-9a-fA-F_,]*"),
}
_WORDS = {
    "~": None, "null": None, "yes": True, "true": True, "on": True, "no": False, "false": False, "off": False,
}  # fmt: skip


def _scalar(event: yaml.ScalarEvent) -> Any:
    value, tag = str(event.value), event.tag
    if tag == "!reference":
        return Reference(None, inspect(value))
    if event.implicit[1]:  # quoted, and of no tag
        return value
    if tag in (None, "!"):
        return scan(value)
    if tag in ("!binary", "tag:yaml.org,2002:binary"):
        try:
            return base64.b64decode(value, validate=False).decode(errors="replace")
        except binascii.Error:
            return value
    if match := re.fullmatch(r"!(?:str|ruby/string)(?::(.*))?", tag):
        _only_known(match[1])
        return value
    if tag == "tag:yaml.org,2002:str":
        return value
    if tag in ("tag:yaml.org,2002:float", "!float"):
        number = scan(value)
        try:
            return float(number)
        except (TypeError, ValueError) as error:
            raise _refused("Invalid YAML syntax") from error
    if re.match(r"!ruby/sym(bol)?", tag):
        return Symbol(value)
    if match := re.match(r"!ruby/(class|module|regexp|range|object:(?:BigDecimal|DateTime|Complex|Rational))", tag):
        raise _refused(f"Tried to load unspecified class: {match[1].removeprefix('object:').capitalize()}")
    return scan(value)


def scan(value: str) -> Any:
    """What a plain scalar is."""
    if not value:
        return None
    if _TEXT.match(value) or "\n" in value:
        return value if len(value) > len("false") else _WORDS.get(value.lower(), value)
    if _TIME.fullmatch(value):
        raise _refused("Tried to load unspecified class: Time")
    if _DATE.fullmatch(value):
        raise _refused("Tried to load unspecified class: Date")
    if value.lower() in (".inf", "+.inf", "-.inf", ".nan"):
        return float(value.replace(".", ""))
    if len(value) > 1 and value.startswith(":"):
        quoted = re.fullmatch(r""":["'](.+)["']""", value)
        return Symbol(quoted[1] if quoted else value[1:])
    return _number(value)


def _number(value: str) -> Any:
    # Ruby counts minutes and seconds from the left, so that 1:30 is an hour and a half.
    parts = list(enumerate(value.replace("_", "").split(":")))
    if _SIXTIES.fullmatch(value):
        return sum(int(part) * 60 ** abs(place - 2) for place, part in parts)
    if _SIXTIES_FLOAT.fullmatch(value):
        return sum(float(part) * 60 ** abs(place - 2) for place, part in parts)
    if _FLOAT.fullmatch(value):
        return value if value.strip("+-") == "." else float(value.translate({44: None, 95: None}))
    digits = value.translate({44: None, 95: None})
    for base, pattern in _INTEGERS.items():
        if pattern.fullmatch(value):
            try:
                return int(digits, base)
            except ValueError:  # more digits than Python reads
                return value
    return value
