"""Whose jobs' tokens reach a project: https://docs.gitlab.com/api/project_job_token_scopes/."""

from __future__ import annotations

from flask import Response

from sandbox.gitlab.records.store import MAINTAINER, Project
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    Json,
    bad_parameter,
    bad_request,
    boolean,
    integer,
    not_found,
    parameters,
    required,
)
from sandbox.gitlab.rest.resources import page_of


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    base = "/projects/:project/job_token_scope"

    @api.action("GET", base, MAINTAINER)
    def scope(project: Project) -> Json:
        return {"inbound_enabled": project.job_token_scope_enabled, "outbound_enabled": False}

    @api.action("PATCH", base, MAINTAINER)
    def change_scope(project: Project) -> None:
        data = parameters()
        if "enabled" not in data:
            raise bad_parameter("enabled is missing")
        project.job_token_scope_enabled = boolean(data, "enabled")

    @api.action("GET", f"{base}/allowlist", MAINTAINER)
    def allowlist(project: Project) -> Response:
        return page_of([project, *project.allowlist], entities.basic_project)

    @api.action("POST", f"{base}/allowlist", MAINTAINER, status=201)
    def allow(project: Project) -> Json:
        data = parameters()
        required(data, "target_project_id")
        other = api.store.find_project(str(integer(data, "target_project_id")))
        if other is None:
            raise not_found("Project")
        with api.store.lock:
            if other in (project, *project.allowlist):
                raise bad_request("This project is already in the job token allowlist.")
            project.allowlist.append(other)
        return {"source_project_id": project.id, "target_project_id": other.id}

    @api.action("DELETE", f"{base}/allowlist/:key", MAINTAINER)
    def disallow(project: Project, key: str) -> None:
        other = next((each for each in project.allowlist if str(each.id) == key), None)
        if other is None:
            raise not_found("Project")
        project.allowlist.remove(other)
