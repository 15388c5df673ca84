"""What the fault bench runs: per command a world to begin from, and what it must look like at the end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from sandbox.processes import ROOT
from tests.sandbox.conftest import REGION, Aws, create_project, register
from tests.sandbox.test_aws_endpoints import model_predicting
from tests.sandbox.test_run_pipeline import MEASURE, PIPELINE
from tests.waiting import wait_for


class Scenario(ABC):
    """One command in one situation."""

    title = ""
    command: tuple[str, ...] = ()

    def __init__(self, aws: Aws, folder: Path) -> None:
        self.aws, self.folder = aws, folder

    @abstractmethod
    def reset(self) -> None:
        """Bring the world to where a case begins."""

    @abstractmethod
    def environ(self, number: int, attempt: int) -> dict[str, str]:
        """The variables of the GitLab job of case `number`; a second attempt is a retry."""

    @abstractmethod
    def problems(self) -> list[str]:
        """In what the world differs from what the command was asked for."""

    def leftovers(self) -> list[str]:
        """What is there and should not be."""
        return []


def gitlab_job(number: int, attempt: int, name: str) -> dict[str, str]:
    """GitLab's predefined variables."""
    url = "https://gitlab.example.com/ds/models"
    return {
        "GITLAB_CI": "true",
        "CI_JOB_ID": str(number * 10 + attempt),
        "CI_JOB_NAME": name,
        "CI_JOB_URL": f"{url}/-/jobs/{number * 10 + attempt}",
        "CI_PIPELINE_ID": str(number),
        "CI_PROJECT_ID": "4711",
        "CI_PROJECT_PATH": "ds/models",
        "CI_PROJECT_URL": url,
        "CI_COMMIT_REF_NAME": "main",
        "CI_COMMIT_SHA": "3f786850e387550fdab836ed7e6dc881de23001b",
    }


def unexecuted(cloudformation: Any, stack: str) -> list[str]:
    """The stack's change sets that were never executed."""
    summaries = cloudformation.list_change_sets(StackName=stack)["Summaries"]
    return [
        f"the change set {each['ChangeSetName']} is left, {each['Status']}"
        for each in summaries
        if not each["ExecutionStatus"].startswith("EXECUTE_")
    ]


# --- model-deploy ----------------------------------------------------------------------------------------------------


class ModelDeploy(Scenario):
    """A model-deploy repository with two approved versions, which answer 4 and 9, and their exports."""

    def __init__(self, aws: Aws, folder: Path) -> None:
        super().__init__(aws, folder)
        self.project = create_project(aws)
        self.cloudformation, self.sagemaker = aws.client("cloudformation"), aws.client("sagemaker")
        self.stack_name = f"sagemaker-{self.project.name}-{self.project.id}-deploy-staging"
        self.endpoint = f"{self.project.name}-staging"
        shutil.copytree(ROOT / "seed-deploy", folder)
        s3 = aws.client("s3")
        held_out = f"s3://{self.project.bucket}/test.csv"
        s3.put_object(Bucket=self.project.bucket, Key="test.csv", Body=b"4,1,2,3\n4,3,2,1\n")
        self.answer = 0.0
        self.arns: dict[float, str] = {}
        self.exports: dict[float, bytes] = {}
        for answer in (4.0, 9.0):
            key = f"{answer}/model.tar.gz"
            s3.put_object(Bucket=self.project.bucket, Key=key, Body=model_predicting(answer))
            properties = {"HeldOutDataUri": held_out}
            model = f"s3://{self.project.bucket}/{key}"
            self.arns[answer] = register(aws, self.project.group, model=model, CustomerMetadataProperties=properties)
            run_undisturbed(self, "build", SMCI_MODEL_PACKAGE_ARN=self.arns[answer])
            self.exports[answer] = (folder / "staging-config-export.json").read_bytes()
        self.choose(4.0)

    def choose(self, answer: float) -> None:
        """Ask for the version that answers so."""
        self.answer = answer
        (self.folder / "staging-config-export.json").write_bytes(self.exports[answer])

    def environ(self, number: int, attempt: int) -> dict[str, str]:
        variables = self.project.environ | gitlab_job(number, attempt, "job")
        if self.answer in self.exports:
            variables["STAGING_EXPORT_SHA256"] = sha256(self.exports[self.answer]).hexdigest()
        return variables

    def stacks(self) -> list[dict[str, Any]]:
        stacks = self.cloudformation.describe_stacks()["Stacks"]
        return [each for each in stacks if each["StackName"].startswith(self.stack_name)]


