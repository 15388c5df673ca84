"""Trainings as runs of MLflow experiments, by MLflow's own client: in the sandbox's GitLab, and on a real server."""

# ruff: noqa: F811 - the fixtures are used under the names they are imported by

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from typing import Any, NamedTuple

import pytest
import requests

from sandbox import job_images
from tests.support.gitlab_client import GitLab, access_token, commit, job_of, pipeline_of
from tests.support.run_pipeline import MEASURE, PIPELINE, Repository, repository  # noqa: F401 - the fixture
from tests.support.sdk_pipelines import run
from tests.support.waiting import wait_for

pytest_plugins = ["tests.support.gitlab_fixtures"]
DEVELOPER = 30
CI = "job:\n  script: ['true']\n"


class Training(NamedTuple):
    """model-build in GitLab, a job of it, and how that job trains."""

    repository: Repository
    project: Any
    environ: dict[str, str]

    def run(self, **environ: str) -> subprocess.CompletedProcess[str]:
        kwargs = json.dumps({"evaluate": MEASURE})
        options = ("--experiment", "abalone", "--kwargs", kwargs, "--parameter", "MseThreshold=7")
        return run(self.repository, "v3", PIPELINE, *options, **self.environ | environ)

    def execution(self) -> str:
        [execution] = self.repository.executions()
        return str(execution["PipelineExecutionArn"])


@pytest.fixture
def training(gitlab_server: GitLab, group: Any, repository: Repository) -> Training:
    job_images.build(print)
    project = gitlab_server.client.projects.create({"name": "model-build", "namespace_id": group.id})
    change = commit(project, {".gitlab-ci.yml": CI})
    job = job_of(project, pipeline_of(project, change.id), "job")
    environ = {
        "CI_API_V4_URL": f"{gitlab_server.url}/api/v4",
        "CI_PROJECT_ID": str(project.id),
        "CI_PROJECT_URL": project.web_url,
        "CI_JOB_ID": str(job.id),
        "MLFLOW_TRACKING_TOKEN": access_token(project, DEVELOPER),
    }
    return Training(repository, project, environ)


def runs(url: str, experiment: str, **headers: str) -> list[dict[str, Any]]:
    """What a server answers to MLflow's own calls."""
    api = f"{url}/api/2.0/mlflow"
    described = requests.get(
        f"{api}/experiments/get-by-name", params={"experiment_name": experiment}, headers=headers, timeout=10
    ).json()
    identity = described["experiment"]["experiment_id"]
    answer = requests.post(f"{api}/runs/search", json={"experiment_ids": [identity]}, headers=headers, timeout=10)
    rows = answer.json().get("runs", [])
    return [
        row["info"] | {key: _pairs(row["data"].get(key, [])) for key in ("metrics", "params", "tags")} for row in rows
    ]


def _pairs(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {row["key"]: row["value"] for row in rows}


def in_gitlab(training: Training) -> list[dict[str, Any]]:
    api = f"{training.environ['CI_API_V4_URL']}/projects/{training.project.id}/ml/mlflow"
    return runs(api, "abalone", **{"PRIVATE-TOKEN": training.environ["MLFLOW_TRACKING_TOKEN"]})


def test_a_training_and_its_retry_are_one_run_of_an_experiment_in_gitlab(training: Training) -> None:
    done = training.run()
    assert done.returncode == 0, done.stdout + done.stderr
    [execution], [only] = [training.execution()], in_gitlab(training)
    name = execution.rpartition("/")[2]
    assert f"run {name} of the experiment abalone is kept in GitLab\n" in done.stdout
    assert (only["run_name"], only["status"]) == (name, "FINISHED")
    assert only["params"] == {"MseThreshold": "7"}
    assert only["metrics"] == {"metrics.mse": 4.25}
    assert only["start_time"] <= only["end_time"]
    [package] = training.repository.packages()
    assert only["tags"]["ModelPackageArn"] == package["ModelPackageArn"]
    assert only["tags"]["gitlab.CI_JOB_ID"] == training.environ["CI_JOB_ID"]
    [links] = json.loads(training.repository.report("annotations.json")).values()
    page = f"{training.project.web_url}/-/ml/experiments/1"
    assert {"external_link": {"label": "Experiment abalone", "url": page}} in links

    retried = training.run(CI_JOB_NAME="training")
    assert retried.returncode == 0, retried.stderr
    assert [each["run_id"] for each in in_gitlab(training)] == [only["run_id"]]


def test_what_keeps_runs_from_being_taken_is_told_before_anything_starts(training: Training) -> None:
    without = training.run(MLFLOW_TRACKING_TOKEN="")
    assert without.stderr.startswith("error SMCI-332: MLFLOW_TRACKING_TOKEN is not set: GitLab takes no runs with the")
    refused = training.run(MLFLOW_TRACKING_TOKEN="glpat-of-nobody-00000\n")
    assert refused.stderr.startswith("error SMCI-332: GitLab does not take runs of the experiment 'abalone': ")
    assert "401" in refused.stderr
    assert "glpat-of-nobody" not in refused.stdout + refused.stderr
    unfit = training.run(MLFLOW_TRACKING_TOKEN="glpat-of-nobody\n00000")
    assert unfit.stderr.startswith("error SMCI-332: MLFLOW_TRACKING_TOKEN has spaces, line breaks")
    assert "glpat-of-nobody" not in unfit.stdout + unfit.stderr
    assert training.repository.executions() == []


def test_a_run_that_is_refused_in_the_end_is_told_and_the_training_is_not_lost(training: Training) -> None:
    done = training.run(CI_JOB_ID="987654321")  # GitLab fails at the tag of a job that it does not have
    assert done.returncode == 0, done.stderr
    assert "warning: GitLab did not take the run " in done.stdout
    assert len(training.repository.packages()) == 1


def test_a_job_without_mlflow_says_which_image_has_it(repository: Repository) -> None:
    done = repository.run("--experiment", "abalone")
    assert done.stderr.startswith("error SMCI-332: the job's image has no MLflow client")
    assert "`sagemaker_sdk: v3`" in done.stderr
    assert repository.executions() == []


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = job_images.FOLDER / "training-sdk-v3" / "bin" / "mlflow"
    command = [str(program), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        f"{folder}/artifacts",
    ]
    with (
        (folder / "mlflow.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as server,
    ):
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert server.poll() is None, (folder / "mlflow.log").read_text()
            try:
                return requests.get(f"{url}/health", timeout=2).ok
            except requests.RequestException:
                return False

        try:
            wait_for(answers, "the MLflow server", 120)
            yield url
        finally:
            server.terminate()


def test_a_real_mlflow_server_takes_the_same_run(training: Training, tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with mlflow_server(folder) as url:
        done = training.run(MLFLOW_TRACKING_URI=url, MLFLOW_TRACKING_TOKEN="")
        assert done.returncode == 0, done.stdout + done.stderr
        [only] = runs(url, "abalone")
        training.run(MLFLOW_TRACKING_URI=url, MLFLOW_TRACKING_TOKEN="")
        assert [each["run_id"] for each in runs(url, "abalone")] == [only["run_id"]]
    assert (only["status"], only["params"], only["metrics"]) == (
        "FINISHED",
        {"MseThreshold": "7"},
        {"metrics.mse": 4.25},
    )
    assert only["tags"]["PipelineExecutionArn"] == training.execution()
    assert "gitlab.CI_JOB_ID" not in only["tags"]
