"""What a test run came to, and its reports: summary.md for people, metrics.txt and annotations.json for GitLab.

Called by the test command once pytest is done. report.html is page.py's; junit.xml is pytest's own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ci_scripts import job, text
from ci_scripts.job import Job
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.quality import Comparison, Threshold
from ci_scripts.quality_rules import LATENCY
from ci_scripts.test import metrics
from ci_scripts.test.measurement import Measurement, Segment
from ci_scripts.test.plugin import Outcome
from ci_scripts.test.shared import Compared

MOST_SEGMENTS = 100


class Check(NamedTuple):
    """A threshold and what was measured; None when it could not be."""

    threshold: Threshold
    measured: float | None
    segments: Sequence[Segment] = ()

    @property
    def outcome(self) -> str:
        if self.measured is None:
            return "error"
        return "passed" if self.threshold.holds(self.measured) else "failed"


class Versus(NamedTuple):
    """A comparison with the version of another stage, and what came of it."""

    comparison: Comparison
    compared: Compared
    ran: bool
    """Whether its test ran and passed."""

    @property
    def test(self) -> str:
        """The name of its test."""
        return f"quality: {self.comparison}"

    @property
    def outcome(self) -> str:
        """passed, failed or error; passed is what pytest was let run alone."""
        outcome = self.compared.outcome(self.comparison)
        return "error" if outcome == "passed" and not self.ran else outcome

    @property
    def sentence(self) -> str:
        """`mse 4.9, of prod 4.2, worse by 0.7 (0.95 interval 0.3 to 1.1), at most 0.1`, or why there is nothing."""
        if self.compared.note or self.compared.problem:
            return f"{self.comparison.key}: {self.compared.note or self.compared.problem}"
        return (
            f"{self.comparison.subject} {number(self.compared.candidate)}, of {self.comparison.stage} "
            f"{number(self.compared.champion)}, worse by {self.compared.interval(self.comparison)}, "
            f"at most {self.comparison.worse_by_at_most:g}"
        )


class Report(NamedTuple):
    """Everything the reports tell."""

    stage: str
    endpoint: str
    endpoint_url: str
    model_package: str
    """Its group and version."""
    model_package_arn: str
    checks: Sequence[Check]
    outcomes: Sequence[Outcome]
    complete: bool
    """Whether pytest got to the end of them."""
    held_out: HeldOut | None
    measurement: Measurement | None
    job: Job
    doubts: Sequence[str] = ()
    """What is odd about thresholds for such labels."""
    comparisons: Sequence[Versus] = ()
    package: Mapping[str, Any] = MappingProxyType({})
    """What DescribeModelPackage tells of the version."""
    approved_by: str = ""
    """Who approved it, as far as `build` could know that."""

    @property
    def broken(self) -> list[Outcome]:
        """The tests that failed or could not run."""
        return [each for each in self.outcomes if each.outcome in ("failed", "error")]

    @property
    def unmet(self) -> list[str]:
        """The thresholds and comparisons that do not hold, or that pytest was told not to look at."""
        return [
            *(
                f"{each.threshold} ({'not measured' if each.measured is None else number(each.measured)})"
                for each in self.checks
                if each.outcome != "passed"
            ),
            *(str(each.comparison) for each in self.comparisons if each.outcome != "passed"),
        ]

    @property
    def verdict(self) -> str:
        proven = self.complete and any(each.outcome == "passed" for each in self.outcomes)
        return "passed" if proven and not self.broken and not self.unmet else "failed"

    @property
    def tally(self) -> str:
        """`5 passed, 1 failed`."""
        counts = Counter(each.outcome for each in self.outcomes)
        words = (f"{counts[each]} {each}" for each in ("passed", "failed", "error", "skipped") if counts[each])
        return ", ".join(words) or "no tests"

    @property
    def latencies(self) -> dict[str, float]:
        """Percentiles of the held-out requests' durations, by metric; empty when nothing was measured."""
        measurement = self.measurement
        durations = (measurement.loaded or measurement).latencies if measurement else []
        return {name: metrics.percentile(durations, rank) for name, rank in LATENCY.items() if durations}

    @property
    def percentiles(self) -> str:
        """`p50 12 ms, p95 20 ms, p99 31 ms`."""
        return ", ".join(f"{name.split('_')[1]} {value:.0f} ms" for name, value in self.latencies.items())

    @property
    def rows(self) -> str:
        """`all 677 rows`, or `200 of 677 rows`; empty without held-out data."""
        if self.held_out is None:
            return ""
        used, total = len(self.held_out.labels), self.held_out.total
        return f"all {used} rows" if used == total else f"{used} of {total} rows"


