"""AssumeRoleWithWebIdentity of the sandbox lets in who the trust policy names, and nobody else."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.gateway import Gateway
from sandbox.loopback import DOMAIN
from tests.support.deployment import create_user, forbid
from tests.support.hosting import Hosting, model_predicting
from tests.support.identity import AUDIENCE, EXACT, SUBJECT, Issuer, role
from tests.support.servers import ACCOUNT, Aws, Project


def assume(aws: Aws, arn: str, token: str, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = aws.client("sts").assume_role_with_web_identity(
        RoleArn=arn, RoleSessionName="gitlab-job-1", WebIdentityToken=token, **more
    )
    return answer


def refusal(aws: Aws, arn: str, token: str) -> str:
    with pytest.raises(ClientError) as refused:
        assume(aws, arn, token)
    return str(refused.value.response["Error"]["Code"])


def test_a_token_of_the_named_project_and_branch_gets_the_role(aws: Aws, issuer: Issuer) -> None:
    answer = assume(aws, role(aws, issuer, EXACT), issuer.token())
    assert answer["SubjectFromWebIdentityToken"] == SUBJECT
    keys = answer["Credentials"]
    caller = aws.client(
        "sts",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    ).get_caller_identity()
    assert caller["Arn"].endswith("/gitlab-job-1")


def test_a_session_ends_with_its_role(aws: Aws, issuer: Issuer) -> None:
    arn = role(aws, issuer, EXACT)
    keys = assume(aws, arn, issuer.token())["Credentials"]
    session = aws.client(
        "sagemaker",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    aws.client("iam").delete_role(RoleName=arn.split("/")[-1])
    with pytest.raises(ClientError) as refused:
        session.list_models()
    assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"


@pytest.mark.parametrize(
    ("conditions", "claims", "allowed"),
    [
        (EXACT, {"sub": "project_path:ml/other:ref_type:branch:ref:main"}, False),
        (EXACT, {"sub": SUBJECT + "-2"}, False),
        ({"StringLike": {"HOST:sub": "project_path:ml/*:ref_type:branch:ref:main"}}, {}, True),
        ({"StringLike": {"HOST:sub": "project_path:ml/[a-z]*"}}, {}, False),
        ({"StringEquals": {"HOST:sub": ["other", SUBJECT]}}, {}, True),
        ({"StringEquals": {"HOST:project_path": "ml/model-deploy"}}, {"project_path": "ml/model-deploy"}, False),
        ({"StringNotEquals": {"HOST:sub": SUBJECT}}, {}, False),
        ({"NumericEquals": {"HOST:sub": SUBJECT}}, {}, False),
        ({"ForAnyValue:StringEquals": {"HOST:aud": [AUDIENCE]}}, {}, True),
    ],
)
def test_conditions_of_the_trust_policy_decide(
    aws: Aws, issuer: Issuer, conditions: dict[str, Any], claims: dict[str, Any], allowed: bool
) -> None:
    arn = role(aws, issuer, conditions)
    if allowed:
        assert assume(aws, arn, issuer.token(**claims))["Credentials"]
    else:
        assert refusal(aws, arn, issuer.token(**claims)) == "AccessDenied"


def test_a_token_that_is_not_what_it_says_is_refused(aws: Aws, issuer: Issuer) -> None:
    arn = role(aws, issuer, EXACT)
    other_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert refusal(aws, arn, issuer.token(key=other_key)) == "InvalidIdentityToken"
    assert refusal(aws, arn, issuer.token(aud="https://somebody.else")) == "InvalidIdentityToken"
    assert refusal(aws, arn, issuer.token(iss=f"https://nobody.{DOMAIN}")) == "InvalidIdentityToken"
    assert refusal(aws, arn, "no token at all") == "InvalidIdentityToken"
    assert refusal(aws, arn, issuer.token(exp=int(time.time()) - 1)) == "ExpiredTokenException"
    assert refusal(aws, arn, issuer.token(nbf=int(time.time()) + 600)) == "InvalidIdentityToken"


@pytest.mark.parametrize(
    "url", ["http://gitlab.example.com", "https://gitlab.example.com:8443", "https://gitlab.example.com:443", "gitlab"]
)
def test_an_issuer_that_is_not_at_https_without_a_port_is_refused(aws: Aws, url: str) -> None:
    with pytest.raises(ClientError, match=r"ValidationError.*Invalid Open ID Connect Provider URL"):
        aws.client("iam").create_open_id_connect_provider(Url=url, ClientIDList=[AUDIENCE])


def test_an_issuer_whose_certificate_nobody_knows_is_not_asked(aws: Aws, issuer: Issuer, gateway: Gateway) -> None:
    stranger = Gateway()
    impostor = Issuer(stranger)
    gateway.lead(issuer.host, impostor.server.server_port)
    try:
        assert refusal(aws, role(aws, issuer, EXACT), issuer.token()) == "InvalidIdentityToken"
    finally:
        impostor.server.shutdown()
        stranger.stop()


def test_a_role_that_does_not_exist_is_refused(aws: Aws, issuer: Issuer) -> None:
    assert refusal(aws, f"arn:aws:iam::{ACCOUNT}:role/nobody", issuer.token()) == "AccessDenied"


def test_a_session_longer_than_the_role_allows_is_refused(aws: Aws, issuer: Issuer) -> None:
    with pytest.raises(ClientError, match="MaxSessionDuration"):
        assume(aws, role(aws, issuer, EXACT), issuer.token(), DurationSeconds=7200)


TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}


def own(account: str, operator: str = "StringEquals") -> dict[str, Any]:
    return {"Condition": {operator: {"aws:SourceAccount": account}}}


@pytest.mark.parametrize(
    ("statements", "assumed"),
    [
        ([TRUST], True),
        ([TRUST | own(ACCOUNT)], True),
        ([TRUST | own("210987654321")], False),
        ([TRUST | own(ACCOUNT, "StringNotEquals")], False),
        ([TRUST, TRUST | {"Effect": "Deny"}], False),
        ([TRUST | {"Action": "sts:TagSession"}], False),
        ([TRUST | {"Principal": {"Service": ["lambda.amazonaws.com"]}}], False),
    ],
)
def test_a_service_gets_the_role_that_trusts_it(aws: Aws, statements: list[dict[str, Any]], assumed: bool) -> None:
    name = f"model-{uuid.uuid4().hex[:8]}"
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    arn = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    image = {"Image": "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1"}
    model = {"ModelName": name, "PrimaryContainer": image, "ExecutionRoleArn": arn}
    if assumed:
        aws.client("sagemaker").create_model(**model)
    else:
        with pytest.raises(ClientError, match="Could not assume role"):
            aws.client("sagemaker").create_model(**model)


# --- who holds a policy ---------------------------------------------------------------------------------------------


def test_everybody_who_holds_a_policy_is_named_however_many_there_are(aws: Aws) -> None:
    iam, unique = aws.client("iam"), uuid.uuid4().hex[:8]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    arn = iam.create_policy(PolicyName=unique, PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    names = {f"{unique}-{number}" for number in range(101)}
    for name in names:
        iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    pages = iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn)
    assert {role["RoleName"] for page in pages for role in page["PolicyRoles"]} == names
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.list_entities_for_policy(PolicyArn=f"{arn}-not")
    for name in names:
        iam.detach_role_policy(RoleName=name, PolicyArn=arn)
        iam.delete_role(RoleName=name)
    iam.delete_policy(PolicyArn=arn)


# --- keys of KMS ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forbidden", "operation"),
    [
        ("kms:GenerateDataKey", "put_object"),
        ("kms:Decrypt", "get_object"),
        ("kms:CreateGrant", "create_endpoint"),
        ("kms:DescribeKey", "create_endpoint"),
    ],
)
def test_whoever_uses_a_key_through_a_service_must_be_allowed_to(
    aws: Aws, project: Project, forbidden: str, operation: str
) -> None:
    hosting = Hosting(aws, project, aws.client("sagemaker"))
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    variant = {"VariantName": "A", "ModelName": hosting.model(model_predicting(5)), "InstanceType": "ml.m5.large"}
    variants = [variant | {"InitialInstanceCount": 1}]
    name, place = project.name, {"Bucket": project.bucket, "Key": "secret"}
    hosting.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, KmsKeyId=key)
    encrypted = place | {"Body": b"x", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    aws.client("s3").put_object(**encrypted)
    service, request = {
        "put_object": ("s3", encrypted),
        "get_object": ("s3", place),
        "create_endpoint": ("sagemaker", {"EndpointName": name, "EndpointConfigName": name}),
    }[operation]
    user, keys = create_user(aws)
    call = getattr(aws.client(service, **{each.lower(): value for each, value in keys.items()}), operation)
    forbid(aws, user, forbidden)
    with pytest.raises(ClientError, match="AccessDenied"):
        call(**request)
    forbid(aws, user)
    call(**request)
