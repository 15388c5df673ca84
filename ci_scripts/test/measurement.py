"""What an endpoint makes of the held-out data, and what each metric of quality.yml comes to: whole or by segment.

Called by the test command, before the first test runs; the report shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from ci_scripts import quality_rules, text
from ci_scripts.errors import MetricUndefined
from ci_scripts.predictions.answers import Answers
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.predictions.target import Endpoint, positive
from ci_scripts.quality import Column, Label, Threshold
from ci_scripts.test import class_metrics, metrics
from ci_scripts.test.load import Loaded


class Segment(NamedTuple):
    """The rows in which a column has one value, and what a metric is for them."""

    name: str
    rows: int
    value: float | None
    """None: too few rows."""


class Scoring(NamedTuple):
    """A metric, as a function of labels and of what was predicted for each of them."""

    function: Callable[..., float]
    actual: Sequence[Any]
    predicted: Sequence[Any]

    @property
    def value(self) -> float:
        """The metric over all rows. Raises MetricUndefined."""
        return self.function(self.actual, self.predicted)

    def terms(self) -> list[float]:
        """The metric of each row alone: its terms, where it is a mean over rows."""
        return [self.function([a], [p]) for a, p in zip(self.actual, self.predicted, strict=True)]


class Measurement(NamedTuple):
    """What an endpoint makes of the held-out data."""

    predictions: Sequence[Label]
    latencies: list[float]
    """Milliseconds of each request."""
    answers: Answers | None = None
    """All that the endpoint answered; None: plain numbers."""
    repeated: int = 0
    """Requests that were sent twice."""
    loaded: Loaded | None = None
    """What came of the load that quality.yml asks for; latencies are those of it then."""

    def value(self, metric: str, held_out: HeldOut, *, declared: bool = False) -> float:
        """A metric of quality.yml, whose classes are `declared` there or the file's; as `of_threshold`."""
        return self.of_threshold(Threshold(metric, "<=", 0), held_out, declared=declared)

    def of_threshold(self, threshold: Threshold, held_out: HeldOut, *, declared: bool = False) -> float:
        """What a threshold bounds, over all rows. Raises MetricUndefined when labels or answers give it no value."""
        metric = threshold.metric
        if metric in metrics.LATENCY:
            return metrics.percentile(self.loaded.latencies if self.loaded else self.latencies, metrics.LATENCY[metric])
        if metric == quality_rules.ERROR_RATE:
            if self.loaded is None:
                raise MetricUndefined("error_rate takes `load` in quality.yml")
            return self.loaded.error_rate
        return self.scoring(threshold, held_out, declared=declared).value

    def scoring(self, threshold: Threshold, held_out: HeldOut, *, declared: bool = False) -> Scoring:
        """How a metric of predictions is computed. Raises MetricUndefined when labels or answers give it no value."""
        metric, final, labels = threshold.metric, self._final, held_out.labels
        for problem in (
            metrics.objection(metric, labels, held_out.class_labels, held_out.positive),
            quality_rules.of_answer(metric, final.format),
        ):
            if problem:
                raise MetricUndefined(problem)
        if metric in metrics.REGRESSION:
            return self._regression(threshold, numbers(labels), final)
        if metric in quality_rules.SCORES:
            return _of_scores(metric, held_out, final)
        called = self.classes(metric, held_out, declared=declared)
        function = metrics.CLASSIFICATION[metric]
        if metric in quality_rules.POSITIVE_CLASS:
            function = partial(function, positive=positive(held_out))
        return Scoring(function, labels, called)

    @property
    def _final(self) -> Answers:
        if self.answers:
            return self.answers
        return Answers("number", self.predictions, numbers(self.predictions))

    def _regression(self, threshold: Threshold, labels: list[float], final: Answers) -> Scoring:
        predicted = numbers(self.predictions)
        if final.outputs is not None:
            widths = min(len(row) for row in final.outputs)
            if threshold.output >= widths:
                raise MetricUndefined(f"{threshold.subject}: the endpoint answered {widths} numbers for a row")
            predicted = [row[threshold.output] for row in final.outputs]
        if threshold.quantile is not None:
            return Scoring(partial(metrics.pinball, quantile=threshold.quantile), labels, predicted)
        return Scoring(metrics.REGRESSION[threshold.metric], labels, predicted)

    def classes(self, metric: str, held_out: HeldOut, *, declared: bool = False) -> Sequence[Label]:
        """The predictions as classes: a score is cut where the whole file's labels, not those sampled, are two.

        Those are 0 and 1, or there is a positive one. Raises MetricUndefined for scores of other labels.
        """
        if (self.answers and self.answers.are_final) or not _cuts(held_out):
            if held_out.is_text and not (self.answers and self.answers.are_final):
                raise MetricUndefined(f"{metric} needs classes, the endpoint answers numbers", hint=_NAMES)
            _require_some(metric, self.predictions, held_out)
            return self.predictions
        scores = metrics.called(metric, numbers(self.predictions), any_number=declared)
        one = positive(held_out)
        other = next((each for each in held_out.class_labels if each != one), 0.0)
        return [one if score else other for score in scores]

    def of(self, rows: Sequence[int]) -> Measurement:
        """Those rows alone."""
        answers = self.answers.of(rows) if self.answers else None
        return self._replace(predictions=[self.predictions[row] for row in rows], answers=answers)

    def segments(self, threshold: Threshold, held_out: HeldOut, *, declared: bool = False) -> list[Segment]:
        """What a threshold bounds, for each value of its column; the largest segments first."""
        segments = []
        for name, rows in segment_rows(held_out, threshold.by):
            value = None
            if len(rows) >= threshold.min_rows:
                try:
                    value = self.of(rows).of_threshold(threshold, held_out.of(rows), declared=declared)
                except MetricUndefined as error:
                    raise MetricUndefined(f"{error.message} ({_where(threshold, name)})", hint=error.hint) from None
            segments.append(Segment(name, len(rows), value))
        return segments


