"""IAM's policy language in the sandbox: which statements fit, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.aws.access.policies import allows, conditions_hold

READ = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::bucket/*"}
DENY = {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::bucket/secret/*"}


@pytest.mark.parametrize(
    ("statements", "action", "resource", "allowed"),
    [
        ([], "s3:GetObject", "arn:aws:s3:::bucket/a", False),
        ([READ], "s3:GetObject", "arn:aws:s3:::bucket/a", True),
        ([READ], "S3:getobject", "arn:aws:s3:::bucket/a", True),
        ([READ], "s3:PutObject", "arn:aws:s3:::bucket/a", False),
        ([READ], "s3:GetObject", "arn:aws:s3:::BUCKET/a", False),
        ([READ], "s3:GetObject", "*", False),
        ([READ, DENY], "s3:GetObject", "arn:aws:s3:::bucket/secret/a", False),
        ([READ, DENY], "s3:GetObject", "arn:aws:s3:::bucket/a", True),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], "s3:GetObject", "arn:x", True),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], "iam:PassRole", "arn:x", False),
        ([{"Effect": "Allow", "Action": "*", "NotResource": "arn:x"}], "iam:PassRole", "arn:x", False),
    ],
)
def test_an_allow_that_fits_and_no_deny_that_does(
    statements: list[dict[str, Any]], action: str, resource: str, allowed: bool
) -> None:
    # One policy, or one for each statement: it makes no difference.
    assert allows([{"Statement": statements}], action, resource, {}) is allowed
    assert allows([{"Statement": statement} for statement in statements], action, resource, {}) is allowed


def test_a_condition_that_does_not_hold_leaves_the_other_statements_alone() -> None:
    conditional = READ | {"Condition": {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}}
    assert not allows([{"Statement": conditional}], "s3:GetObject", "arn:aws:s3:::bucket/a", {})
    assert allows([{"Statement": [conditional, READ]}], "s3:GetObject", "arn:aws:s3:::bucket/a", {})


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({}, True),
        ({"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}, True),
        ({"StringEquals": {"IAM:passedtoservice": ["lambda.amazonaws.com", "sagemaker.amazonaws.com"]}}, True),
        ({"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}, False),
        ({"StringEquals": {"missing": "x"}}, False),
        ({"StringEqualsIfExists": {"missing": "x"}}, True),
        ({"StringNotEquals": {"missing": "x"}}, True),
        ({"StringLike": {"iam:PassedToService": "sage*.amazonaws.com"}}, True),
        ({"StringLike": {"iam:PassedToService": "[a-z]*"}}, False),
        ({"Null": {"missing": "true"}}, True),
        ({"Null": {"iam:PassedToService": "true"}}, False),
        ({"Null": {"iam:PassedToService": False}}, True),
        ({"NumericLessThan": {"iam:PassedToService": "7"}}, False),
    ],
)
def test_conditions(conditions: dict[str, dict[str, Any]], holds: bool) -> None:
    assert conditions_hold(conditions, {"iam:passedtoservice": "sagemaker.amazonaws.com"}) is holds
