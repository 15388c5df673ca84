"""infra/gitlab-oidc.yml under enforcement: what a job's role may not do, tried with credentials from ID tokens."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError, WaiterError

from ci_scripts import registry
from tests.support.job_roles import GROUP, PREFIX, PROJECT_OF, Job
from tests.support.roles import Roles, artifacts
from tests.support.servers import ACCOUNT, REGION, Aws, register

ENDPOINT = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/abalone"
TEMPLATE = '{"Resources": {"Group": {"Type": "AWS::Logs::LogGroup"}}}'


@pytest.fixture(scope="module")
def package(roles: Roles) -> str:
    """A model package of the project, waiting for a decision."""
    roles.aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=GROUP)
    return register(roles.aws, GROUP, "PendingManualApproval")


@pytest.mark.parametrize("role", PROJECT_OF)
@pytest.mark.parametrize(
    ("project", "audience"),
    [
        ("project_id:47", ""),
        ("project_id:47110", ""),  # a fork's pipelines carry its own number
        ("project_path:data-science/abalone-model-deploy", ""),
        ("", "https://vault.example.com"),
    ],
)
def test_a_foreign_token_gets_no_credentials(
    roles: Roles,
    role: str,
    project: str,
    audience: str,
) -> None:
    assert roles.lets_in(role, PROJECT_OF[role])
    assert not roles.lets_in(role, project or PROJECT_OF[role], aud=audience)


@pytest.mark.parametrize("role", ["Training", "Staging", "Prod"])
def test_an_unprotected_branch_gets_no_role_that_changes_anything(roles: Roles, role: str) -> None:
    assert not roles.lets_in(role, PROJECT_OF[role], ref_protected="false")
    for ref in ("feature", "main2", "mai", "*"):
        assert not roles.lets_in(role, PROJECT_OF[role], ref=ref)


@pytest.mark.parametrize("role", ["Training", "Check", "Build"])
def test_a_role_that_does_not_deploy_cannot(roles: Roles, role: str) -> None:
    job = Job(roles, role)
    stack = {"StackName": f"{PREFIX}-staging", "RoleARN": roles.outputs["StagingCloudFormationRoleArn"]}
    change_set = {"ChangeSetName": "one", "ChangeSetType": "CREATE", "TemplateBody": TEMPLATE}
    assert job.refusal("cloudformation", "create_change_set", **stack, **change_set) == "AccessDenied"
    assert job.refusal("cloudformation", "delete_stack", **stack) == "AccessDenied"
    endpoint = {"EndpointName": "abalone-staging", "EndpointConfigName": "any"}
    assert job.refusal("sagemaker", "create_endpoint", **endpoint) == "AccessDenied"


@pytest.mark.parametrize(("role", "own", "other"), [("Staging", "staging", "prod"), ("Prod", "prod", "staging")])
def test_a_stage_cannot_touch_the_other_ones_stack(roles: Roles, role: str, own: str, other: str) -> None:
    job = Job(roles, role)
    role_argument = {"RoleARN": roles.outputs[f"{role}CloudFormationRoleArn"]}
    change_set = {"ChangeSetName": "one", "ChangeSetType": "CREATE", "TemplateBody": TEMPLATE}

    def create(stage: str, **more: str) -> str:
        return job.refusal("cloudformation", "create_change_set", StackName=f"{PREFIX}-{stage}", **change_set, **more)

    assert create(other, **role_argument) == "AccessDenied"
    for operation in ("delete_stack", "describe_stacks", "describe_stack_events"):
        request = role_argument if operation == "delete_stack" else {}
        refusal = job.refusal("cloudformation", operation, StackName=f"{PREFIX}-{other}", **request)
        assert refusal == "AccessDenied", operation
    assert create(own) == "AccessDenied", "with its own permissions instead of CloudFormation's role"
    assert create(own, RoleARN=roles.outputs["ModelExecutionRoleArn"]) == "AccessDenied"
    assert create(own, RoleARN=roles.outputs[f"{other.title()}CloudFormationRoleArn"]) == "AccessDenied"
    assert create(own, **role_argument) == ""


@pytest.mark.parametrize(("role", "own", "other"), [("Staging", "staging", "prod"), ("Prod", "prod", "staging")])
def test_a_stage_cannot_reach_the_other_ones_endpoint_through_a_template(
    roles: Roles, role: str, own: str, other: str
) -> None:
    cloudformation = Job(roles, role).client("cloudformation")

    def reason(stage: str) -> str:
        """Why a stack of the job's own stage with an endpoint of that stage was not made."""
        name, change_set = f"{PREFIX}-{own}", f"to-{stage}"
        properties = {"EndpointName": f"abalone-{stage}", "EndpointConfigName": "there-is-none"}
        endpoint = {"Type": "AWS::SageMaker::Endpoint", "Properties": properties}
        template = json.dumps({"Resources": {"Endpoint": endpoint}})
        role_arn = roles.outputs[f"{role}CloudFormationRoleArn"]
        request = {"StackName": name, "ChangeSetName": change_set, "ChangeSetType": "CREATE", "TemplateBody": template}
        cloudformation.create_change_set(**request, RoleARN=role_arn)
        waiter = {"Delay": 1, "MaxAttempts": 30}
        created = cloudformation.get_waiter("change_set_create_complete")
        created.wait(StackName=name, ChangeSetName=change_set, WaiterConfig=waiter)
        cloudformation.execute_change_set(StackName=name, ChangeSetName=change_set)
        with pytest.raises(WaiterError, match="ROLLBACK_COMPLETE"):
            cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=waiter)
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        cloudformation.delete_stack(StackName=name, RoleARN=role_arn)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=events[0]["StackId"], WaiterConfig=waiter)
        [failure] = [event for event in events if event["ResourceStatus"] == "CREATE_FAILED"]
        return str(failure["ResourceStatusReason"])

    assert f"not authorized to perform: sagemaker:CreateEndpoint on resource: {ENDPOINT}-{other}" in reason(other)
    assert "Could not find" in reason(own)


