"""Every resource of the REST API is added here. https://docs.gitlab.com/api/rest/"""

from __future__ import annotations

from sandbox.gitlab.rest import (
    access_tokens,
    artifacts,
    catalog,
    commits,
    deployments,
    environments,
    experiments,
    files,
    groups,
    job_token_scope,
    jobs,
    lacking,
    lint,
    members,
    merge_requests,
    metadata,
    notes,
    packages,
    pipelines,
    projects,
    protected_branches,
    protected_environments,
    refs,
    releases,
    resource_groups,
    schedules,
    triggers,
    users,
    variables,
)
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.entities import Entities


def register(api: Api, entities: Entities) -> None:
    """Add every resource."""
    for module in (
        access_tokens, artifacts, catalog, commits, deployments, environments, experiments, files, groups,
        job_token_scope, jobs, lint, members, merge_requests, metadata, notes, packages, pipelines, projects,
        protected_branches, protected_environments, refs, releases, resource_groups, schedules, triggers, users,
        variables, lacking,
    ):  # fmt: skip
        module.register(api, entities)
