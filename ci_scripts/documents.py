"""JSON and YAML that people write, read strictly and within limits: the one reader for all of them.

Called for stage configurations, templates, quality.yml, exports and options. Numbers stay as they are written: YAML 1.1
and 1.2 disagree on what `0471` or `22:30` is, and a value that becomes a number and text again is another one
(`1.10`). What an unquoted value is, its field decides: schemas.py.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ci_scripts import repository, text

if TYPE_CHECKING:
    from ci_scripts.repository import AnyPath

MOST_BYTES = 1_000_000
"""Bytes of a file: CloudFormation's own limit for a template in S3."""
MOST_VALUES = 50_000
"""Values of a document, counted as often as an alias repeats them."""
DEEPEST = 100
"""Levels of mappings and lists in each other."""
LONGEST_NUMBER = 300
"""Characters of a number where a number is wanted."""

_NULLS = ("", "~", "null", "Null", "NULL")
BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}
_YAML = "tag:yaml.org,2002:"


class Malformed(ValueError):
    """The text is not the JSON or YAML it claims to be, or is beyond a limit; says where and why in one line."""


class Unquoted(str):
    """An unquoted value of YAML, or a number of JSON, as it is written: what it means is its field's to decide."""

    __slots__ = ()


def about(name: object, error: Exception) -> str:
    """A sentence on the file or option `name` that could not be read: Malformed or Unreadable says why."""
    problem = str(error)
    if "not JSON: " in problem:
        where, _, why = problem.partition("not JSON: ")
        return f"{name} is not JSON: {where}{why}"
    verbs = ("is ", "holds ", "cannot ", "leads ")
    return f"{name}{' ' if problem.startswith(verbs) else ': '}{problem}"


# --- files ---------------------------------------------------------------------------------------------------------


def read_text(path: AnyPath, base: AnyPath = ".", most: int = MOST_BYTES) -> str:
    """The text of a file of the repository of `base`. Raises Malformed, or Unreadable for what is no such file."""
    content = repository.read(path, most, base)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        utf_16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        raise Malformed("is not UTF-8 text" + (" but UTF-16: save it as UTF-8" if utf_16 else "")) from None


def parse_config(content: str, *, is_json: bool) -> Any:
    """A configuration: mappings, lists, text, Unquoted text, True, False and None."""
    return parse_json(content, as_written=True) if is_json else parse_yaml(content)


# --- JSON ----------------------------------------------------------------------------------------------------------


def parse_json(content: str, *, as_written: bool = False, most_values: int = MOST_VALUES) -> Any:
    """The content of JSON, its numbers as Python's, or Unquoted with `as_written`.

    Raises Malformed, also for a key that is there twice and for NaN and Infinity, which JSON does not have.
    """
    try:
        document = json.loads(
            content,
            object_pairs_hook=_unique,
            parse_int=Unquoted if as_written else _integer,
            parse_float=Unquoted if as_written else _decimal,
            parse_constant=_no_number,
        )
    except json.JSONDecodeError as error:
        raise Malformed(f"line {error.lineno}: not JSON: {error.msg}{_json_hint(error)}") from None
    except RecursionError:
        raise Malformed(f"is nested more than {DEEPEST} levels deep") from None
    _require_limits(document, most_values)
    return document


def _json_hint(error: json.JSONDecodeError) -> str:
    rest = error.doc[error.pos : error.pos + 2]
    before = error.doc[: error.pos].rstrip()[-1:]
    if rest[:1] == "#" or rest in ("//", "/*"):
        return " (JSON has no comments; YAML has, with #)"
    if rest[:1] in ("}", "]") and before == ",":
        return " (there is a comma after the last entry)"
    if rest[:1] == "'":
        return " (JSON takes double quotes only)"
    return ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Malformed(f"{text.quoted(key)} is there twice")
            seen.add(key)
    return mapping


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise Malformed(f"a number has more than {LONGEST_NUMBER} digits: {text.short(digits, 30)}")
    return int(digits)


def _decimal(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Malformed(f"a number is too large: {text.short(digits, 30)}")
    return number


def _no_number(name: str) -> NoReturn:
    raise Malformed(f"not JSON: {name} is no number there")


def _require_limits(document: Any, most_values: int) -> None:
    """Raise Malformed for too many values, too many levels, or text that no encoding can hold."""
    count, rest = 0, [(document, 1)]
    while rest:
        value, depth = rest.pop()
        count += 1
        if isinstance(value, str):
            _require_text(value)
        elif isinstance(value, dict):
            for key in value:
                _require_text(key)
            rest += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, list):
            rest += [(each, depth + 1) for each in value]
        if depth > DEEPEST:
            raise Malformed(f"is nested more than {DEEPEST} levels deep")
        if count + len(rest) > most_values:
            raise Malformed(f"holds more than {most_values:,} values")


