"""Held-out data: rows the model was not trained on, from S3 or the repository, as features and labels.

Called by the test command; the fixture `held_out` hands it to the consumer's tests.
"""

from __future__ import annotations

import csv
import hashlib
import heapq
import math
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TextIO

from ci_scripts import aws, registry
from ci_scripts.errors import HeldOutDataInvalid, HeldOutDataMissing
from ci_scripts.testing.quality import Data

Cell = int | float | str | None

_S3_URI = re.compile(r"s3://([^/]+)/(.+)")
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)", re.ASCII)
_DECIMAL = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


class HeldOut(NamedTuple):
    """Held-out rows, in the order of the file."""

    features: list[list[Cell]]
    """The columns other than the label: numbers, text where it is not a number, None where it is empty."""
    labels: list[float]
    source: str
    """Where the rows come from: an S3 URI or a path."""
    total: int
    """How many rows there are at the source; `features` holds a sample when there are more than `rows`."""


def load(data: Data, model_package_arn: str, sagemaker: Any, s3: Any) -> HeldOut:
    """Read the data that quality.yml names. Raises HeldOutDataMissing or HeldOutDataInvalid."""
    if data.path is not None:
        if not data.path.is_file():
            raise HeldOutDataMissing(f"there is no held-out data at {data.path}")
        with data.path.open(encoding="utf-8-sig", newline="") as file:
            return parse(file, data, str(data.path))
    uri = data.uri or _uri_of_package(sagemaker, model_package_arn, str(data.from_model_package))
    with _download(s3, uri) as file:
        return parse(file, data, uri)


def parse(lines: Iterable[str], data: Data, source: str) -> HeldOut:
    """Features and labels of CSV lines, at most `data.rows` of them.

    Raises HeldOutDataInvalid for what is not CSV, a row that is shorter or longer than the first, a label that is not
    a finite number, and no rows at all.
    """
    try:
        records = _records(csv.reader(lines))
        header = next(records, (0, []))[1] if data.header else None
        counted = _Counted(records)
        sampled = sample(counted, data.rows)
    except (csv.Error, UnicodeDecodeError) as error:
        raise HeldOutDataInvalid(f"{source} is not CSV in UTF-8: {error}") from error
    if not sampled:
        raise HeldOutDataInvalid(f"{source} holds no rows")
    column = _label_position(data.label_column, header, source)
    width = len(header or sampled[0][1])
    features: list[list[Cell]] = []
    labels: list[float] = []
    for line, cells in sampled:
        if len(cells) != width:
            raise HeldOutDataInvalid(f"{source}, line {line}: {len(cells)} columns, expected {width}")
        if column >= width:
            raise HeldOutDataInvalid(f"{source} has {width} columns, label_column {column} is none of them")
        label = cell(cells[column])
        if not isinstance(label, int | float) or not math.isfinite(label):
            raise HeldOutDataInvalid(f"{source}, line {line}: the label {cells[column]!r} is not a finite number")
        labels.append(float(label))
        features.append([cell(text) for position, text in enumerate(cells) if position != column])
    return HeldOut(features, labels, source, counted.count)


def sample(records: Iterable[tuple[int, list[str]]], most: int) -> list[tuple[int, list[str]]]:
    """At most `most` records, in their order: those whose hashed position is smallest.

    The same file gives the same rows on every run and every Python version, a sorted file no biased ones, and only
    `most` records are held in memory.
    """
    chosen = heapq.nsmallest(most, enumerate(records), key=lambda pair: hashlib.sha256(b"%d" % pair[0]).digest())
    return [record for _, record in sorted(chosen)]


def cell(text: str) -> Cell:
    """A CSV cell as a number where it is one; `007` and `1_000` are text, `nan` is what the model makes of it."""
    text = text.strip()
    if not text:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


class _Counted:
    """Passes records on and counts them."""

    def __init__(self, records: Iterator[tuple[int, list[str]]]) -> None:
        self.records, self.count = records, 0

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        for record in self.records:
            self.count += 1
            yield record


def _records(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not blank."""
    return ((reader.line_num, cells) for cells in reader if any(text.strip() for text in cells))


def _label_position(label_column: int | str, header: list[str] | None, source: str) -> int:
    if isinstance(label_column, int):
        return label_column
    names = [name.strip() for name in header or []]
    if label_column not in names:
        raise HeldOutDataInvalid(
            f"{source} has no column {label_column!r}, only {', '.join(names) or 'an empty header'}"
        )
    return names.index(label_column)


def _uri_of_package(sagemaker: Any, arn: str, key: str) -> str:
    properties = registry.describe(sagemaker, arn).get("CustomerMetadataProperties", {})
    uri = str(properties.get(key, ""))
    if not _S3_URI.fullmatch(uri):
        found = (
            f"the value {uri!r}" if uri else f"only {', '.join(sorted(properties))}" if properties else "none at all"
        )
        raise HeldOutDataMissing(
            f"model package {arn} has no S3 URI under {key} in its CustomerMetadataProperties ({found})"
        )
    return uri


def _download(s3: Any, uri: str) -> TextIO:
    """The object as a temporary text file: sampling wants no more than a few rows in memory."""
    from botocore.exceptions import ClientError

    bucket, key = re.fullmatch(_S3_URI, uri).groups()  # type: ignore[union-attr] # the schema and _uri_of_package check it
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        if aws.error_code(error) in ("NoSuchKey", "NoSuchBucket"):
            raise HeldOutDataMissing(f"there is no held-out data at {uri}") from error
        if aws.error_code(error) in aws.DENIED:  # S3's answer for a missing key, too, to who may not list the bucket
            raise HeldOutDataMissing(
                f"the held-out data at {uri} is not there, or may not be read: {aws.error_text(error)}",
                hint=f"{HeldOutDataMissing.hint} Reading takes s3:GetObject; to tell the two apart, s3:ListBucket.",
            ) from error
        raise
    file = tempfile.TemporaryFile("w+", encoding="utf-8-sig", newline="")  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(body, file.buffer)
    file.seek(0)
    return file
