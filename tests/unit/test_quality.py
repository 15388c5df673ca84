"""quality.yml: what is accepted, and that every mistake is named at once with its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ci_scripts import quality
from ci_scripts.errors import InvalidQuality
from ci_scripts.quality import Threshold
from ci_scripts.quality_rules import METRICS
from ci_scripts.test.metrics import CLASSIFICATION, LATENCY, REGRESSION

GOOD: dict[str, Any] = {"data": {"path": "held_out.csv"}, "checks": [{"metric": "mse", "max": 6.0}]}

PROBLEMS: list[tuple[Any, list[str]]] = [
    (GOOD, []),
    ({"data": {"from_model_package": "HeldOutDataUri"}}, []),
    ({"data": {"uri": "s3://bucket/key.csv", "header": True, "label_column": "rings"}}, []),
    (
        {
            "data": {"path": "a", "classes": [0, 1, 2]},
            "request": {"answer": "label", "labels": {"NO": 0}},
            "checks": [{"metric": "accuracy", "min": 0.9}],
        },
        [],
    ),
    (GOOD | {"data": {"path": "a", "classes": [1]}}, ["data.classes: has 1 entries, at least 2 are needed"]),
    (
        GOOD | {"request": {"answer": "lable", "labels": {"NO": 1.5}}},
        [
            'request.answer: "lable" is not one of number, numbers, score, scores, predicted_label, label, class '
            "(did you mean label?)",
            "request.labels.NO: 1.5 is not of type 'integer', 'string'",
        ],
    ),
    (GOOD | {"request": {"content_type": "application/json", "rows_per_request": 1}}, []),
    (None, ["null is not of type 'object'"]),
    ({}, ["lacks data"]),
    ({"data": {}}, ["data: needs exactly one of from_model_package, uri and path"]),
    ({"data": {"path": "a", "uri": "s3://bucket/a"}}, ["data: needs exactly one of from_model_package, uri and path"]),
    ({"data": {"uri": "https://x"}}, ['data.uri: "https://x" does not match ^s3://[a-z0-9][a-z0-9.-]+/.+$']),
    (GOOD | {"check": []}, ["there is no field 'check' (did you mean checks?)"]),
    (
        GOOD | {"thresholds": []},
        ["there is no field 'thresholds' (there are data, request, load, checks, compare)"],
    ),
    (
        {"data": {"path": "a", "label": 0}},
        ["data: there is no field 'label' (did you mean label_column?)"],
    ),
    (GOOD | {"checks": [{"metric": "mse"}]}, ["checks.0: needs min or max"]),
    (GOOD | {"checks": [{"max": 6.0}]}, ["checks.0: lacks metric"]),
    (GOOD | {"checks": [{"metric": "mse", "min": 2, "max": 1}]}, ["checks.0: min is greater than max"]),
    (GOOD | {"checks": [{"metric": "mse", "max": float("nan")}]}, ["checks.0: min and max must be finite numbers"]),
    (
        GOOD | {"data": {"path": "a", "label_column": "rings"}},
        ["data.label_column: a name needs `header: true`; without a header it is a number"],
    ),
    (
        {
            "data": {"path": "a", "classes": [0, 1]},
            "compare": {
                "with": "prod",
                "metrics": {
                    "mse": {"worse_by_at_most": 0.1},
                    "accuracy": {"worse_by_at_most": 2},
                    "max_error": {"worse_by_at_most": 1},
                    "latency_p99_ms": {"worse_by_at_most": 1},
                    "pinball": {"worse_by_at_most": 1},
                },
            },
        },
        [
            "compare.metrics.accuracy: accuracy is from 0 to 1, 2 is not: 2 percent are 0.02",
            "compare.metrics.max_error: max_error is of a single row, so that no resampling of the rows tells how "
            "certain it is: see mae or mse",
            "compare.metrics.latency_p99_ms: latency_p99_ms is of requests, which say more of the endpoints' instances "
            "than of the versions: see checks",
            "compare.metrics.pinball: pinball needs quantile, such as 0.9",
        ],
    ),
    (
        {
            "data": {"path": "a", "label_column": -1, "rows": 0},
            "request": {"content_type": "text/plain", "rows_per_request": "many"},
            "checks": [{"metric": "mse", "max": "six"}],
        },
        [
            "checks.0.max: \"six\" is not of type 'number'",
            "data.label_column: -1 is less than the minimum of 0",
            "data.rows: 0 is less than the minimum of 1",
            'request.content_type: "text/plain" is not one of text/csv, application/json, application/jsonlines',
            "request.rows_per_request: \"many\" is not of type 'integer'",
        ],
    ),
]


@pytest.mark.parametrize(("content", "expected"), PROBLEMS)
def test_every_problem_is_found_with_its_path(content: Any, expected: list[str]) -> None:
    assert quality.find_problems(content) == expected


@pytest.mark.parametrize(
    ("metric", "bound", "message"),
    [
        ("accuracy", 95, "accuracy is from 0 to 1, 95 is not: 95 percent are 0.95"),
        ("error_rate", 5, "error_rate is from 0 to 1, 5 is not: 5 percent are 0.05"),
        ("auc", -0.5, "auc is from 0 to 1, -0.5 is not"),
        ("f1_macro", 1000, "f1_macro is from 0 to 1, 1000 is not"),
        ("r2", 2, "r2 is at most 1, 2 is more"),
        ("rmse", -1, "rmse is never negative, -1 is"),
        ("r2", -3, ""),
        ("log_loss", 1.5, ""),
        ("mape", 1.5, ""),
        ("latency_p95_ms", 250, ""),
        ("accuracy", 1, ""),
        ("accuracy", 0, ""),
    ],
)
def test_a_bound_that_always_holds_or_never_is_refused(metric: str, bound: float, message: str) -> None:
    content = GOOD | {
        "checks": [{"metric": metric, "max": bound}],
        "load": {"requests_per_second": 1, "duration_seconds": 1},
    }
    assert quality.find_problems(content) == ([f"checks.0: {message}"] if message else [])


def test_the_schema_lists_exactly_the_metrics_there_are() -> None:
    listed = quality.schema()["properties"]["checks"]["items"]["properties"]["metric"]["enum"]
    assert sorted(listed) == sorted([*REGRESSION, *CLASSIFICATION, *LATENCY, "error_rate"]) == sorted(METRICS)


def test_what_the_file_leaves_out_has_the_defaults_of_the_schema(tmp_path: Path) -> None:
    parsed = quality.parse({"data": {"path": "held_out.csv"}}, tmp_path)
    assert parsed.data == (None, None, tmp_path / "held_out.csv", 0, False, 500, (), tmp_path, None, (), ())
    assert parsed.request == ("text/csv", 100, "", {}, (), "", "")
    assert parsed.thresholds == ()
    properties = quality.schema()["properties"]
    assert properties["data"]["properties"]["rows"]["default"] == 500
    assert properties["request"]["properties"]["rows_per_request"]["default"] == 100


def test_a_check_with_both_bounds_is_two_thresholds() -> None:
    content = {"data": {"path": "a"}, "checks": [{"metric": "r2", "min": 0.4, "max": 0.9}, {"metric": "mse", "max": 6}]}
    assert [str(each) for each in quality.parse(content, Path()).thresholds] == ["r2 >= 0.4", "r2 <= 0.9", "mse <= 6"]


@pytest.mark.parametrize(
    ("comparison", "measured", "passes"),
    [
        ("<=", 5.9, True),
        ("<=", 6.0, True),
        ("<=", 6.1, False),
        (">=", 6.0, True),
        (">=", 5.9, False),
        ("<=", float("nan"), False),
        (">=", float("nan"), False),
        ("<=", float("inf"), False),
    ],
)
def test_a_threshold_includes_its_limit_and_never_passes_nan(comparison: str, measured: float, passes: bool) -> None:
    assert Threshold("mse", comparison, 6.0).holds(measured) is passes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "quality.yml is missing"),
        ("data: [", r"quality.yml: line \d: not YAML"),
        ("data: {path: a}\ndata: {path: b}\n", "'data' is there twice"),
        (
            "data: {path: a, rows: 0, header: 3}\n",
            "2 problems in .*quality.yml: data.header: 3 is not of type 'boolean'",
        ),
    ],
)
def test_a_broken_file_is_one_error_that_names_it(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "quality.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidQuality, match=message):
        quality.load(path)


def test_all_problems_of_a_file_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "quality.yml"
    path.write_text("data: {path: a, rows: 0}\nchecks: [{metric: mse}, {metric: magic, max: 1}]\n")
    with pytest.raises(InvalidQuality):
        quality.load(path)
    printed = capsys.readouterr().out.splitlines()
    assert [line.removeprefix(f"{path}: ").split(":")[0] for line in printed] == [
        "checks.0",
        "checks.1.metric",
        "data.rows",
    ]
