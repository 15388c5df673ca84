"""A model-deploy repository with an export, and the job `deploy` as tests run it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest

from ci_scripts import endpoint
from tests.support.hosting import archive, model_predicting
from tests.support.servers import ROOT, Aws, Project, register, sagemaker_ci

SLOW_TO_START = b"""
import time

import xgboost


def model_fn(folder):
    time.sleep(6)
    return xgboost.Booster(model_file=folder + "/xgboost-model")


def output_fn(predictions, accept):
    return "\\n".join(map(str, predictions)), "text/csv"
"""


class Deployment(NamedTuple):
    """A model-deploy repository of a fresh project, and what a person would look at."""

    aws: Aws
    project: Project
    folder: Path

    def register(self, content: bytes, status: str = "Approved") -> str:
        """Register a version whose model archive is `content`."""
        key = f"models/{time.monotonic_ns()}/model.tar.gz"
        self.aws.client("s3").put_object(Bucket=self.project.bucket, Key=key, Body=content)
        return register(self.aws, self.project.group, status, f"s3://{self.project.bucket}/{key}")

    def register_slow(self, answer: float) -> None:
        """Register a version whose container takes its time to start: so long is its endpoint under way."""
        key = f"models/{time.monotonic_ns()}/model.tar.gz"
        content = model_predicting(answer, {"code/inference.py": SLOW_TO_START})
        self.aws.client("s3").put_object(Bucket=self.project.bucket, Key=key, Body=content)
        register(self.aws, self.project.group, model=f"s3://{self.project.bucket}/{key}", program="inference.py")

    def build(self, arn: str = "") -> None:
        result = self.run("build", SMCI_MODEL_PACKAGE_ARN=arn)
        assert result.returncode == 0, result.stdout + result.stderr

    def deploy(self, stage: str = "staging", **variables: str) -> CompletedProcess[str]:
        return self.run("deploy", "--stage", stage, **variables)

    def run(self, *arguments: str, **variables: str) -> CompletedProcess[str]:
        return sagemaker_ci(*arguments, environ=self.project.environ | variables, cwd=self.folder)

    def stack_name(self, stage: str = "staging") -> str:
        return f"sagemaker-{self.project.name}-{self.project.id}-deploy-{stage}"

    def stack(self, stage: str = "staging") -> dict[str, Any] | None:
        name = self.stack_name(stage)
        stacks = self.aws.client("cloudformation").describe_stacks()["Stacks"]
        return next((each for each in stacks if each["StackName"] == name), None)

    def events(self) -> list[str]:
        """`STATUS LogicalId` of every event of the staging stack."""
        if self.stack() is None:
            return []
        stack_events = self.aws.client("cloudformation").describe_stack_events(StackName=self.stack_name())[
            "StackEvents"
        ]
        return [f"{each['ResourceStatus']} {each['LogicalResourceId']}" for each in stack_events]

    def endpoint_status(self) -> str:
        description = endpoint.describe(self.aws.client("sagemaker"), f"{self.project.name}-staging")
        return str(description["EndpointStatus"]) if description else ""

    def prediction(self, stage: str = "staging") -> float:
        runtime = self.aws.client("sagemaker-runtime")
        return float(endpoint.invoke(runtime, f"{self.project.name}-{stage}", b"1,2,3", "text/csv")[0])

    def edit_template(self, old: str, new: str) -> None:
        path = self.folder / "endpoint-config-template.yml"
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    def calls(self, operation: str) -> int:
        """How often `operation` was asked for, by all tests so far."""
        lines = map(json.loads, (self.aws.state / "requests.jsonl").read_text().splitlines())
        return sum(line["operation"] == operation for line in lines)


@pytest.fixture
def deployment(aws: Aws, project: Project, tmp_path: Path) -> Deployment:
    return Deployment(aws, project, Path(shutil.copytree(ROOT / "seed-deploy", tmp_path / "model-deploy")))


def succeeded(result: CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def failed(result: CompletedProcess[str], code: str) -> str:
    """Assert the expected failure; the error line."""
    assert result.returncode == 1, result.stdout + result.stderr
    error, hint, docs = result.stderr.splitlines()
    assert error.startswith(f"error {code}: "), result.stdout + result.stderr
    assert hint.startswith("hint: ")
    assert docs.endswith(f"/errors.md#{code.lower()}")
    return error


def create_user(aws: Aws) -> tuple[str, dict[str, str]]:
    """A user who may do everything: the name, and access keys as variables of a job."""
    iam, name = aws.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    forbid(aws, name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return name, {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def forbid(aws: Aws, user: str, *actions: str) -> None:
    """Let the user do everything but `actions`."""
    statements = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    statements += [{"Effect": "Deny", "Action": action, "Resource": "*"} for action in actions]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    aws.client("iam").put_user_policy(UserName=user, PolicyName="inline", PolicyDocument=policy)


BROKEN_MODEL = archive({"README": b"no model in here"})


def change_sets(deployment: Deployment) -> list[str]:
    """The names of the staging stack's change sets that were not executed."""
    summaries = deployment.aws.client("cloudformation").list_change_sets(StackName=deployment.stack_name())["Summaries"]
    return [each["ChangeSetName"] for each in summaries if not each["ExecutionStatus"].startswith("EXECUTE_")]


def start(deployment: Deployment, **variables: str) -> subprocess.Popen[str]:
    """`deploy --stage staging` in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "ci_scripts.cli", "deploy", "--stage", "staging"],
        cwd=deployment.folder,
        env=deployment.project.environ | {"POLL_SECONDS": "0.3", "NO_COLOR": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(job: subprocess.Popen[str], seconds: float = 60) -> CompletedProcess[str]:
    """What came of a job that was started, soon."""
    stdout, stderr = job.communicate(timeout=seconds)
    return CompletedProcess(job.args, job.returncode, stdout, stderr)
