"""A stage that serves a real model and keeps its callers' requests, and the job `drift` as tests run it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest

from ci_scripts.quality import FILE
from tests.support.deployment import succeeded
from tests.support.servers import ROOT, Aws, Project, create_project, register, sagemaker_ci
from tests.support.tested_stage import abalone, trained
from tests.support.waiting import wait_for

REPORTS = Path("sagemaker-ci-reports")
ROWS_PER_REQUEST = 50
HELD_OUT = 300
"""Rows of the file; the callers send others of the same data."""


class Watched(NamedTuple):
    """A project whose stage prod serves `package`."""

    aws: Aws
    project: Project
    folder: Path
    package: str
    callers: Any
    """Rows that callers may send, as a table without labels."""

    @property
    def endpoint(self) -> str:
        return f"{self.project.name}-prod"

    @property
    def stack(self) -> str:
        return f"sagemaker-{self.project.name}-{self.project.id}-deploy-prod"

    def run(self, *arguments: str, **variables: str) -> CompletedProcess[str]:
        return sagemaker_ci(*arguments, environ=self.project.environ | variables, cwd=self.folder)

    def drift(self, *options: str, **variables: str) -> CompletedProcess[str]:
        return self.run("drift", "--stage", "prod", "--minimum-rows", "100", *options, **variables)

    def deploy(self) -> None:
        succeeded(self.run("build", SMCI_MODEL_PACKAGE_ARN=self.package))
        succeeded(self.run("deploy", "--stage", "prod"))

    def forget(self) -> None:
        """Remove what was captured so far, once it is written."""
        s3 = self.aws.client("s3")
        for key in self.files():
            s3.delete_object(Bucket=self.project.bucket, Key=key)

    def files(self) -> list[str]:
        prefix = f"datacapture-prod/{self.endpoint}/"
        listed = self.aws.client("s3").list_objects_v2(Bucket=self.project.bucket, Prefix=prefix).get("Contents", [])
        return [each["Key"] for each in listed]

    def captured(self) -> int:
        """How many requests were captured."""
        s3 = self.aws.client("s3")
        bodies = [s3.get_object(Bucket=self.project.bucket, Key=key)["Body"].read() for key in self.files()]
        return sum(len(body.splitlines()) for body in bodies)

    def send(self, rows: Any) -> None:
        """Send rows as callers do, and wait until they are captured."""
        runtime, before, requests = self.aws.client("sagemaker-runtime"), self.captured(), 0
        for start in range(0, len(rows), ROWS_PER_REQUEST):
            body = rows[start : start + ROWS_PER_REQUEST].to_csv(header=False, index=False)
            runtime.invoke_endpoint(EndpointName=self.endpoint, Body=body, ContentType="text/csv")
            requests += 1
        wait_for(lambda: self.captured() >= before + requests, f"{requests} captured requests")

    def facts(self) -> dict[str, Any]:
        """drift.json."""
        report: dict[str, Any] = json.loads((self.folder / REPORTS / "drift.json").read_text())
        return report

    def report(self, name: str) -> str:
        return (self.folder / REPORTS / name).read_text()


@pytest.fixture(scope="module")
def watched(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    project = create_project(aws)
    train, others = abalone()
    s3 = aws.client("s3")
    held_out = others[:HELD_OUT].to_csv(header=False, index=False)
    s3.put_object(Bucket=project.bucket, Key="test.csv", Body=held_out.encode())
    s3.put_object(Bucket=project.bucket, Key="model.tar.gz", Body=trained(train))
    properties = {"HeldOutDataUri": f"s3://{project.bucket}/test.csv"}
    model = f"s3://{project.bucket}/model.tar.gz"
    package = register(aws, project.group, model=model, CustomerMetadataProperties=properties)
    folder = Path(shutil.copytree(ROOT / "seed-deploy", tmp_path_factory.mktemp("watched") / "model-deploy"))
    (folder / "prod-config.json").write_text(json.dumps({"Parameters": {"EnableDataCapture": "true"}}))
    assert (folder / FILE).exists()
    stage = Watched(aws, project, folder, package, others[HELD_OUT:].drop(columns="rings"))
    stage.deploy()
    return stage
