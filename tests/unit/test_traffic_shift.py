"""A shift of requests: what of it is told, and what is refused before it begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ci_scripts import errors, traffic_shift
from ci_scripts.export import Shift

SHIFT = Shift("canary", 2700, ["stack-prod-Invocation5XXErrors"])


def described(*variants: dict[str, Any], status: str = "Updating") -> dict[str, Any]:
    pending = {"PendingDeploymentSummary": {"ProductionVariants": list(variants)}} if variants else {}
    return {"EndpointName": "abalone-prod", "EndpointStatus": status} | pending


def variant(name: str, status: str, message: str, instances: int = 3) -> dict[str, Any]:
    """As in AWS's published example of an endpoint's deployment."""
    statuses = [{"Status": status, "StatusMessage": message}]
    return {"VariantName": name, "CurrentWeight": 1, "DesiredInstanceCount": instances, "VariantStatus": statuses}


BAKING = "Baking for 600 seconds (TerminationWaitInSeconds) with traffic enabled on canary capacity of 1 instance(s)."


@pytest.mark.parametrize(
    ("description", "line"),
    [
        (described(), "abalone-prod Updating"),
        (described(status="RollingBack"), "abalone-prod RollingBack"),
        (
            described(variant("AllTraffic", "Creating", "Launching 3 instance(s).")),
            "abalone-prod Updating: Creating (Launching 3 instance(s).)",
        ),
        (described(variant("AllTraffic", "Baking", BAKING)), f"abalone-prod Updating: 33 % Baking ({BAKING})"),
        (
            described(variant("A", "Baking", BAKING, 4), variant("B", "Deleting", "Terminating 1 instance(s).")),
            f"abalone-prod Updating: A 25 % Baking ({BAKING}); B Deleting (Terminating 1 instance(s).)",
        ),
        (described({"VariantName": "AllTraffic"}), "abalone-prod Updating: "),
    ],
)
def test_how_far_a_shift_is_stands_in_one_line(description: dict[str, Any], line: str) -> None:
    assert traffic_shift.progress(description) == line


def environ(timeout: int, minutes_ago: float) -> dict[str, str]:
    started = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return {"CI_JOB_TIMEOUT": str(timeout), "CI_JOB_STARTED_AT": started.isoformat()}


def test_a_shift_that_fits_is_let_through() -> None:
    for variables in ({}, {"CI_JOB_TIMEOUT": "x"}, environ(3600, 9), environ(3600, 0)):
        traffic_shift.require_time(SHIFT, variables)


def test_a_shift_that_outlives_the_job_is_refused_with_the_figures() -> None:
    with pytest.raises(errors.ShiftOutlivesJob) as refused:
        traffic_shift.require_time(SHIFT, environ(3600, 20.5))
    assert refused.value.message == (
        "canary may take 45 min and 5 min around it, 50 min in all; this job has 39 min of its 60 min left"
    )
    assert "`timeout` to `71m` or more" in refused.value.hint


def test_a_start_that_cannot_be_read_counts_as_none() -> None:
    traffic_shift.require_time(SHIFT, {"CI_JOB_TIMEOUT": "3600", "CI_JOB_STARTED_AT": "yesterday"})


class CloudWatch:
    """Answers of CloudWatch, by operation; what it was asked."""

    def __init__(self, alarms: list[dict[str, Any]], history: list[dict[str, Any]] | None = None) -> None:
        self._alarms, self._history = alarms, history or []
        self.calls: list[str] = []

    def describe_alarms(self, **_: Any) -> dict[str, Any]:
        self.calls.append("DescribeAlarms")
        return {"MetricAlarms": self._alarms, "CompositeAlarms": []}

    def describe_alarm_history(self, **_: Any) -> dict[str, Any]:
        self.calls.append("DescribeAlarmHistory")
        return {"AlarmHistoryItems": self._history}


def test_an_alarm_is_told_with_its_values() -> None:
    data = '{"recentDatapoints": [0.25, 0.5], "threshold": 0.01}'
    alarm = {"AlarmName": "sales", "StateValue": "ALARM", "StateReason": "It is bad.", "StateReasonData": data}
    cloudwatch: Any = CloudWatch([alarm])
    assert list(traffic_shift._fired(cloudwatch, ["sales"], None)) == ["alarm sales: It is bad; datapoints 0.25, 0.5"]
    assert cloudwatch.calls == ["DescribeAlarms"]


def test_an_alarm_that_is_off_again_is_found_in_its_history() -> None:
    item = {"HistoryData": '{"newState": {"stateValue": "ALARM", "stateReason": "It was bad [0.5]."}}'}
    cloudwatch: Any = CloudWatch([{"AlarmName": "sales", "StateValue": "OK"}], [item])
    assert list(traffic_shift._fired(cloudwatch, ["sales"], datetime.now(UTC))) == ["alarm sales: It was bad [0.5]"]
