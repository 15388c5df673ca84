"""Pipelines and what starts them: https://docs.gitlab.com/api/pipelines/, …/pipeline_triggers/."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request

from sandbox.gitlab.records.store import DEVELOPER, OWNER, REPORTER, Pipeline, Project, Trigger, User, now
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    ApiError,
    Json,
    bad_parameter,
    boolean,
    choice,
    forbidden,
    mapping,
    moment,
    not_found,
    parameters,
    required,
    rows,
)
from sandbox.gitlab.rest.resources import in_order, page_of
from sandbox.gitlab.run.artifacts import parse_junit
from sandbox.gitlab.run.pipelines import Invalid, Refused, Request
from sandbox.gitlab.run.scheduling import COMPLETED

BASE = "/projects/:project/pipelines"
STATUSES = (
    "created", "waiting_for_resource", "preparing", "waiting_for_callback", "pending", "running", "success", "failed",
    "canceling", "canceled", "skipped", "manual", "scheduled",
)  # fmt: skip
_SOURCES = (
    "push", "web", "trigger", "schedule", "api", "external", "pipeline", "chat", "webide", "merge_request_event",
    "external_pull_request_event", "parent_pipeline", "ondemand_dast_scan", "ondemand_dast_validation",
    "security_orchestration_policy",
)  # fmt: skip
_MAX_INPUTS = 20


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    _start(api, entities)
    _read(api, entities)
    _change(api, entities)
    _report(api, entities)


def pipeline_of(project: Project, key: str) -> Pipeline:
    """The project's pipeline of this number. Raises 404."""
    pipeline = next((pipeline for pipeline in project.pipelines if str(pipeline.id) == key), None)
    if pipeline is None:
        raise not_found()
    return pipeline


def check_may_run(api: Api, pipeline: Pipeline) -> None:
    """Raises 403 unless the caller may start and stop what runs on the pipeline's ref."""
    if not api.store.may_run(current_user(), pipeline.project, pipeline.ref, tag=pipeline.tag):
        raise forbidden()


def request_of(api: Api, project: Project, data: Json, user: User, source: str, variables: dict[str, str]) -> Request:
    """The pipeline that a call asks for. Raises 400 with GitLab's reason where it cannot be."""
    (ref,) = required(data, "ref")
    store, repository = api.store, project.repository
    if store.access_level(user, project) < DEVELOPER:  # the owner of a trigger token may have left
        raise refused("Insufficient permissions to create a new pipeline")
    name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    tag = name not in repository.names("heads") and name in repository.names("tags")
    sha = repository.names("tags" if tag else "heads").get(name)
    if sha is None:
        raise refused("Reference not found")
    if not store.may_run(user, project, name, tag=tag):
        message = (
            f"You do not have sufficient permission to run a pipeline on '{name}'. Please select a different branch"
        )
        raise refused(f"{message} or contact your administrator for assistance.")
    inputs = mapping(data, "inputs")
    if len(inputs) > _MAX_INPUTS:
        raise bad_parameter("inputs is invalid")
    if variables and not store.may_set_variables(user, project):
        raise refused("Insufficient permissions to set pipeline variables")
    return Request(project, name, source, user, sha, tag, variables=variables, inputs=inputs)


def refused(reason: str) -> ApiError:
    return ApiError(400, {"base": [reason]})


