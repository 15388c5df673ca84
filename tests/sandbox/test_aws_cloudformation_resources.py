"""The resource types of the sandbox's CloudFormation, held to the registry schemas that cfn-lint ships.

What a handler asks of the stack's role, for creation, update and deletion, is what AWS's own handler may ask; what
Fn::GetAtt can ask for is there; what cannot be done is refused by name. Differences that stay are listed here and in
sandbox/README.md.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from sandbox.aws.cloudformation import api, schemas, validation
from sandbox.aws.cloudformation.evaluator import UNKNOWN
from sandbox.aws.cloudformation.resources.handler import HANDLERS
from tests.support.servers import IMAGE, Aws, create_role
from tests.support.stacks import Stacks

assert api  # registers the handlers

# Read-only properties that Fn::GetAtt does not get here.
NO_ATTRIBUTE = {
    "AWS::DynamoDB::Table": {"StreamArn"},
    "AWS::IAM::ManagedPolicy": {
        "AttachmentCount",
        "CreateDate",
        "DefaultVersionId",
        "IsAttachable",
        "PermissionsBoundaryUsageCount",
        "UpdateDate",
    },
    "AWS::Lambda::Function": {"SnapStartResponse"},
    "AWS::S3::Bucket": {"WebsiteURL"},
    "AWS::SageMaker::ModelPackageGroup": {"CreationTime", "ModelPackageGroupStatus"},
}
# Types whose handlers other tests drive, with roles of their own.
TRIED_ELSEWHERE = (
    "AWS::ApplicationAutoScaling::ScalableTarget",  # test_aws_autoscaling.py
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::CloudFormation::CustomResource",  # test_aws_custom_resources.py
    "AWS::CloudFormation::Stack",  # test_project_template.py
    "AWS::SageMaker::Endpoint",  # test_aws_cloudformation_sagemaker.py, test_deploy.py
    "AWS::SageMaker::EndpointConfig",
    "AWS::ServiceCatalog::CloudFormationProduct",  # test_service_catalog.py
    "AWS::ServiceCatalog::LaunchRoleConstraint",
    "AWS::ServiceCatalog::Portfolio",
    "AWS::ServiceCatalog::PortfolioPrincipalAssociation",
    "AWS::ServiceCatalog::PortfolioProductAssociation",
)
# What a handler asks here and AWS's does not, by type and verb; each is a line of sandbox/README.md.
ASKS_MORE: dict[tuple[str, str], set[str]] = {}


class Case(NamedTuple):
    """How a type is tried: its properties, and those that an update changes."""

    type: str
    properties: dict[str, Any]
    changed: Mapping[str, Any] = MappingProxyType({})


def cases(unique: str, role: str, queue: str, function: str, bucket: str) -> Iterator[Case]:
    """One per type; what they need beside (a role, a queue, a function, a bucket) exists already."""
    statement = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    other = {"Version": "2012-10-17", "Statement": [statement | {"Action": "sqs:ReceiveMessage"}]}
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "a.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    resource_policy = {"Statement": [statement | {"Principal": {"Service": "events.amazonaws.com"}}]}
    role_name = role.rpartition("/")[2]
    yield Case("AWS::SQS::Queue", {"DelaySeconds": 1}, {"DelaySeconds": 2})
    yield Case(
        "AWS::SQS::QueuePolicy", {"Queues": [queue], "PolicyDocument": resource_policy}, {"PolicyDocument": policy}
    )
    yield Case("AWS::Events::Rule", {"EventPattern": {"source": ["a"]}}, {"EventPattern": {"source": ["b"]}})
    code = {"Runtime": "python3.13", "Handler": "index.handle", "Role": role}
    yield Case("AWS::Lambda::Function", {"Code": {"ZipFile": "a = 1"}, **code}, {"Code": {"ZipFile": "a = 2"}})
    source = f"arn:aws:sqs:eu-west-1:123456789012:{queue.rpartition('/')[2]}"
    mapping = {"EventSourceArn": source, "FunctionName": function, "BatchSize": 1}
    yield Case("AWS::Lambda::EventSourceMapping", mapping, {"BatchSize": 2})
    table = {
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    protected = {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}
    yield Case("AWS::DynamoDB::Table", table | protected, {"DeletionProtectionEnabled": False})
    yield Case("AWS::ECR::Repository", {"Tags": [{"Key": "a", "Value": "b"}]}, {"ImageTagMutability": "IMMUTABLE"})
    yield Case("AWS::SecretsManager::Secret", {"SecretString": "a"}, {"SecretString": "b"})
    lifecycle = {"Rules": [{"Id": "a", "Status": "Enabled", "ExpirationInDays": 3}]}
    yield Case(
        "AWS::S3::Bucket",
        {"VersioningConfiguration": {"Status": "Enabled"}},
        {"LifecycleConfiguration": lifecycle | {"Rules": [{"Id": "a", "Status": "Enabled", "Prefix": "x/"}]}},
    )
    access = {
        "Statement": [statement | {"Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}]
    }
    listing = {"Statement": [{**access["Statement"][0], "Action": "s3:PutObject"}]}
    yield Case("AWS::S3::BucketPolicy", {"Bucket": bucket, "PolicyDocument": access}, {"PolicyDocument": listing})
    yield Case("AWS::Logs::LogGroup", {"RetentionInDays": 7}, {"RetentionInDays": 14})
    alarm = {"Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1}
    yield Case(
        "AWS::CloudWatch::Alarm",
        alarm | {"Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"},
        {"Threshold": 2},
    )
    yield Case("AWS::SSM::Parameter", {"Type": "String", "Value": "a"}, {"Value": "b"})
    inline = [{"PolicyName": "p", "PolicyDocument": policy}]
    yield Case("AWS::IAM::Role", {"AssumeRolePolicyDocument": trust, "Policies": inline}, {"Description": "changed"})
    put = {"PolicyName": f"p-{unique}", "PolicyDocument": policy, "Roles": [role_name]}
    yield Case("AWS::IAM::Policy", put, {"PolicyDocument": other})
    yield Case("AWS::IAM::ManagedPolicy", {"PolicyDocument": policy, "Roles": [role_name]}, {"PolicyDocument": other})
    provider = {"Url": f"https://gitlab-{unique}.example.com", "ClientIdList": ["a"]}
    yield Case("AWS::IAM::OIDCProvider", provider, {"ClientIdList": ["b"]})
    yield Case("AWS::SageMaker::ModelPackageGroup", {"ModelPackageGroupName": f"g-{unique}"})
    yield Case("AWS::SageMaker::CodeRepository", {"GitConfig": {"RepositoryUrl": "https://gitlab.example.com/a.git"}})
    steps = {"Version": "2020-12-01", "Steps": [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "a"}}]}
    pipeline = {
        "PipelineName": f"p-{unique}",
        "RoleArn": role,
        "PipelineDefinition": {"PipelineDefinitionBody": json.dumps(steps)},
    }
    yield Case("AWS::SageMaker::Pipeline", pipeline, {"PipelineDescription": "changed"})
    target = {"Arn": "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p", "RoleArn": role}
    schedule = {"ScheduleExpression": "cron(0 2 * * ? *)", "Target": target, "FlexibleTimeWindow": {"Mode": "OFF"}}
    yield Case("AWS::Scheduler::Schedule", schedule, {"State": "DISABLED"})
    yield Case("AWS::SNS::Topic", {"DisplayName": "a"}, {"DisplayName": "b"})
    topic = f"arn:aws:sns:eu-west-1:123456789012:t-{unique}"
    subscription = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": source}
    yield Case("AWS::SNS::Subscription", subscription, {"RawMessageDelivery": True})
    publish = {"Statement": [statement | {"Principal": "*", "Action": "sns:Publish", "Resource": topic}]}
    publish_more = {"Statement": [{**publish["Statement"][0], "Sid": "More"}]}
    yield Case(
        "AWS::SNS::TopicPolicy", {"Topics": [topic], "PolicyDocument": publish}, {"PolicyDocument": publish_more}
    )
    yield Case("AWS::SageMaker::Model", {"ExecutionRoleArn": role, "Containers": [{"Image": IMAGE}]})


class Tried:
    """The account that all cases share."""

    def __init__(self, aws: Aws) -> None:
        self.aws, self.unique = aws, uuid.uuid4().hex[:8]
        self.role = create_role(aws, f"things-{self.unique}", "lambda.amazonaws.com")
        self.for_stacks = create_role(aws, f"stacks-{self.unique}", "cloudformation.amazonaws.com")
        trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        services = ["lambda.amazonaws.com", "scheduler.amazonaws.com"]
        both = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
        aws.client("iam").update_assume_role_policy(
            RoleName=f"things-{self.unique}",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust, both]}),
        )
        self.queue = aws.client("sqs").create_queue(QueueName=f"q-{self.unique}")["QueueUrl"]
        aws.client("sns").create_topic(Name=f"t-{self.unique}")
        self.bucket = f"b-{self.unique}"
        aws.client("s3").create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        execution_role = self.stack("Function")
        execution_role.create(
            json.dumps(
                {
                    "Resources": {
                        "Function": {
                            "Type": "AWS::Lambda::Function",
                            "Properties": {
                                "FunctionName": f"f-{self.unique}",
                                "Role": self.role,
                                "Runtime": "python3.13",
                                "Handler": "index.handle",
                                "Code": {"ZipFile": "a = 1"},
                            },
                        }
                    }
                }
            )
        )

    def stack(self, name: str) -> Stacks:
        stacks = Stacks(self.aws)
        stacks.name = f"{name}-{self.unique}"
        return stacks

    def case(self, resource_type: str) -> Case:
        all_cases = cases(self.unique, self.role, self.queue, f"f-{self.unique}", self.bucket)
        return next(case for case in all_cases if case.type == resource_type)

    def actions_asked(self) -> set[str]:
        """The actions that the stacks' role has asked for since the last time."""
        lines = (self.aws.state / "requests.jsonl").read_text().splitlines()
        mine = [json.loads(line) for line in lines if f"stacks-{self.unique}/" in line]
        actions = {action for line in mine[self._seen :] for action, _ in line["asked"]}
        self._seen = len(mine)
        return actions

    _seen = 0


