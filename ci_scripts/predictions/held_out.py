"""Held-out data: rows the model was not trained on, from S3 or the repository, as features and labels.

Called by the test command; the fixture `held_out` hands it to the consumer's tests.
"""

from __future__ import annotations

import csv
import hashlib
import heapq
import io
import math
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, NoReturn

from ci_scripts import aws_errors, quality_rules, registry, repository, text
from ci_scripts.errors import HeldOutDataInvalid, HeldOutDataMissing, OutsideRepository
from ci_scripts.quality import Column, Data, Label

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

Cell = int | float | str | None

MOST_CLASSES = 100
"""Different labels of a file up to which they can be classes."""
_LONGEST_CELL = 6 * 1024 * 1024  # bytes of a whole request
_LONGEST_NUMBER = 300  # characters

_S3_URI = re.compile(r"s3://([^/]+)/(.+)", re.DOTALL)
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)", re.ASCII)
_DECIMAL = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
# A field as csv.reader reads it: a quote counts only where the field begins.
_FIELD = re.compile(r'"(?:[^"]|"")*"?[^,]*|[^,]*')


class Row(list[Cell]):
    """A row's features. CSV requests send the cells that nobody has changed as they stand in the file."""

    def __init__(self, cells: Sequence[str], written: Sequence[str]) -> None:
        super().__init__(cell(each) for each in cells)
        self.source = (list(cells), list(written))
        """The cells of the file: their content, and how it is written."""
        self._read = tuple(self)

    def written(self) -> list[str] | None:
        """The cells as text; None when there are other ones than the file's."""
        _, written = self.source
        if len(self) != len(written):
            return None
        return [
            raw if value is read or (type(value), value) == (type(read), read) else csv_field(value)
            for value, read, raw in zip(self, self._read, written, strict=True)
        ]


class HeldOut(NamedTuple):
    """Held-out rows, in the order of the file."""

    features: Sequence[list[Cell]]
    """The columns other than the label: numbers, text where it is not a number, None where it is empty."""
    labels: Sequence[Label]
    """Numbers, or text where every label of the file is text."""
    source: str
    """Where the rows come from: an S3 URI or a path."""
    total: int
    """How many rows there are at the source; `features` holds a sample when there are more than `rows`."""
    classes: tuple[Label, ...] | None = None
    """The labels that there are: those of quality.yml, else of all rows of the file, sampled or not.

    Empty when they are too many or no whole numbers, so that they cannot be classes; None: those of `labels`.
    """
    positive: Label | None = None
    """The class that precision, recall, F1 and a single score are of; None: class 1 of 0 and 1."""
    segments: Mapping[Column, Sequence[str]] = MappingProxyType({})
    """For each column that checks divide by, the value of every row."""
    names: tuple[str, ...] = ()
    """What each column of `features` is called: its name in the header, else `column 3`, counted from 0."""

    @property
    def class_labels(self) -> Sequence[Label]:
        """What decides whether labels are classes 0 and 1, or others."""
        return self.labels if self.classes is None else self.classes

    @property
    def is_text(self) -> bool:
        """Whether labels are text."""
        return any(isinstance(label, str) for label in self.labels)

    def of(self, rows: Sequence[int]) -> HeldOut:
        """These rows alone; the classes stay those of the whole file."""
        classes = tuple(self.class_labels)
        return self._replace(
            features=[self.features[row] for row in rows], labels=[self.labels[row] for row in rows], classes=classes
        )


def load(data: Data, model_package_arn: str, sagemaker: SageMakerClient, s3: S3Client) -> HeldOut:
    """Read the data that quality.yml names. Raises HeldOutDataMissing, HeldOutDataInvalid or OutsideRepository."""
    if data.path is not None:
        try:
            with repository.open_file(data.path, data.base or data.path.parent) as file:
                return _parse_file(file, data, str(data.path))
        except repository.Missing:
            raise HeldOutDataMissing(f"there is no held-out data at {data.path}") from None
        except repository.Outside:
            raise OutsideRepository(f"data.path in quality.yml leads out of the repository: {data.path}") from None
        except repository.Unreadable as error:
            raise HeldOutDataMissing(f"{data.path} {error}") from None
    uri = data.uri or _uri_of_package(sagemaker, model_package_arn, str(data.from_model_package))
    with _download(s3, uri) as file:
        return _parse_file(file, data, uri)


def _parse_file(file: BinaryIO, data: Data, source: str) -> HeldOut:
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as lines:
        return parse(lines, data, source)


