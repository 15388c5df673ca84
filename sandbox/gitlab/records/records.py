"""What the sandbox's GitLab knows: users, groups, projects, tokens, pipelines. Plain records; `store.py` holds them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.gitlab.records import project_settings
from sandbox.gitlab.records.experiments import Experiment
from sandbox.gitlab.records.git import Repository
from sandbox.gitlab.records.jobspec import CompiledJob

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
    created_at: datetime = field(default_factory=now)

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
    description: str | None = None
    last_used_at: datetime | None = None
    created_at: datetime = field(default_factory=now)

    @property
    def active(self) -> bool:
        return not (self.revoked or self.expired)

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= now().date()


@dataclass(eq=False)
class Trigger:
    id: int
    description: str
    owner: User
    token: str = field(default_factory=lambda: f"glptt-{secrets.token_hex(20)}")
    expires_at: datetime | None = None
    last_used: datetime | None = None
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= now()


@dataclass(eq=False)
class ProtectedBranch:
    id: int
    name: str
    push_access_level: int = MAINTAINER
    merge_access_level: int = MAINTAINER
    allow_force_push: bool = False

    def covers(self, branch: str) -> bool:
        return fnmatchcase(branch, self.name)


class DeployLevel(NamedTuple):
    """Who may deploy to a protected environment: a role, or one user."""

    id: int
    access_level: int | None
    user: User | None


@dataclass(eq=False)
class ProtectedEnvironment:
    name: str
    levels: list[DeployLevel]


@dataclass(eq=False)
class Note:
    """A comment on a merge request."""

    id: int
    body: str
    author: User
    internal: bool = False
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


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
    sha: str = ""  # the source branch's head, also when the branch is gone
    merge_commit_sha: str | None = None
    remove_source_branch: bool | None = None
    merged_by: User | None = None
    merged_at: datetime | None = None
    closed_by: User | None = None
    closed_at: datetime | None = None
    notes: list[Note] = field(default_factory=list)
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)

    @property
    def draft(self) -> bool:
        """https://docs.gitlab.com/user/project/merge_requests/drafts/"""
        return self.title.lower().startswith(("draft:", "[draft]", "(draft)"))

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
    description: str | None = None
    auto_stop_setting: str = "always"
    merge_request: MergeRequest | None = None  # the one whose pipeline made it
    auto_stop_at: datetime | None = None
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


@dataclass(eq=False)
class Deployment:
    """To an environment: by a job, or (`job` is None) told by a client of the API."""

    id: int
    iid: int
    environment: Environment
    user: User
    ref: str
    sha: str
    job: Job | None = None
    status: str = "created"
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)
    finished_at: datetime | None = None

    def become(self, status: str) -> None:
        self.status, self.updated_at = status, now()
        if status in ("success", "failed", "canceled", "skipped"):
            self.finished_at = self.updated_at


@dataclass(eq=False)
class Schedule:
    """A pipeline schedule; `cron` has five fields and `zone` is a name of the time zone database."""

    id: int
    description: str
    ref: str
    cron: str
    zone: str
    owner: User
    active: bool = True
    variables: list[Variable] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    next_run_at: datetime = field(default_factory=now)
    last_pipeline: Pipeline | None = None
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


@dataclass(eq=False)
class Release:
    tag: str
    name: str
    description: str
    author: User
    links: list[dict[str, Any]]
    released_at: datetime = field(default_factory=now)
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
    files: frozenset[str] = frozenset()  # the variables that are of type file
    inputs: dict[str, Any] = field(default_factory=dict)
    merge_request: MergeRequest | None = None
    trigger: Trigger | None = None
    schedule: Schedule | None = None
    commit_variables: dict[str, str] = field(default_factory=dict)
    on_new_commit: str = "conservative"
    jobs: list[Job] = field(default_factory=list)
    status: str = "created"
    yaml_errors: str | None = None
    name: str | None = None
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
    erased_at: datetime | None = None
    keeps_artifacts: bool = False  # its artifacts never expire

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
    settings: dict[str, Any] = field(default_factory=dict)  # those of project_settings.py that were changed
    resource_groups: dict[str, str] = field(default_factory=dict)  # key → process mode, where it was set
    allowlist: list[Project] = field(default_factory=list)  # whose jobs' tokens reach this project
    job_token_scope_enabled: bool = True
    marked_for_deletion_on: date | None = None
    members: dict[int, int] = field(default_factory=dict)
    variables: list[Variable] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    protected_branches: list[ProtectedBranch] = field(default_factory=list)
    protected_environments: list[ProtectedEnvironment] = field(default_factory=list)
    merge_requests: list[MergeRequest] = field(default_factory=list)
    environments: list[Environment] = field(default_factory=list)
    deployments: list[Deployment] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    pipelines: list[Pipeline] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    experiments: list[Experiment] = field(default_factory=list)
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)

    @property
    def group(self) -> Group | None:
        return self.namespace if isinstance(self.namespace, Group) else None

    @property
    def namespace_path(self) -> str:
        return self.namespace.full_path if isinstance(self.namespace, Group) else self.namespace.username

    @property
    def full_path(self) -> str:
        return f"{self.namespace_path}/{self.path}"

    def setting(self, name: str) -> Any:
        return self.settings.get(name, project_settings.DEFAULTS[name])

    def protects(self, ref: str, *, tag: bool = False) -> bool:
        return not tag and any(rule.covers(ref) for rule in self.protected_branches)

    def jobs(self) -> Iterator[Job]:
        for pipeline in self.pipelines:
            yield from pipeline.jobs
