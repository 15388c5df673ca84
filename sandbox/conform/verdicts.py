"""What a judge says of one case, and which differences are known, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import yaml

_ACCEPTED = Path(__file__).with_name("known.yml")


class Verdict(NamedTuple):
    """One case: its id, and in one line how the sandbox differs from the authority (None: it agrees)."""

    case: str
    difference: str | None


class Judge(Protocol):
    """A module that runs the cases of one format."""

    __name__: str

    def recognises(self, document: Any) -> bool:
        """Whether the parsed JSON of a file has this judge's format."""
        ...

    def verdicts(self, document: Any) -> Iterator[Verdict]:
        """Every case of the file, run against the sandbox."""
        ...


class AcceptedDifference(NamedTuple):
    """A difference that stays: which judge and cases it concerns, what it says (a regular expression), and why."""

    judge: str
    cases: str
    difference: str
    reason: str

    def covers(self, judge: str, verdict: Verdict) -> bool:
        return (
            judge == self.judge
            and re.fullmatch(self.cases, verdict.case) is not None
            and re.search(self.difference, verdict.difference or "") is not None
        )


@cache
def accepted() -> Sequence[AcceptedDifference]:
    """The list in known.yml; `cases` and `difference` may be left out there and then stand for every one."""
    entries = yaml.safe_load(_ACCEPTED.read_text(encoding="utf-8")) or []
    return [AcceptedDifference(**{"cases": ".*", "difference": "", **entry}) for entry in entries]


def reason(judge: str, verdict: Verdict) -> str | None:
    """Why this difference stays, or None if nobody has said so."""
    return next((entry.reason for entry in accepted() if entry.covers(judge, verdict)), None)
