"""The reports of a test run: report.html and summary.md for people, metrics.txt and annotations.json for GitLab.

Called by the test command once pytest is done; junit.xml is pytest's own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import NamedTuple

from ci_scripts import job, text
from ci_scripts.errors import MetricUndefined
from ci_scripts.job import Job
from ci_scripts.quality import Label, Threshold
from ci_scripts.quality_rules import LATENCY
from ci_scripts.test import metrics, plots
from ci_scripts.test.held_out import HeldOut
from ci_scripts.test.measurement import Measurement, Segment, numbers
from ci_scripts.test.plugin import Outcome

_LONGEST_MESSAGE = 20_000  # characters of one test's failure; the job log has it whole
_LARGEST_PLOTTED = 1e100  # beyond it, differences of two numbers may be infinite
_MOST_CLASSES = 20
_MOST_SEGMENTS = 100

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

    @property
    def broken(self) -> list[Outcome]:
        """The tests that failed or could not run."""
        return [each for each in self.outcomes if each.outcome in ("failed", "error")]

    @property
    def unmet(self) -> list[Check]:
        """The thresholds that do not hold, or that pytest was told not to measure."""
        return [check for check in self.checks if check.outcome != "passed"]

    @property
    def verdict(self) -> str:
        proven = self.complete and any(each.outcome == "passed" for each in self.outcomes)
        return "passed" if proven and not self.broken and not self.unmet else "failed"

    @property
    def tally(self) -> str:
        """`5 passed, 1 failed`."""
        counts = Counter(each.outcome for each in self.outcomes)
        named = (f"{counts[each]} {each}" for each in ("passed", "failed", "error", "skipped") if counts[each])
        return ", ".join(named) or "no tests"

    @property
    def latencies(self) -> dict[str, float]:
        """Percentiles of the held-out requests' durations, by metric; empty when nothing was measured."""
        measurement = self.measurement
        durations = (measurement.loaded or measurement).latencies if measurement else []
        return {name: metrics.percentile(durations, rank) for name, rank in LATENCY.items() if durations}


def write(report: Report) -> None:
    """Write all of them into the reports folder."""
    job.write_page("report.html", html(report))
    job.write_summary(summary(report))
    job.write_metrics(measured(report))
    job.write_annotations({f"SageMaker endpoint {report.endpoint}": report.endpoint_url})


def measured(report: Report) -> dict[str, float]:
    """The metrics for metrics.txt, prefixed by the stage: one pipeline may test more than one."""
    values = {_name(check.threshold.key): check.measured for check in report.checks if check.measured is not None}
    if report.measurement and report.measurement.loaded:
        values.setdefault("error_rate", report.measurement.loaded.error_rate)
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
        lines.append(f"- held-out data: {_rows(report.held_out)} of {text.code(report.held_out.source)}")
    if report.measurement and report.measurement.loaded:
        loaded = report.measurement.loaded
        lines.append(f"- load: {loaded.load}; {_latencies(report)}, error rate {number(loaded.error_rate)}")
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
                f"| {text.cell(each.name)} | {each.rows} | {_of_segment(check.threshold, each)} |"
                for each in check.segments[:_MOST_SEGMENTS]
            ]
    if report.broken:
        lines += ["", "Failed:", ""]
        lines += [f"- {text.code(each.name)}" for each in report.broken]
    return lines


# --- report.html ---------------------------------------------------------------------------------------------------


