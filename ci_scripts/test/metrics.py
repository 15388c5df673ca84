"""Quality metrics in plain Python, with the definitions and edge cases of scikit-learn (the unit tests compare them).

Called by the quality checks. No numpy: it would be a third of the size of the image these jobs run in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ci_scripts.errors import MetricUndefined

Numbers = Sequence[float]

CUTOFF = 0.5
"""A score of at least this much counts as class 1."""

# What scikit-learn clips probabilities to, so that a confident mistake costs much and not infinitely much.
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


def accuracy(actual: Numbers, predicted: Numbers) -> float:
    """Share of rows whose class is right; predictions are classes."""
    return _mean([float(a == p) for a, p in _pairs(actual, predicted)])


def precision(actual: Numbers, predicted: Numbers) -> float:
    """Share of the rows called class 1 that are class 1; 0 when none is called so."""
    true_positive, false_positive, _ = _confusion("precision", actual, predicted)
    return _ratio(true_positive, true_positive + false_positive)


def recall(actual: Numbers, predicted: Numbers) -> float:
    """Share of the rows of class 1 that are called so; 0 when there is none."""
    true_positive, _, false_negative = _confusion("recall", actual, predicted)
    return _ratio(true_positive, true_positive + false_negative)


def f1(actual: Numbers, predicted: Numbers) -> float:
    """Harmonic mean of precision and recall; 0 when there is no true positive."""
    true_positive, false_positive, false_negative = _confusion("f1", actual, predicted)
    return _ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative)


def log_loss(actual: Numbers, predicted: Numbers) -> float:
    """Mean negative log-likelihood of the labels, which must be 0 and 1; predictions are probabilities of class 1."""
    pairs = _pairs(actual, predicted)
    outside = next((p for p in predicted if not 0 <= p <= 1), None)
    if outside is not None:
        raise MetricUndefined(f"log_loss needs probabilities from 0 to 1, the endpoint answered {outside:g}")
    return _mean([-math.log(max(p if a == 1 else 1 - p, _EPSILON)) for a, p in pairs])


Metric = Callable[[Numbers, Numbers], float]
REGRESSION: dict[str, Metric] = {"mse": mse, "rmse": rmse, "mae": mae, "r2": r2, "max_error": max_error}
CLASSIFICATION: dict[str, Metric] = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "log_loss": log_loss,
}
TWO_CLASSES = ("precision", "recall", "f1", "log_loss")
LATENCY = {"latency_p50_ms": 50, "latency_p95_ms": 95}
"""Percentiles of the requests' durations, in milliseconds."""


def percentile(values: Numbers, rank: float) -> float:
    """The smallest value that at least `rank` percent of `values` do not exceed (nearest rank)."""
    if not values:
        raise MetricUndefined("there were no requests to measure")
    return sorted(values)[max(0, math.ceil(rank / 100 * len(values)) - 1)]


def is_binary(labels: Numbers) -> bool:
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


def doubts(metric: str, limit: float, comparison: str, classes: Numbers) -> str:
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


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0


def _confusion(metric: str, actual: Numbers, predicted: Numbers) -> tuple[int, int, int]:
    """True positives, false positives, false negatives."""
    pairs = [(a == 1, p == 1) for a, p in _pairs(actual, predicted)]
    return pairs.count((True, True)), pairs.count((False, True)), pairs.count((True, False))


def require_binary(metric: str, labels: Numbers) -> None:
    """Raise MetricUndefined for a metric of two classes where `labels`, all that there are, are others than 0 and 1."""
    if metric in TWO_CLASSES and not is_binary(labels):
        stranger = next((f"{each:g}" for each in labels if each not in (0, 1)), "other numbers")
        raise MetricUndefined(f"{metric} needs labels 0 and 1, the held-out data has {stranger}")
