"""Questions about updates of endpoints that alarms guard, asked of a small endpoint and of the one of staging."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from sandbox.acceptance.place import Account

_LONGEST_SECONDS = 45 * 60


def alarm_rollback(place: Account) -> str:
    """What becomes of a stack whose endpoint goes back because of an alarm."""
    cloudformation, name = place.aws("cloudformation"), f"{place.run}-guarded"
    request: dict[str, Any] = {"StackName": name}
    cloudformation.create_stack(**request, TemplateBody=_template(place, name, weight=1))
    try:
        if (status := _settled(place, name)) != "CREATE_COMPLETE":
            return f"the stack to try it with is {status}: {_reason(place, name)}"
        before = _config(place, name)
        cloudformation.update_stack(**request, TemplateBody=_template(place, name, weight=2))
        ended = _settled(place, name, alarm=name)
        serves = "the old" if _config(place, name) == before else "the new"
        return f"the stack is {ended}, the endpoint is on {serves} configuration; {_reason(place, name)}"
    finally:
        cloudformation.delete_stack(**request)
        _settled(place, name)


def one_instance(place: Account) -> str:
    """What SageMaker makes of a canary where there is one instance."""
    sagemaker, endpoint, name = place.aws("sagemaker"), place.endpoint("staging"), f"{place.run}-one"
    variant = _variant(place) | {"InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    canary = {
        "Type": "CANARY",
        "WaitIntervalInSeconds": 60,
        "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
    }
    policy = {"TrafficRoutingConfiguration": canary, "TerminationWaitInSeconds": 0}
    stages: dict[str, None] = {}
    try:
        try:
            sagemaker.update_endpoint(
                EndpointName=endpoint,
                EndpointConfigName=name,
                DeploymentConfig={"BlueGreenUpdatePolicy": policy},
            )
        except ClientError as error:
            return f"refused, {error.response['Error']['Code']}: {error.response['Error']['Message']}"
        description: dict[str, Any] = {"EndpointStatus": "Updating"}
        deadline = time.monotonic() + _LONGEST_SECONDS
        while description["EndpointStatus"] == "Updating" and time.monotonic() < deadline:
            time.sleep(place.look_seconds)
            description = sagemaker.describe_endpoint(EndpointName=endpoint)
            for each in description.get("PendingDeploymentSummary", {}).get("ProductionVariants", []):
                stages |= dict.fromkeys(status["Status"] for status in each.get("VariantStatus", []))
        return f"taken: {description['EndpointStatus']}, by way of {', '.join(stages) or 'nothing that was told'}"
    finally:
        sagemaker.delete_endpoint_config(EndpointConfigName=name)  # staging is removed next, whatever it is on


def _variant(place: Account) -> dict[str, Any]:
    """The production variant of staging, as it was configured."""
    sagemaker = place.aws("sagemaker")
    config = sagemaker.describe_endpoint(EndpointName=place.endpoint("staging"))["EndpointConfigName"]
    [variant, *_] = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    members = ("VariantName", "ModelName", "InstanceType", "InitialInstanceCount", "InitialVariantWeight")
    return {key: variant[key] for key in members if key in variant}


def _template(place: Account, name: str, weight: int) -> str:
    """An endpoint that an alarm guards; the alarm looks at a metric that nobody writes, and is what it is set to."""
    alarm = {
        "AlarmName": name,
        "Namespace": "sagemaker-ci-acceptance",
        "MetricName": name,
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "ignore",
    }
    guarded = {
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name}]},
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 1800},
            "TerminationWaitInSeconds": 0,
        },
    }
    variant = _variant(place) | {"InitialVariantWeight": weight}
    resources = {
        "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm},
        "Config": {
            "Type": "AWS::SageMaker::EndpointConfig",
            "UpdateReplacePolicy": "Retain",
            "Properties": {"ProductionVariants": [variant]},
        },
        "Endpoint": {
            "Type": "AWS::SageMaker::Endpoint",
            "DependsOn": "Alarm",
            "Properties": {
                "EndpointName": name,
                "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
                "DeploymentConfig": guarded,
            },
        },
    }
    return json.dumps({"Resources": resources})


def _config(place: Account, name: str) -> str:
    return str(place.aws("sagemaker").describe_endpoint(EndpointName=name)["EndpointConfigName"])


def _settled(place: Account, name: str, alarm: str = "") -> str:
    """The stack's status when it stands still; `alarm` is set off as long as the endpoint is being updated."""
    cloudformation, sagemaker = place.aws("cloudformation"), place.aws("sagemaker")
    deadline = time.monotonic() + _LONGEST_SECONDS
    status = ""
    while time.monotonic() < deadline:
        try:
            status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        except ClientError:
            return "gone"
        if not status.endswith("_IN_PROGRESS"):
            break
        with suppress(ClientError):
            if alarm and sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Updating":
                place.aws("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="asked")
        time.sleep(place.look_seconds)
    return status


def _reason(place: Account, name: str) -> str:
    """What the stack's events say of the endpoint, last."""
    events = place.aws("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    of_endpoint = [each for each in events if each["LogicalResourceId"] == "Endpoint"]
    if not of_endpoint:
        return "no event tells of the endpoint"
    return (
        f"its last event: {of_endpoint[0]['ResourceStatus']} {of_endpoint[0].get('ResourceStatusReason', '')}".strip()
    )
