"""Repositories of the AWS sample, run through the components with nothing changed but `.gitlab-ci.yml`.

tests/fixtures/aws_sample holds them. One sandbox, in this order; the variables, the bucket and the static keys are
those that the sample sets up.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, NamedTuple

import pytest

from sandbox import job_images
from sandbox import world as the
from sandbox.world import World
from tests.sandbox.test_loop import finished, log, merge_request, statuses

pytestmark = pytest.mark.timeout(300)
SAMPLE = "tests/fixtures/aws_sample"
NAME, ID = "abalone-sample", "p-migrated0001"
BUCKET = f"sagemaker-project-{ID}"
STAGES = ("staging", "prod")

BUILD_CI = f"""
stages: [training]

include:
  - component: $CI_SERVER_FQDN/{the.COMPONENTS}/model-build@{the.VERSION}
    inputs:
      sagemaker_sdk: v2
"""

DEPLOY_CI = f"""
spec:
  inputs:
    model_package_arn:
      default: ""
---
stages: [build, staging-deploy, test-staging, prod-deploy]

include:
  - component: $CI_SERVER_FQDN/{the.COMPONENTS}/model-deploy@{the.VERSION}
    inputs:
      model_package_arn: $[[ inputs.model_package_arn ]]
      tests: test/test.py
"""


class Migrated(NamedTuple):
    """The two repositories after the change of `.gitlab-ci.yml`, and the first training pipeline, finished."""

    world: World
    build: Any
    deploy: Any
    trained: Any
    role: str

    def packages(self) -> list[str]:
        rows = self.world.aws("sagemaker").list_model_packages(ModelPackageGroupName=f"{NAME}-{ID}")
        return [row["ModelPackageArn"] for row in rows["ModelPackageSummaryList"]]

    def model(self, stage: str) -> Any:
        """The model behind a stage's endpoint, which is in service."""
        sagemaker = self.world.aws("sagemaker")
        endpoint = sagemaker.describe_endpoint(EndpointName=f"{NAME}-{stage}")
        assert endpoint["EndpointStatus"] == "InService"
        config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        return sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])

    def predict(self, stage: str) -> float:
        answer = self.world.aws("sagemaker-runtime").invoke_endpoint(
            EndpointName=f"{NAME}-{stage}", ContentType="text/csv", Body=b"0,0,0,0,0,0,0,1,0,0"
        )
        return float(answer["Body"].read())


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migrated]:
    images = job_images.build(print, job_images.SDK2)
    with the.running(tmp_path_factory.mktemp("migration"), images) as world:
        the.publish_components(world)
        upload_data(world)
        role, keys = create_role(world), create_keys(world)
        common = {
            "AWS_REGION": the.REGION,
            "SAGEMAKER_PROJECT_NAME": NAME,
            "SAGEMAKER_PROJECT_ID": ID,
            "SAGEMAKER_PROJECT_ARN": f"arn:aws:sagemaker:{the.REGION}:{the.ACCOUNT}:project/{NAME}",
            "ARTIFACT_BUCKET": BUCKET,
            **keys,
            # the sandbox's own
            "AWS_ENDPOINT_URL": world.aws_url,
            "POLL_SECONDS": "0.5",
        }
        deploy = create_repository(world, "model-deploy", common | {"MODEL_EXECUTION_ROLE_ARN": role})
        build = create_repository(world, "model-build", common | {"SAGEMAKER_PIPELINE_ROLE_ARN": role})
        replace(deploy, ".gitlab-ci.yml", DEPLOY_CI, "Use the components [skip ci]")
        commit = replace(build, ".gitlab-ci.yml", BUILD_CI, "Use the components")
        yield Migrated(world, build, deploy, finished(build, lambda each: each.sha == commit.id), role)


def upload_data(world: World) -> None:
    archive = zipfile.ZipFile(io.BytesIO((files("sklego") / "data" / "abalone.zip").read_bytes()))
    _header, *rows = archive.read(archive.namelist()[0]).decode().splitlines()
    s3, data = world.aws("s3"), f"sagemaker-servicecatalog-seedcode-{the.REGION}"
    for bucket in (data, BUCKET):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": the.REGION})
    s3.put_object(Bucket=data, Key="dataset/abalone-dataset.csv", Body="\n".join(rows).encode())


