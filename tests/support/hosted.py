"""A stack with a model, its configuration and its endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.servers import IMAGE, Aws, Project
from tests.support.stacks import Stacks

TEMPLATE = """
Parameters:
  Name: {Type: String}
  Role: {Type: String}
  Data: {Type: String}
  Count: {Type: Number, Default: 1}
Resources:
  Model:
    Type: AWS::SageMaker::Model
    Properties:
      ExecutionRoleArn: !Ref Role
      Containers: [{Image: IMAGE, ModelDataUrl: !Ref Data}]
  EndpointConfig:
    Type: AWS::SageMaker::EndpointConfig
    Properties:
      ProductionVariants:
        - VariantName: AllTraffic
          ModelName: !GetAtt Model.ModelName
          InstanceType: ml.m5.large
          InitialInstanceCount: !Ref Count
          InitialVariantWeight: 1
          ContainerStartupHealthCheckTimeoutInSeconds: 60
  Endpoint:
    Type: AWS::SageMaker::Endpoint
    Properties:
      EndpointName: !Ref Name
      EndpointConfigName: !GetAtt EndpointConfig.EndpointConfigName
Outputs:
  Config: {Value: !GetAtt EndpointConfig.EndpointConfigName}
  Model: {Value: !GetAtt Model.ModelName}
  Arn: {Value: !Ref Endpoint}
""".replace("IMAGE", IMAGE)


class Hosted:
    """A stack with one endpoint."""

    def __init__(self, aws: Aws, project: Project) -> None:
        self.stacks = Stacks(aws)
        self.sagemaker, self.runtime = aws.client("sagemaker"), aws.client("sagemaker-runtime")
        self._s3, self._project = aws.client("s3"), project
        self.endpoint = f"{project.name}-staging"

    def parameters(self, model: bytes, **others: str) -> dict[str, str]:
        key = f"models/{len(model)}-{hash(model)}/model.tar.gz"
        self._s3.put_object(Bucket=self._project.bucket, Key=key, Body=model)
        url = f"s3://{self._project.bucket}/{key}"
        return {"Name": self.endpoint, "Role": self._project.model_role, "Data": url} | others

    def prediction(self) -> float:
        answer = self.runtime.invoke_endpoint(EndpointName=self.endpoint, Body="1,2,3", ContentType="text/csv")
        return float(answer["Body"].read())

    def failures(self) -> dict[str, str]:
        events = self.stacks.client.describe_stack_events(StackName=self.stacks.name)["StackEvents"]
        failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
        return {event["LogicalResourceId"]: event["ResourceStatusReason"] for event in failed}

    def names(self, kind: str) -> set[str]:
        listing: Any = getattr(self.sagemaker, f"list_{kind}")
        pages = listing(MaxResults=100)
        [records] = [value for value in pages.values() if isinstance(value, list)]
        return {value for record in records for key, value in record.items() if key.endswith("Name")}


@pytest.fixture
def hosted(aws: Aws, project: Project) -> Hosted:
    return Hosted(aws, project)
