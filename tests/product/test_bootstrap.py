"""`sagemaker-ci bootstrap` in the sandbox: both ways of offering the project template, repetition and refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from tests.support.servers import ACCOUNT, REGION, ROOT, Aws, create_role, sagemaker_ci

pytestmark = pytest.mark.timeout(180)
# What a second run may call: it asks, and works out a change set that turns out to be empty.
LOOKS = ("Get", "List", "Describe", "Head", "CreateChangeSet", "DeleteChangeSet")
CORS = {"AllowedOrigins": ["https://example.com"], "AllowedMethods": ["GET"]}


class Platform(NamedTuple):
    """A platform team's bucket and clone."""

    aws: Aws
    bucket: str
    source: Path
    stack: str

    def bootstrap(self, *options: str) -> subprocess.CompletedProcess[str]:
        required = ("--bucket", self.bucket, "--stack-name", self.stack, "--source", str(self.source))
        return sagemaker_ci("bootstrap", *required, *options, environ=self.aws.environ, cwd=self.source)

    def operations(self) -> list[str]:
        rows = map(json.loads, (self.aws.state / "requests.jsonl").read_text().splitlines())
        return [row["operation"] for row in rows if row["service"] != "sqs"]  # queues of other tests are polled

    def calls(self) -> int:
        return len(self.operations())

    def changes_since(self, calls: int) -> list[str]:
        return [operation for operation in self.operations()[calls:] if not operation.startswith(LOOKS)]

    def visible(self) -> list[str]:
        s3 = self.aws.client("s3")
        objects = s3.list_objects_v2(Bucket=self.bucket, Prefix="sagemaker-ci/studio/").get("Contents", [])
        tag = {"Key": "sagemaker:studio-visibility", "Value": "true"}
        return [
            each["Key"]
            for each in objects
            if tag in s3.get_object_tagging(Bucket=self.bucket, Key=each["Key"])["TagSet"]
        ]

    def outputs(self) -> dict[str, str]:
        stack = self.aws.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.fixture(scope="module")
def platform(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    source = tmp_path_factory.mktemp("clone")
    for name in ("infra", "seed-build", "seed-deploy"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    bucket = f"platform-{uuid.uuid4().hex[:8]}"
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [CORS]})
    return Platform(aws, bucket, source, f"sagemaker-ci-{uuid.uuid4().hex[:8]}")


def test_a_region_without_what_a_project_needs_is_refused_before_anything_is_done(platform: Platform) -> None:
    calls = platform.calls()
    done = platform.bootstrap("--region", "ap-south-2")
    assert done.returncode == 1
    assert "error SMCI-806: ap-south-2: CloudFormation lacks a resource type of infra/project.yml" in done.stderr
    assert platform.calls() == calls


def test_the_first_run_offers_the_template_in_s3_and_the_second_changes_nothing(platform: Platform) -> None:
    role = create_role(platform.aws, f"studio-{uuid.uuid4().hex[:8]}", "sagemaker.amazonaws.com")
    options = ("--gitlab-url", f"https://{platform.bucket}.example.com", "--studio-role", role)

    first = platform.bootstrap(*options)

    assert first.returncode == 0, first.stdout + first.stderr
    assert "Ask for service quotas before the first project is created:" in first.stdout  # a new account
    assert "ml.m5.large for training job usage (L-" in first.stdout
    [template] = platform.visible()
    s3 = platform.aws.client("s3")
    text = s3.get_object(Bucket=platform.bucket, Key=template)["Body"].read().decode()
    assert f"Bucket: {platform.bucket}\n" in text
    assert f"{platform.aws.url}/{platform.bucket}/{template}\n" in first.stdout  # where S3 is, whatever its domain
    origins = [rule["AllowedOrigins"] for rule in s3.get_bucket_cors(Bucket=platform.bucket)["CORSRules"]]
    assert origins == [["https://example.com"], ["https://*.sagemaker.aws"]]
    iam = platform.aws.client("iam")
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{platform.bucket}.example.com"
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"] == [options[1]]
    attached = iam.list_attached_role_policies(RoleName=role.rpartition("/")[2])["AttachedPolicies"]
    assert [each["PolicyArn"] for each in attached] == [platform.outputs()["StudioPolicyArn"]]
    assert platform.outputs()["LaunchRoleArn"] in first.stdout

    before = platform.calls()
    second = platform.bootstrap(*options)

    assert second.returncode == 0, second.stdout + second.stderr
    assert "no change" in second.stdout
    assert "uploaded" not in second.stdout
    assert platform.changes_since(before) == []


