"""Every table of a folder through its judge; what agrees, what differs, what is known to."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

from sandbox.conform.verdicts import Judge, Verdict, reason

# Asked in this order; the first that recognises a file's format judges it.
JUDGES: tuple[str, ...] = (
    "aws",
    "serving",
    "training",
    "engine",
    "dotenv",
    "status",
    "retry",
    "rest",
)


class Result(NamedTuple):
    """One file: the judge's name, every verdict, and the reason of each difference that is known."""

    judge: str
    verdicts: list[Verdict]

    @property
    def agreeing(self) -> int:
        return sum(verdict.difference is None for verdict in self.verdicts)

    def differences(self) -> Iterator[tuple[Verdict, str | None]]:
        """Each case that differs, with the reason if it is a known one."""
        for verdict in self.verdicts:
            if verdict.difference is not None:
                yield verdict, reason(self.judge, verdict)


def judge_file(path: Path) -> Result | None:
    """Run the cases of one file; None if no judge knows its format. Raises ValueError for a file that is not JSON."""
    document: Any = json.loads(path.read_text(encoding="utf-8"))
    for name in JUDGES:
        judge = cast(Judge, importlib.import_module(f"sandbox.conform.{name}"))
        if judge.recognises(document):
            return Result(name, list(judge.verdicts(document)))
    return None


def run(folder: Path, say: Callable[[str], None]) -> int:
    """Judge every JSON file below `folder` and say what came of it; 1 if a difference is not a known one."""
    paths = sorted(folder.rglob("*.json")) if folder.is_dir() else [folder]
    if not paths:
        say(f"{folder} has no JSON file")
        return 1
    unlisted = 0
    for path in paths:
        name = path.relative_to(folder) if path != folder else Path(path.name)
        try:
            result = judge_file(path)
        except (OSError, ValueError) as error:
            say(f"{name}: cannot be read: {error}")
            unlisted += 1
            continue
        if result is None:
            say(f"{name}: no judge knows this format")
            unlisted += 1
            continue
        say(f"{name}: {result.agreeing} of {len(result.verdicts)} agree")
        for verdict, why in result.differences():
            unlisted += why is None
            say(f"  {verdict.case}: {verdict.difference}" + (f" [known: {why}]" if why else ""))
    if unlisted:
        say(f"{unlisted} differences without a reason")
    return 1 if unlisted else 0