def create_role(world: World) -> str:
    """The sample has one role for everything."""
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    name, iam = "AmazonSageMakerServiceCatalogProductsUseRole", world.aws("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    iam.put_role_policy(RoleName=name, PolicyName="everything", PolicyDocument=everything())
    return str(role["Role"]["Arn"])


def create_keys(world: World) -> dict[str, str]:
    iam = world.aws("iam")
    iam.create_user(UserName="gitlab")
    iam.put_user_policy(UserName="gitlab", PolicyName="everything", PolicyDocument=everything())
    key = iam.create_access_key(UserName="gitlab")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def everything() -> str:
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def create_repository(world: World, name: str, variables: dict[str, str]) -> Any:
    """A repository as the sample leaves it: its variables and one commit."""
    project = world.gitlab().projects.create({"name": f"{name}-{ID}", "default_branch": "main"})
    for key, value in variables.items():
        project.variables.create({"key": key, "value": value})
    the.commit_seed(project, f"{SAMPLE}/{name}", "Initial Commit [skip ci]")
    return project


def replace(project: Any, path: str, content: str, message: str) -> Any:
    action = {"action": "update", "file_path": path, "content": content.lstrip()}
    return project.commits.create({"branch": "main", "commit_message": message, "actions": [action]})


def deployed(repository: Any, commit: Any, tested: bool = True) -> Any:
    """The commit's pipeline after somebody pressed play for production."""
    pipeline = finished(repository, lambda each: each.sha == commit.id)
    expected = {"build": "success", "staging-deploy": "success", "test-staging": "success", "prod-deploy": "manual"}
    if not tested:
        del expected["test-staging"]
    broken = [name for name, status in statuses(pipeline).items() if status == "failed"]
    assert statuses(pipeline) == expected, [log(repository, pipeline, name) for name in broken]
    gate = next(job for job in pipeline.jobs.list(get_all=True) if job.name == "prod-deploy")
    repository.jobs.get(gate.id).play()
    ended = finished(repository, lambda each: each.id == pipeline.id, {"success", "failed"})
    assert statuses(ended)["prod-deploy"] == "success", log(repository, ended, "prod-deploy")
    return ended


def test_a_pipeline_of_sdk_v2_trains_and_registers_under_the_samples_names(migrated: Migrated) -> None:
    assert statuses(migrated.trained) == {"training": "success"}, log(migrated.build, migrated.trained, "training")
    assert [arn.partition("/")[2] for arn in migrated.packages()] == [f"{NAME}-{ID}/1"]
    sagemaker = migrated.world.aws("sagemaker")
    assert sagemaker.list_pipeline_executions(PipelineName=f"{NAME}-{ID}")["PipelineExecutionSummaries"]
    package = sagemaker.describe_model_package(ModelPackageName=migrated.packages()[0])
    assert package["ModelApprovalStatus"] == "PendingManualApproval"


def test_the_job_log_is_free_of_the_old_sdks_own_notes(migrated: Migrated) -> None:
    output = log(migrated.build, migrated.trained, "training")
    assert "regression_metrics.mse.value" in output
    assert "sagemaker.config INFO" not in output
    assert "DeprecationWarning" not in output


def test_a_merge_request_compiles_a_pipeline_of_sdk_v2_and_starts_nothing(migrated: Migrated) -> None:
    action = {"action": "create", "file_path": "NOTES.md", "content": "nothing\n"}
    commit = {"branch": "notes", "start_branch": "main", "commit_message": "Note", "actions": [action]}
    migrated.build.commits.create(commit)
    pipeline = merge_request(migrated.build, "notes")
    assert statuses(pipeline) == {"training": "success"}, log(migrated.build, pipeline, "training")
    assert len(migrated.packages()) == 1


def test_an_endpoint_that_belongs_to_the_samples_own_stack_is_named_as_the_cause(migrated: Migrated) -> None:
    (package,) = migrated.packages()
    migrated.world.aws("sagemaker").update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    cloudformation = migrated.world.aws("cloudformation")
    old = {"StackName": "Staging"}  # the sample's name for it
    cloudformation.create_stack(**old, **what_the_sample_deploys(migrated, package))
    cloudformation.get_waiter("stack_create_complete").wait(**old, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    commit = replace(migrated.deploy, ".gitlab-ci.yml", DEPLOY_CI + "\n", "Deploy beside the old stack")
    pipeline = finished(migrated.deploy, lambda each: each.sha == commit.id)
    assert statuses(pipeline)["staging-deploy"] == "failed"
    assert f"endpoint/{NAME}-staging" in log(migrated.deploy, pipeline, "staging-deploy").rpartition("error SMCI")[2]
    cloudformation.delete_stack(**old)
    cloudformation.get_waiter("stack_delete_complete").wait(**old, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def what_the_sample_deploys(migrated: Migrated, package: str) -> dict[str, Any]:
    """What deploy-stack.py sends to CloudFormation."""
    folder = the.ROOT / SAMPLE / "model-deploy"
    parameters = json.loads((folder / "staging-config.json").read_text())["Parameters"] | {
        "SageMakerProjectName": NAME,
        "ModelPackageName": package,
        "ModelExecutionRoleArn": migrated.role,
        "DataCaptureUploadPath": f"s3://{BUCKET}/datacapture-staging",
    }
    return {
        "TemplateBody": (folder / "endpoint-config-template.yml").read_text(),
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    }


def test_a_model_declared_through_containers_goes_to_production(migrated: Migrated) -> None:
    (package,) = migrated.packages()
    commit = replace(migrated.deploy, ".gitlab-ci.yml", DEPLOY_CI, "Deploy the approved version")
    pipeline = deployed(migrated.deploy, commit)
    for stage in STAGES:
        assert migrated.model(stage)["Containers"][0]["ModelPackageName"] == package
        assert 0 < migrated.predict(stage) < 30  # rings, by a model that was stored as a pickle
    assert "test/test.py" in log(migrated.deploy, pipeline, "test-staging")
    assert "1 passed" in log(migrated.deploy, pipeline, "test-staging")


def test_a_model_declared_through_a_primary_container_goes_to_production(migrated: Migrated) -> None:
    (package,) = migrated.packages()
    path = "endpoint-config-template.yml"
    template = migrated.deploy.files.get(file_path=path, ref="main").decode().decode()
    containers = "      Containers:\n        - ModelPackageName: !Ref ModelPackageName\n"
    assert containers in template
    primary = "      PrimaryContainer:\n        ModelPackageName: !Ref ModelPackageName\n"
    deployed(migrated.deploy, replace(migrated.deploy, path, template.replace(containers, primary), "Primary"))
    for stage in STAGES:
        assert migrated.model(stage)["PrimaryContainer"]["ModelPackageName"] == package
        assert 0 < migrated.predict(stage) < 30


def test_a_repository_without_tests_can_say_so(migrated: Migrated) -> None:
    untested = DEPLOY_CI.replace("tests: test/test.py", "test_staging_rules: [{when: never}]")
    deployed(migrated.deploy, replace(migrated.deploy, ".gitlab-ci.yml", untested, "Test nothing"), tested=False)