def test_a_changed_template_takes_the_place_of_the_one_before(platform: Platform) -> None:
    [old] = platform.visible() or [""]
    project = platform.source / "infra" / "project.yml"
    project.write_text(project.read_text().replace("A SageMaker project with GitLab:", "Our projects with GitLab:"))

    done = platform.bootstrap()

    assert done.returncode == 0, done.stdout + done.stderr
    [new] = platform.visible()
    assert new != old
    assert "IdentityProvider" not in done.stdout  # what is not asked for again stays
    # Projects made from the old one can still be updated with it.
    platform.aws.client("s3").head_object(Bucket=platform.bucket, Key=old)


# Who may do everything, and trusts the person who makes it.
ADMINISTRATOR = """
Resources:
  Administrator:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{ Effect: Allow, Action: "sts:AssumeRole", Principal: { AWS: "arn:aws:iam::123456789012:root" } }]
      Policies:
        - PolicyName: everything
          PolicyDocument: { Statement: [{ Effect: Allow, Action: "*", Resource: "*" }] }
"""


class Person:
    """Somebody in Studio who has StudioPolicy and nothing else."""

    def __init__(self, platform: Platform) -> None:
        iam, name = platform.aws.client("iam"), f"person-{uuid.uuid4().hex[:8]}"
        iam.create_user(UserName=name)
        iam.attach_user_policy(UserName=name, PolicyArn=platform.outputs()["StudioPolicyArn"])
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        self._cloudformation = platform.aws.client("cloudformation", **keys)

    def refusal(self, operation: str, **request: Any) -> str:
        """The error's code, or nothing when the call passed."""
        try:
            getattr(self._cloudformation, operation)(Capabilities=["CAPABILITY_IAM"], **request)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""


