"""Deployment guardrails of the sandbox's endpoints, and the alarms of its CloudWatch, as AWS's guides have them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.aws.ground import ACCOUNT, REGION
from tests.support.hosting import Hosting, model_predicting, refusal
from tests.support.waiting import wait_for

FINAL = 60


def policy(kind: str, wait: int = 60, **sizes: int) -> dict[str, Any]:
    """A DeploymentConfig whose sizes are percentages."""
    capacity = {name: {"Type": "CAPACITY_PERCENT", "Value": value} for name, value in sizes.items()}
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **capacity}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": FINAL}}


def rolling(percent: int, wait: int = 60) -> dict[str, Any]:
    size = {"Type": "CAPACITY_PERCENT", "Value": percent}
    return {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait}}


class Shifting:
    """An endpoint of ten instances that answers 1, and a configuration that answers 2."""

    def __init__(self, hosting: Hosting) -> None:
        self.hosting, self.cloudwatch = hosting, hosting.aws.client("cloudwatch")
        self.old, self.new = (self.config(number) for number in (1, 2))
        self.name = hosting.endpoint(self.old)
        hosting.settled(self.name)
        self.alarm = f"alarm-{uuid.uuid4().hex[:8]}"

    def config(self, number: int, **variant: Any) -> str:
        instances = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 10}
        model = self.hosting.model(model_predicting(number))
        return self.hosting.configured({"ModelName": model, **instances, **variant})

    def update(self, deployment: dict[str, Any], config: str = "") -> None:
        self.hosting.sagemaker.update_endpoint(
            EndpointName=self.name, EndpointConfigName=config or self.new, DeploymentConfig=deployment
        )

    def looks(self) -> Iterator[dict[str, Any]]:
        """DescribeEndpoint, again and again until nothing is under way."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            description: dict[str, Any] = self.hosting.sagemaker.describe_endpoint(EndpointName=self.name)
            yield description
            if description["EndpointStatus"] == "InService":
                return
            time.sleep(0.05)
        raise AssertionError("the update does not end")

    def messages(self) -> list[str]:
        """The statuses of the new fleet, one after the other."""
        seen: dict[str, None] = {}
        for description in self.looks():
            for variant in description.get("PendingDeploymentSummary", {}).get("ProductionVariants", []):
                assert (variant["VariantName"], variant["DesiredInstanceCount"]) == ("AllTraffic", 10)
                seen[variant["VariantStatus"][0]["StatusMessage"]] = None
        return list(seen)

    def watched(self, deployment: dict[str, Any]) -> dict[str, Any]:
        """A deployment that an alarm guards."""
        self.put_alarm()
        return deployment | {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": self.alarm}]}}

    def put_alarm(self, **settings: Any) -> None:
        usual: dict[str, Any] = {"Statistic": "Average", "Period": 60, "EvaluationPeriods": 1, "Threshold": 0.5}
        name = {"AlarmName": self.alarm, "Namespace": "Shop", "MetricName": self.alarm}
        usual |= name | {"ComparisonOperator": "GreaterThanThreshold"}
        self.cloudwatch.put_metric_alarm(**usual | settings)

    def put(self, *values: float) -> None:
        data = [{"MetricName": self.alarm, "Value": value} for value in values]
        self.cloudwatch.put_metric_data(Namespace="Shop", MetricData=data)

    def state(self) -> dict[str, Any]:
        [described] = self.cloudwatch.describe_alarms(AlarmNames=[self.alarm])["MetricAlarms"]
        return dict(described)


@pytest.fixture
def shifting(hosting: Hosting) -> Shifting:
    return Shifting(hosting)


# --- the steps ------------------------------------------------------------------------------------------------------


def baking(capacity: str, instances: int, wait: str = "WaitIntervalInSeconds") -> str:
    return f"Baking for 60 seconds ({wait}) with traffic enabled on {capacity} of {instances} instance(s)."


def test_a_canary_gets_its_share_then_everything(shifting: Shifting) -> None:
    shifting.update(policy("CANARY", CanarySize=25))
    messages = shifting.messages()
    assert messages[0] == "Launching 10 instance(s)."
    assert [each for each in messages if each.startswith("Baking")] == [
        baking("canary capacity", 3),
        baking("full capacity", 10, "TerminationWaitInSeconds"),
    ]
    assert shifting.hosting.predictions(shifting.name) == pytest.approx([2])


@pytest.mark.parametrize(
    ("deployment", "parts"),
    [(policy("LINEAR", LinearStepSize=40), [4, 8, 10]), (rolling(50), [5, 10]), (policy("ALL_AT_ONCE"), [10])],
    ids=["linear", "rolling", "all-at-once"],
)
def test_other_ways_have_steps_of_their_own(shifting: Shifting, deployment: dict[str, Any], parts: list[int]) -> None:
    shifting.update(deployment)
    steps = [each for each in shifting.messages() if each.startswith("Baking")]
    assert [int(each.split()[-2]) for each in steps] == parts


def test_of_any_number_of_requests_the_new_fleet_gets_its_share(shifting: Shifting) -> None:
    shifting.update(policy("CANARY", wait=600, CanarySize=10))
    summaries = (each.get("PendingDeploymentSummary", {}) for each in shifting.looks())
    next(each for each in summaries if "Baking" in str(each))
    answers = [round(shifting.hosting.predictions(shifting.name)[0]) for _ in range(40)]
    assert answers.count(2) == 4


def test_an_inf1_endpoint_changes_over_at_once(shifting: Shifting) -> None:
    inf1 = shifting.config(2, InstanceType="ml.inf1.xlarge")
    shifting.update(shifting.watched(policy("CANARY", wait=3600, CanarySize=10)), inf1)
    assert [each for each in shifting.messages() if "Baking" in each] == []


@pytest.mark.parametrize(
    ("deployment", "message"),
    [
        (
            policy("CANARY", CanarySize=60),
            "CanarySize must be 1-50% of the variant's total instance count, which is 10.",
        ),
        (policy("CANARY"), "CanarySize must be specified for a deployment of type CANARY."),
        (policy("LINEAR", LinearStepSize=5), "LinearStepSize must be 10-50%"),
        (policy("ALL_AT_ONCE") | rolling(50), "Only one update policy"),
    ],
)
def test_what_the_guide_rules_out_is_refused(shifting: Shifting, deployment: dict[str, Any], message: str) -> None:
    assert message in refusal(shifting.update, deployment)
    assert shifting.hosting.settled(shifting.name)["EndpointConfigName"] == shifting.old


# --- back -----------------------------------------------------------------------------------------------------------


def test_an_alarm_brings_everything_back(shifting: Shifting) -> None:
    shifting.update(shifting.watched(policy("CANARY", wait=3600, CanarySize=50)))
    statuses = set()
    for description in shifting.looks():
        statuses.add(description["EndpointStatus"])
        if "Baking" in str(description.get("PendingDeploymentSummary")):
            shifting.put(1)
    assert statuses == {"Updating", "RollingBack", "InService"}
    assert description["EndpointConfigName"] == shifting.old
    assert "PendingDeploymentSummary" not in description
    assert [shifting.hosting.predictions(shifting.name) for _ in range(5)] == [pytest.approx([1])] * 5


def test_an_alarm_that_the_models_role_may_not_see_brings_everything_back(shifting: Shifting) -> None:
    iam, role = shifting.hosting.aws.client("iam"), shifting.hosting.project.model_role.rpartition("/")[2]
    deny = {"Effect": "Deny", "Action": "cloudwatch:DescribeAlarms", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    iam.put_role_policy(RoleName=role, PolicyName="blind", PolicyDocument=document)
    shifting.update(shifting.watched(policy("ALL_AT_ONCE", wait=0)))
    reasons = {each.get("FailureReason", "") for each in shifting.looks()}
    assert any("cloudwatch:DescribeAlarms" in reason for reason in reasons)
    assert shifting.hosting.settled(shifting.name)["EndpointConfigName"] == shifting.old


# --- CloudWatch -----------------------------------------------------------------------------------------------------


def test_an_alarm_follows_its_metric_with_reasons_and_history(shifting: Shifting) -> None:
    shifting.put_alarm()
    assert shifting.state()["StateValue"] == "INSUFFICIENT_DATA"
    shifting.put(0, 1, 1)
    alarm = shifting.state()
    assert alarm["StateValue"] == "ALARM"
    assert alarm["StateReason"].startswith("Threshold Crossed: 1 datapoint [0.666667 (")
    assert alarm["StateReason"].endswith("was greater than the threshold (0.5).")
    data = json.loads(alarm["StateReasonData"])
    assert (data["recentDatapoints"], data["threshold"], data["period"]) == ([0.666667], 0.5, 60)
    wait_for(lambda: shifting.state()["StateValue"] == "INSUFFICIENT_DATA")
    items = shifting.cloudwatch.describe_alarm_history(AlarmName=shifting.alarm)["AlarmHistoryItems"]
    assert [each["HistorySummary"] for each in items] == [
        "Alarm updated from ALARM to INSUFFICIENT_DATA",
        "Alarm updated from INSUFFICIENT_DATA to ALARM",
    ]
    assert json.loads(items[1]["HistoryData"])["newState"]["stateReason"] == alarm["StateReason"]


def test_missing_data_count_as_the_alarm_says_and_a_state_that_is_set_lasts_for_a_while(shifting: Shifting) -> None:
    shifting.put_alarm(TreatMissingData="notBreaching")
    assert shifting.state()["StateValue"] == "OK"
    shifting.cloudwatch.set_alarm_state(AlarmName=shifting.alarm, StateValue="ALARM", StateReason="a person")
    assert shifting.state()["StateReason"] == "a person"
    wait_for(lambda: shifting.state()["StateValue"] == "OK")
    shifting.put_alarm(TreatMissingData="breaching")
    assert shifting.state()["StateValue"] == "ALARM"


def test_requests_are_counted_for_the_variant_and_for_the_configuration_that_served_them(shifting: Shifting) -> None:
    hosting = shifting.hosting
    for _ in range(4):
        hosting.predictions(shifting.name)
    refusal(hosting.ask, shifting.name, ContentType="text/nothing")
    alone = {"EndpointName": shifting.name, "VariantName": "AllTraffic"}
    for dimensions in (alone, alone | {"EndpointConfigName": shifting.old}):
        named = [{"Name": key, "Value": value} for key, value in dimensions.items()]
        alarm = {"Namespace": "AWS/SageMaker", "Dimensions": named}
        shifting.alarm = f"alarm-{len(dimensions)}-{shifting.name}"
        shifting.put_alarm(**alarm, MetricName="Invocation4XXErrors", Threshold=0.1, Period=3600)
        assert json.loads(shifting.state()["StateReasonData"])["recentDatapoints"] == [0.2]
    assert shifting.state()["AlarmArn"] == f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{shifting.alarm}"
