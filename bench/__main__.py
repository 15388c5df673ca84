"""`make bench`: speed and size as ratios measured side by side in one run; a table for people, JSON for machines.

Exit code 1 when a promise is broken.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench import burst, faults, shifts, training, watching, weights
from sandbox import demo, job_images

ROOT = job_images.ROOT
RESULTS = ROOT / "bench" / "results" / "latest.json"
ROUNDS = 30
MEGABYTE = 1_000_000


class Measure(NamedTuple):
    """One promise: what was measured, and the most it may be."""

    name: str
    value: float
    limit: float
    unit: str
    detail: str

    @property
    def is_met(self) -> bool:
        return self.value <= self.limit


def main() -> int:
    console = Console(highlight=False)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    measures: list[Measure] = []
    for title, measure in (
        ("start-up", start_up),
        ("size of the deploy image", size),
        ("imports of the deploy jobs", imports),
        ("the whole loop", loop),
        ("a burst of approvals", approvals),
        ("a commit that changes nothing", training_again),
        ("an update that alarms watch", guarded),
        ("how requests are shared by weights", shared),
        ("a page that stays open", watched),
        ("every command and function under every fault, which takes hours", survival),
    ):
        console.print(f"measuring {title} ...", style="dim")
        measures += measure()
    table = Table("promise", "measured", "at most", "", "detail")
    for row in measures:
        mark = "[green]kept[/green]" if row.is_met else "[red]broken[/red]"
        table.add_row(row.name, f"{row.value:.2f} {row.unit}", f"{row.limit:g} {row.unit}", mark, row.detail)
    console.print(table)
    RESULTS.write_text(json.dumps([row._asdict() | {"kept": row.is_met} for row in measures], indent=2) + "\n")
    console.print(f"[dim]written to {RESULTS.relative_to(ROOT)}[/dim]")
    return 0 if all(row.is_met for row in measures) else 1


def start_up() -> list[Measure]:
    """Ratio of `sagemaker-ci`'s quick answers to a bare `python -c pass`, taken in turns so that noise hits both."""
    folder = job_images.FOLDER / "deploy" / "bin"
    commands = {
        "bare": [str(folder / "python"), "-c", "pass"],
        "--version": [str(folder / "sagemaker-ci"), "--version"],
        "a config error": [str(folder / "sagemaker-ci"), "build"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            seconds[name].append(_timed(command))
    bare = statistics.median(seconds["bare"])
    return [
        Measure(
            f"{name} is quick",
            statistics.median(seconds[name]) / bare,
            3,
            "x",
            f"{statistics.median(seconds[name]) * 1000:.0f} ms beside {bare * 1000:.0f} ms for `python -c pass`",
        )
        for name in ("--version", "a config error")
    ]


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    # An empty environment but PATH: the config error is that nothing is set.
    subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False)
    return time.perf_counter() - started


def size() -> list[Measure]:
    """Bytes of everything installed for a deploy job, bytecode included, Python itself left out."""
    deploy, training = (_bytes(job_images.FOLDER / name) for name in job_images.NAMES)
    detail = f"the training image: {training / MEGABYTE:.0f} MB, {training / deploy:.0f} times as much"
    return [Measure("the deploy image is slim, beside Python", deploy / MEGABYTE, 60, "MB", detail)]


def _bytes(image: Path) -> int:
    # uv links files from its cache where it can: a file counts once however many names it has.
    sizes = {(stat.st_dev, stat.st_ino): stat.st_size for stat in map(Path.lstat, image.rglob("*"))}
    return sum(sizes.values())


def imports() -> list[Measure]:
    """Modules that must not be loaded: boto3 by a quick answer, the SageMaker SDK by any deploy job."""
    python = str(job_images.FOLDER / "deploy" / "bin" / "python")

    def loaded(arguments: list[str], module: str) -> bool:
        program = (
            "import sys\nfrom ci_scripts.cli import main\n"
            f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
            f"sys.exit({module!r} in sys.modules)"
        )
        done = subprocess.run([python, "-c", program], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False)
        return bool(done.returncode)

    quick: list[list[str]] = [["--version"], ["--help"], ["build"], ["deploy", "--stage", "staging"]]
    early = sum(loaded(arguments, "boto3") for arguments in quick)
    find = "import importlib.util, sys; sys.exit(importlib.util.find_spec('sagemaker') is not None)"
    sdk = subprocess.run([python, "-c", find], capture_output=True, check=False).returncode
    return [
        Measure("boto3 is not loaded for a quick answer", early, 0, "times", f"{len(quick)} commands tried"),
        Measure("the deploy image has no SageMaker SDK", sdk, 0, "times", "so no deploy job can import it"),
    ]


def loop() -> list[Measure]:
    """Wall time of the demo against the time its SageMaker steps computed, both from the same run."""
    with RESULTS.with_name("demo.log").open("w") as log:
        result = demo.run(ROOT / ".sandbox", Console(file=log, width=120))
    compute, wall = result["compute_seconds"], result["wall_seconds"]
    return [
        Measure(
            "the loop is mostly computing",
            wall / (4 * compute + 30),
            1,
            "x",
            f"{wall:.0f} s, allowed 4 x {compute:.1f} s of steps + 30 s",
        )
    ]


def approvals() -> list[Measure]:
    """1,000 approvals at once: every one starts its pipeline, once, in its project; and what that costs GitLab."""
    result = burst.run(approvals=1000, groups=20)
    lossy = burst.run(approvals=1000, groups=20, limit=1200, lossy=True)
    events = f"{lossy.kills} functions killed, {lossy.started} pipelines started for {lossy.approvals} approvals"
    calls = f"{result.calls} calls to GitLab, of which {result.failures} failed"
    return [
        Measure(
            "no approval is lost, doubled or misled", result.lost + result.double + result.wrong, 0, "times", calls
        ),
        Measure(
            "nor when functions are killed and answers lost",
            lossy.lost + lossy.double + lossy.wrong,
            0,
            "times",
            events,
        ),
        # Every failed call has to be made again; nothing else should.
        Measure(
            "GitLab is asked no more often than it fails",
            result.calls / result.approvals,
            1 + result.failures / result.approvals,
            "calls",
            f"per approval; {result.started} pipelines for {result.approvals} approvals in {result.seconds:.0f} s",
        ),
    ]


def training_again() -> list[Measure]:
    """The seed twice from one commit: nothing is uploaded again; and how often AWS is asked while a run is followed."""
    result = training.measure()
    return [
        Measure(
            "an unchanged commit uploads nothing",
            result.unchanged_bytes,
            0,
            "bytes",
            f"{result.first_bytes:,} bytes of code and definitions the first time",
        ),
        Measure(
            "calls while a run is followed",
            result.calls_a_minute,
            2 * 60 / training.DEFAULT_POLL,
            "calls",
            f"a minute, with a look every {training.DEFAULT_POLL} s; from {result.looks} looks",
        ),
    ]


def guarded() -> list[Measure]:
    """What the guard costs beyond the service's own waits: one call a poll as before, and the next sees the end."""
    result = shifts.measure()
    calls = f"{result.plain_calls:.0f} calls of AWS without, {result.guarded_calls:.0f} with a watch of three seconds"
    return [
        Measure(
            "calls that the guard adds", result.calls, 6, "calls", f"{calls}, one for each poll of the time not counted"
        ),
        Measure("seconds beyond the watch", result.seconds, 4 * shifts.POLL, "s", f"polls every {shifts.POLL} s"),
    ]


def shared() -> list[Measure]:
    """10,000 requests through the API of an endpoint whose variants have the weights 90 and 10."""
    shares = weights.measure()
    answered = f"{shares.answered:.2f} % of {weights.REQUESTS:,} requests"
    detail = f"the challenger answered {answered}, its weight is {shares.configured:g} %"
    return [Measure("weights are kept", abs(shares.answered - shares.configured), 1, "points", detail)]


def watched() -> list[Measure]:
    """The sandbox's page, open while pipelines come one after the other: what it keeps, and how far it is behind."""
    result = watching.measure()
    heap_growth = result.heap_after - result.heap_before
    heap = f"from {result.heap_before / MEGABYTE:.1f} to {result.heap_after / MEGABYTE:.1f} MB"
    server = f"from {result.server_before / MEGABYTE:.0f} to {result.server_after / MEGABYTE:.0f} MB"
    usually = f"usually {statistics.median(result.behind):.1f} s, {len(result.behind)} pipelines"
    return [
        Measure("what an open page keeps", heap_growth / MEGABYTE, 100, "MB", heap),
        Measure(
            "and what its server keeps", (result.server_after - result.server_before) / MEGABYTE, 100, "MB", server
        ),
        Measure("how far it is behind", max(result.behind), 2, "s", usually),
    ]


def survival() -> list[Measure]:
    """Every kind of fault at every call of AWS that a command makes: the next run heals it and leaves nothing."""
    return [
        Measure(
            f"{tally.scenario} survives every fault",
            len(tally.failures),
            0,
            "times",
            f"{tally.survived} of {tally.tried} survived, {tally.red} of them red in between",
        )
        for tally in faults.everything()
    ]


if __name__ == "__main__":
    sys.exit(main())
