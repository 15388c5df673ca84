"""The CloudWatch Logs resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    Made,
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

    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get("LogGroupName") or call.name(512)
        call.client("logs").create_log_group(logGroupName=name, **({"tags": own} if (own := tags(properties)) else {}))
        made = Made(name, {"Arn": f"arn:aws:logs:{call.region}:{ACCOUNT}:log-group:{name}:*"})
        return self.update(call, made, without(properties, "RetentionInDays"), properties)

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        if days := new.get("RetentionInDays"):
            call.client("logs").put_retention_policy(logGroupName=made.physical_id, retentionInDays=days)
        elif "RetentionInDays" in old:
            call.client("logs").delete_retention_policy(logGroupName=made.physical_id)
        logs, arn = call.client("logs"), made.attributes["Arn"].removesuffix(":*")
        retag(
            old,
            new,
            lambda keys: logs.untag_resource(resourceArn=arn, tagKeys=keys),
            lambda pairs: logs.tag_resource(resourceArn=arn, tags=pairs),
        )
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("logs").delete_log_group(logGroupName=made.physical_id)
