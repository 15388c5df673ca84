"""A release's way into the CI/CD catalog: what `glab release create --publish-to-catalog` calls."""

from __future__ import annotations

from sandbox.gitlab.records.store import DEVELOPER, Project
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import ApiError, Json, bad_parameter, mapping, not_found, parameters
from sandbox.gitlab.run import releases


def register(api: Api, entities: Entities) -> None:
    """Add the action."""

    @api.action("POST", "/projects/:project/catalog/publish", DEVELOPER, status=201)
    def publish(project: Project) -> Json:
        data = parameters()
        missing = [name for name in ("version", "metadata") if data.get(name) in (None, "")]
        if missing:
            raise bad_parameter(", ".join(f"{name} is missing" for name in missing))
        mapping(data, "metadata")
        if all(release.tag != data["version"] for release in project.releases):
            raise not_found()
        try:
            releases.publish(project, data["version"])
        except releases.NotPublished as error:
            raise ApiError(422, str(error)) from error
        return {"catalog_url": f"{entities.url}/explore/catalog/{project.full_path}"}
