"""The SageMaker resource types of CloudFormation: models, endpoint configs, endpoints, model package groups.

Properties and the service's parameters have the same names, so a handler is mostly the calls and their order.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from sandbox.aws.cloudformation.resources.handler import (
    HANDLERS,
    Call,
    Failed,
    Handler,
    PhysicalResource,
    Properties,
    handles,
    names,
    retag,
    tag_list,
    without,
)
from sandbox.aws.ground import state

_POLL_SECONDS = 0.3
_NOTICED = "endpoint-rollbacks-noticed"


def notice_rollbacks(folder: Path, *, noticed: bool) -> None:
    """Whether CloudFormation fails on an endpoint that went back; `folder`: where the sandbox's AWS keeps its state."""
    file = folder / _NOTICED
    file.touch() if noticed else file.unlink(missing_ok=True)


def _retag(sagemaker: Any, arn: str, old: Properties, new: Properties) -> None:
    retag(
        old,
        new,
        lambda keys: sagemaker.delete_tags(ResourceArn=arn, TagKeys=keys),
        lambda pairs: sagemaker.add_tags(ResourceArn=arn, Tags=tag_list(pairs)),
    )


def _with_tags(call: Call, physical: PhysicalResource, description: Properties) -> Properties:
    tags = call.client("sagemaker").list_tags(ResourceArn=physical.id)["Tags"]
    return description | {"Tags": tags}


class Named(Handler):
    """A SageMaker resource that its create call makes at once; only tags change later. Ref is the ARN."""

    reads = True

    def __init__(
        self, kind: str, operation: str, properties: frozenset[str] | None = None, changeable: str = "Tags"
    ) -> None:
        self.kind = kind  # Model: ModelName, ModelArn
        self.operation = operation  # model: create_model, delete_model
        self.properties = properties
        self.changeable = names(changeable)

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get(f"{self.kind}Name") or call.name(63, stack=False)
        create = getattr(call.client("sagemaker"), f"create_{self.operation}")
        arn = create(**properties | {f"{self.kind}Name": name})[f"{self.kind}Arn"]
        return PhysicalResource(arn, {f"{self.kind}Name": name, f"{self.kind}Arn": arn})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        _retag(call.client("sagemaker"), physical.id, old, new)
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        name = f"{self.kind}Name"
        getattr(call.client("sagemaker"), f"delete_{self.operation}")(**{name: physical.attributes[name]})

    def read(self, call: Call, physical: PhysicalResource, properties: Properties) -> Properties:
        name = f"{self.kind}Name"
        describe = getattr(call.client("sagemaker"), f"describe_{self.operation}")
        return _with_tags(call, physical, describe(**{name: physical.attributes[name]}))


for named in (
    Named("Model", "model"),
    Named("EndpointConfig", "endpoint_config"),
    Named(
        "ModelPackageGroup",
        "model_package_group",
        names("ModelPackageGroupDescription ModelPackageGroupName Tags"),
    ),
    Named("CodeRepository", "code_repository", changeable=""),
):
    HANDLERS[f"AWS::SageMaker::{named.kind}"] = named


