"""Permissions that no run of the loop needs: tests/contract/iam/exceptions.yml says why; the roles use them here.

Each call names what the product names, so that a policy with another name refuses it. What it then finds is no matter.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support import permissions
from tests.support.job_roles import GROUP, PREFIX, PROJECT_OF, Job
from tests.support.roles import Roles
from tests.support.servers import ACCOUNT, REGION

EXECUTION = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{GROUP}/execution/0123456789ab"
STEP = "pipelines-0123456789ab-TrainAbaloneModel-0123456789"

# Modules of public repositories ask these while the SageMaker SDK compiles them.
CALLS_OF_COMPILING: list[tuple[str, str, dict[str, Any]]] = [
    ("ecr", "describe_repositories", {"repositoryNames": ["mlops/training"]}),
    ("ecr", "describe_images", {"repositoryName": "mlops/training"}),
]
TRANSFORM: dict[str, Any] = {
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://artifacts/in"}}},
    "TransformOutput": {"S3OutputPath": "s3://artifacts/out"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}


def calls_of_stage(stage: str, cloudformation_role: str) -> list[tuple[str, str, dict[str, Any]]]:
    stack = {"StackName": f"{PREFIX}-{stage}"}
    template = {"Bucket": "artifacts", "Key": f"{PREFIX}-{stage}/template-0123456789abcdef.yml"}
    return [
        ("cloudformation", "delete_stack", stack | {"RoleARN": cloudformation_role}),
        ("cloudformation", "describe_events", stack),
        ("cloudformation", "delete_change_set", stack | {"ChangeSetName": "one"}),
        ("cloudformation", "list_change_sets", stack),
        ("s3", "put_object", template),
        ("s3", "get_object", template),
    ]


def calls_of_cloudformation(stage: str) -> list[tuple[str, str, dict[str, Any]]]:
    endpoint = {"EndpointName": f"abalone-{stage}"}
    return [
        ("sagemaker", "update_endpoint", endpoint | {"EndpointConfigName": "EndpointConfig-0123456789ab"}),
        ("sagemaker", "delete_endpoint", endpoint),
        ("sagemaker", "delete_endpoint_config", {"EndpointConfigName": "EndpointConfig-0123456789ab"}),
        ("sagemaker", "delete_model", {"ModelName": "Model-0123456789ab"}),
    ]


def calls(roles: Roles, role: str) -> list[tuple[str, str, dict[str, Any]]]:
    token = {"PipelineExecutionArn": EXECUTION, "ClientRequestToken": "0" * 32}
    by_role: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
        "Training": [
            ("sagemaker", "stop_pipeline_execution", token),
            ("sagemaker", "retry_pipeline_execution", token),
            ("sagemaker", "list_pipeline_versions", {"PipelineName": GROUP}),
            ("sagemaker", "list_model_packages", {"ModelPackageGroupName": GROUP}),
            *CALLS_OF_COMPILING,
        ],
        "Check": CALLS_OF_COMPILING,
        "Staging": calls_of_stage("staging", roles.outputs["StagingCloudFormationRoleArn"]),
        "Prod": calls_of_stage("prod", roles.outputs["ProdCloudFormationRoleArn"]),
        "StagingCloudFormation": calls_of_cloudformation("staging"),
        "ProdCloudFormation": calls_of_cloudformation("prod"),
        "Pipeline": [
            ("sagemaker", "stop_processing_job", {"ProcessingJobName": STEP}),
            ("sagemaker", "stop_training_job", {"TrainingJobName": STEP}),
            ("sagemaker", "describe_transform_job", {"TransformJobName": STEP}),
            ("sagemaker", "create_transform_job", {"TransformJobName": STEP, "ModelName": STEP} | TRANSFORM),
            ("sagemaker", "create_model", {"ModelName": STEP, "ExecutionRoleArn": roles.outputs["PipelineRoleArn"]}),
            ("sagemaker", "describe_model", {"ModelName": STEP}),
        ],
    }
    return by_role[role]


def keys(roles: Roles, role: str) -> dict[str, str]:
    """A job's credentials, or those of a service with its role."""
    if role in PROJECT_OF:
        return Job(roles, role).keys
    arn = roles.outputs[f"{role}RoleArn"]
    answer = roles.aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="service")["Credentials"]
    return {
        "aws_access_key_id": answer["AccessKeyId"],
        "aws_secret_access_key": answer["SecretAccessKey"],
        "aws_session_token": answer["SessionToken"],
    }


@pytest.mark.parametrize(
    "role", ["Training", "Check", "Staging", "Prod", "StagingCloudFormation", "ProdCloudFormation", "Pipeline"]
)
def test_a_role_has_what_its_exceptions_say_that_it_uses_here(roles: Roles, role: str) -> None:
    credentials = keys(roles, role)
    for service, operation, request in calls(roles, role):
        with suppress(ClientError):
            getattr(roles.aws.client(service, **credentials), operation)(**request)

    name = roles.outputs[f"{role}RoleArn"].rpartition("/")[2]
    used = permissions.used(roles.aws.state / "requests.jsonl", permissions.Role(f"{role}Role", name, []))
    reasons = permissions.explained()[f"{role}Role"]
    here = {action for action, reason in reasons.items() if "test_job_permissions.py" in reason}
    assert here
    assert here <= used
