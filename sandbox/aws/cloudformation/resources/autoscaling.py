"""The Application Auto Scaling resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Gone,
    Handler,
    PhysicalResource,
    Properties,
    handles,
    names,
    retag,
    tag_list,
    tags,
    without,
)

_KEY = ("ResourceId", "ScalableDimension", "ServiceNamespace")


@handles("AWS::ApplicationAutoScaling::ScalableTarget")
class ScalableTarget(Handler):
    reads = True
    properties = names(
        "MaxCapacity MinCapacity ResourceId RoleARN ScalableDimension ServiceNamespace SuspendedState Tags"
    )

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        tag_map = tags(properties)
        request = without(properties, "Tags") | ({"Tags": tag_map} if tag_map else {})
        call.client("application-autoscaling").register_scalable_target(**request)
        name = "|".join(properties[key] for key in _KEY)
        return PhysicalResource(name, {"Id": name})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        client = call.client("application-autoscaling")
        arn = client.register_scalable_target(**without(new, "Tags"))["ScalableTargetARN"]
        retag(
            old,
            new,
            lambda keys: client.untag_resource(ResourceARN=arn, TagKeys=keys),
            lambda pairs: client.tag_resource(ResourceARN=arn, Tags=pairs),
        )
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        key = {name: properties[name] for name in _KEY}
        call.client("application-autoscaling").deregister_scalable_target(**key)

    def read(self, call: Call, physical: PhysicalResource, properties: Properties) -> Properties:
        client = call.client("application-autoscaling")
        targets = client.describe_scalable_targets(
            ServiceNamespace=properties["ServiceNamespace"],
            ResourceIds=[properties["ResourceId"]],
            ScalableDimension=properties["ScalableDimension"],
        )["ScalableTargets"]
        if not targets:
            raise Gone
        key = {name: properties[name] for name in _KEY}
        actions = client.describe_scheduled_actions(**key)["ScheduledActions"]
        tag_map = client.list_tags_for_resource(ResourceARN=targets[0]["ScalableTargetARN"])["Tags"]
        return dict(targets[0]) | {"ScheduledActions": actions, "Tags": tag_list(tag_map)}


@handles("AWS::ApplicationAutoScaling::ScalingPolicy")
class ScalingPolicy(Handler):
    properties = names(
        "PolicyName PolicyType ResourceId ScalableDimension ScalingTargetId ServiceNamespace "
        "StepScalingPolicyConfiguration TargetTrackingScalingPolicyConfiguration"
    )

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        request = without(properties, "ScalingTargetId") | self._key(properties)
        arn = call.client("application-autoscaling").put_scaling_policy(**request)["PolicyARN"]
        return PhysicalResource(arn, {"Arn": arn})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        return self.create(call, new)

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        client = call.client("application-autoscaling")
        client.delete_scaling_policy(PolicyName=properties["PolicyName"], **self._key(properties))

    @staticmethod
    def _key(properties: Properties) -> Properties:
        """What the policy is for: named by three properties, or by what Ref of its target is."""
        if target := properties.get("ScalingTargetId"):
            return dict(zip(_KEY, target.split("|"), strict=True))
        return {name: properties[name] for name in _KEY}
