"""Releases of a project: https://docs.gitlab.com/api/releases/. The rules are in `run/releases.py`."""

from __future__ import annotations

from flask import Response, request

from sandbox.gitlab.records.store import DEVELOPER, Project, Release
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import ApiError, Json, lacking, mapping, moment, parameters, required, rows
from sandbox.gitlab.rest.resources import in_order, page_of
from sandbox.gitlab.run import releases

BASE = "/projects/:project/releases"


def _release_of(project: Project, tag: str) -> Release:
    release = next((release for release in project.releases if release.tag == tag), None)
    if release is None:
        raise ApiError(404, "404 Not Found")
    return release


def _newest_first(project: Project) -> list[Release]:
    fields = {"released_at": lambda release: release.released_at, "created_at": lambda release: release.created_at}
    return in_order(project.releases, fields, "released_at", "desc")


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""

    @api.action("GET", BASE)
    def list_releases(project: Project) -> Response:
        return page_of(_newest_first(project), lambda release: entities.release(release, project))

    @api.action("GET", f"{BASE}/:tag")
    def get_release(project: Project, tag: str) -> Json:
        return entities.release(_release_of(project, tag), project)

    @api.action("GET", f"{BASE}/permalink/latest")
    def latest(project: Project) -> Response:
        if not project.releases:
            raise ApiError(404, "404 Not Found")
        newest = max(project.releases, key=lambda release: release.released_at)
        address = f"{request.host_url}api/v4/projects/{project.id}/releases/{newest.tag}"
        return Response(status=302, headers={"Location": address})

    @api.action("POST", BASE, DEVELOPER, status=201)
    def create_release(project: Project) -> Json:
        data = parameters()
        required(data, "tag_name")
        assets = mapping(data, "assets")
        if data.get("milestones"):
            raise lacking("milestones")
        links = rows(assets, "links", "name", "url")
        with api.store.lock:
            try:
                release = releases.create(project, current_user(), data | {"assets": {"links": links}})
            except releases.ReleaseRefused as refused:
                raise ApiError(refused.status, str(refused)) from refused
            release.released_at = moment(data, "released_at") or release.released_at
        return entities.release(release, project)

    @api.action("PUT", f"{BASE}/:tag", DEVELOPER)
    def update_release(project: Project, tag: str) -> Json:
        data = parameters()
        with api.store.lock:
            release = _release_of(project, tag)
            if data.get("milestones"):
                raise lacking("milestones")
            release.released_at = moment(data, "released_at") or release.released_at
            release.name = data.get("name") or release.name
            release.description = data.get("description", release.description)
        return entities.release(release, project)

    @api.action("DELETE", f"{BASE}/:tag", DEVELOPER)
    def delete_release(project: Project, tag: str) -> Json:
        with api.store.lock:
            release = _release_of(project, tag)
            project.releases.remove(release)
        return entities.release(release, project)
