"""The SageMaker resource types of CloudFormation: models, endpoint configs, endpoints, model package groups.

Properties and the service's parameters have the same names, so a handler is mostly the calls and their order.
"""

from __future__ import annotations

import time
from typing import Any

from botocore.exceptions import ClientError

from sandbox.aws.cloudformation.handlers import HANDLERS, Call, Failed, Handler, Made, Properties, handles

_POLL_SECONDS = 0.3


def _retag(sagemaker: Any, arn: str, old: Properties, new: Properties) -> None:
    before = {tag["Key"]: tag["Value"] for tag in old.get("Tags", [])}
    after = {tag["Key"]: tag["Value"] for tag in new.get("Tags", [])}
    if gone := [key for key in before if key not in after]:
        sagemaker.delete_tags(ResourceArn=arn, TagKeys=gone)
    if after and after != before:
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": key, "Value": value} for key, value in after.items()])


class Named(Handler):
    """A SageMaker resource that its create call makes at once; only tags change later. Ref is the ARN."""

    def __init__(self, kind: str, operation: str) -> None:
        self.kind = kind  # Model: ModelName, ModelArn
        self.operation = operation  # model: create_model, delete_model

    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get(f"{self.kind}Name") or call.name(63, stack=False)
        create = getattr(call.client("sagemaker"), f"create_{self.operation}")
        arn = create(**properties | {f"{self.kind}Name": name})[f"{self.kind}Arn"]
        return Made(arn, {f"{self.kind}Name": name, f"{self.kind}Arn": arn})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        _retag(call.client("sagemaker"), made.physical_id, old, new)
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        name = f"{self.kind}Name"
        getattr(call.client("sagemaker"), f"delete_{self.operation}")(**{name: made.attributes[name]})


for kind, operation in (
    ("Model", "model"),
    ("EndpointConfig", "endpoint_config"),
    ("ModelPackageGroup", "model_package_group"),
    ("CodeRepository", "code_repository"),
):
    HANDLERS[f"AWS::SageMaker::{kind}"] = Named(kind, operation)


@handles("AWS::SageMaker::Endpoint")
class Endpoint(Handler):
    """Waits until the endpoint stands still.

    An endpoint that went back to its old config by itself is InService again, and nothing in CloudFormation's
    documentation says that it looks further than the status: such an update completes.
    """

    _UPDATE = ("DeploymentConfig", "RetainAllVariantProperties", "ExcludeRetainedVariantProperties")

    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get("EndpointName") or call.name(63)
        given = {
            key: properties[key] for key in ("EndpointConfigName", "DeploymentConfig", "Tags") if key in properties
        }
        arn = call.client("sagemaker").create_endpoint(EndpointName=name, **given)["EndpointArn"]
        return Made(arn, {"EndpointName": name, "EndpointArn": arn})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        sagemaker = call.client("sagemaker")
        _retag(sagemaker, made.physical_id, old, new)
        name = made.attributes["EndpointName"]
        serving = sagemaker.describe_endpoint(EndpointName=name)
        if serving["EndpointConfigName"] == new["EndpointConfigName"] and serving["EndpointStatus"] == "InService":
            return made  # only tags or the way to deploy changed, or a refused update is being rolled back
        given = {key: new[key] for key in (*self._UPDATE, "RetainDeploymentConfig") if key in new}
        sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new["EndpointConfigName"], **given)
        return made

    def settle(self, call: Call, made: Made, properties: Properties) -> None:
        sagemaker = call.client("sagemaker")
        while True:
            answer = sagemaker.describe_endpoint(EndpointName=made.attributes["EndpointName"])
            status = answer["EndpointStatus"]
            if status == "InService":
                return
            if status in ("Failed", "OutOfService", "UpdateRollbackFailed"):
                raise Failed(answer.get("FailureReason") or f"Endpoint is in status {status}")
            if call.cancelled():
                raise Failed("Resource update cancelled")
            time.sleep(_POLL_SECONDS)

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        sagemaker, name = call.client("sagemaker"), made.attributes["EndpointName"]
        sagemaker.delete_endpoint(EndpointName=name)
        while True:
            try:
                sagemaker.describe_endpoint(EndpointName=name)
            except ClientError as error:
                if "Could not find" in error.response["Error"]["Message"]:
                    return
                raise
            time.sleep(_POLL_SECONDS)