@handles("AWS::SageMaker::Pipeline")
class Pipeline(Handler):
    """Its definition is text, or a place in S3. Ref is the name."""

    reads = True

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        call.client("sagemaker").create_pipeline(**self._request(properties))
        return PhysicalResource(properties["PipelineName"])

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        sagemaker = call.client("sagemaker")
        arn = sagemaker.update_pipeline(**without(self._request(new), "Tags"))["PipelineArn"]
        _retag(sagemaker, arn, old, new)
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("sagemaker").delete_pipeline(PipelineName=physical.id)

    def read(self, call: Call, physical: PhysicalResource, properties: Properties) -> Properties:
        """The service shows the text of a definition whose place in S3 was given: that place cannot be read."""
        sagemaker = call.client("sagemaker")
        description = sagemaker.describe_pipeline(PipelineName=physical.id)
        tags = sagemaker.list_tags(ResourceArn=description["PipelineArn"])["Tags"]
        definition = {"PipelineDefinitionBody": description["PipelineDefinition"]}
        return dict(description) | {"PipelineDefinition": definition, "Tags": tags}

    @staticmethod
    def _request(properties: Properties) -> Properties:
        definition = properties["PipelineDefinition"]
        request = without(properties, "PipelineDefinition")
        if "PipelineDefinitionBody" in definition:
            return request | {"PipelineDefinition": definition["PipelineDefinitionBody"]}
        place = definition["PipelineDefinitionS3Location"]
        names_of_api = {"Bucket": "Bucket", "Key": "ObjectKey", "Version": "VersionId"}
        location = {api: place[name] for name, api in names_of_api.items() if name in place}
        return request | {"PipelineDefinitionS3Location": location}


@handles("AWS::SageMaker::Endpoint")
class Endpoint(Handler):
    """Waits until the endpoint stands still.

    An endpoint that went back to its old config by itself is InService again, and nothing in CloudFormation's
    documentation says that it looks further than the status: such an update completes. A test may have it notice
    (`notice_rollbacks`), since nothing says that it never does.
    """

    reads = True
    _UPDATE = ("DeploymentConfig", "RetainAllVariantProperties", "ExcludeRetainedVariantProperties")

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get("EndpointName") or call.name(63)
        request = {
            key: properties[key] for key in ("EndpointConfigName", "DeploymentConfig", "Tags") if key in properties
        }
        arn = call.client("sagemaker").create_endpoint(EndpointName=name, **request)["EndpointArn"]
        return PhysicalResource(arn, {"EndpointName": name, "EndpointArn": arn})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        sagemaker = call.client("sagemaker")
        _retag(sagemaker, physical.id, old, new)
        name = physical.attributes["EndpointName"]
        serving = sagemaker.describe_endpoint(EndpointName=name)
        if serving["EndpointConfigName"] == new["EndpointConfigName"] and serving["EndpointStatus"] == "InService":
            return physical  # only tags or the way to deploy changed, or a refused update is being rolled back
        request = {key: new[key] for key in (*self._UPDATE, "RetainDeploymentConfig") if key in new}
        sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new["EndpointConfigName"], **request)
        return physical

    def settle(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        sagemaker, reason = call.client("sagemaker"), ""
        while True:
            answer = sagemaker.describe_endpoint(EndpointName=physical.attributes["EndpointName"])
            status = answer["EndpointStatus"]
            if status == "InService":
                went_back = answer["EndpointConfigName"] != properties["EndpointConfigName"]
                if went_back and (state() / _NOTICED).exists():
                    raise Failed(reason or "The update of the endpoint was rolled back.")
                return
            reason = answer.get("FailureReason", "") if status == "RollingBack" else reason
            if status in ("Failed", "OutOfService", "UpdateRollbackFailed"):
                raise Failed(answer.get("FailureReason") or f"Endpoint is in status {status}")
            if call.cancelled():
                raise Failed("Resource update cancelled")
            time.sleep(_POLL_SECONDS)

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        sagemaker, name = call.client("sagemaker"), physical.attributes["EndpointName"]
        sagemaker.delete_endpoint(EndpointName=name)
        while True:
            try:
                sagemaker.describe_endpoint(EndpointName=name)
            except ClientError as error:
                if "Could not find" in error.response["Error"]["Message"]:
                    return
                raise
            time.sleep(_POLL_SECONDS)

    def read(self, call: Call, physical: PhysicalResource, properties: Properties) -> Properties:
        description = call.client("sagemaker").describe_endpoint(EndpointName=physical.attributes["EndpointName"])
        last = description.get("LastDeploymentConfig")
        return _with_tags(call, physical, description | ({"DeploymentConfig": last} if last else {}))
