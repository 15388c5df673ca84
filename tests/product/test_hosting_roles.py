"""infra/hosting.yml under enforcement: every kind of hosting through the roles of its jobs, and nothing in vain."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sandbox.gateway import Gateway
from tests.support import permissions
from tests.support.deployment import failed, succeeded
from tests.support.hosting import model_predicting
from tests.support.roles import DEPLOY, Roles, beside, deployed
from tests.support.servers import ACCOUNT, REGION, ROOT, Aws, register, sagemaker_ci
from tests.support.stage import QUALITY

NAME, ID, BUCKET = "grapes", "p-hosting01", "grapes-artifacts"
GROUP = f"{NAME}-{ID}"
TIERS = {"build": ("Build", ""), "staging": ("Staging", "staging"), "prod": ("Prod", "production")}


class Place(NamedTuple):
    """A project's roles, and its model-deploy repository."""

    roles: Roles
    outputs: dict[str, str]
    """Of the stack of hosting.yml."""
    folder: Path
    key: str
    """The ARN of a key of KMS that stages may name."""

    def run(self, role: str, *arguments: str, **variables: str) -> Any:
        """A job of the default branch in its environment, with the role of it and no other key."""
        name, tier = TIERS[role]
        outputs = self.roles.outputs
        environ = {
            "AWS_ENDPOINT_URL": self.roles.aws.url,
            "AWS_REGION": REGION,
            "SAGEMAKER_PROJECT_NAME": NAME,
            "SAGEMAKER_PROJECT_ID": ID,
            "ARTIFACT_BUCKET": BUCKET,
            "MODEL_EXECUTION_ROLE_ARN": outputs["ModelExecutionRoleArn"],
            "ALLOWED_HOSTING": self.outputs["AllowedHosting"],
            "SCHEDULE_ROLE_ARN": self.outputs.get("ScheduleRoleArn", ""),
            "AWS_ROLE_ARN": outputs[f"{name}RoleArn"],
            "AWS_ID_TOKEN": self.roles.token(name, DEPLOY, deployment_tier=tier),
        }
        if role != "build":
            environ["CLOUDFORMATION_ROLE_ARN"] = outputs[f"{name}CloudFormationRoleArn"]
        return sagemaker_ci(*arguments, environ=environ | variables, cwd=self.folder)

    def configure(self, content: dict[str, Any]) -> None:
        content = json.loads(json.dumps(content).replace(KEY, self.key))
        for stage in ("staging", "prod"):
            (self.folder / f"{stage}-config.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def place(aws: Aws, gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    key = str(aws.client("kms").create_key()["KeyMetadata"]["Arn"])
    named = {"SageMakerProjectName": NAME, "SageMakerProjectId": ID, "ArtifactBucket": BUCKET}
    with (
        deployed(aws, gateway, NAME, ID, BUCKET) as roles,
        beside(roles, "hosting.yml", **named, NotificationTopics=f"{NAME}-*", KmsKeyArn=key) as outputs,
    ):
        s3 = aws.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=BUCKET, Key=f"{GROUP}/models/model.tar.gz", Body=model_predicting(5))
        s3.put_object(Bucket=BUCKET, Key=f"{GROUP}/rows/today.csv", Body=b"1,2,3\n" * 8)
        aws.client("cloudwatch").put_metric_alarm(
            AlarmName=f"{NAME}-sales",
            Namespace="Shop",
            MetricName="Sales",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="LessThanThreshold",
        )
        aws.client("sns").create_topic(Name=f"{NAME}-answers")
        aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=GROUP)
        register(aws, GROUP, "Approved", f"s3://{BUCKET}/{GROUP}/models/model.tar.gz")
        folder = Path(shutil.copytree(ROOT / "seed-deploy", tmp_path_factory.mktemp("roles") / "model-deploy"))
        (folder / "endpoint-config-template.yml").unlink()
        shutil.rmtree(folder / "tests")
        (folder / "quality.yml").write_text(QUALITY)
        (folder / "held-out.csv").write_text("".join(f"5,{number},2,3\n" for number in range(20)))
        yield Place(roles, outputs, folder, key)