class Deploy(ModelDeploy):
    command = ("deploy", "--stage", "staging")

    def reset(self) -> None:
        self.before = self._things()

    def _things(self) -> tuple[int, int]:
        """How many models and endpoint configurations there are."""
        return (
            sum(len(page["Models"]) for page in self.sagemaker.get_paginator("list_models").paginate()),
            sum(
                len(page["EndpointConfigs"])
                for page in self.sagemaker.get_paginator("list_endpoint_configs").paginate()
            ),
        )

    def problems(self) -> list[str]:
        stacks = [(each["StackName"], each["StackStatus"]) for each in self.stacks()]
        if [name for name, _ in stacks] != [self.stack_name]:
            return [f"the stacks are {stacks}"]
        problems = (
            [f"the stack is {stacks[0][1]}"] if stacks[0][1] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE") else []
        )
        status = self.sagemaker.describe_endpoint(EndpointName=self.endpoint)["EndpointStatus"]
        if status != "InService":
            return [*problems, f"the endpoint is {status}"]
        body = (
            self.aws.client("sagemaker-runtime")
            .invoke_endpoint(EndpointName=self.endpoint, Body=b"1,2,3", ContentType="text/csv")["Body"]
            .read()
        )
        return problems if abs(float(body) - self.answer) < 0.01 else [*problems, f"the endpoint answers {body!r}"]

    def leftovers(self) -> list[str]:
        left = unexecuted(self.cloudformation, self.stack_name)
        made = [now - before for now, before in zip(self._things(), self.before, strict=True)]
        return [*left, f"{made} models and configurations were made"] if max(made) > 1 else left


class DeployCreate(Deploy):
    title = "deploy, first deployment"

    def reset(self) -> None:
        for stack in self.stacks():
            self.cloudformation.delete_stack(StackName=stack["StackId"])
        wait_for(lambda: not self.stacks(), "the end of the stack")
        super().reset()


class DeployUpdate(Deploy):
    title = "deploy, update"

    def reset(self) -> None:
        if not self.stacks():
            run_undisturbed(self, *self.command)
        self.choose(13.0 - self.answer)
        super().reset()


class DeployUnchanged(Deploy):
    title = "deploy, no change"

    def reset(self) -> None:
        if not self.stacks():
            run_undisturbed(self, *self.command)
        super().reset()


class Build(ModelDeploy):
    title = "build"
    command = ("build",)

    def reset(self) -> None:
        for path in self.folder.glob("*-export.json"):
            path.unlink()

    def problems(self) -> list[str]:
        problems = []
        for stage in ("staging", "prod"):
            path = self.folder / f"{stage}-config-export.json"
            if not path.exists() or json.loads(path.read_bytes())["ModelPackageArn"] != self.arns[9.0]:
                problems.append(f"the export of {stage} is missing or of another version than the newest")
        return problems

    def leftovers(self) -> list[str]:
        return [f"{path.name} is left" for path in self.folder.glob(".*export*")]


class Test(ModelDeploy):
    title = "test"
    command = ("test", "--stage", "staging")

    def __init__(self, aws: Aws, folder: Path) -> None:
        super().__init__(aws, folder)
        shutil.rmtree(folder / "tests")
        quality = "data:\n  from_model_package: HeldOutDataUri\nchecks:\n  - metric: mse\n    max: 1\n"
        (folder / "quality.yml").write_text(quality)
        run_undisturbed(self, *Deploy.command)

    def reset(self) -> None:
        shutil.rmtree(self.folder / "sagemaker-ci-reports", ignore_errors=True)

    def problems(self) -> list[str]:
        summary = self.folder / "sagemaker-ci-reports" / "summary.md"
        passed = summary.exists() and "passed" in summary.read_text()
        return [] if passed else ["no summary tells that the tests passed"]


