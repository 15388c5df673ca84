"""REST resources of CI/CD: pipelines, jobs, traces, artifacts, triggers."""

from __future__ import annotations

import zipfile
from typing import Any

from flask import Response, request

from sandbox.gitlab.api import (
    Api,
    ApiError,
    Json,
    bad_parameter,
    boolean,
    current_job,
    current_user,
    not_found,
    page_of,
    parameters,
    required,
)
from sandbox.gitlab.artifacts import parse_junit
from sandbox.gitlab.entities import Entities
from sandbox.gitlab.pipelines import Refused, Request
from sandbox.gitlab.scheduling import COMPLETED
from sandbox.gitlab.store import DEVELOPER, MAINTAINER, OWNER, REPORTER, Job, Pipeline, Project, Trigger, User

_OVERRIDE_LEVELS = {"developer": DEVELOPER, "maintainer": MAINTAINER, "owner": OWNER}
_MAX_INPUTS = 20


def register(api: Api, entities: Entities) -> None:
    """Add every resource of this module."""
    store, engine = api.store, api.engine
    base = "/projects/:project/pipelines"

    def pipeline_of(project: Project, key: str) -> Pipeline:
        found = next((pipeline for pipeline in project.pipelines if str(pipeline.id) == key), None)
        if found is None:
            raise not_found()
        return found

    def job_of(project: Project, key: str) -> Job:
        found = next((job for job in project.jobs() if str(job.id) == key), None)
        if found is None:
            raise not_found()
        return found

    def changeable(pipeline: Pipeline) -> Pipeline:
        if not store.may_run(current_user(), pipeline.project, pipeline.ref, tag=pipeline.tag):
            raise ApiError(403, "403 Forbidden")
        return pipeline

    def changeable_job(project: Project, key: str) -> Job:
        job = job_of(project, key)
        changeable(job.pipeline)
        return job

    # --- creation ---------------------------------------------------------------------------------------------------

    def create(project: Project, data: Json, user: User, source: str, trigger: Trigger | None = None) -> Json:
        (ref,) = required(data, "ref")
        if store.access_level(user, project) < DEVELOPER:  # the owner of a trigger token may have left
            raise ApiError(400, {"base": ["Insufficient permissions to create a new pipeline"]})
        repository = project.repository
        name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        tag = name not in repository.names("heads") and name in repository.names("tags")
        sha = repository.names("tags" if tag else "heads").get(name)
        if sha is None:
            raise ApiError(400, {"base": ["Reference not found"]})
        if not store.may_run(user, project, name, tag=tag):
            message = (
                f"You do not have sufficient permission to run a pipeline on '{name}'. Please select a different branch"
            )
            raise ApiError(400, {"base": [f"{message} or contact your administrator for assistance."]})
        given, inputs = _variables(data), data.get("inputs") or {}
        if not isinstance(inputs, dict) or len(inputs) > _MAX_INPUTS:
            raise bad_parameter("inputs is invalid")
        level = _OVERRIDE_LEVELS.get(project.ci_pipeline_variables_minimum_override_role, OWNER + 1)
        if given and store.access_level(user, project) < level:
            raise ApiError(400, {"base": ["Insufficient permissions to set pipeline variables"]})
        wanted = Request(project, name, source, user, sha, tag, variables=given, inputs=inputs, trigger=trigger)
        try:
            return entities.pipeline(engine.create(wanted))
        except Refused as error:
            raise ApiError(400, {"base": [str(error)]}) from error

    @api.action("POST", "/projects/:project/pipeline", DEVELOPER, status=201)
    def create_pipeline(project: Project) -> Json:
        return create(project, parameters(), current_user(), "api")

    @api.action("POST", "/projects/:project/trigger/pipeline", status=201, anonymous=True)
    def trigger_pipeline(project: Project) -> Json:
        data = parameters()
        _, token = required(data, "ref", "token")
        trigger = next((trigger for trigger in project.triggers if trigger.token == token), None)
        if trigger and not store.has_gone(trigger.owner):
            return create(project, data, trigger.owner, "trigger", trigger)
        job = store.find_running_job(token)
        if job is None or not store.access_level(job.user, project):
            raise not_found()  # the token of another project must not tell whether this one exists
        return create(project, data, job.user, "pipeline")

    # --- pipelines --------------------------------------------------------------------------------------------------

    @api.action("GET", base, REPORTER)
    def list_pipelines(project: Project) -> Response:
        found = sorted(project.pipelines, key=lambda pipeline: pipeline.id, reverse=request.args.get("sort") != "asc")
        for name in ("ref", "sha", "status", "source"):
            if wanted := request.args.get(name):
                found = [pipeline for pipeline in found if getattr(pipeline, name) == wanted]
        scope = request.args.get("scope")
        if scope in ("running", "pending"):
            found = [pipeline for pipeline in found if pipeline.status == scope]
        elif scope == "finished":
            found = [pipeline for pipeline in found if pipeline.status in COMPLETED]
        return page_of(found, entities.pipeline)

    @api.action("GET", f"{base}/latest", REPORTER)
    def latest_pipeline(project: Project) -> Json:
        ref = request.args.get("ref", project.default_branch)
        found = [pipeline for pipeline in project.pipelines if pipeline.ref == ref]
        if not found:
            raise not_found()
        return entities.pipeline(max(found, key=lambda pipeline: pipeline.id))

    @api.action("GET", f"{base}/:key", REPORTER)
    def get_pipeline(project: Project, key: str) -> Json:
        return entities.pipeline(pipeline_of(project, key))

    @api.action("DELETE", f"{base}/:key", OWNER)
    def delete_pipeline(project: Project, key: str) -> None:
        engine.delete(pipeline_of(project, key))

    @api.action("POST", f"{base}/:key/cancel", DEVELOPER)
    def cancel_pipeline(project: Project, key: str) -> Json:
        pipeline = changeable(pipeline_of(project, key))
        engine.cancel(pipeline)
        return entities.pipeline(pipeline)

    @api.action("POST", f"{base}/:key/retry", DEVELOPER, status=201)
    def retry_pipeline(project: Project, key: str) -> Json:
        pipeline = changeable(pipeline_of(project, key))
        engine.retry_pipeline(pipeline, current_user())
        return entities.pipeline(pipeline)

    @api.action("GET", f"{base}/:key/jobs", REPORTER)
    def pipeline_jobs(project: Project, key: str) -> Response:
        pipeline = pipeline_of(project, key)
        jobs = pipeline.jobs if boolean(request.args, "include_retried") else pipeline.current_jobs()
        return page_of(_in_scope(jobs)[::-1], entities.job)

    @api.action("GET", f"{base}/:key/test_report", REPORTER)
    def test_report(project: Project, key: str) -> Json:
        jobs = pipeline_of(project, key).current_jobs()
        suites = [parse_junit(job.name, content) for job in jobs for content in job.reports.get("junit", [])]
        sums = ("total_time", "total_count", "success_count", "failed_count", "skipped_count", "error_count")
        return {**{name: sum(suite[name] for suite in suites) for name in sums}, "test_suites": suites}

    # --- jobs -------------------------------------------------------------------------------------------------------

    jobs_base = "/projects/:project/jobs"

    @api.action("GET", "/job")
    def own_job() -> Json:
        job = current_job()
        if job is None:
            raise not_found("Job")
        return entities.job(job)

    @api.action("GET", jobs_base, REPORTER)
    def list_jobs(project: Project) -> Response:
        return page_of(_in_scope(sorted(project.jobs(), key=lambda job: -job.id)), entities.job)

    @api.action("GET", f"{jobs_base}/:key", REPORTER)
    def get_job(project: Project, key: str) -> Json:
        return entities.job(job_of(project, key))

    @api.action("GET", f"{jobs_base}/:key/trace", REPORTER)
    def trace(project: Project, key: str) -> Response:
        path = job_of(project, key).trace
        return Response(path.read_bytes() if path.exists() else b"", mimetype="text/plain")

    @api.action("POST", f"{jobs_base}/:key/cancel", DEVELOPER, status=201)
    def cancel_job(project: Project, key: str) -> Json:
        job = changeable_job(project, key)
        engine.cancel_job(job)
        return entities.job(job)

    @api.action("POST", f"{jobs_base}/:key/retry", DEVELOPER, status=201)
    def retry_job(project: Project, key: str) -> Json:
        try:
            return entities.job(engine.retry(changeable_job(project, key), current_user()))
        except Refused as error:
            raise ApiError(403, f"403 Forbidden - {error}") from error

    @api.action("POST", f"{jobs_base}/:key/play", DEVELOPER)
    def play_job(project: Project, key: str) -> Json:
        rows = parameters().get("job_variables_attributes") or []
        try:
            given = {row["key"]: row["value"] for row in rows}
            return entities.job(engine.play(changeable_job(project, key), current_user(), given))
        except Refused as error:
            raise ApiError(400, f"400 Bad request - {error}") from error

    # --- artifacts --------------------------------------------------------------------------------------------------

    def archive_of(job: Job | None, path: str | None) -> Response:
        if job is None or not job.archive.exists():
            raise not_found()
        if path is None:
            headers = {"Content-Disposition": 'attachment; filename="artifacts.zip"'}
            return Response(job.archive.read_bytes(), mimetype="application/zip", headers=headers)
        with zipfile.ZipFile(job.archive) as bundle:
            if path not in bundle.namelist():
                raise not_found()
            return Response(bundle.read(path), mimetype="application/octet-stream")

    def latest_job(project: Project, ref: str) -> Job | None:
        name = request.args.get("job")
        for pipeline in reversed(project.pipelines):
            if pipeline.ref == ref and pipeline.status == "success":
                return next((job for job in pipeline.current_jobs() if job.name == name), None)
        return None

    @api.action("GET", f"{jobs_base}/:key/artifacts", REPORTER)
    def artifacts(project: Project, key: str) -> Response:
        return archive_of(job_of(project, key), None)

    @api.action("GET", f"{jobs_base}/:key/artifacts/*path", REPORTER)
    def artifact(project: Project, key: str, path: str) -> Response:
        return archive_of(job_of(project, key), path)

    @api.action("GET", f"{jobs_base}/artifacts/:ref/raw/*path", REPORTER)
    def latest_artifact(project: Project, ref: str, path: str) -> Response:
        return archive_of(latest_job(project, ref), path)


def _in_scope(jobs: list[Job]) -> list[Job]:
    scopes = request.args.getlist("scope[]") or request.args.getlist("scope")
    return [job for job in jobs if not scopes or job.status in scopes]


def _variables(data: Json) -> dict[str, str]:
    """Pipeline variables as the pipelines API (a list of rows) and the trigger API (a mapping) send them."""
    given: Any = data.get("variables") or {}
    rows = {row["key"]: row["value"] for row in given} if isinstance(given, list) else given
    if not all(isinstance(value, str) for value in rows.values()):
        raise ApiError(400, "variables needs to be a map of key-valued strings")
    return dict(rows)
