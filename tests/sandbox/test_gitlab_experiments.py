"""Model experiments of the sandbox's GitLab, by MLflow's API: as lib/api/ml/mlflow of GitLab's source answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.gitlab_client import GitLab
from tests.support.gitlab_requests import ask

pytest_plugins = ["tests.support.gitlab_fixtures"]
GUEST, REPORTER, DEVELOPER = 10, 20, 30


@pytest.fixture
def mlflow(gitlab_server: GitLab, repository: Any) -> Callable[..., requests.Response]:
    def call(method: str, path: str, token: str | None = None, **body: Any) -> requests.Response:
        more = {"params": body} if method == "GET" else {"json": body}
        return ask(gitlab_server, method, f"/projects/{repository.id}/ml/mlflow/api/2.0/mlflow{path}", token, **more)

    return call


def test_a_run_tells_what_was_logged_and_a_parameter_stays_what_it_was(
    mlflow: Callable[..., requests.Response],
) -> None:
    created = mlflow("POST", "/experiments/create", name="abalone", tags=[{"key": "owner", "value": "ada"}])
    assert (created.status_code, created.json()) == (
        200,
        {"experiment_id": "1"},
    )  # 201 is an error to MLflow
    experiment = mlflow("GET", "/experiments/get-by-name", experiment_name="abalone").json()["experiment"]
    assert experiment == mlflow("GET", "/experiments/get", experiment_id="1").json()["experiment"]
    assert experiment == {
        "experiment_id": "1",
        "name": "abalone",
        "lifecycle_stage": "active",
        "artifact_location": "not_implemented",
        "tags": [{"key": "owner", "value": "ada"}],
    }
    run = mlflow("POST", "/runs/create", experiment_id="1", start_time=7, run_name="first").json()["run"]
    assert run["data"] == {"metrics": [], "params": [], "tags": []}
    identity = run["info"]["run_id"]
    assert run["info"] | {"artifact_uri": "", "user_id": ""} == {
        "run_id": identity,
        "run_uuid": identity,
        "experiment_id": "1",
        "start_time": 7,
        "run_name": "first",
        "status": "RUNNING",
        "artifact_uri": "",
        "lifecycle_stage": "active",
        "user_id": "",
    }
    metric = {"key": "mse", "value": 4.25, "timestamp": 8, "step": 0}
    for value in ("7", "8"):
        params = [{"key": "MseThreshold", "value": value}]
        assert mlflow("POST", "/runs/log-batch", run_id=identity, metrics=[metric], params=params).json() == {}
    ended = mlflow("POST", "/runs/update", run_id=identity, status="FINISHED", end_time=9).json()["run_info"]
    assert (ended["status"], ended["end_time"]) == ("FINISHED", 9)
    read = mlflow("GET", "/runs/get", run_id=identity).json()["run"]
    assert read["data"] == {"metrics": [metric, metric], "params": [{"key": "MseThreshold", "value": "7"}], "tags": []}
    # `filter` is none of GitLab's parameters.
    sought = mlflow("POST", "/runs/search", experiment_ids=["1"], filter="attributes.run_name = 'other'").json()
    assert sought["runs"] == [read]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/experiments/get", {"experiment_id": "9"}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", "/experiments/get-by-name", {"experiment_name": "none"}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", "/runs/get", {"run_id": "none"}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "/experiments/create", {"name": "there"}, 400, "RESOURCE_ALREADY_EXISTS"),
        (
            "POST",
            "/runs/create",
            {"experiment_id": "1", "tags": [{"key": "long", "value": "x" * 5001}]},
            400,
            "INVALID_PARAMETER_VALUE",
        ),
    ],
)
def test_refusals_have_mlflows_codes(
    mlflow: Callable[..., requests.Response], method: str, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    mlflow("POST", "/experiments/create", name="there")
    answer = mlflow(method, path, **body)
    assert (answer.status_code, answer.json().get("error_code")) == (status, code), answer.text


def test_who_sees_the_project_reads_and_developers_write(
    gitlab_server: GitLab, repository: Any, mlflow: Callable[..., requests.Response]
) -> None:
    mlflow("POST", "/experiments/create", name="abalone")

    def token(level: int, *scopes: str) -> str:
        return str(gitlab_server.user(repository, level, scopes).private_token)

    tokens = {
        "guest": token(GUEST, "api"),
        "reporter": token(REPORTER, "api"),
        "developer": token(DEVELOPER, "api"),
        "developer who may read": token(DEVELOPER, "read_api"),
        "stranger": token(0, "api"),
    }

    def statuses(method: str, path: str) -> dict[str, int]:
        return {who: mlflow(method, path, value, experiment_id="1").status_code for who, value in tokens.items()}

    reads, writes = statuses("GET", "/experiments/get"), statuses("POST", "/runs/create")
    assert reads == dict.fromkeys(tokens, 200) | {"stranger": 404}
    assert writes == {
        "guest": 401,
        "reporter": 401,
        "developer": 200,
        "developer who may read": 403,
        "stranger": 404,
    }


def test_deletion_is_refused_as_lacking(mlflow: Callable[..., requests.Response]) -> None:
    answer = mlflow("POST", "/runs/delete", run_id="1")
    assert answer.status_code == 501
    assert "the sandbox does not have" in answer.text
