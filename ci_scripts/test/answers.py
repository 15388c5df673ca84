"""Response bodies → predictions, each format by its name; what has no name here is refused, never guessed.

https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html for SageMaker's own algorithms,
https://github.com/aws/sagemaker-xgboost-container for XGBoost, the Hugging Face containers' pipelines for text.
Called by the endpoint under test.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from ci_scripts import text
from ci_scripts.errors import InvalidPredictions


class Answers(NamedTuple):
    """What an endpoint made of some rows."""

    format: str
    """A name of FORMATS."""
    values: list[float]
    """For each row the class that the container names or gives the highest score, else its number."""
    probabilities: list[float] | None
    """For each row the probability of class 1, where the format says it."""

    @property
    def are_classes(self) -> bool:
        """Whether the values are classes, and no numbers that a cut could turn into classes."""
        return self.format in ("scores", "label")

    @property
    def are_final(self) -> bool:
        """Whether the container itself has decided: a class, or the value of a regression."""
        return self.are_classes or self.format == "predicted_label"


Labels = Mapping[str, float]

FORMATS = {
    "number": "one number for each row, in CSV or JSON: a value, a score of class 1, or the class itself",
    "score": "objects with one number as score: a value, or a score of class 1",
    "scores": "a list of scores for each row, one for each of the classes 0, 1, 2 and so on; the highest is predicted",
    "predicted_label": "objects with predicted_label, or that in the first column of CSV",
    "label": "objects with a label and a score of how sure it is",
}
"""Formats of an answer, as `request.answer` in quality.yml names them."""


def decode(body: bytes, rows: int, name: str = "", labels: Labels | None = None) -> Answers:
    """The predictions in a response for `rows` rows, in the format `name`; else in the one that its shape shows.

    `labels` gives the numbers of classes that the container names by words. Raises InvalidPredictions.
    """
    content = body.decode("utf-8", errors="replace").strip()
    found = _json_rows(content, rows) if content[:1] in ("[", "{") else _csv_rows(content, rows, name)
    if found is None:
        raise InvalidPredictions(f"the endpoint answered something that holds no predictions: {_excerpt(content)}")
    if len(found) != rows:
        raise InvalidPredictions(f"the endpoint answered {len(found)} values for {rows} rows: {_excerpt(content)}")
    shapes = {_shape(row, name) for row in found}
    if len(shapes) > 1 or "" in shapes:
        row = next((row for row in found if not _shape(row, name)), found[0])
        raise InvalidPredictions(
            f"the endpoint answered {_excerpt(_text(row))} for row {found.index(row) + 1} of a request, "
            "which is no format of answers known here",
            hint=_HINT,
        )
    shape = shapes.pop() if shapes else "number"
    if name and shape != name:
        raise InvalidPredictions(
            f"the endpoint answered in the format {shape}, `request.answer` in quality.yml says {name}: "
            f"{_excerpt(content)}"
        )
    values = [_READERS[shape](row, position, labels or {}) for position, row in enumerate(found, start=1)]
    probabilities = [each for _, each in values if each is not None]
    return Answers(shape, [value for value, _ in values], probabilities if len(probabilities) == rows else None)


_HINT = (
    f"Known are: {', '.join(FORMATS)}; `request.answer` in quality.yml names one. For any other leave `checks` empty "
    "and test with endpoint.invoke(body, content_type)."
)


# --- rows ----------------------------------------------------------------------------------------------------------


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
    if rows == 1 and len(document) != 1 and _is_score_list(document):
        return [document]  # the scores of the one row
    return list(document)


def _columns(document: Mapping[str, Any], rows: int) -> list[Any] | None:
    """Rows out of an answer that has a list for each column, as those of LightGBM and CatBoost; Random Cut Forest's."""
    if isinstance(document.get("scores"), list) and all(isinstance(each, dict) for each in document["scores"]):
        return list(document["scores"])
    for key in ("predicted_label", "prediction", "probabilities"):
        column = document.get(key)
        if isinstance(column, list):
            if key == "probabilities" and rows == 1 and _is_score_list(column):
                return [column]
            return [{"predicted_label": each} for each in column] if key == "predicted_label" else list(column)
    return [document]


def _json_lines(content: str) -> list[Any] | None:
    try:
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None


def _csv_rows(content: str, rows: int, name: str) -> list[Any] | None:
    """Numbers of one row each, on lines or separated by commas, or lines of several columns."""
    lines = [line.strip().removesuffix(",") for line in content.splitlines() if line.strip()]
    table = [line.split(",") for line in lines]
    if name == "predicted_label":
        return [{"predicted_label": cells[0].strip()} for cells in table]
    if len(table) == rows and any(len(cells) > 1 for cells in table):
        if name == "scores" or all(_is_score_list(cells) and not _is_label_first(cells) for cells in table):
            return [list(cells) for cells in table]
        raise InvalidPredictions(
            f"the endpoint answered several columns for each row, and nothing says what they are: {_excerpt(content)}",
            hint="Name the format in quality.yml, `request: {answer: scores}` for a score for each class, `{answer: "
            "predicted_label}` for the class in the first column.",
        )
    return [each for line in lines for each in line.replace(",", " ").split()]


