"""What a person looks at while the loop runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

FINISHED = {"success", "failed", "canceled", "skipped", "manual"}


def finished(project: Any, which: Callable[[Any], bool], status: set[str] = FINISHED, seconds: float = 120) -> Any:
    """The project's newest pipeline that is meant, once it has come to rest."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pipeline = next((each for each in project.pipelines.list(get_all=True) if which(each)), None)
        if pipeline is not None and pipeline.status in status:
            return pipeline
        time.sleep(0.3)
    raise AssertionError(f"no such pipeline came to rest: {project.pipelines.list(get_all=True)}")


def log(project: Any, pipeline: Any, name: str) -> str:
    job = next(each for each in pipeline.jobs.list(get_all=True) if each.name == name)
    text: str = project.jobs.get(job.id).trace().decode()
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]|section_\w+:\d+:\S*\r", "", text)


def statuses(pipeline: Any) -> dict[str, str]:
    return {job.name: job.status for job in pipeline.jobs.list(get_all=True)}


def merge_request(project: Any, branch: str) -> Any:
    request = project.mergerequests.create({"source_branch": branch, "target_branch": "main", "title": branch})
    return finished(project, lambda pipeline: pipeline.ref == f"refs/merge-requests/{request.iid}/head")
