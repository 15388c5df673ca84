"""Quality metrics of classes, numbers or text, with the definitions and edge cases of scikit-learn.

Called by metrics.py, whose table names them. Plain Python for the same reason as there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from ci_scripts.errors import MetricUndefined
from ci_scripts.quality import Label

Labels = Sequence[Label]
Scores = Sequence[Mapping[Label, float]]
"""For each row the score of every class."""

A = TypeVar("A")
B = TypeVar("B")

# What scikit-learn clips probabilities to, so that a confident mistake costs much and not infinitely much.
_EPSILON = 2.220446049250313e-16


def accuracy(actual: Labels, predicted: Labels) -> float:
    """Share of rows whose class is right."""
    pairs = _pairs(actual, predicted)
    return sum(a == p for a, p in pairs) / len(pairs)


def precision(actual: Labels, predicted: Labels, positive: Label = 1.0) -> float:
    """Share of the rows called `positive` that are; 0 when none is called so."""
    return _of_class(_counts(actual, predicted), positive)[0]


def recall(actual: Labels, predicted: Labels, positive: Label = 1.0) -> float:
    """Share of the rows of class `positive` that are called so; 0 when there is none."""
    return _of_class(_counts(actual, predicted), positive)[1]


def f1(actual: Labels, predicted: Labels, positive: Label = 1.0) -> float:
    """Harmonic mean of precision and recall; 0 when there is no true positive."""
    return _of_class(_counts(actual, predicted), positive)[2]


def average(metric: str, actual: Labels, predicted: Labels) -> float:
    """`precision`, `recall` or `f1`, each `_macro` or `_weighted`: its mean over all classes that occur.

    Macro counts every class alike, weighted by its number of rows.
    """
    name, _, kind = metric.rpartition("_")
    pairs = _counts(actual, predicted)
    position = ("precision", "recall", "f1").index(name)
    support = Counter(actual)
    classes = list(dict.fromkeys([*actual, *predicted]))
    values = {each: _of_class(pairs, each)[position] for each in classes}
    if kind == "macro":
        return sum(values.values()) / len(values)
    return sum(values[each] * support[each] for each in classes) / len(actual)


def log_loss(actual: Sequence[float], predicted: Sequence[float]) -> float:
    """Mean negative log-likelihood of the labels, which must be 0 and 1; predictions are probabilities of class 1."""
    pairs = _pairs(actual, predicted)
    outside = next((p for p in predicted if not 0 <= p <= 1), None)
    if outside is not None:
        raise MetricUndefined(f"log_loss needs probabilities from 0 to 1, the endpoint answered {outside:g}")
    return _mean([-math.log(max(p if a == 1 else 1 - p, _EPSILON)) for a, p in pairs])


def log_loss_of_classes(actual: Labels, scores: Scores) -> float:
    """The same for any number of classes: the mean of what the probability of each row's own class costs."""
    losses = []
    for label, row in _pairs(actual, scores):
        outside = next((p for p in row.values() if not 0 <= p <= 1), None)
        if outside is not None:
            raise MetricUndefined(f"log_loss needs probabilities from 0 to 1, the endpoint answered {outside:g}")
        total = sum(row.values())
        if abs(total - 1) > 0.001 * len(row):
            raise MetricUndefined(f"log_loss needs probabilities that add up to 1, those of a row add up to {total:g}")
        if label not in row:
            raise MetricUndefined(f"log_loss needs a probability of every class, the endpoint has none of {label!r}")
        losses.append(-math.log(min(max(row[label], _EPSILON), 1 - _EPSILON)))
    return _mean(losses)


def auc(actual: Sequence[float], predicted: Sequence[float]) -> float:
    """Area under the ROC curve of labels 0 and 1: how often a row of class 1 scores higher than one of class 0.

    Equal scores count half. Raises MetricUndefined where the rows are of one class.
    """
    pairs = sorted(_pairs(actual, predicted), key=lambda pair: pair[1])
    positives = sum(1 for a, _ in pairs if a == 1)
    negatives = len(pairs) - positives
    if not positives or not negatives:
        raise MetricUndefined("auc needs rows of two classes, all rows of held-out data are of one")
    ranks, start = 0.0, 0
    while start < len(pairs):
        end = start
        while end < len(pairs) and pairs[end][1] == pairs[start][1]:
            end += 1
        tied = sum(1 for a, _ in pairs[start:end] if a == 1)
        ranks += tied * (start + 1 + end) / 2  # the mean rank of equal scores
        start = end
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def auc_of_classes(actual: Labels, scores: Scores) -> float:
    """The mean over all classes of the area under the ROC curve of each against the others."""
    pairs = _pairs(actual, scores)
    classes = list(dict.fromkeys(label for row in scores for label in row))
    stranger = next((label for label in actual if label not in classes), None)
    if stranger is not None:
        raise MetricUndefined(f"auc needs a score of every class, the endpoint has none of {stranger!r}")
    absent = next((each for each in classes if each not in set(actual)), None)
    if absent is not None:
        raise MetricUndefined(f"auc needs rows of every class, the held-out data has none of {absent!r}")
    return _mean(
        [auc([float(a == each) for a, _ in pairs], [row.get(each, 0.0) for _, row in pairs]) for each in classes]
    )


def _pairs(actual: Sequence[A], predicted: Sequence[B]) -> list[tuple[A, B]]:
    if not actual:
        raise MetricUndefined("there is no held-out data to measure quality with")
    return list(zip(actual, predicted, strict=True))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _counts(actual: Labels, predicted: Labels) -> Counter[tuple[Label, Label]]:
    """How many rows there are of each label and prediction."""
    return Counter(_pairs(actual, predicted))


def _of_class(pairs: Mapping[tuple[Label, Label], int], positive: Label) -> tuple[float, float, float]:
    """Precision, recall and F1 of one class."""
    hits = pairs.get((positive, positive), 0)
    called = sum(count for (_, p), count in pairs.items() if p == positive)
    actual = sum(count for (a, _), count in pairs.items() if a == positive)
    return _ratio(hits, called), _ratio(hits, actual), _ratio(2 * hits, called + actual)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0


def roc(actual: Sequence[float], scores: Sequence[float]) -> list[tuple[float, float]]:
    """Share of the others and share of class 1 that are called class 1, from the highest cut to the lowest.

    Raises MetricUndefined where all rows are of one class.
    """
    cuts, positives, negatives = _cuts(actual, scores)
    return [(0.0, 0.0), *((false / negatives, true / positives) for true, false in cuts)]


def precision_recall(actual: Sequence[float], scores: Sequence[float]) -> list[tuple[float, float]]:
    """Recall and precision of class 1, from the highest cut to the lowest. Raises MetricUndefined as `roc`."""
    cuts, positives, _ = _cuts(actual, scores)
    return [(true / positives, true / (true + false)) for true, false in cuts]


def _cuts(actual: Sequence[float], scores: Sequence[float]) -> tuple[list[tuple[int, int]], int, int]:
    """At each score, how many rows of class 1 and how many others have at least that one; and how many there are."""
    positives = sum(1 for each in actual if each)
    negatives = len(actual) - positives
    if not positives or not negatives:
        raise MetricUndefined("a curve of scores needs rows of two classes")
    cuts, true, false = [], 0, 0
    ordered = sorted(zip(scores, actual, strict=True), reverse=True)
    for at, (score, label) in enumerate(ordered):
        true, false = (true + 1, false) if label else (true, false + 1)
        if at + 1 == len(ordered) or ordered[at + 1][0] != score:
            cuts.append((true, false))
    return cuts, positives, negatives
