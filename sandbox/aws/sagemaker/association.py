"""Which part of a record batch transform sends, and which of input and answer it stores: filters and joins.

Pure; transform.py reads the files and asks the model. The JSONPath operators are the five that SageMaker documents:
https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform-data-processing.html
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_SELECTOR = re.compile(r"\.([A-Za-z_][\w-]*)|\[([^\[\]]+)\]")
_NAMES = re.compile(r"'[^']*'(\s*,\s*'[^']*')*")
_RANGE = re.compile(r"(-?\d*):(-?\d*)|-?\d+")
_ANSWER, _INPUT = "SageMakerOutput", "SageMakerInput"


class Unusable(Exception):
    """A filter that cannot be read, or that does not fit the data; the text says what."""


class Association(NamedTuple):
    """DataProcessing of a transform job, over values: a row of CSV is a list of texts, JSON is what it is."""

    input_filter: str = "$"
    output_filter: str = "$"
    joins: bool = False

    @classmethod
    def of(cls, processing: Mapping[str, str] | None) -> Association:
        """Raises Unusable for a filter that is none."""
        settings = processing or {}
        association = cls(
            settings.get("InputFilter", "$"),
            settings.get("OutputFilter", "$"),
            settings.get("JoinSource", "None") == "Input",
        )
        for path in (association.input_filter, association.output_filter):
            _steps(path)
        return association

    @property
    def is_plain(self) -> bool:
        """Whether bytes may pass as they are."""
        return self == Association()

    def sent(self, record: Any) -> Any:
        return select(record, self.input_filter)

    def stored(self, record: Any, answer: Any) -> Any:
        return select(_joined(record, answer) if self.joins else answer, self.output_filter)


def _joined(record: Any, answer: Any) -> Any:
    if isinstance(record, Mapping):
        return {**record, _ANSWER: answer}
    if isinstance(record, list) and isinstance(answer, list):
        return [*record, *answer]
    return {_INPUT: record, _ANSWER: answer}


# --- JSONPath -------------------------------------------------------------------------------------------------------

_Step = Callable[[Any], Any]


def select(value: Any, path: str) -> Any:
    """The part of a value that a path names. Raises Unusable where it has none such."""
    for step in _steps(path):
        value = step(value)
    return value


def _steps(path: str) -> list[_Step]:
    if not path.startswith("$"):
        raise Unusable(f"{path} is no JSONPath: it does not begin with $")
    rest, steps = path[1:], []
    while rest:
        match = _SELECTOR.match(rest)
        if match is None:
            raise Unusable(f"{path} has an operator that batch transform does not have")
        name, inside = match.groups()
        steps.append(_names(path, [name]) if name else _bracket(path, inside.strip()))
        rest = rest[match.end() :]
    return steps


def _bracket(path: str, inside: str) -> _Step:
    if _NAMES.fullmatch(inside):
        return _names(path, [each.strip()[1:-1] for each in inside.split(",")])
    parts = [each.strip() for each in inside.split(",")]
    if not all(_RANGE.fullmatch(each) for each in parts):
        raise Unusable(f"{path} has an operator that batch transform does not have")
    return _items(path, parts)


def _names(path: str, names: list[str]) -> _Step:
    def step(value: Any) -> Any:
        if not isinstance(value, Mapping) or not all(name in value for name in names):
            raise Unusable(f"{path} names an attribute that the data does not have")
        return value[names[0]] if len(names) == 1 else {name: value[name] for name in names}

    return step


def _items(path: str, parts: list[str]) -> _Step:
    def step(value: Any) -> Any:
        if not isinstance(value, list):
            raise Unusable(f"{path} asks for items of what is no list")
        selected: list[Any] = []
        for part in parts:
            if ":" in part:
                start, end = (int(each) if each else None for each in part.split(":"))
                selected += value[start:end]
            elif -len(value) <= int(part) < len(value):
                selected.append(value[int(part)])
            else:
                raise Unusable(f"{path} asks for an item that is out of range: there are {len(value)}")
        return selected

    return step


# --- records and their text -----------------------------------------------------------------------------------------


def is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip() in (
        "application/json",
        "application/jsonlines",
        "application/x-jsonlines",
    )


def read(text: str, content_type: str) -> Any:
    """One record: a row of CSV, or a JSON value. Raises Unusable."""
    if not is_json(content_type):
        return next(csv.reader([text.rstrip("\r\n")]), [])
    try:
        return json.loads(text)
    except ValueError as error:
        raise Unusable(f"a record is not JSON: {error}") from error


def written(value: Any) -> str:
    """A record's line, without its end."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="").writerow(value)
        return buffer.getvalue()
    return value if isinstance(value, str) else json.dumps(value)
