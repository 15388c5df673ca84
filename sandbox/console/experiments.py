"""The runs of a model experiment, as GitLab's page of it lists them; asked by MLflow's API, which GitLab answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gitlab.exceptions import GitlabHttpError


class Run(NamedTuple):
    """One training."""

    name: str
    status: str
    when: datetime
    metrics: Mapping[str, float]
    params: Mapping[str, str]


def runs(project: Any, identity: str) -> tuple[str, list[Run]]:
    """The name of an experiment, and its runs with the newest first. Raises LookupError if there is no such one."""
    gitlab, api = project.manager.gitlab, f"/projects/{project.id}/ml/mlflow/api/2.0/mlflow"
    try:
        experiment = gitlab.http_get(f"{api}/experiments/get", query_data={"experiment_id": identity})["experiment"]
    except GitlabHttpError as error:
        raise LookupError(f"experiment {identity}") from error
    answer = gitlab.http_post(f"{api}/runs/search", post_data={"experiment_ids": [identity]})
    return experiment["name"], [_run(row["info"], row["data"]) for row in answer["runs"]]


def _run(info: Mapping[str, Any], data: Mapping[str, Any]) -> Run:
    return Run(
        info.get("run_name") or info["run_id"],
        info["status"].lower(),
        datetime.fromtimestamp(info["start_time"] / 1000, UTC),
        {row["key"]: row["value"] for row in data["metrics"]},
        {row["key"]: row["value"] for row in data["params"]},
    )
