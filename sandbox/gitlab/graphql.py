"""GraphQL, as much of it as a project's settings need that the REST API does not have: the CI/CD catalog's switch."""

from __future__ import annotations

import re

from flask import Blueprint, jsonify, request

from sandbox.gitlab.records.store import OWNER
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.parameters import ApiError, Json

_CREATE = re.compile(r'catalogResourcesCreate\s*\(\s*input:\s*\{\s*projectPath:\s*("(?P<path>[^"]+)"|\$(?P<name>\w+))')
_DENIED = "The resource that you are attempting to access does not exist or you don't have permission"


def blueprint(api: Api) -> Blueprint:
    """GraphQL, as much of it as adds a project to the catalog."""
    blueprint = Blueprint("graphql", __name__)
    blueprint.register_error_handler(ApiError, lambda error: (jsonify(errors=[error.body]), error.status))

    @blueprint.post("/api/graphql")
    def query() -> Json:
        caller, body = api.caller(), request.get_json()
        match = _CREATE.search(body.get("query", ""))
        if match is None:
            return {"errors": [{"message": "the sandbox knows the mutation catalogResourcesCreate alone"}]}
        project = api.store.find_project(match["path"] or body.get("variables", {}).get(match["name"], ""))
        if project is None or api.store.access_level(caller, project) < OWNER:
            return {"data": {"catalogResourcesCreate": None}, "errors": [{"message": _DENIED}]}
        project.catalog = True
        return {"data": {"catalogResourcesCreate": {"errors": []}}}

    return blueprint
