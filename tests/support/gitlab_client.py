"""What tests do with the sandbox's GitLab: commit, wait for pipelines and jobs, read logs."""

from __future__ import annotations

import uuid
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import gitlab

from tests.support.waiting import wait_for

_SECONDS = 60


class GitLab(NamedTuple):
    """A running sandbox.gitlab: its URL, the administrator's token and client, its state folder."""

    url: str
    token: str
    client: gitlab.Gitlab
    state: Path

    def user(self, project_or_group: Any, level: int, scopes: tuple[str, ...] = ("api",)) -> gitlab.Gitlab:
        """A client of a new member with this access level."""
        name = f"user-{uuid.uuid4().hex[:8]}"
        user = self.client.users.create(
            {"username": name, "name": name, "email": f"{name}@example.com", "reset_password": True}
        )
        if level:
            project_or_group.members.create({"user_id": user.id, "access_level": level})
        token = user.personal_access_tokens.create({"name": "test", "scopes": list(scopes)})
        return gitlab.Gitlab(self.url, private_token=token.token)


def access_token(project: Any, level: int) -> str:
    """A project access token with the scope `api` that is valid for a month."""
    expiry = f"{date.today() + timedelta(days=30)}"
    settings = {"name": "test", "scopes": ["api"], "access_level": level, "expires_at": expiry}
    return str(project.access_tokens.create(settings).token)


def commit(project: Any, files: dict[str, str], branch: str = "main", **more: Any) -> Any:
    """Commit files (created or updated) to a branch."""
    existing = set()
    if project.branches.list(search=branch):
        existing = {entry["path"] for entry in project.repository_tree(ref=branch, recursive=True, get_all=True)}
    actions = [
        {"action": "update" if path in existing else "create", "file_path": path, "content": content}
        for path, content in files.items()
    ]
    return project.commits.create({"branch": branch, "commit_message": "Change", "actions": actions, **more})


def pipeline_of(project: Any, sha: str, **filters: str) -> Any:
    """The pipeline that a push has started, which takes GitLab a moment."""
    return wait_for(lambda: project.pipelines.list(sha=sha, **filters), f"pipeline for {sha}")[0]


def settled(project: Any, pipeline: Any, *statuses: str, seconds: float = _SECONDS) -> Any:
    """The pipeline when it has come to rest, or to one of `statuses`."""
    expected = statuses or ("success", "failed", "canceled", "skipped", "manual")

    def look() -> Any:
        current = project.pipelines.get(pipeline.id)
        return current if current.status in expected else None

    return wait_for(look, f"pipeline in {expected}", seconds)


def run(project: Any, configuration: str, **files: str) -> Any:
    """Commit a configuration and wait until its pipeline has come to rest."""
    pushed = commit(project, {".gitlab-ci.yml": configuration, **files})
    return settled(project, pipeline_of(project, pushed.id))


def job_of(project: Any, pipeline: Any, name: str) -> Any:
    return next(project.jobs.get(job.id) for job in pipeline.jobs.list(get_all=True) if job.name == name)


def statuses(pipeline: Any) -> dict[str, str]:
    return {job.name: job.status for job in pipeline.jobs.list(get_all=True)}


def reached(project: Any, job: Any, *expected: str) -> Any:
    def look() -> Any:
        current = project.jobs.get(job.id)
        return current if current.status in expected else None

    return wait_for(look, f"job in {expected}")


def log_of(project: Any, pipeline: Any, name: str) -> str:
    return str(job_of(project, pipeline, name).trace().decode())


def add_to_catalog(server: GitLab, project: Any) -> None:
    """What the switch "CI/CD catalog project" in a project's settings does."""
    path = project.path_with_namespace
    mutation = f'mutation {{ catalogResourcesCreate(input: {{projectPath: "{path}"}}) {{ errors }} }}'
    answer = server.client.http_post(f"{server.url}/api/graphql", post_data={"query": mutation})
    assert answer == {"data": {"catalogResourcesCreate": {"errors": []}}}


def publish(server: GitLab, project: Any, tag: str) -> None:
    """Publish a tag in the CI/CD catalog, which the project joins, as a job with `release:` does."""
    add_to_catalog(server, project)
    project.releases.create({"tag_name": tag, "description": tag})
    server.client.http_post(f"/projects/{project.id}/catalog/publish", post_data={"version": tag, "metadata": {}})


def first_pipeline(project: Any, seconds: float = 120) -> str:
    """How the pipeline of the seed's commit ended."""

    def ended() -> list[str] | None:
        statuses = [str(each.status) for each in project.pipelines.list(get_all=True)]
        return statuses if set(statuses) <= {"success", "failed", "canceled", "skipped"} else None

    [status] = wait_for(ended, "the end of the first pipeline", seconds)
    return str(status)
