"""The job `drift` against stages of every kind of hosting: what is compared, and what is told of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.deployment import failed, succeeded
from tests.support.servers import create_role
from tests.support.stage import ASYNCHRONOUS, SERVERLESS, Stage

GUARDED = {
    "Hosting": "real-time",
    "Deployment": {"Strategy": "canary", "Alarms": {"ModelLatencyMilliseconds": 60000}},
    "Parameters": {"EndpointInstanceCount": 2, "MinInstanceCount": 2, "MaxInstanceCount": 4},
}


def differences(stage: Stage) -> dict[str, str]:
    report = json.loads((stage.folder / "sagemaker-ci-reports" / "drift.json").read_text())
    return {each["Where"]: each["What"] for each in report["Configuration"]["Differences"]}


def test_what_was_changed_by_hand_in_an_autoscaled_guarded_stage_is_told(stage: Stage) -> None:
    stage.version(5)
    succeeded(stage.host(GUARDED))
    log = succeeded(stage.run("drift", "--stage", "staging"))
    assert "as it was deployed; CloudFormation looked at 5 resources" in log
    assert "did not look at ScalingPolicy (AWS::ApplicationAutoScaling::ScalingPolicy)" in log
    key: Any = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{stage.endpoint_name}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    stage.aws.client("application-autoscaling").register_scalable_target(**key, MinCapacity=2, MaxCapacity=9)
    cloudwatch = stage.aws.client("cloudwatch")
    [alarm] = cloudwatch.describe_alarms(AlarmNamePrefix=stage.stack_name())["MetricAlarms"]
    cloudwatch.delete_alarms(AlarmNames=[alarm["AlarmName"]])
    assert "staging is not as it was deployed" in failed(stage.run("drift", "--stage", "staging"), "SMCI-711")
    changed = differences(stage)
    assert changed.pop("ScalableTarget (AWS::ApplicationAutoScaling::ScalableTarget) /MaxCapacity") == "9 instead of 4"
    assert list(changed.values()) == [f"{alarm['AlarmName']} was deleted"]


@pytest.mark.parametrize("content", [SERVERLESS, ASYNCHRONOUS | {"Parameters": {"MaxInstanceCount": 2}}])
def test_a_stage_of_another_kind_is_compared_too(stage: Stage, content: dict[str, Any]) -> None:
    stage.version(5)
    succeeded(stage.host(content))
    assert "as it was deployed; CloudFormation looked at " in succeeded(stage.run("drift", "--stage", "staging"))


def test_a_changed_schedule_of_a_batch_transform_is_told(stage: Stage) -> None:
    stage.version(5)
    rows = f"{stage.project.name}/rows/today.csv"
    stage.aws.client("s3").put_object(Bucket=stage.project.bucket, Key=rows, Body=b"1,2,3\n" * 8)
    parameters = {"InputUri": f"s3://{stage.project.bucket}/{rows}", "ScheduleExpression": "rate(1 day)"}
    role = create_role(stage.aws, f"schedule-{stage.project.name}", "scheduler.amazonaws.com", [])
    stage.configure({"Hosting": "batch-transform", "Parameters": parameters})
    succeeded(stage.run("build", SCHEDULE_ROLE_ARN=role))
    succeeded(stage.deploy())
    log = succeeded(stage.run("drift", "--stage", "staging"))
    assert "as it was deployed; CloudFormation looked at 3 resources" in log
    scheduler = stage.aws.client("scheduler")
    schedule = scheduler.get_schedule(Name=stage.endpoint_name)
    names = ("Name", "Description", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "Target")
    settings = {name: schedule[name] for name in names}
    scheduler.update_schedule(**settings, ScheduleExpression="rate(2 days)")
    failed(stage.run("drift", "--stage", "staging"), "SMCI-711")
    assert differences(stage) == {
        "Schedule (AWS::Scheduler::Schedule) /ScheduleExpression": "rate(2 days) instead of rate(1 day)"
    }


def test_a_refusal_of_the_service_is_an_error_with_a_code(stage: Stage) -> None:
    """The sandbox refuses types that no stage of a packaged template has."""
    stage.version(5)
    succeeded(stage.host({"Hosting": "real-time"}))
    succeeded(stage.run("template", "--hosting", "real-time"))
    path = stage.folder / "endpoint-config-template.yml"
    path.write_text(path.read_text().replace("\nOutputs:\n", "\n  Queue:\n    Type: AWS::SQS::Queue\n\nOutputs:\n"))
    succeeded(stage.host({"Hosting": "real-time"}))
    error = failed(stage.run("drift", "--stage", "staging"), "SMCI-715")
    assert "drift detection of AWS::SQS::Queue (resource Queue)" in error
