"""The reports: what they say, that nothing in them can break the page, and that the plots are sound."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from ci_scripts.job import Job
from ci_scripts.page import plots
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.quality import Label, Load, Threshold
from ci_scripts.test import page, report
from ci_scripts.test.load import Loaded
from ci_scripts.test.measurement import Measurement, Segment
from ci_scripts.test.plugin import Outcome
from ci_scripts.test.report import Check, Report

PASSED = Outcome("tests/test_endpoint.py::test_age", "passed", 0.1, "")
FAILED = Outcome("tests/test_endpoint.py::test_batch", "failed", 0.2, "assert 1 == 2")
SKIPPED = Outcome("tests/test_endpoint.py::test_later", "skipped", 0, "Skipped: later")
MSE = Check(Threshold("mse", "<=", 6.0), 4.5)


def build(
    *outcomes: Outcome,
    checks: tuple[Check, ...] = (),
    labels: tuple[Label, ...] = (),
    predictions: tuple[Label, ...] = (),
) -> Report:
    return Report(
        stage="staging",
        endpoint="abalone-staging",
        endpoint_url="https://eu-west-1.console.aws.amazon.com/sagemaker/home#/endpoints/abalone-staging",
        model_package="abalone-p-1 version 3",
        model_package_arn="arn:aws:sagemaker:eu-west-1:123456789012:model-package/abalone-p-1/3",
        checks=checks,
        outcomes=outcomes,
        complete=True,
        held_out=HeldOut([[0.1]] * len(labels), list(labels), "s3://bucket/test.csv", 627) if labels else None,
        measurement=Measurement(list(predictions), [10.0, 20.0]) if predictions else None,
        job=Job("7", "test-staging", "https://gitlab.example/j/7", "1", "push", "2", "team/deploy", "", "main", "abc"),
    )


@pytest.mark.parametrize(
    ("outcomes", "verdict", "tally"),
    [
        ((PASSED,), "passed", "1 passed"),
        ((PASSED, FAILED), "failed", "1 passed, 1 failed"),
        ((PASSED, SKIPPED), "passed", "1 passed, 1 skipped"),
        ((SKIPPED,), "failed", "1 skipped"),
        ((), "failed", "no tests"),
    ],
)
def test_the_verdict_is_passed_only_when_something_passed_and_nothing_failed(
    outcomes: tuple[Outcome, ...], verdict: str, tally: str
) -> None:
    built = build(*outcomes)
    assert (built.verdict, built.tally) == (verdict, tally)


def test_the_verdict_of_a_run_that_was_cut_short_is_failed() -> None:
    assert build(PASSED)._replace(complete=False).verdict == "failed"


@pytest.mark.parametrize(("measured", "verdict"), [(4.5, "passed"), (6.5, "failed"), (None, "failed")])
def test_the_verdict_is_passed_only_when_every_threshold_holds(measured: float | None, verdict: str) -> None:
    assert build(PASSED, checks=(Check(MSE.threshold, measured),)).verdict == verdict


@pytest.mark.parametrize(("measured", "outcome"), [(4.5, "passed"), (6.5, "failed"), (None, "error")])
def test_a_check_without_a_measurement_is_an_error(measured: float | None, outcome: str) -> None:
    assert Check(Threshold("mse", "<=", 6.0), measured).outcome == outcome


def test_the_metrics_are_named_by_stage() -> None:
    built = build(PASSED, FAILED, checks=(MSE,), labels=(9.0, 10.0), predictions=(9.5, 9.5))
    assert report.measured(built) == {
        "staging_latency_p50_ms": 10.0,
        "staging_latency_p95_ms": 20.0,
        "staging_latency_p99_ms": 20.0,
        "staging_mse": 4.5,
        "staging_tests": 2.0,
        "staging_tests_failed": 1.0,
    }


def test_the_summary_names_version_thresholds_and_failures() -> None:
    text = "\n".join(report.summary(build(PASSED, FAILED, checks=(MSE,), labels=(9.0,), predictions=(9.5,))))
    assert "## Test of abalone-staging: failed" in text
    assert "abalone-p-1 version 3" in text
    assert "1 of 627 rows of `s3://bucket/test.csv`" in text
    assert "| mse | 4.5 | at most 6.0 | passed |" in text
    assert "- `tests/test_endpoint.py::test_batch`" in text


def test_what_a_test_or_a_model_says_cannot_break_the_page() -> None:
    nasty = Outcome("tests/t.py::test[<script>]", "failed", 0, "\x1b[31m</pre><script>alert(1)</script>\x00 $title")
    shown = page.html(build(nasty, checks=(MSE,)))
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $title" in shown
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", shown)


class Attributes(HTMLParser):
    """The names of a page's attributes, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {name for name, _ in attrs}


