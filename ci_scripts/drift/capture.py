"""What callers have sent to an endpoint and what it answered, read from the files of its data capture.

One line of JSON for each request, below `PREFIX/ENDPOINT/VARIANT/YYYY/MM/DD/HH/`:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import aws_errors, endpoint, errors
from ci_scripts.predictions import held_out
from ci_scripts.predictions.held_out import Cell
from ci_scripts.quality import Label
from ci_scripts.s3_location import Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MOST_ROWS = 10_000
"""Rows that are compared; of more, a sample."""
MOST_FILES = 2_000
"""Files that are read; of more, some that are spread evenly over the window."""

Decode = Callable[[bytes, int], Sequence[Label]]
"""An answer to so many rows → their predictions. Raises InvalidPredictions."""


class Window(NamedTuple):
    """A span of time, both in UTC."""

    begin: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.begin:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"


class Row(NamedTuple):
    """One row of a request."""

    cells: Sequence[Cell]
    prediction: Label | None
    """None where it was not captured, or cannot be read."""


class Captured(NamedTuple):
    """The requests of a window."""

    rows: list[Row]
    """A fair sample of at most MOST_ROWS."""
    total: int
    """How many rows there are in the files that were read."""
    requests: int
    own: int
    """Requests of this program, which are none of the callers'."""
    unreadable: int
    """Requests in no form that is known."""
    unread_answers: int
    """Answers in no form that is known."""
    files: int
    """How many files there are."""


def read(
    s3: S3Client, place: Location, variants: Sequence[str], window: Window, names: Sequence[str], decode: Decode
) -> Captured:
    """The requests to these production variants; `place` is the folder of their endpoint, `names` those of columns.

    Raises CaptureUnreadable.
    """
    from botocore.exceptions import ClientError

    counts = {"total": 0, "requests": 0, "own": 0, "unreadable": 0, "unread_answers": 0}
    try:
        keys = [key for variant in variants for key in _keys(s3, place, variant, window)]
        chosen = keys[:: -(-len(keys) // MOST_FILES)] if keys else []
        lines = (line for key in chosen for line in _lines(s3, place.bucket, key))
        sampled = heapq.nsmallest(MOST_ROWS, _rows(lines, window, names, decode, counts), key=lambda pair: pair[0])
    except ClientError as error:
        if aws_errors.code(error) not in (*aws_errors.DENIED, "NoSuchBucket"):
            raise
        raise errors.CaptureUnreadable(
            f"the captured requests below {place} cannot be read: {aws_errors.text(error)}"
        ) from error
    return Captured([row for _, row in sampled], files=len(keys), **counts)


def _keys(s3: S3Client, place: Location, variant: str, window: Window) -> Iterator[str]:
    """The files of every hour that the window touches, one listing for each day."""
    day = window.begin.replace(hour=0, minute=0, second=0, microsecond=0)
    first, last = (f"{each:%Y/%m/%d/%H}" for each in window)
    while day <= window.end:
        prefix = f"{place.key}/{variant}/"
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=f"{prefix}{day:%Y/%m/%d}/")
        for page in pages:
            for each in page.get("Contents", []):
                hour = each["Key"].removeprefix(prefix).rpartition("/")[0]
                if first <= hour <= last and each["Key"].endswith(".jsonl"):
                    yield each["Key"]
        day += timedelta(days=1)


def _lines(s3: S3Client, bucket: str, key: str) -> Iterator[bytes]:
    yield from s3.get_object(Bucket=bucket, Key=key)["Body"].iter_lines()


def _rows(
    lines: Iterator[bytes], window: Window, names: Sequence[str], decode: Decode, counts: dict[str, int]
) -> Iterator[tuple[bytes, Row]]:
    """Each row with a number that is random and always the same: the smallest of them are a fair sample."""
    for line in lines:
        event = _event(line)
        metadata = event.get("eventMetadata", {})
        moment = _moment(metadata.get("inferenceTime"))
        if moment is not None and not window.begin <= moment <= window.end:
            continue
        if str(metadata.get("inferenceId", "")).startswith(endpoint.INFERENCE_ID):
            counts["own"] += 1
            continue
        counts["requests"] += 1
        sides = event.get("captureData", {})
        cells = rows_of(sides.get("endpointInput"), names)
        if cells is None:
            counts["unreadable"] += 1
            continue
        predictions: Sequence[Label | None] = [None] * len(cells)
        if sides.get("endpointOutput"):
            try:
                predictions = decode(content_of(sides["endpointOutput"]), len(cells))
            except (errors.InvalidPredictions, Unreadable):
                counts["unread_answers"] += 1
        counts["total"] += len(cells)
        number = str(metadata.get("eventId", "")).encode()
        for position, (row, prediction) in enumerate(zip(cells, predictions, strict=True)):
            yield hashlib.sha256(b"%s %d" % (number, position)).digest(), Row(row, prediction)


def _event(line: bytes) -> Mapping[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- one side of an exchange ----------------------------------------------------------------------------------------


class Unreadable(Exception):
    """A side of an exchange that is not what its encoding says."""


def content_of(side: Any) -> bytes:
    """The body. Raises Unreadable."""
    if not isinstance(side, dict) or not isinstance(side.get("data"), str):
        raise Unreadable
    data: str = side["data"]
    if side.get("encoding") != "BASE64":
        return data.encode(errors="surrogatepass")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable from None


def rows_of(side: Any, names: Sequence[str]) -> list[list[Cell]] | None:
    """The rows of a request: CSV, JSON or JSON lines; None for what is none of them.

    The forms of https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html, and objects by the columns' names.
    """
    try:
        body = content_of(side).decode("utf-8-sig")
        kind = str(side.get("observedContentType", "")).partition(";")[0].strip().lower()
        if kind in ("application/jsonlines", "application/x-jsonlines"):
            documents = [json.loads(line) for line in body.splitlines() if line.strip()]
            rows = [row for each in documents for row in _json_rows(each, single=True)]
        elif kind == "application/json" or (kind != "text/csv" and body.lstrip()[:1] in ("{", "[")):
            rows = _json_rows(json.loads(body))
        else:
            return [[held_out.cell(each) for each in row] for row in csv.reader(body.splitlines()) if row]
        return [_cells(row, names) for row in rows]
    except (Unreadable, ValueError, TypeError, KeyError, RecursionError, csv.Error):
        return None


def _json_rows(document: Any, *, single: bool = False) -> list[Any]:
    """The rows in a document; `single`: a list is one row."""
    if isinstance(document, dict):
        for key in ("instances", "inputs", "dataframe_records"):
            if isinstance(document.get(key), list):
                return _json_rows(document[key])
        return [document]
    if not isinstance(document, list):
        raise Unreadable
    return [document] if single or not any(isinstance(each, list | dict) for each in document) else document


def _cells(row: Any, names: Sequence[str]) -> list[Cell]:
    """A row's cells. Raises TypeError for what is no row of them."""
    if isinstance(row, dict):
        for key in ("features", "data"):
            if isinstance(row.get(key), list):
                return _cells(row[key], names)
        if not row.keys() & set(names):
            raise TypeError
        unknown = [each for each in row if each not in names]  # so that a renamed field is a row of another width
        return [_cell(row.get(name)) for name in names] + [_cell(row[each]) for each in unknown]
    if not isinstance(row, list):
        raise TypeError
    return [_cell(each) for each in row]


def _cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return held_out.cell(value)
    if value is None or isinstance(value, int | float):
        return None if value != value else value
    raise TypeError
