"""infra/merge-requests.yml, deployed: a merge request trains and cleans up with it, and reaches nothing else."""

# ruff: noqa: F811 - the fixtures are used under the names they are imported by

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from sandbox.gateway import Gateway
from tests.support.identity import Issuer
from tests.support.run_pipeline import MEASURE, PIPELINE, Repository, one_line, repository  # noqa: F401 - the fixture
from tests.support.servers import ROOT, Aws, Project, sagemaker_ci
from tests.support.stacks import infra_stack
from tests.support.trigger import Trigger, archive, trigger  # noqa: F401 - the fixtures

BUILD = "project_id:4711"
FEATURE = f"{BUILD}:ref_type:branch:ref:feature:ref_protected:false"
IN_ITS_OWN_FOLDER = 'f"{default_bucket}/{model_package_group_name}", role'


class MergeRequest(NamedTuple):
    """The jobs of one merge request, as the roles of the stack let them in."""

    repository: Repository
    issuer: Issuer
    outputs: dict[str, str]
    number: str

    @property
    def name(self) -> str:
        return f"{self.repository.project.group}-mr-{self.number}"

    def job(self, *command: str, subject: str = FEATURE, pipeline: int = 100) -> subprocess.CompletedProcess[str]:
        environ = self.repository.environ(pipeline, pipeline) | {
            "AWS_MERGE_REQUEST_ROLE_ARN": self.outputs["MergeRequestRoleArn"],
            "MERGE_REQUEST_PIPELINE_ROLE_ARN": self.outputs["MergeRequestPipelineRoleArn"],
            "MERGE_REQUEST_ALLOWED_STEPS": self.outputs["MergeRequestAllowedSteps"],
            "ALLOWED_STEPS": "Processing,Condition,RegisterModel,Tuning",
            "AWS_ID_TOKEN": self.issuer.token(sub=subject, aud=self.issuer.url),
            "CI_MERGE_REQUEST_IID": self.number,
            "CI_PIPELINE_SOURCE": "merge_request_event",
        }
        return sagemaker_ci(*command, environ=environ, cwd=self.repository.path)

    def train(self, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.job("run-pipeline", "--merge-request", "--kwargs", json.dumps({"evaluate": MEASURE}), **more)

    def client(self, service: str) -> Any:
        """A client of somebody who holds the job's role."""
        answer = self.repository.aws.client("sts").assume_role_with_web_identity(
            RoleArn=self.outputs["MergeRequestRoleArn"],
            RoleSessionName="gitlab-job-1",
            WebIdentityToken=self.issuer.token(sub=FEATURE, aud=self.issuer.url),
        )["Credentials"]
        return self.repository.aws.client(
            service,
            aws_access_key_id=answer["AccessKeyId"],
            aws_secret_access_key=answer["SecretAccessKey"],
            aws_session_token=answer["SessionToken"],
        )


@pytest.fixture
def request_of(repository: Repository, gateway: Gateway) -> Iterator[MergeRequest]:
    path = repository.path / "pipelines" / "abalone" / "pipeline.py"
    path.write_text(PIPELINE.replace("default_bucket, role", IN_ITS_OWN_FOLDER))
    issuer, aws, project = Issuer(gateway), repository.aws, repository.project
    aws.client("s3").put_object(Bucket=project.bucket, Key=f"{project.group}-mr-7/data/rows.csv", Body=b"1,2\n")
    provider = aws.client("iam").create_open_id_connect_provider(
        Url=issuer.url, ClientIDList=[issuer.url], ThumbprintList=["0" * 40]
    )["OpenIDConnectProviderArn"]
    parameters = {
        "SageMakerProjectName": project.name,
        "SageMakerProjectId": project.id,
        "ArtifactBucket": project.bucket,
        "GitLabServerUrl": issuer.url,
        "OidcProviderArn": provider,
        "ModelBuildSubject": BUILD,
    }
    with infra_stack(aws, "merge-requests.yml", parameters) as stack:
        yield MergeRequest(repository, issuer, stack.outputs, "7")
    issuer.server.shutdown()


def test_a_merge_request_trains_and_is_cleaned_up_with_its_roles_alone(request_of: MergeRequest) -> None:
    first = request_of.train()
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"Registered model package arn:aws:sagemaker:eu-west-1:123456789012:model-package/{request_of.name}/1." in (
        first.stdout
    )
    again = request_of.train(pipeline=101)
    assert again.returncode == 0, again.stderr
    sagemaker = request_of.repository.aws.client("sagemaker")
    packages = sagemaker.list_model_packages(ModelPackageGroupName=request_of.repository.project.group)
    assert packages["ModelPackageSummaryList"] == []

    done = request_of.job("cleanup")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"pipeline {request_of.name}: removed\n" in done.stdout
    assert f"model package group {request_of.name}: removed, with 2 versions\n" in done.stdout
    listed = request_of.repository.aws.client("s3").list_object_versions(
        Bucket=request_of.repository.project.bucket, Prefix=f"{request_of.name}/"
    )
    assert "Versions" not in listed
    once_more = request_of.job("cleanup")
    assert once_more.returncode == 0, once_more.stderr
    assert f"pipeline {request_of.name}: is not there\n" in once_more.stdout


def test_cleaning_up_stops_what_still_runs(request_of: MergeRequest) -> None:
    assert request_of.train().returncode == 0
    sagemaker = request_of.repository.aws.client("sagemaker")
    definition = json.loads(sagemaker.describe_pipeline(PipelineName=request_of.name)["PipelineDefinition"])
    definition["Steps"][0]["Arguments"]["AppSpecification"]["ContainerEntrypoint"] = ["sleep", "300"]
    role = request_of.outputs["MergeRequestPipelineRoleArn"]
    sagemaker.update_pipeline(PipelineName=request_of.name, PipelineDefinition=json.dumps(definition), RoleArn=role)
    sagemaker.start_pipeline_execution(PipelineName=request_of.name)
    done = request_of.job("cleanup")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"pipeline {request_of.name}: removed\n" in done.stdout


def test_a_pipeline_that_registers_beside_the_default_branch_is_refused_before_it_starts(
    request_of: MergeRequest,
) -> None:
    path = request_of.repository.path / "pipelines" / "abalone" / "pipeline.py"
    fixed = f'"ModelPackageGroupName": "{request_of.repository.project.group}"'
    path.write_text(path.read_text().replace('"ModelPackageGroupName": model_package_group_name', fixed))
    assert one_line(request_of.train(), "319").startswith(
        "error SMCI-319: step Register registers to the model package"
    )
    names = request_of.repository.aws.client("sagemaker").list_pipelines(PipelineNamePrefix=request_of.name)
    assert names["PipelineSummaries"] == []


def test_steps_that_only_the_default_branchs_role_may_run_are_refused_before_anything_starts(
    request_of: MergeRequest,
) -> None:
    (request_of.repository.path / "pipelines" / "abalone" / "pipeline.py").write_text(
        "def get_pipeline(evaluate):\n"
        "    return {'Version': '2020-12-01', 'Steps': [{'Name': 'Tune', 'Type': 'Tuning', 'Arguments': {}}]}\n"
    )
    done = request_of.train()
    line = one_line(done, "320")
    assert line.endswith("the role of merge requests' pipelines may not run steps of these types: Tune (Tuning)")
    assert "No parameter of infra/merge-requests.yml grants Tuning" in done.stderr


@pytest.mark.parametrize("number", ["", "main", "0"])
def test_outside_of_a_merge_request_nothing_is_trained_apart_and_nothing_removed(
    request_of: MergeRequest, number: str
) -> None:
    elsewhere = request_of._replace(number=number)
    one_line(elsewhere.train(), "318")
    one_line(elsewhere.job("cleanup"), "318")


def test_a_fork_gets_no_role(request_of: MergeRequest) -> None:
    fork = FEATURE.replace(BUILD, "project_id:99")
    one_line(request_of.train(subject=fork), "203")


def test_the_role_reaches_nothing_of_the_default_branch(request_of: MergeRequest) -> None:
    project, sagemaker, s3 = request_of.repository.project, request_of.client("sagemaker"), request_of.client("s3")
    package = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{request_of.name}/1"
    refused: list[tuple[Any, dict[str, Any]]] = [
        (sagemaker.start_pipeline_execution, {"PipelineName": project.group}),
        (sagemaker.delete_pipeline, {"PipelineName": project.group, "ClientRequestToken": "0" * 32}),
        (sagemaker.delete_model_package_group, {"ModelPackageGroupName": project.group}),
        (sagemaker.update_model_package, {"ModelPackageArn": package, "ModelApprovalStatus": "Approved"}),
        (s3.put_object, {"Bucket": project.bucket, "Key": f"{project.group}/x", "Body": b""}),
        (s3.get_object, {"Bucket": project.bucket, "Key": f"{project.group}/x"}),
    ]
    for call, arguments in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            call(**arguments)


def test_an_approval_in_the_group_of_a_merge_request_deploys_nothing(trigger: Trigger, aws: Aws) -> None:
    group = f"{trigger.project.group}-mr-7"
    aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=group)
    arn = trigger.register("PendingManualApproval", group)
    trigger.set(arn, "Approved")
    assert trigger.pipelines() == []
    assert trigger.metric("EventsReceived") == 0


def test_build_refuses_a_version_of_a_merge_request(project: Project, trigger: Trigger, aws: Aws) -> None:
    group = f"{project.group}-mr-7"
    aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=group)
    arn = trigger.register("Approved", group)
    done = sagemaker_ci("build", "--model-package-arn", arn, environ=project.environ, cwd=ROOT / "seed-deploy")
    assert done.stderr.startswith("error SMCI-402: ")
