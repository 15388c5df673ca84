"""Whether two samples of rows come from one distribution, column by column. Decided on values alone; no library.

The rows of the reference and the captured ones are exchangeable where nothing has drifted, and every decision on how to
look (which values are rare, which tests there are) treats them alike. So no more than a share of 1 - confidence of all
runs alarms where nothing has drifted: each test keeps its level, and Holm's method keeps that of all of them together,
however they depend on each other (https://www.jstor.org/stable/4615733).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Cell = float | str | None
"""A number, text, or None where there is nothing."""

FEW_VALUES = 10
"""Up to so many different numbers are categories: a code or a flag, of which a new one matters."""
_BINS = 10  # of numbers, each with as many rows of the reference
_LEAST_EXPECTED = 5.0  # rows of a bin in the smaller sample, Cochran's rule for the chi-square test
_SHOWN_VALUES = 5

DISTRIBUTION, MISSING, WORDS, NEW, COLUMNS = "distribution", "missing values", "no numbers", "new values", "columns"
"""What is tested."""


class Test(NamedTuple):
    """One comparison of one column."""

    what: str
    p: float
    """How probable so large a difference is without drift."""
    psi: float | None
    """Population stability index; None where significance alone decides: the reference has nothing of the kind."""
    detail: str
    """What differs, for people."""


class Feature(NamedTuple):
    """One column in both samples."""

    name: str
    kind: str
    """number or category."""
    tests: Sequence[Test]
    reference: Sequence[Cell]
    captured: Sequence[Cell]

    @property
    def psi(self) -> float | None:
        """Of its distribution, whatever is significant; None where it cannot be compared."""
        return next((test.psi for test in self.tests if test.what == DISTRIBUTION), None)


class Finding(NamedTuple):
    """A test that says drift."""

    feature: str
    test: Test
    adjusted: float
    """The test's p-value, for as many tests as there are."""

    def __str__(self) -> str:
        psi = "" if self.test.psi is None else f", PSI {self.test.psi:.2f}"
        return f"{self.feature}: {self.test.what}, {self.test.detail} (p {self.adjusted:.2g}{psi})"


class Limits(NamedTuple):
    """What counts as drift."""

    minimum_rows: int
    """Fewer captured rows are not judged."""
    confidence: float
    """The share of looks that find nothing where nothing has drifted, all columns together."""
    psi_threshold: float
    """A smaller population stability index does not matter."""


def judge(features: Iterable[Feature], limits: Limits) -> list[Finding]:
    """What has drifted: significant for all tests together, and not small.

    With many rows every difference is significant, hence the second condition: a PSI of 0.1 to 0.25 is a moderate
    shift, more a large one (Siddiqi, Credit Risk Scorecards, 2006).
    """
    tests = [(feature.name, test) for feature in features for test in feature.tests]
    adjusted = holm([test.p for _, test in tests])
    return [
        Finding(name, test, p)
        for (name, test), p in zip(tests, adjusted, strict=True)
        if p <= 1 - limits.confidence and (test.psi is None or test.psi >= limits.psi_threshold)
    ]


def holm(values: Sequence[float]) -> list[float]:
    """p-values such that those at most alpha are right all together with probability 1 - alpha."""
    adjusted, highest = [1.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda each: values[each])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted


def compare(name: str, reference: Sequence[Cell], captured: Sequence[Cell]) -> Feature:
    """A column's tests."""
    before = [each for each in reference if each is not None]
    after = [each for each in captured if each is not None]
    tests = _share(MISSING, len(reference), len(reference) - len(before), len(captured), len(captured) - len(after))
    numbers = [each for each in before if not isinstance(each, str)]
    if 2 * len(numbers) <= len(before) or len(set(numbers)) <= FEW_VALUES:
        return Feature(
            name, "category", [*tests, *_categories(before, after), *_new(before, after)], reference, captured
        )
    arrived = [each for each in after if not isinstance(each, str)]
    words_before = [each for each in before if isinstance(each, str)]
    words_after = [each for each in after if isinstance(each, str)]
    tests += _share(WORDS, len(before), len(words_before), len(after), len(words_after))
    tests += _new(words_before, words_after, len(numbers), len(arrived))
    return Feature(name, "number", [*tests, *_numbers(numbers, arrived)], reference, captured)


