"""Response bodies → predictions, each format by its name; what has no name here is refused, never guessed.

https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html for SageMaker's own algorithms,
https://github.com/aws/sagemaker-xgboost-container for XGBoost, the Hugging Face containers' pipelines for text.
Called by the endpoint under test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from ci_scripts.errors import InvalidPredictions
from ci_scripts.predictions import answer_rows
from ci_scripts.predictions.answer_rows import as_number, excerpt, is_score_list
from ci_scripts.quality import Label


class Answers(NamedTuple):
    """What an endpoint made of some rows."""

    format: str
    """A name of FORMATS."""
    values: Sequence[Label]
    """For each row the class that the container names or gives the highest score, else its (first) number."""
    probabilities: list[float] | None
    """For each row the probability or score of the positive class, where the format says it."""
    scores: list[Mapping[Label, float]] | None = None
    """For each row the score of every class, where the format says it."""
    outputs: list[list[float]] | None = None
    """For each row all of its numbers, where there are several."""

    @property
    def rows(self) -> list[Answer]:
        """The same, row by row."""
        nothing = [None] * len(self.values)
        columns = (self.values, self.probabilities or nothing, self.scores or nothing, self.outputs or nothing)
        return [Answer(*each) for each in zip(*columns, strict=True)]

    def of(self, rows: Sequence[int]) -> Answers:
        """Those of some rows alone."""
        answers = self.rows
        return together(self.format, [answers[row] for row in rows])

    @property
    def are_classes(self) -> bool:
        """Whether the values are classes, and no numbers that a cut could turn into classes."""
        return self.format in ("scores", "label", "class")

    @property
    def are_final(self) -> bool:
        """Whether the container itself has decided: a class, or the value of a regression."""
        return self.are_classes or self.format == "predicted_label"


class Classes(NamedTuple):
    """What the held-out data says about classes; the defaults are those of labels that are numbers."""

    in_scores: Sequence[Label] = ()
    """The classes of a list of scores, in its order; empty: 0, 1, 2 and so on."""
    positive: Label = 1.0
    """The class that a single score is of."""
    are_text: bool = False


NUMBERS = Classes()


class Answer(NamedTuple):
    """What an endpoint made of one row, as `Answers`."""

    value: Label
    probability: float | None = None
    scores: Mapping[Label, float] | None = None
    outputs: list[float] | None = None


Labels = Mapping[str, Label]

FORMATS = {
    "number": "one number for each row, in CSV or JSON: a value, a score of class 1, or the class itself",
    "numbers": "several numbers for each row, such as forecasts of quantiles; `output` of a check says which it is of",
    "score": "objects with one number as score: a value, or a score of class 1",
    "scores": "a list of scores for each row, one for each of the classes 0, 1, 2 and so on; the highest is predicted",
    "predicted_label": "objects with predicted_label, or that in the first column of CSV",
    "label": "objects with a label and a score of how sure it is",
    "class": "one class for each row, by its name, in CSV or JSON",
}
"""Formats of an answer, as `request.answer` in quality.yml names them."""


def decode(body: bytes, rows: int, name: str = "", labels: Labels | None = None, classes: Classes = NUMBERS) -> Answers:
    """The predictions in a response for `rows` rows, in the format `name`; else in the one that its shape shows.

    `labels` gives the classes that the container calls otherwise. Raises InvalidPredictions.
    """
    content = body.decode("utf-8", errors="replace").strip()
    values = answer_rows.take_apart(content, rows, name, words=classes.are_text)
    if values is None:
        raise InvalidPredictions(f"the endpoint answered something that holds no predictions: {excerpt(content)}")
    if len(values) != rows:
        raise InvalidPredictions(f"the endpoint answered {len(values)} values for {rows} rows: {excerpt(content)}")
    return read(values, name, labels, classes, content)


def read(
    values: Sequence[Any], name: str = "", labels: Labels | None = None, classes: Classes = NUMBERS, content: str = ""
) -> Answers:
    """The same of rows that are taken apart, each a number, a text, a list or an object; `content` is the whole."""
    labels = labels or {}
    shapes = {_shape_among(row, name, labels, classes) for row in values}
    if len(shapes) > 1 or "" in shapes:
        row = next((row for row in values if not _shape_among(row, name, labels, classes)), values[0])
        raise InvalidPredictions(
            f"the endpoint answered {excerpt(_text(row))} for row {list(values).index(row) + 1} of a request, "
            "which is no format of answers known here",
            hint=_hint(row),
        )
    shape = shapes.pop() if shapes else "number"
    if name and shape != name:
        raise InvalidPredictions(
            f"the endpoint answered in the format {shape}, `request.answer` in quality.yml says {name}: "
            f"{excerpt(content or str(list(values)))}"
        )
    answers = [_READERS[shape](row, position, labels, classes) for position, row in enumerate(values, start=1)]
    return together(shape, answers)


def together(shape: str, answers: Sequence[Answer]) -> Answers:
    """Answers of one format for all rows; what a row lacks, all of them do."""
    probabilities = [each.probability for each in answers if each.probability is not None]
    scores = [each.scores for each in answers if each.scores is not None]
    outputs = [each.outputs for each in answers if each.outputs is not None]
    return Answers(
        shape,
        [each.value for each in answers],
        probabilities if len(probabilities) == len(answers) else None,
        scores if answers and len(scores) == len(answers) else None,
        outputs if answers and len(outputs) == len(answers) else None,
    )


_HINT = (
    f"Known are: {', '.join(FORMATS)}; `request.answer` in quality.yml names one. For any other leave `checks` empty "
    "and test with endpoint.invoke(body, content_type)."
)


_DECIDED_BESIDE = (
    "Beside its score stands something that may be the prediction, and how sure a model is says nothing by itself. If "
    "the score is the value or that of class 1, say so in quality.yml, `request: {answer: score}`, for scores of all "
    "classes `{answer: scores}`. Else let the container call its prediction predicted_label or label, or take it "
    "out by `request.transform_answer`."
)


def _hint(row: Any) -> str:
    row = row[0] if isinstance(row, list) and len(row) == 1 else row
    return _DECIDED_BESIDE if isinstance(row, dict) and not row.keys().isdisjoint(_SCORES) else _HINT


# --- formats -------------------------------------------------------------------------------------------------------


_SCORES = ("score", "scores", "probabilities")


def _shape_among(row: Any, name: str, labels: Labels, classes: Classes) -> str:
    """The format of a row; a single value is a class, not a number, where labels are text and it names one."""
    shape = _shape(row, name)
    value = row[0] if isinstance(row, list) and len(row) == 1 else row
    if shape == "number" and (
        name == "class" or (classes.are_text and (as_number(value) is None or _names(value, labels)))
    ):
        return "class"
    return shape


def _shape(row: Any, name: str) -> str:
    """The format of a row; empty for one that is known to be none."""
    if isinstance(row, list):
        if len(row) == 1 and name != "numbers":
            return _shape(row[0], name)
        if row and all(isinstance(each, dict) and "label" in each and "score" in each for each in row):
            return "label"  # all classes with their scores, as `top_k=None` answers
        if name == "numbers" and row and _are_numbers(row):
            return "numbers"
        return "scores" if is_score_list(row) or (name == "scores" and row and _are_numbers(row)) else ""
    if isinstance(row, dict):
        if "predicted_label" in row:
            return "predicted_label"
        if "label" in row:
            return "label" if "score" in row or "prob" in row else ""
        key = next((key for key in _SCORES if isinstance(row.get(key), list)), "score")
        if not (name in ("score", "scores", "numbers") or row.keys() <= {key, "labels"} or _labels_of(row)):
            return ""  # a field of another name may be the prediction, and the score only how sure the model is of it
        if isinstance(row.get(key), list):
            return _shape(row[key], name) if len(row[key]) > 1 else ""
        return "score" if "score" in row else ""
    return "" if isinstance(row, bool) or row is None else "number"


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(as_number(each) is not None for each in values)


def _read_number(row: Any, position: int, labels: Labels, classes: Classes) -> Answer:
    value = _finite(row[0] if isinstance(row, list) else row, position)
    return Answer(value, value)


def _read_numbers(row: Any, position: int, labels: Labels, classes: Classes) -> Answer:
    outputs = [_finite(each, position) for each in row]
    return Answer(outputs[0], outputs=outputs)


def _read_score(row: Any, position: int, labels: Labels, classes: Classes) -> Answer:
    row = row[0] if isinstance(row, list) else row
    value = _finite(row["score"], position)
    return Answer(value, value)


def _read_scores(row: Any, position: int, labels: Labels, classes: Classes) -> Answer:
    names: Sequence[Label] = []
    if isinstance(row, dict):
        names = [_class(each, position, labels, classes) for each in _labels_of(row)]
        row = next(row[key] for key in _SCORES if isinstance(row.get(key), list))
    scores = _by_class([_finite(each, position) for each in row], position, classes, names)
    highest = max(scores, key=lambda each: scores[each])
    alike = len(set(scores.values())) == 1  # a container that tells nothing
    second = scores.get(classes.positive) if len(scores) == 2 or (alike and not classes.in_scores) else None
    return Answer(highest, second, scores)


def _labels_of(row: Mapping[str, Any]) -> list[Any]:
    """The container's own names for a list of scores, in its order, which need not be that of the classes.

    Zero-shot classification of Hugging Face puts the likeliest first; Autopilot's example has `['1', '0']`,
    https://docs.aws.amazon.com/sagemaker/latest/dg/autopilot-automate-model-development-container-output.html.
    """
    scores: list[Any] = next((row[key] for key in _SCORES if isinstance(row.get(key), list)), [])
    names = row.get("labels")
    return list(names) if isinstance(names, list) and len(names) == len(scores) > 1 else []


def _by_class(
    scores: Sequence[float], position: int, classes: Classes, named: Sequence[Label] = ()
) -> dict[Label, float]:
    names: Sequence[Label] = named or classes.in_scores or [float(index) for index in range(len(scores))]
    if len(names) != len(scores):
        raise InvalidPredictions(
            f"the endpoint answered {len(scores)} scores for row {position} of a request, the classes are "
            f"{len(names)}: {excerpt(', '.join(map(str, names)))}",
            hint="Name the classes in the order of the scores in quality.yml, `request: {classes: [...]}`.",
        )
    return dict(zip(names, scores, strict=True))


def _read_predicted_label(row: Any, position: int, labels: Labels, classes: Classes) -> Answer:
    row = row[0] if isinstance(row, list) else row
    value = _class(row["predicted_label"], position, labels, classes)
    scores = row.get("probabilities", row.get("score"))
    if not isinstance(scores, list):
        return Answer(value, as_number(row.get("score")))
    if len(scores) < 2 or not _are_numbers(scores) or (classes.in_scores and len(classes.in_scores) != len(scores)):
        return Answer(value)
    names = [_class(each, position, labels, classes) for each in _labels_of(row)]
    by_class = _by_class([_finite(each, position) for each in scores], position, classes, names)
    return Answer(value, by_class.get(classes.positive) if len(scores) == 2 else None, by_class)


def _read_label(row: Any, position: int, labels: Labels, classes: Classes) -> Answer:
    if isinstance(row, list) and len(row) == 1:
        row = row[0]
    if isinstance(row, list):
        scores = {_class(each["label"], position, labels, classes): _finite(each["score"], position) for each in row}
        highest = max(scores, key=lambda each: scores[each])
        return Answer(highest, _positive(highest, scores[highest], classes, scores), scores)
    sureness = row["score"] if "score" in row else row["prob"]
    label = row["label"]
    if isinstance(label, list) and label:  # BlazingText: the best of k first
        label, sureness = label[0], sureness[0] if isinstance(sureness, list) and sureness else sureness
    value, sure = _class(label, position, labels, classes), _finite(sureness, position)
    return Answer(value, _positive(value, sure, classes))


def _positive(label: Label, sure: float, classes: Classes, scores: Mapping[Label, float] | None = None) -> float | None:
    """The probability of the positive class, where there are two and one of them is `label`."""
    if scores and classes.positive in scores:
        return scores[classes.positive]
    if label == classes.positive:
        return sure
    two = len(classes.in_scores) == 2 if classes.are_text else label in (0, 1) and classes.positive in (0, 1)
    return 1 - sure if two else None


def _read_class(row: Any, position: int, labels: Labels, classes: Classes) -> Answer:
    return Answer(_class(row[0] if isinstance(row, list) else row, position, labels, classes))


_READERS: Mapping[str, Callable[[Any, int, Labels, Classes], Answer]] = {
    "number": _read_number,
    "numbers": _read_numbers,
    "score": _read_score,
    "scores": _read_scores,
    "predicted_label": _read_predicted_label,
    "label": _read_label,
    "class": _read_class,
}


def _names(label: Any, labels: Labels) -> str:
    """The key under which `labels` has what a container answered, 1 and 1.0 alike; empty when there is none."""
    number = as_number(label)
    keys = (str(label), "" if number is None else f"{number:g}")
    return next((key for key in keys if key in labels), "")


def _class(label: Any, position: int, labels: Labels, classes: Classes) -> Label:
    """The class: of quality.yml, itself, or of a name without meaning like LABEL_1 and __label__1."""
    if key := _names(label, labels):
        value = labels[key]
        return value if isinstance(value, str) else float(value)
    if classes.are_text:
        return str(label).strip()
    number = as_number(label)
    if number is None and (match := re.fullmatch(r"(?:LABEL_|__label__)(\d{1,9})", str(label), re.ASCII)):
        number = float(match[1])
    if number is None:
        raise InvalidPredictions(
            f"the endpoint answered the class {excerpt(str(label))} for row {position} of a request: it is no number",
            hint="Say in quality.yml what its names are in the held-out data: `request: {labels: {NEGATIVE: 0, "
            "POSITIVE: 1}}`.",
        )
    return number


def _finite(value: Any, position: int) -> float:
    number = as_number(value)
    if number is None:
        _refuse(value, position)
    return number


def _refuse(value: Any, position: int) -> NoReturn:
    raise InvalidPredictions(f"the endpoint answered {excerpt(_text(value))} for row {position} of a request")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