# What the template writes, without a plot.
ATTRIBUTES = {"aria-label", "charset", "class", "content", "href", "lang", "name", "role", "tabindex"}
NASTY = "<script>alert(1)</script>"


def test_names_classes_and_columns_are_text_wherever_they_stand() -> None:
    segments = [Segment(f"{NASTY}&\"'", 40, 0.5), Segment("EU", 3, None)]
    check = Check(Threshold("accuracy", ">=", 0.9, by=NASTY), 0.5, segments)
    built = build(PASSED, checks=(check,), labels=(NASTY, "b", "b"), predictions=(NASTY, "b", NASTY))
    load = Loaded(Load(20, 60, 32, 1), [1.0], {NASTY: 3})
    assert built.measurement
    built = built._replace(
        stage=NASTY,
        endpoint=NASTY,
        endpoint_url=f"https://example.com/'\">{NASTY}",
        model_package=NASTY,
        model_package_arn=NASTY,
        measurement=built.measurement._replace(loaded=load),
        doubts=[NASTY],
        job=built.job._replace(name=NASTY, project_path=NASTY, ref=NASTY, commit=NASTY, url=f'"{NASTY}'),
    )
    shown = page.html(built)
    assert "<script" not in shown
    assert Attributes(shown).names <= ATTRIBUTES  # no quote ends one early
    for text in (
        "<h1>Test of &lt;script&gt;",
        '<a href="https://example.com/&#39;&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;">&lt;script&gt;',
        "<dt>Model package</dt><dd>&lt;script&gt;",
        "<dd>3: &lt;script&gt;",
        "<dt>Warning</dt><dd>&lt;script&gt;",
        "<h2>accuracy by &lt;script&gt;",  # the column
        "<td>&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;</td>",  # its value
        "<th>actual &lt;script&gt;",  # a class, downwards
        "<tr><th>predicted</th><td>&lt;script&gt;",  # and across
    ):
        assert text in shown


def test_the_page_loads_nothing_from_elsewhere() -> None:
    shown = page.html(build(PASSED, checks=(MSE,), labels=(9.0, 10.0), predictions=(9.5, 9.5)))
    assert not re.search(r"src=|url\(|@import|<link|<script", shown)
    assert "prefers-color-scheme: dark" in shown


def test_regression_is_shown_as_scatter_and_residuals() -> None:
    built = build(PASSED, checks=(MSE,), labels=(9.0, 10.0), predictions=(9.5, 9.5))
    assert [each.title for each in page.figures(built)] == ["Predicted over actual", "Residuals"]
    shown = page.html(built)
    assert shown.count("<svg") == 3  # and the latencies
    assert "<title>actual 9, predicted 9.5</title>" in shown
    assert "predicted - actual" in shown


def test_binary_classification_is_shown_as_scores_and_confusion() -> None:
    check = Check(Threshold("f1", ">=", 0.5), 0.8)
    built = build(PASSED, checks=(check,), labels=(0.0, 1.0, 1.0), predictions=(0.1, 0.9, 0.2))
    assert [each.title for each in page.figures(built)] == ["ROC", "Precision and recall", "Scores", "Confusion"]
    shown = page.html(built)
    assert '<td class="right">1</td><td class="wrong">0</td>' in shown
    assert '<td class="wrong">1</td><td class="right">1</td>' in shown


def test_classes_are_shown_as_confusion_alone() -> None:
    check = Check(Threshold("accuracy", ">=", 0.5), 1.0)
    built = build(PASSED, checks=(check,), labels=(0.0, 1.0, 2.0), predictions=(0.0, 1.0, 2.0))
    assert [each.title for each in page.figures(built)] == ["Confusion"]
    shown = page.html(built)
    assert shown.count('<td class="right">1</td>') == 3


