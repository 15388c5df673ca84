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

from ci_scripts import documents, job, repository, schemas, text
from ci_scripts.documents import Malformed
from ci_scripts.errors import InvalidQuality
from ci_scripts.repository import Unreadable

FILE = "quality.yml"
"""Where the thresholds are looked for; the file may be missing."""


class Data(NamedTuple):
    """Where the held-out data comes from; exactly one of the first three is not None."""

    from_model_package: str | None
    uri: str | None
    path: Path | None
    label_column: int | str
    header: bool
    rows: int
    classes: tuple[float, ...] = ()
    """All classes that a label can be; empty: those that the file holds."""
    base: Path | None = None
    """A folder of the repository that `path` must not lead out of; None: the folder of `path`."""


class Request(NamedTuple):
    """How the endpoint is asked for predictions."""

    content_type: str = "text/csv"
    rows_per_request: int = 100
    answer: str = ""
    """A name of answers.FORMATS; empty: what the answer's shape shows."""
    labels: Mapping[str, float] = MappingProxyType({})
    """The numbers of classes that the container names by words."""


class Threshold(NamedTuple):
    """One bound of one metric: what a quality test checks."""

    metric: str
    comparison: str
    """`<=` or `>=`."""
    limit: float

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {self.limit}"

    def holds(self, measured: float) -> bool:
        """Whether `measured` passes; NaN never does."""
        return measured <= self.limit if self.comparison == "<=" else measured >= self.limit


class Quality(NamedTuple):
    """A whole quality.yml."""

    data: Data
    request: Request
    thresholds: tuple[Threshold, ...]
    content: dict[str, Any]
    """The file as it was parsed."""


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
    found = [": ".join(part for part in pair if part) for pair in schemas.problems(content, schema())]
    return [*found, *_contradictions(content, folder, base or folder)]


def parse(content: Mapping[str, Any], folder: Path, base: Path | None = None) -> Quality:
    """Typed values of a document without problems; a relative `path` of the data starts at `folder`."""
    data, request = content["data"], content.get("request", {})
    checks: list[dict[str, Any]] = content.get("checks", [])
    return Quality(
        data=Data(
            from_model_package=data.get("from_model_package"),
            uri=data.get("uri"),
            path=folder / data["path"] if "path" in data else None,
            label_column=data.get("label_column", 0),
            header=data.get("header", False),
            rows=int(data.get("rows", 500)),
            classes=tuple(sorted(data.get("classes", ()))),
            base=base or folder,
        ),
        request=Request(**request),
        thresholds=tuple(
            Threshold(check["metric"], comparison, check[bound])
            for check in checks
            for bound, comparison in (("min", ">="), ("max", "<="))
            if bound in check
        ),
        content=dict(content),
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
    checks = content["checks"] if isinstance(content.get("checks"), list) else []
    for index, each in enumerate(checks):
        bounds = [each.get(name) for name in ("min", "max")] if isinstance(each, dict) else []
        numbers = [bound for bound in bounds if isinstance(bound, int | float) and not isinstance(bound, bool)]
        if not all(math.isfinite(number) for number in numbers):
            yield f"checks.{index}: min and max must be finite numbers"
        elif numbers != sorted(numbers):
            yield f"checks.{index}: min is greater than max"
