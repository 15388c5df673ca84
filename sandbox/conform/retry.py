"""Judge of automatic retries: a job's `retry` and its failure → whether it runs again by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.conform.verdicts import Verdict
from sandbox.gitlab.config.normal import retry
from sandbox.gitlab.run.scheduling import retries_left


def recognises(document: Any) -> bool:
    """A list of cases with a failure and the retries so far."""
    return isinstance(document, list) and bool(document) and all({"id", "retries_so_far"} <= c.keys() for c in document)


def verdicts(document: Any) -> Iterator[Verdict]:
    for case in document:
        written = None if case["retry"] is None else retry(case["retry"])
        actual = retries_left(written, case["retries_so_far"], case["failure_reason"], case["exit_code"])
        same = actual == case["expect"]["retried"]
        yield Verdict(case["id"], None if same else f"retried: {actual}; GitLab: {case['expect']['retried']}")
