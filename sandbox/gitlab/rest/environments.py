"""Environments: https://docs.gitlab.com/api/environments/."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import Response, request

from sandbox.gitlab.records.store import DEVELOPER, MAINTAINER, REPORTER, Environment, Project, now
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    ApiError,
    Json,
    bad_parameter,
    bad_request,
    boolean,
    choice,
    forbidden,
    lacking,
    moment,
    not_found,
    parameters,
    required,
)
from sandbox.gitlab.rest.resources import page_of
from sandbox.gitlab.run import variables

_TIERS = ("production", "staging", "testing", "development", "other")
_STATES = ("available", "stopping", "stopped")
_SHORTEST_SEARCH = 3


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    _read(api, entities)
    _write(api, entities)
    _stop(api, entities)


def _of(project: Project, key: str) -> Environment:
    environment = next((environment for environment in project.environments if str(environment.id) == key), None)
    if environment is None:
        raise not_found()
    return environment


def _read(api: Api, entities: Entities) -> None:
    @api.action("GET", "/projects/:project/environments", REPORTER)
    def list_environments(project: Project) -> Response:
        name, text = request.args.get("name"), request.args.get("search")
        if name is not None and text is not None:
            raise bad_parameter("name, search cannot be used together")
        if text is not None and len(text) < _SHORTEST_SEARCH:
            raise bad_request(f"Search query is less than {_SHORTEST_SEARCH} characters")
        state = choice(request.args, "states", _STATES)
        environments = [
            environment
            for environment in project.environments
            if name in (None, environment.name)
            and (text or "") in environment.name
            and state in (None, environment.state)
        ]
        return page_of(environments, lambda environment: entities.environment(environment, project))

    @api.action("GET", "/projects/:project/environments/:key", REPORTER)
    def get_environment(project: Project, key: str) -> Json:
        environment = _of(project, key)
        last = api.engine.last_deployment(project, environment)
        shown = entities.deployment(last) if last else None
        if shown:
            del shown["environment"]
        return entities.environment(environment, project) | {"last_deployment": shown}


def _write(api: Api, entities: Entities) -> None:
    def change(environment: Environment, data: Json) -> None:
        if "slug" in data:
            raise bad_parameter("slug is automatically generated and cannot be changed")
        for name in ("cluster_agent_id", "kubernetes_namespace", "flux_resource_path"):
            if data.get(name):
                raise lacking(f"environments with `{name}`")
        tier = choice(data, "tier", _TIERS, environment.tier)
        environment.auto_stop_setting = choice(
            data, "auto_stop_setting", ("always", "with_action"), environment.auto_stop_setting
        )
        environment.tier = tier
        environment.external_url = data.get("external_url", environment.external_url)
        environment.description = data.get("description", environment.description)
        environment.updated_at = now()

    @api.action("POST", "/projects/:project/environments", DEVELOPER, status=201)
    def create_environment(project: Project) -> Json:
        data = parameters()
        (name,) = required(data, "name")
        with api.store.lock:
            if any(environment.name == name for environment in project.environments):
                messages = ["has already been taken"]
                raise ApiError(400, {"name": messages, "slug": messages})
            if problem := variables.environment_problem(name):
                raise ApiError(400, {"name": [problem]})
            number = api.store.next_id("environment")
            environment = Environment(number, name, variables.slug(name)[:24], variables.tier(name))
            change(environment, data)
            project.environments.append(environment)
        return entities.environment(environment, project)

    @api.action("PUT", "/projects/:project/environments/:key", DEVELOPER)
    def update_environment(project: Project, key: str) -> Json:
        with api.store.lock:
            environment = _of(project, key)
            change(environment, parameters())
        return entities.environment(environment, project)

    @api.action("DELETE", "/projects/:project/environments/:key", DEVELOPER)
    def delete_environment(project: Project, key: str) -> None:
        with api.store.lock:
            environment = _of(project, key)
            if environment.state != "stopped":
                raise forbidden()
            project.environments.remove(environment)
            project.deployments[:] = [each for each in project.deployments if each.environment is not environment]


def _stop(api: Api, entities: Entities) -> None:
    @api.action("POST", "/projects/:project/environments/:key/stop", DEVELOPER)
    def stop_environment(project: Project, key: str) -> Json:
        environment = _of(project, key)
        force = boolean(parameters(), "force")
        api.engine.stop_environment(project, environment, current_user(), force=force)
        return entities.environment(environment, project)

    @api.action("POST", "/projects/:project/environments/stop_stale", MAINTAINER)
    def stop_stale(project: Project) -> Json:
        data = parameters()
        required(data, "before")
        before = moment(data, "before")
        if before is None or not now() - timedelta(days=3653) <= before <= now() - timedelta(days=7):
            raise bad_request("Invalid Date")
        with api.store.lock:
            for environment in project.environments:
                if environment.state == "available" and _last_use(project, environment) < before:
                    environment.state, environment.updated_at = "stopped", now()
        return {"message": "Successfully requested stop for all stale environments"}


def _last_use(project: Project, environment: Environment) -> datetime:
    uses = [each.updated_at for each in project.deployments if each.environment is environment]
    return max([*uses, environment.updated_at])
