"""Drift by numbers: how often it is found where there is none, that it is found where there is, and the mathematics."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest
from scipy import special, stats

from ci_scripts.drift import statistics
from ci_scripts.drift.statistics import DISTRIBUTION, MISSING, NEW, WORDS, Cell, Finding, Limits

LIMITS = Limits(200, 0.95, 0.2)
REFERENCE, CAPTURED = 600, 1000
RUNS = 200
COLUMNS: list[Callable[[random.Random], Cell]] = [
    lambda draw: draw.gauss(0, 1),
    lambda draw: draw.expovariate(1),
    lambda draw: draw.choices(["F", "I", "M"], [0.3, 0.32, 0.38])[0],
    lambda draw: int(draw.random() < 0.1),
    lambda draw: None if draw.random() < 0.05 else draw.randrange(30),
    lambda draw: f"{draw.choice('abcdefgh')}{int(draw.paretovariate(1))}",  # rare values without end
]
"""Kinds of columns, by how one cell is drawn."""


def drawn(seed: int, rows: int) -> list[list[Cell]]:
    """The columns of so many rows."""
    draw = random.Random(seed)  # noqa: S311 - a draw that is always the same
    return [[cell(draw) for _ in range(rows)] for cell in COLUMNS]


def findings(
    reference: Sequence[Sequence[Cell]], captured: Sequence[Sequence[Cell]], limits: Limits = LIMITS
) -> list[Finding]:
    pairs = zip(reference, captured, strict=True)
    return statistics.judge([statistics.compare(f"{at}", *pair) for at, pair in enumerate(pairs)], limits)


def test_of_200_looks_without_drift_fewer_than_5_percent_alarm_by_significance_alone() -> None:
    alarms = by_both = 0
    for run in range(RUNS):
        reference, captured = drawn(2 * run, REFERENCE), drawn(2 * run + 1, CAPTURED)
        alarms += bool(findings(reference, captured, LIMITS._replace(psi_threshold=0)))
        by_both += bool(findings(reference, captured))
    assert 0 < alarms < 0.05 * RUNS
    assert by_both <= alarms


@pytest.mark.parametrize("seed", range(20))
def test_one_column_that_has_shifted_by_one_standard_deviation_is_found(seed: int) -> None:
    reference, captured = drawn(seed, REFERENCE), drawn(seed + 1000, CAPTURED)
    captured[0] = [cell + 1 for cell in captured[0] if isinstance(cell, float)]
    assert [(each.feature, each.test.what) for each in findings(reference, captured)] == [("0", DISTRIBUTION)]


@pytest.mark.parametrize("seed", range(20))
def test_a_category_that_was_renamed_is_found_and_named(seed: int) -> None:
    reference, captured = drawn(seed, REFERENCE), drawn(seed + 1000, CAPTURED)
    captured[2] = ["male" if cell == "M" else cell for cell in captured[2]]
    reported = findings(reference, captured)
    assert {(each.feature, each.test.what) for each in reported} == {("2", DISTRIBUTION), ("2", NEW)}
    assert any("'male'" in each.test.detail for each in reported)


def test_a_rare_category_that_was_renamed_is_found_though_its_psi_is_small() -> None:
    reference = [["a"] * 980 + ["b"] * 20]
    captured = [["a"] * 980 + ["B"] * 20]
    (finding,) = findings(reference, captured)
    assert (finding.test.what, finding.test.psi, finding.test.detail) == (NEW, None, "'B' (20 rows)")
    assert not findings(reference, [["a"] * 998 + ["B"] * 2]), "two rows may be chance"


def test_a_column_that_became_empty_or_words_is_found() -> None:
    draw = random.Random(1)  # noqa: S311
    reference = [[draw.gauss(0, 1) for _ in range(REFERENCE)]]
    empty = [[None if at % 4 == 0 else draw.gauss(0, 1) for at in range(CAPTURED)]]
    assert [each.test.what for each in findings(reference, empty)] == [MISSING]
    words = [["n/a" if at % 4 == 0 else draw.gauss(0, 1) for at in range(CAPTURED)]]
    assert [each.test.what for each in findings(reference, words)] == [WORDS, NEW]
    assert [each.test.what for each in findings(reference, [[None] * CAPTURED])] == [MISSING]


def test_many_rows_make_no_alarm_of_a_small_difference() -> None:
    draw = random.Random(1)  # noqa: S311
    reference = [[draw.gauss(0, 1) for _ in range(10_000)]]
    captured = [[draw.gauss(0.1, 1) for _ in range(10_000)]]
    assert findings(reference, captured, LIMITS._replace(psi_threshold=0))
    assert not findings(reference, captured)


def test_rows_of_another_width_count_by_how_many_there_are() -> None:
    assert statistics.odd_rows(600, 1000, 0, "") == []
    (many,) = statistics.odd_rows(600, 1000, 30, "have 9 columns")
    (one,) = statistics.odd_rows(600, 1000, 1, "have 9 columns")
    assert many.p < 1e-5 < 0.05 < one.p
    assert many.detail == "30 of 1000 rows have 9 columns"


def test_rare_values_are_one_bin_whichever_sample_has_them() -> None:
    before, after = {"a": 500, "b": 100, "c": 1}, {"a": 800, "b": 190, "d": 2}
    rows = statistics.bins_of(before, after)
    assert [row[0] for row in rows] == ["a", "(others)"], "too few to expect five in the smaller sample join the rarest"
    swapped = statistics.bins_of(after, before)
    assert [(value, two, one) for value, one, two in swapped] == rows


# --- the mathematics, beside that of others -------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "x"), [(0.5, 1.9), (0.5, 300), (4.5, 20), (10, 3), (50, 80), (2, 0.01), (1, 0), (9, 10)])
def test_the_incomplete_gamma_function_is_scipys(a: float, x: float) -> None:
    assert statistics.upper_gamma(a, x) == pytest.approx(float(special.gammaincc(a, x)), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_the_kolmogorov_smirnov_test_is_scipys_asymptotic_one(shift: float) -> None:
    draw = random.Random(1)  # noqa: S311
    first = [round(draw.gauss(0, 1), 1) for _ in range(300)]  # with ties
    second = [round(draw.gauss(shift, 1), 1) for _ in range(700)]
    distance = statistics.kolmogorov_smirnov(first, second)
    assert distance == pytest.approx(stats.ks_2samp(first, second).statistic)
    expected = special.kolmogorov(distance * math.sqrt(300 * 700 / 1000))
    assert statistics.kolmogorov_p(distance, 300, 700) == pytest.approx(float(expected), rel=1e-9)


def test_the_exact_test_of_shares_has_the_tails_of_the_hypergeometric_distribution() -> None:
    tail = stats.hypergeom(1600, 23, 1000)
    expected = 2 * min(tail.cdf(20), tail.sf(19))
    assert statistics.exact_share_p(600, 3, 1000, 20) == pytest.approx(float(expected), rel=1e-6)
    assert statistics.exact_share_p(600, 6, 1000, 10) == 1


def test_holms_method_is_that_of_the_textbook() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []


def test_the_stability_index_of_a_bin_that_has_become_empty_is_finite() -> None:
    assert statistics.stability([50, 50], [50, 50]) == pytest.approx(0)
    assert statistics.stability([90, 10], [80, 20]) == pytest.approx(0.1 * math.log(0.2 / 0.1 / (0.8 / 0.9)), abs=0.01)
    assert 0.2 < statistics.stability([90, 10], [100, 0]) < 1
    assert math.isfinite(statistics.stability([100, 0], [0, 100]))
