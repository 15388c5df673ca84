"""infra/drift.yml under enforcement: the job drift through the roles of both stages, and nothing in vain."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest

from sandbox.gateway import Gateway
from tests.support import permissions
from tests.support.deployment import failed, succeeded
from tests.support.roles import DEPLOY, TIERS, Roles, beside, deployed
from tests.support.servers import REGION, ROOT, Aws, register, sagemaker_ci
from tests.support.tested_stage import abalone, trained
from tests.support.waiting import wait_for

NAME, ID, BUCKET = "plums", "p-drift01", "plums-artifacts"
GROUP = f"{NAME}-{ID}"
NAMED = {"SageMakerProjectName": NAME, "SageMakerProjectId": ID, "ArtifactBucket": BUCKET}
CAPTURES = {
    "Hosting": "real-time",
    "Deployment": {"Strategy": "canary", "Alarms": {"ModelLatencyMilliseconds": 60000}},
    "Parameters": {
        "EnableDataCapture": "true",
        "EndpointInstanceCount": 2,
        "MinInstanceCount": 2,
        "MaxInstanceCount": 4,
    },
}
NIGHTLY = {
    "Hosting": "batch-transform",
    "Parameters": {"InputUri": f"s3://{BUCKET}/{GROUP}/rows/", "ScheduleExpression": "rate(1 day)"},
}
HELD_OUT = f"{GROUP}/executions/1/test/test.csv"
ROWS = 120


class Place(NamedTuple):
    """A project's roles, and its model-deploy repository with both stages deployed."""

    roles: Roles
    folder: Path
    schedule_role: str

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
            "SCHEDULE_ROLE_ARN": self.schedule_role,
            "REPLACE_ENDPOINT": "true",
            "AWS_ROLE_ARN": outputs[f"{role}RoleArn"],
            "AWS_ID_TOKEN": self.roles.token(role, DEPLOY, deployment_tier=TIERS.get(role, "")),
            "CLOUDFORMATION_ROLE_ARN": outputs.get(f"{role}CloudFormationRoleArn", ""),
        }
        return sagemaker_ci(*arguments, environ=environ, cwd=self.folder)

    def deploy(self, content: dict[str, Any]) -> None:
        """Both stages, hosted as `content` says."""
        for role in ("Staging", "Prod"):
            (self.folder / f"{role.lower()}-config.json").write_text(json.dumps(content))
        succeeded(self.run("Build", "build"))
        for role in ("Staging", "Prod"):
            succeeded(self.run(role, "deploy", "--stage", role.lower()))

    def drift(self, role: str) -> CompletedProcess[str]:
        return self.run(role, "drift", "--stage", role.lower(), "--minimum-rows", "100")


@pytest.fixture(scope="module")
def place(aws: Aws, gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with deployed(aws, gateway, NAME, ID, BUCKET) as roles, beside(roles, "hosting.yml", **NAMED) as outputs:
        s3 = aws.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        train, others = abalone()
        s3.put_object(Bucket=BUCKET, Key=f"{GROUP}/models/model.tar.gz", Body=trained(train))
        s3.put_object(Bucket=BUCKET, Key=HELD_OUT, Body=others[:300].to_csv(header=False, index=False).encode())
        aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=GROUP)
        properties = {"HeldOutDataUri": f"s3://{BUCKET}/{HELD_OUT}"}
        register(aws, GROUP, model=f"s3://{BUCKET}/{GROUP}/models/model.tar.gz", CustomerMetadataProperties=properties)
        folder = Path(shutil.copytree(ROOT / "seed-deploy", tmp_path_factory.mktemp("roles") / "model-deploy"))
        rows = others[:20].drop(columns="rings").to_csv(header=False, index=False)
        s3.put_object(Bucket=BUCKET, Key=f"{GROUP}/rows/today.csv", Body=rows.encode())
        (folder / "endpoint-config-template.yml").unlink()
        place = Place(roles, folder, outputs["ScheduleRoleArn"])
        place.deploy(CAPTURES)
        for role in ("Staging", "Prod"):
            body = others[300 : 300 + ROWS].drop(columns="rings").to_csv(header=False, index=False)
            aws.client("sagemaker-runtime").invoke_endpoint(
                EndpointName=f"{NAME}-{role.lower()}", Body=body, ContentType="text/csv"
            )
        prefixes = [f"datacapture-{stage}/{NAME}-{stage}/" for stage in ("staging", "prod")]
        wait_for(lambda: all(s3.list_objects_v2(Bucket=BUCKET, Prefix=each)["KeyCount"] for each in prefixes))
        yield place


@pytest.fixture
def rights(place: Place) -> Iterator[None]:
    with beside(place.roles, "drift.yml", **NAMED):
        yield


def test_without_its_stack_the_job_says_which_rights_it_lacks(place: Place) -> None:
    result = place.drift("Prod")
    assert "stack sagemaker-plums-p-drift01-deploy-prod" in failed(result, "SMCI-715")
    assert "hint: The role needs more than to deploy: create the stack of infra/drift.yml" in result.stderr


@pytest.mark.usefixtures("rights")
def test_both_stages_are_looked_at_with_their_roles_and_no_right_is_granted_in_vain(place: Place) -> None:
    for role in ("Staging", "Prod"):
        log = succeeded(place.drift(role))
        assert "as it was deployed; CloudFormation looked at 5 resources" in log
        assert "no drift in 11 columns" in log, "the predictions, too"
    place.deploy(NIGHTLY)
    for role in ("Staging", "Prod"):
        assert "as it was deployed; CloudFormation looked at 3 resources" in succeeded(place.drift(role))
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