@pytest.fixture(scope="module")
def tried(aws: Aws) -> Tried:
    return Tried(aws)


TYPES = [case.type for case in cases("u", "arn:aws:iam::123456789012:role/r", "q/q", "f", "b")]


@pytest.mark.parametrize("resource_type", TYPES)
def test_a_handler_asks_no_more_than_that_of_aws(tried: Tried, resource_type: str) -> None:
    case = tried.case(resource_type)
    stacks = tried.stack(resource_type.removeprefix("AWS::").replace("::", ""))
    attributes = sorted(schemas.read_only(case.type) - NO_ATTRIBUTE.get(case.type, set()))
    outputs = {name: {"Value": {"Fn::GetAtt": ["Thing", name]}} for name in attributes}
    template: dict[str, Any] = {"Resources": {"Thing": {"Type": case.type, "Properties": case.properties}}}
    if outputs:
        template["Outputs"] = outputs
    request = {"StackName": stacks.name, "Capabilities": ["CAPABILITY_NAMED_IAM"], "RoleARN": tried.for_stacks}

    def require(verb: str, status: str, stack: dict[str, Any]) -> None:
        events = stacks.client.describe_stack_events(StackName=stack["StackId"])["StackEvents"]
        reasons = [each["ResourceStatusReason"] for each in events if each["ResourceStatus"].endswith("_FAILED")]
        assert stack["StackStatus"] == status, reasons
        more = tried.actions_asked() - set(schemas.permissions(case.type)[verb])
        assert more == ASKS_MORE.get((case.type, verb), set()), f"{verb} asks {sorted(more)}"

    tried.actions_asked()
    tags = [{"Key": "team", "Value": "risk"}]
    stacks.client.create_stack(TemplateBody=json.dumps(template), Tags=tags, **request)
    stack = stacks.settle()
    require("create", "CREATE_COMPLETE", stack)
    assert all(output["OutputValue"] for output in stack.get("Outputs", []))
    changeable = HANDLERS[case.type].changeable
    taggable = schemas.has_tags(case.type) and (changeable is None or "Tags" in changeable)
    if case.changed or taggable:
        template["Resources"]["Thing"]["Properties"] = case.properties | dict(case.changed)
        again = [{"Key": "owner", "Value": "me"}]
        stacks.client.update_stack(TemplateBody=json.dumps(template), Tags=again, **request)
        require("update", "UPDATE_COMPLETE", stacks.settle())
    stacks.client.delete_stack(StackName=stacks.name)
    require("delete", "DELETE_COMPLETE", stacks.settle(stack["StackId"]))