def _start(api: Api, entities: Entities) -> None:
    store, engine = api.store, api.engine

    @api.action("POST", "/projects/:project/pipeline", DEVELOPER, status=201)
    def create_pipeline(project: Project) -> Json:
        data = parameters()
        variables, files = _variables(data)
        pipeline_request = request_of(api, project, data, current_user(), "api", variables)
        try:
            return entities.pipeline(engine.create(pipeline_request._replace(files=files)))
        except Refused as error:
            raise refused(str(error)) from error

    def trigger(project: Project, data: Json) -> Json:
        _, token = required(data, "ref", "token")
        trigger = next((trigger for trigger in project.triggers if trigger.token == token), None)
        if trigger and not store.has_gone(trigger.owner) and not trigger.expired:
            trigger.last_used = now()
            return triggered(project, data, trigger.owner, "trigger", trigger)
        job = store.find_job(token)
        if job is None or not store.access_level(job.user, project):
            raise ApiError(404, "404 Not Found")  # another project's token must not tell whether this one exists
        if job.status not in ("running", "canceling"):
            raise ApiError(401, "Job is not running")
        return triggered(project, data, job.user, "pipeline", None)

    def triggered(project: Project, data: Json, user: User, source: str, trigger: Trigger | None) -> Json:
        variables = mapping(data, "variables")
        if not all(isinstance(value, str) for value in variables.values()):
            raise ApiError(400, "variables needs to be a map of key-valued strings")
        # GitLab counts it like the others: app/services/ci/pipeline_trigger_service.rb
        payload = json.dumps({"id": str(project.id)} | {key: data[key] for key in data if key != "token"})
        pipeline_request = request_of(api, project, data, user, source, {**variables, "TRIGGER_PAYLOAD": payload})
        try:
            pipeline_request = pipeline_request._replace(files=frozenset({"TRIGGER_PAYLOAD"}), trigger=trigger)
            return entities.pipeline(engine.create(pipeline_request, keep_invalid=True))
        except Invalid as error:
            raise ApiError(422, {"base": [str(error)]}) from error
        except Refused as error:
            raise refused(str(error)) from error

    @api.action("POST", "/projects/:project/trigger/pipeline", status=201, anonymous=True)
    def trigger_pipeline(project: Project) -> Json:
        return trigger(project, parameters())

    @api.action("POST", "/projects/:project/ref/:ref/trigger/pipeline", status=201, anonymous=True)
    def trigger_pipeline_of_ref(project: Project, ref: str) -> Json:
        return trigger(project, parameters() | {"ref": ref})


def _variables(data: Json) -> tuple[dict[str, str], frozenset[str]]:
    """The pipeline's variables, and which of them are files. Raises 400 for a key that is said twice."""
    variables = rows(data, "variables", "key", "value")
    keys = [str(row["key"]) for row in variables]
    if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise refused(f"Duplicate variable name{'s' if len(twice) > 1 else ''}: {', '.join(twice)}")
    for row in variables:
        choice(row, "variable_type", ("env_var", "file"))
    files = frozenset(str(row["key"]) for row in variables if row.get("variable_type") == "file")
    return {str(row["key"]): str(row["value"]) for row in variables}, files


def _listed(project: Project) -> list[Pipeline]:
    query = request.args
    scope = choice(query, "scope", ("running", "pending", "finished", "branches", "tags"))
    status, source = choice(query, "status", STATUSES), choice(query, "source", _SOURCES)
    errors = boolean(query, "yaml_errors") if "yaml_errors" in query else None
    limits = {name: moment(query, name) for name in _LIMITS}
    newest: dict[str, int] = {}
    for pipeline in project.pipelines:
        newest[pipeline.ref] = pipeline.id

    def fits(pipeline: Pipeline) -> bool:
        return (
            status in (None, pipeline.status)
            and source in (None, pipeline.source)
            and all(query.get(name) in (None, getattr(pipeline, name)) for name in ("ref", "sha", "name"))
            and query.get("username") in (None, pipeline.user.username)
            and errors in (None, pipeline.yaml_errors is not None)
            and all(limit is None or _LIMITS[name](pipeline, limit) for name, limit in limits.items())
            and (scope not in ("running", "pending") or pipeline.status == scope)
            and (scope != "finished" or pipeline.status in COMPLETED)
            and (scope != "branches" or (not pipeline.tag and newest[pipeline.ref] == pipeline.id))
            and (scope != "tags" or (pipeline.tag and newest[pipeline.ref] == pipeline.id))
        )

    return [pipeline for pipeline in project.pipelines if fits(pipeline)]


