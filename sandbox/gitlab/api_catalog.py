"""How a project gets into the CI/CD catalog (a switch in its settings: GraphQL alone) and its versions after it."""

from __future__ import annotations

import re

from flask import Blueprint, jsonify, request

from sandbox.gitlab import releases
from sandbox.gitlab.api import Api, ApiError, Json, parameters, required
from sandbox.gitlab.store import DEVELOPER, OWNER, Project

_CREATE = re.compile(r'catalogResourcesCreate\s*\(\s*input:\s*\{\s*projectPath:\s*("(?P<path>[^"]+)"|\$(?P<name>\w+))')
_DENIED = "The resource that you are attempting to access does not exist or you don't have permission"


def register(api: Api) -> None:
    @api.action("POST", "/projects/:project/catalog/publish", DEVELOPER, status=201)
    def publish(project: Project) -> Json:
        (version,) = required(parameters(), "version")
        try:
            releases.publish(project, str(version))
        except releases.NotPublished as error:
            raise ApiError(422, str(error)) from error
        return {"catalog_url": f"/explore/catalog/{project.full_path}"}


def graphql(api: Api) -> Blueprint:
    """GraphQL, as much of it as adds a project to the catalog."""
    blueprint = Blueprint("graphql", __name__)
    blueprint.register_error_handler(ApiError, lambda error: (jsonify(errors=[error.body]), error.status))

    @blueprint.post("/api/graphql")
    def query() -> Json:
        caller, asked = api.caller(), request.get_json()
        match = _CREATE.search(asked.get("query", ""))
        if match is None:
            return {"errors": [{"message": "the sandbox knows the mutation catalogResourcesCreate alone"}]}
        project = api.store.find_project(match["path"] or asked.get("variables", {}).get(match["name"], ""))
        if project is None or api.store.access_level(caller, project) < OWNER:
            return {"data": {"catalogResourcesCreate": None}, "errors": [{"message": _DENIED}]}
        project.catalog = True
        return {"data": {"catalogResourcesCreate": {"errors": []}}}

    return blueprint
