"""A model-build repository with a small pipeline, and the job `run-pipeline` as tests run it."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ci_scripts import aws as aws_value
from ci_scripts import settings
from ci_scripts.run_pipeline import run
from tests.support.servers import REGION, Aws, Project, sagemaker_ci

# A model-build repository: one step that prepares, one that measures, and a model package if the measure is good.
# The last command line argument of each step is what it runs.
PIPELINE = """
IMAGE = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3"


def processing(name, command, bucket, role, depends_on=()):
    folder = "/opt/ml/processing/"
    return {
        "Name": name, "Type": "Processing", "DependsOn": list(depends_on),
        "PropertyFiles": [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "evaluation.json"}],
        "Arguments": {
            "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["sh", "-c", command]},
            "ProcessingInputs": [{"InputName": "data", "S3Input": {
                "S3Uri": f"s3://{bucket}/data", "LocalPath": folder + "data",
                "S3DataType": "S3Prefix", "S3InputMode": "File"}}],
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "report", "S3Output": {
                "S3Uri": {"Std:Join": {"On": "/", "Values": [
                    "s3:/", bucket, {"Get": "Execution.PipelineExecutionId"}, name]}},
                "LocalPath": folder + "report", "S3UploadMode": "EndOfJob"}}]},
            "ProcessingResources": {"ClusterConfig": {
                "InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 30}},
            "RoleArn": role,
        },
    }


def get_pipeline(role, default_bucket, model_package_group_name, prepare="true", evaluate="true", padding=""):
    register = {
        "Name": "Register", "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": model_package_group_name, "ModelApprovalStatus": "PendingManualApproval",
            "CustomerMetadataProperties": {"HeldOutDataUri": "s3://somewhere/test.csv"},
            "InferenceSpecification": {
                "Containers": [{"Image": IMAGE, "ModelDataUrl": f"s3://{default_bucket}/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]},
        },
    }
    mse = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "metrics.mse"}}
    check = {
        "Name": "CheckMse", "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "LessThanOrEqualTo", "LeftValue": mse,
                            "RightValue": {"Get": "Parameters.MseThreshold"}}],
            "IfSteps": [register], "ElseSteps": [],
        },
    }
    return {
        "Version": "2020-12-01",
        "Metadata": {"padding": padding},
        "Parameters": [{"Name": "MseThreshold", "Type": "Float", "DefaultValue": 6.0}],
        "Steps": [
            processing("Prepare", prepare, default_bucket, role),
            processing("Evaluate", evaluate, default_bucket, role, ["Prepare"]),
            check,
        ],
    }
