"""The CloudWatch resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Gone,
    Handler,
    Made,
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

    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get("AlarmName") or call.name(255)
        cloudwatch = call.client("cloudwatch")
        cloudwatch.put_metric_alarm(**properties | {"AlarmName": name})
        [alarm] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return Made(name, {"Arn": alarm["AlarmArn"]})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        call.client("cloudwatch").put_metric_alarm(**without(new, "Tags") | {"AlarmName": made.physical_id})
        cloudwatch, arn = call.client("cloudwatch"), made.attributes["Arn"]
        retag(
            old,
            new,
            lambda keys: cloudwatch.untag_resource(ResourceARN=arn, TagKeys=keys),
            lambda pairs: cloudwatch.tag_resource(ResourceARN=arn, Tags=tag_list(pairs)),
        )
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("cloudwatch").delete_alarms(AlarmNames=[made.physical_id])

    def read(self, call: Call, made: Made, properties: Properties) -> Properties:
        cloudwatch = call.client("cloudwatch")
        found = cloudwatch.describe_alarms(AlarmNames=[made.physical_id])["MetricAlarms"]
        if not found:
            raise Gone
        own = cloudwatch.list_tags_for_resource(ResourceARN=made.attributes["Arn"])["Tags"]
        return dict(found[0]) | {"Tags": own}
