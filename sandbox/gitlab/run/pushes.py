"""What follows a change of branches and tags, by whatever way it came. For the API and for git."""

from __future__ import annotations

from sandbox.gitlab.records.store import Project, User
from sandbox.gitlab.run.pipelines import Engine, PushOptions


def after_push(
    engine: Engine, project: Project, user: User, before: dict[str, str], options: PushOptions | None = None
) -> None:
    """Protect a first default branch, start pipelines, as GitLab does."""
    after = project.repository.refs()
    default = f"refs/heads/{project.default_branch}"
    with engine.store.lock:
        if default in after and default not in before and not project.protected_branches:
            engine.store.protect(project, project.default_branch)
    engine.pushed(project, user, before, after, options or PushOptions())