def _require_text(value: str) -> None:
    if not value.isprintable() and re.search(r"[\ud800-\udfff]", value):
        raise Malformed(f"{text.quoted(value)} holds half of a surrogate pair, which is no character")


# --- YAML ----------------------------------------------------------------------------------------------------------


def parse_yaml(content: str) -> Any:
    """The content of YAML. Raises Malformed, also for a key that is there twice and for tags other than !!str.

    `true` and `false` are themselves, unquoted text is Unquoted; keys are text, as in JSON (`On:` is no boolean).
    """
    return _Builder(content, _config_scalar).document()


def parse_template(content: str) -> Any:
    """The content of a CloudFormation template, every scalar as the string that CloudFormation makes of it.

    Short forms (`!Ref`, `!Sub`, …) are accepted whatever their name; what they stand for is left out (None).
    """
    return _Builder(content, _template_scalar, short_forms=True).document()


def long_form(content: str, *path: str) -> Any:
    """The value at a path of keys of a template that `parse_template` reads, as JSON would have it: !Ref becomes Ref.

    None where there is nothing. https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
    """
    return _long_form(_node_at(content, path))


def with_entries(content: str, path: Sequence[str], entries: Mapping[str, Any]) -> str:
    """The template with more entries in the mapping at a path of keys, all else as it is written.

    Raises Malformed where there is no mapping, or an empty one.
    """
    node = _node_at(content, path)
    keys = node.value if hasattr(node, "flow_style") and isinstance(node.value, list) else []
    if not keys or not isinstance(keys[0], tuple):
        raise Malformed(f"{'.'.join(path)} is not a mapping with entries")
    mark = keys[0][0].start_mark
    end = ", " if node.flow_style else "\n" + " " * mark.column
    more = "".join(f"{json.dumps(key)}: {json.dumps(value)}{end}" for key, value in entries.items())
    return content[: mark.index] + more + content[mark.index :]


def _node_at(content: str, path: Sequence[str]) -> Any:
    """The node at a path of keys; None where there is none."""
    import yaml

    node = yaml.compose(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    for key in path:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for each, value in pairs if each.value == key), None)
    return node


def _long_form(node: Any) -> Any:
    if node is None:
        return None
    if isinstance(node.value, str):
        value: Any = _template_scalar(node.value) if not node.style and node.tag.startswith(_YAML) else node.value
    elif node.value and isinstance(node.value[0], tuple):
        value = {key.value: _long_form(each) for key, each in node.value}
    else:
        value = [_long_form(each) for each in node.value]
    if not node.tag.startswith("!"):
        return value
    function = node.tag.removeprefix("!")
    if function == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {function if function in ("Ref", "Condition") else f"Fn::{function}": value}


def _config_scalar(value: str) -> Any:
    if value in _NULLS:
        return None
    return {"true": True, "false": False}.get(value, Unquoted(value))


def _template_scalar(value: str) -> str | None:
    """`Default: 010` is "010", `[yes, no]` are "true" and "false"."""
    if value in _NULLS:
        return None
    if value.lower() in BOOLEANS and value in (value.lower(), value.capitalize(), value.upper()):
        return str(BOOLEANS[value.lower()]).lower()
    return value


class _Anchored:
    """What an anchor stands for, how many values that is and how many levels; unfinished while it is being read."""

    __slots__ = ("finished", "height", "size", "value")

    def __init__(self) -> None:
        self.finished, self.value, self.size, self.height = False, None, 0, 0