def odd_rows(reference: int, captured: int, odd: int, example: str) -> list[Test]:
    """The test of `odd` rows among `captured` ones, of a kind of which `reference` rows have none."""
    if not odd:
        return []
    detail = f"{odd} of {captured} rows {example}"
    return [Test(COLUMNS, math.exp(_log_all_in_captured(reference, captured, odd)), None, detail)]


# --- the tests ------------------------------------------------------------------------------------------------------


def _numbers(before: Sequence[float], after: Sequence[float]) -> list[Test]:
    if not before or not after:
        return []
    distance = kolmogorov_smirnov(before, after)
    edges = sorted({sorted(before)[len(before) * cut // _BINS] for cut in range(1, _BINS)})
    bins = range(len(edges) + 1)
    counts = [Counter(bisect_right(edges, each) for each in sample) for sample in (before, after)]
    index = stability([counts[0][each] for each in bins], [counts[1][each] for each in bins])
    detail = f"mean {_mean(before):.4g} before, {_mean(after):.4g} now, KS {distance:.2f}"
    return [Test(DISTRIBUTION, kolmogorov_p(distance, len(before), len(after)), index, detail)]


def _categories(before: Sequence[Cell], after: Sequence[Cell]) -> list[Test]:
    if not before or not after:
        return []
    rows = bins_of(Counter(before), Counter(after))
    if len(rows) < 2:
        return []
    first, second = [row[1] for row in rows], [row[2] for row in rows]
    total = sum(first) + sum(second)
    statistic = 0.0
    for _, one, two in rows:
        for observed, sample in ((one, sum(first)), (two, sum(second))):
            expected = (one + two) * sample / total
            statistic += (observed - expected) ** 2 / expected
    most = max(rows, key=lambda row: abs(row[1] / sum(first) - row[2] / sum(second)))
    detail = f"{shown(most[0])} {most[1] / sum(first):.1%} before, {most[2] / sum(second):.1%} now"
    return [Test(DISTRIBUTION, upper_gamma((len(rows) - 1) / 2, statistic / 2), stability(first, second), detail)]


def bins_of(before: Mapping[Any, int], after: Mapping[Any, int]) -> list[tuple[Any, int, int]]:
    """Values and their counts in both samples, the frequent ones first; rare values are one bin, called `(others)`.

    Which are rare goes by both samples together: neither is the one by which the other is judged.
    """
    smaller = min(sum(before.values()), sum(after.values())) / (sum(before.values()) + sum(after.values()))
    together = Counter(before) + Counter(after)
    ordered = sorted(together, key=lambda value: (-together[value], str(value)))
    frequent = [value for value in ordered if together[value] * smaller >= _LEAST_EXPECTED]
    rest = ordered[len(frequent) :]
    if rest and sum(together[value] for value in rest) * smaller < _LEAST_EXPECTED and frequent:
        rest.append(frequent.pop())
    rows = [(value, before.get(value, 0), after.get(value, 0)) for value in frequent]
    if rest:
        others = [sum(sample.get(value, 0) for value in rest) for sample in (before, after)]
        rows.append(("(others)" if len(rest) > 1 else rest[0], others[0], others[1]))
    return rows


def _new(before: Sequence[Cell], after: Sequence[Cell], more_before: int = 0, more_after: int = 0) -> list[Test]:
    """Values of which the reference has none, beside `more_` rows of which it is not asked.

    A rare value may be new by chance: as probable as that all its rows of both samples are captured ones. For as many
    values as there are, by Bonferroni's method.
    """
    reference_values, arrived = set(before), Counter(after)
    new = Counter({value: count for value, count in arrived.items() if value not in reference_values})
    reference, captured = len(before) + more_before, len(after) + more_after
    if not new or not reference:
        return []
    values = len(reference_values | arrived.keys())
    chances = {value: values * math.exp(_log_all_in_captured(reference, captured, new[value])) for value in new}
    often = [f"{shown(value)} ({count} rows)" for value, count in new.most_common(_SHOWN_VALUES)]
    more = f" and {len(new) - _SHOWN_VALUES} more" if len(new) > _SHOWN_VALUES else ""
    return [Test(NEW, min(1.0, *chances.values()), None, ", ".join(often) + more)]


def _share(what: str, before: int, some_before: int, after: int, some_after: int) -> list[Test]:
    """Whether rows of a kind are as frequent as they were; no test where neither sample has any."""
    if not (some_before + some_after) or not before or not after:
        return []
    p = exact_share_p(before, some_before, after, some_after)
    index = stability([some_before, before - some_before], [some_after, after - some_after])
    return [Test(what, p, index, f"{some_before / before:.1%} before, {some_after / after:.1%} now")]


# --- the mathematics ------------------------------------------------------------------------------------------------


def kolmogorov_smirnov(first: Sequence[float], second: Sequence[float]) -> float:
    """The largest distance between the two empirical distribution functions."""
    one, two = sorted(first), sorted(second)
    i = j = 0
    largest = 0.0
    while i < len(one) and j < len(two):
        value = min(one[i], two[j])
        while i < len(one) and one[i] == value:
            i += 1
        while j < len(two) and two[j] == value:
            j += 1
        largest = max(largest, abs(i / len(one) - j / len(two)))
    return largest


def kolmogorov_p(distance: float, first: int, second: int) -> float:
    """The asymptotic p-value of a distance between samples of these sizes: too large, if anything, where values repeat.

    https://doi.org/10.1214/aoms/1177730256 (Smirnov 1948)
    """
    root = distance * math.sqrt(first * second / (first + second))
    if root < 0.2:  # the series converges slowly, to 1
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * root) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * math.fsum(terms)))