class Doctor(ModelDeploy):
    title = "doctor"
    command = ("doctor",)

    def __init__(self, aws: Aws, folder: Path) -> None:
        super().__init__(aws, folder)
        put = aws.client("s3")
        put.put_public_access_block(
            Bucket=self.project.bucket,
            PublicAccessBlockConfiguration=dict.fromkeys(
                ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
            ),
        )
        rule = {"source": ["aws.sagemaker"], "detail": {"ModelPackageGroupName": [self.project.group]}}
        rule["detail-type"] = ["SageMaker Model Package State Change"]
        aws.client("events").put_rule(Name=f"approved-{self.project.name}", EventPattern=json.dumps(rule))

    def reset(self) -> None:
        """It changes nothing."""

    def environ(self, number: int, attempt: int) -> dict[str, str]:
        return self.project.environ  # outside a job: there is no GitLab to look at

    def problems(self) -> list[str]:
        return []


# --- model-build -----------------------------------------------------------------------------------------------------


class Training(Scenario):
    """A model-build repository whose pipeline prepares, evaluates and registers."""

    command = ("run-pipeline",)

    def __init__(self, aws: Aws, folder: Path) -> None:
        super().__init__(aws, folder)
        module = folder / "pipelines" / "abalone" / "pipeline.py"
        module.parent.mkdir(parents=True)
        module.write_text(PIPELINE)
        self.sagemaker = aws.client("sagemaker")
        self.prepare = 0
        self._new_project()

    def _new_project(self) -> None:
        self.project = create_project(self.aws)
        for key in ("data/rows.csv", "model.tar.gz"):
            self.aws.client("s3").put_object(Bucket=self.project.bucket, Key=key, Body=b"1,2\n")

    def environ(self, number: int, attempt: int) -> dict[str, str]:
        self.pipeline = number
        kwargs = {"evaluate": MEASURE, "prepare": f"echo {self.prepare}"}
        job = gitlab_job(number, attempt, "training")
        return self.project.environ | job | {"SMCI_PIPELINE_KWARGS": json.dumps(kwargs)}

    def _executions(self) -> list[dict[str, Any]]:
        try:
            rows = self.sagemaker.list_pipeline_executions(PipelineName=self.project.group, MaxResults=100)
        except ClientError:
            return []
        prefix = f"gitlab-{self.pipeline}-"
        every = rows["PipelineExecutionSummaries"]
        return [each for each in every if each["PipelineExecutionDisplayName"].startswith(prefix)]

    def problems(self) -> list[str]:
        statuses = [each["PipelineExecutionStatus"] for each in self._executions()]
        if statuses != ["Succeeded"]:
            return [f"the job's executions are {statuses}"]
        arn = self._executions()[0]["PipelineExecutionArn"]
        rows = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
        [package] = [each["Metadata"]["RegisterModel"]["Arn"] for each in rows if each["StepName"] == "Register"]
        stamp = self.sagemaker.describe_model_package(ModelPackageName=package).get("CustomerMetadataProperties", {})
        text = self.sagemaker.describe_pipeline(PipelineName=self.project.group)["PipelineDefinition"]
        problems = [] if stamp.get("PipelineExecutionArn") == arn else [f"the model package is stamped {stamp}"]
        return problems if f"echo {self.prepare}" in text else [*problems, "the pipeline is not of this commit"]


class TrainingCreate(Training):
    title = "run-pipeline, first run"

    def reset(self) -> None:
        self._new_project()


class TrainingUpdate(Training):
    title = "run-pipeline, new definition"

    def reset(self) -> None:
        if not self.prepare:
            run_undisturbed(self, *self.command)
        self.prepare += 1


class TrainingUnchanged(Training):
    title = "run-pipeline, same definition"

    def reset(self) -> None:
        if not self.prepare:
            self.prepare = 1
            run_undisturbed(self, *self.command)


# --- bootstrap -------------------------------------------------------------------------------------------------------

_ARCHIVE_ONCE = """
import pathlib, shutil, subprocess, sys
name, output = sys.argv[1], pathlib.Path(sys.argv[3])
here = pathlib.Path(__file__).resolve()
kept = here.parents[1] / "kept" / name
if not kept.exists():
    command = [sys.executable, str(here.with_name("archive_original.py")), name, "--output", str(kept)]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
[archive] = kept.iterdir()
print(shutil.copy(archive, output))
"""


