"""REST resources of a project's releases: https://docs.gitlab.com/api/releases/."""

from __future__ import annotations

from typing import Any

from sandbox.gitlab import releases
from sandbox.gitlab.api import Api, ApiError, Json, Resource, add_resource, current_user, required, stamp
from sandbox.gitlab.entities import Entities
from sandbox.gitlab.store import DEVELOPER, Project, Release


def register(api: Api, entities: Entities) -> None:
    """Add every resource of this module."""

    def show(release: Release) -> Json:
        return {
            "tag_name": release.tag,
            "name": release.name,
            "description": release.description,
            "author": entities.user(release.author),
            "created_at": stamp(release.created_at),
            "released_at": stamp(release.created_at),
            "upcoming_release": False,
            "assets": {"count": len(release.links), "sources": [], "links": release.links},
        }

    def create(project: Project, data: Json) -> Release:
        required(data, "tag_name")
        try:
            return releases.create(project, current_user(), data)
        except releases.ReleaseRefused as refused:
            raise ApiError(refused.status, str(refused)) from refused

    def newest_first(project: Project) -> list[Any]:
        return project.releases[::-1]

    add_resource(
        api,
        Resource(
            "/projects/:project/releases", "", newest_first, show, key="tag", create=create,
            write=DEVELOPER,
        ),
    )  # fmt: skip
