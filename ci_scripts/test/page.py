"""report.html: what a test run came to, as a page of its own, without script, font or picture from anywhere else.

Called by the test command. This module chooses what is shown; report.template.html is the HTML.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ci_scripts import job, page, text
from ci_scripts.errors import MetricUndefined
from ci_scripts.page import plots
from ci_scripts.page.plots import Plot
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.quality import Label
from ci_scripts.quality_rules import LATENCY
from ci_scripts.test import class_metrics, metrics
from ci_scripts.test.measurement import Measurement, numbers, segment_rows
from ci_scripts.test.report import MOST_SEGMENTS, Check, Report, bound, number, of_segment

_LARGEST_PLOTTED = 1e100  # beyond it, differences of two numbers may be infinite
_MOST_CLASSES = 20
_MOST_POINTS = 200  # of a curve
_MOST_FAILURES = 5  # kinds of failed requests

_LABELS = {
    "r2": "R²",
    "f1": "F1",
    "f1_macro": "F1 macro",
    "f1_weighted": "F1 weighted",
    "auc": "AUC",
    "mape": "MAPE",
    "latency_p50_ms": "latency p50",
    "latency_p95_ms": "latency p95",
    "latency_p99_ms": "latency p99",
}


class Figure(NamedTuple):
    """A picture of predictions: a plot, or a table of confusion."""

    title: str
    note: str
    plot: Plot | None = None
    confusion: Confusion | None = None
    series: Sequence[str] = ()
    """The names of the plot's series, where a key takes the place of the note."""


class Confusion(NamedTuple):
    """Rows by actual class, downwards, and predicted class."""

    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    too_many: int = 0
    """How many classes there are, where a table would be too large."""


def write(report: Report) -> None:
    """Write the page into the reports folder."""
    job.write_page("report.html", html(report))


def html(report: Report) -> str:
    """The page."""
    return page.render(
        __package__,
        "report.template.html",
        report=report,
        figures=list(figures(report)),
        failures=_failures(report),
        origin=_origin(report),
        more=_more(report),
        spreads=_spreads(report),
        latency=_latency(report),
        now=datetime.now(UTC),
        title=_title,
        bound=bound,
        number=number,
        of_segment=of_segment,
        most_segments=MOST_SEGMENTS,
        in_milliseconds=LATENCY,
        tests=sorted(report.outcomes, key=lambda outcome: outcome.outcome not in ("failed", "error")),
    )


def _origin(report: Report) -> dict[str, str]:
    """Where the version comes from and who let it through, as far as the registry tells."""
    stamped = report.package.get("CustomerMetadataProperties", {})
    commit = f"{stamped.get('GitLabProject', '')} {stamped.get('GitLabCommit', '')[:12]}".strip()
    approval = [report.package.get("ModelApprovalStatus", ""), report.package.get("ApprovalDescription", "")]
    rows = {
        "Trained from": commit + (f" on {stamped['GitLabRef']}" if stamped.get("GitLabRef") else ""),
        "Training job": stamped.get("GitLabJob", ""),
        "Training execution": stamped.get("TakenFromExecution") or stamped.get("PipelineExecutionArn", ""),
        "Approval": ": ".join(filter(None, approval)),
        "Approved by": report.approved_by,
    }
    return {name: value for name, value in rows.items() if value}


def _title(check: Check) -> str:
    metric = check.threshold.metric
    return _LABELS.get(metric, metric.replace("_", " ")) + check.threshold.subject.removeprefix(metric)


def _failures(report: Report) -> list[str]:
    """The most frequent failures of a load, `3: ThrottlingException ...`."""
    if not (report.measurement and report.measurement.loaded):
        return []
    failures = Counter(report.measurement.loaded.failures)
    return [f"{count}: {message}" for message, count in failures.most_common(_MOST_FAILURES)]


def _latency(report: Report) -> Figure | None:
    """How long requests took; none where fewer than two were timed."""
    durations = (report.measurement.loaded or report.measurement).latencies if report.measurement else []
    if len(durations) < 2:
        return None
    return Figure("Latency", report.percentiles, plots.histogram({"": durations}, "ms", y_title="requests"))


def _more(report: Report) -> dict[str, float]:
    """The other metrics that these predictions have, which nobody has set a threshold for."""
    if not (report.held_out and report.measurement):
        return {}
    held_out, checked = report.held_out, {check.threshold.metric for check in report.checks}
    classes = (
        held_out.is_text or metrics.is_binary(held_out.class_labels) or bool(checked & metrics.CLASSIFICATION.keys())
    )
    others = {}
    for metric in metrics.CLASSIFICATION if classes else metrics.REGRESSION:
        if metric in checked or metric == "pinball" or not (classes or _are_numbers(report)):
            continue
        try:
            value = report.measurement.value(metric, held_out)
        except (MetricUndefined, ArithmeticError, ValueError):  # nobody has asked for it: nothing depends on it
            continue
        if math.isfinite(value):
            others[_LABELS.get(metric, metric.replace("_", " "))] = value
    return others


# --- predictions -----------------------------------------------------------------------------------------------------


