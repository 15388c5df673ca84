"""The ECR resource types of CloudFormation."""

from __future__ import annotations

from typing import Any

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    PhysicalResource,
    Properties,
    handles,
    names,
    retag,
    tag_list,
)


@handles("AWS::ECR::Repository")
class Repository(Handler):
    properties = names(
        "EmptyOnDelete EncryptionConfiguration ImageScanningConfiguration ImageTagMutability "
        "ImageTagMutabilityExclusionFilters LifecyclePolicy RepositoryName Tags"
    )

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get("RepositoryName") or call.name(256).lower()
        request: dict[str, Any] = {"repositoryName": name} | _mutability(properties)
        if encryption := properties.get("EncryptionConfiguration"):
            request["encryptionConfiguration"] = {"encryptionType": encryption["EncryptionType"]}
        if scanning := properties.get("ImageScanningConfiguration"):
            request["imageScanningConfiguration"] = _scanning(scanning)
        if tags := properties.get("Tags"):
            request["tags"] = tags
        ecr = call.client("ecr")
        repository = ecr.create_repository(**request)["repository"]
        if policy := properties.get("LifecyclePolicy"):
            ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=policy["LifecyclePolicyText"])
        return PhysicalResource(
            name, {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]}
        )

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        ecr, name = call.client("ecr"), physical.id
        if _mutability(old) != _mutability(new):
            ecr.put_image_tag_mutability(repositoryName=name, **_mutability(new))
        if (scanning := _scanning(new.get("ImageScanningConfiguration", {}))) != _scanning(
            old.get("ImageScanningConfiguration", {})
        ):
            ecr.put_image_scanning_configuration(repositoryName=name, imageScanningConfiguration=scanning)
        if (policy := new.get("LifecyclePolicy")) and policy != old.get("LifecyclePolicy"):
            ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=policy["LifecyclePolicyText"])
        elif "LifecyclePolicy" in old and not policy:
            ecr.delete_lifecycle_policy(repositoryName=name)
        arn = physical.attributes["Arn"]
        retag(
            old,
            new,
            lambda keys: ecr.untag_resource(resourceArn=arn, tagKeys=keys),
            lambda pairs: ecr.tag_resource(resourceArn=arn, tags=tag_list(pairs)),
        )
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("ecr").delete_repository(
            repositoryName=physical.id, force=str(properties.get("EmptyOnDelete", False)).lower() == "true"
        )


def _mutability(properties: Properties) -> dict[str, Any]:
    filters = [
        {
            "filterType": each["ImageTagMutabilityExclusionFilterType"],
            "filter": each["ImageTagMutabilityExclusionFilterValue"],
        }
        for each in properties.get("ImageTagMutabilityExclusionFilters", [])
    ]
    setting = {"imageTagMutability": properties.get("ImageTagMutability", "MUTABLE")}
    return setting | ({"imageTagMutabilityExclusionFilters": filters} if filters else {})


def _scanning(configuration: Properties) -> dict[str, bool]:
    return {"scanOnPush": str(configuration.get("ScanOnPush", False)).lower() == "true"}
