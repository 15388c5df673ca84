"""Stage configurations: `staging-config.json` and its like, checked against the template that they fill in.

Called by `build`. Everything here is a function of values and finds all problems, so that one run names them all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from ci_scripts.deployment.documents import Malformed, parse_config
from ci_scripts.deployment.template import FILE as TEMPLATE
from ci_scripts.deployment.template import Problem

SUFFIXES = (".json", ".yml", ".yaml")

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
_LONGEST_VALUE = 4096  # bytes
_MOST_TAGS = 50

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)

Declaration = Mapping[str, Any]


def find(folder: Path, stage: str) -> tuple[Path | None, list[Problem]]:
    """The one file that configures `stage`."""
    there = [path for suffix in SUFFIXES if (path := folder / f"{stage}-config{suffix}").is_file()]
    if len(there) > 1:
        return None, [Problem(there[0].name, "", f"is one of two files for one stage: {there[1].name} is there too")]
    if not there:
        return None, [Problem(f"{stage}-config.json", "", "is missing")]
    return there[0], []


def load(path: Path) -> tuple[Any, list[Problem]]:
    """The content of a stage configuration, and what is wrong with its shape."""
    try:
        content = parse_config(path.read_bytes().decode("utf-8-sig"), is_json=path.suffix == ".json")
    except UnicodeDecodeError:
        return None, [Problem(path.name, "", "is not UTF-8 text")]
    except Malformed as error:
        return None, [Problem(path.name, "", str(error))]
    schema = json.loads(files(__package__).joinpath("stage-config.schema.json").read_text("utf-8"))
    errors = Draft202012Validator(schema).iter_errors(content)
    return content, [Problem(path.name, _path(each), _shape(each)) for each in errors]


def _path(error: ValidationError) -> str:
    return ".".join(str(part) for part in error.absolute_path)


def _shape(error: ValidationError) -> str:
    """What the schema's own words say where jsonschema would print a pattern."""
    rule = error.schema if isinstance(error.schema, Mapping) else {}
    if error.validator in ("type", "additionalProperties", "maxProperties") or "description" not in rule:
        return error.message
    shown = json.dumps(error.instance)
    return f"{shown if len(shown) <= 60 else shown[:57] + '...'} is not {rule['description']}"


def supply_problems(declared: Mapping[str, Declaration], supplied: Mapping[str, str | None]) -> list[Problem]:
    """What the template refuses of the values that build sets."""
    return [
        Problem(TEMPLATE, f"Parameters.{name}", f"is set by build, but {text}")
        for name, value in supplied.items()
        if name in declared and value is not None
        for text in value_problems(value, declared[name])
    ]


def problems(
    file: str, content: Mapping[str, Any], declared: Mapping[str, Declaration], supplied: Mapping[str, str | None]
) -> list[Problem]:
    """Everything in a well-shaped stage configuration that CloudFormation would refuse.

    `declared` is the template's `Parameters:` section, `supplied` the values that build itself sets.
    """
    given = content.get("Parameters", {})
    found = []
    for name, value in given.items():
        if name not in declared:
            found.append((name, f"the template declares no such parameter{_similar(name, declared, supplied)}"))
        elif name in supplied:
            # The sample configurations of AWS name their own stage: saying the same does no harm.
            if as_text(value) != supplied[name]:
                found.append((name, "is set by build: remove it here"))
        else:
            found += [(name, text) for text in value_problems(value, declared[name])]
    for name, declaration in declared.items():
        if name not in given and name not in supplied and "Default" not in declaration:
            found.append((name, "is missing: the template declares it without a Default"))
    return [Problem(file, f"Parameters.{name}", text) for name, text in found]


def _similar(name: str, declared: Mapping[str, Declaration], supplied: Mapping[str, str | None]) -> str:
    close = get_close_matches(name, declared.keys() - supplied.keys(), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def tag_problems(file: str, tags: Mapping[str, str]) -> list[Problem]:
    """What is wrong with a stage's tags as a whole, those that build adds included."""
    if len(tags) <= _MOST_TAGS:
        return []
    return [Problem(file, "Tags", f"{len(tags)} tags with those of build; a stack has at most {_MOST_TAGS}")]


def value_problems(value: Any, declaration: Declaration) -> list[str]:
    """What a parameter's declaration says against `value`.

    The rules: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
    """
    kind = declaration["Type"]
    if isinstance(value, list) and not _is_list(kind):
        return [f"is a list, the template wants a {kind}"]
    found = list(_item_problems(_items(value, kind), declaration))
    if kind == "String":
        found += _length_problems(as_text(value), declaration)
    if len(as_text(value).encode()) > _LONGEST_VALUE:
        found.append(f"is longer than CloudFormation's limit of {_LONGEST_VALUE:,} bytes")
    reason = declaration.get("ConstraintDescription")
    return [f"{text} ({reason})" if reason else text for text in found]


def _item_problems(items: Sequence[str], declaration: Declaration) -> Iterator[str]:
    for item in items:
        if "Number" in declaration["Type"]:
            number = _number(item)
            if number is None:
                yield f"{item!r} is not a number"
                continue
            yield from _range_problems(item, number, declaration)
        allowed = [as_text(each) for each in declaration.get("AllowedValues") or []]
        if allowed and item not in allowed:
            yield f"{item!r} is not one of the AllowedValues {', '.join(allowed)}"
        pattern = declaration.get("AllowedPattern")
        if pattern and not _matches(str(pattern), item):
            yield f"{item!r} does not match the AllowedPattern {pattern}"


def _range_problems(item: str, number: Decimal, declaration: Declaration) -> Iterator[str]:
    low, high = _number(declaration.get("MinValue")), _number(declaration.get("MaxValue"))
    if low is not None and number < low:
        yield f"{item} is less than the MinValue {low}"
    if high is not None and number > high:
        yield f"{item} is more than the MaxValue {high}"


def _length_problems(text: str, declaration: Declaration) -> Iterator[str]:
    low, high = _number(declaration.get("MinLength")), _number(declaration.get("MaxLength"))
    if low is not None and len(text) < low:
        yield f"{text!r} is shorter than the MinLength {low}"
    if high is not None and len(text) > high:
        yield f"{text!r} is longer than the MaxLength {high}"


def _number(text: Any) -> Decimal | None:
    stripped = str(text).strip()
    return Decimal(stripped) if _NUMBER.fullmatch(stripped) else None  # Decimal alone also takes 1_000 and NaN


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.fullmatch(pattern, text) is not None
    except re.error:
        return True  # a Java pattern that Python cannot read: CloudFormation itself will apply it


def _is_list(kind: str) -> bool:
    return kind == "CommaDelimitedList" or kind.startswith("List<")


def _items(value: Any, kind: str) -> list[str]:
    """The values that CloudFormation checks one by one."""
    if isinstance(value, list):
        return [as_text(each) for each in value]
    text = as_text(value)
    return [part.strip() for part in text.split(",")] if _is_list(kind) else [text]


def as_text(value: Any) -> str:
    """A value as CloudFormation takes it: all parameters and tags are strings, lists are joined by commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(as_text(each) for each in value)
    return str(value)