def test_every_type_is_tried() -> None:
    assert set(HANDLERS) - set(TYPES) == set(TRIED_ELSEWHERE)


def test_every_type_is_one_of_aws_and_no_property_is_one_that_aws_has_not() -> None:
    for resource_type, handler in HANDLERS.items():
        assert schemas.exists(resource_type, "eu-west-1")
        properties = set(schemas.schema(resource_type)["properties"])
        assert (handler.properties or set()) <= properties
        assert (handler.changeable or set()) <= properties


# --- properties judged by their schema ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource_type", "properties", "messages"),
    [
        ("AWS::SQS::Queue", {"DelaySeconds": "5", "FifoQueue": "true"}, []),
        ("AWS::SQS::Queue", {"DelaySeconds": "soon"}, ["#/DelaySeconds: expected type: Integer, found: String"]),
        ("AWS::SQS::Queue", {"DelaySeconds": UNKNOWN, "QueueName": f"{UNKNOWN}-dead"}, []),
        ("AWS::SQS::Queue", {"Tags": {"a": "b"}}, ["#/Tags: expected type: JSONArray, found: JSONObject"]),
        ("AWS::SQS::Queue", {"Tags": [{"Key": "a"}]}, ["#/Tags/0: required key [Value] not found"]),
        ("AWS::SQS::Queue", {"Arn": "arn:x"}, ["#: extraneous key [Arn] is not permitted"]),
        (
            "AWS::SSM::Parameter",
            {"Type": "Text", "Value": "a"},
            ["#/Type: failed validation constraint for keyword [enum]"],
        ),
        (
            "AWS::SageMaker::EndpointConfig",
            {"ProductionVariants": [{"ModelName": "m"}]},
            [
                "#/ProductionVariants/0: required key [VariantName] not found",
            ],
        ),
    ],
)
def test_properties_are_judged_in_the_words_of_the_registry(
    resource_type: str, properties: dict[str, Any], messages: list[str]
) -> None:
    assert [problem.message for problem in validation.problems(resource_type, properties)] == messages