def write(report: Report) -> None:
    """Write the three of them into the reports folder."""
    job.write_summary(summary(report))
    job.write_metrics(measured(report))
    job.write_annotations({f"SageMaker endpoint {report.endpoint}": report.endpoint_url})


def measured(report: Report) -> dict[str, float]:
    """The metrics for metrics.txt, prefixed by the stage: one pipeline may test more than one."""
    values = {_name(check.threshold.key): check.measured for check in report.checks if check.measured is not None}
    if report.measurement and report.measurement.loaded:
        values.setdefault("error_rate", report.measurement.loaded.error_rate)
    for each in report.comparisons:
        compared, name = each.compared, _name(each.comparison.key)
        values |= {
            key: value
            for key, value in {
                _name(f"{each.comparison.subject} of {each.comparison.stage}"): compared.champion,
                f"{name}_by": compared.worse_by,
                f"{name}_by_low": compared.low,
                f"{name}_by_high": compared.high,
            }.items()
            if value is not None
        }
        if compared.candidate is not None:
            values.setdefault(_name(each.comparison.subject), compared.candidate)
    counts = {"tests": len(report.outcomes), "tests_failed": len(report.broken)}
    return {f"{report.stage}_{name}": float(value) for name, value in (report.latencies | values | counts).items()}


def _name(key: str) -> str:
    """A name that OpenMetrics takes: `pinball(0.9) by region` is pinball_0_9_by_region."""
    return re.sub(r"[^a-z0-9_]+", "_", key.lower()).strip("_")


def summary(report: Report) -> list[str]:
    """Lines of Markdown."""
    lines = [
        f"## Test of {report.endpoint}: {report.verdict}",
        "",
        f"- model package: {text.cell(report.model_package)} ({text.code(report.model_package_arn)})",
        f"- endpoint: [{report.endpoint}]({report.endpoint_url})",
        f"- tests: {report.tally}",
    ]
    if report.held_out:
        lines.append(f"- held-out data: {report.rows} of {text.code(report.held_out.source)}")
    if report.measurement and report.measurement.loaded:
        loaded = report.measurement.loaded
        lines.append(f"- load: {loaded.load}; {report.percentiles}, error rate {number(loaded.error_rate)}")
    lines += [f"- warning: {text.cell(doubt)}" for doubt in report.doubts]
    if report.checks:
        lines += ["", "| Quality | Measured | Threshold | |", "|---|---:|---:|---|"]
        lines += [
            f"| {text.cell(check.threshold.subject)} | {number(check.measured)} | {bound(check.threshold)} "
            f"| {check.outcome} |"
            for check in report.checks
        ]
    for check in report.checks:
        if check.segments:
            lines += ["", f"| {text.cell(check.threshold.subject)} | Rows | Measured |", "|---|---:|---:|"]
            lines += [
                f"| {text.cell(each.name)} | {each.rows} | {of_segment(check.threshold, each)} |"
                for each in check.segments[:MOST_SEGMENTS]
            ]
    if report.comparisons:
        lines += [
            "",
            "| Compared | This version | Other version | Worse by | At most | |",
            "|---|---:|---:|---:|---:|---|",
        ]
    for each in report.comparisons:
        compared = each.compared
        result = text.cell(compared.note or compared.problem) or compared.interval(each.comparison)
        lines.append(
            f"| {text.cell(each.comparison.subject)} with {each.comparison.stage} | {number(compared.candidate)} "
            f"| {number(compared.champion)} | {result} | {each.comparison.worse_by_at_most:g} | {each.outcome} |"
        )
    if report.broken:
        lines += ["", "Failed:", ""]
        lines += [f"- {text.code(each.name)}" for each in report.broken]
    return lines


def of_segment(threshold: Threshold, segment: Segment) -> str:
    """`0.61, failed`, or why the segment does not count."""
    if segment.value is None:
        return f"fewer than {threshold.min_rows} rows"
    return number(segment.value) + ("" if threshold.holds(segment.value) else ", failed")


def bound(threshold: Threshold) -> str:
    """`at most 6.0`."""
    return f"{'at most' if threshold.comparison == '<=' else 'at least'} {threshold.limit}"


def number(value: float | None) -> str:
    """Four digits of a measured value; `-` where there is none."""
    return "-" if value is None else f"{value:.4g}"
