"""A project through its whole life in the sandbox: created from the template, changed in everything, deleted; twice."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from sandbox import job_images
from sandbox.aws.ground import ACCOUNT, REGION
from sandbox.loopback import GITLAB_NAMES, GITLAB_URL
from sandbox.world import installed, people
from sandbox.world.installed import World
from tests.support.gitlab_client import commit, first_pipeline, job_of, pipeline_of, settled

pytestmark = pytest.mark.timeout(300)
STACK = installed.PROJECT_STACK
FUNCTION_ROLE = "arn:aws:iam::123456789012:role/abalone-functions"
ANNOUNCEMENTS = f"arn:aws:sns:{REGION}:{ACCOUNT}:announcements"
ADMITTED = [
    *("--input-bucket", "our-own-data", "--tuning-steps", "true", "--lambda-functions", "abalone-*"),
    *("--callback-queues", "abalone-*", "--emr-steps", "true", "--automl-steps", "true"),
    *("--lambda-role", FUNCTION_ROLE, "--readable-parameters", "mlops/abalone/*"),
    *("--notification-topics", "abalone-*", "--vpc-hosting", "true"),
    *("--announcement-topic", ANNOUNCEMENTS),
]
"""What `sagemaker-ci bootstrap` is told that projects may choose."""
OPTIONAL = (
    *("tune", "tell-of-tuning", "call-functions", "make-functions", "read-parameters"),
    *("ask-by-queue", "run-emr-steps", "run-automl", "build-images", "check-images", "pull-base-images"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    images = job_images.build(print)
    with installed.running(tmp_path_factory.mktemp("project"), images) as world:
        installed.install(world, print, *ADMITTED)
        yield world


def end(world: World, name: str, seconds: float = 120) -> str:
    """The status in which the stack comes to rest."""
    cloudformation = world.aws("cloudformation")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status: str = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        if not status.endswith("_IN_PROGRESS"):
            return status
        time.sleep(0.3)
    raise AssertionError(f"{name} is still {status}")


def changed(world: World, parameters: dict[str, str]) -> dict[str, str]:
    """Another value for every parameter but the two that SageMaker gives a project for life."""
    group = world.gitlab().groups.create({"name": "Elsewhere", "path": f"elsewhere-{uuid.uuid4().hex[:6]}"})
    url = f"https://{GITLAB_NAMES[1]}"  # another name of the same server
    token, keys, authority = f"token-{group.path}", f"keys-{group.path}", f"authority-{group.path}"
    installed.create_secret(world, authority, installed.authority(world), url)
    installed.create_secret(world, token, f'{{"token": "{world.gitlab_token}"}}', url)
    key = '{"AccessKeyId": "AKIAEXAMPLEEXAMPLE00", "SecretAccessKey": "secret/0123456789abcdef"}'
    installed.create_secret(world, keys, key, url)
    new = parameters | {
        "GitLabServerUrl": url,
        "GitLabBaseUrl": f"{url}/{group.full_path}",
        "ModelBuildRepositoryName": "renamed-build",
        "ModelDeployRepositoryName": "renamed-deploy",
        "GitLabGroupId": str(group.id),
        "GitLabSecretName": token,
        "ComponentProjectPath": "mlops/other-components",
        "ComponentVersion": "1.2.3",
        "AwsAccess": "Static keys",
        "StaticKeysSecretName": keys,
        "InputDataBucket": "our-own-data",
        "TuningSteps": "true",
        "LambdaFunctions": "abalone-*",
        "LambdaRoleArn": FUNCTION_ROLE,
        "CallbackQueues": "abalone-*",
        "EmrSteps": "true",
        "AutoMLSteps": "true",
        "ReadableParameters": "mlops/abalone/*",
        "BuildImages": "true",
        "BaseImageRegistry": "763104351884",
        "TrainInMergeRequests": "true",
        "CompareWithProd": "true",
        "AllowedHosting": "real-time,asynchronous",
        "NotificationTopics": "abalone-*",
        "WatchForDrift": "true",
        "VpcHosting": "true",
        "SubnetIds": "subnet-0123abcd,subnet-4567abcd",
        "SecurityGroupIds": "sg-0123abcd",
        "GitLabCaSecretName": authority,
        "KmsKeyArn": world.aws("kms").create_key()["KeyMetadata"]["Arn"],
        "RollbackOnRejection": "true",
        "AnnouncementTopicArn": ANNOUNCEMENTS,
        "AlarmTopicArn": world.aws("sns").create_topic(Name=group.path)["TopicArn"],
        "LogRetentionDays": "30",
    }
    summary = world.aws("cloudformation").get_template_summary(StackName=STACK)
    assert set(new) == {each["ParameterKey"] for each in summary["Parameters"]}
    return new


def variables(project: Any) -> dict[tuple[str, str], Any]:
    return {(each.key, each.environment_scope): each for each in project.variables.list(get_all=True)}


def trigger_token(world: World, parameters: dict[str, str]) -> str:
    name = f"sagemaker/{parameters['SageMakerProjectName']}-{parameters['SageMakerProjectId']}/trigger-token"
    return str(world.aws("secretsmanager").get_secret_value(SecretId=name)["SecretString"])


def nested(world: World, stack: str = STACK) -> list[str]:
    resources = world.aws("cloudformation").list_stack_resources(StackName=stack)["StackResourceSummaries"]
    return [each["PhysicalResourceId"] for each in resources if each["ResourceType"] == "AWS::CloudFormation::Stack"]


def optional_policies(world: World) -> set[str]:
    """Which of the policies the project's roles have that a parameter of the template grants."""
    iam = world.aws("iam")
    names = [each["RoleName"] for each in iam.list_roles()["Roles"] if each["RoleName"].startswith(STACK)]
    policies = {policy for name in names for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]}
    return policies & {*OPTIONAL}


