"""The interval by which two versions are compared: known values, direction, determinism, and how often it is wrong."""

# ruff: noqa: S311 - chance, not secrecy

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from ci_scripts.errors import MetricUndefined
from ci_scripts.quality import Comparison
from ci_scripts.test import bootstrap, class_metrics, metrics
from ci_scripts.test.bootstrap import Interval
from ci_scripts.test.measurement import Scoring
from ci_scripts.test.shared import Compared

ROWS = 400


def noisy(actual: Sequence[float], error: float, seed: int) -> Scoring:
    """Predictions whose error has this standard deviation, as the mean squared error scores them."""
    chance = random.Random(seed)
    return Scoring(metrics.mse, actual, [each + chance.gauss(0, error) for each in actual])


def labels(seed: int, rows: int = ROWS) -> list[float]:
    chance = random.Random(seed)
    return [chance.uniform(1, 29) for _ in range(rows)]


def red(interval: Interval, most: float = 0.0) -> bool:
    comparison = Comparison("mse", most, "prod", 0.95)
    return not Compared(1, 1, interval.worse_by, interval.low, interval.high).holds(comparison)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    chance = random.Random(1)
    differences = [chance.gauss(2, 3) for _ in range(2000)]
    zeros = [0.0] * len(differences)
    candidate = Scoring(lambda _, predicted: sum(predicted) / len(predicted), zeros, differences)
    champion = Scoring(lambda _, predicted: sum(predicted) / len(predicted), zeros, zeros)
    interval = bootstrap.interval("mae", candidate, champion, 0.95)
    mean = sum(differences) / len(differences)
    deviation = (sum((each - mean) ** 2 for each in differences) / len(differences)) ** 0.5
    half = 1.959964 * deviation / len(differences) ** 0.5
    assert interval.worse_by == pytest.approx(mean)
    assert interval.low == pytest.approx(mean - half, abs=0.1 * half)
    assert interval.high == pytest.approx(mean + half, abs=0.1 * half)


def test_a_difference_that_is_the_same_in_every_row_is_certain() -> None:
    actual = labels(2)
    candidate = Scoring(metrics.mae, [0.0] * ROWS, [3.0] * ROWS)
    champion = Scoring(metrics.mae, [0.0] * ROWS, [1.0] * ROWS)
    assert bootstrap.interval("mae", candidate, champion, 0.95) == Interval(2, 2, 2)
    same = noisy(actual, 1, 3)
    assert bootstrap.interval("mse", same, same, 0.95) == Interval(0, 0, 0)


def test_the_same_answers_always_give_the_same_interval() -> None:
    actual = labels(4)
    intervals = {bootstrap.interval("mse", noisy(actual, 2, 5), noisy(actual, 2, 6), 0.95) for _ in range(3)}
    assert len(intervals) == 1


def test_a_mean_by_its_terms_is_what_drawing_the_rows_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    actual = labels(7)
    candidate, champion = noisy(actual, 2.2, 8), noisy(actual, 2, 9)
    by_terms = bootstrap.interval("mse", candidate, champion, 0.95)
    monkeypatch.setattr(bootstrap, "MEANS", ())
    assert bootstrap.interval("mse", candidate, champion, 0.95) == pytest.approx(by_terms)


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        ("accuracy", class_metrics.accuracy),
        ("f1", class_metrics.f1),
        ("recall_macro", metrics.CLASSIFICATION["recall_macro"]),
        ("auc", class_metrics.auc),
    ],
)
def test_less_is_worse_where_more_is_better(metric: str, function: Callable[..., float]) -> None:
    chance = random.Random(10)
    actual = [float(chance.random() < 0.5) for _ in range(ROWS)]
    poor = [label if chance.random() < 0.7 else 1 - label for label in actual]
    worse = bootstrap.interval(metric, Scoring(function, actual, poor), Scoring(function, actual, actual), 0.95)
    better = bootstrap.interval(metric, Scoring(function, actual, actual), Scoring(function, actual, poor), 0.95)
    assert 0 < worse.low < worse.worse_by < worse.high
    assert better.worse_by == pytest.approx(-worse.worse_by)
    assert better.high < 0


def test_more_error_is_worse() -> None:
    actual = labels(11)
    for metric, function in (("mse", metrics.mse), ("rmse", metrics.rmse)):
        candidate = noisy(actual, 4, 12)._replace(function=function)
        champion = noisy(actual, 2, 13)._replace(function=function)
        assert bootstrap.interval(metric, candidate, champion, 0.95).low > 0
    worse, better = (noisy(actual, error, 14)._replace(function=metrics.r2) for error in (4, 2))
    assert bootstrap.interval("r2", worse, better, 0.95).low > 0


def test_verdicts_are_right_in_95_of_100_repeats() -> None:
    right = {"better": 0, "worse": 0, "equal": 0}
    for seed in range(100):
        actual = labels(seed, 100)
        champion = noisy(actual, 2.0, 1000 + seed)
        right["better"] += not red(bootstrap.interval("mse", noisy(actual, 1.5, 2000 + seed), champion, 0.95))
        right["equal"] += not red(bootstrap.interval("mse", noisy(actual, 2.0, 3000 + seed), champion, 0.95))
        right["worse"] += red(bootstrap.interval("mse", noisy(actual, 4.0, 4000 + seed), champion, 0.95))
    assert min(right.values()) >= 95, right


def test_a_version_may_be_as_much_worse_as_the_file_says() -> None:
    actual = labels(15)
    interval = bootstrap.interval("mse", noisy(actual, 3, 16), noisy(actual, 2, 17), 0.95)
    assert red(interval, most=0)
    assert red(interval, most=interval.low * 0.99)
    assert not red(interval, most=interval.low)


def test_draws_of_one_class_alone_are_left_out_and_too_many_of_them_refused() -> None:
    actual = [1.0, *[0.0] * 59]
    scoring = Scoring(class_metrics.auc, actual, [0.9, *[0.1] * 59])
    with pytest.raises(MetricUndefined, match=r"auc has no value for \d+ of 1000 draws"):
        bootstrap.interval("auc", scoring, scoring, 0.95)