def _read(api: Api, entities: Entities) -> None:
    def row(pipeline: Pipeline) -> Json:
        return entities.basic_pipeline(pipeline) | {"name": pipeline.name}

    @api.action("GET", BASE, REPORTER)
    def list_pipelines(project: Project) -> Response:
        fields: dict[str, Any] = {
            "id": lambda pipeline: pipeline.id,
            "status": lambda pipeline: pipeline.status,
            "ref": lambda pipeline: pipeline.ref,
            "updated_at": lambda pipeline: pipeline.updated_at,
            "user_id": lambda pipeline: pipeline.user.id,
        }
        return page_of(in_order(_listed(project), fields, "id", "desc"), row)

    @api.action("GET", f"{BASE}/latest", REPORTER)
    def latest_pipeline(project: Project) -> Json:
        ref = request.args.get("ref", project.default_branch)
        sha = project.repository.resolve(ref)
        pipelines = [pipeline for pipeline in project.pipelines if (pipeline.ref, pipeline.sha) == (ref, sha)]
        if not pipelines:
            raise forbidden()
        return show_one(max(pipelines, key=lambda pipeline: pipeline.id))

    def show_one(pipeline: Pipeline) -> Json:
        return entities.pipeline(pipeline) | {"name": pipeline.name}

    @api.action("GET", f"{BASE}/:key", REPORTER)
    def get_pipeline(project: Project, key: str) -> Json:
        return show_one(pipeline_of(project, key))

    @api.action("GET", f"{BASE}/:key/variables", DEVELOPER)
    def pipeline_variables(project: Project, key: str) -> Response:
        pipeline = pipeline_of(project, key)
        shown = [
            {
                "variable_type": "file" if name in pipeline.files else "env_var",
                "key": name,
                "value": value,
                "raw": False,
            }
            for name, value in pipeline.variables.items()
        ]
        return page_of(shown, lambda row: row)

    @api.action("GET", f"{BASE}/:key/bridges", REPORTER)
    def bridges(project: Project, key: str) -> Response:
        pipeline_of(project, key)
        return page_of([], lambda row: row)  # the compiler refuses `trigger`, so there never is one

    @api.action("PUT", f"{BASE}/:key/metadata", DEVELOPER)
    def name_pipeline(project: Project, key: str) -> Json:
        (name,) = required(parameters(), "name")
        pipeline = pipeline_of(project, key)
        pipeline.name = name
        return show_one(pipeline)


_LIMITS: dict[str, Any] = {
    "created_after": lambda pipeline, limit: pipeline.created_at >= limit,
    "created_before": lambda pipeline, limit: pipeline.created_at <= limit,
    "updated_after": lambda pipeline, limit: pipeline.updated_at >= limit,
    "updated_before": lambda pipeline, limit: pipeline.updated_at <= limit,
}


def _change(api: Api, entities: Entities) -> None:
    engine = api.engine

    @api.action("DELETE", f"{BASE}/:key", OWNER)
    def delete_pipeline(project: Project, key: str) -> None:
        engine.delete(pipeline_of(project, key))

    @api.action("POST", f"{BASE}/:key/cancel", DEVELOPER)
    def cancel_pipeline(project: Project, key: str) -> Json:
        pipeline = pipeline_of(project, key)
        check_may_run(api, pipeline)
        engine.cancel(pipeline)
        return entities.pipeline(pipeline)

    @api.action("POST", f"{BASE}/:key/retry", DEVELOPER, status=201)
    def retry_pipeline(project: Project, key: str) -> Json:
        pipeline = pipeline_of(project, key)
        check_may_run(api, pipeline)
        engine.retry_pipeline(pipeline, current_user())
        return entities.pipeline(pipeline)


def _report(api: Api, entities: Entities) -> None:
    sums = ("total_time", "total_count", "success_count", "failed_count", "skipped_count", "error_count")

    def suites_of(pipeline: Pipeline) -> list[tuple[int, Json]]:
        return [
            (job.id, parse_junit(job.name, content))
            for job in pipeline.current_jobs()
            for content in job.reports.get("junit", [])
        ]

    @api.action("GET", f"{BASE}/:key/test_report", REPORTER)
    def test_report(project: Project, key: str) -> Json:
        suites = [suite for _, suite in suites_of(pipeline_of(project, key))]
        return {**{name: sum(suite[name] for suite in suites) for name in sums}, "test_suites": suites}

    @api.action("GET", f"{BASE}/:key/test_report_summary", REPORTER)
    def test_report_summary(project: Project, key: str) -> Json:
        suites = suites_of(pipeline_of(project, key))
        total = {name.removeprefix("total_").removesuffix("_count"): sum(s[name] for _, s in suites) for name in sums}
        shown = [
            {"name": suite["name"], **{name: suite[name] for name in sums}, "build_ids": [number],
             "suite_error": suite["suite_error"]}
            for number, suite in suites
        ]  # fmt: skip
        return {"total": total | {"suite_error": None}, "test_suites": shown}
