"""Captured requests as SageMaker writes them, and the rows in them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ci_scripts import endpoint
from ci_scripts.drift import capture
from ci_scripts.drift.capture import Window
from ci_scripts.errors import InvalidPredictions

NAMES = ("length", "sex")
WINDOW = Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))


def side(data: str, kind: str = "text/csv", encoding: str = "CSV") -> dict[str, str]:
    return {"observedContentType": kind, "mode": "INPUT", "data": data, "encoding": encoding}


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (side("0.5,M\n0.25,F\n"), [[0.5, "M"], [0.25, "F"]]),
        (side("0.5,\n"), [[0.5, None]]),
        (side('"0,5",M'), [["0,5", "M"]]),
        (side("1,2,3"), [[1, 2, 3]]),
        (side(base64.b64encode(b"0.5,M\n").decode(), encoding="BASE64"), [[0.5, "M"]]),
        (side("0.5,M", "text/csv; charset=utf-8"), [[0.5, "M"]]),
        (
            side('{"instances": [[0.5, "M"], {"features": [1, "F"]}]}', "application/json", "JSON"),
            [[0.5, "M"], [1, "F"]],
        ),
        (side('[[0.5, "M"], [1, null]]', "application/json", "JSON"), [[0.5, "M"], [1, None]]),
        (side('[0.5, "M"]', "application/json", "JSON"), [[0.5, "M"]]),
        (side('{"sex": "M", "length": 0.5}', "application/json", "JSON"), [[0.5, "M"]]),
        (side('[0.5, "M"]\n[1, true]\n', "application/jsonlines", "JSON"), [[0.5, "M"], [1, 1]]),
        (side('{"inputs": [{"sex": "F", "size": 2}]}', "application/json", "JSON"), [[None, "F", 2]]),
    ],
)
def test_rows_are_read_from_every_format_that_is_documented(content: dict[str, str], rows: list[Any]) -> None:
    assert capture.rows_of(content, NAMES) == rows


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        side("not base64!", encoding="BASE64"),
        side(base64.b64encode(b"\xff\xfe\x00").decode(), "image/png", "BASE64"),
        side('{"text": "hello"}', "application/json", "JSON"),
        side("[[{}]]", "application/json", "JSON"),
        side("[" * 100_000, "application/json", "JSON"),
        side('"text"', "application/json", "JSON"),
    ],
)
def test_what_holds_no_rows_is_told_apart(content: Any) -> None:
    assert capture.rows_of(content, NAMES) is None


def line(number: int, **changes: Any) -> bytes:
    metadata = {"eventId": f"event-{number}", "inferenceTime": "2026-11-01T12:00:00Z"} | changes
    answer = {"observedContentType": "text/csv", "mode": "OUTPUT", "data": "9.5", "encoding": "CSV"}
    event = {"captureData": {"endpointInput": side("0.5,M"), "endpointOutput": answer}, "eventMetadata": metadata}
    return json.dumps(event | {"eventVersion": "0"}).encode()


def read(*lines: bytes) -> tuple[list[capture.Row], dict[str, int]]:
    counts = {"total": 0, "requests": 0, "own": 0, "unreadable": 0, "unread_answers": 0}

    def decode(answer: bytes, rows: int) -> list[float]:
        if answer == b"?":
            raise InvalidPredictions("nothing that is known")
        return [float(answer)] * rows

    rows = [row for _, row in capture._rows(iter(lines), WINDOW, NAMES, decode, counts)]
    return rows, counts


def test_our_own_requests_and_those_of_another_time_are_left_out() -> None:
    rows, counts = read(
        line(1),
        line(2, inferenceId=endpoint.INFERENCE_ID),
        line(3, inferenceTime="2026-10-31T23:59:59Z"),
        line(4, inferenceId="callers-own"),
    )
    assert [(list(row.cells), row.prediction) for row in rows] == [([0.5, "M"], 9.5)] * 2
    assert (counts["requests"], counts["own"], counts["total"]) == (2, 1, 2)


def test_what_cannot_be_read_is_counted_and_an_answer_like_that_costs_no_row() -> None:
    broken = line(1).replace(b'"9.5"', b'"?"')
    rows, counts = read(b"{broken", b"[]", broken, line(2))
    assert [row.prediction for row in rows] == [None, 9.5]
    assert (counts["requests"], counts["unreadable"], counts["unread_answers"]) == (4, 2, 1)
