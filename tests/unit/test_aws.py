"""Where credentials come from, and what an error of AWS means to a person."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from ci_scripts import aws, aws_errors, errors

ROLE = "arn:aws:iam::123456789012:role/training"
OTHER = "arn:aws:iam::123456789012:role/check"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}
JOB = {"CI_JOB_ID": "7"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variable that says anything about AWS or GitLab, and nothing is left behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with patch.dict(os.environ, {"PATH": os.environ["PATH"]}, clear=True):
        yield


# --- credentials ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (JOB | {"AWS_ROLE_ARN": ROLE, "AWS_ID_TOKEN": "jwt"}, f"OIDC, role {ROLE}"),
        (JOB | KEYS | {"AWS_ROLE_ARN": ROLE, "AWS_ID_TOKEN": "jwt"}, f"OIDC, role {ROLE}"),
        ({"AWS_ROLE_ARN": ROLE, "SMCI_AWS_ROLE_ARN": OTHER, "AWS_ID_TOKEN": "jwt"}, f"OIDC, role {OTHER}"),
        (JOB | KEYS, "static access keys (warning: OIDC needs no long-lived secret; set AWS_ROLE_ARN to use it)"),
        (JOB | KEYS | {"AWS_ID_TOKEN": "jwt"}, "static access keys (warning: "),
        (JOB | KEYS | {"AWS_ROLE_ARN": ROLE}, "AWS_ROLE_ARN is not used without an AWS_ID_TOKEN)"),
        (
            JOB | {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"},
            f"environment's web identity, role {ROLE}",
        ),
        (JOB, "the environment's default"),
        ({"AWS_ROLE_ARN": ROLE}, "the environment's default; AWS_ROLE_ARN is not used without an AWS_ID_TOKEN"),
    ],
)
def test_the_way_to_the_credentials_is_told(environ: dict[str, str], expected: str) -> None:
    os.environ.update(environ)
    assert expected in aws.announce().way


def test_a_job_with_a_role_it_cannot_assume_does_not_go_on_as_the_runner() -> None:
    os.environ.update(JOB | {"AWS_ROLE_ARN": ROLE})
    with pytest.raises(errors.NoCredentials, match=f"no AWS_ID_TOKEN to assume the role {ROLE}"):
        aws.announce()


def test_a_role_for_a_special_purpose_wins_and_need_not_be_set() -> None:
    os.environ.update({"AWS_ROLE_ARN": ROLE, "AWS_ID_TOKEN": "jwt"})
    assert aws.announce("AWS_CHECK_ROLE_ARN").role == ROLE
    os.environ.update({"AWS_CHECK_ROLE_ARN": OTHER, "AWS_ID_TOKEN": "jwt"})
    assert aws.announce("AWS_CHECK_ROLE_ARN").role == OTHER


def test_with_a_role_neither_keys_nor_token_are_left_to_whom_we_call() -> None:
    os.environ.update(JOB | KEYS | {"AWS_SESSION_TOKEN": "x", "AWS_ROLE_ARN": ROLE, "AWS_ID_TOKEN": "jwt"})
    aws.announce()
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ID_TOKEN"} & set(os.environ)
    assert os.environ["AWS_ROLE_SESSION_NAME"] == "gitlab-job-7"
    assert Path(os.environ["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text() == "jwt"


def test_keys_are_used_without_the_line_breaks_they_were_pasted_with() -> None:
    os.environ.update({name: f"{key}\r\n" for name, key in (KEYS | {"AWS_SESSION_TOKEN": "x"}).items()})
    assert aws.announce().access_key == KEYS["AWS_ACCESS_KEY_ID"]
    assert KEYS.items() | {("AWS_SESSION_TOKEN", "x")} <= os.environ.items()


@pytest.mark.parametrize("name", [*KEYS, "AWS_SESSION_TOKEN"])
def test_a_key_that_no_request_can_carry_is_named_and_not_shown(name: str) -> None:
    os.environ.update(KEYS | {name: "hush\nhush"})
    with pytest.raises(errors.InvalidCredentials, match=f"{name} has spaces, line breaks") as caught:
        aws.announce()
    assert "hush" not in caught.value.message


def test_the_id_token_is_readable_by_its_owner_alone_and_gone_with_the_process(tmp_path: Path) -> None:
    program = (
        "import os; from ci_scripts import aws; aws.announce()\n"
        "path = os.environ['AWS_WEB_IDENTITY_TOKEN_FILE']; print(oct(os.stat(path).st_mode)[-3:], path)"
    )
    environ = os.environ | {"TMPDIR": str(tmp_path), "AWS_ROLE_ARN": ROLE, "AWS_ID_TOKEN": "jwt"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"600 {tmp_path}")
    assert list(tmp_path.iterdir()) == []


ASSUMED = "arn:aws:sts::123456789012:assumed-role/training/gitlab-job-7"


@pytest.mark.parametrize(
    ("announced", "caller", "key", "same"),
    [
        (aws.Announced("", role=ROLE), ASSUMED, "ASIA", True),
        (aws.Announced("", role=ROLE.replace("role/", "role/ml/teams/")), ASSUMED, "ASIA", True),  # a role with a path
        (aws.Announced("", role=ROLE.replace("aws:", "aws-cn:")), ASSUMED.replace("aws:", "aws-cn:"), "ASIA", True),
        (aws.Announced("", role=OTHER), ASSUMED, "ASIA", False),
        (aws.Announced("", role=ROLE.replace("1234", "4321")), ASSUMED, "ASIA", False),  # another account's
        (aws.Announced("", role=ROLE), "arn:aws:iam::123456789012:user/training", "AKIA", False),
        (aws.Announced("", role=ROLE), "arn:aws:iam::123456789012:root", "AKIA", False),
        (aws.Announced("", access_key="AKIA"), "arn:aws:iam::123456789012:user/ci", "AKIA", True),
        (aws.Announced("", access_key="AKIA"), ASSUMED, "ASIA", False),
        (aws.Announced("the environment's default"), ASSUMED, "ASIA", True),
    ],
)
def test_who_aws_takes_us_for_is_compared_with_who_was_announced(
    announced: aws.Announced, caller: str, key: str, same: bool
) -> None:
    difference = announced.difference(caller, key)
    assert (difference == "") is same
    assert same or caller in difference


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "operation", "expected"),
    [
        ("ExpiredToken", "GetCallerIdentity", errors.ExpiredCredentials),
        ("ExpiredTokenException", "AssumeRoleWithWebIdentity", errors.ExpiredCredentials),
        ("RequestExpired", "DescribeStacks", errors.ExpiredCredentials),
        ("InvalidIdentityToken", "AssumeRoleWithWebIdentity", errors.RoleRefused),
        ("IDPRejectedClaim", "AssumeRoleWithWebIdentity", errors.RoleRefused),
        ("IDPCommunicationError", "AssumeRoleWithWebIdentity", errors.RoleRefused),
        ("AccessDenied", "AssumeRoleWithWebIdentity", errors.RoleRefused),
        ("AccessDenied", "AssumeRole", errors.AccessDenied),
        ("AccessDenied", "GetObject", errors.AccessDenied),
        ("403", "HeadBucket", errors.AccessDenied),
        ("AccessDeniedException", "CreatePipeline", errors.AccessDenied),
        ("UnrecognizedClientException", "DescribePipeline", errors.InvalidCredentials),
        ("InvalidClientTokenId", "GetCallerIdentity", errors.InvalidCredentials),
        ("InvalidAccessKeyId", "GetObject", errors.InvalidCredentials),
        ("SignatureDoesNotMatch", "GetObject", errors.InvalidCredentials),
        ("ValidationException", "CreatePipeline", errors.AwsRefused),
        ("ResourceLimitExceeded", "CreateTrainingJob", errors.QuotaExceeded),
    ],
)
def test_a_refusal_is_told_apart_by_code_and_operation(
    code: str, operation: str, expected: type[errors.SagemakerCiError]
) -> None:
    error = aws_errors.explain(botocore.ClientError({"Error": {"Code": code, "Message": "in AWS's words"}}, operation))
    assert type(error) is expected
    assert "in AWS's words" in error.message


DENIED = 'User: arn:aws:sts::1:assumed-role/training/x is not authorized to perform: {} on resource: "r" {}'


@pytest.mark.parametrize(
    ("action", "why", "hint"),
    [
        (
            "s3:PutObject",
            "with an explicit deny in a resource-based policy",
            "switch default encryption with that key on",
        ),
        ("s3:PutObject", "with an explicit deny", "s3:x-amz-server-side-encryption"),
        ("s3:PutObject", "with an explicit deny in a service control policy", "The service control policy refuses it"),
        ("s3:PutObject", "with an explicit deny in an identity-based policy", "The identity-based policy refuses it"),
        (
            "sagemaker:CreateModel",
            "with an explicit deny in a permissions boundary",
            "The permissions boundary refuses",
        ),
        ("sagemaker:CreateModel", "because no permissions boundary allows the action", "The permissions boundary"),
        ("s3:GetObject", "because no VPC endpoint policy allows the s3:GetObject action", "The VPC endpoint policy"),
        ("s3:PutObject", "because no identity-based policy allows the s3:PutObject action", "Grant the action"),
        ("s3:PutObject", "", "Grant the action"),
    ],
)
def test_a_denial_is_answered_by_whose_policy_it_is(action: str, why: str, hint: str) -> None:
    refusal = botocore.ClientError(
        {"Error": {"Code": "AccessDenied", "Message": DENIED.format(action, why)}}, action.partition(":")[2]
    )
    error = aws_errors.explain(refusal)
    assert isinstance(error, errors.AccessDenied)
    assert hint in error.hint


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (botocore.NoCredentialsError(), errors.NoCredentials),
        (botocore.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), errors.NoCredentials),
        (botocore.ProfileNotFound(profile="gone"), errors.InvalidAwsConfiguration),
        (botocore.ConfigParseError(path="/root/.aws/config"), errors.InvalidAwsConfiguration),
        (
            botocore.CredentialRetrievalError(provider="custom-process", error_msg="exit 1"),
            errors.InvalidAwsConfiguration,
        ),
        (botocore.EndpointConnectionError(endpoint_url="https://sts"), errors.AwsUnreachable),
        (botocore.ReadTimeoutError(endpoint_url="https://sts"), errors.AwsUnreachable),
        (botocore.HTTPClientError(error=ValueError("Invalid header value b'x'")), errors.InvalidCredentials),
        (botocore.SSLError(endpoint_url="https://sts", error=Exception("self-signed")), errors.AwsUnreachable),
        (ResponseParserError("<html>"), errors.AwsUnreachable),
        (botocore.ParamValidationError(report="Invalid bucket name\nInvalid key"), errors.AwsRefused),
    ],
)
def test_what_keeps_a_request_from_being_answered_is_told_apart(
    error: Exception, expected: type[errors.SagemakerCiError]
) -> None:
    explained = aws_errors.explain(error)
    assert type(explained) is expected
    assert "\n" not in explained.message


def test_an_error_that_is_not_of_aws_is_left_alone() -> None:
    assert aws_errors.explain(KeyError("steps")) is None


def over(quota: str, counted: str) -> str:
    """The service's sentence; `counted`: value, unit, use and what is requested more."""
    value, unit, used, more = counted.split()
    return (
        f"The account-level service limit '{quota}' is {value} {unit}, with current utilization of {used} {unit} and a "
        f"request delta of {more} {unit}. Please use AWS Service Quotas to request an increase for this quota."
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            over("ml.m5.large for endpoint usage", "4 Instances 3 2"),
            "The account's quota 'ml.m5.large for endpoint usage' is 4 instances in eu-west-1: 3 in use, 2 more "
            "requested. Ask for 5 or more at https://eu-west-1.console.aws.amazon.com/servicequotas/home/services/"
            "sagemaker/quotas or with `aws service-quotas request-service-quota-increase --service-code sagemaker "
            "--region eu-west-1 --desired-value 5 --quota-code ",
        ),
        (
            over("Number of instances across all training jobs", "20 Instances 19 4"),
            "'Number of instances across all training jobs' is 20 instances in eu-west-1: 19 in use, 4 more requested.",
        ),
        (over("Total volume of notebooks", "1,000 GBs 990 30"), "is 1,000 GBs in eu-west-1: 990 in use, 30 more"),
        (
            over("ml.p3.2xlarge for training job usage", "0 Instances 0 1")[:90],  # as a reason that is cut off
            "The account's quota 'ml.p3.2xlarge for training job usage' is used up in eu-west-1",
        ),
        ("ResourceLimitExceeded: too many", "The account's quota named above is used up in eu-west-1"),
        ("CapacityError: Unable to provision requested ML compute capacity", ""),
        ("the limit 'ml.m5.large for endpoint usage' of my own", ""),
    ],
)
def test_a_quota_is_read_from_the_services_sentence(text: str, hint: str) -> None:
    advice = aws_errors.over_quota(text, "eu-west-1")
    assert hint in advice
    assert bool(advice) is bool(hint)
