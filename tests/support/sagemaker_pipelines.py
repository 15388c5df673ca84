"""SageMaker pipelines as tests define and run them in the sandbox."""

from __future__ import annotations

import json
import uuid
from typing import Any, NamedTuple, cast

import pytest

from tests.support.servers import Aws, Project
from tests.support.waiting import wait_for

Json = dict[str, Any]

SKLEARN = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3"
XGBOOST = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.0-5"
EVALUATE = """
import json
print("measuring")
with open("/opt/ml/processing/evaluation/evaluation.json", "w") as file:
    json.dump({"metrics": {"mse": {"value": 4.5}}}, file)
"""


class World(NamedTuple):
    """A project's bucket and role, and clients for it."""

    aws: Aws
    project: Project
    sagemaker: Any
    s3: Any

    def script(self, name: str, text: str) -> str:
        self.s3.put_object(Bucket=self.project.bucket, Key=f"code/{name}.py", Body=text.encode())
        return f"s3://{self.project.bucket}/code/{name}.py"

    def processing(self, name: str, text: str, *outputs: str, inputs: Json | None = None, **more: Any) -> Json:
        """A step that runs a script; each output is a folder under /opt/ml/processing and s3://bucket/out/."""
        sources = {"code": self.script(name, text), **(inputs or {})}
        folders = [
            {
                "OutputName": output,
                "S3Output": {
                    "S3Uri": f"s3://{self.project.bucket}/out/{output}",
                    "LocalPath": f"/opt/ml/processing/{output}",
                    "S3UploadMode": "EndOfJob",
                },
            }
            for output in outputs
        ]
        arguments = {
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
            },
            "AppSpecification": {
                "ImageUri": SKLEARN,
                "ContainerEntrypoint": ["python3", f"/opt/ml/processing/code/{name}.py"],
            },
            "RoleArn": self.project.pipeline_role,
            "ProcessingInputs": [
                {
                    "InputName": key,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/{key}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
                for key, uri in sources.items()
            ],
            "ProcessingOutputConfig": {"Outputs": folders},
        }
        arguments |= more.pop("Arguments", {})
        return {"Name": name, "Type": "Processing", "Arguments": arguments, **more}

    def start(self, *steps: Json, parameters: list[Json] | None = None, **request: Any) -> str:
        name = f"test-{uuid.uuid4().hex[:8]}"
        document = {"Version": "2020-12-01", "Parameters": parameters or [], "Steps": steps}
        role = self.project.pipeline_role
        self.sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=json.dumps(document), RoleArn=role)
        return str(self.sagemaker.start_pipeline_execution(PipelineName=name, **request)["PipelineExecutionArn"])

    def end(self, arn: str, seconds: float = 60) -> Json:
        def ended() -> Json | None:
            execution: Json = self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
            return None if execution["PipelineExecutionStatus"] in ("Executing", "Stopping") else execution

        return cast("Json", wait_for(ended, "the end of the execution", seconds))

    def steps(self, arn: str) -> dict[str, Json]:
        pages = self.sagemaker.get_paginator("list_pipeline_execution_steps").paginate(PipelineExecutionArn=arn)
        return {step["StepName"]: step for page in pages for step in page["PipelineExecutionSteps"]}

    def await_job(self, arn: str, step: str) -> str:
        """The name of a step's job, once its first log line is there."""

        def started() -> str | None:
            job: Json = self.steps(arn).get(step, {}).get("Metadata", {}).get("ProcessingJob", {})
            name = str(job["Arn"].rpartition("/")[2]) if job else ""
            return name if name and self.log(name) else None

        return str(wait_for(started, "the job", 30))

    def log(self, job: str, kind: str = "Processing") -> list[str]:
        logs, group = self.aws.client("logs"), f"/aws/sagemaker/{kind}Jobs"
        try:
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")["logStreams"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        names = [stream["logStreamName"] for stream in streams]
        pages = [logs.get_log_events(logGroupName=group, logStreamName=n, startFromHead=True) for n in names]
        return [event["message"] for page in pages for event in page["events"]]

    def object(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.project.bucket, Key=key)["Body"].read())


@pytest.fixture
def world(aws: Aws, project: Project) -> World:
    return World(aws, project, aws.client("sagemaker"), aws.client("s3"))


def gate(world: World, threshold: Any = 6.0) -> list[Json]:
    """Evaluate, and register when the measured value is good enough."""
    evaluate = world.processing(
        "Evaluate",
        EVALUATE,
        "evaluation",
        PropertyFiles=[
            {"PropertyFileName": "Report", "OutputName": "evaluation", "FilePath": "evaluation.json"},
        ],
    )
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": world.project.group,
            "ModelApprovalStatus": "PendingManualApproval",
            "CustomerMetadataProperties": {
                "Execution": {"Get": "Execution.PipelineExecutionId"},
                "Report": {"Get": "Steps.Evaluate.ProcessingOutputConfig.Outputs['evaluation'].S3Output.S3Uri"},
            },
            "InferenceSpecification": {
                "Containers": [{"Image": XGBOOST, "ModelDataUrl": f"s3://{world.project.bucket}/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        },
    }
    measured = {
        "Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "metrics.mse.value"}
    }
    condition = {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "LessThanOrEqualTo", "LeftValue": measured, "RightValue": threshold}],
            "IfSteps": [register],
            "ElseSteps": [],
        },
    }
    return [evaluate, condition]


def training(world: World, **hyperparameters: str) -> Json:
    rows = "".join(f"{x + y},{x},{y}\n" for x in range(10) for y in range(10))
    world.s3.put_object(Bucket=world.project.bucket, Key="train/train.csv", Body=rows.encode())
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{world.project.bucket}/train"}
    channels = [{"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}]
    arguments = {
        "AlgorithmSpecification": {"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        "HyperParameters": hyperparameters,
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": f"s3://{world.project.bucket}/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": world.project.pipeline_role,
    }
    return {"Name": "Train", "Type": "Training", "Arguments": arguments}
