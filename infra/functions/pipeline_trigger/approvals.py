"""What the events of a model package say about its approvals. Pure: handler.py asks, DynamoDB remembers.

SageMaker sends several events for one change, in any order, and does not promise that copies are equal. So events are
not compared: all changes of the approval status of a package are collected, and its *approval runs* counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple

_DETAIL_TYPE = "SageMaker Model Package State Change"
_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:model-package/[a-zA-Z0-9-]+/\d+", re.ASCII)


class MalformedEvent(ValueError):
    """A message that is not an event of a model package; no retry makes it one."""


class StatusChange(NamedTuple):
    """A model package's approval status and since when it has it."""

    model_package_arn: str
    group: str
    status: str
    time: datetime

    @property
    def transition(self) -> str:
        """The change as one string that sorts by time; copies that are equal give the same one."""
        return f"{self.time.astimezone(UTC).isoformat(timespec='microseconds')} {self.status}"


def read(event: Mapping[str, Any]) -> StatusChange | None:
    """The approval status change an EventBridge event tells of; None when it tells of another change.

    `UpdatedModelPackageFields` names what an update changed. It is absent when the package was created, which may
    have been with any status. Raises MalformedEvent.
    """
    try:
        detail = event["detail"]
        arn = _arn(detail.get("ModelPackageArn"), event.get("resources"))
        change = StatusChange(
            model_package_arn=arn,
            group=detail.get("ModelPackageGroupName") or arn.split("/")[1],
            status=detail["ModelApprovalStatus"],
            # An event's own time follows the change by moments; a package's creation may lie months before it.
            time=_time(detail.get("LastModifiedTime") or event.get("time") or detail["CreationTime"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise MalformedEvent(f"the event lacks {error}") from error
    if event.get("detail-type") != _DETAIL_TYPE:
        raise MalformedEvent(f"detail-type is {event.get('detail-type')!r}, expected {_DETAIL_TYPE!r}")
    updated = detail.get("UpdatedModelPackageFields")
    return change if updated is None or "ModelApprovalStatus" in updated else None


def count_runs(transitions: Iterable[str]) -> int:
    """How often the package became Approved: the runs of consecutive Approved among its transitions, by time.

    Copies of an approval lie next to each other and make one run; Approved, Rejected, Approved makes two. A further
    transition can split a run or begin one, never join two: the count only grows, in whatever order events arrive.
    Where several have the same time, the order is taken that makes the most runs: no approval may be lost.
    """
    ordered = sorted(transition.rpartition(" ")[::2] for transition in transitions)
    # The most runs so far, when the last status was Approved, and when it was not.
    approved, other = -1, 0
    for _, moment in groupby(ordered, key=lambda transition: transition[0]):
        statuses = {status == "Approved" for _, status in moment}
        if statuses == {True}:
            approved, other = max(approved, other + 1), -1
        elif statuses == {False}:
            approved, other = -1, max(approved, other)
        else:  # the approval came last, or first
            approved, other = max(approved, other) + 1, max(approved, other + 1)
    return max(approved, other)


def _arn(named: object, resources: object) -> str:
    """The model package's ARN: from the detail, else the resource that the event is about."""
    for each in (named, *(resources if isinstance(resources, list) else [])):
        if isinstance(each, str) and _ARN.fullmatch(each):
            return each
    if named is None:
        raise KeyError("ModelPackageArn")
    raise MalformedEvent(f"{named!r} is not the ARN of a model package version")


def _time(value: object) -> datetime:
    # Documented as ISO 8601; other events of SageMaker (feature groups) carry milliseconds since 1970, as text, too.
    try:
        if isinstance(value, str) and re.fullmatch(r"\d{9,13}(\.\d+)?", value, re.ASCII):
            value = float(value)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
        time = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError) as error:
        raise MalformedEvent(f"{value!r} is not a time") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
