"""Step caching of the sandbox's SageMaker, as AWS documents it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from sandbox.aws.sagemaker import step_cache
from tests.support.sagemaker_pipelines import Json, World

SAY = 'open("/opt/ml/processing/out/a.txt", "w").write("1")'
EXPIRES = {"CacheConfig": {"Enabled": True, "ExpireAfter": "PT1H"}}


class Pipeline(NamedTuple):
    """One pipeline that runs again and again, with steps that change in between."""

    world: World
    name: str

    def run(self, *steps: Json) -> dict[str, Json]:
        """The steps of an execution that has ended."""
        sagemaker = self.world.sagemaker
        document = json.dumps({"Version": "2020-12-01", "Steps": steps})
        request = {
            "PipelineName": self.name,
            "PipelineDefinition": document,
            "RoleArn": self.world.project.pipeline_role,
        }
        try:
            sagemaker.update_pipeline(**request)
        except ClientError:
            sagemaker.create_pipeline(**request)
        arn = sagemaker.start_pipeline_execution(PipelineName=self.name)["PipelineExecutionArn"]
        self.world.end(arn)
        return {name: step | {"Execution": arn} for name, step in self.world.steps(arn).items()}


def source(step: Json) -> str | None:
    arn: str | None = step.get("CacheHitResult", {}).get("SourcePipelineExecutionArn")
    return arn


@pytest.fixture
def pipeline(world: World) -> Pipeline:
    return Pipeline(world, f"cached-{uuid.uuid4().hex[:8]}")


def say(world: World, **arguments: Any) -> Json:
    return world.processing("Say", SAY, "out", Arguments=arguments, **EXPIRES)


def test_a_step_that_ran_with_the_same_attributes_is_taken_from_the_execution_that_ran_it(pipeline: Pipeline) -> None:
    first = pipeline.run(say(pipeline.world))
    second = pipeline.run(say(pipeline.world))
    third = pipeline.run(say(pipeline.world))
    assert source(first["Say"]) is None
    assert [source(each["Say"]) for each in (second, third)] == [first["Say"]["Execution"]] * 2
    assert second["Say"]["Metadata"] == first["Say"]["Metadata"]


def test_a_step_that_does_not_ask_for_it_runs(pipeline: Pipeline) -> None:
    pipeline.run(say(pipeline.world))
    again = say(pipeline.world)
    del again["CacheConfig"]
    assert source(pipeline.run(again)["Say"]) is None


@pytest.mark.parametrize(
    ("arguments", "is_reused"),
    [
        ({"Environment": {"COLOUR": "red"}}, False),
        ({"ProcessingInputs": []}, False),
        (
            {
                "ProcessingResources": {
                    "ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 2}
                }
            },
            True,
        ),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 100}}, True),
    ],
    ids=["environment", "inputs", "instances", "time limit"],
)
def test_what_makes_another_step_of_it_is_what_aws_lists(pipeline: Pipeline, arguments: Json, is_reused: bool) -> None:
    pipeline.run(say(pipeline.world))
    assert bool(source(pipeline.run(say(pipeline.world, **arguments))["Say"])) is is_reused


def test_a_run_that_failed_is_not_taken(pipeline: Pipeline) -> None:
    fails = pipeline.world.processing("Say", "raise SystemExit(1)", "out", **EXPIRES)
    assert pipeline.run(fails)["Say"]["StepStatus"] == "Failed"
    assert source(pipeline.run(fails)["Say"]) is None


def test_other_pipelines_have_a_cache_of_their_own(pipeline: Pipeline) -> None:
    pipeline.run(say(pipeline.world))
    other = Pipeline(pipeline.world, f"{pipeline.name}-2")
    assert source(other.run(say(pipeline.world))["Say"]) is None


def test_a_step_that_reads_what_a_cached_one_wrote_is_taken_as_well(pipeline: Pipeline) -> None:
    output = {"Get": "Steps.Say.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}

    def steps() -> list[Json]:
        read = pipeline.world.processing("Read", "pass", "read", inputs={"out": output}, **EXPIRES)
        return [say(pipeline.world), read]

    first, second = pipeline.run(*steps()), pipeline.run(*steps())
    assert source(second["Read"]) == source(second["Say"]) == first["Say"]["Execution"]


def test_registration_is_never_taken_from_the_cache() -> None:
    register = {"Name": "Register", "Type": "RegisterModel", "Arguments": {}, **EXPIRES}
    assert not step_cache.is_on(register)
    assert step_cache.key(register, {}) is None


NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("30d", timedelta(days=30)),
        ("P30D", timedelta(days=30)),
        ("T16m", timedelta(minutes=16)),
        ("PT1H", timedelta(hours=1)),
        ("30dT5h", timedelta(days=30, hours=5)),
        ("p4DT12H", timedelta(days=4, hours=12)),
        ("5y", timedelta(days=5 * 365)),
        ("P1W", timedelta(days=7)),
    ],
)
def test_a_run_counts_for_as_long_as_the_step_says(text: str, before: timedelta) -> None:
    assert step_cache.oldest({"CacheConfig": {"ExpireAfter": text}}, NOW) == NOW - before


@pytest.mark.parametrize("text", ["", "P", "soon", "1", "PT", None])
def test_what_is_no_duration_is_refused(pipeline: Pipeline, text: str | None) -> None:
    step = say(pipeline.world) | {"CacheConfig": {"Enabled": True, "ExpireAfter": text}}
    with pytest.raises(ClientError, match="is not a duration of ISO 8601"):
        pipeline.run(step)
