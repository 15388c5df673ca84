"""Resource groups and their process mode: https://docs.gitlab.com/api/resource_groups/."""

from __future__ import annotations

from flask import Response

from sandbox.gitlab.records.project_settings import VALUES
from sandbox.gitlab.records.store import DEVELOPER, REPORTER, Project
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import Json, choice, not_found, parameters, stamp
from sandbox.gitlab.rest.resources import page_of

BASE = "/projects/:project/resource_groups"
_MODE = "resource_group_default_process_mode"


def register(api: Api, entities: Entities) -> None:
    """Add the resource: a group is there as soon as a job names it."""

    def keys(project: Project) -> list[str]:
        return list(dict.fromkeys(job.resource_group for job in project.jobs() if job.resource_group))

    def show(project: Project, key: str) -> Json:
        created = min(job.created_at for job in project.jobs() if job.resource_group == key)
        return {
            "id": keys(project).index(key) + 1,
            "key": key,
            "process_mode": project.resource_groups.get(key, project.setting(_MODE)),
            "created_at": stamp(created),
            "updated_at": stamp(created),
        }

    def check(project: Project, key: str) -> None:
        if key not in keys(project):
            raise not_found()

    @api.action("GET", BASE, REPORTER)
    def list_groups(project: Project) -> Response:
        return page_of(keys(project), lambda key: show(project, key))

    @api.action("GET", f"{BASE}/:key", REPORTER)
    def get_group(project: Project, key: str) -> Json:
        check(project, key)
        return show(project, key)

    @api.action("PUT", f"{BASE}/:key", DEVELOPER)
    def change_group(project: Project, key: str) -> Json:
        check(project, key)
        mode = choice(parameters(), "process_mode", VALUES[_MODE])
        with api.store.lock:
            if mode is not None:
                project.resource_groups[key] = mode
        return show(project, key)
