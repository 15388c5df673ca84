"""What the sandbox's GitLab knows: users, groups, projects, tokens, pipelines. In memory, but for the repositories.

Plain records, look-ups, and whose role suffices for what. Rules of the API live in the `api_*` modules, scheduling in
`scheduling.py`.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sandbox.gitlab.jobspec import CompiledJob
from sandbox.gitlab.repositories import Repository

GUEST, REPORTER, DEVELOPER, MAINTAINER, OWNER = 10, 20, 30, 40, 50
"""Access levels: https://docs.gitlab.com/api/access_requests/#valid-access-levels"""


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(eq=False)
class User:
    id: int
    username: str
    name: str
    namespace_id: int
    admin: bool = False
    bot: bool = False

    @property
    def email(self) -> str:
        return f"{self.username}@example.com"


@dataclass(eq=False)
class Variable:
    key: str
    value: str
    variable_type: str = "env_var"
    protected: bool = False
    masked: bool = False
    hidden: bool = False
    raw: bool = False
    environment_scope: str = "*"
    description: str | None = None


@dataclass(eq=False)
class Group:
    id: int
    name: str
    path: str
    full_path: str
    parent: Group | None = None
    visibility: str = "private"
    description: str = ""
    members: dict[int, int] = field(default_factory=dict)
    variables: list[Variable] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    created_at: datetime = field(default_factory=now)

    def lineage(self) -> list[Group]:
        """This group and its ancestors, innermost first."""
        return [self, *(self.parent.lineage() if self.parent else [])]


@dataclass(eq=False)
class Token:
    """A personal, project or group access token."""

    id: int
    name: str
    user: User
    scopes: list[str]
    value: str
    source: Project | Group | None = None
    access_level: int | None = None
    expires_at: date | None = None
    revoked: bool = False
    created_at: datetime = field(default_factory=now)

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= now().date()


@dataclass(eq=False)
class Trigger:
    id: int
    description: str
    owner: User
    token: str = field(default_factory=lambda: f"glptt-{secrets.token_hex(20)}")
    created_at: datetime = field(default_factory=now)


@dataclass(eq=False)
class ProtectedBranch:
    id: int
    name: str
    push_access_level: int = MAINTAINER
    merge_access_level: int = MAINTAINER
    allow_force_push: bool = False

    def covers(self, branch: str) -> bool:
        return fnmatchcase(branch, self.name)


@dataclass(eq=False)
class MergeRequest:
    id: int
    iid: int
    title: str
    description: str
    source_branch: str
    target_branch: str
    author: User
    state: str = "opened"
    merge_commit_sha: str | None = None
    created_at: datetime = field(default_factory=now)

    @property
    def ref(self) -> str:
        return f"refs/merge-requests/{self.iid}/head"


@dataclass(eq=False)
class Environment:
    id: int
    name: str
    slug: str
    tier: str
    state: str = "available"
    external_url: str | None = None
    created_at: datetime = field(default_factory=now)


@dataclass(eq=False)
class Deployment:
    id: int
    iid: int
    environment: Environment
    job: Job
    status: str = "created"
    created_at: datetime = field(default_factory=now)
    finished_at: datetime | None = None


@dataclass(eq=False)
class Release:
    tag: str
    name: str
    description: str
    author: User
    links: list[dict[str, Any]]
    created_at: datetime = field(default_factory=now)


@dataclass(eq=False)
class Pipeline:
    id: int
    iid: int
    project: Project
    ref: str
    tag: bool
    sha: str
    before_sha: str
    source: str
    user: User
    variables: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    merge_request: MergeRequest | None = None
    trigger: Trigger | None = None
    commit_variables: dict[str, str] = field(default_factory=dict)
    on_new_commit: str = "conservative"
    jobs: list[Job] = field(default_factory=list)
    status: str = "created"
    yaml_errors: str | None = None
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def protected(self) -> bool:
        return self.merge_request is None and self.project.protects(self.ref, tag=self.tag)

    @property
    def ref_name(self) -> str:
        """The branch or tag; for a merge request its source branch."""
        return self.merge_request.source_branch if self.merge_request else self.ref

    def current_jobs(self) -> list[Job]:
        """Jobs that count: of a retried job only the last attempt."""
        return [job for job in self.jobs if not job.retried]


