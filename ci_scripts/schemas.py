"""A parsed document against its JSON Schema: what each field makes of its value, and all problems in plain words.

Called for stage configurations, quality.yml and exports.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ci_scripts import text
from ci_scripts.documents import BOOLEANS, LONGEST_NUMBER, Unquoted

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_FEW = 12
# What every reader of YAML and JSON takes for the same number.
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def is_ambiguous(value: Any) -> bool:
    """Whether an unquoted value is a boolean to some readers of YAML and text to others: `yes`, `NO`, `True`."""
    return isinstance(value, Unquoted) and value.lower() in BOOLEANS


def typed(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """`value` with Unquoted text made what the JSON Schema says of its field, where that is a number or a boolean.

    Text stays what it is in every other field, and where readers of YAML would not agree (`0500`, `1:30`, `1_000`).
    """
    root = schema if root is None else root
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        others = others if isinstance(others, Mapping) else {}
        return {key: typed(each, properties.get(key, others), root) for key, each in value.items()}
    if isinstance(value, list):
        return [typed(each, schema.get("items", {}), root) for each in value]
    if isinstance(value, Unquoted):
        kinds = schema.get("type", "")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if "boolean" in kinds and value.lower() in BOOLEANS:
            return BOOLEANS[value.lower()]
        if ("number" in kinds or "integer" in kinds) and (number := _number(value)) is not None:
            return number
    return value


def _number(value: str) -> int | float | None:
    if len(value) > LONGEST_NUMBER or not _NUMBER.fullmatch(value):
        return None
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(value) if re.fullmatch(r"[+-]?[0-9]+", value) else number


def problems(content: Any, schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Everything in which `content` breaks a JSON Schema, as path and problem, in the words of JSON."""
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(schema).iter_errors(content)
    broken = [each for error in errors for each in _problems(error)]
    return sorted(dict.fromkeys(broken))


def _problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    """A problem as a reader of the file would say it; jsonschema's own words print values and patterns whole."""
    rule: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    path = ".".join(text.short(str(part)) for part in error.absolute_path)
    value: Any = error.instance
    limit: Any = error.validator_value
    properties = rule.get("properties", {})
    description = str(rule.get("description", ""))
    phrase = description if re.match(r"(a|needs|text,) ", description) else ""  # others are sentences for editors
    match error.validator:
        case "additionalProperties":
            for key in value:
                if key not in properties:
                    yield path, f"there is no field {text.quoted(key)}{similar(key, properties) or _among(properties)}"
        case "required":
            for key in limit:
                if key not in value:
                    yield path, f"lacks {key}"
        case _ if phrase.startswith("needs "):
            yield path, phrase
        case "maxProperties":
            yield path, f"has {len(value):,} entries, at most {limit:,} are possible"
        case _ if phrase:
            yield path, f"{shown(value)} is not {phrase}"
        case "type":
            kinds = [limit] if isinstance(limit, str) else limit
            expected = ", ".join(f"'{kind}'" for kind in kinds)
            yield path, f"{shown(value)} is not of type {expected}{_why_no_number(value, kinds)}"
        case "enum":
            words = [str(each) for each in limit]
            yield path, f"{shown(value)} is not one of {', '.join(words)}{similar(str(value), words)}"
        case "minimum":
            yield path, f"{shown(value)} is less than the minimum of {limit}"
        case "maximum":
            yield path, f"{shown(value)} is more than the maximum of {limit}"
        case "minItems":
            yield path, f"has {len(value)} entries, at least {limit} are needed"
        case "uniqueItems":
            yield path, "has two entries that are the same"
        case "minLength" if value == "":
            yield path, "is empty"
        case "pattern":
            yield path, f"{shown(value)} does not match {text.short(str(limit), 200)}"
        case _:
            yield path, text.short(str(error.message), 200)


def _why_no_number(value: Any, kinds: Any) -> str:
    if not (isinstance(value, Unquoted) and {"number", "integer"} & set(kinds) and re.match(r"[+-]?\.?[0-9]", value)):
        return ""
    if len(value) > LONGEST_NUMBER or _NUMBER.fullmatch(value):
        return ": it is too large"
    return ": readers of YAML differ on it; write digits without leading zeros, with a point if need be"


def similar(name: str, candidates: Iterable[Any]) -> str:
    """` (did you mean …?)`, or nothing."""
    names = [str(each) for each in candidates]
    lowered = {each.lower(): each for each in names}
    lowercase = name[:100].lower()
    # `label` is far from `label_column` by its letters, and near by its words.
    close = get_close_matches(lowercase, lowered, n=1) or [
        each for each in sorted(lowered) if lowercase in each.split("_")
    ]
    return f" (did you mean {lowered[close[0]]}?)" if close else ""


def _among(candidates: Iterable[Any]) -> str:
    """` (there are …)`, for a name that is like none of a few."""
    names = [str(each) for each in candidates if not str(each).startswith("$")]
    return f" (there are {', '.join(names)})" if 0 < len(names) <= _FEW else ""


def shown(value: Any, longest: int = 60) -> str:
    """A value in a message, as JSON writes it, shortened."""
    if isinstance(value, Unquoted):
        return text.short(value, longest)
    if isinstance(value, str):
        return text.short(json.dumps(value[: longest + 1], ensure_ascii=False), longest)
    if isinstance(value, dict | list) and len(value) > longest:
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value):,} entries"
    if isinstance(value, dict):
        return text.short(f"{{{', '.join(f'{shown(key)}: {shown(each)}' for key, each in value.items())}}}", longest)
    if isinstance(value, list):
        return text.short(f"[{', '.join(shown(each) for each in value)}]", longest)
    return text.short(json.dumps(value), longest)