class Record(NamedTuple):
    """One record of the CSV file."""

    line: int
    """Where it ends, counted from 1."""
    cells: list[str]
    written: str
    """Its text, without the line break."""


def parse(lines: Iterable[str], data: Data, source: str) -> HeldOut:
    """Features and labels of CSV lines, at most `data.rows` of them.

    Raises HeldOutDataInvalid for what is not CSV, a row that is shorter or longer than the first, a label that is not
    a finite number or none of the classes of quality.yml, and no rows at all; rows that are not sampled count, too.
    """
    labels = _Labels(data, source)
    try:
        records = _records(lines)
        header = next(records, Record(0, [], "")).cells if data.header else None
        labels.header = header
        sampled = sample(labels.checked(records), data.rows)
    except (csv.Error, UnicodeDecodeError) as error:
        raise HeldOutDataInvalid(f"{source} is not CSV in UTF-8: {text.short(str(error), 200)}") from error
    if not sampled:
        raise HeldOutDataInvalid(f"{source} holds no rows")
    dropped = {labels.column, *(_position(column, "drop_columns", header, source) for column in data.drop_columns)}
    positions = {column: _position(column, "by", header, source) for column in data.segments}
    absent = next((each for each in [*dropped, *positions.values()] if each >= labels.width), None)
    if absent is not None:
        raise HeldOutDataInvalid(f"{source} has {labels.width} columns, column {absent} is none of them")
    others = [position for position in range(labels.width) if position not in dropped]
    features = []
    for record in sampled:
        fields = [field[0] for field in _fields(record.written)]
        if len(fields) != len(record.cells):  # an unusual quotation: quoted anew
            fields = [csv_field(each) for each in record.cells]
        features.append(Row([record.cells[each] for each in others], [fields[each] for each in others]))
    return HeldOut(
        features,
        [labels.value(record) for record in sampled],
        source,
        labels.count,
        data.classes or labels.classes(),
        data.positive,
        {column: [record.cells[at].strip() for record in sampled] for column, at in positions.items()},
        tuple((header[each].strip() if header else "") or f"column {each}" for each in others),
    )