class Holders(NamedTuple):
    """A user, a group and a role of people, to whom somebody has attached policies; and a policy of their own."""

    name: str

    def attached(self, world: World) -> list[str]:
        """The policies that they hold and that are not their own."""
        iam = world.aws("iam")
        rows = [
            *iam.list_attached_user_policies(UserName=self.name)["AttachedPolicies"],
            *iam.list_attached_group_policies(GroupName=self.name)["AttachedPolicies"],
            *iam.list_attached_role_policies(RoleName=self.name)["AttachedPolicies"],
        ]
        return [row["PolicyName"] for row in rows if row["PolicyName"] != self.name]


def give_policies_to_people(world: World, stacks: list[str]) -> Holders:
    """As infra/README.md says: ApproverPolicy and DoctorPolicy go to whoever approves and examines."""
    iam, name = world.aws("iam"), f"people-{uuid.uuid4().hex[:6]}"
    trust = '{"Version": "2012-10-17", "Statement": []}'
    iam.create_user(UserName=name)
    iam.create_group(GroupName=name)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    document = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}]}'
    )
    arns = [iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]]
    for stack in stacks:
        rows = world.aws("cloudformation").list_stack_resources(StackName=stack)["StackResourceSummaries"]
        people = ("ApproverPolicy", "DoctorPolicy")
        arns += [row["PhysicalResourceId"] for row in rows if row["LogicalResourceId"] in people]
    assert len(arns) == 3
    for arn in arns:
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
        iam.attach_group_policy(GroupName=name, PolicyArn=arn)
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    return Holders(name)