def upper_gamma(a: float, x: float) -> float:
    """The regularised upper incomplete gamma function: with a = df / 2 and x = chi-square / 2 the test's p-value.

    By the series below a + 1, else by the continued fraction: https://dlmf.nist.gov/8.11, https://dlmf.nist.gov/8.9
    """
    if x <= 0:
        return 1.0
    scale = math.exp(-x + a * math.log(x) - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while abs(term) > abs(total) * 1e-15:
            n += 1
            term *= x / n
            total += term
        return max(0.0, 1 - total * scale)
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    fraction = d
    for i in range(1, 10_000):
        factor = -i * (i - a)
        b += 2
        d = 1 / ((factor * d + b) or tiny)
        c = (b + factor / c) or tiny
        fraction *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return min(1.0, fraction * scale)


def exact_share_p(before: int, some_before: int, after: int, some_after: int) -> float:
    """Fisher's exact test, both directions: twice the smaller tail of the hypergeometric distribution."""
    total, some = before + after, some_before + some_after

    def log_chance(count: int) -> float:
        return _log_choose(some, count) + _log_choose(total - some, after - count) - _log_choose(total, after)

    low, high = max(0, some - before), min(some, after)
    below = math.fsum(math.exp(log_chance(count)) for count in range(low, some_after + 1))
    above = math.fsum(math.exp(log_chance(count)) for count in range(some_after, high + 1))
    return min(1.0, 2 * min(below, above))


def stability(before: Sequence[int], after: Sequence[int]) -> float:
    """The population stability index of counts by bin, with half a row more in each: an empty one is not infinite."""
    bins = len(before)
    index = 0.0
    for one, two in zip(before, after, strict=True):
        expected = (one + 0.5) / (sum(before) + 0.5 * bins)
        actual = (two + 0.5) / (sum(after) + 0.5 * bins)
        index += (actual - expected) * math.log(actual / expected)
    return index


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_all_in_captured(reference: int, captured: int, count: int) -> float:
    """The logarithm of how probable it is that all of `count` rows are captured ones."""
    return _log_choose(captured, count) - _log_choose(reference + captured, count)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def shown(value: Cell) -> str:
    """A value, for people."""
    return f"{value:g}" if isinstance(value, int | float) else repr(value[:40]) if isinstance(value, str) else "nothing"
