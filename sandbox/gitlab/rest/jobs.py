"""Jobs: https://docs.gitlab.com/api/jobs/. Their artifacts are in `artifacts.py`."""

from __future__ import annotations

from flask import Response, request

from sandbox.gitlab.records.store import DEVELOPER, REPORTER, Job, Project, now
from sandbox.gitlab.rest.api import Api, current_job, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    Json,
    bad_parameter,
    bad_request,
    boolean,
    forbidden,
    mapping,
    not_found,
    parameters,
    rows,
)
from sandbox.gitlab.rest.pipelines import STATUSES, check_may_run, pipeline_of
from sandbox.gitlab.rest.resources import page_of
from sandbox.gitlab.run.pipelines import Forbidden, Refused
from sandbox.gitlab.run.scheduling import COMPLETED

BASE = "/projects/:project/jobs"


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    _read(api, entities)
    _change(api, entities)


def job_of(project: Project, key: str) -> Job:
    """The project's job of this number. Raises 404."""
    job = next((job for job in project.jobs() if str(job.id) == key), None)
    if job is None:
        raise not_found()
    return job


def _read(api: Api, entities: Entities) -> None:
    @api.action("GET", "/job")
    def own_job() -> Json:
        job = current_job()
        if job is None:
            raise not_found("Job")
        return entities.job(job)

    @api.action("GET", BASE, REPORTER)
    def list_jobs(project: Project) -> Response:
        return page_of(_in_scope(sorted(project.jobs(), key=lambda job: -job.id)), entities.job, counted=False)

    @api.action("GET", "/projects/:project/pipelines/:key/jobs", REPORTER)
    def pipeline_jobs(project: Project, key: str) -> Response:
        pipeline = pipeline_of(project, key)
        jobs = pipeline.jobs if boolean(request.args, "include_retried") else pipeline.current_jobs()
        return page_of(_in_scope(jobs)[::-1], entities.job)

    @api.action("GET", f"{BASE}/:key", REPORTER)
    def get_job(project: Project, key: str) -> Json:
        return entities.job(job_of(project, key))

    @api.action("GET", f"{BASE}/:key/trace", REPORTER)
    def trace(project: Project, key: str) -> Response:
        job = job_of(project, key)
        headers = {"Content-Disposition": f'infile; filename="{job.id}.log"'}
        content = job.trace.read_bytes() if job.trace.exists() else b""
        return Response(content, mimetype="text/plain", headers=headers)


def _in_scope(jobs: list[Job]) -> list[Job]:
    scopes = request.args.getlist("scope[]") or request.args.getlist("scope")
    if not set(scopes) <= set(STATUSES):
        raise bad_parameter("scope does not have a valid value")
    return [job for job in jobs if not scopes or job.status in scopes]


def _change(api: Api, entities: Entities) -> None:
    engine = api.engine

    def changeable(project: Project, key: str) -> Job:
        job = job_of(project, key)
        check_may_run(api, job.pipeline)
        if not api.store.may_deploy(current_user(), job):
            raise forbidden()
        return job

    @api.action("POST", f"{BASE}/:key/cancel", DEVELOPER, status=201)
    def cancel_job(project: Project, key: str) -> Json:
        job = changeable(project, key)
        engine.cancel_job(job)
        return entities.job(job)

    @api.action("POST", f"{BASE}/:key/retry", DEVELOPER, status=201)
    def retry_job(project: Project, key: str) -> Json:
        data = parameters()
        job, variables = changeable(project, key), _job_variables(data)
        _refuse_inputs(data)
        try:
            return entities.job(engine.retry(job, current_user(), variables))
        except Forbidden as error:
            raise forbidden() from error
        except Refused as error:
            raise forbidden(str(error)) from error

    @api.action("POST", f"{BASE}/:key/play", DEVELOPER)
    def play_job(project: Project, key: str) -> Json:
        data = parameters()
        variables = _job_variables(data)
        job = changeable(project, key)
        _refuse_inputs(data)
        try:
            return entities.job(engine.play(job, current_user(), variables or {}))
        except Forbidden as error:
            raise forbidden() from error
        except Refused as error:
            raise bad_request(str(error)) from error

    @api.action("POST", f"{BASE}/:key/erase", DEVELOPER, status=201)
    def erase_job(project: Project, key: str) -> Json:
        job = job_of(project, key)
        if job.status not in COMPLETED or job.erased_at or not (job.archive.exists() or job.trace.exists()):
            raise forbidden("Job is not erasable!")
        with api.store.lock:
            job.archive.unlink(missing_ok=True)
            job.trace.unlink(missing_ok=True)
            job.reports.clear()
            job.erased_at = now()
        return entities.job(job)


def _job_variables(data: Json) -> dict[str, str] | None:
    """What a manual job is played with; None where nothing is said."""
    if "job_variables_attributes" not in data:
        return None
    return {str(row["key"]): str(row["value"]) for row in rows(data, "job_variables_attributes", "key", "value")}


def _refuse_inputs(data: Json) -> None:
    """The compiler refuses jobs with inputs, so every input is one that the job does not have."""
    if inputs := mapping(data, "job_inputs"):
        raise bad_request(f"Unknown input{'s' if len(inputs) > 1 else ''}: {', '.join(inputs)}")
