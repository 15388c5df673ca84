"""Deployments, made by jobs or told by clients: https://docs.gitlab.com/api/deployments/."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from sandbox.gitlab.records.store import DEVELOPER, MAINTAINER, REPORTER, Deployment, Environment, Project, now
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    ApiError,
    Json,
    bad_parameter,
    boolean,
    choice,
    moment,
    not_found,
    parameters,
    required,
)
from sandbox.gitlab.rest.resources import in_order, page_of
from sandbox.gitlab.run import variables

_SETTABLE = ("running", "success", "failed", "canceled")
_STATUSES = ("created", *_SETTABLE, "skipped", "blocked")
_FIELDS = {name: name for name in ("id", "iid", "created_at", "updated_at", "finished_at", "ref")}


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    _read(api, entities)
    _write(api, entities)


def _of(project: Project, key: str) -> Deployment:
    deployment = next((deployment for deployment in project.deployments if str(deployment.id) == key), None)
    if deployment is None:
        raise not_found()
    return deployment


def _read(api: Api, entities: Entities) -> None:
    @api.action("GET", "/projects/:project/deployments", REPORTER)
    def list_deployments(project: Project) -> Response:
        name, status = request.args.get("environment"), choice(request.args, "status", _STATUSES)
        after, before = moment(request.args, "updated_after"), moment(request.args, "updated_before")
        begun, ended = moment(request.args, "finished_after"), moment(request.args, "finished_before")
        if (begun or ended) and request.args.get("order_by") != "finished_at":
            raise ApiError(400, "`finished_at` filter requires `finished_at` sort.")
        deployments = [
            deployment
            for deployment in project.deployments
            if name in (None, deployment.environment.name)
            and status in (None, deployment.status)
            and (after is None or deployment.updated_at >= after)
            and (before is None or deployment.updated_at <= before)
            and (begun is None or (deployment.finished_at and deployment.finished_at >= begun))
            and (ended is None or (deployment.finished_at and deployment.finished_at <= ended))
        ]

        def by(field: str) -> Any:
            return lambda deployment: (getattr(deployment, field) is not None, getattr(deployment, field))

        if request.args.get("order_by") == "finished_at":
            deployments = [deployment for deployment in deployments if deployment.finished_at]
        return page_of(in_order(deployments, {field: by(field) for field in _FIELDS}, "id", "asc"), entities.deployment)

    @api.action("GET", "/projects/:project/deployments/:key", REPORTER)
    def get_deployment(project: Project, key: str) -> Json:
        return entities.deployment(_of(project, key))


def _write(api: Api, entities: Entities) -> None:
    store = api.store

    @api.action("POST", "/projects/:project/deployments", DEVELOPER, status=201)
    def create_deployment(project: Project) -> Json:
        data = parameters()
        if "tag" not in data:
            required(data, "environment", "sha", "ref")
            raise bad_parameter("tag is missing")
        name, sha, ref, _ = required(data, "environment", "sha", "ref", "status")
        status, _ = choice(data, "status", _SETTABLE), boolean(data, "tag")
        if project.repository.resolve(sha) is None:
            raise ApiError(400, {"sha": ["The commit does not exist"]})
        with store.lock:
            environment = next((each for each in project.environments if each.name == name), None)
            if environment is None:
                number = store.next_id("environment")
                environment = Environment(number, name, variables.slug(name)[:24], variables.tier(name))
                project.environments.append(environment)
            number, iid = store.next_id("deployment"), store.next_id(f"deployment of {project.id}")
            deployment = Deployment(number, iid, environment, current_user(), ref, sha)
            deployment.become(status)
            project.deployments.append(deployment)
            if status == "success":
                environment.state, environment.updated_at = "available", now()
        return entities.deployment(deployment)

    @api.action("PUT", "/projects/:project/deployments/:key", DEVELOPER)
    def update_deployment(project: Project, key: str) -> Json:
        data = parameters()
        required(data, "status")
        status = choice(data, "status", _SETTABLE)
        with store.lock:
            deployment = _of(project, key)
            if deployment.job is not None:
                raise ApiError(403, "403 Forbidden")
            deployment.become(status)
        return entities.deployment(deployment)

    @api.action("DELETE", "/projects/:project/deployments/:key", MAINTAINER)
    def delete_deployment(project: Project, key: str) -> None:
        with store.lock:
            deployment = _of(project, key)
            if deployment.status == "running":
                raise ApiError(400, "Cannot destroy running deployment")
            if deployment is api.engine.last_deployment(project, deployment.environment):
                raise ApiError(400, "Deployment currently deployed to environment")
            project.deployments.remove(deployment)
