"""What GitLab has to show: projects, pipelines as stages of jobs, logs, artifacts, deployments, merge requests.

Every function asks GitLab's REST API by python-gitlab and returns values for the templates.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from gitlab.exceptions import GitlabGetError

from sandbox.console.links import on_page, path_of
from sandbox.console.place import Seen, took

RECENT = 12
"""Pipelines on one page of a project."""
PLAYABLE, RETRYABLE = ("manual", "scheduled"), ("failed", "canceled", "success")
RUNNING = ("created", "waiting_for_resource", "preparing", "pending", "running", "canceling", "scheduled")


class Job(NamedTuple):
    """A job as GitLab draws it."""

    id: int
    name: str
    status: str
    allowed: bool  # to fail
    took: str
    path: str

    @property
    def look(self) -> str:
        """The icon: that of the status, or the warning of a job that was allowed to fail."""
        return "warning" if self.allowed and self.status == "failed" else self.status


class Stage(NamedTuple):
    name: str
    jobs: list[Job]


class Pipeline(NamedTuple):
    """A pipeline, its stages in their order; `facts` is GitLab's answer about it."""

    id: int
    project: str
    status: str
    path: str
    title: str
    stages: list[Stage]
    facts: dict[str, Any]

    @property
    def manual(self) -> list[Job]:
        """The jobs that wait for a person."""
        return [job for stage in self.stages for job in stage.jobs if job.status in PLAYABLE]


def projects(place: Seen) -> list[Any]:
    """The projects that people work in, in the order they were made; the component project is none of them."""
    rows = place.gitlab().projects.list(order_by="id", sort="asc", get_all=True)
    return [row for row in rows if row.path_with_namespace != place.components]


def person(place: Seen, username: str) -> dict[str, str]:
    """Somebody who is known here: who asks, or a member of a group, a bot too. Raises LookupError."""
    client = place.gitlab()
    client.auth()
    members = [each for group in client.groups.list(get_all=True) for each in group.members.list(get_all=True)]
    for each in (client.user, *members):
        if each is not None and each.username == username:
            return {"Name": each.name, "Username": each.username, "State": each.state}
    raise LookupError(username)


def pipelines(project: Any, limit: int = RECENT) -> list[Pipeline]:
    """The newest pipelines, each with its jobs."""
    rows = project.pipelines.list(per_page=limit, page=1, get_all=False)
    jobs = project.jobs.list(per_page=100, page=1, get_all=False) if rows else []
    return [_pipeline(project, row, [job for job in jobs if job.pipeline["id"] == row.id]) for row in rows]


def pipeline(project: Any, number: int) -> Pipeline:
    """One pipeline with all its jobs."""
    row = project.pipelines.get(number)
    return _pipeline(project, row, row.jobs.list(include_retried=True, get_all=True))


def _pipeline(project: Any, row: Any, jobs: Iterable[Any]) -> Pipeline:
    stages: dict[str, dict[str, Job]] = {}
    commit: dict[str, Any] = {}
    for job in sorted(jobs, key=lambda job: job.id):  # a retried job has a higher number, and its first one's place
        stages.setdefault(job.stage, {})[job.name] = job_of(job)
        commit = job.commit
    return Pipeline(
        row.id,
        project.path_with_namespace,
        row.status,
        path_of(row.web_url),
        commit.get("title", ""),
        [Stage(name, list(each.values())) for name, each in stages.items()],
        row.attributes | {"commit": commit},
    )


def job_of(job: Any) -> Job:
    duration = took(job.started_at, job.finished_at)
    return Job(job.id, job.name, job.status, job.allow_failure, duration, path_of(job.web_url))


class Artifacts(NamedTuple):
    """What a job left behind: all paths, the HTML among them, and the links of its annotations."""

    paths: list[str]
    reports: list[str]
    links: list[tuple[str, str]]
    summary: str


def artifacts(place: Seen, project: str, job: Any) -> Artifacts:
    """The files of a finished job's archive; empty if it has none."""
    if not job.attributes.get("artifacts_file"):
        return Artifacts([], [], [], "")
    return _archive(place, project, job.id, job.finished_at)


@lru_cache(maxsize=256)
def _archive(place: Seen, project: str, job: int, finished: str | None) -> Artifacts:
    """An archive is written once, with the job's end."""
    content = place.gitlab().projects.get(project, lazy=True).jobs.get(job, lazy=True).artifacts()
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        paths = [name for name in bundle.namelist() if not name.endswith("/")]
        read = {name: bundle.read(name).decode("utf-8", "replace") for name in paths if _small(bundle, name)}
    summaries = [text for name, text in read.items() if name.endswith("summary.md")]
    links = [link for name, text in read.items() if name.endswith("annotations.json") for link in _links(text)]
    return Artifacts(paths, [name for name in paths if name.endswith(".html")], links, "\n".join(summaries))


def _small(bundle: zipfile.ZipFile, name: str) -> bool:
    return name.endswith(("annotations.json", "summary.md")) and bundle.getinfo(name).file_size < 1_000_000


def _links(annotations: str) -> list[tuple[str, str]]:
    """Label and place of each external link: https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsannotations."""
    rows = [row["external_link"] for each in json.loads(annotations).values() for row in each if "external_link" in row]
    return [(row["label"], path) for row in rows if (path := on_page(row["url"]))]


def trace(project: Any, job: int) -> str:
    """A job's log so far."""
    content: bytes = project.jobs.get(job, lazy=True).trace()
    return content.decode("utf-8", "replace")


def file(project: Any, ref: str, path: str) -> str:
    """A text file of a repository. Raises LookupError if there is none."""
    try:
        content: bytes = project.files.raw(file_path=path, ref=ref)
    except GitlabGetError as error:
        raise LookupError(path) from error
    return content.decode("utf-8", "replace")


def commit_file(project: Any, path: str, content: str, message: str, branch: str) -> str:
    """Change a file as GitLab's editor does; on another branch, with a merge request. The path of what came of it."""
    new = branch != project.default_branch
    request = {
        "branch": branch,
        "commit_message": message or f"Update {path}",
        "actions": [{"action": "update", "file_path": path, "content": content.replace("\r\n", "\n")}],
    }
    existing = {each.name for each in project.branches.list(get_all=True)}
    if new and branch not in existing:
        request["start_branch"] = project.default_branch
    commit = project.commits.create(request)
    if not new:
        return f"/{project.path_with_namespace}"
    opened = project.mergerequests.list(source_branch=branch, state="opened", get_all=True)
    row = opened[0] if opened else project.mergerequests.create(
        {"source_branch": branch, "target_branch": project.default_branch, "title": commit.title}
    )  # fmt: skip
    return path_of(row.web_url)


def changes(project: Any, first: str, last: str) -> list[dict[str, Any]]:
    """The changed files between two commits, each with its diff."""
    answer: dict[str, Any] = project.repository_compare(first, last)
    return list(answer["diffs"])


class MergeRequest(NamedTuple):
    """A merge request with its pipelines, newest first, changed files and comments."""

    facts: Any
    pipelines: list[Pipeline]
    changes: list[dict[str, Any]]
    notes: list[Any]


def merge_request(project: Any, iid: int) -> MergeRequest:
    """One merge request."""
    row = project.mergerequests.get(iid)
    numbers = [each.id for each in row.pipelines.list(get_all=True)][:5]
    base = (row.diff_refs or {}).get("base_sha")
    return MergeRequest(
        row,
        [pipeline(project, number) for number in numbers],
        changes(project, base, row.sha) if base else [],
        row.notes.list(get_all=True, sort="asc"),
    )