@pytest.mark.parametrize(("role", "stage"), [("Staging", "staging"), ("Prod", "prod")])
def test_no_stack_of_a_stage_imports_what_others_made(roles: Roles, role: str, stage: str) -> None:
    model = {"Type": "AWS::SageMaker::Model", "DeletionPolicy": "Delete", "Properties": {"ModelName": "another-teams"}}
    imported = {
        "ResourceType": "AWS::SageMaker::Model",
        "LogicalResourceId": "Model",
        "ResourceIdentifier": {"ModelArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/another-teams"},
    }
    change_set = {
        "StackName": f"{PREFIX}-{stage}",
        "ChangeSetName": "one",
        "ChangeSetType": "IMPORT",
        "TemplateBody": json.dumps({"Resources": {"Model": model}}),
        "ResourcesToImport": [imported],
        "RoleARN": roles.outputs[f"{role}CloudFormationRoleArn"],
    }
    assert Job(roles, role).refusal("cloudformation", "create_change_set", **change_set) == "AccessDenied"


@pytest.mark.parametrize("role", PROJECT_OF)
def test_no_job_approves_a_model(roles: Roles, role: str, package: str) -> None:
    job = Job(roles, role)
    for status in ("Approved", "Rejected"):
        request = {"ModelPackageArn": package, "ModelApprovalStatus": status}
        assert job.refusal("sagemaker", "update_model_package", **request) == "AccessDenied"
    stamp = {"ModelPackageArn": package, "CustomerMetadataProperties": {"GitLabCommit": "abc"}}
    assert job.refusal("sagemaker", "update_model_package", **stamp) == ("" if role == "Training" else "AccessDenied")


def test_who_has_the_approver_policy_approves_and_does_nothing_else(roles: Roles, package: str) -> None:
    iam, name = roles.aws.client("iam"), f"approver-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn=roles.outputs["ApproverPolicyArn"])
    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    person = roles.aws.client("sagemaker", **keys)
    person.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    described = roles.aws.client("sagemaker").describe_model_package(ModelPackageName=package)
    assert registry.approver(described) == f"user/{name}"
    with pytest.raises(ClientError, match="is not authorized to perform: sagemaker:UpdateModelPackage"):
        person.update_model_package(ModelPackageArn=package, CustomerMetadataProperties={"GitLabCommit": "forged"})


def test_the_staging_job_is_told_that_held_out_data_is_missing_and_nothing_about_other_keys(roles: Roles) -> None:
    s3, job = roles.aws.client("s3"), Job(roles, "Staging")
    artifacts(roles)
    missing = f"{GROUP}/executions/1/test.csv"
    assert job.refusal("s3", "get_object", Bucket="artifacts", Key=missing) == "NoSuchKey"
    s3.put_object(Bucket="artifacts", Key=missing, Body=b"9,0.4")
    assert job.refusal("s3", "get_object", Bucket="artifacts", Key=missing) == ""
    by_the_sdk = f"{GROUP}/1/PreprocessData/output/test/test.csv"  # where it leaves an output that nobody gave a place
    assert job.refusal("s3", "get_object", Bucket="artifacts", Key=by_the_sdk) == "NoSuchKey"
    assert job.refusal("s3", "get_object", Bucket="artifacts", Key=f"{GROUP}/code/1.tar.gz") == "AccessDenied"
    deployed = f"{PREFIX}-staging/template.json"  # which the role may read
    assert job.refusal("s3", "get_object", Bucket="artifacts", Key=deployed) == "AccessDenied"
    assert job.refusal("s3", "list_objects_v2", Bucket="artifacts", Prefix=f"{GROUP}/executions/1/") == ""
    assert job.refusal("s3", "list_objects_v2", Bucket="artifacts") == "AccessDenied"
    s3.delete_object(Bucket="artifacts", Key=missing)


@pytest.mark.parametrize("role", PROJECT_OF)
def test_no_job_reads_a_secret(roles: Roles, role: str) -> None:
    manager, name = roles.aws.client("secretsmanager"), f"gitlab-{uuid.uuid4().hex[:8]}"
    manager.create_secret(Name=name, SecretString="glpat-0123456789")
    assert Job(roles, role).refusal("secretsmanager", "get_secret_value", SecretId=name) == "AccessDenied"


def test_keys_that_nobody_has_open_nothing(roles: Roles, aws: Aws) -> None:
    def code(service: str, operation: str, **keys: str) -> str:
        with pytest.raises(ClientError) as refused:
            getattr(aws.client(service, **keys), operation)()
        return str(refused.value.response["Error"]["Code"])

    nobody = {"aws_access_key_id": "AKIANOBODY", "aws_secret_access_key": "x"}
    assert code("sagemaker", "list_pipelines", **nobody) == "UnrecognizedClientException"
    assert code("s3", "list_buckets", **nobody) == "InvalidAccessKeyId"
    stolen = Job(roles, "Training").keys | {"aws_session_token": "of another session"}
    assert code("sagemaker", "list_pipelines", **stolen) == "UnrecognizedClientException"


def test_a_pipeline_role_is_given_to_sagemaker_only(roles: Roles) -> None:
    foreign = f"arn:aws:iam::{ACCOUNT}:role/somebody"
    request = {"PipelineName": GROUP, "PipelineDefinition": "{}", "RoleArn": foreign}
    assert Job(roles, "Training").refusal("sagemaker", "create_pipeline", **request) == "AccessDenied"
