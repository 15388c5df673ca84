"""Every command and function under every fault at every call: the next run ends as requested, and nothing is left.

`python -m bench.faults` tries them all, which takes hours; `python -m bench.faults deploy --part 1/4` a part.
tests/product/test_faults.py holds a selection. Commands call AWS; the Lambda functions of infra/ GitLab, too.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.fault_proxy import CANCELS, FUNCTION_KINDS, KILLS, KINDS, Call, Fault, FaultProxy
from bench.fault_scenarios import FUNCTIONS, SCENARIOS
from bench.fault_scenarios.base import FunctionScenario, Scenario
from sandbox.aws.ground import REGION, ROOT_KEYS
from sandbox.processes import ROOT, Server
from tests.support.servers import Aws

_RUN_SECONDS = 240
_WORKERS = 3


class Run(NamedTuple):
    """What a command did."""

    code: int
    output: str
    errors: str
    calls: list[Call]
    hit: bool


class Outcome(NamedTuple):
    """What a fault came to; no problem: it was survived."""

    scenario: str
    fault: Fault
    hit: bool
    red: bool
    """Whether the command failed, which it may: the next run is what counts."""
    problems: list[str]
    follow_up: str = ""
    """What came after the fault, where several things can."""


def cases(calls: Sequence[Call]) -> Iterator[Fault]:
    """Every kind at every call of an undisturbed run. Of the many looks of a wait: the first, the second, one later.

    Being killed before a look is the same as after it.
    """
    counts = Counter(call.operation for call in calls)
    acting = {call.operation for call in calls if call.acts}
    for operation, count in counts.items():
        for number in sorted({0, 1, count // 2} & set(range(count)) if count > 3 else set(range(count))):
            for kind in KINDS:
                if kind != "kill before" or operation in acting:
                    yield Fault(operation, number, kind)


def function_cases(calls: Sequence[Call], follow_ups: Sequence[str]) -> Iterator[tuple[Fault, str]]:
    """Every kind at every call of an undisturbed run, and what follows: where a function dies, each that may."""
    acting = {call.operation for call in calls if call.acts}
    for call in calls:
        of_gitlab = call.operation.startswith("gitlab.")
        for kind in FUNCTION_KINDS:
            if kind == ("outage" if of_gitlab else "broken") or (
                kind == "kill before" and call.operation not in acting
            ):
                continue
            for follow_up in follow_ups if kind in KILLS else follow_ups[:1]:
                yield Fault(call.operation, call.number, kind), follow_up


def run(scenario: Scenario, proxy: FaultProxy, number: int, attempt: int, fault: Fault | None = None) -> Run:
    """Run the scenario's command once as attempt `attempt` of the GitLab job of case `number`."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    environ |= (
        {"POLL_SECONDS": "0.3", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
        | scenario.environ(number, attempt)
        | {"AWS_ENDPOINT_URL": proxy.url}
    )
    process = subprocess.Popen(
        [scenario.python, "-m", "ci_scripts.cli", *scenario.command],
        cwd=scenario.folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    proxy.watch(process, fault)
    try:
        output, errors = process.communicate(timeout=_RUN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        errors += f"\nstill running after {_RUN_SECONDS} seconds"
    return Run(process.returncode, output, errors, list(proxy.calls), proxy.hit)


def attempt(scenario: Scenario, proxy: FaultProxy, number: int, fault: Fault) -> Outcome:
    """Let `fault` come to the command, then run it again undisturbed."""
    scenario.reset()
    first = run(scenario, proxy, number, 1, fault)
    problems = list(misconduct(first, fault))
    if first.code == 0:
        problems += [f"reported success, but {each}" for each in scenario.problems()]
    second = run(scenario, proxy, number, 2)
    if second.code != 0:
        problems.append(f"the next run failed: {last_line(second.errors)}")
    else:
        problems += [f"after the next run {each}" for each in [*scenario.problems(), *scenario.leftovers()]]
    if "Traceback" in second.errors:
        problems.append("the next run ended in a traceback")
    return Outcome(scenario.title, fault, first.hit, first.code != 0, problems)


def attempt_function(scenario: FunctionScenario, fault: Fault, follow_up: str) -> Outcome:
    """Let `fault` come to the function, and then what follows."""
    played = scenario.play(fault, follow_up)
    return Outcome(scenario.title, fault, played.hit, played.red, played.problems, follow_up)


def misconduct(run: Run, fault: Fault) -> Iterator[str]:
    """What a command must not do, whatever happens to it."""
    if "Traceback" in run.output + run.errors:
        yield "ended in a traceback"
    if not run.hit or fault.kind not in CANCELS:
        return
    late = [call.operation for call in run.calls if call.after_signal and call.acts]
    if late:
        yield f"did {', '.join(late)} after it was cancelled"
    # The signal after the last answer may find a command that is done.
    if run.code == 0 and not (fault.kind == "cancel after" and run.calls[-1].operation == fault.operation):
        yield "was cancelled and ended as a success"
    if run.code > 0 and not re.search(r"^error SMCI-103: .*(cancelled|interrupted)", run.errors, re.MULTILINE):
        yield f"was cancelled and does not say so: {last_line(run.errors)}"


def last_line(text: str) -> str:
    errors = [line for line in text.splitlines() if line.startswith("error ")]
    return (errors or text.strip().splitlines() or ["nothing was said"])[-1][:300]


@contextmanager
def cloud(folder: Path) -> Iterator[Aws]:
    """The sandbox's AWS, for one worker."""
    with Server("sandbox.aws", folder / "aws", "--port", "0") as server:
        variables = {"AWS_ENDPOINT_URL": server.url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        yield Aws(server.url, variables | ROOT_KEYS, folder / "aws")


def explore(name: str, part: tuple[int, int] = (1, 1), only: Iterable[str] = KINDS) -> Iterator[Outcome]:
    """Try a part of the cases of one scenario, in a sandbox of its own."""
    if name in FUNCTIONS:
        yield from _explore_function(name, part)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        cloud(Path(folder)) as aws,
        FaultProxy(aws.url) as proxy,
        closing(SCENARIOS[name](aws, Path(folder) / "repository")) as scenario,
    ):
        scenario.stand_behind(proxy)
        scenario.reset()
        clean = run(scenario, proxy, 1, 1)
        if wrong := [clean.output + clean.errors] if clean.code else [*scenario.problems(), *scenario.leftovers()]:
            raise SystemExit(f"{name}: the undisturbed run is wrong: {'; '.join(wrong)}")
        every = [fault for fault in cases(clean.calls) if fault.kind in only]
        for number, fault in enumerate(every, start=1):
            if (number - part[0]) % part[1] == 0:
                yield attempt(scenario, proxy, number + 1, fault)


def _explore_function(name: str, part: tuple[int, int]) -> Iterator[Outcome]:
    with (
        tempfile.TemporaryDirectory() as folder,
        cloud(Path(folder)) as aws,
        FaultProxy(aws.url) as proxy,
        closing(FUNCTIONS[name](aws, Path(folder) / "function", proxy)) as scenario,
    ):
        clean = scenario.play(None)
        if clean.problems:
            raise SystemExit(f"{name}: the undisturbed run is wrong: {'; '.join(clean.problems)}")
        for number, (fault, follow_up) in enumerate(function_cases(clean.calls, scenario.follow_ups)):
            if (number - part[0] + 1) % part[1] == 0:
                yield attempt_function(scenario, fault, follow_up)


class Tally(NamedTuple):
    """The result of one scenario."""

    scenario: str
    tried: int
    red: int
    failures: list[Outcome]

    @property
    def survived(self) -> int:
        return self.tried - len(self.failures)

    def __str__(self) -> str:
        return f"{self.scenario}: {self.survived} of {self.tried} faults survived ({self.red} red in between)"


def everything(
    names: Iterable[str] = (*SCENARIOS, *FUNCTIONS), part: tuple[int, int] = (1, 1), *, verbose: bool = False
) -> Iterator[Tally]:
    """All cases of the scenarios, `_WORKERS` scenarios at a time."""

    def tally(name: str) -> Tally:
        outcomes = []
        for outcome in explore(name, part):
            outcomes.append(outcome)
            if verbose or outcome.problems:
                what = f"{outcome.fault}{outcome.follow_up and f', then {outcome.follow_up}'}"
                print(f"{name}: {what}: {'; '.join(outcome.problems) or 'survived'}", flush=True)
        hit = [each for each in outcomes if each.hit]  # what a run no longer asks, no fault can come to
        return Tally(name, len(hit), sum(each.red for each in hit), [each for each in hit if each.problems])

    with ThreadPoolExecutor(_WORKERS) as pool:
        yield from pool.map(tally, names)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"some of: {', '.join((*SCENARIOS, *FUNCTIONS))} (default: all)"
    )
    parser.add_argument("--part", default="1/1", help="the first of four parts: 1/4")
    parser.add_argument("--verbose", action="store_true", help="print every case, not only those that fail")
    arguments = parser.parse_args()
    names = [
        name for name in (*SCENARIOS, *FUNCTIONS) if not arguments.names or name.startswith(tuple(arguments.names))
    ]
    index, parts = map(int, arguments.part.split("/"))
    began, broken = time.monotonic(), 0
    for tally in everything(names, (index, parts), verbose=arguments.verbose):
        print(tally, flush=True)
        broken += len(tally.failures)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
