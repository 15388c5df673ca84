"""A condition step in words and numbers, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from ci_scripts.run_pipeline import condition

REPORTS = {("Evaluate", "Report"): {"metrics": {"mse": 4.879581, "rows": [1, 2]}, "ok": True}}
PARAMETERS = {"MseThreshold": 6.0, "Region": "eu"}


def get(path: str, file: str = "Steps.Evaluate.PropertyFiles.Report") -> dict[str, Any]:
    return {"Std:JsonGet": {"PropertyFile": {"Get": file}, "Path": path}}


def compare(kind: str, left: Any, right: Any) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


THRESHOLD = {"Get": "Parameters.MseThreshold"}
CONDITIONS = [
    (compare("LessThanOrEqualTo", get("metrics.mse"), THRESHOLD), "metrics.mse 4.87958 <= MseThreshold 6.0"),
    (compare("LessThan", get("metrics.mse"), 5), "metrics.mse 4.87958 < 5"),
    (compare("GreaterThan", get("metrics.rows[1]"), 0), "metrics.rows[1] 2 > 0"),
    (compare("GreaterThanOrEqualTo", get("metrics.r2"), 0.9), "metrics.r2 (value unknown) >= 0.9"),
    (compare("Equals", get("x", "Steps.Evaluate.PropertyFiles.Other"), 1), "x (value unknown) == 1"),
    (compare("Equals", {"Get": "Steps.Other.Outcome"}, "true"), "Steps.Other.Outcome == true"),
    (compare("Equals", {"Std:Join": {"On": "", "Values": []}}, 1), "(computed) == 1"),
    (
        {"Type": "In", "QueryValue": {"Get": "Parameters.Region"}, "Values": ["eu", "us"]},
        "Region eu in [eu, us]",
    ),
    ({"Type": "NotIn", "Value": 1, "In": [2]}, "1 not in [2]"),
    ({"Type": "Not", "Condition": compare("Equals", get("ok"), True)}, "not (ok True == True)"),
    (
        {"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("Equals", get("ok"), True)]},
        "1 == 2 or ok True == True",
    ),
    (
        {
            "Type": "Not",
            "Condition": {
                "Type": "Or",
                "Conditions": [compare("Equals", 1, 2), compare("Equals", get("m['f 1'][0]"), 3)],
            },
        },
        "not (1 == 2 or m['f 1'][0] (value unknown) == 3)",
    ),
]


@pytest.mark.parametrize(("node", "text"), CONDITIONS)
def test_a_condition_is_told_with_what_it_measured(node: dict[str, Any], text: str) -> None:
    step = {"Arguments": {"Conditions": [node]}}
    [explained] = condition.explain(step, PARAMETERS, lambda step, file: REPORTS.get((step, file)))
    assert explained.text == text


def test_measured_values_are_kept_as_numbers() -> None:
    node = {"Type": "Or", "Conditions": [compare("LessThan", get("metrics.mse"), 1), compare("Equals", get("ok"), 1)]}
    [explained] = condition.explain({"Arguments": {"Conditions": [node]}}, {}, lambda *_: REPORTS["Evaluate", "Report"])
    assert [(each.path, each.value) for each in explained.measured] == [("metrics.mse", 4.879581), ("ok", True)]


DOCUMENT = {"a": {"b": [1, {"c d": 5, "f1-macro": 7}]}, "x": 3}
PATHS = [
    ("x", 3),
    ("$.x", 3),
    ("a.b[0]", 1),
    ("a.b[1]['c d']", 5),
    ('a.b[1]["f1-macro"]', 7),
    ("a.b[1].f1-macro", 7),
    ("['a']['b'][0]", 1),
    ("a.b[9]", None),
    ("a.y", None),
    ("x.y", None),
]


@pytest.mark.parametrize(("path", "value"), PATHS)
def test_a_path_leads_into_the_property_file(path: str, value: object) -> None:
    assert condition.follow_path(DOCUMENT, path) == value
