"""What a target gets of an event: all of it, a part (InputPath), a constant (Input), or a template (InputTransformer).

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonpath_ng.ext import parse

PLACEHOLDER = re.compile(r"<([\w.-]+)>")
PREDEFINED = frozenset(
    "aws.events.rule-arn aws.events.rule-name aws.events.event aws.events.event.json "
    "aws.events.event.ingestion-time".split()
)


def as_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def text(target: Mapping[str, Any], rule_arn: str, rule_name: str, event: Mapping[str, Any]) -> str | None:
    """The text for a target; None where a template does not come out as JSON, which EventBridge does not send."""
    if "Input" in target:
        return str(target["Input"])
    if path := target.get("InputPath"):
        return as_json(_at(path, event))
    if transformer := target.get("InputTransformer"):
        paths = transformer.get("InputPathsMap") or {}
        values = {name: _at(path, event) for name, path in paths.items()}
        values |= {
            "aws.events.rule-arn": rule_arn,
            "aws.events.rule-name": rule_name,
            "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
            "aws.events.event.json": event,
            "aws.events.event.ingestion-time": event["time"],
        }
        return _fill(transformer["InputTemplate"], values)
    return as_json(event)


def _at(path: str, event: Mapping[str, Any]) -> Any:
    # A key with a dash is plain to EventBridge.
    quoted = re.sub(r"\.([\w-]*-[\w-]*)", r"['\1']", path)
    return next((match.value for match in parse(quoted).find(event)), None)


def _fill(template: str, values: Mapping[str, Any]) -> str | None:
    if template.lstrip().startswith('"'):
        # Lines of text in quotes: an object or a list loses its quotes.
        return PLACEHOLDER.sub(lambda match: _word(values.get(match[1])).replace('"', ""), template)
    filled = PLACEHOLDER.sub(lambda match: _value(template, match, values), template)
    try:
        return as_json(json.loads(filled))
    except ValueError:
        return None


def _value(template: str, match: re.Match[str], values: Mapping[str, Any]) -> str:
    """A placeholder's value in a template of JSON: within quotes as text, elsewhere as JSON."""
    value = values.get(match[1])
    inside_quotes = len(re.findall(r'(?<!\\)"', template[: match.start()])) % 2 == 1
    if inside_quotes:
        return _word(value)
    return '""' if value is None else as_json(value)


def _word(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else as_json(value)
