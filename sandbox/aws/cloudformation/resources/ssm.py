"""The Systems Manager resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    PhysicalResource,
    Properties,
    handles,
    names,
    without,
)
from sandbox.aws.ground import ACCOUNT


@handles("AWS::SSM::Parameter")
class Parameter(Handler):
    properties = names("AllowedPattern DataType Description Name Tags Tier Type Value")

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get("Name") or f"CFN-{call.name(250, stack=False)}"
        tags = [{"Key": key, "Value": value} for key, value in properties.get("Tags", {}).items()]
        request = without(properties, "Name", "Tags") | ({"Tags": tags} if tags else {})
        call.client("ssm").put_parameter(Name=name, **request)
        return PhysicalResource(
            name, {"Arn": f"arn:aws:ssm:{call.region}:{ACCOUNT}:parameter/{name.removeprefix('/')}"}
        )

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        ssm = call.client("ssm")
        ssm.put_parameter(Name=physical.id, Overwrite=True, **without(new, "Name", "Tags"))
        before, after = old.get("Tags", {}), new.get("Tags", {})
        target = {"ResourceType": "Parameter", "ResourceId": physical.id}
        if gone := [key for key in before if key not in after]:
            ssm.remove_tags_from_resource(TagKeys=gone, **target)
        if after != before:
            ssm.add_tags_to_resource(Tags=[{"Key": key, "Value": value} for key, value in after.items()], **target)
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("ssm").delete_parameter(Name=physical.id)
