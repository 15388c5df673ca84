"""Who answers an endpoint's requests at this moment, how far a change of it is, and the alarms that watch it.

From DescribeEndpoint and CloudWatch: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sandbox.console.place import Seen

Json = dict[str, Any]
_USUAL = timedelta(minutes=5)
_SIGNS = {
    "GreaterThanThreshold": ">",
    "GreaterThanOrEqualToThreshold": "≥",
    "LessThanThreshold": "<",
    "LessThanOrEqualToThreshold": "≤",
}


class Fleet(NamedTuple):
    """The instances of one variant under one endpoint configuration, and how many requests they were asked."""

    variant: str
    config: str
    new: bool
    instances: int
    requests: int


class Alarm(NamedTuple):
    """An alarm of CloudWatch; `rule` is what it fires at, `reason` why it is in its state."""

    name: str
    state: str
    rule: str
    reason: str


class Traffic(NamedTuple):
    """The fleets, since when their requests are counted, what SageMaker says of a change under way, and the alarms."""

    fleets: list[Fleet]
    since: datetime
    doing: list[str]
    alarms: list[Alarm]

    @property
    def requests(self) -> int:
        return sum(each.requests for each in self.fleets)


def traffic(place: Seen, facts: Json) -> Traffic:
    """Of an endpoint, as DescribeEndpoint tells of it. While requests move over they are counted from the last step."""
    pending: Json = facts.get("PendingDeploymentSummary") or {}
    coming = pending.get("ProductionVariants") or []
    statuses = [(row["VariantName"], each) for row in coming for each in row.get("VariantStatus", [])[-1:]]
    now = datetime.now(UTC)
    since = max((each["StartTime"] for _, each in statuses if each["Status"] in ("ActivatingTraffic", "Baking")),
                default=now - _USUAL)  # fmt: skip
    fleets = [(row, facts["EndpointConfigName"], False) for row in facts.get("ProductionVariants") or []]
    fleets += [(row, pending["EndpointConfigName"], True) for row in coming]
    counts = _requests(place, facts["EndpointName"], [(row["VariantName"], config) for row, config, _ in fleets], since)
    return Traffic(
        [
            Fleet(
                row["VariantName"],
                config,
                new,
                row.get("DesiredInstanceCount", row.get("CurrentInstanceCount", 0)),
                number,
            )
            for (row, config, new), number in zip(fleets, counts, strict=True)
        ],
        since,
        [f"{name}: {each.get('StatusMessage') or each['Status']}" for name, each in statuses],
        _alarms(place, facts),
    )


def _requests(place: Seen, endpoint: str, fleets: list[tuple[str, str]], since: datetime) -> list[int]:
    """How many requests each variant under each endpoint configuration was asked since then."""
    if not fleets:
        return []
    queries = []
    for number, (variant, config) in enumerate(fleets):
        of_variant = {"EndpointName": endpoint, "VariantName": variant, "EndpointConfigName": config}
        dimensions = [{"Name": name, "Value": value} for name, value in of_variant.items()]
        metric = {"Namespace": "AWS/SageMaker", "MetricName": "Invocations", "Dimensions": dimensions}
        queries.append({"Id": f"fleet{number}", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}})
    pages = place.aws("cloudwatch").get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=since, EndTime=datetime.now(UTC) + timedelta(seconds=1)
    )  # fmt: skip
    counts = dict.fromkeys((each["Id"] for each in queries), 0.0)
    for page in pages:
        for row in page["MetricDataResults"]:
            counts[row["Id"]] += sum(row["Values"])
    return [int(each) for each in counts.values()]


def _alarms(place: Seen, facts: Json) -> list[Alarm]:
    """The alarms on the endpoint's own metrics, and those that its deployments are told to heed."""
    heeded = (facts.get("LastDeploymentConfig") or {}).get("AutoRollbackConfiguration", {}).get("Alarms", [])
    names = {each["AlarmName"] for each in heeded}
    pages = place.aws("cloudwatch").get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm"])
    rows = [row for page in pages for row in page["MetricAlarms"]]
    return [_alarm(row) for row in rows if row["AlarmName"] in names or facts["EndpointName"] in _watched(row)]


def _watched(row: Json) -> set[str]:
    """The endpoints whose metrics an alarm looks at, itself or by metric math."""
    metrics = [row, *(each["MetricStat"]["Metric"] for each in row.get("Metrics", []) if "MetricStat" in each)]
    return {
        dimension["Value"]
        for metric in metrics
        for dimension in metric.get("Dimensions", [])
        if dimension["Name"] == "EndpointName"
    }


def _alarm(row: Json) -> Alarm:
    sign = _SIGNS.get(row.get("ComparisonOperator", ""), "")
    limit = f" {sign} {row['Threshold']:g}" if sign and "Threshold" in row else ""
    rule = f"{row.get('Statistic', '')} {row.get('MetricName', 'metric math')}{limit}".strip()
    return Alarm(row["AlarmName"], row["StateValue"], rule, row.get("StateReason", ""))
