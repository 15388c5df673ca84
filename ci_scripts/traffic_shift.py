"""A new version that takes the requests over step by step while alarms watch it: followed, and told when it fails.

Called by deployment.py for exports that say how (`Shift`). What SageMaker tells of it:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_PendingDeploymentSummary.html
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ci_scripts import endpoint, errors, job, text
from ci_scripts.export import Shift

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_sagemaker import SageMakerClient

_ENDPOINT = "AWS::SageMaker::Endpoint"
_AROUND = 300
"""Seconds for what comes before and after the shift: the change set, the other resources, the way back, the proof."""


class Follower:
    """Hears the stack's events; while the endpoint shifts it is asked in their place: one call a poll, as ever."""

    def __init__(self, sagemaker: SageMakerClient, cloudwatch: CloudWatchClient, name: str, shift: Shift) -> None:
        self._sagemaker, self._cloudwatch, self._name, self._shift = sagemaker, cloudwatch, name, shift
        self._under_way = False
        self.failed = False
        """Whether CloudFormation could not update the endpoint."""
        self._began: datetime | None = None
        self._last_line = ""
        self._cause = ""

    def hear(self, event: Mapping[str, Any]) -> None:
        """What an event of the stack says of the endpoint."""
        if event["ResourceType"] != _ENDPOINT:
            return
        if event["ResourceStatus"] == "CREATE_IN_PROGRESS" and not event.get("ResourceStatusReason"):
            job.say(f"         {self._name} is new: nothing is shifted, {self._shift.strategy} is for its updates")
        self._under_way = event["ResourceStatus"] == "UPDATE_IN_PROGRESS"
        self.failed = self.failed or event["ResourceStatus"] == "UPDATE_FAILED"
        self._began = self._began or event["Timestamp"]

    def holds(self) -> bool:
        """Whether the endpoint shifts now, so that no event of the stack is worth asking for; tells how far it is."""
        if not self._under_way:
            return False
        description = endpoint.describe(self._sagemaker, self._name)
        if description is None or endpoint.is_settled(description):
            return False
        if description["EndpointStatus"] == "RollingBack" and not self._cause:
            self._cause = self._look()
        line = progress(description)
        if line != self._last_line:
            self._last_line = line
            job.say(f"{datetime.now(UTC):%H:%M:%S} {line}")
        return True

    def cause(self, updated: Callable[[], datetime | None]) -> str:
        """After a failure: the alarms that took the new version back, with their values; empty when none did.

        `updated` tells when the stack's last update began, for a job that was not there.
        """
        return self._cause or self._look(updated)

    def _look(self, updated: Callable[[], datetime | None] = lambda: None) -> str:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._began = self._began or updated()
            return "; ".join(_fired(self._cloudwatch, self._shift.alarms, self._began))
        except (BotoCoreError, ClientError) as error:  # it must not hide that the version was taken back
            job.say(f"which alarm it was cannot be seen: {error}")
            return ""


def progress(description: Mapping[str, Any]) -> str:
    """How far a shift is, in one line, from the answer of DescribeEndpoint."""
    name, status = description["EndpointName"], description["EndpointStatus"]
    pending = description.get("PendingDeploymentSummary", {}).get("ProductionVariants", [])
    parts = [_variant(each, alone=len(pending) == 1) for each in pending]
    return f"{name} {status}: {'; '.join(parts)}" if parts else f"{name} {status}"


def _variant(variant: Mapping[str, Any], *, alone: bool) -> str:
    statuses = variant.get("VariantStatus", [])
    latest = statuses[-1] if statuses else {}
    message = text.short(latest.get("StatusMessage", ""), 200)
    # The weight is the variant's among others. How much of the requests the new version gets stands in the message.
    count, instances = re.search(r"capacity of (\d+) instance", message), variant.get("DesiredInstanceCount")
    share = f"{round(100 * int(count[1]) / instances)} % " if count and instances else ""
    status = f"{share}{latest.get('Status', '')}{f' ({message})' if message else ''}".strip()
    return status if alone else f"{variant['VariantName']} {status}"


# --- alarms ---------------------------------------------------------------------------------------------------------


