"""Quality metrics in plain Python, with the definitions and edge cases of scikit-learn (the unit tests compare them).

Called by the quality checks. No numpy: it would be a third of the size of the image these jobs run in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from ci_scripts import quality_rules
from ci_scripts.errors import MetricUndefined
from ci_scripts.quality import Label
from ci_scripts.quality_rules import AVERAGES
from ci_scripts.quality_rules import LATENCY as LATENCY
from ci_scripts.test import class_metrics

Numbers = Sequence[float]

CUTOFF = 0.5
"""A score of at least this much counts as class 1."""

# What scikit-learn puts in the place of a label of 0 where it divides by it.
_EPSILON = 2.220446049250313e-16


def mse(actual: Numbers, predicted: Numbers) -> float:
    """Mean squared error."""
    return _mean([(a - p) * (a - p) for a, p in _pairs(actual, predicted)])


def rmse(actual: Numbers, predicted: Numbers) -> float:
    """Root of the mean squared error, in the unit of the label."""
    return math.sqrt(mse(actual, predicted))


def mae(actual: Numbers, predicted: Numbers) -> float:
    """Mean absolute error, in the unit of the label."""
    return _mean([abs(a - p) for a, p in _pairs(actual, predicted)])


def max_error(actual: Numbers, predicted: Numbers) -> float:
    """Largest absolute error, in the unit of the label."""
    return max(abs(a - p) for a, p in _pairs(actual, predicted))


def r2(actual: Numbers, predicted: Numbers) -> float:
    """Coefficient of determination: 1 is perfect, 0 is as good as always answering the mean.

    Constant labels give 1 when every prediction is right and 0 otherwise. Raises MetricUndefined for a single row.
    """
    pairs = _pairs(actual, predicted)
    if len(pairs) < 2:
        raise MetricUndefined("r2 needs at least 2 rows of held-out data")
    mean = _mean(actual)
    residual = sum((a - p) * (a - p) for a, p in pairs)
    total = sum((a - mean) * (a - mean) for a in actual)
    if total == 0:
        return 1.0 if residual == 0 else 0.0
    return 1 - residual / total


def mape(actual: Numbers, predicted: Numbers) -> float:
    """Mean absolute error as a share of the label: 0.1 is 10 percent."""
    return _mean([abs(a - p) / max(abs(a), _EPSILON) for a, p in _pairs(actual, predicted)])


def pinball(actual: Numbers, predicted: Numbers, quantile: float = 0.5) -> float:
    """Mean pinball loss of a forecast of a quantile: a label above it costs `quantile`, one below the rest."""
    return _mean([quantile * max(a - p, 0) + (1 - quantile) * max(p - a, 0) for a, p in _pairs(actual, predicted)])


Metric = Callable[[Numbers, Numbers], float]
REGRESSION: dict[str, Metric] = {
    "mse": mse,
    "rmse": rmse,
    "mae": mae,
    "r2": r2,
    "max_error": max_error,
    "mape": mape,
    "pinball": pinball,
}
CLASSIFICATION: dict[str, Callable[..., float]] = {
    "accuracy": class_metrics.accuracy,
    "precision": class_metrics.precision,
    "recall": class_metrics.recall,
    "f1": class_metrics.f1,
    **{metric: partial(class_metrics.average, metric) for metric in AVERAGES},
    "log_loss": class_metrics.log_loss,
    "auc": class_metrics.auc,
}


def percentile(values: Numbers, rank: float) -> float:
    """The smallest value that at least `rank` percent of `values` do not exceed (nearest rank)."""
    if not values:
        raise MetricUndefined("there were no requests to measure")
    return sorted(values)[max(0, math.ceil(rank / 100 * len(values)) - 1)]


def is_binary(labels: Sequence[Label]) -> bool:
    """Whether labels are classes 0 and 1 and nothing else."""
    return bool(labels) and set(labels) <= {0, 1}


def called(metric: str, scores: Numbers, *, any_number: bool) -> list[float]:
    """The class 0 or 1 that each score is cut to. Raises MetricUndefined for what is no score, unless `any_number` is.

    A 2 among the answers may be a third class, and then no cut makes it right.
    """
    outside = next((score for score in scores if not 0 <= score <= 1), None)
    if outside is not None and not any_number:
        raise MetricUndefined(
            f"{metric} cuts scores from 0 to 1 at {CUTOFF}, the endpoint answered {outside:g}",
            hint="If that is a class, list all of them in quality.yml, `data: {classes: [0, 1, 2]}`. If it is a score "
            f"and {CUTOFF} the right cut all the same, `data: {{classes: [0, 1]}}`.",
        )
    return [float(score >= CUTOFF) for score in scores]


def doubts(metric: str, limit: float, comparison: str, classes: Sequence[Label]) -> str:
    """What is odd about a threshold for labels of these classes (none: numbers); empty when it fits."""
    if metric in REGRESSION and classes and is_binary(classes):
        never = (
            f"; as no error is larger than 1, {metric} {comparison} {limit} cannot fail"
            if comparison == "<=" and metric != "r2" and limit >= 1
            else ""
        )
        return f"{metric} measures numbers, and the labels are the classes 0 and 1{never}: see accuracy, f1 or log_loss"
    if metric in CLASSIFICATION and not classes:
        return f"{metric} counts right classes, and the labels are too many different numbers for that: see mse or r2"
    return ""


def _pairs(actual: Numbers, predicted: Numbers) -> list[tuple[float, float]]:
    if not actual:
        raise MetricUndefined("there is no held-out data to measure quality with")
    return list(zip(actual, predicted, strict=True))


def _mean(values: Numbers) -> float:
    return sum(values) / len(values)


def objection(metric: str, labels: Sequence[Label], classes: Sequence[Label], positive: Label | None = None) -> str:
    """Why a metric has no value for these held-out labels, whatever is answered; empty when it has one.

    `classes` are all that a label can be, not only those of the rows that were sampled.
    """
    class_labels = classes or [label for label in labels if isinstance(label, str)]
    if problem := quality_rules.of_classes(metric, class_labels, positive):
        return problem
    if metric == "mape" and 0 in labels:
        return "mape divides by the label, and the held-out data has labels of 0: see mae or rmse"
    if metric == "r2" and len(labels) < 2:
        return "r2 needs at least 2 rows of held-out data"
    if metric == "auc" and len(set(labels)) < 2:
        return "auc needs rows of two classes, all rows of held-out data are of one"
    return ""
