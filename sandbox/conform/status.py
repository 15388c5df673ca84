"""Judge of statuses: those of several jobs → the one of their stage or pipeline, or of the needs of a job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.conform.verdicts import Verdict
from sandbox.gitlab.run.scheduling import COMPLETED, JobState, composite


def recognises(document: Any) -> bool:
    """A list of cases with jobs, each of a status."""
    return isinstance(document, list) and bool(document) and all({"id", "jobs", "needed"} <= c.keys() for c in document)


def verdicts(document: Any) -> Iterator[Verdict]:
    for case in document:
        jobs = [
            JobState(str(number), 0, job["status"], allow_failure=job["allow_failure"])
            for number, job in enumerate(case["jobs"])
        ]
        actual, expected = composite(jobs, needed=case["needed"]), case["expect"]
        # Of needs only this counts: whether they are done.
        same = (actual in COMPLETED) == (expected in COMPLETED) if case["needed"] else actual == expected
        yield Verdict(case["id"], None if same else f"{actual}; GitLab: {expected}")
