"""`build` claims the approval that started its pipeline; a second pipeline of the same one deploys nothing."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from botocore.exceptions import ClientError

from ci_scripts import approval_claim, job, settings
from ci_scripts.settings import STAGES
from tests.support.build import EXPORTS, repository  # noqa: F401 - the fixture
from tests.support.job_roles import Job
from tests.support.roles import Roles
from tests.support.servers import Aws, Project, register, sagemaker_ci

JOB = {"CI_JOB_ID": "1", "CI_PROJECT_URL": "https://gitlab.example.com/data-science/deploy"}


def approvals_table(aws: Aws, name: str, project_id: str) -> str:
    """The table as infra/trigger.yml makes it."""
    table = f"sagemaker-{name}-{project_id}-approvals"
    aws.client("dynamodb").create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    return table


def build(project: Project, folder: Path, pipeline: str, arn: str, number: str = "1") -> CompletedProcess[str]:
    variables = {"CI_PIPELINE_ID": pipeline, "SMCI_MODEL_PACKAGE_ARN": arn, "SMCI_APPROVAL_NUMBER": number}
    return sagemaker_ci("build", environ=project.environ | JOB | variables, cwd=folder)


def exports(folder: Path) -> set[str]:
    return {name for name in EXPORTS if (folder / name).exists()}


def dotenv(folder: Path) -> dict[str, str]:
    lines = (folder / "sagemaker-ci-reports" / "job.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_a_second_pipeline_of_one_approval_ends_green_and_deploys_nothing(
    aws: Aws, project: Project, repository: Path
) -> None:
    approvals_table(aws, project.name, project.id)
    arn = register(aws, project.group)
    assert build(project, repository, "101", arn).returncode == 0
    assert exports(repository) == set(EXPORTS)

    second = build(project, repository, "102", arn)

    assert second.returncode == 0, second.stderr
    owner = f"{JOB['CI_PROJECT_URL']}/-/pipelines/101"
    assert f"belongs to {owner}: this pipeline deploys nothing" in second.stdout
    assert exports(repository) == set()
    handed_on = dotenv(repository)
    assert handed_on == {approval_claim.OWNER: owner}
    # What GitLab hands on to the later jobs.
    for command in (["deploy", "--stage", "staging"], ["test", "--stage", "staging"], ["deploy", "--stage", "prod"]):
        later = sagemaker_ci(*command, environ=project.environ | JOB | handed_on, cwd=repository)
        assert later.returncode == 0, later.stderr
        assert owner in later.stdout
    for stage in STAGES:
        with pytest.raises(ClientError, match="does not exist"):
            aws.client("cloudformation").describe_stacks(
                StackName=f"sagemaker-{project.name}-{project.id}-deploy-{stage}"
            )


def test_a_retried_build_keeps_its_claim(aws: Aws, project: Project, repository: Path) -> None:
    table = approvals_table(aws, project.name, project.id)
    arn = register(aws, project.group)
    assert build(project, repository, "101", arn).returncode == 0
    [first] = aws.client("dynamodb").scan(TableName=table)["Items"]

    again = build(project, repository, "101", arn)

    assert again.returncode == 0
    assert "approval 1 of" in again.stdout
    assert exports(repository) == set(EXPORTS)
    assert aws.client("dynamodb").scan(TableName=table)["Items"] == [first]


def test_another_approval_of_the_same_version_is_another_claim(aws: Aws, project: Project, repository: Path) -> None:
    approvals_table(aws, project.name, project.id)
    arn = register(aws, project.group)
    for pipeline, number in (("101", "1"), ("102", "2")):
        assert build(project, repository, pipeline, arn, number).returncode == 0
        assert exports(repository) == set(EXPORTS)


def test_a_pipeline_that_a_person_starts_claims_nothing(aws: Aws, project: Project, repository: Path) -> None:
    arn = register(aws, project.group)  # and there is no table
    assert build(project, repository, "101", arn, number="").returncode == 0
    assert exports(repository) == set(EXPORTS)


def test_one_of_many_builds_at_once_gets_the_approval(aws: Aws, project: Project) -> None:
    approvals_table(aws, project.name, project.id)
    arn, dynamodb = register(aws, project.group), aws.client("dynamodb")
    pipelines = {f"pipeline {number}": job.current({"CI_PIPELINE_ID": str(number)}) for number in range(100, 112)}

    def attempt(this: job.Job) -> str:
        return approval_claim.claim(dynamodb, settings.load_project(project.environ), arn, "1", this)

    with ThreadPoolExecutor(len(pipelines)) as pool:
        owners = dict(zip(pipelines, pool.map(attempt, pipelines.values()), strict=True))
    [winner] = [pipeline for pipeline, owner in owners.items() if not owner]
    assert {owner for pipeline, owner in owners.items() if pipeline != winner} == {winner}


@pytest.mark.parametrize("number", ["0", "-1", "one", "1.5", "1; rm -rf /"])
def test_what_is_no_number_is_refused(aws: Aws, project: Project, repository: Path, number: str) -> None:
    result = build(project, repository, "101", register(aws, project.group), number)
    assert result.returncode == 1
    assert "SMCI-101" in result.stderr
    assert exports(repository) == set()


def test_a_missing_table_fails_and_says_what_to_do(aws: Aws, project: Project, repository: Path) -> None:
    result = build(project, repository, "101", register(aws, project.group))
    assert result.returncode == 1
    assert "SMCI-415" in result.stderr
    assert f"sagemaker-{project.name}-{project.id}-approvals" in result.stderr
    assert exports(repository) == set()


def test_the_role_of_build_writes_claims_alone(roles: Roles) -> None:
    table = approvals_table(roles.aws, "abalone", "p-sandbox01")
    dynamodb = Job(roles, "Build").client("dynamodb")
    update = {"TableName": table, "UpdateExpression": "SET #p = :p", "ExpressionAttributeNames": {"#p": "pipeline"}}
    update |= {"ExpressionAttributeValues": {":p": {"S": "101"}}}
    try:
        dynamodb.update_item(Key={"id": {"S": "claim#arn#1"}}, **update)
        for other in ("approval#1", "transitions#arn", "claims"):
            with pytest.raises(ClientError, match="AccessDenied"):
                dynamodb.update_item(Key={"id": {"S": other}}, **update)
        with pytest.raises(ClientError, match="AccessDenied"):
            dynamodb.get_item(TableName=table, Key={"id": {"S": "claim#arn#1"}})
        with pytest.raises(ClientError, match="AccessDenied"):
            dynamodb.delete_item(TableName=table, Key={"id": {"S": "claim#arn#1"}})
        assert json.dumps(roles.aws.client("dynamodb").scan(TableName=table)["Items"]).count("claim#") == 1
    finally:
        roles.aws.client("dynamodb").delete_table(TableName=table)
