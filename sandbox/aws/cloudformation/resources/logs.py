"""The CloudWatch Logs resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    PhysicalResource,
    Properties,
    handles,
    names,
    retag,
    tags,
    without,
)
from sandbox.aws.ground import ACCOUNT


@handles("AWS::Logs::LogGroup")
class LogGroup(Handler):
    properties = names("LogGroupName RetentionInDays Tags")

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get("LogGroupName") or call.name(512)
        call.client("logs").create_log_group(logGroupName=name, **({"tags": own} if (own := tags(properties)) else {}))
        physical = PhysicalResource(name, {"Arn": f"arn:aws:logs:{call.region}:{ACCOUNT}:log-group:{name}:*"})
        return self.update(call, physical, without(properties, "RetentionInDays"), properties)

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        if days := new.get("RetentionInDays"):
            call.client("logs").put_retention_policy(logGroupName=physical.id, retentionInDays=days)
        elif "RetentionInDays" in old:
            call.client("logs").delete_retention_policy(logGroupName=physical.id)
        logs, arn = call.client("logs"), physical.attributes["Arn"].removesuffix(":*")
        retag(
            old,
            new,
            lambda keys: logs.untag_resource(resourceArn=arn, tagKeys=keys),
            lambda pairs: logs.tag_resource(resourceArn=arn, tags=pairs),
        )
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("logs").delete_log_group(logGroupName=physical.id)