def test_nothing_but_the_page_takes_the_time_to_import_jinja() -> None:
    modules = (
        "ci_scripts.cli, ci_scripts.testing, ci_scripts.test.command, ci_scripts.test.plugin, ci_scripts.test.report"
    )
    code = f"import sys, {modules}; sys.exit('jinja2' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [
        ((9.0,), (9.0,)),
        ((9.0, 9.0), (9.0, 9.0)),
        ((0.0, 1.0), (1e300, -1e308)),
        ((1e12, 1e12 + 1e-3), (1e12, 1e12)),
        ((-1e-9, 1e-9), (0.0, 0.0)),
    ],
    ids=["one row", "all the same", "huge", "nearly the same", "tiny"],
)
def test_odd_numbers_do_not_break_the_report(labels: tuple[float, ...], predictions: tuple[float, ...]) -> None:
    shown = page.html(build(PASSED, checks=(MSE,), labels=labels, predictions=predictions))
    assert "nan" not in shown
    assert "inf" not in re.sub(r"<style>.*</style>", "", shown, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("low", "high", "about", "expected"),
    [
        (0, 10, 5, [0, 2, 4, 6, 8, 10]),
        (3.1, 28.7, 6, [0, 5, 10, 15, 20, 25, 30]),
        (-0.35, 0.4, 4, [-0.4, -0.2, 0, 0.2, 0.4]),
        (7, 7, 6, [6.4, 6.6, 6.8, 7, 7.2, 7.4, 7.6]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, about: int, expected: list[float]) -> None:
    ticks = plots.nice_ticks(low, high, about)
    assert ticks == expected
    assert ticks[0] <= low <= high <= ticks[-1]


def test_every_value_falls_into_one_bin() -> None:
    edges = [0.0, 1.0, 2.0, 3.0]
    assert plots.count([0.0, 0.99, 1.0, 2.5, 3.0], edges) == [2, 1, 2]
    values = list(itertools.chain.from_iterable([value / 10] * 3 for value in range(31)))
    assert sum(plots.count(values, edges)) == len(values)


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_page_says_where_the_version_comes_from_and_who_let_it_through() -> None:
    package = {
        "CustomerMetadataProperties": {
            "GitLabProject": "team/build",
            "GitLabCommit": "3f786850e387550fdab8",
            "GitLabRef": "main",
            "GitLabJob": "https://gitlab.example/team/build/-/jobs/5",
            "PipelineExecutionArn": "arn:of:the:execution",
        },
        "ModelApprovalStatus": "Approved",
        "ApprovalDescription": "Good enough",
    }
    text = words(page.html(build(PASSED, checks=(MSE,))._replace(package=package, approved_by="ada")))
    assert "Trained from team/build 3f786850e387 on main" in text
    assert "Training execution arn:of:the:execution" in text
    assert "Approval Approved: Good enough Approved by ada" in text
    assert "Trained from" not in words(page.html(build(PASSED)))  # a package that nobody has stamped


def test_metrics_without_a_threshold_are_told_too() -> None:
    text = words(page.html(build(PASSED, checks=(MSE,), labels=(9.0, 10.0, 12.0), predictions=(9.5, 9.5, 12.0))))
    assert "Also measured without a threshold rmse 0.4082 mae 0.3333 R² 0.8929 max error 0.5 MAPE 0.03519" in text


def test_residuals_are_told_by_segment() -> None:
    built = build(PASSED, checks=(MSE,), labels=(9.0, 10.0, 12.0), predictions=(9.5, 9.0, 12.0))
    assert built.held_out
    by_sex = built.held_out._replace(segments={"sex": ["F", "F", "M"]})
    text = words(page.html(built._replace(held_out=by_sex)))
    assert "Predicted - actual by sex Segment Rows Mean 10 % 50 % 90 % F 2 -0.25 -1 -1 0.5 M 1 0 0 0 0" in text


def test_scores_of_two_classes_have_their_curves() -> None:
    check = Check(Threshold("auc", ">=", 0.5), 0.75)
    built = build(PASSED, checks=(check,), labels=(0, 1, 0, 1), predictions=(0.1, 0.9, 0.4, 0.3))
    titles = [each.title for each in page.figures(built)]
    assert titles == ["ROC", "Precision and recall", "Scores", "Confusion"]
