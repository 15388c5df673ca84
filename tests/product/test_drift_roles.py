"""infra/drift.yml under enforcement: the job drift through the roles of both stages, and nothing in vain."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

import pytest

from sandbox.gateway import Gateway
from tests.support import permissions
from tests.support.deployment import failed, succeeded
from tests.support.roles import DEPLOY, TIERS, Roles, deployed
from tests.support.servers import REGION, ROOT, Aws, register, sagemaker_ci
from tests.support.tested_stage import abalone, trained
from tests.support.waiting import wait_for

NAME, ID, BUCKET = "plums", "p-drift01", "plums-artifacts"
GROUP = f"{NAME}-{ID}"
HELD_OUT = f"{GROUP}/executions/1/test/test.csv"
ROWS = 120


class Place(NamedTuple):
    """A project's roles, and its model-deploy repository with both stages deployed."""

    roles: Roles
    folder: Path

    def run(self, role: str, *arguments: str) -> CompletedProcess[str]:
        """A job of the default branch in its environment, with the role of it and no other key."""
        outputs = self.roles.outputs
        environ = {
            "AWS_ENDPOINT_URL": self.roles.aws.url,
            "AWS_REGION": REGION,
            "SAGEMAKER_PROJECT_NAME": NAME,
            "SAGEMAKER_PROJECT_ID": ID,
            "ARTIFACT_BUCKET": BUCKET,
            "MODEL_EXECUTION_ROLE_ARN": outputs["ModelExecutionRoleArn"],
            "AWS_ROLE_ARN": outputs[f"{role}RoleArn"],
            "AWS_ID_TOKEN": self.roles.token(role, DEPLOY, deployment_tier=TIERS.get(role, "")),
            "CLOUDFORMATION_ROLE_ARN": outputs.get(f"{role}CloudFormationRoleArn", ""),
        }
        return sagemaker_ci(*arguments, environ=environ, cwd=self.folder)

    def drift(self, role: str) -> CompletedProcess[str]:
        return self.run(role, "drift", "--stage", role.lower(), "--minimum-rows", "100")


@pytest.fixture(scope="module")
def place(aws: Aws, gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with deployed(aws, gateway, NAME, ID, BUCKET) as roles:
        s3 = aws.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        train, others = abalone()
        s3.put_object(Bucket=BUCKET, Key=f"{GROUP}/models/model.tar.gz", Body=trained(train))
        s3.put_object(Bucket=BUCKET, Key=HELD_OUT, Body=others[:300].to_csv(header=False, index=False).encode())
        aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=GROUP)
        known = {"HeldOutDataUri": f"s3://{BUCKET}/{HELD_OUT}"}
        register(aws, GROUP, model=f"s3://{BUCKET}/{GROUP}/models/model.tar.gz", CustomerMetadataProperties=known)
        folder = Path(shutil.copytree(ROOT / "seed-deploy", tmp_path_factory.mktemp("roles") / "model-deploy"))
        captures = {"Parameters": {"EnableDataCapture": "true", "SamplingPercentage": 100}}
        for stage in ("staging", "prod"):
            (folder / f"{stage}-config.json").write_text(json.dumps(captures))
        place = Place(roles, folder)
        succeeded(place.run("Build", "build"))
        for role in ("Staging", "Prod"):
            succeeded(place.run(role, "deploy", "--stage", role.lower()))
            body = others[300 : 300 + ROWS].drop(columns="rings").to_csv(header=False, index=False)
            aws.client("sagemaker-runtime").invoke_endpoint(
                EndpointName=f"{NAME}-{role.lower()}", Body=body, ContentType="text/csv"
            )
        prefixes = [f"datacapture-{stage}/{NAME}-{stage}/" for stage in ("staging", "prod")]
        wait_for(lambda: all(s3.list_objects_v2(Bucket=BUCKET, Prefix=each)["KeyCount"] for each in prefixes))
        yield place


def create_stack(place: Place) -> str:
    """The stack of drift.yml for these roles: its name."""
    values = {name: place.roles.outputs[name] for name in ("StagingRoleArn", "ProdRoleArn")}
    values |= {"SageMakerProjectName": NAME, "SageMakerProjectId": ID, "ArtifactBucket": BUCKET}
    cloudformation, name = place.roles.aws.client("cloudformation"), f"drift-{uuid.uuid4().hex[:8]}"
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=(ROOT / "infra" / "drift.yml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    return name


def delete_stack(place: Place, name: str) -> None:
    cloudformation = place.roles.aws.client("cloudformation")
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


@pytest.fixture
def rights(place: Place) -> Iterator[None]:
    name = create_stack(place)
    yield
    delete_stack(place, name)


def test_without_its_stack_the_job_says_which_rights_it_lacks(place: Place) -> None:
    result = place.drift("Prod")
    assert "stack sagemaker-plums-p-drift01-deploy-prod" in failed(result, "SMCI-715")
    assert "hint: The role needs more than to deploy: create the stack of infra/drift.yml" in result.stderr


@pytest.mark.usefixtures("rights")
def test_both_stages_are_looked_at_with_their_roles_and_no_right_is_granted_in_vain(place: Place) -> None:
    for role in ("Staging", "Prod"):
        told = succeeded(place.drift(role))
        assert "as it was deployed; CloudFormation looked at 3 resources" in told
        assert "no drift in 11 columns" in told, "the predictions, too"
    aws = place.roles.aws
    iam, requests = aws.client("iam"), aws.state / "requests.jsonl"
    policies = permissions.policies_of("drift.yml")
    for role in ("Staging", "Prod"):
        name = place.roles.outputs[f"{role}RoleArn"].rpartition("/")[2]
        granted = {
            action
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
            if policy in policies
            for statement in iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]["Statement"]
            for action in permissions.as_list(statement["Action"])
        }
        assert granted
        assert granted - permissions.used(requests, permissions.Role(role, name, [])) == set(), role


@pytest.mark.usefixtures("rights")
def test_the_role_of_a_stage_reads_no_requests_of_the_other(place: Place) -> None:
    prod = place.roles.outputs["ProdRoleArn"].rpartition("/")[2]
    documents = [
        place.roles.aws.client("iam").get_role_policy(RoleName=prod, PolicyName=name)["PolicyDocument"]
        for name in permissions.policies_of("drift.yml")
    ]
    assert "datacapture-prod/plums-prod/*" in json.dumps(documents)
    assert "datacapture-staging" not in json.dumps(documents)