_NAMES = (
    'Say in quality.yml which classes they are: `request: {labels: {"0": ham, "1": spam}}`, or of which class they are '
    "the score: `data: {positive: spam}`."
)


def worst(threshold: Threshold, segments: Sequence[Segment]) -> float:
    """The value of the segment that is furthest on the wrong side; NaN before any number."""
    values = [segment.value for segment in segments if segment.value is not None]
    if not values:
        raise MetricUndefined(_too_small(threshold))
    return next((value for value in values if value != value), (max if threshold.comparison == "<=" else min)(values))


def segment_rows(held_out: HeldOut, column: Column | None) -> list[tuple[str, list[int]]]:
    """The rows of each value of a column; the largest segments first."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(held_out.segments[column] if column is not None else ()):
        rows.setdefault(name, []).append(row)
    return sorted(rows.items(), key=lambda pair: (-len(pair[1]), pair[0]))


def objections(thresholds: Sequence[Threshold], held_out: HeldOut) -> list[str]:
    """Every reason why a threshold has no value for this data, whatever is answered: told before anything is asked."""
    problems: list[str] = []
    for threshold in thresholds:
        if threshold.metric in quality_rules.REQUESTS:
            continue
        problem = metrics.objection(threshold.metric, held_out.labels, held_out.class_labels, held_out.positive)
        if not problem and threshold.by is not None:
            problem = _of_segments(threshold, held_out)
        if problem:
            problems.append(problem)
    if held_out.positive is not None and held_out.class_labels and held_out.positive not in held_out.class_labels:
        problems.append(f"data.positive is {held_out.positive!r}, which no label of the held-out data is")
    return list(dict.fromkeys(problems))


def _of_segments(threshold: Threshold, held_out: HeldOut) -> str:
    large = [(name, rows) for name, rows in segment_rows(held_out, threshold.by) if len(rows) >= threshold.min_rows]
    if not large:
        return _too_small(threshold)
    for name, rows in large:
        part = held_out.of(rows)
        if problem := metrics.objection(threshold.metric, part.labels, part.class_labels, part.positive):
            return f"{problem} ({_where(threshold, name)})"
    return ""


def _too_small(threshold: Threshold) -> str:
    return f"{threshold.subject}: no segment has {threshold.min_rows} rows of held-out data (min_rows)"


def _where(threshold: Threshold, name: str) -> str:
    return f"{text.short(str(threshold.by), 60)}: {text.quoted(name)}"


def numbers(labels: Sequence[Label]) -> list[float]:
    """Labels or predictions of which it is known that they are numbers."""
    return [float(label) for label in labels]


def _cuts(held_out: HeldOut) -> bool:
    classes = set(held_out.class_labels)
    return metrics.is_binary(held_out.class_labels) or (held_out.positive in classes and len(classes) == 2)


def _require_some(metric: str, predicted: Sequence[Label], held_out: HeldOut) -> None:
    """Refuse text of which nothing is a class of the data: the container's names are others, not all of them wrong."""
    strangers = [each for each in predicted if isinstance(each, str)]
    if strangers and held_out.class_labels and not set(predicted) & set(held_out.class_labels):
        classes = ", ".join(text.short(str(each), 30) for each in held_out.class_labels[:5])
        raise MetricUndefined(
            f"{metric}: the endpoint answers classes like {text.quoted(strangers[0])}, the held-out data has {classes}",
            hint="Say in quality.yml what they are in the held-out data: `request: {labels: {LABEL_0: ham}}`.",
        )


def _of_scores(metric: str, held_out: HeldOut, final: Answers) -> Scoring:
    """AUC or log loss: of the positive class where there are two, else of every class."""
    if _cuts(held_out) or held_out.positive is not None:
        if final.probabilities is None:
            class_name = "class 1" if held_out.positive is None else str(held_out.positive)
            raise MetricUndefined(f"{metric} needs the probability of {class_name}, which {final.format} does not hold")
        labels = [float(label == positive(held_out)) for label in held_out.labels]
        return Scoring(metrics.CLASSIFICATION[metric], labels, final.probabilities)
    if final.scores is None:
        raise MetricUndefined(
            f"{metric} of {len(held_out.class_labels)} classes needs the scores of all of them, "
            f"which {final.format} does not hold"
        )
    functions: dict[str, Callable[..., float]] = {
        "log_loss": class_metrics.log_loss_of_classes,
        "auc": class_metrics.auc_of_classes,
    }
    return Scoring(functions[metric], held_out.labels, final.scores)


def measure(endpoint: Endpoint, held_out: HeldOut, *, once: bool = False) -> Measurement:
    """Ask for predictions of all held-out rows, and time the requests; `once`: none of them is sent twice."""
    before, repeated = len(endpoint.latencies), endpoint.repeated
    predictions = endpoint.ask(held_out.features, once=once)
    return Measurement(predictions.values, endpoint.latencies[before:], predictions, endpoint.repeated - repeated)
