"""What can be known of a pipeline definition before AWS sees it, as tables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ci_scripts import job
from ci_scripts.errors import InvalidDefinition, InvalidPipelineParameter
from ci_scripts.run_pipeline import definition


def step(name: str, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Processing", "Arguments": {}, **more}


def condition(name: str, *inside: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Condition", "Arguments": {"IfSteps": list(inside), "ElseSteps": [], **arguments}}


def document(*steps: Any, **more: Any) -> dict[str, Any]:
    return {"Version": "2020-12-01", "Steps": list(steps), **more}


MSE = {"Name": "Mse", "Type": "Float", "DefaultValue": 6}
REPORT = [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "report.json"}]

SOUND = [
    document(step("A")),
    document(step("A"), step("B", DependsOn=["A"])),
    document(step("A", Arguments={"x": {"Get": "Parameters.Mse"}}), Parameters=[MSE]),
    document(step("A", PropertyFiles=REPORT), step("B", Arguments=[{"Get": "Steps.A.PropertyFiles.Report"}])),
    document(step("A", Arguments={"x": {"Get": "Execution.PipelineExecutionId"}})),
    document(step("A"), step("B", Arguments={"x": {"Get": "Steps.A.Outputs['train'].S3Uri"}})),
    document(step("A"), condition("C", step("D", DependsOn=["A"]))),
    document(condition("C", step("D")), step("E", DependsOn=["D"])),
    document(step("A", Arguments={"ForEachBody": [step("B", Arguments={"x": {"Get": "ForEach.CurrentItem"}})]})),
]

PROBLEMS = [
    ({"Steps": [step("A")]}, ["Version is None, expected '2020-12-01'"]),
    (document(), ["there are no Steps"]),
    (document("A"), ["Steps is not a list of objects"]),
    (document(step("A"), step("A")), ["two steps are named A"]),
    (document(step("A"), condition("C", step("A"))), ["two steps are named A"]),
    (document(step("a step")), ["'a step' is no name for a step"]),
    (document({"Name": "A"}), ["step A has no Type"]),
    (document(step("A", DependsOn=["B"])), ["step A depends on B, which does not exist"]),
    (document(step("A", DependsOn="B")), ["DependsOn of step A is not a list of names"]),
    (document(step("A", Arguments={"Get": "Parameters.Mse"})), ["step A refers to Parameters.Mse: no such parameter"]),
    (document(step("A", Arguments=[{"Get": "Steps.B.Arn"}])), ["step A refers to Steps.B.Arn: no such step"]),
    (
        document(step("A", PropertyFiles=REPORT), step("B", Arguments=[{"Get": "Steps.A.PropertyFiles.Rapport"}])),
        ["step B refers to Steps.A.PropertyFiles.Rapport: no such property file"],
    ),
    (
        document(condition("C", step("D", Arguments={"x": {"Get": "Parameters.Mse"}}))),
        ["step D refers to Parameters.Mse: no such parameter"],
    ),
    (
        document(step("A", DependsOn=["B"]), step("B", Arguments={"x": {"Get": "Steps.A.Arn"}})),
        ["steps wait for each other: A -> B -> A"],
    ),
    (document(step("A"), Parameters=[MSE, MSE]), ["parameter Mse is declared twice"]),
    (document(step("A"), Parameters=[{"Name": "N", "Type": "Number"}]), ["parameter N has the unknown type 'Number'"]),
    (
        document(step("A"), Parameters=[{"Name": "N", "Type": "Integer", "DefaultValue": True}]),
        ["parameter N is Integer, its default is True"],
    ),
    (document(step("A"), Parameters={"Mse": 6}), ["Parameters is not a list of objects"]),
    (
        {"Version": "1", "Steps": [step("A", DependsOn=["B"]), {"Name": "A"}]},
        [
            "Version is '1', expected '2020-12-01'",
            "two steps are named A",
            "step A depends on B, which does not exist",
            "step A has no Type",
        ],
    ),
]


@pytest.mark.parametrize("sound", SOUND)
def test_a_sound_definition_passes(sound: dict[str, Any]) -> None:
    assert definition.parse(json.dumps(sound)) == sound


@pytest.mark.parametrize(("broken", "problems"), PROBLEMS)
def test_all_problems_are_named_at_once(broken: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(InvalidDefinition) as raised:
        definition.parse(json.dumps(broken))
    assert raised.value.message.split("; ") == problems


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "3"])
def test_what_is_no_json_object_is_no_definition(text: str) -> None:
    with pytest.raises(InvalidDefinition):
        definition.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "the definition is nested more than 100 levels deep"),
        ('{"Version": "\\ud800"}', "half of a surrogate pair"),
        (f'{{"Version": {"9" * 5000}}}', "more than 300 digits"),
        (
            '{"Version": "2020-12-01", "Steps": [], "Parameters": [{"Type": "String"}]}',
            "None is no name for a parameter",
        ),
    ],
)
def test_a_hostile_definition_is_refused_with_its_reason(text: str, message: str) -> None:
    with pytest.raises(InvalidDefinition, match=message):
        definition.parse(text)


def test_a_definition_may_not_be_larger_than_sagemaker_takes() -> None:
    with pytest.raises(InvalidDefinition, match="SageMaker takes 1048576"):
        definition.parse(json.dumps(document(step("A"), Metadata={"x": "y" * 1024 * 1024})))


def test_steps_lists_those_inside_conditions_too() -> None:
    by_name = definition.steps(document(step("A"), condition("C", step("D"), ElseSteps=[step("E")]), step("B")))
    assert list(by_name) == ["A", "C", "D", "E", "B"]


PARAMETERS = [
    MSE,
    {"Name": "Count", "Type": "Integer", "DefaultValue": 1},
    {"Name": "Spot", "Type": "Boolean", "DefaultValue": False},
    {"Name": "Status", "Type": "String", "DefaultValue": "Approved", "EnumValues": ["Approved", "Rejected"]},
    {"Name": "Data", "Type": "String"},
]
FITTING = [{"Mse": "4"}, {"Mse": "-.5e3"}, {"Count": "-2"}, {"Spot": "True"}, {"Spot": "false"}, {"Status": "Rejected"}]
UNFITTING = [
    ({"Mse": "low"}, "Mse=low: not a number"),
    ({"Mse": "nan"}, "Mse=nan: not a number"),
    ({"Count": "1.5"}, "Count=1.5: not an integer"),
    ({"Spot": "yes"}, "Spot=yes: neither true nor false"),
    ({"Status": "Fine"}, "Status=Fine: not one of Approved, Rejected"),
    ({"Colour": "red"}, "the pipeline has no parameter Colour (it has: Mse, Count, Spot, Status, Data)"),
]


@pytest.mark.parametrize("overrides", FITTING)
def test_a_fitting_parameter_passes(overrides: dict[str, str]) -> None:
    definition.check_parameters(document(step("A"), Parameters=PARAMETERS), {"Data": "s3://bucket/data"} | overrides)


@pytest.mark.parametrize(("overrides", "problem"), UNFITTING)
def test_an_unfitting_parameter_is_named(overrides: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidPipelineParameter) as raised:
        definition.check_parameters(document(step("A"), Parameters=PARAMETERS), {"Data": "x"} | overrides)
    assert raised.value.message == problem


def test_a_parameter_without_default_must_be_given_and_all_problems_are_named() -> None:
    with pytest.raises(InvalidPipelineParameter) as raised:
        definition.check_parameters(document(step("A"), Parameters=PARAMETERS), {"Mse": "low"})
    assert raised.value.message == "Mse=low: not a number; Data has no default and is not given"


def test_given_values_win_over_defaults() -> None:
    values = definition.parameter_values(document(Parameters=PARAMETERS), {"Mse": "4", "Data": "x"})
    assert values == {"Mse": "4", "Count": 1, "Spot": False, "Status": "Approved", "Data": "x"}


def test_the_difference_ignores_the_order_of_keys() -> None:
    assert definition.same('{"a": 1, "b": 2}', '{"b": 2, "a": 1}')
    assert definition.difference('{"a": 1, "b": 2}', '{"b": 2, "a": 1}') == []
    assert definition.difference('{"a": 1, "b": 2}', '{"a": 1, "b": 3}')[-4:] == [
        '   "a": 1,',
        '-  "b": 2',
        '+  "b": 3',
        " }",
    ]


@pytest.mark.parametrize(
    ("group", "parameters", "warns"),
    [
        ("abalone-p-1", {}, False),
        ("Abalone-P-1", {}, False),
        ("arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/abalone-p-1", {}, False),
        ("team-models", {}, True),
        ("abalone-p-10", {}, True),
        ({"Get": "Parameters.Group"}, {"Group": "abalone-p-1"}, False),
        ({"Get": "Parameters.Group"}, {"Group": "team-models"}, True),
        ({"Get": "Parameters.Group"}, {}, False),
        ({"Get": "Steps.Choose.Output"}, {}, False),
        ({"Std:Join": {"On": "-", "Values": ["a", "b"]}}, {}, False),
        (None, {}, False),
    ],
)
def test_a_step_that_registers_to_another_group_than_the_watched_one_is_told(
    group: Any, parameters: dict[str, Any], warns: bool
) -> None:
    register = {"Name": "Register", "Type": "RegisterModel", "Arguments": {"ModelPackageGroupName": group}}
    branch = {"Name": "Check", "Type": "Condition", "Arguments": {"Conditions": [], "IfSteps": [register]}}
    lines = definition.registered_elsewhere({"Steps": [branch]}, parameters, "abalone-p-1")
    assert bool(lines) is warns
    assert all("step Register registers to the model package group" in line for line in lines)


# --- step caching --------------------------------------------------------------------------------------------------


CACHED = {"Parameters": [{"Name": "CacheKey", "Type": "String", "DefaultValue": "commit"}]}


def started_by(source: str) -> job.Job:
    return job.current({"CI_JOB_ID": "1", "CI_PIPELINE_ID": "100", "CI_PIPELINE_SOURCE": source})


@pytest.mark.parametrize("source", ["schedule", "web", "api", "trigger", "pipeline"])
def test_what_no_commit_started_takes_nothing_from_the_cache(source: str) -> None:
    assert definition.without_cache(CACHED, {"Mse": "5"}, started_by(source)) == {"Mse": "5", "CacheKey": "100"}


@pytest.mark.parametrize("source", ["push", "merge_request_event"])
def test_a_commit_takes_from_the_cache(source: str) -> None:
    assert definition.without_cache(CACHED, {"Mse": "5"}, started_by(source)) == {"Mse": "5"}


def test_a_key_of_ones_own_and_a_pipeline_without_one_stay_as_they_are() -> None:
    schedule = started_by("schedule")
    assert definition.without_cache(CACHED, {"CacheKey": "mine"}, schedule) == {"CacheKey": "mine"}
    assert definition.without_cache({"Parameters": []}, {}, schedule) == {}
    assert definition.without_cache(CACHED, {}, job.current({})) == {}
