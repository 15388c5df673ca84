"""What a new object asks for, decided from the event of S3 alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline_trigger import arrivals

EVENT: dict[str, Any] = json.loads((Path(__file__).parent / "events" / "object_created.json").read_text())
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def event(**fields: Any) -> dict[str, Any]:
    return EVENT | fields


def test_the_published_event_names_bucket_key_and_time() -> None:
    arrival = arrivals.read(EVENT)
    assert arrival == ("amzn-s3-demo-bucket1", "incoming/monday & tuesday.csv", datetime(2026, 11, 22, 12, tzinfo=UTC))


def test_a_folder_of_the_console_is_no_data_and_an_empty_file_is() -> None:
    def created(key: str) -> arrivals.Arrival | None:
        return arrivals.read(event(detail=EVENT["detail"] | {"object": {"key": key, "size": 0}}))

    assert created("incoming/") is None
    assert created("incoming/_SUCCESS") is not None


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"detail": None},
        {"detail": {"bucket": {"name": "b"}}},
        event(time="yesterday"),
        event(time=7),
        event(**{"detail-type": "Object Deleted"}),
    ],
)
def test_what_is_no_new_object_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(arrivals.MalformedEvent):
        arrivals.read(broken)


@pytest.mark.parametrize(
    ("seconds", "covered"), [(-60, True), (-3, True), (-2, True), (-1, False), (0, False), (5, False)]
)
def test_a_pipeline_covers_what_came_before_it_but_not_what_may_have_come_after(seconds: int, covered: bool) -> None:
    arrival = arrivals.Arrival("b", "k", NOON + timedelta(seconds=seconds))
    assert arrival.is_covered(arrivals.sees_until(NOON)) is covered
    assert not arrival.is_covered(arrival.just_before())
