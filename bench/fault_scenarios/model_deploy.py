"""`build`, `deploy`, `test` and `doctor` in a model-deploy repository."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from bench.fault_scenarios.base import Scenario, gitlab_job, run_undisturbed, unexecuted
from ci_scripts.settings import STAGES
from sandbox.processes import ROOT
from tests.support.hosting import model_predicting
from tests.support.servers import Aws, create_project, register
from tests.support.waiting import wait_for


class ModelDeploy(Scenario):
    """A model-deploy repository with two approved versions, which answer 4 and 9, and their exports."""

    deployment: ClassVar[dict[str, Any]] = {}
    """`Deployment` of the configuration of staging."""
    keep: ClassVar[int] = 99
    """Of how many superseded deployments nothing is deleted: what is made too much can be counted."""

    def __init__(self, aws: Aws, folder: Path) -> None:
        super().__init__(aws, folder)
        self.project = create_project(aws)
        self.cloudformation, self.sagemaker = aws.client("cloudformation"), aws.client("sagemaker")
        self.stack_name = f"sagemaker-{self.project.name}-{self.project.id}-deploy-staging"
        self.endpoint = f"{self.project.name}-staging"
        shutil.copytree(ROOT / "seed-deploy", folder)
        if self.deployment:
            (folder / "staging-config.json").write_text(json.dumps({"Deployment": self.deployment}))
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
        variables = self.project.environ | gitlab_job(number, attempt, "job") | {"KEEP_SUPERSEDED": str(self.keep)}
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
        if abs(float(body) - self.answer) >= 0.01:
            problems.append(f"the endpoint answers {body!r}")
        if (recorded := self._newest_record().get("ModelPackageArn")) != self.arns[self.answer]:
            problems.append(f"the newest record tells of {recorded}")
        return problems

    def _newest_record(self) -> dict[str, Any]:
        """The newest record of the stage; empty when there is none."""
        s3, bucket = self.aws.client("s3"), self.project.bucket
        prefix = f"sagemaker-{self.project.name}-{self.project.id}-history/staging/"
        keys = sorted(each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []))
        record: dict[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=keys[-1])["Body"].read()) if keys else {}
        return record

    def leftovers(self) -> list[str]:
        left = unexecuted(self.cloudformation, self.stack_name)
        growth = [now - before for now, before in zip(self._things(), self.before, strict=True)]
        return [*left, f"{growth} models and configurations were made"] if max(growth) > 1 else left


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


class DeployShift(DeployUpdate):
    title = "deploy, update that alarms watch"
    deployment: ClassVar[dict[str, Any]] = {"Strategy": "all-at-once", "TerminationWaitInSeconds": 150}


class DeployTidy(DeployUpdate):
    title = "deploy, update that deletes what is superseded"
    keep: ClassVar[int] = 1

    def reset(self) -> None:
        for _ in range(0 if self.stacks() else 3):
            super().reset()
            run_undisturbed(self, *self.command)
        super().reset()

    def leftovers(self) -> list[str]:
        growth = [now - before for now, before in zip(self._things(), self.before, strict=True)]
        left = [f"{growth} models and configurations are more than before"] if max(growth) > 0 else []
        return [*unexecuted(self.cloudformation, self.stack_name), *left]


class DeployUnchanged(Deploy):
    title = "deploy, no change"

    def reset(self) -> None:
        if not self.stacks():
            run_undisturbed(self, *self.command)
        super().reset()


class Rollback(Deploy):
    title = "rollback"
    command = ("rollback", "--stage", "staging")

    def reset(self) -> None:
        for answer in (4.0, 9.0):
            self.choose(answer)
            run_undisturbed(self, *Deploy.command)
        self.answer = 4.0
        super().reset()


class Drift(Deploy):
    """A stage that is as it was deployed, and whose endpoint keeps no requests: there is nothing to find or to make."""

    title = "drift"
    command = ("drift", "--stage", "staging")

    def reset(self) -> None:
        if not self.stacks():
            run_undisturbed(self, *Deploy.command)
        super().reset()
        shutil.rmtree(self.folder / "sagemaker-ci-reports", ignore_errors=True)

    def problems(self) -> list[str]:
        report = self.folder / "sagemaker-ci-reports" / "drift.json"
        content = json.loads(report.read_text()) if report.exists() else None
        differences = [] if content and not content["Configuration"]["Differences"] else [f"drift.json says {content}"]
        return [*super().problems(), *differences]


class Teardown(Deploy):
    title = "teardown"
    command = ("teardown", "--stage", "staging")

    def reset(self) -> None:
        if not self.stacks():
            run_undisturbed(self, *Deploy.command)
        super().reset()

    def problems(self) -> list[str]:
        problems = [f"the stack is {each['StackStatus']}" for each in self.stacks()]
        if (event := self._newest_record().get("Event")) != "torn down":
            problems.append(f"the newest record says {event}")
        return problems

    def leftovers(self) -> list[str]:
        endpoints = self.sagemaker.list_endpoints(NameContains=self.endpoint)["Endpoints"]
        return [f"the endpoint {each['EndpointName']} is left" for each in endpoints]


class Build(ModelDeploy):
    title = "build"
    command = ("build",)

    def reset(self) -> None:
        for path in self.folder.glob("*-export.json"):
            path.unlink()

    def problems(self) -> list[str]:
        problems = []
        for stage in STAGES:
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
