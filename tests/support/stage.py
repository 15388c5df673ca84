"""A model-deploy repository whose stage configuration says how it is hosted, and what a person would look at."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from ci_scripts.s3_location import Location
from tests.support.deployment import Deployment
from tests.support.hosting import model_predicting
from tests.support.servers import ROOT, Aws, Project
from tests.support.waiting import wait_for

REAL_TIME = {"Hosting": "real-time"}
ASYNCHRONOUS = {"Hosting": "asynchronous"}
SERVERLESS = {"Hosting": "serverless", "Parameters": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}
QUALITY = """
data: {path: held-out.csv}
checks:
  - {metric: mae, max: 1.0}
"""


class Stage(Deployment):
    """A model-deploy repository without a template of its own, and its stage staging."""

    @property
    def endpoint_name(self) -> str:
        return f"{self.project.name}-staging"

    def version(self, answer: float, status: str = "Approved") -> str:
        """Register a version whose model answers `answer`."""
        return self.register(model_predicting(answer), status)

    def configure(self, content: dict[str, Any], stage: str = "staging") -> None:
        (self.folder / f"{stage}-config.json").write_text(json.dumps(content))

    def host(self, content: dict[str, Any], **variables: str) -> CompletedProcess[str]:
        """Deploy the newest approved version as `content` says."""
        self.configure(content)
        self.build()
        return self.deploy(**variables)

    def config(self) -> dict[str, Any]:
        sagemaker = self.aws.client("sagemaker")
        name = sagemaker.describe_endpoint(EndpointName=self.endpoint_name)["EndpointConfigName"]
        return dict(sagemaker.describe_endpoint_config(EndpointConfigName=name))

    def variant(self) -> dict[str, Any]:
        return dict(self.config()["ProductionVariants"][0])

    def answer(self) -> float:
        """What the endpoint answers, asked in the way of its kind."""
        if "AsyncInferenceConfig" not in self.config():
            return self.prediction()
        s3, runtime = self.aws.client("s3"), self.aws.client("sagemaker-runtime")
        key = f"requests/{time.monotonic_ns()}"
        s3.put_object(Bucket=self.project.bucket, Key=key, Body=b"1,2,3")
        uri = f"s3://{self.project.bucket}/{key}"
        accepted = runtime.invoke_endpoint_async(
            EndpointName=self.endpoint_name, InputLocation=uri, ContentType="text/csv"
        )
        place = Location.of(accepted["OutputLocation"])
        listed = wait_for(lambda: s3.list_objects_v2(Bucket=place.bucket, Prefix=place.key).get("Contents"))
        assert listed
        return float(s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read())

    def resources(self) -> dict[str, str]:
        """The resources of the stack: logical id → status."""
        cloudformation = self.aws.client("cloudformation")
        summaries = cloudformation.list_stack_resources(StackName=self.stack_name())["StackResourceSummaries"]
        return {each["LogicalResourceId"]: each["ResourceStatus"] for each in summaries}


@pytest.fixture
def stage(aws: Aws, project: Project, tmp_path: Path) -> Stage:
    folder = Path(shutil.copytree(ROOT / "seed-deploy", tmp_path / "model-deploy"))
    (folder / "endpoint-config-template.yml").unlink()
    (folder / "prod-config.json").write_text('{"Hosting": "real-time"}')
    return Stage(aws, project, folder)
