"""Where contradictions to an authority are written, and the list of those that stay."""

from __future__ import annotations

import json
import os
import re
import threading
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

VARIABLE = "SANDBOX_AWS_VIOLATIONS"
"""The environment variable that names the file; without it nothing is checked."""
_EXCEPTIONS = Path(__file__).with_name("exceptions.yml")
_lock = threading.Lock()


class AcceptedViolation(NamedTuple):
    """A contradiction that stays: regular expressions for `service:Operation` and for the text, and the reason."""

    call: str
    problem: str
    reason: str


@cache
def accepted() -> list[AcceptedViolation]:
    entries = yaml.safe_load(_EXCEPTIONS.read_text(encoding="utf-8")) or []
    return [AcceptedViolation(**{"problem": "", **entry}) for entry in entries]


def enabled() -> bool:
    return VARIABLE in os.environ


def unlisted(call: str, problems: list[str]) -> list[str]:
    """The problems that no exception covers."""
    for_call = [each for each in accepted() if re.fullmatch(each.call, call)]
    return [problem for problem in problems if not any(re.search(each.problem, problem) for each in for_call)]


def write(authority: str, call: str, problems: list[str], **facts: Any) -> None:
    """One line a call; the tests end with an error if there is any."""
    line = {"authority": authority, "call": call, "problems": problems, **facts}
    with _lock, Path(os.environ[VARIABLE]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