KEY = "the project's key"
ROWS = {"InputUri": f"s3://{BUCKET}/{GROUP}/rows/"}
GUARDED = {
    "Strategy": "canary",
    "CanarySize": 1,
    "WaitIntervalInSeconds": 60,
    "TerminationWaitInSeconds": 0,
    "Alarms": {"Invocation5XXErrorsPercent": 1, "ModelLatencyMilliseconds": 60000, "Names": [f"{NAME}-sales"]},
}
CONTENTS: list[dict[str, Any]] = [
    {"Hosting": "serverless"},
    {"Hosting": "real-time", "Parameters": {"MaxInstanceCount": 2}},
    {"Hosting": "real-time", "Parameters": {"MaxInstanceCount": 3, "ScaleInCooldown": 60, "KmsKeyId": KEY}},
    {"Hosting": "real-time", "Deployment": GUARDED, "Parameters": {"EndpointInstanceCount": 2}},
    {"Hosting": "real-time", "Deployment": GUARDED, "Parameters": {"EndpointInstanceCount": 3}},
    {"Hosting": "asynchronous", "Parameters": {"MaxInstanceCount": 2, "KmsKeyId": KEY}},
    {"Hosting": "asynchronous", "Parameters": {"SuccessTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:{NAME}-answers"}},
    {"Hosting": "batch-transform", "Parameters": ROWS | {"ScheduleExpression": "rate(1 day)"}},
    {"Hosting": "batch-transform", "Parameters": ROWS | {"MaxPayloadInMB": 1, "ScheduleExpression": "rate(2 days)"}},
    {"Hosting": "batch-transform", "Parameters": ROWS},
    {"Hosting": "serverless", "Parameters": {"MemorySizeInMB": 1024}},  # the pipeline goes
]


@pytest.mark.parametrize(
    "content", CONTENTS, ids=lambda each: f"{each['Hosting']}-{len(each)}-{len(each.get('Parameters', {}))}"
)
def test_each_kind_is_deployed_and_tested_with_the_roles_of_its_jobs(place: Place, content: dict[str, Any]) -> None:
    place.configure(content)
    succeeded(place.run("build", "build"))
    for stage in ("staging", "prod"):
        succeeded(place.run(stage, "deploy", "--stage", stage, REPLACE_ENDPOINT="true"))
    succeeded(place.run("staging", "test", "--stage", "staging"))


def test_why_a_batch_transform_fails_is_seen_with_the_roles_of_the_jobs(place: Place) -> None:
    s3, key = place.roles.aws.client("s3"), f"{GROUP}/odd/rows.csv"
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"not,a,number\n")
    place.configure({"Hosting": "batch-transform", "Parameters": {"InputUri": f"s3://{BUCKET}/{key}"}})
    succeeded(place.run("build", "build"))
    for stage in ("staging", "prod"):
        error = failed(place.run(stage, "deploy", "--stage", stage, REPLACE_ENDPOINT="true"), "SMCI-610")
        assert "ended as Failed on a sample of its rows: " in error
        assert "no reason given" not in error


def test_nothing_is_granted_that_no_kind_uses(place: Place) -> None:
    aws = place.roles.aws
    reasons = permissions.explained("unused_by_hosting")
    policies = permissions.policies_of("hosting.yml")
    iam, requests = aws.client("iam"), aws.state / "requests.jsonl"
    for each in ("Staging", "Prod", "StagingCloudFormation", "ProdCloudFormation", "ModelExecution"):
        name = place.roles.outputs[f"{each}RoleArn"].rpartition("/")[2]
        granted = {
            action
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
            if policy in policies
            for statement in iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]["Statement"]
            for action in permissions.as_list(statement["Action"])
        }
        used = permissions.used(requests, permissions.Role(each, name, []))
        assert granted - used - set(reasons.get(f"{each}Role", {})) == set(), each


def test_a_kind_that_the_platform_team_switched_off_is_refused_by_build(place: Place) -> None:
    place.configure({"Hosting": "serverless"})
    result = place.run("build", "build", ALLOWED_HOSTING="real-time,batch-transform")
    assert "2 problems" in failed(result, "SMCI-406")
    message = "Hosting: serverless is not allowed here: the platform team allows real-time, batch-transform"
    assert f"staging-config.json: {message}" in result.stdout
    assert f"prod-config.json: {message}" in result.stdout
