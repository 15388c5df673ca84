"""examples/two-models in the sandbox's GitLab: both models to staging, and an approval for one of them."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

from pathlib import Path
from typing import Any

from components import table
from tests.support.component_project import Released, deploy_variables, released  # noqa: F401 - the fixture
from tests.support.gitlab_client import commit, log_of, pipeline_of, settled, statuses
from tests.support.servers import ROOT, Aws, Project, create_project, register
from tests.support.tested_stage import abalone, trained

EXAMPLE = ROOT / "examples" / "two-models"
IDS = {"north": "p-abc123def456", "south": "p-def456abc123"}


def files(folder: Path, projects: dict[str, Project]) -> dict[str, str]:
    """The example's files, for these projects."""
    contents = {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    for name, project in projects.items():
        own = contents[".gitlab-ci.yml"].replace(IDS[name], project.id)
        contents[".gitlab-ci.yml"] = own.replace(
            f"sagemaker_project_name: {name}", f"sagemaker_project_name: {project.name}"
        )
    return contents


def register_trained(aws: Aws, project: Project) -> str:
    """Register an approved version that was trained on abalones, with rows that it has not seen."""
    train, others = abalone()
    s3 = aws.client("s3")
    s3.put_object(Bucket=project.bucket, Key="model.tar.gz", Body=trained(train))
    s3.put_object(Bucket=project.bucket, Key="test.csv", Body=others.to_csv(header=False, index=False).encode())
    held_out = {"HeldOutDataUri": f"s3://{project.bucket}/test.csv"}
    model = f"s3://{project.bucket}/model.tar.gz"
    return register(aws, project.group, model=model, CustomerMetadataProperties=held_out)


def variables(projects: dict[str, Project]) -> dict[str, str]:
    """The CI/CD variables that the example's page names."""
    values: dict[str, str] = {}
    for name, project in projects.items():
        values |= {
            f"{name.upper()}_ARTIFACT_BUCKET": project.bucket,
            f"{name.upper()}_MODEL_EXECUTION_ROLE_ARN": project.model_role,
            f"{name.upper()}_PIPELINE_ROLE_ARN": project.model_role,
        }
    return values


def test_each_model_has_jobs_and_stages_of_its_own(released: Released, aws: Aws) -> None:
    projects = {name: create_project(aws) for name in IDS}
    arns = {name: register_trained(aws, project) for name, project in projects.items()}
    repository = released.consumer("two", deploy_variables(aws) | variables(projects))
    pushed = commit(repository, files(EXAMPLE / "model-deploy", projects))
    pipeline = settled(repository, pipeline_of(repository, pushed.id), seconds=240)
    assert pipeline.yaml_errors is None
    jobs = dict.fromkeys(table.PIPELINES["model-deploy"], "success") | {"prod-deploy": "manual"}
    by_job = statuses(pipeline)
    logs = {name: log_of(repository, pipeline, name) for name, status in by_job.items() if status == "failed"}
    assert by_job == {f"{model}-{job}": status for model in IDS for job, status in jobs.items()}, logs
    for name in IDS:
        assert "2 passed" in log_of(repository, pipeline, f"{name}-test-staging")
    assert variant(aws, projects["north"]).keys() >= {"ServerlessConfig"}

    started = repository.pipelines.create({"ref": "main", "inputs": {"model_package_arn": arns["south"]}})
    assert {name.partition("-")[0] for name in statuses(started)} == {"south"}


def variant(aws: Aws, project: Project) -> dict[str, Any]:
    sagemaker = aws.client("sagemaker")
    name = sagemaker.describe_endpoint(EndpointName=f"{project.name}-staging")["EndpointConfigName"]
    return dict(sagemaker.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"][0])


def test_both_models_are_trained_by_one_repository(released: Released, aws: Aws) -> None:
    projects = {name: create_project(aws) for name in IDS}
    repository = released.consumer("two-build", variables(projects))
    content = files(EXAMPLE / "model-build", projects)[".gitlab-ci.yml"]
    commit(repository, {"README.md": "A model for each market [skip ci]\n"}, commit_message="Begin [skip ci]")
    answer = repository.ci_lint.create({"content": content, "dry_run": True, "include_jobs": True})
    assert answer.valid, answer.errors
    assert {job["name"] for job in answer.jobs} == {"train-north", "train-south"}
