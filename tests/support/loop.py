"""What a person looks at while the loop runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.support.waiting import wait_for

FINISHED = {"success", "failed", "canceled", "skipped", "manual"}


def finished(project: Any, which: Callable[[Any], bool], status: set[str] = FINISHED, seconds: float = 120) -> Any:
    """The project's newest pipeline that is meant, once it has come to rest."""

    def at_rest() -> Any:
        pipeline = next((each for each in project.pipelines.list(get_all=True) if which(each)), None)
        return pipeline if pipeline is not None and pipeline.status in status else None

    return wait_for(at_rest, "a pipeline at rest", seconds)


def log(project: Any, pipeline: Any, name: str) -> str:
    job = next(each for each in pipeline.jobs.list(get_all=True) if each.name == name)
    text: str = project.jobs.get(job.id).trace().decode()
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]|section_\w+:\d+:\S*\r", "", text)


def statuses(pipeline: Any) -> dict[str, str]:
    return {job.name: job.status for job in pipeline.jobs.list(get_all=True)}


def merge_request(project: Any, branch: str) -> Any:
    request = project.mergerequests.create({"source_branch": branch, "target_branch": "main", "title": branch})
    return finished(project, lambda pipeline: pipeline.ref == f"refs/merge-requests/{request.iid}/head")
