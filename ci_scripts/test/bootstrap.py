"""By how much one version's metric is worse than another's on the same rows, and how certain that is.

Called by comparison.py. The paired percentile bootstrap: rows are drawn with replacement, both versions are measured on
the same draw, and what is between the outer draws is the interval (Efron and Tibshirani, 1993, chapter 13). Plain
Python for the same reason as metrics.py, and of a fixed seed: the same answers always give the same verdict.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from ci_scripts.errors import MetricUndefined
from ci_scripts.quality_rules import HIGHER_IS_BETTER
from ci_scripts.test.measurement import Scoring

DRAWS = 1000
"""Of 0.99 confidence, five of them lie on either side of the interval."""
MEANS = ("mse", "mae", "mape", "pinball", "accuracy", "log_loss")
"""Metrics that are the mean of a term of every row: a draw needs no more than the mean of the terms' differences."""

_SEED = 20_111
_LEAST_DRAWS = 0.9  # that have a value: others may hold rows of one class alone


class Interval(NamedTuple):
    """By how much the candidate is worse than the champion, in the unit of the metric; negative: better."""

    worse_by: float
    low: float
    high: float


def interval(metric: str, candidate: Scoring, champion: Scoring, confidence: float) -> Interval:
    """The difference over all rows, and its interval of two sides. Raises MetricUndefined where a draw has no value."""
    sign = -1 if metric in HIGHER_IS_BETTER else 1
    worse_by = sign * (candidate.value - champion.value)
    if metric in MEANS:
        draws = _of_means([sign * (a - b) for a, b in zip(candidate.terms(), champion.terms(), strict=True)])
    else:
        draws = [sign * each for each in _of_metric(candidate, champion)]
    if len(draws) < _LEAST_DRAWS * DRAWS:
        raise MetricUndefined(
            f"{metric} has no value for {DRAWS - len(draws)} of {DRAWS} draws of the held-out rows: too few are of "
            "one of the classes"
        )
    draws.sort()
    outer = round((1 - confidence) / 2 * len(draws))
    return Interval(worse_by, draws[outer], draws[len(draws) - 1 - outer])


def _of_means(differences: Sequence[float]) -> list[float]:
    rows = len(differences)
    if not any(each != differences[0] for each in differences):
        return [differences[0]] * DRAWS
    chance = random.Random(_SEED)  # noqa: S311 - chance, not secrecy
    return [sum(chance.choices(differences, k=rows)) / rows for _ in range(DRAWS)]


def _of_metric(candidate: Scoring, champion: Scoring) -> list[float]:
    rows = range(len(candidate.actual))
    chance = random.Random(_SEED)  # noqa: S311 - chance, not secrecy
    values = []
    for _ in range(DRAWS):
        sample = chance.choices(rows, k=len(rows))
        try:
            values.append(_on(candidate, sample) - _on(champion, sample))
        except MetricUndefined:
            continue
    return values


def _on(scoring: Scoring, rows: Sequence[int]) -> float:
    return scoring.function([scoring.actual[row] for row in rows], [scoring.predicted[row] for row in rows])
