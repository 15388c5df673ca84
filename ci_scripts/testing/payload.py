"""Rows → request bodies, response bodies → predictions: the formats SageMaker's own containers speak.

https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html. Called by the endpoint under test.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from ci_scripts.errors import InvalidPredictions, RequestTooLarge
from ci_scripts.testing.quality import Request

Row = Sequence[float | str | None]

LARGEST_BODY = 6 * 1024 * 1024
"""Bytes that InvokeEndpoint takes: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html."""


def requests(rows: Sequence[Row], request: Request, largest: int = LARGEST_BODY) -> Iterator[tuple[bytes, int]]:
    """Bodies for all rows, each with its number of rows: at most `rows_per_request` and at most `largest` bytes.

    Raises RequestTooLarge when a single row is larger.
    """
    for start in range(0, len(rows), request.rows_per_request):
        yield from _fitting(rows[start : start + request.rows_per_request], request.content_type, largest)


def _fitting(rows: Sequence[Row], content_type: str, largest: int) -> Iterator[tuple[bytes, int]]:
    body = encode(rows, content_type)
    if len(body) <= largest:
        yield body, len(rows)
    elif len(rows) == 1:
        raise RequestTooLarge(f"a row takes {len(body)} bytes, InvokeEndpoint takes at most {largest}")
    else:
        half = len(rows) // 2
        yield from _fitting(rows[:half], content_type, largest)
        yield from _fitting(rows[half:], content_type, largest)


def encode(rows: Sequence[Row], content_type: str) -> bytes:
    """One request's body: a line per row, or `{"instances": [[...], ...]}`."""
    if content_type == "application/json":
        return json.dumps({"instances": [list(row) for row in rows]}).encode()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def decode(body: bytes, rows: int) -> list[float]:
    """Predictions in a response: numbers separated by commas or line breaks, or JSON of them.

    Raises InvalidPredictions unless it is exactly one finite number for each of the `rows` rows.
    """
    text = body.decode("utf-8", errors="replace").strip()
    values = _from_json(text) if text[:1] in ("[", "{") else text.replace(",", " ").split()
    if values is None:
        raise InvalidPredictions(f"the endpoint answered something that holds no predictions: {_excerpt(text)}")
    if len(values) != rows:
        raise InvalidPredictions(f"the endpoint answered {len(values)} values for {rows} rows: {_excerpt(text)}")
    return [_finite(value, position) for position, value in enumerate(values, start=1)]


def _from_json(text: str) -> list[Any] | None:
    """The list of values in the shapes that containers answer: bare, under `predictions`, wrapped, or with `score`."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    found = document.get("predictions") if isinstance(document, dict) else document
    return [_unwrapped(value) for value in found] if isinstance(found, list) else None


def _unwrapped(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("score", value)
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _finite(value: Any, position: int) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidPredictions(f"the endpoint answered {_excerpt(str(value))} for row {position} of a request")
    return number


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 80 else f"{line[:77]}...")
