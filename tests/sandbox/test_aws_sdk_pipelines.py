"""Pipelines that the SageMaker SDK compiles from a script of the user's run in the sandbox, SDK v3 and v2."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from sandbox import job_images
from tests.support.sagemaker_pipelines import Json, World
from tests.support.script_mode import SERVE, TRAIN, endpoint, put

pytestmark = pytest.mark.timeout(600, func_only=True)

V3 = """
from sagemaker.core import image_uris
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.mlops.workflow.steps import TrainingStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

session = PipelineSession(boto_session=boto3.Session(region_name="eu-west-1"), default_bucket=BUCKET)
trainer = ModelTrainer(
    training_image=image_uris.retrieve("sklearn", "eu-west-1", version="1.4-2"),
    source_code=SourceCode(source_dir="source", entry_script="train.py"),
    hyperparameters={"intercept": 100},
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    role=ROLE,
    sagemaker_session=session,
)
data = InputData(channel_name="train", data_source=f"s3://{BUCKET}/train/")
pipeline = Pipeline(
    name="script", steps=[TrainingStep("Train", step_args=trainer.train([data]))], sagemaker_session=session
)
"""
V2 = """
import sagemaker
from sagemaker.inputs import TrainingInput
from sagemaker.sklearn import SKLearn, SKLearnModel
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.steps import TrainingStep

session = PipelineSession(boto_session=boto3.Session(region_name="eu-west-1"), default_bucket=BUCKET)
settings = {"framework_version": "1.2-1", "py_version": "py3", "role": ROLE, "sagemaker_session": session}
estimator = SKLearn(
    entry_point="train.py", source_dir="source", hyperparameters={"intercept": 100},
    instance_type="ml.m5.large", **settings,
)
train = TrainingStep("Train", step_args=estimator.fit({"train": TrainingInput(f"s3://{BUCKET}/train/")}))
model = SKLearnModel(
    model_data=train.properties.ModelArtifacts.S3ModelArtifacts, entry_point="inference.py", source_dir="source",
    **settings,
)
make = ModelStep("Make", step_args=model.create(instance_type="ml.m5.large"))
pipeline = Pipeline(name="script", steps=[train, make], sagemaker_session=session)
"""
STEPS = """
from sagemaker.core import image_uris
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.mlops.workflow.function_step import step
from sagemaker.mlops.workflow.pipeline import Pipeline

session = PipelineSession(boto_session=boto3.Session(region_name="eu-west-1"), default_bucket=BUCKET)
settings = {
    "image_uri": image_uris.retrieve("sklearn", "eu-west-1", version="1.4-2"), "instance_type": "ml.m5.large",
    "role": ROLE,
}

@step(name="Count", **settings)
def count():
    return 41

@step(name="Add", **settings)
def add(number):
    print("the answer is", number + 1)
    return number + 1

pipeline = Pipeline(name="script", steps=[add(count())], sagemaker_session=session)
"""


def compiled(world: World, image: str, module: str, folder: Path) -> list[Json]:
    """The steps of the pipeline that `module` makes, compiled in the environment of a job image."""
    job_images.build(print, *([image] if image == job_images.SDK2 else []))
    (folder / "source").mkdir()
    (folder / "source" / "train.py").write_text(TRAIN)
    (folder / "source" / "inference.py").write_text(SERVE)
    head = f"import boto3\nBUCKET, ROLE = {world.project.bucket!r}, {world.project.pipeline_role!r}\n"
    (folder / "pipeline.py").write_text(head + textwrap.dedent(module) + "\nprint(pipeline.definition())\n")
    environ = world.aws.environ | {"PATH": os.environ["PATH"], "HOME": str(folder), "SAGEMAKER_VALIDATE_ROLE": "false"}
    python = job_images.FOLDER / image / "bin" / "python"
    command = [str(python), "pipeline.py"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    steps: list[Json] = json.loads(done.stdout.strip().splitlines()[-1])["Steps"]
    return steps


def run(world: World, steps: list[Json]) -> dict[str, Json]:
    rows = "".join(f"{x + y},{x},{y}\n" for x in range(10) for y in range(10))
    put(world, "train/train.csv", rows.encode())
    arn = world.start(*steps)
    outcome = world.end(arn, seconds=300)  # the SDK takes its time
    by_name = world.steps(arn)
    if outcome["PipelineExecutionStatus"] != "Succeeded":
        jobs = [
            step["Metadata"]["TrainingJob"]["Arn"] for step in by_name.values() if "TrainingJob" in step["Metadata"]
        ]
        logs = [line for job in jobs for line in world.log(job.rpartition("/")[2], "Training")[-40:]]
        raise AssertionError("\n".join([str(by_name), *logs]))
    return by_name


def test_sdk_v3_trains_a_source_directory(world: World, tmp_path: Path) -> None:
    steps = run(world, compiled(world, "training-sdk-v3", V3, tmp_path))
    name = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    log = "\n".join(world.log(name, "Training"))
    assert "score: 1.0" in log or "score: 0.99" in log
    artifacts: Any = world.sagemaker.describe_training_job(TrainingJobName=name)["ModelArtifacts"]
    assert world.s3.head_object(Bucket=world.project.bucket, Key=artifacts["S3ModelArtifacts"].split("/", 3)[3])


def test_sdk_v2_trains_repacks_and_serves_a_source_directory(world: World, tmp_path: Path) -> None:
    steps = run(world, compiled(world, job_images.SDK2, V2, tmp_path))
    [model_step] = [step for step in steps.values() if "Model" in step["Metadata"]]
    model = world.sagemaker.describe_model(ModelName=model_step["Metadata"]["Model"]["Arn"].rpartition("/")[2])
    ask = endpoint(world, model["PrimaryContainer"])
    assert ask(b"[[1, 2], [3, 4]]", "application/json")[1] == "[103.0, 107.0]"


def test_functions_under_step_run_with_the_sdk_of_the_training_jobs_image(world: World, tmp_path: Path) -> None:
    steps = run(world, compiled(world, "training-sdk-v3", STEPS, tmp_path))
    name = steps["Add"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    assert "the answer is 42" in world.log(name, "Training")