def _is_label_first(cells: Sequence[str]) -> bool:
    """Whether a line may be a class and its probability instead of two scores: `0,1.0`."""
    return len(cells) == 2 and cells[0].strip().isdigit()


def _is_score_list(values: Iterable[Any]) -> bool:
    """Whether these are the probabilities of classes: of no other list is it known that its highest is predicted."""
    numbers = [_number(each) for each in values]
    return (
        len(numbers) > 1
        and all(number is not None and 0 <= number <= 1 for number in numbers)
        and abs(sum(number or 0 for number in numbers) - 1) <= 0.001 * len(numbers)
    )


# --- formats -------------------------------------------------------------------------------------------------------


def _shape(row: Any, name: str) -> str:
    """The format of a row; empty for one that is known to be none."""
    if isinstance(row, list):
        if len(row) == 1:
            return _shape(row[0], name)
        if row and all(isinstance(each, dict) and "label" in each and "score" in each for each in row):
            return "label"  # all classes with their scores, as `top_k=None` answers
        return "scores" if _is_score_list(row) or (name == "scores" and row and _are_numbers(row)) else ""
    if isinstance(row, dict):
        if "predicted_label" in row:
            return "predicted_label"
        if "label" in row:
            return "label" if "score" in row or "prob" in row else ""
        for key in ("score", "scores", "probabilities"):
            if isinstance(row.get(key), list):
                return _shape(row[key], name) if len(row[key]) > 1 else ""
        return "score" if "score" in row else ""
    return "" if isinstance(row, bool) or row is None else "number"


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(_number(each) is not None for each in values)


def _read_number(row: Any, position: int, labels: Labels) -> tuple[float, float | None]:
    value = _finite(row[0] if isinstance(row, list) else row, position)
    return value, value


def _read_score(row: Any, position: int, labels: Labels) -> tuple[float, float | None]:
    row = row[0] if isinstance(row, list) else row
    value = _finite(row["score"], position)
    return value, value


def _read_scores(row: Any, position: int, labels: Labels) -> tuple[float, float | None]:
    if isinstance(row, dict):
        row = next(row[key] for key in ("score", "scores", "probabilities") if isinstance(row.get(key), list))
    scores = [_finite(each, position) for each in row]
    highest = max(scores)
    if scores.count(highest) > 1 and len(set(scores)) == 1:
        return float(scores.index(highest)), scores[1]
    return float(scores.index(highest)), scores[1] if len(scores) == 2 else None


def _read_predicted_label(row: Any, position: int, labels: Labels) -> tuple[float, float | None]:
    row = row[0] if isinstance(row, list) else row
    value = _class(row["predicted_label"], position, labels)
    scores = row.get("probabilities", row.get("score"))
    if isinstance(scores, list):
        return value, _number(scores[1]) if len(scores) == 2 else None
    return value, _number(row.get("score"))


def _read_label(row: Any, position: int, labels: Labels) -> tuple[float, float | None]:
    if isinstance(row, list) and len(row) == 1:
        row = row[0]
    if isinstance(row, list):
        row = max(row, key=lambda each: _finite(each["score"], position))
    sureness = row["score"] if "score" in row else row["prob"]
    label = row["label"]
    if isinstance(label, list) and label:  # BlazingText: the best of k first
        label, sureness = label[0], sureness[0] if isinstance(sureness, list) and sureness else sureness
    value, sure = _class(label, position, labels), _finite(sureness, position)
    return value, {0.0: 1 - sure, 1.0: sure}.get(value)


_READERS: Mapping[str, Callable[[Any, int, Labels], tuple[float, float | None]]] = {
    "number": _read_number,
    "score": _read_score,
    "scores": _read_scores,
    "predicted_label": _read_predicted_label,
    "label": _read_label,
}


def _class(label: Any, position: int, labels: Labels) -> float:
    """The number of a class: of quality.yml, of itself, or of a name without meaning like LABEL_1 and __label__1."""
    if str(label) in labels:
        return labels[str(label)]
    number = _number(label)
    if number is None and (found := re.fullmatch(r"(?:LABEL_|__label__)(\d{1,9})", str(label), re.ASCII)):
        number = float(found[1])
    if number is None:
        raise InvalidPredictions(
            f"the endpoint answered the class {_excerpt(str(label))} for row {position} of a request: it is no number",
            hint="Say in quality.yml what its names are in the held-out data: `request: {labels: {NEGATIVE: 0, "
            "POSITIVE: 1}}`.",
        )
    return number


def _number(value: Any) -> float | None:
    """A finite number; None for anything else, true and false included."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _finite(value: Any, position: int) -> float:
    number = _number(value)
    if number is None:
        _refuse(value, position)
    return number


def _refuse(value: Any, position: int) -> NoReturn:
    raise InvalidPredictions(f"the endpoint answered {_excerpt(_text(value))} for row {position} of a request")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _excerpt(content: str) -> str:
    return repr(text.short(" ".join(content[:1000].split()), 80))
