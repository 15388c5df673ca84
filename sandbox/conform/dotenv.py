"""Judge of dotenv reports: a text → its variables, or why GitLab refuses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.conform.verdicts import Verdict
from sandbox.gitlab.run.artifacts import InvalidReport, parse_dotenv


def recognises(document: Any) -> bool:
    """A list of cases with a text."""
    return isinstance(document, list) and bool(document) and all({"id", "text", "expect"} <= c.keys() for c in document)


def verdicts(document: Any) -> Iterator[Verdict]:
    for case in document:
        seen: dict[str, Any]
        try:
            seen = {"variables": parse_dotenv(case["text"].encode())}
        except InvalidReport as error:
            seen = {"refused": str(error)}
        same = "refused" in seen if "refused" in case["expect"] else seen == case["expect"]
        yield Verdict(case["id"], None if same else f"{seen}; GitLab: {case['expect']}")
