"""What was deployed to each environment of a project, and which job brings it back: GitLab's own two buttons.

Operate > Environments: the newest deployment that succeeded can be deployed again, those before it be rolled back to.
Both retry the deployment's job: https://docs.gitlab.com/ci/environments/deployments/#retry-or-roll-back-a-deployment.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sandbox.console import repositories
from sandbox.console.links import of_arn
from sandbox.console.place import Seen
from sandbox.console.repositories import Job

RECENT = 12
"""Deployments of an environment that are shown."""
_PACKAGE = re.compile(r"arn:[\w-]+:sagemaker:[\w-]*:\d*:model-package/[\w/-]*\d")


class Deployed(NamedTuple):
    """One deployment. `button` is what GitLab offers for it, empty where it offers nothing."""

    number: int
    status: str
    job: Job | None
    version: str
    version_path: str
    commit: str
    by: str
    when: str
    button: str


class Environment(NamedTuple):
    """An environment, its deployments with the newest first, and the job that takes the newest back, if one waits."""

    name: str
    state: str
    rows: list[Deployed]
    rollback: Job | None


class Drift(NamedTuple):
    """The newest look for drift that left a report, and the path of the report among the job's artifacts."""

    job: Job
    report: str


def environments(place: Seen, project: Any) -> list[Environment]:
    """The environments of a project in GitLab's order."""
    rows = project.environments.list(get_all=True)
    jobs = project.jobs.list(per_page=100, page=1, get_all=False) if rows else []
    newest = _newest(jobs)
    return [_environment(place, project, row, newest) for row in rows]


def _newest(jobs: list[Any]) -> dict[tuple[int, str], Any]:
    """The last run of each job of each pipeline: GitLab retries no other one."""
    newest: dict[tuple[int, str], Any] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        newest[job.pipeline["id"], job.name] = job
    return newest


def _environment(place: Seen, project: Any, row: Any, newest: dict[tuple[int, str], Any]) -> Environment:
    listed = project.deployments.list(environment=row.name, order_by="id", sort="desc",
                                      per_page=RECENT, page=1, get_all=False)  # fmt: skip
    last = next((each.id for each in listed if each.status == "success"), None)
    shown = [_deployed(place, project, each, newest, last) for each in listed]
    waiting = [job for (_, name), job in newest.items() if name.endswith("rollback") and job.status == "manual"]
    serves = row.state == "available" and last is not None and row.tier == "production"
    rollback = repositories.job_of(max(waiting, key=lambda job: job.id)) if waiting and serves else None
    return Environment(row.name, row.state, shown, rollback)


def _deployed(place: Seen, project: Any, row: Any, newest: dict[tuple[int, str], Any], last: int | None) -> Deployed:
    facts = row.deployable
    job, arn, button = None, "", ""
    if facts:
        newest_run = newest.get((facts["pipeline"]["id"], facts["name"]))
        whole = project.jobs.get(facts["id"]) if newest_run is None or newest_run.id != facts["id"] else newest_run
        job, arn = repositories.job_of(whole), _package(place, project, whole)
        if row.status == "success" and (newest_run is None or newest_run.id == facts["id"]):
            button = "Re-deploy" if row.id == last else "Roll back"
    return Deployed(
        row.iid,
        row.status,
        job,
        arn.rpartition("/")[2],
        of_arn(arn) if arn else "",
        row.sha[:8],
        row.user["name"],
        row.created_at,
        button,
    )


def _package(place: Seen, project: Any, job: Any) -> str:
    """The model package that a deployment's job names first in its summary; empty if it names none."""
    match = _PACKAGE.search(repositories.artifacts(place, project.path_with_namespace, job).summary)
    return match[0] if match else ""


def drift(place: Seen, project: Any) -> Drift | None:
    """The newest look for drift in the project's pipelines."""
    for row in project.jobs.list(per_page=100, page=1, scope=["success", "failed"], get_all=False):
        if row.name.endswith("drift"):
            reports = repositories.artifacts(place, project.path_with_namespace, row).reports
            if reports:
                return Drift(repositories.job_of(row), reports[0])
    return None


def schedules(project: Any) -> list[tuple[Any, str]]:
    """The schedules of a project, each with the path of its last pipeline, empty if none has run."""
    rows = [project.pipelineschedules.get(each.id) for each in project.pipelineschedules.list(get_all=True)]
    base = f"/{project.path_with_namespace}/-/pipelines"
    return [(row, f"{base}/{row.last_pipeline['id']}" if row.last_pipeline else "") for row in rows]