def test_the_launch_role_creates_what_was_published_and_nothing_else(platform: Platform) -> None:
    person, name = Person(platform), f"SP-{uuid.uuid4().hex[:8]}"
    launch = {"RoleARN": platform.outputs()["LaunchRoleArn"]}
    [key] = platform.visible()
    own_bucket, s3 = f"own-{uuid.uuid4().hex[:8]}", platform.aws.client("s3")
    s3.create_bucket(Bucket=own_bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    for bucket, place in ((own_bucket, key), (platform.bucket, "elsewhere/template.yml")):
        s3.put_object(Bucket=bucket, Key=place, Body=ADMINISTRATOR.encode())
        url = f"https://{bucket}.s3.{REGION}.amazonaws.com/{place}"
        assert person.refusal("create_stack", StackName=name, TemplateURL=url, **launch) == "AccessDenied"
    assert person.refusal("create_stack", StackName=name, TemplateBody=ADMINISTRATOR, **launch) == "AccessDenied"
    hosts = (
        f"{platform.bucket}.s3.{REGION}.amazonaws.com",
        f"{platform.bucket}.s3.amazonaws.com",
        f"s3.{REGION}.amazonaws.com/{platform.bucket}",
        f"s3.amazonaws.com/{platform.bucket}",
    )
    for host in hosts:  # the permission is there; the parameters are not
        published = {"StackName": name, "TemplateURL": f"https://{host}/{key}"}
        assert person.refusal("create_stack", **published, **launch) == "ValidationError"
    other = create_role(platform.aws, f"powerful-{name.lower()}", "cloudformation.amazonaws.com")
    assert person.refusal("create_stack", **published, RoleARN=other) == "AccessDenied"


def test_a_project_cannot_be_changed_into_something_else(platform: Platform) -> None:
    name = f"SP-{uuid.uuid4().hex[:8]}"
    template = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    launch = {"RoleARN": platform.outputs()["LaunchRoleArn"]}
    cloudformation = platform.aws.client("cloudformation")
    cloudformation.create_stack(StackName=name, TemplateBody=template, **launch)
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    person = Person(platform)
    assert person.refusal("update_stack", StackName=name, TemplateBody=ADMINISTRATOR) == "AccessDenied"
    assert person.refusal("update_stack", StackName=name, TemplateBody=ADMINISTRATOR, **launch) == "AccessDenied"
    [key] = platform.visible()
    published = f"https://{platform.bucket}.s3.{REGION}.amazonaws.com/{key}"
    # SageMaker names no role in an update.
    assert person.refusal("update_stack", StackName=name, TemplateURL=published) == "ValidationError"


def test_a_service_catalog_product_has_the_newest_version_alone(platform: Platform) -> None:
    catalog = platform._replace(stack=f"{platform.stack}-sc")
    role = create_role(platform.aws, f"studio-{uuid.uuid4().hex[:8]}", "sagemaker.amazonaws.com")
    done = catalog.bootstrap("--service-catalog", "--studio-role", role)
    assert done.returncode == 0, done.stdout + done.stderr
    service, outputs = platform.aws.client("servicecatalog"), catalog.outputs()
    principals = service.list_principals_for_portfolio(PortfolioId=outputs["PortfolioId"])["Principals"]
    assert [each["PrincipalARN"] for each in principals] == [role]
    [old] = service.describe_product(Id=outputs["ProductId"])["ProvisioningArtifacts"]
    project = platform.source / "infra" / "project.yml"
    project.write_text(f"# Ours\n{project.read_text()}")

    done = catalog.bootstrap("--service-catalog")

    assert done.returncode == 0, done.stdout + done.stderr
    [new] = service.describe_product(Id=outputs["ProductId"])["ProvisioningArtifacts"]
    assert new["Id"] != old["Id"]


def test_an_offer_stays_and_the_other_one_gets_a_stack_of_its_own(platform: Platform) -> None:
    before, visible = platform.calls(), platform.visible()
    done = platform.bootstrap("--service-catalog")
    assert done.returncode == 1
    assert "error SMCI-804" in done.stderr
    assert "--stack-name" in done.stderr
    assert platform.changes_since(before) == []
    assert platform.visible() == visible != []  # though the product of the stack beside it is made from that bucket


def test_an_identity_provider_that_the_account_has_is_left_alone(platform: Platform) -> None:
    iam, other = platform.aws.client("iam"), platform._replace(stack=f"{platform.stack}-other")
    url = f"https://{uuid.uuid4().hex[:8]}.example.com"
    provider = iam.create_open_id_connect_provider(Url=url, ClientIDList=["sts.amazonaws.com"])
    arn, before = provider["OpenIDConnectProviderArn"], platform.calls()
    refused = other.bootstrap("--gitlab-url", url)
    assert refused.returncode == 1
    assert f"error SMCI-805: {arn} does not accept ID tokens for the audience {url}" in refused.stderr
    assert platform.changes_since(before) == []
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=url)

    done = other.bootstrap("--gitlab-url", url)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the account has the identity provider already: {arn}" in done.stdout


def test_refusals_name_what_to_do_and_change_nothing(platform: Platform, tmp_path: Path) -> None:
    before = platform.calls()
    nowhere = platform._replace(bucket="no-such-bucket").bootstrap()
    assert nowhere.returncode == 1
    assert "error SMCI-802: bucket no-such-bucket does not exist" in nowhere.stderr
    no_clone = platform._replace(source=tmp_path).bootstrap()
    assert no_clone.returncode == 1
    assert "error SMCI-801" in no_clone.stderr
    (platform.source / "infra/functions/seed_checkin/requirements.txt").write_text(
        f"python-gitlab==8.6.0 --hash=sha256:{'0' * 64}\n"
    )
    no_archive = platform.bootstrap()
    assert no_archive.returncode == 1
    assert "error SMCI-803: the archive of seed_checkin could not be built" in no_archive.stderr
    assert platform.changes_since(before) == []
    with pytest.raises(ClientError, match="does not exist"):
        platform.aws.client("cloudformation").describe_stacks(StackName="sagemaker-ci")
