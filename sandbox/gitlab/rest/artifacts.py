"""Artifacts of jobs: https://docs.gitlab.com/api/job_artifacts/."""

from __future__ import annotations

import zipfile

from flask import Response, request

from sandbox.gitlab.records.store import DEVELOPER, MAINTAINER, REPORTER, Job, Project
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.jobs import BASE, job_of
from sandbox.gitlab.rest.parameters import ApiError, Json, required


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""

    @api.action("GET", f"{BASE}/:key/artifacts", REPORTER)
    def artifacts(project: Project, key: str) -> Response:
        return _archive(job_of(project, key))

    @api.action("GET", f"{BASE}/:key/artifacts/*path", REPORTER)
    def artifact(project: Project, key: str, path: str) -> Response:
        return _file(job_of(project, key), path)

    @api.action("GET", f"{BASE}/artifacts/:ref/download", REPORTER)
    def latest_artifacts(project: Project, ref: str) -> Response:
        return _archive(_latest(project, ref))

    @api.action("GET", f"{BASE}/artifacts/:ref/raw/*path", REPORTER)
    def latest_artifact(project: Project, ref: str, path: str) -> Response:
        return _file(_latest(project, ref), path)

    @api.action("POST", f"{BASE}/:key/artifacts/keep", DEVELOPER)
    def keep(project: Project, key: str) -> Json:
        job = job_of(project, key)
        if not job.archive.exists():
            raise _NONE
        job.keeps_artifacts = True
        return entities.job(job)

    @api.action("DELETE", f"{BASE}/:key/artifacts", MAINTAINER)
    def delete(project: Project, key: str) -> None:
        job_of(project, key).archive.unlink(missing_ok=True)


_NONE = ApiError(404, "404 Not Found")


def _latest(project: Project, ref: str) -> Job:
    """The job of the newest successful pipeline of a branch or tag that has one of this name."""
    (name,) = required(request.args, "job")
    for pipeline in reversed(project.pipelines):
        if pipeline.ref == ref and pipeline.status == "success":
            for job in pipeline.current_jobs():
                if job.name == name and job.archive.exists():
                    return job
    raise _NONE


def _archive(job: Job) -> Response:
    if not job.archive.exists():
        raise _NONE
    headers = {"Content-Disposition": 'attachment; filename="artifacts.zip"'}
    return Response(job.archive.read_bytes(), mimetype="application/zip", headers=headers)


def _file(job: Job, path: str) -> Response:
    if ".." in path.split("/") or path.endswith("/"):
        raise ApiError(400, "400 Bad request")
    if not job.archive.exists():
        raise _NONE
    with zipfile.ZipFile(job.archive) as bundle:
        names = bundle.namelist()
        if path in names:
            return Response(bundle.read(path), mimetype="application/octet-stream")
    if any(name.startswith(f"{path}/") for name in names):
        raise ApiError(400, "400 Bad request")
    raise _NONE
