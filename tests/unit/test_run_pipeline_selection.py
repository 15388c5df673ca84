"""Which steps run from one step on, and what they need of the others."""

from __future__ import annotations

from typing import Any

import pytest

from ci_scripts import errors
from ci_scripts.run_pipeline import selection


def step(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Processing", "DependsOn": list(needs), "Arguments": {}, **more}


READS = {"ProcessingInputs": [{"S3Uri": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}}]}
MSE = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "mse"}}
CHECK = {
    "Name": "Check",
    "Type": "Condition",
    "Arguments": {
        "Conditions": [{"Type": "LessThan", "LeftValue": MSE, "RightValue": 6}],
        "IfSteps": [step("Register"), step("Tell", "Register")],
        "ElseSteps": [step("Complain")],
    },
}
PIPELINE = {
    "Steps": [
        step("Prepare"),
        step("Train", "Prepare"),
        step("Aside"),
        step("Evaluate", Arguments=READS),
        CHECK,
    ]
}


@pytest.mark.parametrize(
    ("name", "selected", "needed"),
    [
        ("Prepare", ["Prepare", "Train", "Evaluate", "Check", "Register", "Tell", "Complain"], []),
        ("Evaluate", ["Evaluate", "Check", "Register", "Tell", "Complain"], ["Train"]),
        ("Check", ["Check", "Register", "Tell", "Complain"], ["Evaluate"]),
        ("Register", ["Register", "Tell"], ["Check"]),
        ("Aside", ["Aside"], []),
    ],
)
def test_a_step_runs_with_everything_that_depends_on_it_or_is_decided_by_it(
    name: str, selected: list[str], needed: list[str]
) -> None:
    assert selection.from_step(PIPELINE, name) == selected
    assert selection.needed(PIPELINE, selected) == needed


def test_an_unknown_step_is_refused_with_the_steps_that_there_are() -> None:
    with pytest.raises(
        errors.UnknownStep, match="no step 'Trian'; it has Prepare, Train, Aside, Evaluate, Check, Register"
    ):
        selection.from_step(PIPELINE, "Trian")


def test_more_steps_than_sagemaker_selects_are_refused() -> None:
    many = {"Steps": [step("S0"), *(step(f"S{number}", "S0") for number in range(1, 51))]}
    with pytest.raises(errors.UnknownStep, match="51 steps would run from S0 on, SageMaker selects at most 50"):
        selection.from_step(many, "S0")
