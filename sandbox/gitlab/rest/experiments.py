"""Model experiments, by MLflow's REST API: what GitLab's `lib/api/ml/mlflow` takes, answers and refuses.

https://docs.gitlab.com/user/project/ml/experiment_tracking/mlflow_client/. Of it: what makes and reads experiments and
their runs. The model registry, artifacts and deletion are refused by name, as every route is that is not here.
"""

from __future__ import annotations

from typing import Any

from flask import request

from sandbox.gitlab.records.experiments import Candidate, Experiment
from sandbox.gitlab.records.store import DEVELOPER, GUEST, Project
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import ApiError, Json, bad_parameter, integer, lacking, parameters, required, rows

_BASE = "/projects/:project/ml/mlflow/api/2.0/mlflow"
_STATES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
_LONGEST = {"params": 250, "metadata": 5000}  # of a value: app/models/ml/candidate_param.rb, candidate_metadata.rb
_LONGEST_NAME = 250


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    _add_experiments(api)
    _add_runs(api)
    _add_changes_of_runs(api)


def _add_experiments(api: Api) -> None:
    store = api.store

    @api.action("GET", f"{_BASE}/experiments/get", GUEST)
    def get(project: Project) -> Json:
        return {"experiment": _experiment(_find(project, "iid", request.args.get("experiment_id", "")))}

    @api.action("GET", f"{_BASE}/experiments/get-by-name", GUEST)
    def get_by_name(project: Project) -> Json:
        return {"experiment": _experiment(_find(project, "name", request.args.get("experiment_name", "")))}

    @api.action("POST", f"{_BASE}/experiments/search", GUEST)
    def search(project: Project) -> Json:
        _require_writer(api, project)
        return {"experiments": [_experiment(each) for each in reversed(project.experiments)], "next_page_token": None}

    @api.action("POST", f"{_BASE}/experiments/create", GUEST)
    def create(project: Project) -> Json:
        _require_writer(api, project)
        data = parameters()
        (name,) = required(data, "name")
        with store.lock:
            if any(each.name == name for each in project.experiments):
                raise _refusal(400, "RESOURCE_ALREADY_EXISTS")
            experiment = Experiment(len(project.experiments) + 1, str(name))
            experiment.metadata |= {row["key"]: row["value"] for row in rows(data, "tags", "key", "value")}
            project.experiments.append(experiment)
        return {"experiment_id": str(experiment.iid)}


def _add_runs(api: Api) -> None:
    store = api.store

    @api.action("POST", f"{_BASE}/runs/create", GUEST)
    def create(project: Project) -> Json:
        _require_writer(api, project)
        data = parameters()
        experiment = _find(project, "iid", str(required(data, "experiment_id")[0]))
        tags = {row["key"]: row["value"] for row in rows(data, "tags", "key", "value")}
        with store.lock:
            count = sum(len(each.candidates) for each in project.experiments)
            name = data.get("run_name") or tags.get("mlflow.runName")
            candidate = Candidate(count + 1, current_user().id, name, integer(data, "start_time", 0) or 0)
            _set_tags(api, project, candidate, tags)
            experiment.candidates.append(candidate)
        return {"run": _run(project, experiment, candidate)}

    @api.action("GET", f"{_BASE}/runs/get", GUEST)
    def get(project: Project) -> Json:
        return {"run": _run(project, *_find_run(project, request.args.get("run_id", "")))}

    @api.action("POST", f"{_BASE}/runs/search", GUEST)
    def search(project: Project) -> Json:
        _require_writer(api, project)
        data = parameters()
        identities = data.get("experiment_ids") or []
        if not identities:
            raise bad_parameter("experiment_ids is missing")
        if data.get("order_by") not in (None, "", [], "created_at DESC") or data.get("page_token"):
            raise lacking("another order of runs, and further pages of them")
        # `filter` is no parameter of GitLab's: it is passed over, and every run is answered.
        experiment = _find(project, "iid", str(identities[0]))
        newest = list(reversed(experiment.candidates))[: min(integer(data, "max_results", 200) or 200, 1000)]
        return {"runs": [_run(project, experiment, each) for each in newest], "next_page_token": None}


