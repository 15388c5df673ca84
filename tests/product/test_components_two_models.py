"""Two models in one repository, each by its own components."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import textwrap
from typing import NamedTuple

import yaml

from ci_scripts import __version__
from components import table
from tests.support.component_project import COMPONENTS, Released, deploy_variables, register_predicting, released  # noqa: F401 - the fixture
from tests.support.gitlab_client import (
    commit,
    log_of,
    pipeline_of,
    settled,
    statuses,
)
from tests.support.servers import ROOT, Aws, Project, create_project

# --- several models in one repository ---------------------------------------------------------------------------------


class Model(NamedTuple):
    """One of the models of a repository: its SageMaker project, its version, and what that predicts."""

    project: Project
    arn: str
    predicts: float


def two_models(models: dict[str, Model]) -> dict[str, str]:
    """A model-deploy repository that includes the aggregate once for each model."""
    include = [
        {
            "component": f"$CI_SERVER_FQDN/{COMPONENTS}/model-deploy@{__version__}",
            "inputs": {
                "prefix": f"{name}-",
                "folder": f"models/{name}",
                "sagemaker_project_name": f"${name.upper()}_NAME",  # a CI/CD variable of the project
                "sagemaker_project_id": model.project.id,
                "artifact_bucket": model.project.bucket,
                "model_execution_role_arn": model.project.model_role,
                "model_package_arn": "$[[ inputs.model_package_arn ]]",
            },
        }
        for name, model in models.items()
    ]
    header = {"spec": {"inputs": {"model_package_arn": {"default": ""}}}}
    stages = table.PIPELINES["model-deploy"]
    # What most repositories of Python give their own jobs, and must not reach those of the components.
    of_all_jobs = {"default": {"before_script": ["cat requirements.txt"]}, "variables": {"GIT_STRATEGY": "none"}}
    content = {"stages": stages, "include": include, **of_all_jobs}
    files = {".gitlab-ci.yml": yaml.safe_dump_all([header, content])}
    for name, model in models.items():
        for file in ("endpoint-config-template.yml", "staging-config.json", "prod-config.json"):
            files[f"models/{name}/{file}"] = (ROOT / "seed-deploy" / file).read_text()
        files[f"models/{name}/tests/test_endpoint.py"] = textwrap.dedent(
            f"""
            def test_it_is_this_model(endpoint):
                assert endpoint.model_package_arn == {model.arn!r}
                assert abs(endpoint.predict([[1, 2, 3]])[0] - {model.predicts}) < 0.1
            """
        )
    return files


def test_one_repository_deploys_two_models_and_an_approval_concerns_one_of_them(released: Released, aws: Aws) -> None:
    models = {}
    for name, predicts in (("ants", 4.0), ("bees", 9.0)):
        project = create_project(aws)
        models[name] = Model(project, register_predicting(aws, project, predicts), predicts)
    names = {f"{name.upper()}_NAME": model.project.name for name, model in models.items()}
    repository = released.consumer("models", deploy_variables(aws) | names)
    pushed = commit(repository, two_models(models))
    pipeline = settled(repository, pipeline_of(repository, pushed.id))
    assert pipeline.yaml_errors is None
    jobs = {"build": "success", "staging-deploy": "success", "test-staging": "success", "prod-deploy": "manual"}
    logs = {
        name: log_of(repository, pipeline, name) for name, status in statuses(pipeline).items() if status == "failed"
    }
    assert statuses(pipeline) == {f"{model}-{job}": status for model in models for job, status in jobs.items()}, logs
    assert {environment.name for environment in repository.environments.list(get_all=True)} == {
        f"{model}-{environment}" for model in models for environment in ("build", "staging", "prod")
    }
    # The trigger names a version of one model: the other is left alone.
    started = repository.pipelines.create({"ref": "main", "inputs": {"model_package_arn": models["bees"].arn}})
    assert set(statuses(started)) == {f"bees-{job}" for job in jobs}
    assert settled(repository, started).status == "manual"
