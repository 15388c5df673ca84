"""Models, endpoint configs and endpoints of the sandbox's AWS, made with few words; for the tests of every kind."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox.aws.ground import REGION, ROOT_KEYS
from tests.support.servers import IMAGE, Aws, Project
from tests.support.waiting import wait_for


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def model_predicting(number: float, more: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
    """An archive whose model answers `number` to every row of three features, and `more` files."""
    # Not at the top: every run of any test loads this file, and most need no model.
    import numpy
    import xgboost

    rows = numpy.zeros((4, 3))
    labels = numpy.full(4, number)
    booster = xgboost.train({"base_score": number}, xgboost.DMatrix(rows, label=labels), 1)
    return archive({"xgboost-model": bytes(booster.save_raw("ubj")), **more})


class Hosting(NamedTuple):
    """Shortcuts that make a model, an endpoint config and an endpoint in one project."""

    aws: Aws
    project: Project
    sagemaker: Any

    def client(self, service: str, **settings: Any) -> Any:
        """A client of the root's with botocore settings of its own."""
        keys: Any = {each.lower(): self.aws.environ[each] for each in ROOT_KEYS}
        connect: Any = boto3.client  # its overloads want the service's name as a literal
        return connect(service, region_name=REGION, endpoint_url=self.aws.url, config=Config(**settings), **keys)

    def model(self, content: bytes, **container: Any) -> str:
        name = f"model-{uuid.uuid4().hex[:8]}"
        key = f"{name}/model.tar.gz"
        self.aws.client("s3").put_object(Bucket=self.project.bucket, Key=key, Body=content)
        url = f"s3://{self.project.bucket}/{key}"
        definition = {"Image": IMAGE, "ModelDataUrl": url} | container
        self.sagemaker.create_model(
            ModelName=name, PrimaryContainer=definition, ExecutionRoleArn=self.project.model_role
        )
        return name

    def configured(self, *variants: dict[str, Any], **settings: Any) -> str:
        """An endpoint config with these variants, each of which names its model at least."""
        name = f"config-{uuid.uuid4().hex[:8]}"
        named = [{"VariantName": "AllTraffic", **variant} for variant in variants]
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=named, **settings)
        return name

    def config(self, **weights: tuple[str, float]) -> str:
        """An endpoint config with one variant for each keyword: `variant=(model, weight)`."""
        name = f"config-{uuid.uuid4().hex[:8]}"
        variants = [
            {
                "VariantName": variant,
                "ModelName": model,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
                "InitialVariantWeight": weight,
            }
            for variant, (model, weight) in weights.items()
        ]
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
        return name

    def endpoint(self, config: str) -> str:
        name = f"{self.project.name}-staging"
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        return name

    def settled(self, name: str) -> dict[str, Any]:
        """DescribeEndpoint once nothing is under way any more."""

        def settled() -> dict[str, Any] | None:
            endpoint: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
            return endpoint if endpoint["EndpointStatus"] in ("InService", "Failed") else None

        return cast("dict[str, Any]", wait_for(settled, f"the end of what goes on at {name}"))

    def ask(self, name: str, body: str = "1,2,3", **settings: Any) -> Any:
        return self.aws.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=name, Body=body, **{"ContentType": "text/csv"} | settings
        )

    def predictions(self, name: str, body: str = "1,2,3", **settings: Any) -> list[float]:
        return [float(number) for number in self.ask(name, body, **settings)["Body"].read().split()]


@pytest.fixture
def hosting(aws: Aws, project: Project) -> Hosting:
    return Hosting(aws, project, aws.client("sagemaker"))


def refusal(call: Callable[..., Any], *values: Any, **named: Any) -> str:
    """`Code: message` of the ClientError that a call must raise."""
    with pytest.raises(ClientError) as caught:
        call(*values, **named)
    error = caught.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"