def html(report: Report) -> str:
    """A page of its own: no script, no font and no picture from anywhere else."""
    template = files(__package__).joinpath("report.template.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(f"Test of {report.endpoint}"),
        verdict=_chip(report.verdict),
        facts="\n".join(f"<dt>{escape(name)}</dt><dd>{content}</dd>" for name, content in _facts(report)),
        sections="\n".join([*_cards(report), *_segments(report), *_plots(report), *_tests(report)]),
        footer=escape("Written by sagemaker-ci test"),
    )


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    yield "Stage", escape(report.stage)
    yield "Endpoint", _link(report.endpoint, report.endpoint_url)
    yield "Model package", f"{escape(report.model_package)}<br><code>{escape(report.model_package_arn)}</code>"
    if report.held_out:
        yield "Held-out data", f"{_rows(report.held_out)} of <code>{escape(report.held_out.source)}</code>"
    if report.latencies and report.measurement:
        loaded = report.measurement.loaded
        count = len((loaded or report.measurement).latencies)
        yield "Latency", f"{_latencies(report)} <span class=soft>({count} requests)</span>"
        if loaded:
            yield "Load", escape(f"{loaded.load}; error rate {number(loaded.error_rate)}")
            for said, failures in sorted(loaded.failures.items(), key=lambda pair: -pair[1])[:5]:
                yield "Failed requests", _text(f"{failures}: {said}")
    for doubt in report.doubts:
        yield "Warning", _text(doubt)
    yield "Tests", escape(report.tally)
    if report.job.in_gitlab:
        yield "Job", _link(f"{report.job.project_path}, {report.job.name} #{report.job.id}", report.job.url)
        yield "Commit", f"<code>{escape(report.job.commit[:12])}</code> on {escape(report.job.ref)}"


def _cards(report: Report) -> Iterator[str]:
    if not report.checks:
        return
    yield '<h2>Quality</h2><div class="grid-of-cards">'
    for check in report.checks:
        metric = check.threshold.metric
        title = _LABELS.get(metric, metric.replace("_", " ")) + check.threshold.subject.removeprefix(metric)
        note = "" if check.measured is not None else "not measured, "
        unit = " <span class=soft>ms</span>" if metric in LATENCY and check.measured is not None else ""
        yield (
            f'<div class="card"><div class="metric">{escape(title)}'
            f'{_chip(check.outcome)}</div><div class="value">{number(check.measured)}{unit}</div>'
            f'<div class="soft">{escape(note + bound(check.threshold))}</div></div>'
        )
    yield "</div>"


def _segments(report: Report) -> Iterator[str]:
    for check in report.checks:
        if not check.segments:
            continue
        yield f'<h2>{escape(check.threshold.subject)}</h2><div class="card scroll"><table>'
        yield '<tr><th>Segment</th><th class="number">Rows</th><th class="number">Measured</th></tr>'
        for each in check.segments[:_MOST_SEGMENTS]:
            yield (
                f'<tr><td>{_text(each.name)}</td><td class="number">{each.rows}</td>'
                f'<td class="number">{escape(_of_segment(check.threshold, each))}</td></tr>'
            )
        yield "</table></div>"


def _of_segment(threshold: Threshold, segment: Segment) -> str:
    """`0.61, failed`, or why the segment does not count."""
    if segment.value is None:
        return f"fewer than {threshold.min_rows} rows"
    return number(segment.value) + ("" if threshold.holds(segment.value) else ", failed")


def _latencies(report: Report) -> str:
    return ", ".join(f"{name.split('_')[1]} {value:.0f} ms" for name, value in report.latencies.items())


