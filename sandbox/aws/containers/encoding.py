"""Arrays to bodies and back, as the toolkit of SageMaker's framework images does it (sagemaker-containers, PyPI)."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from sandbox.aws.containers.http import JSON

CSV = "text/csv"
NPY = "application/x-npy"
TEXTS = (JSON, CSV)  # whose bodies are handed over as text


class UnsupportedFormat(Exception):
    """A media type that the toolkit cannot read or write."""

    def __init__(self, content_type: str) -> None:
        super().__init__(f"Content type {content_type} is not supported by this framework.")


def encode(values: Any, content_type: str) -> str | bytes:
    """The body for an array-like. Raises UnsupportedFormat, and TypeError or ValueError for what is no array."""
    import numpy

    if content_type == CSV:
        table = numpy.array(values)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table.reshape(-1, 1) if table.ndim == 1 else table)
        return text.getvalue()
    if content_type == JSON:
        return json.dumps(values, default=lambda value: value.tolist())
    if content_type == NPY:
        buffer = io.BytesIO()
        numpy.save(buffer, values)
        return buffer.getvalue()
    raise UnsupportedFormat(content_type)


def decode(body: str | bytes, content_type: str) -> Any:
    """The array in a body; its numbers are text when it is CSV. Raises UnsupportedFormat, ValueError."""
    import numpy

    if content_type == CSV:
        text = body if isinstance(body, str) else body.decode()
        return numpy.array(list(csv.reader(io.StringIO(text), strict=True))).squeeze()
    if content_type == JSON:
        return numpy.array(json.loads(body))
    if content_type == NPY:
        return numpy.load(io.BytesIO(body if isinstance(body, bytes) else body.encode()), allow_pickle=True)
    raise UnsupportedFormat(content_type)
