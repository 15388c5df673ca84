"""What a training in a merge request says of its numbers, and under which names it works."""

from __future__ import annotations

from typing import Any

import pytest

from ci_scripts import errors, settings
from ci_scripts.run_pipeline import condition, in_merge_request, report
from ci_scripts.run_pipeline.condition import Bound

PROJECT = settings.Project("eu-west-1", "abalone", "p-1", None, "artifacts")
MSE = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "mse.value"}}


def compared(kind: str, left: Any, right: Any) -> list[Bound]:
    step = {"Arguments": {"Conditions": [{"Type": kind, "LeftValue": left, "RightValue": right}]}}
    return condition.bounds(step, {"MseThreshold": 6.0})


@pytest.mark.parametrize(
    ("kind", "left", "right", "bound"),
    [
        ("LessThanOrEqualTo", MSE, 6.0, Bound("mse.value", "<=", "6")),
        ("LessThan", MSE, {"Get": "Parameters.MseThreshold"}, Bound("mse.value", "<", "6")),
        ("GreaterThanOrEqualTo", {"Get": "Parameters.MseThreshold"}, MSE, Bound("mse.value", "<=", "6")),
        ("Equals", MSE, "good", Bound("mse.value", "==", "good")),
    ],
)
def test_a_bound_is_read_from_either_side_of_a_condition(kind: str, left: Any, right: Any, bound: Bound) -> None:
    assert compared(kind, left, right) == [bound]


@pytest.mark.parametrize(
    ("kind", "left", "right"),
    [("LessThan", MSE, {"Get": "Steps.Other.x"}), ("LessThan", MSE, MSE), ("Not", None, None), ("LessThan", 1, 2)],
)
def test_what_is_compared_with_nothing_known_has_no_bound(kind: str, left: Any, right: Any) -> None:
    assert compared(kind, left, right) == []


@pytest.mark.parametrize(
    ("old", "new", "better", "words"),
    [
        (4.5, 4.0, -1, "-0.5 (-11.1 %), better"),
        (4.5, 5.0, -1, "+0.5 (+11.1 %), worse"),
        (0.8, 0.9, 1, "+0.1 (+12.5 %), better"),
        (4.5, 5.0, 0, "+0.5 (+11.1 %)"),
        (4.5, 4.5, -1, "none"),
        (0.0, 2.0, -1, "+2, worse"),
        (-2.0, -1.0, 1, "+1 (+50.0 %), better"),
    ],
)
def test_a_change_is_told_with_its_direction(old: float, new: float, better: int, words: str) -> None:
    assert in_merge_request.difference(old, new, better) == words


@pytest.mark.parametrize(
    ("new", "error", "words"),
    [
        (4.0, 0.1, "-0.5 (-11.1 %), better, interval -0.696 to -0.304"),
        (4.0, 0.5, "-0.5 (-11.1 %), interval -1.48 to +0.48: may be chance"),
        (4.0, None, "-0.5 (-11.1 %), better"),
    ],
)
def test_a_change_that_may_be_chance_is_called_neither_better_nor_worse(
    new: float, error: float | None, words: str
) -> None:
    assert in_merge_request.difference(4.5, new, -1, error) == words


def test_an_interval_takes_the_standard_errors_of_both_trainings() -> None:
    """Of independent samples: the square root of the sum of the squares."""
    name, path = "measured_mse_value", "mse.value"
    errors_of = in_merge_request.Errors({"standard_error_mse_value": 0.3}, {path: 0.4})
    assert errors_of.of_difference(path) == pytest.approx(0.5)
    both = "\n".join(in_merge_request.table({path: 4.0}, {name: "4.5"}, [], "main", errors_of))
    assert "interval -1.48 to +0.48: may be chance" in both
    assert "two independent samples" in both
    for only_one in (
        in_merge_request.Errors({}, {path: 0.4}),
        in_merge_request.Errors({"standard_error_mse_value": 0.3}, {}),
    ):
        one = "\n".join(in_merge_request.table({path: 4.0}, {name: "4.5"}, [], "main", only_one))
        assert "| -0.5 (-11.1 %) |" in one
        assert "There is no interval of the difference" in one


def test_a_standard_error_travels_from_the_report_of_an_evaluation_to_the_next_comment() -> None:
    step = {"Arguments": {"Conditions": [{"Type": "LessThan", "LeftValue": MSE, "RightValue": 6.0}]}}
    document = {"mse": {"value": 4.5, "standard_error": 0.3}}
    conditions = {"Check": condition.explain(step, {}, lambda *_: document)}
    written = report.metrics({}, conditions)
    assert written == {"measured_mse_value": 4.5, "standard_error_mse_value": 0.3}
    text = "".join(f"{name} {value:g}\n" for name, value in written.items()).encode()
    assert report.errors_by(text) == {"standard_error_mse_value": 0.3}
    assert report.measured_by(text) == {"measured_mse_value": "4.5"}


def test_a_value_that_the_default_branch_did_not_measure_stands_alone() -> None:
    lines = in_merge_request.table({"r2.value": 0.5}, {}, [Bound("r2.value", ">", "0.4")], "main")
    assert lines[-1] == "| r2.value | (not measured) | 0.5 |  | > 0.4 |"


def test_a_metric_cannot_leave_its_cell() -> None:
    [*_, line] = in_merge_request.table({"a|b<script>": 1.0}, {}, [], "<b>main</b>")
    assert line.startswith("| a\\|b\\<script> |")


def test_a_training_that_reached_no_condition_says_so() -> None:
    assert in_merge_request.table({}, {}, [], "main") == [
        "Nothing was measured: no condition of the pipeline was reached."
    ]


def test_a_merge_request_has_names_of_its_own_and_the_same_stages() -> None:
    apart = settings.of_merge_request(PROJECT, "7")
    assert apart.pipeline == apart.model_package_group == "abalone-p-1-mr-7"
    assert apart.stack("prod") == PROJECT.stack("prod")


@pytest.mark.parametrize("number", ["", "0", "07", "main", "7/8", "-1"])
def test_what_is_no_number_of_a_merge_request_is_refused(number: str) -> None:
    with pytest.raises(errors.NoMergeRequest):
        settings.of_merge_request(PROJECT, number)


def test_a_name_that_sagemaker_would_not_take_is_refused() -> None:
    longest = PROJECT._replace(name="a" * 32, id="b" * 20)
    assert len(settings.of_merge_request(longest, "123456").model_package_group) == 63
    with pytest.raises(errors.InvalidSettings, match="longer than 63 characters"):
        settings.of_merge_request(longest, "1234567")