@dataclass(eq=False)
class Job:
    id: int
    pipeline: Pipeline
    spec: CompiledJob
    user: User
    folder: Path
    status: str = "created"
    allow_failure: bool = False
    retried: bool = False
    attempt: int = 0
    variables: dict[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: f"glcbt-{secrets.token_hex(20)}")
    environment: Environment | None = None
    deployment: Deployment | None = None
    resource_group: str | None = None
    dotenv: dict[str, str] = field(default_factory=dict)
    reports: dict[str, list[bytes]] = field(default_factory=dict)
    failure_reason: str | None = None
    exit_code: int | None = None
    played: bool = False
    created_at: datetime = field(default_factory=now)
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def project(self) -> Project:
        return self.pipeline.project

    @property
    def trace(self) -> Path:
        return self.folder / "trace"

    @property
    def archive(self) -> Path:
        return self.folder / "artifacts.zip"


@dataclass(eq=False)
class Project:
    id: int
    name: str
    path: str
    namespace: Group | User
    creator: User
    repository: Repository
    visibility: str = "private"
    description: str | None = None
    default_branch: str = "main"
    catalog: bool = False  # a CI/CD catalog project?
    catalog_versions: dict[str, str] = field(default_factory=dict)  # published version → commit
    # What GitLab sets for a new project: who may pass variables to a pipeline. Inputs are not concerned.
    ci_pipeline_variables_minimum_override_role: str = "no_one_allowed"
    ci_id_token_sub_claim_components: list[str] = field(default_factory=lambda: ["project_path", "ref_type", "ref"])
    build_timeout: int = 3600
    ci_forward_deployment_enabled: bool = True  # "Prevent outdated deployment jobs"
    members: dict[int, int] = field(default_factory=dict)
    variables: list[Variable] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    protected_branches: list[ProtectedBranch] = field(default_factory=list)
    merge_requests: list[MergeRequest] = field(default_factory=list)
    environments: list[Environment] = field(default_factory=list)
    deployments: list[Deployment] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    pipelines: list[Pipeline] = field(default_factory=list)
    created_at: datetime = field(default_factory=now)

    @property
    def group(self) -> Group | None:
        return self.namespace if isinstance(self.namespace, Group) else None

    @property
    def namespace_path(self) -> str:
        return self.namespace.full_path if isinstance(self.namespace, Group) else self.namespace.username

    @property
    def full_path(self) -> str:
        return f"{self.namespace_path}/{self.path}"

    def protects(self, ref: str, *, tag: bool = False) -> bool:
        return not tag and any(rule.covers(ref) for rule in self.protected_branches)

    def jobs(self) -> Iterator[Job]:
        for pipeline in self.pipelines:
            yield from pipeline.jobs


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
        self._counters: defaultdict[str, itertools.count[int]] = defaultdict(lambda: itertools.count(1))

    def next_id(self, kind: str) -> int:
        return next(self._counters[kind])

    def add_user(self, username: str, name: str, *, admin: bool = False, bot: bool = False) -> User:
        user = User(self.next_id("user"), username, name, self.next_id("namespace"), admin, bot)
        self.users.append(user)
        return user

    def add_token(self, user: User, name: str, scopes: list[str], **more: Any) -> Token:
        token = Token(self.next_id("token"), name, user, scopes, f"glpat-{secrets.token_hex(10)}", **more)
        self.tokens.append(token)
        return token

    def find_token(self, value: str) -> Token | None:
        return next((token for token in self.tokens if token.value == value), None)

    def find_running_job(self, token: str) -> Job | None:
        """The job a CI_JOB_TOKEN belongs to; the token is valid only while the job runs."""
        jobs = (job for project in self.projects for job in project.jobs())
        return next((job for job in jobs if job.token == token and job.status in ("running", "canceling")), None)

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

    def _may(self, user: User, project: Project, protections: list[set[int]]) -> bool:
        wanted = {level for levels in protections for level in levels if level} if protections else {DEVELOPER}
        return any(level <= self.access_level(user, project) for level in wanted)
