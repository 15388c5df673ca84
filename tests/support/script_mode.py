"""Programs in script mode, and endpoints that serve with one."""

from __future__ import annotations

from typing import Any

from tests.support.sagemaker_pipelines import Json, World
from tests.support.waiting import wait_for

TRAIN = """
import argparse, json, os, pathlib, joblib
import numpy, sklearn.linear_model

parser = argparse.ArgumentParser()
parser.add_argument("--intercept", type=int)
intercept = parser.parse_args().intercept
table = numpy.loadtxt(pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]) / "train.csv", delimiter=",")
model = sklearn.linear_model.LinearRegression().fit(table[:, 1:], table[:, 0] + intercept)
joblib.dump(model, pathlib.Path(os.environ["SM_MODEL_DIR"]) / "model.joblib")
print("score:", model.score(table[:, 1:], table[:, 0] + intercept))
print("on", os.environ["SM_CURRENT_INSTANCE_TYPE"], json.loads(os.environ["SM_HPS"]))
"""
SERVE = """
import joblib, os

def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))

def predict_fn(data, model):
    return model.predict(data).round(3)
"""


def put(world: World, key: str, content: bytes) -> str:
    world.s3.put_object(Bucket=world.project.bucket, Key=key, Body=content)
    return f"s3://{world.project.bucket}/{key}"


def endpoint(world: World, model: Json) -> Any:
    """Host a model; returns a function that asks it and gives the answer's content type and text."""
    name = world.project.name
    world.sagemaker.create_model(ModelName=name, PrimaryContainer=model, ExecutionRoleArn=world.project.model_role)
    variant = {"VariantName": "A", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    world.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    world.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def status() -> str:
        return str(world.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"])

    wait_for(lambda: status() != "Creating", "the endpoint")
    assert status() == "InService"
    runtime = world.aws.client("sagemaker-runtime")

    def ask(body: bytes, content_type: str, **more: str) -> tuple[str, str]:
        answer = runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType=content_type, **more)
        return answer["ContentType"], answer["Body"].read().decode()

    return ask
