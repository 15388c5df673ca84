"""quality.yml: read, checked against its JSON Schema, and turned into typed values.

Called by `build`, so that a merge request tells, and by `test` before anything is asked of AWS.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ci_scripts import documents, job, quality_rules, repository, schemas, text, transforms
from ci_scripts.documents import Malformed
from ci_scripts.errors import InvalidQuality
from ci_scripts.repository import Unreadable

FILE = "quality.yml"
"""Where the thresholds are looked for; the file may be missing."""


Label = float | str
"""A label of the held-out data, or a class: a number, or text."""
Column = int | str
"""A column of the held-out data: its position, counted from 0, or its name in the header."""

MIN_ROWS = 30
"""Rows that a segment needs to count, unless the check says otherwise; and a comparison in any case."""
CONFIDENCE = 0.95
"""Of a comparison, unless quality.yml says otherwise."""


class Data(NamedTuple):
    """Where the held-out data comes from; exactly one of the first three is not None."""

    from_model_package: str | None
    uri: str | None
    path: Path | None
    label_column: int | str
    header: bool
    rows: int
    classes: tuple[Label, ...] = ()
    """All classes that a label can be; empty: those that the file holds."""
    base: Path | None = None
    """A folder of the repository that `path` must not lead out of; None: the folder of `path`."""
    positive: Label | None = None
    """The class that precision, recall, F1 and a single score are of; None: class 1 of 0 and 1."""
    drop_columns: tuple[Column, ...] = ()
    """Columns that are not sent to the endpoint."""
    segments: tuple[Column, ...] = ()
    """Columns by whose values checks divide the rows."""


class Request(NamedTuple):
    """How the endpoint is asked for predictions."""

    content_type: str = "text/csv"
    rows_per_request: int = 100
    answer: str = ""
    """A name of answers.FORMATS; empty: what the answer's shape shows."""
    labels: Mapping[str, Label] = MappingProxyType({})
    """The held-out data's classes, by what the container calls them."""
    classes: tuple[Label, ...] = ()
    """The classes of a list of scores, in its order; empty: 0, 1, 2 and so on, or those of labels that are text."""
    transform: str = ""
    """`module:function` of the repository: rows to the body of a request; empty: by `content_type`."""
    transform_answer: str = ""
    """`module:function` of the repository: an answer to predictions; empty: by its format."""


class Load(NamedTuple):
    """Requests on a schedule, whether or not earlier ones were answered (open loop)."""

    requests_per_second: float
    duration_seconds: float
    concurrency: int = 32
    """At most so many requests at once; one that waits for another counts its wait."""
    rows_per_request: int = 1

    @property
    def requests(self) -> int:
        """How many there are."""
        return max(1, round(self.requests_per_second * self.duration_seconds))

    def __str__(self) -> str:
        return (
            f"{self.requests} requests, {self.requests_per_second:g} a second for {self.duration_seconds:g} s, "
            f"at most {self.concurrency} at once"
        )


class Threshold(NamedTuple):
    """One bound of one metric: what a quality test checks."""

    metric: str
    comparison: str
    """`<=` or `>=`."""
    limit: float
    quantile: float | None = None
    """Of the pinball loss."""
    output: int = 0
    """Which number of an answer of several, counted from 0."""
    by: Column | None = None
    """The column by which rows are divided; the worst segment counts."""
    min_rows: int = MIN_ROWS
    """A smaller segment does not count."""

    def __str__(self) -> str:
        return f"{self.subject} {self.comparison} {self.limit}"

    @property
    def subject(self) -> str:
        """What is bounded: `pinball(0.9) of output 2 by region`."""
        quantile = f"({self.quantile:g})" if self.quantile is not None else ""
        output = f" of output {self.output}" if self.output else ""
        column = f"column {self.by}" if isinstance(self.by, int) else self.by
        return f"{self.metric}{quantile}{output}" + (f" by {text.short(column, 60)}" if column is not None else "")

    @property
    def key(self) -> str:
        """What is measured, which is the same for both bounds of a check unless the worst segment is."""
        worst = {"<=": ", highest", ">=": ", lowest"}[self.comparison] if self.by is not None else ""
        return f"{self.subject}{worst}"

    def holds(self, measured: float) -> bool:
        """Whether `measured` passes; NaN never does."""
        return measured <= self.limit if self.comparison == "<=" else measured >= self.limit


class Comparison(NamedTuple):
    """One metric by which the tested version must not be much worse than the one that serves another stage."""

    metric: str
    worse_by_at_most: float
    """In the unit of the metric, and never negative, whichever direction is the better one."""
    stage: str
    """Whose endpoint is the champion."""
    confidence: float
    quantile: float | None = None
    """Of the pinball loss."""
    output: int = 0
    """Which number of an answer of several, counted from 0."""

    def __str__(self) -> str:
        return f"{self.subject} at most {self.worse_by_at_most:g} worse than {self.stage}"

    @property
    def threshold(self) -> Threshold:
        """What is measured of either version; the bound is none."""
        return Threshold(self.metric, "<=", math.inf, self.quantile, self.output)

    @property
    def subject(self) -> str:
        """What is compared: `pinball(0.9) of output 2`."""
        return self.threshold.subject

    @property
    def key(self) -> str:
        """How much worse the tested version is."""
        return f"{self.subject} worse than {self.stage}"