def figures(report: Report) -> Iterator[Figure]:
    """How the predictions differ from the labels; none where they are no single numbers or classes."""
    if not (report.held_out and report.measurement):
        return
    held_out, measurement = report.held_out, report.measurement
    labels, values = held_out.labels, measurement.predictions
    final = measurement.answers
    classifies = any(check.threshold.metric in metrics.CLASSIFICATION for check in report.checks)
    if (final and final.outputs) or not all(_is_plotted(each) for each in [*labels, *values]):
        return
    if held_out.is_text or any(isinstance(each, str) for each in values):
        yield _confusion(labels, _called(held_out, measurement))
    elif not classifies:
        actual, predicted = numbers(labels), numbers(values)
        residuals = [p - a for a, p in zip(actual, predicted, strict=True)]
        yield Figure("Predicted over actual", "exact on the dashed line", plots.scatter(actual, predicted))
        histogram = plots.histogram({"": residuals}, "predicted - actual", 0)
        yield Figure("Residuals", "too high right of the dashed line", histogram)
    elif _has_scores(held_out, measurement):
        actual, predicted = numbers(labels), numbers(values)
        scores = {
            f"class {label}": [p for a, p in zip(actual, predicted, strict=True) if a == label] for label in (0, 1)
        }
        yield from _of_scores(actual, predicted)
        yield Figure("Scores", "", plots.histogram(scores, "score", metrics.CUTOFF), series=list(scores))
        yield _confusion(labels, [float(p >= metrics.CUTOFF) for p in predicted])
    else:
        yield _confusion(labels, values)


def _of_scores(actual: Sequence[float], scores: Sequence[float]) -> Iterator[Figure]:
    """How well scores tell two classes apart, whatever the cut; nothing where there is one class alone."""
    try:
        roc, precision_recall = class_metrics.roc(actual, scores), class_metrics.precision_recall(actual, scores)
    except MetricUndefined:
        return
    shares = plots.curves({"": _thinned(roc)}, "false positive rate", "true positive rate", diagonal=True)
    yield Figure("ROC", "a guess lies on the dashed line", shares)
    yield Figure("Precision and recall", "", plots.curves({"": _thinned(precision_recall)}, "recall", "precision"))


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """As many points as a curve can show, the first and the last among them."""
    step = max(1, len(points) // _MOST_POINTS)
    return [*points[::step], points[-1]]


class Spread(NamedTuple):
    """How far predictions of numbers lie from the labels in one segment: mean, 10th, 50th and 90th percentile."""

    name: str
    rows: int
    mean: float
    percentiles: Sequence[float]


def _spreads(report: Report) -> dict[str, list[Spread]]:
    """The residuals of each segment, by column; none where the predictions are no single numbers."""
    held_out, measurement = report.held_out, report.measurement
    if not (held_out and measurement and _are_numbers(report)) or metrics.is_binary(held_out.class_labels):
        return {}
    pairs = zip(numbers(held_out.labels), numbers(measurement.predictions), strict=True)
    residuals = [predicted - actual for actual, predicted in pairs]
    return {
        text.short(str(column), 60): [
            _spread(name, [residuals[row] for row in rows])
            for name, rows in segment_rows(held_out, column)[:MOST_SEGMENTS]
        ]
        for column in held_out.segments
    }


def _are_numbers(report: Report) -> bool:
    """Whether labels and predictions are single numbers of which differences can be taken."""
    held_out, measurement = report.held_out, report.measurement
    if not (held_out and measurement) or (measurement.answers and measurement.answers.outputs):
        return False
    return all(not isinstance(each, str) and _is_plotted(each) for each in [*held_out.labels, *measurement.predictions])


def _spread(name: str, residuals: Sequence[float]) -> Spread:
    ranks = [metrics.percentile(residuals, rank) for rank in (10, 50, 90)]
    return Spread(name, len(residuals), sum(residuals) / len(residuals), ranks)


def _is_plotted(value: Label) -> bool:
    return isinstance(value, str) or abs(value) <= _LARGEST_PLOTTED


def _called(held_out: HeldOut, measurement: Measurement) -> Sequence[Label]:
    """The predicted classes where labels are text; the predictions where no cut makes classes of them."""
    try:
        return measurement.classes("accuracy", held_out, declared=True)
    except MetricUndefined:
        return measurement.predictions


def _has_scores(held_out: HeldOut, measurement: Measurement) -> bool:
    """Whether the predictions are scores of class 1, which a cut turns into the classes 0 and 1."""
    decided = measurement.answers is not None and measurement.answers.are_final
    return not decided and metrics.is_binary(held_out.class_labels)


def _confusion(actual: Sequence[Label], predicted: Sequence[Label]) -> Figure:
    classes = sorted({*actual, *predicted}, key=lambda each: (isinstance(each, str), each))
    if len(classes) > _MOST_CLASSES:
        table = Confusion([], [], too_many=len(classes))
    else:
        counts = Counter(zip(actual, predicted, strict=True))
        table = Confusion([_class(each) for each in classes], [[counts[a, p] for p in classes] for a in classes])
    return Figure("Confusion", "rows by actual and predicted class", confusion=table)


def _class(label: Label) -> str:
    return text.short(label, 40) if isinstance(label, str) else f"{label:g}"