@pytest.mark.parametrize("round_number", [1, 2])
def test_a_project_is_created_changed_in_everything_and_deleted(world: World, round_number: int) -> None:
    parameters = installed.project_parameters(world) | {
        "SageMakerProjectId": f"p-round{round_number}",
        "ModelBuildRepositoryName": f"build-{round_number}",
        "ModelDeployRepositoryName": f"deploy-{round_number}",
    }
    outputs = installed.create_stack(world, STACK, parameters)
    server = world.gitlab()
    build, deploy = (server.projects.get(f"{installed.GROUP}/{name}-{round_number}") for name in ("build", "deploy"))
    assert outputs["ModelBuildRepositoryUrl"] == f"{GITLAB_URL}/{build.path_with_namespace}"
    assert {protected.name for protected in build.protectedbranches.list(get_all=True)} == {"main"}
    by_key = variables(build)
    assert by_key["AWS_ROLE_ARN", "*"].protected
    assert not by_key["AWS_CHECK_ROLE_ARN", "*"].protected
    assert ("MERGE_REQUEST_PIPELINE_ROLE_ARN", "*") not in by_key
    assert {scope for key, scope in variables(deploy) if key == "AWS_ROLE_ARN"} == {"*", "staging", "prod"}
    assert len(build.commits.list(get_all=True)) == 1
    assert first_pipeline(build) == "success"
    assert first_pipeline(deploy) == "skipped"  # there is nothing to deploy yet

    assert optional_policies(world) == set()

    cloudformation = world.aws("cloudformation")
    [old_token] = [each.token for each in deploy.triggers.list(get_all=True)]
    new = changed(world, parameters)
    cloudformation.update_stack(StackName=STACK, **installed.stack_request(world, new))
    assert end(world, STACK) == "UPDATE_COMPLETE", people.failures(world, STACK)

    build, deploy = server.projects.get(build.id), server.projects.get(deploy.id)
    namespace = new["GitLabBaseUrl"].rpartition("/")[2]
    assert build.path_with_namespace == f"{namespace}/renamed-build"
    assert deploy.path_with_namespace == f"{namespace}/renamed-deploy"
    by_key = variables(build)
    assert ("AWS_ROLE_ARN", "*") not in by_key
    assert ("AWS_MERGE_REQUEST_ROLE_ARN", "*") not in by_key
    role = by_key["MERGE_REQUEST_PIPELINE_ROLE_ARN", "*"]
    assert "-MergeRequests-" in role.value
    assert not role.protected
    assert by_key["MERGE_REQUEST_ALLOWED_STEPS", "*"].value.startswith("Processing,Training,RegisterModel,")
    assert by_key["ALLOWED_STEPS", "*"].value.endswith("Tuning,Lambda,Callback,EMR,AutoML")
    key = by_key["AWS_SECRET_ACCESS_KEY", "*"]
    assert (key.masked, key.protected) == (True, True)
    assert len(build.commits.list(get_all=True)) == 1  # what is in a repository is its owners'
    [token] = [each.token for each in deploy.triggers.list(get_all=True)]
    assert token != old_token  # stored anew, under the new key
    assert trigger_token(world, parameters) == token
    bucket = outputs["ArtifactBucketName"]
    [rule] = world.aws("s3").get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == new["KmsKeyArn"]
    functions = world.aws("lambda").list_functions()["Functions"]
    assert [each["VpcConfig"]["SubnetIds"] for each in functions] == [new["SubnetIds"].split(",")] * 2
    groups = world.aws("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/sagemaker-")["logGroups"]
    assert {each["retentionInDays"] for each in groups} == {30}

    assert optional_policies(world) == {*OPTIONAL}

    stacks = [STACK, *nested(world)]
    holders = give_policies_to_people(world, stacks)
    ids = [cloudformation.describe_stacks(StackName=each)["Stacks"][0]["StackId"] for each in stacks]
    cloudformation.delete_stack(StackName=STACK)
    assert end(world, ids[0]) == "DELETE_COMPLETE", people.failures(world, ids[0])
    assert {end(world, each) for each in ids} == {"DELETE_COMPLETE"}
    assert holders.attached(world) == []
    # People's work stays; nothing else does.
    assert server.projects.get(build.id).path == "renamed-build"
    assert server.projects.get(deploy.id).triggers.list(get_all=True) == []
    world.aws("s3").head_bucket(Bucket=bucket)
    world.aws("sagemaker").describe_model_package_group(ModelPackageGroupName=outputs["ModelPackageGroupName"])
    with pytest.raises(ClientError, match="RepositoryNotFound"):
        world.aws("ecr").describe_repositories(repositoryNames=[f"{outputs['ModelPackageGroupName']}-mr"])
    world.aws("ecr").describe_repositories(repositoryNames=[outputs["ModelPackageGroupName"]])
    assert world.aws("lambda").list_functions()["Functions"] == []
    assert [each for each in world.aws("iam").list_roles()["Roles"] if each["RoleName"].startswith("SP-")] == []
    assert world.aws("sagemaker").list_code_repositories()["CodeRepositorySummaryList"] == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"GitLabBaseUrl": "https://elsewhere/ada"},
            "the base URL for the repositories is https://elsewhere/ada, but group",
        ),
        ({"GitLabGroupId": "424242"}, "there is no such group, or the access token may not see it"),
        ({"GitLabSecretName": "worthless-token"}, "GitLab refused the access token: it is wrong, expired or revoked"),
        ({"GitLabSecretName": "no-such-secret"}, "secret no-such-secret does not exist, or is not tagged as meant for"),
        (
            {"GitLabSecretName": "of-another-gitlab"},
            f"tag-resource --secret-id of-another-gitlab --tags Key=sagemaker-ci:gitlab,Value={GITLAB_URL}",
        ),
        ({"ModelBuildRepositoryName": "taken"}, "exists and was not created by this stack; choose another name"),
    ],
)
def test_a_failure_names_its_cause_in_the_stack_event_and_leaves_nothing(
    world: World, change: dict[str, str], reason: str
) -> None:
    server = world.gitlab()
    group = server.groups.get(installed.GROUP)
    if change.get("GitLabSecretName") == "worthless-token":
        installed.create_secret(world, "worthless-token", "glpat-worthless0123456")
    if change.get("GitLabSecretName") == "of-another-gitlab":
        installed.create_secret(world, "of-another-gitlab", world.gitlab_token, "https://elsewhere.example.com")
    if change.get("ModelBuildRepositoryName") == "taken":
        server.projects.create({"name": "taken", "namespace_id": group.id})
    names = {"ModelBuildRepositoryName": "new-build", "ModelDeployRepositoryName": "new-deploy"}
    parameters = (
        installed.project_parameters(world) | {"SageMakerProjectId": f"p-{uuid.uuid4().hex[:8]}"} | names | change
    )
    before = {each.id for each in server.projects.list(get_all=True)}

    with pytest.raises(SystemExit) as caught:
        installed.create_stack(world, STACK, parameters)

    assert reason in str(caught.value)
    assert end(world, STACK) == "ROLLBACK_COMPLETE", people.failures(world, STACK)
    assert {each.id for each in server.projects.list(get_all=True)} == before
    world.aws("cloudformation").delete_stack(StackName=STACK)
    with pytest.raises(ClientError):
        world.aws("s3").head_bucket(Bucket=f"sagemaker-{parameters['SageMakerProjectId']}-{ACCOUNT}-{REGION}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ModelDeployRepositoryName": "abalone-model-build"}, "two repositories need different names"),
        ({"AwsAccess": "Static keys"}, "Static keys come from a secret"),
        ({"StaticKeysSecretName": "keys"}, "With OIDC no keys are stored"),
        ({"InputDataBucket": "somebody-elses-data"}, "InputDataBucket. must be one of AllowedValues"),
        ({"LambdaFunctions": "*"}, "LambdaFunctions. must be one of AllowedValues"),
        ({"ReadableParameters": "*"}, "ReadableParameters. must be one of AllowedValues"),
        (
            {"LambdaFunctions": "abalone-*", "LambdaRoleArn": "arn:aws:iam::123456789012:role/administrator"},
            "LambdaRoleArn. must be one of AllowedValues",
        ),
        ({"LambdaRoleArn": FUNCTION_ROLE}, "choose Lambda functions, too, or no role"),
        ({"SubnetIds": "subnet-0123abcd"}, "Subnets and security groups go together"),
        ({"GitLabServerUrl": "http://127.0.0.1:8929"}, "AWS asks GitLab on port 443 alone"),
        ({"GitLabGroupId": "my-group"}, "The number on the group's overview page, or None"),
    ],
)
def test_nonsense_is_refused_before_anything_is_created(world: World, change: dict[str, str], reason: str) -> None:
    request = installed.stack_request(world, installed.project_parameters(world) | change)
    with pytest.raises(ClientError, match=reason):
        world.aws("cloudformation").create_stack(StackName="refused", **request)


