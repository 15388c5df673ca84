"""quality.yml: read, checked against its JSON Schema, and turned into typed values.

Called by the test command, before anything is asked of AWS: a typo must not cost a round trip.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator, ValidationError

from ci_scripts import job
from ci_scripts.deployment.documents import Malformed, parse_config
from ci_scripts.errors import InvalidQuality


class Data(NamedTuple):
    """Where the held-out data comes from; exactly one of the first three is not None."""

    from_model_package: str | None
    uri: str | None
    path: Path | None
    label_column: int | str
    header: bool
    rows: int


class Request(NamedTuple):
    """How the endpoint is asked for predictions."""

    content_type: str = "text/csv"
    rows_per_request: int = 100


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


def load(path: Path) -> Quality:
    """Read and check the file. Prints every problem with file and path, then raises InvalidQuality."""
    try:
        content = parse_config(path.read_text(encoding="utf-8-sig"), is_json=False)
    except FileNotFoundError:
        raise InvalidQuality(f"{path} is missing") from None
    except (OSError, UnicodeDecodeError, Malformed) as error:
        raise InvalidQuality(f"{path}: {error}") from error
    problems = find_problems(content)
    for problem in problems:
        job.say(f"{path}: {problem}")
    if problems:
        raise InvalidQuality(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {path}: {problems[0]}")
    return parse(content, path.parent)


def schema() -> dict[str, Any]:
    """The JSON Schema of quality.yml."""
    text = files(__package__).joinpath("quality.schema.json").read_text(encoding="utf-8")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def find_problems(content: Any) -> list[str]:
    """Everything that is wrong with a parsed quality.yml, as `path: problem`."""
    found = sorted(Draft202012Validator(schema()).iter_errors(content), key=lambda error: [str(p) for p in error.path])
    problems = [_at(error.absolute_path, _message(error)) for error in found]
    # What a schema cannot say is looked at only in a document of the right shape.
    return problems or list(_contradictions(content))


def parse(content: Mapping[str, Any], folder: Path) -> Quality:
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
            rows=data.get("rows", 500),
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


def _contradictions(content: Mapping[str, Any]) -> Iterator[str]:
    data = content["data"]
    if isinstance(data.get("label_column"), str) and not data.get("header", False):
        yield "data.label_column: a name needs `header: true`; without a header it is a number"
    for index, check in enumerate(content.get("checks", [])):
        bounds = [check[bound] for bound in ("min", "max") if bound in check]
        if not all(math.isfinite(bound) for bound in bounds):
            yield f"checks.{index}: min and max must be finite numbers"
        elif bounds != sorted(bounds):
            yield f"checks.{index}: min is greater than max"


def _at(path: Iterable[str | int], problem: str) -> str:
    where = ".".join(str(part) for part in path)
    return f"{where}: {problem}" if where else problem


def _message(error: ValidationError) -> str:
    # jsonschema's own words for these two print the whole schema.
    if error.validator in ("oneOf", "anyOf") and isinstance(error.schema, Mapping):
        return str(error.schema["description"])
    return str(error.message)
