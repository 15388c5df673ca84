"""What a deployment that alarms watch adds to a plain one: calls of AWS, and seconds beyond those that they watch.

`make bench` measures it; `python -m bench.shifts` alone takes a minute.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench import faults
from bench.fault_proxy import FaultProxy
from bench.fault_scenarios.base import Scenario
from bench.fault_scenarios.model_deploy import DeployShift, DeployUpdate
from sandbox.aws.cloudwatch import SCALE

POLL = 0.3  # seconds; as faults.run sets it
_ROUNDS = 3


class Added(NamedTuple):
    """Medians of a few updates of each kind."""

    calls: float
    """Beyond one for each poll of the longer time."""
    seconds: float
    """Beyond those for which the alarms watch."""
    plain_calls: float
    guarded_calls: float


def measure() -> Added:
    """Update an endpoint with and without alarms that watch, in turns. Raises RuntimeError when one fails."""
    watched = DeployShift.deployment["TerminationWaitInSeconds"] * SCALE
    with tempfile.TemporaryDirectory() as name, faults.cloud(Path(name)) as aws, FaultProxy(aws.url) as proxy:
        plain, guarded = DeployUpdate(aws, Path(name) / "plain"), DeployShift(aws, Path(name) / "guarded")
        runs = [(_run(plain, proxy, number), _run(guarded, proxy, number)) for number in range(_ROUNDS)]
    seconds = [longer[1] - shorter[1] for shorter, longer in runs]
    calls = [longer[0] - shorter[0] - more / POLL for (shorter, longer), more in zip(runs, seconds, strict=True)]
    return Added(
        statistics.median(calls),
        statistics.median(seconds) - watched,
        statistics.median(shorter[0] for shorter, _ in runs),
        statistics.median(longer[0] for _, longer in runs),
    )


def _run(scenario: Scenario, proxy: FaultProxy, number: int) -> tuple[int, float]:
    """The calls and the seconds of one update."""
    scenario.reset()
    began = time.monotonic()
    outcome = faults.run(scenario, proxy, number, 1)
    if outcome.code:
        raise RuntimeError(outcome.errors)
    return len(outcome.calls), time.monotonic() - began


if __name__ == "__main__":
    print(measure())
