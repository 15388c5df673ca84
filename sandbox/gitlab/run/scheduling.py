"""What happens next in a pipeline, decided from its jobs' statuses alone. Pure; `pipelines.py` carries it out.

The rules are those of GitLab's lib/gitlab/ci/status/composite.rb, lib/gitlab/ci/build/auto_retry.rb and
app/services/ci/process_build_service.rb.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

COMPLETED = frozenset({"success", "failed", "canceled", "skipped"})
RETRYABLE = frozenset({"success", "failed", "canceled"})
CANCELABLE = frozenset(
    {
        "created", "preparing", "waiting_for_resource", "waiting_for_callback", "pending", "running", "manual",
        "scheduled",
    }
)  # fmt: skip
BLOCKED = frozenset({"manual", "scheduled"})  # a pipeline that waits for a person or for a time
_UNASKED_RETRIES = {"scheduler_failure": 2}
_NEVER_RETRIED = frozenset(
    {
        "ci_quota_exceeded", "no_matching_runner", "missing_dependency_failure", "forward_deployment_failure",
        "environment_creation_failure",
    }
)  # fmt: skip


class JobState(NamedTuple):
    """What scheduling looks at; `needs` is None for a job that waits for the stages before it."""

    name: str
    stage: int
    status: str
    when: str = "on_success"
    allow_failure: bool = False
    needs: tuple[str, ...] | None = None


def composite(jobs: Iterable[JobState], *, needed: bool = False) -> str:
    """One status for several jobs: of a pipeline, of the stages before a job, or of the jobs it needs (`needed`)."""
    statuses = {_counted(job) for job in jobs}
    if not statuses:
        return "success"
    if needed and statuses & {"skipped", "ignored"}:
        return "skipped"
    for result, only in (
        ("skipped", {"skipped", "ignored"}),
        ("success", {"success", "skipped", "warning", "ignored"}),
        ("created", {"created", "warning", "ignored"}),
        ("preparing", {"preparing", "warning", "ignored"}),
        ("canceled", {"canceled", "success", "skipped", "warning", "ignored"}),
        ("pending", {"pending", "created", "skipped", "warning", "ignored"}),
    ):
        if statuses <= only:
            return result
    if statuses & {"running", "pending"}:
        return "running"
    for status in ("waiting_for_resource", "waiting_for_callback", "manual", "scheduled", "preparing"):
        if status in statuses:
            return status
    if "created" in statuses:
        return "running"
    return "canceling" if "canceling" in statuses else "failed"


def _counted(job: JobState) -> str:
    if job.allow_failure and job.status in ("failed", "canceled"):
        return "warning"
    return "ignored" if job.allow_failure and job.status == "manual" else job.status


def next_status(job: JobState, jobs: Sequence[JobState]) -> str | None:
    """What becomes of a `created` job: `pending`, `manual` or `skipped`; None as long as it has to wait."""
    if job.needs is None:
        before = composite(other for other in jobs if other.stage < job.stage)
    else:
        before = composite((other for other in jobs if other.name in job.needs), needed=True)
    if before not in COMPLETED:
        return None
    if before not in _runs_after(job):
        return "skipped"
    return "manual" if job.when == "manual" else "pending"


def _runs_after(job: JobState) -> set[str]:
    if job.when == "on_failure":
        return {"failed"}
    if job.when == "always":
        return {"success", "failed", "skipped"}
    return {"success"} if job.needs is not None else {"success", "skipped"}


def changes(jobs: Sequence[JobState]) -> dict[str, str]:
    """The next status of every `created` job that has one, decided stage by stage so that a skip carries on."""
    current = {job.name: job for job in jobs}
    decided: dict[str, str] = {}
    for _ in jobs:  # a job may need one of its own stage: repeat until nothing changes any more
        next_statuses = {
            job.name: status
            for job in sorted(current.values(), key=lambda job: job.stage)
            if job.status == "created" and (status := next_status(job, list(current.values())))
        }
        if not next_statuses:
            break
        decided |= next_statuses
        current |= {name: current[name]._replace(status=status) for name, status in next_statuses.items()}
    return decided


def revived(jobs: Sequence[JobState], name: str) -> set[str]:
    """The skipped jobs that get another chance when `name` runs again: those after it, by stage or by needs."""
    by_name = {job.name: job for job in jobs}
    start = by_name[name]
    names: set[str] = set()
    for job in sorted(jobs, key=lambda job: job.stage):
        after = job.stage > start.stage if job.needs is None else _leads_to(job, name, by_name)
        if job.status == "skipped" and after:
            names.add(job.name)
    return names


def _leads_to(job: JobState, name: str, jobs: Mapping[str, JobState]) -> bool:
    needs = job.needs or ()
    return name in needs or any(_leads_to(jobs[need], name, jobs) for need in needs if need in jobs)


def retries_left(retry: Mapping[str, Any] | None, retries: int, reason: str, exit_code: int | None) -> bool:
    """Whether a failed job runs again by itself, after `retries` of them; `retry` is its keyword in the long form."""
    if reason in _NEVER_RETRIED:
        return False
    return retries < (_asked_retries(retry or {}, reason, exit_code) or _UNASKED_RETRIES.get(reason, 0))


def _asked_retries(retry: Mapping[str, Any], reason: str, exit_code: int | None) -> int | None:
    """How often the keyword lets a job run again after a failure of this kind; None if it says nothing of it."""
    codes = retry.get("exit_codes")
    whens = retry.get("when")
    if whens is None:
        whens = ["always"] if codes is None else []
    applies = reason in whens or "always" in whens or (exit_code is not None and exit_code in (codes or ()))
    return int(retry["max"]) if applies and retry.get("max") is not None else None


def superseded(deployment: int, sha: str, last_id: int | None, last_sha: str | None) -> bool:
    """Whether a newer deployment to the environment has already succeeded ("prevent outdated deployment jobs")."""
    return last_id is not None and last_sha != sha and deployment < last_id


def next_of_resource_group(mode: str, jobs: Sequence[tuple[int, str]]) -> int | None:
    """Which of a resource group's jobs (pipeline, status) gets the free resource: its index, None if none does yet.

    `oldest_first` and `newest_first` wait for jobs that are still to come: app/models/ci/resource_group.rb.
    """
    upcoming = {"waiting_for_resource"} | (
        {"created", "scheduled"} if mode in ("oldest_first", "newest_first") else set()
    )
    candidates = [index for index, (_, status) in enumerate(jobs) if status in upcoming]
    if not candidates:
        return None
    if mode != "unordered":
        sign = 1 if mode == "oldest_first" else -1

        def turn(index: int) -> tuple[int, bool]:
            pipeline, status = jobs[index]
            return sign * pipeline, status != "waiting_for_resource"

        candidates.sort(key=turn)
    first = candidates[0]
    return first if jobs[first][1] == "waiting_for_resource" else None
