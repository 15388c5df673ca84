"""`sagemaker-ci teardown`, and the job by which GitLab stops an environment: nothing is left, and it comes back."""

# ruff: noqa: F811 - the fixtures are used under the names they are imported by

from __future__ import annotations

from typing import Any

import pytest

from tests.support.component_project import (  # noqa: F401 - the fixture
    Released,
    deploy_repository,
    register_predicting,
    released,
)
from tests.support.deployment import Deployment, create_user, deployment, failed, forbid, succeeded  # noqa: F401
from tests.support.gitlab_client import job_of, log_of, settled, statuses
from tests.support.hosting import model_predicting
from tests.support.records import deploy_version, events_of, of_pipeline, records, two_versions
from tests.support.servers import Aws, Project
from tests.support.waiting import wait_for


def left_over(deployment: Deployment) -> list[str]:
    """The names of what the stage has in SageMaker."""
    sagemaker, name = deployment.aws.client("sagemaker"), f"{deployment.project.name}-staging"
    return [each["EndpointName"] for each in sagemaker.list_endpoints(NameContains=name)["Endpoints"]]


def tear_down(deployment: Deployment, **variables: str) -> Any:
    return deployment.run("teardown", "--stage", "staging", **variables)


def test_a_stage_is_deleted_and_comes_back_byte_for_byte(deployment: Deployment) -> None:
    two_versions(deployment)
    log = succeeded(tear_down(deployment, **of_pipeline(8, attempt=2, person="bob")))
    assert "DELETE_COMPLETE Endpoint" in log
    assert "record 3 of staging: torn down" in log
    assert (deployment.stack(), left_over(deployment)) == (None, [])

    serves = succeeded(deployment.run("status"))
    assert "nothing is recorded" in serves, "of production"
    (line,) = [line for line in serves.splitlines() if " staging " in line]
    assert [" - " in line, " torn down " in line, " bob " in line] == [True, True, True]
    log = succeeded(tear_down(deployment, **of_pipeline(8, attempt=3)))
    assert "there is none" in log
    assert "nothing to record: that is known" in log

    assert "nothing is deployed to staging" in succeeded(deployment.run("drift", "--stage", "staging"))

    log = succeeded(deployment.run("rollback", "--stage", "staging", **of_pipeline(9)))
    assert "back to:  version 2, deployed on " in log
    assert deployment.prediction() == pytest.approx(9.0)
    assert events_of(deployment)[2:] == ["torn down 2 of 8", "deployed 2 of 9"]
    assert records(deployment)[3]["Export"] == records(deployment)[1]["Export"]
    assert records(deployment)[3]["TakenBack"] == {}


def test_the_next_deployment_brings_a_stage_back_and_so_does_the_same_job_again(deployment: Deployment) -> None:
    older = deployment.register(model_predicting(4.0))
    succeeded(deploy_version(deployment, older, **of_pipeline(7)))
    succeeded(tear_down(deployment, **of_pipeline(7)))
    log = succeeded(deployment.deploy(**of_pipeline(7, attempt=2)))
    assert "staging was torn down on " in log
    assert deployment.prediction() == pytest.approx(4.0)
    succeeded(tear_down(deployment, **of_pipeline(7)))
    newer = deployment.register(model_predicting(9.0))
    succeeded(deploy_version(deployment, newer, **of_pipeline(8)))
    assert deployment.prediction() == pytest.approx(9.0)
    assert [each.rpartition(" of ")[0] for each in events_of(deployment)] == [
        "deployed 1", "torn down 1", "deployed 1", "torn down 1", "deployed 2",
    ]  # fmt: skip