def _add_changes_of_runs(api: Api) -> None:
    store = api.store

    @api.action("POST", f"{_BASE}/runs/update", GUEST)
    def update(project: Project) -> Json:
        _require_writer(api, project)
        data = parameters()
        experiment, candidate = _find_run(project, str(required(data, "run_id")[0]))
        if (status := data.get("status")) is not None and status not in _STATES:
            raise bad_parameter("status does not have a valid value")
        with store.lock:
            candidate.status = str(status or candidate.status).lower()
            candidate.end_time = integer(data, "end_time", candidate.end_time)
        return {"run_info": _info(project, experiment, candidate)}

    @api.action("POST", f"{_BASE}/runs/log-batch", GUEST)
    def log_batch(project: Project) -> Json:
        _require_writer(api, project)
        data = parameters()
        _, candidate = _find_run(project, str(required(data, "run_id")[0]))
        metrics = rows(data, "metrics", "key", "value", "timestamp")
        params = {row["key"]: row["value"] for row in rows(data, "params", "key", "value")}
        tags = {row["key"]: row["value"] for row in rows(data, "tags", "key", "value")}
        with store.lock:
            _require_short("params", params)
            _set_tags(api, project, candidate, tags)
            candidate.metrics += [
                {key: row.get(key) for key in ("key", "value", "timestamp", "step")} for row in metrics
            ]
            candidate.params = params | candidate.params  # what is there stays
        return {}


# --- who, and what ---------------------------------------------------------------------------------------------------


def _require_writer(api: Api, project: Project) -> None:
    """Developers write; whoever only sees the project gets 401, as `check_api_write!` of GitLab's source does."""
    if api.store.access_level(current_user(), project) < DEVELOPER:
        raise ApiError(401, "401 Unauthorized")


def _refusal(status: int, code: str, message: str | None = None) -> ApiError:
    """An error in MLflow's own form, which has a code in place of GitLab's message."""
    error = ApiError(status, code, key="error_code")
    error.body |= {"message": message} if message else {}
    return error


def _find(project: Project, field: str, value: str) -> Experiment:
    match = next((each for each in project.experiments if str(getattr(each, field)) == value), None)
    if match is None:
        raise _refusal(404, "RESOURCE_DOES_NOT_EXIST")
    return match


def _find_run(project: Project, eid: str) -> tuple[Experiment, Candidate]:
    for experiment in project.experiments:
        for candidate in experiment.candidates:
            if candidate.eid == eid:
                return experiment, candidate
    raise _refusal(404, "RESOURCE_DOES_NOT_EXIST")


def _set_tags(api: Api, project: Project, candidate: Candidate, tags: dict[str, Any]) -> None:
    """Keep them; `gitlab.CI_JOB_ID` names the job that made the run."""
    _require_short("metadata", tags)
    if (number := tags.get("gitlab.CI_JOB_ID")) is not None:
        jobs = (job for each in api.store.projects for pipeline in each.pipelines for job in pipeline.jobs)
        candidate.job_id = next((job.id for job in jobs if str(job.id) == number), None)
        if candidate.job_id is None:
            raise ApiError(500, "500 Internal Server Error")  # GitLab's ArgumentError, which nothing rescues
    candidate.metadata = tags | candidate.metadata


def _require_short(column: str, values: dict[str, Any]) -> None:
    longest = _LONGEST[column]
    if any(len(key) > _LONGEST_NAME or len(str(value)) > longest for key, value in values.items()):
        raise _refusal(400, "INVALID_PARAMETER_VALUE", f"a value of {column} is longer than {longest} characters")


# --- as MLflow writes them: lib/api/entities/ml/mlflow ---------------------------------------------------------------


def _experiment(experiment: Experiment) -> Json:
    return {
        "experiment_id": str(experiment.iid),
        "name": experiment.name,
        "lifecycle_stage": "active",
        "artifact_location": "not_implemented",
        "tags": [{"key": key, "value": value} for key, value in experiment.metadata.items()],
    }


def _run(project: Project, experiment: Experiment, candidate: Candidate) -> Json:
    return {
        "info": _info(project, experiment, candidate),
        "data": {
            "metrics": candidate.metrics,
            "params": [{"key": key, "value": value} for key, value in candidate.params.items()],
            "tags": [{"key": key, "value": value} for key, value in candidate.metadata.items()],
        },
    }


def _info(project: Project, experiment: Experiment, candidate: Candidate) -> Json:
    files = f"{request.url_root}api/v4/projects/{project.id}/packages/ml_models/candidate:{candidate.iid}/files/"
    info = {
        "run_id": candidate.eid,
        "run_uuid": candidate.eid,
        "experiment_id": str(experiment.iid),
        "start_time": candidate.start_time,
        "end_time": candidate.end_time,
        "run_name": candidate.name,
        "status": candidate.status.upper(),
        "artifact_uri": files,
        "lifecycle_stage": "active",
        "user_id": str(candidate.user_id),
    }
    return {key: value for key, value in info.items() if value is not None}
