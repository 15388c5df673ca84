"""Response bodies → one part for each row, whatever its format: CSV, JSON, JSON lines. Called by answers.py."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ci_scripts import text
from ci_scripts.errors import InvalidPredictions


def take_apart(content: str, rows: int, name: str, *, words: bool) -> list[Any] | None:
    """The parts of an answer to `rows` rows, in the format `name`, if that is known; None for what has none.

    `words`: whether classes are text, so that a line may be one class.
    """
    if content[:1] in ("[", "{"):
        return _json_rows(content, rows)
    return _csv_rows(content, rows, name, words=words)


def _json_rows(content: str, rows: int) -> list[Any] | None:
    """The rows of a document, or of JSON lines."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return _json_lines(content)
    if isinstance(document, dict):
        for key in ("predictions", "scores", "prediction", "probabilities", "predicted_label", "labels"):
            if isinstance(document.get(key), list):
                break
        else:
            return [document]  # one line of JSON lines
        if isinstance(document.get("predictions"), list):
            return list(document["predictions"])
        return _columns(document, rows)
    if rows == 1 and len(document) != 1 and is_score_list(document):
        return [document]  # the scores of the one row
    return list(document)


def _columns(document: Mapping[str, Any], rows: int) -> list[Any] | None:
    """Rows out of an answer that has a list for each column, as those of LightGBM and CatBoost; Random Cut Forest's."""
    if isinstance(document.get("scores"), list) and all(isinstance(each, dict) for each in document["scores"]):
        return list(document["scores"])
    for key in ("predicted_label", "prediction", "probabilities"):
        column = document.get(key)
        if isinstance(column, list):
            if key == "predicted_label":
                return [{"predicted_label": each} for each in column]
            parts = [column] if key == "probabilities" and rows == 1 and is_score_list(column) else list(column)
            classes = document.get("labels") if key == "probabilities" else None  # in the order of the scores
            return [{key: each, "labels": classes} for each in parts] if isinstance(classes, list) else parts
    return [document]


def _json_lines(content: str) -> list[Any] | None:
    try:
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None


def _csv_rows(content: str, rows: int, name: str, *, words: bool) -> list[Any] | None:
    """Numbers of one row each, on lines or separated by commas, or lines of several columns."""
    lines = [line.strip().removesuffix(",") for line in content.splitlines() if line.strip()]
    table = [line.split(",") for line in lines]
    if name == "class" or (words and len(lines) == rows and all(_is_a_field(line) for line in lines)):
        return [_unquoted(line) for line in lines]  # a name may hold a space
    if name == "predicted_label":
        return [{"predicted_label": cells[0].strip()} for cells in table]
    if len(table) == rows and any(len(cells) > 1 for cells in table):
        if name in ("scores", "numbers") or all(is_score_list(cells) and not _is_label_first(cells) for cells in table):
            return [list(cells) for cells in table]
        raise InvalidPredictions(
            f"the endpoint answered several columns for each row, and nothing says what they are: {excerpt(content)}",
            hint="Name the format in quality.yml, `request: {answer: scores}` for a score for each class, `{answer: "
            "predicted_label}` for the class in the first column.",
        )
    return [each for line in lines for each in line.replace(",", " ").split()]


def _is_a_field(line: str) -> bool:
    return "," not in line or _unquoted(line) != line


def _unquoted(line: str) -> str:
    quoted = re.fullmatch(r'"((?:[^"]|"")*)"', line)
    return quoted[1].replace('""', '"') if quoted else line


def _is_label_first(cells: Sequence[str]) -> bool:
    """Whether a line may be a class and its probability instead of two scores: `0,1.0`."""
    return len(cells) == 2 and cells[0].strip().isdigit()


def is_score_list(values: Iterable[Any]) -> bool:
    """Whether these are the probabilities of classes: of no other list is it known that its highest is predicted."""
    numbers = [as_number(each) for each in values]
    return (
        len(numbers) > 1
        and all(number is not None and 0 <= number <= 1 for number in numbers)
        and abs(sum(number or 0 for number in numbers) - 1) <= 0.001 * len(numbers)
    )


def as_number(value: Any) -> float | None:
    """A finite number; None for anything else, true and false included."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def excerpt(content: str) -> str:
    return repr(text.short(" ".join(content[:1000].split()), 80))
