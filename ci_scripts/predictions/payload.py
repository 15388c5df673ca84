"""Rows → request bodies: the formats SageMaker's own containers take. Called by the endpoint under test.

https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html; answers.py reads what comes back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from ci_scripts import transforms
from ci_scripts.errors import RequestTooLarge, TransformFailed
from ci_scripts.predictions import held_out
from ci_scripts.quality import Request

Row = Sequence[float | str | None]

LARGEST_BODY = 6 * 1024 * 1024
"""Bytes that InvokeEndpoint takes: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html."""


def requests(rows: Sequence[Row], request: Request, largest: int = LARGEST_BODY) -> Iterator[tuple[bytes, int]]:
    """Bodies for all rows, each with its number of rows: at most `rows_per_request` and at most `largest` bytes.

    Raises RequestTooLarge when a single row is larger.
    """
    for start in range(0, len(rows), request.rows_per_request):
        part = rows[start : start + request.rows_per_request]
        yield from _fitting(part, partial(encode, content_type=request.content_type), largest)


def _fitting(
    rows: Sequence[Row], encoded: Callable[[Sequence[Row]], bytes], largest: int
) -> Iterator[tuple[bytes, int]]:
    body = encoded(rows)
    if len(body) <= largest:
        yield body, len(rows)
    elif len(rows) == 1:
        raise RequestTooLarge(f"a row takes {len(body)} bytes, InvokeEndpoint takes at most {largest}")
    else:
        half = len(rows) // 2
        yield from _fitting(rows[:half], encoded, largest)
        yield from _fitting(rows[half:], encoded, largest)


def encode(rows: Sequence[Row], content_type: str) -> bytes:
    """One request's body: a line of CSV or a list of JSON per row, or `{"instances": [[...], ...]}`."""
    if content_type == "application/json":
        return json.dumps({"instances": [list(row) for row in rows]}).encode()
    if content_type == "application/jsonlines":
        return "".join(f"{json.dumps(list(row))}\n" for row in rows).encode()
    return "".join(f"{_line(row)}\n" for row in rows).encode()


def transformed(rows: Sequence[Row], function: Callable[..., Any], name: str) -> tuple[bytes, str]:
    """The body and content type that a function of the user's makes of rows. Raises TransformFailed."""
    result = transforms.call(name, function, [list(row) for row in rows])
    match result:
        case (str() | bytes() as body, str() as content_type):
            return body.encode() if isinstance(body, str) else body, content_type
    kind = type(result).__name__
    raise TransformFailed(f"{name} returned a {kind}, not a pair of the body (bytes or text) and its content type")


def _line(row: Row) -> str:
    """A row as CSV; the cells of a held-out row as they stand in its file: 12E4 is not 120000.0 to every model."""
    written = row.written() if isinstance(row, held_out.Row) else None
    return ",".join([held_out.csv_field(each) for each in row] if written is None else written)