def test_a_resource_fails_for_its_properties_before_its_service_is_asked(aws: Aws) -> None:
    stacks = Stacks(aws)
    stacks.create("Resources: {Flag: {Type: AWS::SSM::Parameter, Properties: {Value: on, Colour: red}}}")
    events = stacks.client.describe_stack_events(StackName=stacks.name)["StackEvents"]
    [failed] = [event for event in events if event["ResourceStatus"] == "CREATE_FAILED"]
    assert failed["ResourceStatusReason"] == (
        "Property validation failure: [The property {/Type} is required, "
        "Encountered unsupported properties in {/}: [Colour]]"
    )


# --- policies that are attached elsewhere ---------------------------------------------------------------------------


@pytest.mark.parametrize(("detach", "status"), [(True, "DELETE_COMPLETE"), (False, "DELETE_FAILED")])
def test_a_managed_policy_goes_only_where_the_role_may_detach_it(aws: Aws, detach: bool, status: str) -> None:
    stacks = Stacks(aws)
    deny = {"Effect": "Deny", "Action": "iam:DetachUserPolicy", "Resource": "*"}
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    role = create_role(
        aws, f"deleter-{stacks.name}", "cloudformation.amazonaws.com", [allow] if detach else [allow, deny]
    )
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
    policy = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}}
    stacks.client.create_stack(
        StackName=stacks.name,
        TemplateBody=json.dumps({"Resources": {"Policy": policy}}),
        Capabilities=["CAPABILITY_IAM"],
        RoleARN=role,
    )
    stack = stacks.settle()
    resources = stacks.client.describe_stack_resources(StackName=stacks.name)["StackResources"]
    iam, arn = aws.client("iam"), resources[0]["PhysicalResourceId"]
    iam.create_user(UserName=stacks.name)
    iam.attach_user_policy(UserName=stacks.name, PolicyArn=arn)
    with pytest.raises(ClientError, match="Cannot delete a policy attached to entities"):
        iam.delete_policy(PolicyArn=arn)
    stacks.client.delete_stack(StackName=stacks.name)
    assert stacks.settle(stack["StackId"])["StackStatus"] == status
    attached = iam.list_attached_user_policies(UserName=stacks.name)["AttachedPolicies"]
    assert bool(attached) != detach


