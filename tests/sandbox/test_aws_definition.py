"""Pipeline definitions: what is refused, what a function is worth, which condition holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.aws.sagemaker import definition

CONTEXT = {
    "Parameters": {"Count": 2, "Flag": True},
    "Execution": {"PipelineExecutionId": "abc"},
    "Steps": {
        "A": {
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "train", "S3Output": {"S3Uri": "s3://b/t"}}]},
            "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
        }
    },
}
REPORT = {"metrics": {"mse": {"value": 4.5}}, "folds": [1, 2]}


def resolve(value: Any) -> Any:
    return definition.resolve(value, CONTEXT, lambda get: REPORT)


def step(name: str, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Fail", "Arguments": {}, **more}


def text(*steps: dict[str, Any], **more: Any) -> str:
    return json.dumps({"Version": "2020-12-01", "Steps": steps, **more})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Get": "Parameters.Count"}, 2),
        ({"Get": "Execution.PipelineExecutionId"}, "abc"),
        ({"Get": "Steps.A.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri"}, "s3://b/t"),
        ({"Get": 'Steps.A.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri'}, "s3://b/t"),
        ({"Get": "Steps.A.ProcessingOutputConfig.Outputs[0].OutputName"}, "train"),
        ({"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Execution.PipelineExecutionId"}, 1]}}, "s3://abc/1"),
        ({"Std:Join": {"On": " ", "Values": [{"Get": "Parameters.Flag"}, 6.0]}}, "true 6.0"),
        ({"Std:JsonGet": {"PropertyFile": {}, "Path": "metrics.mse.value"}}, 4.5),
        ({"Std:JsonGet": {"PropertyFile": {}, "Path": "folds[1]"}}, 2),
        ([{"a": {"Get": "Parameters.Count"}}, "plain"], [{"a": 2}, "plain"]),
    ],
)
def test_functions_have_their_value(value: Any, expected: Any) -> None:
    assert resolve(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"Get": "Steps.A.ProcessingOutputConfig.Outputs['test'].S3Output.S3Uri"},
        {"Get": "Steps.A.ProcessingOutputConfig.Outputs[7].OutputName"},
        {"Std:JsonGet": {"PropertyFile": {}, "Path": "metrics.mae.value"}},
    ],
)
def test_a_function_without_value_says_what_is_missing(value: Any) -> None:
    with pytest.raises(definition.Unresolved, match="ClientError: Unable to resolve"):
        resolve(value)


def compare(kind: str, left: Any, right: Any) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (compare("Equals", {"Get": "Parameters.Count"}, 2), True),
        (compare("NotEquals", {"Get": "Parameters.Count"}, 2), False),
        (compare("GreaterThan", 2, 2), False),
        (compare("GreaterThanOrEqualTo", 2, 2), True),
        (compare("LessThan", 1.5, {"Get": "Parameters.Count"}), True),
        (compare("LessThanOrEqualTo", {"Std:JsonGet": {"PropertyFile": {}, "Path": "metrics.mse.value"}}, 4), False),
        ({"Type": "In", "QueryValue": {"Get": "Parameters.Count"}, "Values": [1, 2]}, True),
        ({"Type": "Not", "Condition": compare("Equals", 1, 1)}, False),
        ({"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("Equals", 1, 1)]}, True),
    ],
)
def test_conditions(condition: dict[str, Any], expected: bool) -> None:
    assert definition.holds(condition, resolve) is expected


def test_text_and_number_cannot_be_compared() -> None:
    with pytest.raises(definition.Unresolved, match="Unable to compare"):
        definition.holds(compare("LessThan", "a", 1), resolve)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("{", "Unable to parse pipeline definition"),
        ("[]", "Version must be 2020-12-01"),
        (text(), "at least one step"),
        (text(step("A"), step("A")), "Step names must be unique"),
        (text(step("a b")), "needs Name, Type and Arguments"),
        (text(step("A", DependsOn=["B"])), "Step A depends on unknown B"),
        (text(step("A", Arguments={"x": {"Get": "Steps.B.y"}})), r"Invalid reference Steps.B.y in step A"),
        (text(step("A", Arguments={"x": {"Get": "Parameters.P"}})), r"Invalid reference Parameters.P in step A"),
        (text(step("A", DependsOn=["B"]), step("B", DependsOn=["A"])), "Cycle between steps A, B"),
    ],
)
def test_a_definition_that_cannot_run_is_refused(document: str, problem: str) -> None:
    with pytest.raises(definition.InvalidDefinition, match=problem):
        definition.parse(document)


def test_steps_wait_for_what_they_read_and_for_their_condition() -> None:
    inner = step("C", Arguments={"x": {"Get": "Steps.A.y"}})
    condition = {
        "Name": "B",
        "Type": "Condition",
        "DependsOn": ["D"],
        "Arguments": {"Conditions": [compare("Equals", {"Get": "Steps.A.y"}, 1)], "IfSteps": [inner]},
    }
    parsed = definition.parse(text(step("A"), condition, step("D")))
    assert definition.dependencies(parsed) == {"A": set(), "B": {"A", "D"}, "C": {"A", "B"}, "D": set()}


PARAMETERS = {
    "Parameters": [
        {"Name": "Count", "Type": "Integer", "DefaultValue": 1},
        {"Name": "Rate", "Type": "Float"},
        {"Name": "Flag", "Type": "Boolean", "DefaultValue": False},
        {"Name": "Kind", "Type": "String", "DefaultValue": "a", "EnumValues": ["a", "b"]},
    ]
}


def test_parameters_are_typed_and_fall_back_to_their_defaults() -> None:
    values = {"Rate": "6.0", "Flag": "true", "Kind": "b"}
    assert definition.parameters(PARAMETERS, values) == {"Count": 1, "Rate": 6.0, "Flag": True, "Kind": "b"}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, r"Missing values for parameters \['Rate'\]"),
        ({"Rate": "1", "Speed": "2"}, r"Unknown parameters \['Speed'\]"),
        ({"Rate": "fast"}, "'fast' of parameter Rate is not of type Float"),
        ({"Rate": "1", "Count": "1.5"}, "'1.5' of parameter Count is not of type Integer"),
        ({"Rate": "1", "Flag": "yes"}, "'yes' of parameter Flag is not of type Boolean"),
        ({"Rate": "1", "Kind": "c"}, "'c' of parameter Kind is not one of"),
        ({"Rate": ""}, "too short"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(values: dict[str, str], problem: str) -> None:
    with pytest.raises(definition.InvalidDefinition, match=problem):
        definition.parameters(PARAMETERS, values)
