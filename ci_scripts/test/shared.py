"""What a worker of pytest-xdist must know, as JSON: it runs in a process of its own and makes its own clients.

Called by the plugin, on both sides. The rows and what was measured go along, so that no worker reads or asks again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import quality as quality_file
from ci_scripts.test.held_out import HeldOut, Row
from ci_scripts.test.target import Endpoint

if TYPE_CHECKING:
    from ci_scripts.test.plugin import Work


class Measured(NamedTuple):
    """What a metric came to."""

    value: float | None
    problem: str = ""
    """Why there is no value."""


def endpoint(region: str, name: str, stage: str, model_package_arn: str, request: quality_file.Request) -> Endpoint:
    """The endpoint under test, with clients of this process."""
    from ci_scripts import aws

    # What a caller gets, not what retries make of it; predictions whose quality counts may be asked for twice.
    once, patient = (aws.client("sagemaker-runtime", region, attempts=attempts) for attempts in (1, 2))
    return Endpoint(once, name, stage, model_package_arn, request, patient)


def to_json(work: Work) -> dict[str, Any]:
    """Plain values that say the same."""
    quality, held_out = work.quality, work.held_out
    return {
        "endpoint": [work.endpoint.region, work.endpoint.name, work.endpoint.stage, work.endpoint.model_package_arn],
        "quality": quality.content if quality else None,
        "quality_path": str(work.quality_path),
        "held_out": held_out
        and {
            "features": [row.source for row in held_out.features if isinstance(row, Row)],
            "labels": held_out.labels,
            "source": held_out.source,
            "total": held_out.total,
            "classes": held_out.classes,
        },
        "measured": work.measured,
    }


def from_json(given: dict[str, Any]) -> Work:
    """The work that `to_json` was told of."""
    from ci_scripts.test.plugin import Work

    path = Path(given["quality_path"])
    quality = quality_file.parse(given["quality"], path.parent) if given["quality"] is not None else None
    held_out = given["held_out"]
    region, name, stage, model_package_arn = given["endpoint"]
    return Work(
        endpoint(region, name, stage, model_package_arn, quality.request if quality else quality_file.Request()),
        quality,
        path,
        held_out
        and HeldOut(
            [Row(*source) for source in held_out["features"]],
            held_out["labels"],
            held_out["source"],
            held_out["total"],
            tuple(held_out["classes"] or ()),
        ),
        {name: Measured(*each) for name, each in given["measured"].items()},
    )
