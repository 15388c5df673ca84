"""Rows → request bodies: the formats SageMaker's own containers take. Called by the endpoint under test.

https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html; answers.py reads what comes back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ci_scripts.errors import RequestTooLarge
from ci_scripts.quality import Request
from ci_scripts.test import held_out

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
    return "".join(f"{_line(row)}\n" for row in rows).encode()


def _line(row: Row) -> str:
    """A row as CSV; the cells of a held-out row as they stand in its file: 12E4 is not 120000.0 to every model."""
    written = row.written() if isinstance(row, held_out.Row) else None
    return ",".join([held_out.csv_field(each) for each in row] if written is None else written)
