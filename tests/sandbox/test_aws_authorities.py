"""The sandbox is held to what AWS and others publish: contradictions are seen, what it lacks is refused as lacking."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError
from moto.core.utils import get_service_model

from sandbox.aws import wire
from sandbox.aws.authorities import answers, iam_definition, shapes, violations
from tests.support.functions import archive
from tests.support.servers import ACCOUNT, REGION, Aws, create_role

SAGEMAKER = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"


def problems(operation: str, body: dict[str, Any]) -> list[str]:
    return answers.problems("sagemaker", operation, 200, {}, json.dumps(body).encode())


GROUP = {
    "ModelPackageGroupName": "g",
    "ModelPackageGroupArn": f"{SAGEMAKER}:model-package-group/g",
    "CreationTime": 1.0,
    "CreatedBy": {},
    "ModelPackageGroupStatus": "Completed",
}


def test_an_answer_of_the_model_has_no_problem() -> None:
    assert problems("DescribeModelPackageGroup", GROUP) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"CreatedBy": None}, "CreatedBy is 'None': Member must not be null"),
        ({"ModelPackageGroupStatus": "Done"}, "Member must satisfy enum value set: [Pending, InProgress, Completed"),
        ({"ModelPackageGroupName": "a b"}, "Member must satisfy regular expression pattern"),
        ({"ModelPackageGroupName": "a" * 64}, "Member must have length less than or equal to 63"),
        ({"CreationTime": True, "Color": "red"}, "Color is 'red': The model has no such member"),
        ({"ModelPackageGroupDescription": 5}, "Member must be a string"),
    ],
)
def test_what_the_model_does_not_have_is_seen(change: dict[str, Any], problem: str) -> None:
    assert any(problem in each for each in problems("DescribeModelPackageGroup", GROUP | change))


def test_a_member_that_is_missing_is_seen() -> None:
    body = {key: value for key, value in GROUP.items() if key != "CreatedBy"}
    assert problems("DescribeModelPackageGroup", body) == ["CreatedBy is 'None': Member must not be null"]


def test_an_element_that_the_model_does_not_have_is_seen_in_xml() -> None:
    text = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        "<Arn>arn:aws:iam::123456789012:root</Arn><Color>red</Color></GetCallerIdentityResult>"
        "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
    assert answers.problems("sts", "GetCallerIdentity", 200, {}, text.encode()) == [
        "Color is in the answer: The model has no such member"
    ]


def test_an_error_without_a_code_is_seen() -> None:
    assert answers.problems("sagemaker", "ListModels", 400, {}, b"{}") == ["the error has no code"]
    assert answers.problems("sts", "GetCallerIdentity", 200, {}, b"<html>")[0].startswith("the answer cannot be parsed")


def test_patterns_of_javas_kind_are_understood() -> None:
    tag = get_service_model("sagemaker").shape_for("Tag")
    assert not list(shapes.problems(tag, {"Key": "größe", "Value": "1"}))
    assert list(shapes.problems(tag, {"Key": "a;b", "Value": "1"}))


@pytest.mark.parametrize(
    ("action", "resources", "keys", "problem"),
    [
        ("sagemaker:CreateModel", [f"{SAGEMAKER}:model/m"], set(), ""),
        ("sagemaker:CreateModel", [f"{SAGEMAKER}:endpoint/e"], set(), "none of its resource types: model"),
        ("sagemaker:CreateModel", ["*"], set(), "not asked on the model that it always needs"),
        ("sagemaker:CreateModels", ["*"], set(), "there is no such action"),
        ("logs:DescribeLogGroups", [f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:a"], set(), "only * fits"),
        ("logs:DescribeLogGroups", ["*"], set(), ""),
        ("iam:PassRole", [f"arn:aws:iam::{ACCOUNT}:role/r"], {"iam:passedtoservice"}, ""),
        ("iam:PassRole", [f"arn:aws:iam::{ACCOUNT}:role/r"], {"iam:passed"}, "has no condition key iam:passed"),
        (
            "secretsmanager:GetSecretValue",
            [f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:s-123456"],
            {"secretsmanager:resourcetag/team", "aws:resourcetag/team"},
            "",
        ),
    ],
)
def test_a_demand_is_held_to_the_definition(action: str, resources: list[str], keys: set[str], problem: str) -> None:
    problems = iam_definition.problems(action, resources, keys)
    assert any(problem in each for each in problems) if problem else problems == []


def test_an_exception_covers_its_call_and_its_text_alone() -> None:
    text = "StackEvents.1.member.ResourceStatus is 'REVIEW_IN_PROGRESS': no"
    assert violations.unlisted("cloudformation:DescribeStackEvents", [text, "Other"]) == ["Other"]
    assert violations.unlisted("cloudformation:DescribeStacks", [text]) == [text]
    assert all(entry.reason for entry in violations.accepted())


# --- what the sandbox does not have --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("sagemaker", "list_algorithms", "UnknownOperationException"),
        ("cloudformation", "list_types", "InvalidAction"),
        ("lambda", "list_code_signing_configs", "UnknownOperationException"),
    ],
)
def test_an_operation_that_is_lacking_is_refused_in_the_services_format(
    aws: Aws, service: str, operation: str, code: str
) -> None:
    with pytest.raises(ClientError, match="The sandbox does not have ") as refusal:
        getattr(aws.client(service), operation)()
    assert refusal.value.response["Error"]["Code"] == code
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_motos_own_interface_is_lacking(aws: Aws) -> None:
    answer = requests.post(f"{aws.url}/moto-api/reset", timeout=10)
    assert answer.status_code == 501
    assert "The sandbox does not have POST /moto-api/reset" in answer.text


def test_a_page_of_the_server_becomes_an_answer_of_the_service() -> None:
    page = wire.Answer(500, [("Content-Type", "text/html")], b"<!doctype html>\n<h1>Internal Server Error</h1>")
    query = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/x-www-form-urlencoded; charset=utf-8"}
    assert b"<Code>InternalFailure</Code>" in wire.readable(query, "iam:ListRoles", page).body
    in_json = {"REQUEST_METHOD": "POST", "HTTP_X_AMZ_TARGET": "SageMaker.ListModels"}
    assert json.loads(wire.readable(in_json, "sagemaker:ListModels", page).body)["__type"] == "InternalFailure"


def test_a_member_without_a_value_is_left_out_but_in_what_is_somebodys_own() -> None:
    answer = wire.Answer(200, [], b'{"a": null, "b": [{"c": null}]}')
    in_json = {"REQUEST_METHOD": "POST", "HTTP_X_AMZ_TARGET": "SageMaker.ListModels"}
    assert json.loads(wire.readable(in_json, "sagemaker:ListModels", answer).body) == {"b": [{}]}
    assert wire.readable({"REQUEST_METHOD": "POST"}, "lambda:Invoke", answer) == answer


def test_an_image_that_is_missing_is_missing(aws: Aws) -> None:
    sagemaker = aws.client("sagemaker")
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.describe_image_version(ImageName="custom")


# --- what the service checks of a request --------------------------------------------------------------------------


def test_every_constraint_that_a_request_fails_is_named(aws: Aws) -> None:
    events = aws.client("events")
    with pytest.raises(ClientError) as refusal:
        events.put_rule(Name="a b", EventPattern='{"source": ["x"]}', State="SOMETIMES")
    error = refusal.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert error["Message"].startswith(
        "2 validation errors detected: Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy "
        r"regular expression pattern: [\.\-_A-Za-z0-9]+; Value 'SOMETIMES' at 'state' failed to satisfy constraint: "
        "Member must satisfy enum value set: ["
    )


# --- a function in a VPC -------------------------------------------------------------------------------------------

EC2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}"
INTERFACES = [f"{EC2}:network-interface/*", f"{EC2}:subnet/*", f"{EC2}:security-group/*"]


@pytest.mark.parametrize(
    ("deleted_on", "refusal"),
    [(["*"], ""), ([f"{EC2}:*/*"], ""), (INTERFACES, "DeleteNetworkInterface"), ([], "DeleteNetworkInterface")],
    ids=["on everything", "on everything of EC2", "on interfaces alone", "not at all"],
)
def test_the_role_of_a_function_in_a_vpc_is_tried(
    aws: Aws, deleted_on: list[str], refusal: str, tmp_path: Path
) -> None:
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": "ec2:CreateNetworkInterface", "Resource": INTERFACES},
        {"Effect": "Allow", "Action": "ec2:DescribeNetworkInterfaces", "Resource": "*"},
    ]
    if deleted_on:
        statements.append({"Effect": "Allow", "Action": "ec2:DeleteNetworkInterface", "Resource": deleted_on})
    name = f"vpc-{abs(hash(tmp_path))}"
    role = create_role(aws, name, "lambda.amazonaws.com", statements)
    function = {
        "FunctionName": name,
        "Role": role,
        "Runtime": "python3.13",
        "Handler": "app.handler",
        "Code": {"ZipFile": archive(app="def handler(event, context): return 1")},
        "VpcConfig": {"SubnetIds": ["subnet-0123abcd"], "SecurityGroupIds": ["sg-0123abcd"]},
    }
    functions = aws.client("lambda")
    if not refusal:
        functions.create_function(**function)
        return
    message = f"The provided execution role does not have permissions to call {refusal} on EC2"
    with pytest.raises(functions.exceptions.InvalidParameterValueException, match=message):
        functions.create_function(**function)
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function(FunctionName=name)


def test_a_policy_that_somebody_holds_is_not_deleted(aws: Aws) -> None:
    iam = aws.client("iam")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    arn = iam.create_policy(PolicyName="held", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    iam.create_user(UserName="holder")
    iam.attach_user_policy(UserName="holder", PolicyArn=arn)
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_policy(PolicyArn=arn)
    iam.detach_user_policy(UserName="holder", PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
