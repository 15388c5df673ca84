"""What the events of a model package say about its approvals and rejections. Pure: handler.py asks, DynamoDB remembers.

SageMaker sends several events for one change, in any order, and does not promise that copies are equal. So events are
not compared: all changes of the approval status of a package are collected, and its *approval runs* counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby, permutations
from typing import Any, NamedTuple

REJECTED = "Rejected"
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
    stage: str
    """Where the package's life cycle says that it is deployed, such as Production; empty when nothing says so."""

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
            stage=_stage(detail.get("ModelLifeCycle")),
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


def count_rejections(transitions: Iterable[str]) -> int:
    """How often the package was Rejected after it had been Approved, at once or by way of Pending.

    Like the count of approvals it only grows with what is known, and where several transitions have the same time, the
    order is taken that makes the most.
    """
    ordered = sorted(transition.rpartition(" ")[::2] for transition in transitions)
    # The most rejections so far, and those before an approval that still stands.
    rejected, approved = 0, -1
    for _, moment in groupby(ordered, key=lambda transition: transition[0]):
        orders = permutations(sorted({status for _, status in moment}))
        rejected, approved = map(max, zip(*(_after(order, rejected, approved) for order in orders), strict=True))
    return rejected


def latest_status(transitions: Iterable[str]) -> str:
    """The status that the newest transition brought; of several at the same time, any that is not Rejected."""
    return max(transitions, key=lambda each: (each.rpartition(" ")[0], not each.endswith(" Rejected"))).rpartition(" ")[
        2
    ]


def _after(statuses: Iterable[str], rejected: int, approved: int) -> tuple[int, int]:
    for status in statuses:
        if status == "Approved":
            approved = max(approved, rejected)
        elif status == REJECTED:
            rejected = max(rejected, approved + 1)
    return rejected, approved


def _stage(life_cycle: object) -> str:
    return str(life_cycle.get("Stage") or "") if isinstance(life_cycle, Mapping) else ""


def _arn(arn: object, resources: object) -> str:
    """The model package's ARN: from the detail, else the resource that the event is about."""
    for each in (arn, *(resources if isinstance(resources, list) else [])):
        if isinstance(each, str) and _ARN.fullmatch(each):
            return each
    if arn is None:
        raise KeyError("ModelPackageArn")
    raise MalformedEvent(f"{arn!r} is not the ARN of a model package version")


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
