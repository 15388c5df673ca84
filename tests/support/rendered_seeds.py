"""The pipelines of the seeds, and what GitLab knows when it renders them."""

from __future__ import annotations

from typing import Any

from components import table
from tests.contract.rendering import (
    ROOT,
    Config,
    configuration,
    jobs_of,
    render,
)

DEPLOY_JOBS = table.PIPELINES["model-deploy"]
JOBS = [*table.PIPELINES["model-build"], *DEPLOY_JOBS]  # those of the seeds

KINDS: dict[str, dict[str, Any]] = {
    "push": {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"},
    "schedule": {"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main"},
    "trigger": {"CI_PIPELINE_SOURCE": "trigger", "CI_COMMIT_BRANCH": "main"},
    "merge request": {"CI_PIPELINE_SOURCE": "merge_request_event"},
    "feature branch": {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "feature"},
    "tag": {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_TAG": "1.0.0"},
}


def seed(name: str) -> str:
    return (ROOT / name / ".gitlab-ci.yml").read_text()


def include(component: str, inputs: Config) -> dict[str, Config]:
    """The jobs of one component with these inputs."""
    return jobs_of(render(configuration((component, inputs))))