# --- dynamic references ---------------------------------------------------------------------------------------------


def test_dynamic_references_are_resolved_for_the_service_and_stay_references_in_the_stack(aws: Aws) -> None:
    stacks = Stacks(aws)
    aws.client("ssm").put_parameter(Name=f"/{stacks.name}/size", Value="large", Type="String")
    secret = json.dumps({"password": "p4ss"})
    arn = aws.client("secretsmanager").create_secret(Name=f"{stacks.name}/login", SecretString=secret)["ARN"]
    value = f"{{{{resolve:ssm:/{stacks.name}/size}}}} {{{{resolve:secretsmanager:{arn}:SecretString:password}}}}"
    properties = {"Type": "String", "Value": value, "Name": stacks.name}
    parameter = {"Type": "AWS::SSM::Parameter", "Properties": properties}
    stacks.create(json.dumps({"Resources": {"Parameter": parameter}}))
    assert aws.client("ssm").get_parameter(Name=stacks.name)["Parameter"]["Value"] == "large p4ss"
    events = stacks.client.describe_stack_events(StackName=stacks.name)["StackEvents"]
    assert "p4ss" not in json.dumps(events, default=str)
    properties["Value"] = "{{resolve:ssm-secure:/a:1}}"
    with pytest.raises(ClientError, match="does not have dynamic references to ssm-secure"):
        stacks.update(json.dumps({"Resources": {"Parameter": parameter}}))


# --- what the sandbox does not have ---------------------------------------------------------------------------------


def test_what_cannot_be_done_is_refused_by_name_and_makes_nothing(aws: Aws) -> None:
    stacks = Stacks(aws)
    queue = "Resources: {Queue: {Type: AWS::SQS::Queue}}"
    for request, what in (
        ({"TemplateBody": "Resources: {Net: {Type: AWS::EC2::VPC}}"}, "the resource type AWS::EC2::VPC"),
        ({"TemplateBody": queue, "NotificationARNs": ["arn:aws:sns:eu-west-1:1:t"]}, "NotificationARNs of CreateStack"),
    ):
        with pytest.raises(ClientError, match="The sandbox does not have") as refused:
            stacks.client.create_stack(StackName=stacks.name, **request)
        assert what in str(refused.value)
    with pytest.raises(ClientError, match="The sandbox does not have") as refused:
        stacks.client.list_stack_refactors()
    assert "ListStackRefactors" in str(refused.value)
    with pytest.raises(ClientError, match="does not exist"):
        stacks.describe()


def test_an_update_that_the_handler_cannot_make_is_refused_by_name(aws: Aws) -> None:
    stacks = Stacks(aws)
    template = "Resources: {Code: {Type: AWS::SageMaker::CodeRepository, Properties: {GitConfig: {%s}}}}"
    git = "RepositoryUrl: 'https://gitlab.example.com/a.git'"
    stacks.create(template % git)
    with pytest.raises(ClientError, match="does not have updates of the property GitConfig"):
        stacks.update(template % f"{git}, SecretArn: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:s-123456'")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8929/a.git", "http://localhost/a.git", "http://gitlab.example.com/a"]
)
def test_a_code_repository_that_is_not_at_https_is_refused_loopback_included(aws: Aws, url: str) -> None:
    """By CloudFormation before it makes anything, and by SageMaker."""
    stacks = Stacks(aws)
    template = (
        "Resources: {Code: {Type: AWS::SageMaker::CodeRepository, Properties: {GitConfig: {RepositoryUrl: '%s'}}}}"
    )
    stacks.create(template % url)
    assert stacks.describe()["StackStatus"] == "ROLLBACK_COMPLETE"
    with pytest.raises(ClientError, match=r"gitConfig\.repositoryUrl"):
        aws.client("sagemaker").create_code_repository(CodeRepositoryName="code", GitConfig={"RepositoryUrl": url})
