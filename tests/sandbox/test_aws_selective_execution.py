"""Selective execution of the sandbox's SageMaker, as AWS documents it."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.sagemaker_pipelines import Json, World


@pytest.fixture(scope="module")
def name() -> str:
    return f"selective-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def first(world: World, name: str) -> str:
    """A pipeline of three steps in a row, of which the second fails: its first execution, which has ended."""
    steps = [
        world.processing("A", 'open("/opt/ml/processing/out/a.txt", "w").write("1")', "out"),
        world.processing("B", "raise SystemExit(1)", "out", DependsOn=["A"]),
        {"Name": "C", "Type": "Fail", "DependsOn": ["B"], "Arguments": {"ErrorMessage": "reached"}},
        {"Name": "D", "Type": "Fail", "Arguments": {"ErrorMessage": "alone"}, "DependsOn": ["A"]},
    ]
    request = {
        "PipelineName": f"{name}-{uuid.uuid4().hex[:4]}",
        "PipelineDefinition": json.dumps({"Version": "2020-12-01", "Steps": steps}),
        "RoleArn": world.project.pipeline_role,
    }
    world.sagemaker.create_pipeline(**request)
    arn = str(world.sagemaker.start_pipeline_execution(PipelineName=request["PipelineName"])["PipelineExecutionArn"])
    world.end(arn)
    return arn


def start(world: World, first: str, *steps: str, source: str = "") -> str:
    config: dict[str, Any] = {"SelectedSteps": [{"StepName": each} for each in steps]}
    answer = world.sagemaker.start_pipeline_execution(
        PipelineName=first.split("/")[1],
        SelectiveExecutionConfig=config | ({"SourcePipelineExecutionArn": source} if source else {}),
    )
    return str(answer["PipelineExecutionArn"])


def refusal(world: World, first: str, *steps: str, source: str = "") -> str:
    with pytest.raises(ClientError) as caught:
        start(world, first, *steps, source=source)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    return str(caught.value.response["Error"]["Message"])


def test_selected_steps_run_and_what_they_need_is_of_the_source_which_may_have_failed(world: World, first: str) -> None:
    again = start(world, first, "D", source=first)
    world.end(again)
    steps: dict[str, Json] = world.steps(again)
    assert steps["A"]["SelectiveExecutionResult"] == {"SourcePipelineExecutionArn": first}
    assert steps["A"]["Metadata"] == world.steps(first)["A"]["Metadata"]
    assert steps["D"]["FailureReason"] == "alone"
    assert set(steps) == {"A", "D"}
    described = world.sagemaker.describe_pipeline_execution(PipelineExecutionArn=again)
    assert described["SelectiveExecutionConfig"]["SourcePipelineExecutionArn"] == first


def test_what_cannot_run_is_refused(world: World, first: str) -> None:
    assert refusal(world, first, "B") == (
        "Invalid SourcePipelineExecutionArn: null. The selected steps [B] have dependencies on [A]"
    )
    assert "[B] are between selected steps" in refusal(world, first, "A", "C", source=first)
    assert "has no outputs of [B]" in refusal(world, first, "C", source=first)
    assert "the pipeline has no steps [E]" in refusal(world, first, "E", source=first)
    other = first.rpartition("/")[0] + "/abcdefghijkl"
    assert "is no execution of this pipeline" in refusal(world, first, "B", source=other)
