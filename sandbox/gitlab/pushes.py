"""What follows a change of branches and tags, by whatever way it came. For the API and for git."""

from __future__ import annotations

from sandbox.gitlab.api import Api
from sandbox.gitlab.pipelines import PushOptions
from sandbox.gitlab.store import Project, User


def after_push(
    api: Api, project: Project, user: User, before: dict[str, str], options: PushOptions | None = None
) -> None:
    """Protect a first default branch, start pipelines, as GitLab does."""
    after = project.repository.refs()
    default = f"refs/heads/{project.default_branch}"
    with api.store.lock:
        if default in after and default not in before and not project.protected_branches:
            api.store.protect(project, project.default_branch)
    api.engine.pushed(project, user, before, after, options or PushOptions())
