"""What the event of an object in S3 says, and what it asks for. Pure: new_data.py asks, DynamoDB remembers.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

_DETAIL_TYPE = "Object Created"
# An event's time is cut to whole seconds, and the clocks of two services may differ a little: an object that came this
# shortly before a pipeline was asked for starts another one, rather than none.
_DOUBT = timedelta(seconds=2)


class MalformedEvent(ValueError):
    """A message that is not the event of a new object; no retry makes it one."""


class Arrival(NamedTuple):
    """A new object, and when it came."""

    bucket: str
    key: str
    time: datetime

    def just_before(self) -> str:
        """A moment at which the object was not there yet."""
        return moment(self.time - timedelta(seconds=1))

    def is_covered(self, until: str) -> bool:
        """Whether a pipeline that sees everything that came `until` then, a `moment`, sees this object."""
        return moment(self.time) <= until


def read(event: Mapping[str, Any]) -> Arrival | None:
    """The object that an event tells of; None for the empty one by which S3's console makes a folder.

    Raises MalformedEvent.
    """
    try:
        detail = event["detail"]
        arrival = Arrival(detail["bucket"]["name"], detail["object"]["key"], datetime.fromisoformat(event["time"]))
        size = detail["object"].get("size")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MalformedEvent(f"the event lacks {error}, or it cannot be read") from error
    if event.get("detail-type") != _DETAIL_TYPE:
        raise MalformedEvent(f"detail-type is {event.get('detail-type')!r}, expected {_DETAIL_TYPE!r}")
    return None if arrival.key.endswith("/") and not size else arrival


def sees_until(now: datetime) -> str:
    """Up to when a pipeline that is asked for now sees all that has come, as a `moment`."""
    return moment(now - _DOUBT)


def moment(time: datetime) -> str:
    """A time as text that sorts: UTC, whole seconds."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