# --- a project that stands --------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """A project whose access token is in a secret of its own."""

    stack: str
    parameters: dict[str, str]
    outputs: dict[str, str]


@pytest.fixture(scope="module")
def standing(world: World) -> Standing:
    installed.create_secret(world, "standing-token", world.gitlab_token)
    parameters = installed.project_parameters(world) | {
        "SageMakerProjectName": "standing",
        "SageMakerProjectId": "p-standing1",
        "ModelBuildRepositoryName": "standing-build",
        "ModelDeployRepositoryName": "standing-deploy",
        "GitLabSecretName": "standing-token",
    }
    return Standing(
        "SP-standing-p-standing1", parameters, installed.create_stack(world, "SP-standing-p-standing1", parameters)
    )


SHOW = """\
show:
  id_tokens: {{TOKEN: {{aud: $CI_SERVER_URL}}}}
  {environment}
  script: ['printf %s "$TOKEN" > token.txt']
  artifacts: {{paths: [token.txt]}}
"""


def id_token(project: Any, configuration: str) -> str:
    """The ID token of a job that a commit to the default branch starts."""
    pushed = commit(project, {".gitlab-ci.yml": configuration})
    pipeline = settled(project, pipeline_of(project, pushed.id))
    return str(job_of(project, pipeline, "show").artifact("token.txt").decode())