def test_an_old_pipeline_deletes_only_what_it_has_brought_back_itself(deployment: Deployment) -> None:
    older, newer = deployment.register(model_predicting(4.0)), deployment.register(model_predicting(9.0))
    succeeded(deploy_version(deployment, older, **of_pipeline(7)))
    exported = (deployment.folder / "staging-config-export.json").read_bytes()
    succeeded(deploy_version(deployment, newer, **of_pipeline(8)))
    error = failed(tear_down(deployment, **of_pipeline(7)), "SMCI-505")
    assert "pipeline 8 has deployed to " in error
    assert "nothing was deleted" in error
    assert deployment.prediction() == pytest.approx(9.0)

    (deployment.folder / "staging-config-export.json").write_bytes(exported)
    succeeded(deployment.deploy(**of_pipeline(7, attempt=2)))  # the Rollback button
    assert deployment.prediction() == pytest.approx(4.0)
    succeeded(tear_down(deployment, **of_pipeline(7)))
    assert left_over(deployment) == []


def test_a_teardown_that_could_not_be_recorded_is_recorded_by_the_next(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy(**of_pipeline(7)))
    user, keys = create_user(deployment.aws)
    forbid(deployment.aws, user, "s3:PutObject")
    error = failed(tear_down(deployment, **of_pipeline(7), **keys), "SMCI-509")
    assert "staging is torn down, but s3://" in error
    assert left_over(deployment) == []
    assert events_of(deployment) == ["deployed 1 of 7"]
    succeeded(tear_down(deployment, **of_pipeline(7)))
    assert events_of(deployment) == ["deployed 1 of 7", "torn down 1 of 7"]


def test_a_stack_that_is_protected_stays_and_the_job_says_why(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy(**of_pipeline(7)))
    cloudformation = deployment.aws.client("cloudformation")
    protection = {"StackName": deployment.stack_name(), "EnableTerminationProtection": True}
    cloudformation.update_termination_protection(**protection)
    assert "TerminationProtection is enabled" in failed(tear_down(deployment, **of_pipeline(7)), "SMCI-504")
    assert deployment.prediction() == pytest.approx(4.0)
    assert events_of(deployment) == ["deployed 1 of 7"]


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_where_nothing_was_ever_deployed_there_is_nothing_to_do(deployment: Deployment, stage: str) -> None:
    log = succeeded(deployment.run("teardown", "--stage", stage))
    assert "there is none" in log
    assert f"nothing is recorded of {stage}" in log
    assert records(deployment, stage) == []


# --- in GitLab -------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_gitlab_stops_staging_when_a_person_asks_and_when_its_time_is_over(
    released: Released, aws: Aws, project: Project
) -> None:
    arn = register_predicting(aws, project, 4.0)
    repository = deploy_repository(
        released, aws, project, "teardown", {"model_package_arn": "", "auto_stop_in": "never"}
    )

    def deployed(**inputs: str) -> Any:
        pipeline = repository.pipelines.create({"ref": "main", "inputs": {"model_package_arn": arn, **inputs}})
        return settled(repository, pipeline, "manual", "failed", seconds=120)

    def staging() -> Any:
        return repository.environments.list(name="staging", get_all=True)[0]

    def endpoints() -> list[Any]:
        listed: list[Any] = aws.client("sagemaker").list_endpoints(NameContains=project.name)["Endpoints"]
        return listed

    pipeline = deployed()
    assert statuses(pipeline) == {
        "build": "success", "staging-deploy": "success", "test-staging": "success",
        "prod-deploy": "manual", "teardown": "manual",
    }  # fmt: skip
    assert (staging().state, staging().auto_stop_at, len(endpoints())) == ("available", None, 1)
    staging().stop()
    wait_for(lambda: staging().state == "stopped", "a stopped environment")
    assert job_of(repository, pipeline, "teardown").status == "success", log_of(repository, pipeline, "teardown")
    assert endpoints() == []

    pipeline = deployed(auto_stop_in="6 seconds")
    assert statuses(pipeline)["staging-deploy"] == "success"
    wait_for(lambda: staging().state == "stopped", "the end of its time")
    assert job_of(repository, pipeline, "teardown").status == "success", log_of(repository, pipeline, "teardown")
    assert (staging().auto_stop_at, endpoints()) == (None, [])
