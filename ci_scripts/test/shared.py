"""What a worker of pytest-xdist must know, as JSON: it runs in a process of its own and makes its own clients.

Called by the plugin, on both sides. The rows and what was measured go along, so that no worker reads or asks again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ci_scripts import quality as quality_file
from ci_scripts.aws import Aws
from ci_scripts.predictions.held_out import HeldOut, Row
from ci_scripts.predictions.target import Endpoint, classes_of, endpoint
from ci_scripts.quality import Comparison, Quality, Threshold
from ci_scripts.test.measurement import Measurement, Segment, worst


class Measured(NamedTuple):
    """What a metric came to."""

    value: float | None
    problem: str = ""
    """Why there is no value."""
    segments: Sequence[Segment] = ()
    """Where the worst segment counts: all of them."""

    @classmethod
    def of(cls, measurement: Measurement, threshold: Threshold, data: HeldOut, *, declared: bool) -> Measured:
        """What a threshold bounds. Raises MetricUndefined where it has no value."""
        if threshold.by is None:
            return cls(measurement.of_threshold(threshold, data, declared=declared))
        segments = measurement.segments(threshold, data, declared=declared)
        return cls(worst(threshold, segments), segments=segments)


class Compared(NamedTuple):
    """What a comparison with the version of another stage came to."""

    candidate: float | None = None
    """The metric of the tested version."""
    champion: float | None = None
    worse_by: float | None = None
    """Of the candidate, in the unit of the metric; negative: it is better."""
    low: float | None = None
    """The interval of `worse_by`, at the confidence of quality.yml."""
    high: float | None = None
    note: str = ""
    """Why there is nothing to compare with, which is no failure."""
    problem: str = ""
    """Why they could not be compared."""

    def holds(self, comparison: Comparison) -> bool:
        """Whether the candidate may go on: not the whole interval is worse than it may be."""
        return bool(self.note) or (self.low is not None and self.low <= comparison.worse_by_at_most)

    def outcome(self, comparison: Comparison) -> str:
        """passed, failed or error."""
        if self.problem:
            return "error"
        return "passed" if self.holds(comparison) else "failed"

    def interval(self, comparison: Comparison) -> str:
        """`0.31 (95 % interval 0.12 to 0.5)`; a negative number is of a version that is better."""
        if self.worse_by is None:
            return "-"
        return f"{self.worse_by:.4g} ({comparison.confidence:.4g} interval {self.low:.4g} to {self.high:.4g})"


class Work(NamedTuple):
    """What the tests of one `sagemaker-ci test` work on, in its own process or in a worker of pytest-xdist."""

    endpoint: Endpoint
    quality: Quality | None
    quality_path: Path
    held_out: HeldOut | None
    measured: Mapping[str, Measured]
    """What every metric of quality.yml came to, before the first test: tests in parallel do not disturb latencies."""
    compared: Mapping[str, Compared] = MappingProxyType({})
    """What every comparison came to."""


def to_json(work: Work) -> dict[str, Any]:
    """Plain values that say the same."""
    quality, held_out = work.quality, work.held_out
    return {
        "endpoint": [
            work.endpoint.region,
            work.endpoint.hosting,
            work.endpoint.name,
            work.endpoint.stage,
            work.endpoint.model_package_arn,
        ],
        "quality": quality.content if quality else None,
        "quality_path": str(work.quality_path),
        "held_out": held_out
        and {
            "features": [row.source for row in held_out.features if isinstance(row, Row)],
            "labels": held_out.labels,
            "source": held_out.source,
            "total": held_out.total,
            "classes": held_out.classes,
            "positive": held_out.positive,
            "segments": list(held_out.segments.items()),
            "names": held_out.names,
        },
        "measured": work.measured,
        "compared": dict(work.compared),
    }


def from_json(content: dict[str, Any]) -> Work:
    """The work that `to_json` was told of."""
    path = Path(content["quality_path"])
    quality = quality_file.parse(content["quality"], path.parent) if content["quality"] is not None else None
    held_out = content["held_out"]
    region, kind, name, stage, model_package_arn = content["endpoint"]
    data = held_out and HeldOut(
        [Row(*source) for source in held_out["features"]],
        held_out["labels"],
        held_out["source"],
        held_out["total"],
        tuple(held_out["classes"] or ()),
        held_out["positive"],
        dict(held_out["segments"]),
        tuple(held_out["names"]),
    )
    request = quality.request if quality else quality_file.Request()
    target = endpoint(Aws(region), kind, name, stage, model_package_arn, request)
    if data:
        target.classes = classes_of(data, request.classes)
    measured = {
        key: Measured(value, problem, [Segment(*each) for each in segments])
        for key, (value, problem, segments) in content["measured"].items()
    }
    compared = {key: Compared(*each) for key, each in content["compared"].items()}
    return Work(target, quality, path, data, measured, compared)