"""

MEASURE = 'echo \'{"metrics": {"mse": 4.25}}\' > /opt/ml/processing/report/evaluation.json'


class Repository(NamedTuple):
    """A model-build repository and the GitLab job that runs in it."""

    path: Path
    aws: Aws
    project: Project

    def environ(self, job: int = 1, pipeline: int = 100) -> dict[str, str]:
        """The variables of a job; the same pipeline with another job id is a retry."""
        url = "https://gitlab.example.com/ds/model-build"
        return self.project.environ | {
            "CI_JOB_ID": str(job),
            "CI_JOB_NAME": "training",
            "CI_JOB_URL": f"{url}/-/jobs/{job}",
            "CI_PIPELINE_ID": str(pipeline),
            "CI_PROJECT_ID": "7",
            "CI_PROJECT_PATH": "ds/model-build",
            "CI_PROJECT_URL": url,
            "CI_COMMIT_REF_NAME": "main",
            "CI_COMMIT_SHA": "3f786850e387550fdab836ed7e6dc881de23001b",
        }

    def run(self, *options: str, job: int = 1, pipeline: int = 100, **kwargs: str) -> subprocess.CompletedProcess[str]:
        arguments = ["run-pipeline", "--kwargs", json.dumps({"evaluate": MEASURE} | kwargs), *options]
        return sagemaker_ci(*arguments, environ=self.environ(job, pipeline), cwd=self.path)

    def executions(self) -> list[dict[str, Any]]:
        sagemaker = self.aws.client("sagemaker")
        if not sagemaker.list_pipelines(PipelineNamePrefix=self.project.group)["PipelineSummaries"]:
            return []
        answer = sagemaker.list_pipeline_executions(PipelineName=self.project.group)
        return list(answer["PipelineExecutionSummaries"])

    def steps(self) -> dict[str, dict[str, Any]]:
        [execution] = self.executions()
        arn = execution["PipelineExecutionArn"]
        rows = self.aws.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=arn)
        return {each["StepName"]: each for each in rows["PipelineExecutionSteps"]}

    def packages(self) -> list[dict[str, Any]]:
        sagemaker = self.aws.client("sagemaker")
        summaries = sagemaker.list_model_packages(ModelPackageGroupName=self.project.group)["ModelPackageSummaryList"]
        return [sagemaker.describe_model_package(ModelPackageName=each["ModelPackageArn"]) for each in summaries]

    def report(self, name: str) -> str:
        return (self.path / "sagemaker-ci-reports" / name).read_text()


@pytest.fixture
def repository(tmp_path: Path, aws: Aws, project: Project) -> Repository:
    folder = tmp_path / "pipelines" / "abalone"
    folder.mkdir(parents=True)
    (folder / "pipeline.py").write_text(PIPELINE)
    s3 = aws.client("s3")
    for key in ("data/rows.csv", "model.tar.gz"):
        s3.put_object(Bucket=project.bucket, Key=key, Body=b"1,2\n")
    return Repository(tmp_path, aws, project)


class Race(NamedTuple):
    """A job in this process, so that another one can come between two of its calls."""

    repository: Repository
    clients: aws_value.Aws

    def text(self, prepare: str) -> str:
        """The definition of a commit, told apart by what its step Prepare runs."""
        module = runpy.run_path(str(self.repository.path / "pipelines" / "abalone" / "pipeline.py"))
        project = self.repository.project
        arguments = (project.pipeline_role, project.bucket, project.group, prepare, MEASURE)
        return json.dumps(module["get_pipeline"](*arguments))

    def create(self, prepare: str) -> None:
        self.repository.aws.client("sagemaker").create_pipeline(**self._pipeline(prepare))

    def update(self, prepare: str) -> None:
        self.repository.aws.client("sagemaker").update_pipeline(**self._pipeline(prepare))

    def _pipeline(self, prepare: str) -> Mapping[str, str]:
        project = self.repository.project
        return {
            "PipelineName": project.group,
            "RoleArn": project.pipeline_role,
            "PipelineDefinition": self.text(prepare),
        }

    def before(self, operation: str, act: Callable[[], None]) -> None:
        """Let something happen just before this job's first call of an operation."""
        events, name = self.clients.sagemaker.meta.events, f"before-call.sagemaker.{operation}"

        def once(**_: Any) -> None:
            events.unregister(name, once)
            act()

        events.register(name, once)

    def run(self, prepare: str = "echo mine") -> None:
        text, role = self.text(prepare), self.repository.project.pipeline_role
        compiled = run.Compiled(text, json.loads(text), {})
        run.execute(self.clients, settings.load_project(self.repository.environ()), role, compiled, 0.3)

    def ran(self) -> str:
        """Run the job; what its execution ran."""
        self.run()
        [execution] = self.repository.executions()
        answer = self.repository.aws.client("sagemaker").describe_pipeline_definition_for_execution(
            PipelineExecutionArn=execution["PipelineExecutionArn"]
        )
        return str(answer["PipelineDefinition"])


@pytest.fixture
def race(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Race:
    for name, text in repository.environ().items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(repository.path)
    return Race(repository, aws_value.Aws(REGION))


# --- cancelled and retried -----------------------------------------------------------------------------------------


def start(repository: Repository, **kwargs: str) -> subprocess.Popen[str]:
    """Run the job in the background."""
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ci_scripts.cli",
            "run-pipeline",
            "--kwargs",
            json.dumps({"evaluate": MEASURE} | kwargs),
        ],
        cwd=repository.path,
        env=clean | {"POLL_SECONDS": "0.3", "NO_COLOR": "1"} | repository.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def status(repository: Repository, step: str) -> str:
    """A step's status; empty before it has started."""
    return str(repository.steps().get(step, {}).get("StepStatus", "")) if repository.executions() else ""


def one_line(done: subprocess.CompletedProcess[str], code: str) -> str:
    """The error's line; there are a hint and an address below it and nothing else on stderr."""
    assert done.returncode == 1, done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 3, done.stderr
    assert lines[0].startswith(f"error SMCI-{code}: ")
    assert lines[1].startswith("hint: ")
    return lines[0]