class Bootstrap(Scenario):
    """A platform team's bucket and clone. Its archives are built once: no fault comes to that here."""

    def __init__(self, aws: Aws, folder: Path) -> None:
        super().__init__(aws, folder)
        for name in ("infra", "seed-build", "seed-deploy"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        infra = folder / "infra"
        (infra / "archive.py").rename(infra / "archive_original.py")
        (infra / "archive.py").write_text(textwrap.dedent(_ARCHIVE_ONCE))
        self.number = 0
        self._new_platform()

    def _new_platform(self) -> None:
        self.number += 1
        self.bucket, self.stack = f"platform-{self.number}-{time.time_ns()}", f"sagemaker-ci-{self.number}"
        self.aws.client("s3").create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.command = ("bootstrap", "--bucket", self.bucket, "--stack-name", self.stack)

    def environ(self, number: int, attempt: int) -> dict[str, str]:
        return self.aws.environ

    def problems(self) -> list[str]:
        cloudformation, s3 = self.aws.client("cloudformation"), self.aws.client("s3")
        stacks = [each for each in cloudformation.describe_stacks()["Stacks"] if each["StackName"] == self.stack]
        statuses = [each["StackStatus"] for each in stacks]
        if statuses not in (["CREATE_COMPLETE"], ["UPDATE_COMPLETE"]):
            return [f"the stack is {statuses}"]
        found = s3.list_objects_v2(Bucket=self.bucket, Prefix="sagemaker-ci/studio/")["Contents"]
        shown = [each["Key"] for each in found if s3.get_object_tagging(Bucket=self.bucket, Key=each["Key"])["TagSet"]]
        texts = [s3.get_object(Bucket=self.bucket, Key=key)["Body"].read().decode() for key in shown]
        problems = [] if len(texts) == 1 and f"version {self.number}." in texts[0] else [f"Studio shows {shown}"]
        if len(s3.get_bucket_cors(Bucket=self.bucket)["CORSRules"]) != 1:
            problems.append("the bucket's CORS rules are not one")
        return problems

    def leftovers(self) -> list[str]:
        return unexecuted(self.aws.client("cloudformation"), self.stack)

    def _new_version(self) -> None:
        """Change the template, as a new version of the clone does."""
        template = self.folder / "infra" / "project.yml"
        text = (ROOT / "infra" / "project.yml").read_text()
        template.write_text(text.replace("Description: ", f"Description: version {self.number}. ", 1))


class BootstrapCreate(Bootstrap):
    title = "bootstrap, first run"

    def reset(self) -> None:
        self._new_platform()
        self._new_version()


class BootstrapUpdate(Bootstrap):
    title = "bootstrap, new version"

    def reset(self) -> None:
        if self.number == 1:
            self._new_version()
            run_undisturbed(self, *self.command)
        self.number += 1
        self._new_version()


class BootstrapUnchanged(Bootstrap):
    title = "bootstrap, nothing new"

    def reset(self) -> None:
        if not (self.folder / "kept").exists():
            self._new_version()
            run_undisturbed(self, *self.command)


def run_undisturbed(scenario: Scenario, *arguments: str, **variables: str) -> None:
    """Run a command without any fault; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "ci_scripts.cli", *arguments],
        cwd=scenario.folder,
        env={"POLL_SECONDS": "0.3", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
        | scenario.environ(0, 1)
        | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


SCENARIOS: dict[str, Callable[[Aws, Path], Scenario]] = {
    "deploy-create": DeployCreate,
    "deploy-update": DeployUpdate,
    "deploy-unchanged": DeployUnchanged,
    "build": Build,
    "run-pipeline-create": TrainingCreate,
    "run-pipeline-update": TrainingUpdate,
    "run-pipeline-unchanged": TrainingUnchanged,
    "test": Test,
    "bootstrap-create": BootstrapCreate,
    "bootstrap-update": BootstrapUpdate,
    "bootstrap-unchanged": BootstrapUnchanged,
    "doctor": Doctor,
}