class _Builder:
    """One document out of the parser's events.

    Not PyYAML's constructors: those follow aliases without end, and fail in as many ways as there are tags.
    """

    def __init__(self, content: str, scalar: Callable[[str], Any], *, short_forms: bool = False) -> None:
        import yaml

        self.yaml, self.scalar, self.short_forms = yaml, scalar, short_forms
        # libyaml is faster by far; PyYAML brings it along wherever it has wheels.
        self.events: Iterator[Any] = yaml.parse(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        self.anchors: dict[str, _Anchored] = {}
        self.count = 0

    def document(self) -> Any:
        yaml = self.yaml
        try:
            value = None
            for event in self.events:
                if isinstance(event, yaml.DocumentStartEvent):
                    value = self._node(next(self.events), 1)[0]
                    if not isinstance(next(self.events), yaml.DocumentEndEvent):  # pragma: no cover - the parser's own
                        raise Malformed("not YAML")
                    if isinstance(following := next(self.events), yaml.DocumentStartEvent):
                        self._refuse(following, "a second document begins, only one is read")
            return value
        except yaml.MarkedYAMLError as error:
            where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
            raise Malformed(f"{where}not YAML: {text.short(str(error.problem), 200)}") from None
        except (yaml.YAMLError, UnicodeError) as error:
            raise Malformed(f"not YAML: {text.short(' '.join(str(error).split()), 200)}") from None

    def _node(self, event: Any, depth: int) -> tuple[Any, int]:
        """A value and its levels."""
        yaml = self.yaml
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        self._count(event, 1)
        if depth > DEEPEST:
            self._refuse(event, f"is nested more than {DEEPEST} levels deep")
        anchored = _Anchored()
        if event.anchor is not None:
            self.anchors[event.anchor] = anchored
        before = self.count
        height = 1
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value, height = self._sequence(depth)
        else:
            value, height = self._mapping(depth)
        value = self._tagged(event, value)
        anchored.value, anchored.size, anchored.height = value, self.count - before + 1, height
        anchored.finished = True
        return value, height

    def _alias(self, event: Any, depth: int) -> tuple[Any, int]:
        anchored = self.anchors.get(event.anchor)
        if anchored is None:
            self._refuse(event, f"*{text.short(event.anchor)} is no anchor of this document")
        if not anchored.finished:
            self._refuse(event, f"*{text.short(event.anchor)} contains itself")
        if depth + anchored.height - 1 > DEEPEST:
            self._refuse(event, f"is nested more than {DEEPEST} levels deep")
        self._count(event, anchored.size)
        return anchored.value, anchored.height

    def _scalar(self, event: Any) -> Any:
        value: str = event.value
        if event.implicit[0]:  # unquoted and without a tag
            return self.scalar(value)
        try:
            _require_text(value)
        except Malformed as error:
            self._refuse(event, str(error))
        return value

    def _sequence(self, depth: int) -> tuple[list[Any], int]:
        values, height = [], 0
        while not isinstance(event := next(self.events), self.yaml.SequenceEndEvent):
            value, levels = self._node(event, depth + 1)
            values.append(value)
            height = max(height, levels)
        return values, height + 1

    def _mapping(self, depth: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        height = 0
        while not isinstance(event := next(self.events), self.yaml.MappingEndEvent):
            if not isinstance(event, self.yaml.ScalarEvent):
                self._refuse(event, "a key is not text")
            key: str = event.value
            value, levels = self._node(next(self.events), depth + 1)
            height = max(height, levels)
            if key == "<<" and event.implicit[0]:
                merged = self._merged(event, value) | merged
                continue
            if key in values:
                self._refuse(event, f"{text.quoted(key)} is there twice")
            try:
                _require_text(key)
            except Malformed as error:
                self._refuse(event, str(error))
            values[key] = value
        return merged | values, height + 1

    def _merged(self, event: Any, value: Any) -> dict[str, Any]:
        """What `<<:` brings in; of several mappings the first wins: https://yaml.org/type/merge.html."""
        parts = value if isinstance(value, list) else [value]
        merged: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, dict):
                self._refuse(event, "<< takes a mapping, or a list of them")
            merged = part | merged
        return merged

    def _tagged(self, event: Any, value: Any) -> Any:
        tag: str | None = event.tag
        if tag is None or tag == "!":
            return value
        kind = tag.removeprefix(_YAML) if tag.startswith(_YAML) else ""
        if (kind == "str" and isinstance(value, str)) or (kind, type(value)) in (("map", dict), ("seq", list)):
            return str(value) if kind == "str" else value
        if self.short_forms and not kind:
            return None
        if self.short_forms and isinstance(value, str) and kind in ("int", "float", "bool", "null"):
            return self.scalar(value)
        name = f"!!{kind}" if kind else tag
        return self._refuse(event, f"the tag {text.short(name)} has no meaning here")

    def _count(self, event: Any, size: int) -> None:
        self.count += size
        if self.count > MOST_VALUES:
            self._refuse(event, f"holds more than {MOST_VALUES:,} values, those that aliases repeat counted")

    def _refuse(self, event: Any, problem: str) -> NoReturn:
        raise Malformed(f"line {event.start_mark.line + 1}: {problem}")