def require_usable(cloudwatch: CloudWatchClient, alarms: Sequence[str], prefix: str) -> None:
    """Raise AlarmUnusable for alarms that do not exist, or that would take every version back because they are on.

    Those whose names begin with `prefix` come with the stack.
    """
    from botocore.exceptions import ClientError

    others = [name for name in alarms if not name.startswith(prefix)]
    if not others:
        return
    try:
        by_name = {each["AlarmName"]: each for each in _described(cloudwatch, others)}
    except ClientError as error:
        job.say(f"the alarms {', '.join(others)} cannot be looked at: {error}")
        return
    missing = [f"there is no metric alarm {name}" for name in others if name not in by_name]
    on = [
        f"{name} is in ALARM already: {by_name[name].get('StateReason', '')}"
        for name in by_name
        if _is_on(by_name[name])
    ]
    if missing or on:
        raise errors.AlarmUnusable("; ".join(text.line(each) for each in missing + on))


def _described(cloudwatch: CloudWatchClient, names: Sequence[str]) -> list[Mapping[str, Any]]:
    """The metric alarms of these names. Composite ones are shown to those who may see every alarm of the account alone.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
    """
    return [*cloudwatch.describe_alarms(AlarmNames=list(names)).get("MetricAlarms", [])]


def _is_on(alarm: Mapping[str, Any]) -> bool:
    return bool(alarm["StateValue"] == "ALARM")


def _fired(cloudwatch: CloudWatchClient, alarms: Sequence[str], since: datetime | None) -> Iterator[str]:
    """The alarms that are on, or else those that have been since, each with the reason that CloudWatch gives."""
    on = [each for each in _described(cloudwatch, alarms) if _is_on(each)] if alarms else []
    for alarm in on:
        yield _reason(alarm["AlarmName"], alarm.get("StateReason", ""), alarm.get("StateReasonData", ""))
    if on or since is None:
        return
    for name in alarms:
        answer = cloudwatch.describe_alarm_history(
            AlarmName=name, HistoryItemType="StateUpdate", StartDate=since, ScanBy="TimestampDescending"
        )
        for item in answer["AlarmHistoryItems"]:
            state = json.loads(item["HistoryData"]).get("newState", {})
            if state.get("stateValue") == "ALARM":
                yield _reason(name, state.get("stateReason", ""), json.dumps(state.get("stateReasonData", {})))
                break


def _reason(name: str, reason: str, data: str) -> str:
    """`alarm NAME: what CloudWatch says`; the values from its data where its sentence has none."""
    detail = text.line(reason).rstrip(". ")
    try:
        points = json.loads(data or "{}").get("recentDatapoints", [])
    except ValueError:
        points = []
    values = ", ".join(f"{each:g}" for each in points)
    return f"alarm {name}: {detail}{f'; datapoints {values}' if values and values not in detail else ''}"


# --- time -----------------------------------------------------------------------------------------------------------


def require_time(shift: Shift, environ: Mapping[str, str] = os.environ) -> None:
    """Raise ShiftOutlivesJob when the shift may take longer than this job, and with it its credentials, has left.

    The ID token, by which credentials are renewed, lives as long as GitLab lets the job run.
    https://docs.gitlab.com/ci/secrets/id_token_authentication/
    """
    limit, started = environ.get("CI_JOB_TIMEOUT", ""), environ.get("CI_JOB_STARTED_AT", "")
    if not limit.isdecimal():  # on a person's own machine
        return
    try:
        used = (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds() if started else 0.0
    except (ValueError, TypeError):
        used = 0.0
    needed, remaining = shift.longest_seconds + _AROUND, int(limit) - used
    if needed > remaining:
        minutes = math.ceil((needed + used) / 60)
        raise errors.ShiftOutlivesJob(
            f"{shift.strategy} may take {_minutes(shift.longest_seconds)} and {_minutes(_AROUND)} around it, "
            f"{_minutes(needed)} in all; this job has {_minutes(remaining)} of its {_minutes(int(limit))} left",
            hint=f"Nothing was changed. Set the component's input `timeout` to `{minutes}m` or more (of an aggregate "
            "the one that begins with the job's name), or wait less in `Deployment` of the stage configuration.",
        )


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)} min"
