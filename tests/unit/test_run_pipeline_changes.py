"""What a commit changes in a pipeline definition, in words."""

from __future__ import annotations

import copy
import time
from typing import Any

from ci_scripts.run_pipeline.changes import in_words


def definition() -> dict[str, Any]:
    evaluate = {"Get": "Steps.Evaluate.PropertyFiles.Report"}
    condition = {
        "Type": "LessThanOrEqualTo",
        "LeftValue": {"Std:JsonGet": {"PropertyFile": evaluate, "Path": "mse"}},
        "RightValue": {"Get": "Parameters.AccuracyMseThreshold"},
    }
    return {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": "AccuracyMseThreshold", "Type": "Float", "DefaultValue": 6.0},
            {"Name": "InstanceType", "Type": "String", "DefaultValue": "ml.m5.large"},
        ],
        "Steps": [
            {"Name": "Train", "Type": "Training", "Arguments": {"HyperParameters": {"max_depth": "5", "eta": "0.2"}}},
            {
                "Name": "Evaluate",
                "Type": "Processing",
                "DependsOn": ["Train"],
                "Arguments": {
                    "ProcessingInputs": [{"InputName": "model", "LocalPath": "/in"}],
                    "Entry": ["python", "evaluate.py"],
                    "ProcessingResources": {"InstanceType": {"Get": "Parameters.InstanceType"}, "InstanceCount": 1},
                    "JobNamePrefix": "abalone/Evaluate",
                },
            },
            {
                "Name": "CheckMse",
                "Type": "Condition",
                "Arguments": {
                    "Conditions": [condition],
                    "IfSteps": [{"Name": "Register", "Type": "RegisterModel", "Arguments": {"Group": "abalone"}}],
                    "ElseSteps": [],
                },
            },
        ],
    }


def changed() -> tuple[dict[str, Any], dict[str, Any]]:
    return definition(), definition()


def test_nothing_is_said_of_equal_definitions() -> None:
    assert in_words(*changed()) == []


def test_a_parameter_that_changes_is_told_with_both_values() -> None:
    before, after = changed()
    after["Parameters"][0]["DefaultValue"] = 0.9
    assert in_words(before, after) == ["parameter `AccuracyMseThreshold`: `6.0` → `0.9`"]


def test_a_parameter_of_another_name_is_renamed_when_it_is_read_at_the_same_places() -> None:
    before, after = changed()
    after["Parameters"][0] = {"Name": "MseThreshold", "Type": "Float", "DefaultValue": 0.9}
    after["Steps"][2]["Arguments"]["Conditions"][0]["RightValue"] = {"Get": "Parameters.MseThreshold"}
    assert in_words(before, after) == ["parameter `AccuracyMseThreshold` renamed to `MseThreshold`: `6.0` → `0.9`"]


def test_parameters_that_come_and_go_are_told() -> None:
    before, after = changed()
    after["Parameters"] += [{"Name": "Rounds", "Type": "Integer", "DefaultValue": 50}]
    assert in_words(before, after) == ["added parameter `Rounds`: Integer, `50`"]
    assert in_words(after, before) == ["removed parameter `Rounds`"]


def test_a_renamed_step_is_no_change_of_those_that_name_it() -> None:
    before, after = changed()
    after["Steps"][1]["Name"] = "EvaluateModel"
    after["Steps"][2]["Arguments"]["Conditions"][0]["LeftValue"]["Std:JsonGet"]["PropertyFile"] = {
        "Get": "Steps.EvaluateModel.PropertyFiles.Report"
    }
    assert in_words(before, after) == ["step `Evaluate` renamed to `EvaluateModel`"]


def test_a_renamed_condition_keeps_the_steps_inside_it() -> None:
    before, after = changed()
    after["Steps"][2]["Name"] = "CheckQuality"
    assert in_words(before, after) == ["step `CheckMse` renamed to `CheckQuality`"]


def test_steps_that_come_go_and_move_are_told() -> None:
    before, after = changed()
    after["Steps"].append({"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}})
    assert in_words(before, after) == ["added step `Stop`, `Fail`"]
    assert in_words(after, before) == ["removed step `Stop`, `Fail`"]
    moved = definition()
    branches = moved["Steps"][2]["Arguments"]
    branches["IfSteps"], branches["ElseSteps"] = [], branches["IfSteps"]
    assert in_words(before, moved) == ["step `Register` moved from `CheckMse.IfSteps` to `CheckMse.ElseSteps`"]


def test_settings_are_named_by_their_path_and_lists_by_their_names() -> None:
    before, after = changed()
    after["Steps"][0]["Arguments"]["HyperParameters"] = {"max_depth": "4", "gamma": "1"}
    arguments = after["Steps"][1]["Arguments"]
    arguments["ProcessingInputs"].insert(0, {"InputName": "data", "LocalPath": "/data"})
    arguments["Entry"] = ["python", "measure.py"]
    arguments["ProcessingResources"]["InstanceType"] = "ml.m5.xlarge"
    assert in_words(before, after) == [
        "step `Train`: `HyperParameters.max_depth` `5` → `4`",
        "step `Train`: `HyperParameters.gamma` added, `1`",
        "step `Train`: `HyperParameters.eta` removed, which was `0.2`",
        "step `Evaluate`: `ProcessingInputs.data.InputName` added, `data`",
        "step `Evaluate`: `ProcessingInputs.data.LocalPath` added, `/data`",
        'step `Evaluate`: `Entry` `["python", "evaluate.py"]` → `["python", "measure.py"]`',
        "step `Evaluate`: `ProcessingResources.InstanceType` `Parameters.InstanceType` → `ml.m5.xlarge`",
    ]


def test_a_number_that_becomes_a_text_is_told_as_a_change() -> None:
    before, after = changed()
    after["Steps"][1]["Arguments"]["ProcessingResources"]["InstanceCount"] = "1"
    assert in_words(before, after) == ['step `Evaluate`: `ProcessingResources.InstanceCount` `1` → `"1"`']


def test_values_of_others_cannot_be_markdown_and_secrets_are_not_told() -> None:
    before, after = changed()
    after["Steps"][0]["Arguments"]["Environment"] = {"HF_TOKEN": "hf_1234", "Note": "`<script>`\n/close @all"}
    assert in_words(before, after) == [
        "step `Train`: `Environment.HF_TOKEN` added, (not shown)",
        "step `Train`: `Environment.Note` added, `'<script>' /close @all`",
    ]


def test_three_hundred_steps_are_told_in_few_lines_and_little_time() -> None:
    before, after = changed()
    for number in range(300):
        step = copy.deepcopy(before["Steps"][1]) | {"Name": f"Step{number}"}
        before["Steps"].append(step)
        after["Steps"].append(step | {"Name": f"Other{number}"})
    began = time.monotonic()
    words = in_words(before, after)
    assert time.monotonic() - began < 10
    assert len(words) == 61
    assert words[-1].startswith("... and 2")