class _Labels:
    """Passes records on, checks them and remembers which labels there are.

    Labels are text where quality.yml lists text as classes, or where not one label of the file is a number.
    """

    def __init__(self, data: Data, source: str) -> None:
        self.data, self.source = data, source
        self.header: list[str] | None = None
        self.count, self.column, self.width = 0, 0, 0
        self.seen: set[Label] = set()
        self.text: bool | None = quality_rules.is_text(data.classes) if data.classes else None
        """None: what the first row shows."""
        self.first: Record | None = None

    def checked(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            if not self.count:
                self.first = record
                self.column = _position(self.data.label_column, "label_column", self.header, self.source)
                self.width = len(self.header or record.cells)
                if self.column >= self.width:
                    raise HeldOutDataInvalid(
                        f"{self.source} has {self.width} columns, label_column {self.column} is none of them"
                    )
            self.count += 1
            if len(record.cells) != self.width:
                raise HeldOutDataInvalid(
                    f"{self.source}, line {record.line}: {len(record.cells)} columns, expected {self.width}"
                )
            if len(self.seen) <= MOST_CLASSES:
                self.seen.add(self.value(record))
            yield record

    def value(self, record: Record) -> Label:
        """The label of a row."""
        content = record.cells[self.column]
        label = cell(content)
        if self.text is None:
            self.text = isinstance(label, str) and not _is_like_a_number(label)
        if self.text:
            if isinstance(label, int | float) and not self.data.classes:
                self._refuse(self.first or record)  # a header that nobody named, above all
            label = content.strip()
        if not (isinstance(label, int | float) or (self.text and label)):
            self._refuse(record)
        if self.data.classes and label not in self.data.classes:
            classes = ", ".join(each if isinstance(each, str) else f"{each:g}" for each in self.data.classes)
            shown = text.quoted(label) if isinstance(label, str) else f"{label:g}"
            raise HeldOutDataInvalid(
                f"{self.source}, line {record.line}: the label {shown} is none of the classes of quality.yml, {classes}"
            )
        return label if isinstance(label, str) else float(label)

    def _refuse(self, record: Record) -> NoReturn:
        shown = text.quoted(record.cells[self.column])
        raise HeldOutDataInvalid(f"{self.source}, line {record.line}: the label {shown} is not a finite number")

    def classes(self) -> tuple[Label, ...]:
        if len(self.seen) > MOST_CLASSES:
            return ()
        if self.text:
            return tuple(sorted(str(label) for label in self.seen))
        numbers = sorted(label for label in self.seen if not isinstance(label, str))
        return tuple(numbers) if all(number.is_integer() for number in numbers) else ()


def _is_like_a_number(content: str) -> bool:
    """Whether text may be meant as a number: `nan`, `1_000` and `1e999` are no classes by themselves."""
    try:
        float(content)
    except ValueError:
        return False
    return True


def sample(records: Iterable[Record], most: int) -> list[Record]:
    """At most `most` records, in their order: those whose hashed position is smallest.

    The same file gives the same rows on every run and every Python version, a sorted file no biased ones, and only
    `most` records are held in memory.
    """
    chosen = heapq.nsmallest(most, enumerate(records), key=lambda pair: hashlib.sha256(b"%d" % pair[0]).digest())
    return [record for _, record in sorted(chosen, key=lambda pair: pair[0])]


def cell(content: str) -> Cell:
    """A CSV cell as a number where it is one, else as it stands: `007`, `1_000`, `nan` and `1e999` are text."""
    stripped = content.strip()
    if not stripped:
        return None
    if len(stripped) > _LONGEST_NUMBER:
        return content
    if _INTEGER.fullmatch(stripped):
        return int(stripped)
    if _DECIMAL.fullmatch(stripped) and math.isfinite(number := float(stripped)):
        return number
    return content


def csv_field(value: Any) -> str:
    """One value as a field of CSV, quoted where it must be; nothing for None."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([value, ""])  # a field alone, if empty, would be quoted
    return buffer.getvalue()[:-1]


def _records(lines: Iterable[str]) -> Iterator[Record]:
    """Every record that is not a blank line."""
    csv.field_size_limit(_LONGEST_CELL)
    read: list[str] = []

    def remembered() -> Iterator[str]:
        for line in lines:
            read.append(line)
            yield line

    reader = csv.reader(remembered())
    for cells in reader:
        source_line = "".join(read).rstrip("\r\n")
        read.clear()
        if any(each.strip() for each in cells):
            yield Record(reader.line_num, cells, source_line)


def _fields(line: str) -> Iterator[re.Match[str]]:
    position = 0
    while True:
        field = _FIELD.match(line, position)
        assert field is not None  # noqa: S101 - the pattern also matches nothing
        yield field
        position = field.end() + 1
        if position > len(line):
            return


def _position(column: Column, field: str, header: list[str] | None, source: str) -> int:
    """Where a column stands that `field` of quality.yml names."""
    if isinstance(column, int):
        return column
    names = [name.strip() for name in header or []]
    if column not in names:
        columns = text.short(", ".join(names), 300) or "an empty header"
        named = "" if field == "label_column" else f" ({field} in quality.yml)"
        raise HeldOutDataInvalid(f"{source} has no column {text.quoted(column)}, only {columns}{named}")
    return names.index(column)


def _uri_of_package(sagemaker: SageMakerClient, arn: str, key: str) -> str:
    properties = registry.describe(sagemaker, arn).get("CustomerMetadataProperties", {})
    uri = str(properties.get(key, ""))
    if not _S3_URI.fullmatch(uri):
        instead = (
            f"the value {text.quoted(uri)}"
            if uri
            else f"only {', '.join(sorted(properties))}"
            if properties
            else "none at all"
        )
        raise HeldOutDataMissing(
            f"model package {arn} has no S3 URI under {key} in its CustomerMetadataProperties ({instead})"
        )
    return uri


def _download(s3: S3Client, uri: str) -> BinaryIO:
    """The object as a temporary file: sampling wants no more than a few rows in memory."""
    from botocore.exceptions import ClientError

    bucket, key = re.fullmatch(_S3_URI, uri).groups()  # type: ignore[union-attr] # the schema and _uri_of_package check it
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        if aws_errors.code(error) in ("NoSuchKey", "NoSuchBucket"):
            raise HeldOutDataMissing(f"there is no held-out data at {uri}") from error
        if (
            aws_errors.code(error) in aws_errors.DENIED
        ):  # S3's answer for a missing key, too, to who may not list the bucket
            raise HeldOutDataMissing(
                f"the held-out data at {uri} is not there, or may not be read: {aws_errors.text(error)}",
                hint=f"{HeldOutDataMissing.hint} Reading takes s3:GetObject; to tell the two apart, s3:ListBucket.",
            ) from error
        raise
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(body, file)
    file.seek(0)
    return file
