"""Repositories of the AWS sample, taken to production by docs/guides/migrating.md to the letter.

tests/fixtures/aws_sample holds them. One sandbox, in this order; bucket and variables are those that the sample sets
up, the roles those of infra/gitlab-oidc.yml.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, NamedTuple

import pytest

from ci_scripts.settings import STAGES
from sandbox import job_images
from sandbox.aws.ground import ACCOUNT, REGION
from sandbox.world import installed, people
from sandbox.world.installed import World
from tests.support.documented_commands import ROOT, blocks
from tests.support.loop import finished, log, merge_request, statuses

pytestmark = pytest.mark.timeout(300)
SAMPLE = "tests/fixtures/aws_sample"
NAME, ID = "abalone-sample", "p-migrated0001"
BUCKET = f"sagemaker-project-{ID}"

# The page's files, to the letter.
PAGE = list(blocks(ROOT / "docs" / "guides" / "migrating.md"))
BUILD_CI, DEPLOY_CI = (block.text for block in PAGE if block.language == "yaml" and "\ninclude:" in block.text)
(TEST,) = (block.text for block in PAGE if block.language == "python")
(QUALITY,) = (block.text for block in PAGE if block.language == "yaml" and "uri: s3://" in block.text)


class Migrated(NamedTuple):
    """The two repositories after the change of `.gitlab-ci.yml`, and the first training pipeline, finished."""

    world: World
    build: Any
    deploy: Any
    trained: Any

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
    with installed.running(tmp_path_factory.mktemp("migration"), images) as world:
        installed.publish_components(world)
        upload_data(world)
        build, deploy = create_repository(world, "model-build"), create_repository(world, "model-deploy")
        roles = install_roles(world, build, deploy)
        common = {
            "AWS_REGION": REGION,
            "SAGEMAKER_PROJECT_NAME": NAME,
            "SAGEMAKER_PROJECT_ID": ID,
            "SAGEMAKER_PROJECT_ARN": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:project/{NAME}",
            "ARTIFACT_BUCKET": BUCKET,
            # the sandbox's own
            "AWS_ENDPOINT_URL": world.aws_url,
            "POLL_SECONDS": "0.5",
        }
        set_variables(
            build,
            common,
            AWS_ROLE_ARN=roles["TrainingRoleArn"],
            AWS_CHECK_ROLE_ARN=roles["CheckRoleArn"],
            SAGEMAKER_PIPELINE_ROLE_ARN=roles["PipelineRoleArn"],
        )
        set_variables(
            deploy,
            common,
            AWS_ROLE_ARN=roles["BuildRoleArn"],
            MODEL_EXECUTION_ROLE_ARN=roles["ModelExecutionRoleArn"],
        )
        for scope in STAGES:
            for key, name in (("AWS_ROLE_ARN", "RoleArn"), ("CLOUDFORMATION_ROLE_ARN", "CloudFormationRoleArn")):
                role = {"key": key, "value": roles[f"{scope.capitalize()}{name}"], "environment_scope": scope}
                deploy.variables.create(role)
        replace(deploy, ".gitlab-ci.yml", DEPLOY_CI, "Use the components [skip ci]")
        add(deploy, "tests/test_endpoint.py", TEST, "Add a test [skip ci]")
        commit = replace(build, ".gitlab-ci.yml", BUILD_CI, "Use the components")
        yield Migrated(world, build, deploy, finished(build, lambda each: each.sha == commit.id))


def upload_data(world: World) -> None:
    archive = zipfile.ZipFile(io.BytesIO((files("sklego") / "data" / "abalone.zip").read_bytes()))
    _header, *rows = archive.read(archive.namelist()[0]).decode().splitlines()
    s3, data = world.aws("s3"), f"sagemaker-servicecatalog-seedcode-{REGION}"
    for bucket in (data, BUCKET):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=data, Key="dataset/abalone-dataset.csv", Body="\n".join(rows).encode())


def create_role(world: World) -> str:
    """The sample has one role for everything."""
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    everything = {"Version": "2012-10-17", "Statement": [statement]}
    name, iam = "AmazonSageMakerServiceCatalogProductsUseRole", world.aws("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    iam.put_role_policy(RoleName=name, PolicyName="everything", PolicyDocument=json.dumps(everything))
    return str(role["Role"]["Arn"])


def install_roles(world: World, build: Any, deploy: Any) -> dict[str, str]:
    """Deploy infra/gitlab-oidc.yml as the page says; its outputs."""
    subject = ["project_id", "ref_type", "ref", "ref_protected"]
    world.gitlab().projects.update(build.id, {"ci_id_token_sub_claim_components": subject})
    world.gitlab().projects.update(deploy.id, {"ci_id_token_sub_claim_components": [*subject, "deployment_tier"]})
    parameters = {
        "SageMakerProjectName": NAME,
        "SageMakerProjectId": ID,
        "ArtifactBucket": BUCKET,
        "InputDataBucket": f"sagemaker-servicecatalog-seedcode-{REGION}",
        "GitLabServerUrl": world.gitlab_url,
        "ModelBuildSubject": f"project_id:{build.id}",
        "ModelDeploySubject": f"project_id:{deploy.id}",
    }
    stack = {"StackName": f"{NAME}-gitlab-oidc"}
    cloudformation = world.aws("cloudformation")
    cloudformation.create_stack(
        **stack,
        TemplateBody=(ROOT / "infra" / "gitlab-oidc.yml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(**stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return people.outputs(world, stack["StackName"])


def set_variables(project: Any, common: dict[str, str], **own: str) -> None:
    for key, value in (common | own).items():
        project.variables.create({"key": key, "value": value})


def create_repository(world: World, name: str) -> Any:
    """A repository as the sample leaves it, with one commit."""
    project = world.gitlab().projects.create({"name": f"{name}-{ID}", "default_branch": "main"})
    installed.commit_seed(project, f"{SAMPLE}/{name}", "Initial Commit [skip ci]")
    return project


def replace(project: Any, path: str, content: str, message: str) -> Any:
    action = {"action": "update", "file_path": path, "content": content.lstrip()}
    return project.commits.create({"branch": "main", "commit_message": message, "actions": [action]})


def add(project: Any, path: str, content: str, message: str) -> Any:
    action = {"action": "create", "file_path": path, "content": content.lstrip()}
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
    old = {"StackName": f"gitlab-stg-{NAME}-{ID}"}  # the sample's name for it
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
    folder = ROOT / SAMPLE / "model-deploy"
    parameters = json.loads((folder / "staging-config.json").read_text())["Parameters"] | {
        "SageMakerProjectName": NAME,
        "ModelPackageName": package,
        "ModelExecutionRoleArn": create_role(migrated.world),
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
    assert "tests/test_endpoint.py" in log(migrated.deploy, pipeline, "test-staging")
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


def test_thresholds_are_measured_on_the_samples_own_test_split(migrated: Migrated) -> None:
    sagemaker = migrated.world.aws("sagemaker")
    [execution] = sagemaker.list_pipeline_executions(PipelineName=f"{NAME}-{ID}")["PipelineExecutionSummaries"]
    execution_id = execution["PipelineExecutionArn"].rpartition("/")[2]
    place = {"my-artifacts": BUCKET, "abalone-p-abc123": f"{NAME}-{ID}", "EXECUTION": execution_id}
    quality = QUALITY
    for word, text in place.items():
        quality = quality.replace(word, text)
    pipeline = deployed(migrated.deploy, add(migrated.deploy, "quality.yml", quality, "Add thresholds"))
    assert "mse" in log(migrated.deploy, pipeline, "test-staging")


def test_the_test_of_another_variant_runs_as_it_is(migrated: Migrated) -> None:
    path = "test/test.py"
    text = (ROOT / SAMPLE / "model-deploy-tested" / path).read_text()
    add(migrated.deploy, path, text, "Bring a test [skip ci]")
    commit = replace(migrated.deploy, ".gitlab-ci.yml", f"{DEPLOY_CI.rstrip()}\n      tests: {path}\n", "Use the test")
    pipeline = deployed(migrated.deploy, commit)
    assert path in log(migrated.deploy, pipeline, "test-staging")


def test_a_repository_without_tests_can_say_so(migrated: Migrated) -> None:
    untested = f"{DEPLOY_CI.rstrip()}\n      test_staging_rules: [{{when: never}}]\n"
    deployed(migrated.deploy, replace(migrated.deploy, ".gitlab-ci.yml", untested, "Test nothing"), tested=False)
