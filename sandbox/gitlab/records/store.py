"""Where the sandbox's GitLab keeps its records, in memory but for the repositories.

Look-ups, and whose role suffices for what. Rules of the API live in the modules of `rest/`, scheduling in
`scheduling.py`.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from sandbox import keeping
from sandbox.gitlab.records.records import (
    DEVELOPER,
    GUEST,
    MAINTAINER,
    OWNER,
    REPORTER,
    DeployLevel,
    Deployment,
    Environment,
    Group,
    Job,
    MergeRequest,
    Note,
    Pipeline,
    Project,
    ProtectedBranch,
    ProtectedEnvironment,
    Release,
    Schedule,
    Token,
    Trigger,
    User,
    Variable,
    now,
)

__all__ = [
    "DEVELOPER",
    "GUEST",
    "MAINTAINER",
    "OWNER",
    "REPORTER",
    "DeployLevel",
    "Deployment",
    "Environment",
    "Group",
    "Job",
    "MergeRequest",
    "Note",
    "Pipeline",
    "Project",
    "ProtectedBranch",
    "ProtectedEnvironment",
    "Release",
    "Schedule",
    "Store",
    "Token",
    "Trigger",
    "User",
    "Variable",
    "now",
]


_SAVED = ("users", "groups", "projects", "tokens", "_vacated", "_counters")

_OVERRIDE_LEVELS = {"developer": DEVELOPER, "maintainer": MAINTAINER, "owner": OWNER}


class Store:
    """Every record, and the counters that number them as GitLab does: ids per kind over the whole instance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.users: list[User] = []
        self.groups: list[Group] = []
        self.projects: list[Project] = []
        self.tokens: list[Token] = []
        self._vacated: dict[str, Project] = {}
        self._counters: Counter[str] = Counter()

    def next_id(self, kind: str) -> int:
        with self.lock:
            self._counters[kind] += 1
            return self._counters[kind]

    def write(self, path: Path) -> None:
        """Keep all records."""
        keeping.write(path, [getattr(self, name) for name in _SAVED])

    def read(self, path: Path) -> None:
        """Take up the records of a file that `write` wrote."""
        for name, value in zip(_SAVED, keeping.read(path), strict=True):
            setattr(self, name, value)

    def add_user(self, username: str, name: str, *, admin: bool = False, bot: bool = False) -> User:
        user = User(self.next_id("user"), username, name, self.next_id("namespace"), admin, bot)
        self.users.append(user)
        return user

    def add_token(self, user: User, name: str, scopes: list[str], **more: Any) -> Token:
        token = Token(self.next_id("token"), name, user, scopes, f"glpat-{secrets.token_hex(10)}", **more)
        self.tokens.append(token)
        return token

    def use(self, token: Token) -> None:
        token.last_used_at = now()

    def find_token(self, value: str) -> Token | None:
        return next((token for token in self.tokens if token.value == value), None)

    def find_running_job(self, token: str) -> Job | None:
        """The job a CI_JOB_TOKEN belongs to; the token is valid only while the job runs."""
        jobs = (job for project in self.projects for job in project.jobs())
        return next((job for job in jobs if job.token == token and job.status in ("running", "canceling")), None)

    def find_job(self, token: str) -> Job | None:
        """The job a CI_JOB_TOKEN belongs to, or did while it ran."""
        return next((job for project in self.projects for job in project.jobs() if job.token == token), None)

    def job_reaches(self, job: Job, project: Project) -> bool:
        """Whether a job's token may be used for a project: its own, one that allows it, or one that is not private."""
        return (
            project is job.project
            or job.project in project.allowlist
            or project.visibility != "private"
            or not project.job_token_scope_enabled
        )

    def find_group(self, reference: str) -> Group | None:
        return next((g for g in self.groups if reference in (str(g.id), g.full_path)), None)

    def find_project(self, reference: str) -> Project | None:
        return next((p for p in self.projects if reference in (str(p.id), p.full_path)), None)

    def vacate(self, project: Project) -> None:
        """The project leaves its path: it is about to be renamed, moved or deleted."""
        self._vacated[project.full_path.lower()] = project

    def find_moved_project(self, path: str) -> Project | None:
        """The project that was at this path and is elsewhere now."""
        project = self._vacated.get(path.lower())
        return project if project in self.projects else None

    def is_burned(self, project: Project) -> bool:
        """Whether another project was at this one's path before."""
        return self._vacated.get(project.full_path.lower(), project) is not project

    def has_gone(self, user: User) -> bool:
        """Whether a bot is deleted, and with it its memberships and trigger tokens: no token of it is active.

        GitLab waits for thirty days. https://docs.gitlab.com/user/group/settings/group_access_tokens/
        """
        active = (token for token in self.tokens if not (token.revoked or token.expired))
        return user.bot and all(token.user is not user for token in active)

    def access_level(self, user: User | None, source: Project | Group) -> int:
        """The user's role: the highest of direct and inherited memberships, 0 for none."""
        if user is None or self.has_gone(user):
            return 0
        if user.admin:
            return OWNER
        if isinstance(source, Project) and source.namespace is user:
            return OWNER
        group = source.group if isinstance(source, Project) else source
        levels = [ancestor.members.get(user.id, 0) for ancestor in (group.lineage() if group else [])]
        if isinstance(source, Project):
            levels.append(source.members.get(user.id, 0))
        return max(levels, default=0)

    def protect(self, project: Project, branch: str, **levels: Any) -> ProtectedBranch:
        rule = ProtectedBranch(self.next_id("protected branch"), branch, **levels)
        project.protected_branches.append(rule)
        return rule

    def may_push(self, user: User, project: Project, branch: str) -> bool:
        """Whether the user may change the branch; a protected one wants the push access level of a rule for it."""
        return self._may(user, project, [{r.push_access_level} for r in project.protected_branches if r.covers(branch)])

    def may_run(self, user: User, project: Project, ref: str, *, tag: bool = False) -> bool:
        """Whether the user may start or stop what runs on the ref: on a protected branch, who may push or merge to it.

        https://docs.gitlab.com/ci/pipelines/#pipeline-security-on-protected-branches
        """
        rules = [rule for rule in project.protected_branches if rule.covers(ref) and not tag]
        return self._may(user, project, [{rule.push_access_level, rule.merge_access_level} for rule in rules])

    def may_set_variables(self, user: User, project: Project) -> bool:
        """Whether the project lets the user give a pipeline, or a schedule of one, variables.

        https://docs.gitlab.com/ci/variables/#restrict-pipeline-variables
        """
        level = _OVERRIDE_LEVELS.get(project.ci_pipeline_variables_minimum_override_role, OWNER + 1)
        return self.access_level(user, project) >= level

    def may_merge(self, user: User, project: Project, branch: str) -> bool:
        """Whether the user may merge into the branch; a protected one wants the merge access level of a rule for it."""
        return self._may(
            user, project, [{r.merge_access_level} for r in project.protected_branches if r.covers(branch)]
        )

    def may_deploy(self, user: User, job: Job) -> bool:
        """Whether the user may run the job as far as its environment is protected; an administrator always may.

        https://docs.gitlab.com/ci/environments/protected_environments/
        """
        rules = [
            rule for rule in job.project.protected_environments if job.environment and rule.name == job.environment.name
        ]
        role = self.access_level(user, job.project)
        return user.admin or all(
            any(level.user is user if level.user else role >= (level.access_level or 0) for level in rule.levels)
            for rule in rules
        )

    def _may(self, user: User, project: Project, protections: list[set[int]]) -> bool:
        sufficient = {level for levels in protections for level in levels if level} if protections else {DEVELOPER}
        return any(level <= self.access_level(user, project) for level in sufficient)
