"""What a person does in GitLab to take a deployment back: the buttons of an environment, and the job `rollback`."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.component_project import (  # noqa: F401 - the fixture
    Released,
    deploy_repository,
    register_predicting,
    released,
)
from tests.support.gitlab_client import job_of, log_of, reached, settled
from tests.support.servers import Aws, Project
from tests.support.trigger import archive, trigger_stack  # noqa: F401 - the fixture
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(600)
INPUTS = dict.fromkeys(("model_package_arn", "approval_number", "rollback_from"), "")


def to_production(repository: Any, arn: str) -> Any:
    """The pipeline that brought this version to production."""
    pipeline = repository.pipelines.create({"ref": "main", "inputs": {"model_package_arn": arn}})
    assert settled(repository, pipeline, "manual", "failed", seconds=120).status == "manual"
    run(repository, job_of(repository, pipeline, "prod-deploy").id, "play")
    return pipeline


def run(repository: Any, job: int, how: str, **variables: str) -> Any:
    """Play or retry a job; the job that ran, when it has ended."""
    rows = [{"key": key, "value": value} for key, value in variables.items()]
    data = {"job_variables_attributes": rows} if rows else {}
    path = f"/projects/{repository.id}/jobs/{job}/{how}"
    answer = repository.manager.gitlab.http_post(path, post_data=data)
    return reached(repository, repository.jobs.get(answer["id"]), "success", "failed")


def predicts(aws: Aws, project: Project) -> float:
    answer = aws.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=f"{project.name}-prod", Body=b"1,2,3", ContentType="text/csv"
    )
    return float(answer["Body"].read())


def test_a_person_goes_back_by_the_buttons_of_the_environment_and_by_the_job(
    released: Released, aws: Aws, project: Project
) -> None:
    older, newer = register_predicting(aws, project, 4.0), register_predicting(aws, project, 9.0)
    repository = deploy_repository(released, aws, project, "rollback", INPUTS)
    first, second = to_production(repository, older), to_production(repository, newer)
    assert predicts(aws, project) == pytest.approx(9.0)

    # Operate > Environments > prod: the button Rollback of the older deployment retries its job.
    deployments = repository.deployments.list(environment="prod", status="success", order_by="id", sort="desc")
    jobs = [deployment.deployable["id"] for deployment in deployments]
    assert jobs == [job_of(repository, each, "prod-deploy").id for each in (second, first)]
    done = run(repository, jobs[1], "retry")
    assert done.status == "success", done.trace().decode()
    assert "rollback: this pipeline's export has served before" in done.trace().decode()
    assert predicts(aws, project) == pytest.approx(4.0)

    # The job of the newest pipeline, which GitLab still offers, is told that somebody was there before.
    rollback = job_of(repository, second, "rollback")
    assert rollback.status == "manual"
    done = run(repository, rollback.id, "play")
    assert done.status == "failed"
    assert "error SMCI-513: prod was rolled back to version 1" in done.trace().decode()
    done = run(repository, done.id, "retry", SMCI_ROLLBACK_TO="2")
    assert done.status == "success", done.trace().decode()
    assert predicts(aws, project) == pytest.approx(9.0)
    assert "record 4 of prod: rolled back" in log_of(repository, second, "rollback")
    newest = repository.deployments.list(environment="prod", status="success", order_by="id", sort="desc")[0]
    assert newest.deployable["name"] == "rollback"


def test_a_rejection_in_the_registry_takes_the_version_back_from_production(
    released: Released, aws: Aws, project: Project, archive: Path
) -> None:
    sagemaker = aws.client("sagemaker")
    repository = deploy_repository(released, aws, project, "rollback", INPUTS)
    repository.ci_pipeline_variables_minimum_override_role = "maintainer"  # as the seed check-in sets it
    repository.save()
    token = repository.triggers.create({"description": "approvals"}).token
    place = (released.server.url, str(repository.id), token)

    def started(number: int) -> Any:
        """The pipeline that the trigger has started as its `number`th, when it stands still."""

        def look() -> Any:
            pipelines = repository.pipelines.list(source="trigger", order_by="id", sort="asc", get_all=True)
            return pipelines[number - 1] if len(pipelines) >= number else None

        pipeline = wait_for(look, "a pipeline of the trigger")
        return settled(repository, pipeline, "success", "failed", "manual", seconds=120)

    def decide(arn: str, status: str) -> None:
        sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)

    with trigger_stack(aws, project, archive, *place, RollbackOnRejection="true"):
        versions = [register_predicting(aws, project, answer, "PendingManualApproval") for answer in (4.0, 9.0)]
        for number, arn in enumerate(versions, 1):
            decide(arn, "Approved")
            pipeline = started(number)
            assert pipeline.status == "manual"
            run(repository, job_of(repository, pipeline, "prod-deploy").id, "play")
        assert predicts(aws, project) == pytest.approx(9.0)

        decide(versions[1], "Rejected")
        pipeline = started(3)

    assert pipeline.status == "success", log_of(repository, pipeline, "rollback")
    assert [job.name for job in pipeline.jobs.list(get_all=True)] == ["rollback"]
    assert "record 3 of prod: rolled back" in log_of(repository, pipeline, "rollback")
    assert predicts(aws, project) == pytest.approx(4.0)

    pipeline = repository.pipelines.create({"ref": "main", "inputs": {"rollback_from": versions[1]}})
    assert settled(repository, pipeline, "success", "failed", seconds=120).status == "success"
    assert f"Nothing to do: {versions[1]} is not what prod serves." in log_of(repository, pipeline, "rollback")