def _plots(report: Report) -> Iterator[str]:
    if not (report.held_out and report.measurement):
        return
    held_out, measurement = report.held_out, report.measurement
    labels, values = held_out.labels, measurement.predictions
    final = measurement.answers
    classifies = any(check.threshold.metric in metrics.CLASSIFICATION for check in report.checks)
    if (final and final.outputs) or not all(_is_plotted(each) for each in [*labels, *values]):
        return
    yield '<h2>Predictions on held-out data</h2><div class="plots">'
    if held_out.is_text or any(isinstance(each, str) for each in values):
        yield _figure(
            "Confusion", "rows by actual and predicted class", _confusion(labels, _called(held_out, measurement))
        )
    elif not classifies:
        actual, predicted = numbers(labels), numbers(values)
        residuals = [p - a for a, p in zip(actual, predicted, strict=True)]
        yield _figure("Predicted over actual", "exact on the dashed line", plots.scatter(actual, predicted))
        yield _figure(
            "Residuals", "too high right of the dashed line", plots.histogram({"": residuals}, "predicted - actual", 0)
        )
    elif _has_scores(held_out, measurement):
        actual, predicted = numbers(labels), numbers(values)
        scores = {
            f"class {label}": [p for a, p in zip(actual, predicted, strict=True) if a == label] for label in (0, 1)
        }
        key = '<span class="key series-0"></span>class 0<span class="key series-1"></span>class 1'
        yield _figure("Scores", key, plots.histogram(scores, "score", metrics.CUTOFF))
        called = [float(p >= metrics.CUTOFF) for p in predicted]
        yield _figure("Confusion", "rows by actual and predicted class", _confusion(actual, called))
    else:
        yield _figure("Confusion", "rows by actual and predicted class", _confusion(labels, values))
    yield "</div>"


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
    return not decided and metrics.is_binary(held_out.known)


def _figure(title: str, note: str, content: str) -> str:
    caption = f'<figcaption>{escape(title)} <span class="soft">{note}</span></figcaption>'
    return f'<figure class="card">{caption}{content}</figure>'


def _confusion(actual: Sequence[Label], predicted: Sequence[Label]) -> str:
    classes = sorted({*actual, *predicted}, key=lambda each: (isinstance(each, str), each))
    if len(classes) > _MOST_CLASSES:
        return f'<p class="soft">{len(classes)} classes are too many for a table.</p>'
    counts = Counter(zip(actual, predicted, strict=True))
    head = "".join(f"<td>{_class(each)}</td>" for each in classes)
    rows = "".join(
        f"<tr><th>actual {_class(a)}</th>"
        + "".join(f'<td class="{"right" if a == p else "wrong"}">{counts[a, p]}</td>' for p in classes)
        + "</tr>"
        for a in classes
    )
    return f'<div class="scroll"><table class="confusion"><tr><th>predicted</th>{head}</tr>{rows}</table></div>'


def _class(label: Label) -> str:
    return _text(text.short(label, 40)) if isinstance(label, str) else f"{label:g}"


def _tests(report: Report) -> Iterator[str]:
    if not report.outcomes:
        return
    yield '<h2>Tests</h2><div class="card scroll"><table>'
    yield '<tr><th>Result</th><th>Test</th><th class="number">Seconds</th></tr>'
    for each in sorted(report.outcomes, key=lambda outcome: outcome.outcome not in ("failed", "error")):
        message = f"<pre>{_text(each.message)}</pre>" if each.message else ""
        yield (
            f"<tr><td>{_chip(each.outcome)}</td><td><code>{_text(each.name)}</code>{message}</td>"
            f'<td class="number">{each.seconds:.2f}</td></tr>'
        )
    yield "</table></div>"


def _text(content: str) -> str:
    # Control characters (colours of a terminal, bytes of an answer) are not allowed in HTML.
    shown = re.sub(r"\x1b\[[0-9;]*m|[^\n\t -~\xa0-\U0010ffff]", "", content)
    return escape(shown if len(shown) <= _LONGEST_MESSAGE else f"{shown[:_LONGEST_MESSAGE]}\n... (cut)")


def _link(label: str, url: str) -> str:
    return f'<a href="{escape(url)}">{escape(label)}</a>'


def _chip(outcome: str) -> str:
    mark = {"passed": "✓", "skipped": "-"}.get(outcome, "✗")
    return f'<span class="chip {outcome}">{mark} {outcome}</span>'


def bound(threshold: Threshold) -> str:
    return f"{'at most' if threshold.comparison == '<=' else 'at least'} {threshold.limit}"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _rows(held_out: HeldOut) -> str:
    used = len(held_out.labels)
    return f"all {used} rows" if used == held_out.total else f"{used} of {held_out.total} rows"
