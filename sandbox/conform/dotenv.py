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
        actual: dict[str, Any]
        try:
            actual = {"variables": parse_dotenv(case["text"].encode())}
        except InvalidReport as error:
            actual = {"refused": str(error)}
        same = "refused" in actual if "refused" in case["expect"] else actual == case["expect"]
        yield Verdict(case["id"], None if same else f"{actual}; GitLab: {case['expect']}")
