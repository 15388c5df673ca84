"""The CloudWatch resource types of CloudFormation."""

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
    without,
)


@handles("AWS::CloudWatch::Alarm")
class Alarm(Handler):
    reads = True
    properties = names(
        "ActionsEnabled AlarmActions AlarmDescription AlarmName ComparisonOperator DatapointsToAlarm Dimensions "
        "EvaluateLowSampleCountPercentile EvaluationPeriods ExtendedStatistic InsufficientDataActions MetricName "
        "Metrics Namespace OKActions Period Statistic Tags Threshold ThresholdMetricId TreatMissingData Unit"
    )

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get("AlarmName") or call.name(255)
        cloudwatch = call.client("cloudwatch")
        cloudwatch.put_metric_alarm(**properties | {"AlarmName": name})
        [alarm] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return PhysicalResource(name, {"Arn": alarm["AlarmArn"]})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        call.client("cloudwatch").put_metric_alarm(**without(new, "Tags") | {"AlarmName": physical.id})
        cloudwatch, arn = call.client("cloudwatch"), physical.attributes["Arn"]
        retag(
            old,
            new,
            lambda keys: cloudwatch.untag_resource(ResourceARN=arn, TagKeys=keys),
            lambda pairs: cloudwatch.tag_resource(ResourceARN=arn, Tags=tag_list(pairs)),
        )
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("cloudwatch").delete_alarms(AlarmNames=[physical.id])

    def read(self, call: Call, physical: PhysicalResource, properties: Properties) -> Properties:
        cloudwatch = call.client("cloudwatch")
        alarms = cloudwatch.describe_alarms(AlarmNames=[physical.id])["MetricAlarms"]
        if not alarms:
            raise Gone
        tags = cloudwatch.list_tags_for_resource(ResourceARN=physical.attributes["Arn"])["Tags"]
        return dict(alarms[0]) | {"Tags": tags}
