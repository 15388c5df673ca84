"""The Systems Manager resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import Call, Handler, Made, Properties, handles, names, without
from sandbox.aws.ground import ACCOUNT


@handles("AWS::SSM::Parameter")
class Parameter(Handler):
    properties = names("AllowedPattern DataType Description Name Tags Tier Type Value")

    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get("Name") or f"CFN-{call.name(250, stack=False)}"
        own = [{"Key": key, "Value": value} for key, value in properties.get("Tags", {}).items()]
        request = without(properties, "Name", "Tags") | ({"Tags": own} if own else {})
        call.client("ssm").put_parameter(Name=name, **request)
        return Made(name, {"Arn": f"arn:aws:ssm:{call.region}:{ACCOUNT}:parameter/{name.removeprefix('/')}"})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        ssm = call.client("ssm")
        ssm.put_parameter(Name=made.physical_id, Overwrite=True, **without(new, "Name", "Tags"))
        before, after = old.get("Tags", {}), new.get("Tags", {})
        target = {"ResourceType": "Parameter", "ResourceId": made.physical_id}
        if gone := [key for key in before if key not in after]:
            ssm.remove_tags_from_resource(TagKeys=gone, **target)
        if after != before:
            ssm.add_tags_to_resource(Tags=[{"Key": key, "Value": value} for key, value in after.items()], **target)
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("ssm").delete_parameter(Name=made.physical_id)