@pytest.mark.parametrize(("repository", "scope"), [("standing-build", "*"), ("standing-deploy", "staging")])
def test_an_unprotected_default_branch_gets_no_role_that_changes_anything(
    world: World, standing: Standing, repository: str, scope: str
) -> None:
    project = world.gitlab().projects.get(f"{installed.GROUP}/{repository}")
    request = {"RoleArn": variables(project)["AWS_ROLE_ARN", scope].value, "RoleSessionName": "gitlab-job"}
    configuration = SHOW.format(environment="environment: {name: staging}" if scope == "staging" else "tags: []")
    sts = world.aws("sts")
    sts.assume_role_with_web_identity(WebIdentityToken=id_token(project, configuration), **request)

    project.protectedbranches.delete("main")
    token = id_token(project, configuration + "# unprotected\n")
    with pytest.raises(ClientError, match="Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        sts.assume_role_with_web_identity(WebIdentityToken=token, **request)


def test_an_access_token_of_no_worth_stops_no_update_but_of_the_repositories(world: World, standing: Standing) -> None:
    world.aws("secretsmanager").put_secret_value(SecretId="standing-token", SecretString="glpat-expired0123456789")
    cloudformation = world.aws("cloudformation")
    changes = {"InputDataBucket": "our-own-data", "ComponentVersion": "1.2.3", "LogRetentionDays": "30"}
    cloudformation.update_stack(
        StackName=standing.stack, **installed.stack_request(world, standing.parameters | changes)
    )
    assert end(world, standing.stack) == "UPDATE_COMPLETE", people.failures(world, standing.stack)

    changes |= {"ModelBuildRepositoryName": "renamed", "LogRetentionDays": "90"}
    cloudformation.update_stack(
        StackName=standing.stack, **installed.stack_request(world, standing.parameters | changes)
    )
    assert end(world, standing.stack) == "UPDATE_ROLLBACK_COMPLETE", people.failures(world, standing.stack)
    assert "GitLab refused the access token" in "".join(people.failures(world, standing.stack))
    assert people.outputs(world, standing.stack) == standing.outputs