class Quality(NamedTuple):
    """A whole quality.yml."""

    data: Data
    request: Request
    thresholds: tuple[Threshold, ...]
    content: dict[str, Any]
    """The file as it was parsed."""
    load: Load | None = None
    comparisons: tuple[Comparison, ...] = ()

    @property
    def checks_anything(self) -> bool:
        """Whether it makes tests."""
        return bool(self.thresholds or self.comparisons)


def load(path: Path, base: Path | None = None) -> Quality:
    """Read and check the file, of the repository of `base` (default: its own folder).

    Prints every problem with file and path, then raises InvalidQuality.
    """
    base = base or path.parent
    repository.require(path, base)
    try:
        content = _read(path, base)
    except (Unreadable, Malformed) as error:
        raise InvalidQuality(documents.about(path, error)) from None
    problems = find_problems(content, path.parent, base)
    for problem in problems:
        job.say(f"{path}: {problem}")
    if problems:
        raise InvalidQuality(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {path}: {problems[0]}")
    return parse(content, path.parent, base)


def problems_of(path: Path, base: Path) -> list[str]:
    """Everything that is wrong with the file, as `path: problem`."""
    try:
        return find_problems(_read(path, base), path.parent, base)
    except (Unreadable, Malformed) as error:
        return [str(error)]


def _read(path: Path, base: Path) -> Any:
    return schemas.typed(documents.parse_yaml(documents.read_text(path, base)), schema())


def schema() -> dict[str, Any]:
    """The JSON Schema of quality.yml."""
    content = files(__package__).joinpath("quality.schema.json").read_text(encoding="utf-8")
    parsed: dict[str, Any] = json.loads(content)
    return parsed


def find_problems(content: Any, folder: Path | None = None, base: Path | None = None) -> list[str]:
    """Everything that is wrong with a parsed quality.yml in `folder`, as `path: problem`."""
    problems = [": ".join(part for part in pair if part) for pair in schemas.problems(content, schema())]
    return [*problems, *_contradictions(content, folder, base or folder)]


def parse(content: Mapping[str, Any], folder: Path, base: Path | None = None) -> Quality:
    """Typed values of a document without problems; a relative `path` of the data starts at `folder`."""
    data, request = content["data"], dict(content.get("request", {}))
    checks: list[dict[str, Any]] = content.get("checks", [])
    classes = data.get("classes", ())
    return Quality(
        data=Data(
            from_model_package=data.get("from_model_package"),
            uri=data.get("uri"),
            path=folder / data["path"] if "path" in data else None,
            label_column=data.get("label_column", 0),
            header=data.get("header", False),
            rows=int(data.get("rows", 500)),
            classes=tuple(classes if quality_rules.is_text(classes) else sorted(classes)),
            base=base or folder,
            positive=data.get("positive"),
            drop_columns=tuple(data.get("drop_columns", ())),
            segments=tuple(dict.fromkeys(check["by"] for check in checks if "by" in check)),
        ),
        request=Request(**request | {"classes": tuple(request.get("classes", ()))}),
        thresholds=tuple(
            Threshold(
                check["metric"],
                comparison,
                check[bound],
                check.get("quantile"),
                check.get("output", 0),
                check.get("by"),
                check.get("min_rows", MIN_ROWS),
            )
            for check in checks
            for bound, comparison in (("min", ">="), ("max", "<="))
            if bound in check
        ),
        content=dict(content),
        load=Load(**content["load"]) if "load" in content else None,
        comparisons=tuple(_comparisons(content.get("compare", {}))),
    )


def _comparisons(compare: Mapping[str, Any]) -> Iterator[Comparison]:
    for metric, rule in compare.get("metrics", {}).items():
        yield Comparison(
            metric,
            rule["worse_by_at_most"],
            compare["with"],
            compare.get("confidence", CONFIDENCE),
            rule.get("quantile"),
            rule.get("output", 0),
        )


def _contradictions(content: Any, folder: Path | None, base: Path | None) -> Iterator[str]:
    """What a schema cannot say, of those parts that have the right shape."""
    content = content if isinstance(content, dict) else {}
    data = content["data"] if isinstance(content.get("data"), dict) else {}
    if isinstance(data.get("label_column"), str) and not data.get("header", False):
        yield "data.label_column: a name needs `header: true`; without a header it is a number"
    path = data.get("path")
    if folder and base and isinstance(path, str) and not repository.holds(folder / path, base):
        yield f"data.path: {text.quoted(path)} leads out of the repository"
    yield from quality_rules.contradictions(content)
    yield from transforms.problems(content, base)
    checks = content["checks"] if isinstance(content.get("checks"), list) else []
    for index, each in enumerate(checks):
        bounds = [each.get(name) for name in ("min", "max")] if isinstance(each, dict) else []
        numbers = [bound for bound in bounds if isinstance(bound, int | float) and not isinstance(bound, bool)]
        if not all(math.isfinite(number) for number in numbers):
            yield f"checks.{index}: min and max must be finite numbers"
        elif numbers != sorted(numbers):
            yield f"checks.{index}: min is greater than max"
