"""The policies of every shipped template: named actions, named resources, and who may not do what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.decode import cfn_yaml

INFRA = Path(__file__).parents[2] / "infra"
TEMPLATES = sorted(path.name for path in INFRA.glob("*.yml"))
EXCEPTIONS = yaml.safe_load((INFRA / "iam" / "exceptions.yml").read_text())
POLICY_HOLDERS = ("AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::User", "AWS::IAM::Group")


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(template: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of the template's identity policies with the logical id that holds it."""
    for name, resource in cfn_yaml.load(str(INFRA / template))["Resources"].items():
        if resource["Type"] in POLICY_HOLDERS:
            yield from ((name, statement) for statement in _find(resource["Properties"]))


def _find(value: Any) -> Iterator[dict[str, Any]]:
    """Policy statements anywhere below, those that depend on a condition included; trust policies are no such."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(each, dict) and "Effect" in each and "Principal" not in each:
            yield each
        elif isinstance(each, dict | list) and key != "AssumeRolePolicyDocument":
            yield from _find(each)


def unnamed(resource: Any) -> bool:
    """Whether a wildcard stands where no parameter or resource of the template narrows it: `model/*`, or everything."""
    if isinstance(resource, dict):
        resource = as_list(resource.get("Fn::Sub", ""))[0]
    name = resource.split(":", 5)[-1]
    return "*" in name and not re.search(r"\$\{(?!AWS::)", name)


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("*", True),
        ({"Fn::Sub": "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:model/*"}, True),
        ({"Fn::Sub": "arn:${AWS::Partition}:ecr:${AWS::Region}:*:repository/*"}, True),
        ({"Fn::Sub": "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/aws/sagemaker/*"}, True),
        ({"Fn::Sub": "arn:${AWS::Partition}:s3:::${Bucket}/*"}, False),
        ({"Fn::Sub": ["arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${Prefix}*", {"Prefix": "SP-"}]}, False),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, False),
    ],
)
def test_a_wildcard_that_nothing_narrows_is_seen(resource: Any, expected: bool) -> None:
    assert unnamed(resource) is expected


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_statement_has_actions_by_pattern_or_grants_all_but_some(template: str) -> None:
    for name, statement in statements(template):
        assert not [action for action in as_list(statement["Action"]) if "*" in action], (name, statement["Sid"])
        assert not {"NotAction", "NotResource", "NotPrincipal"} & set(statement), (name, statement["Sid"])


def test_every_resource_is_named_or_the_exception_has_a_reason() -> None:
    found = {
        (template, statement["Sid"])
        for template in TEMPLATES
        for _, statement in statements(template)
        if any(map(unnamed, as_list(statement["Resource"])))
    }
    excused = {(each["template"], each["statement"]): each["reason"] for each in EXCEPTIONS["unnamed_resources"]}
    assert found == set(excused)
    assert all(excused.values())


def test_only_the_functions_read_secrets() -> None:
    readers = {
        (template, name)
        for template in TEMPLATES
        for name, statement in statements(template)
        if "secretsmanager:GetSecretValue" in as_list(statement["Action"])
    }
    assert readers == {("project.yml", "CheckinRole"), ("trigger.yml", "TriggerRole")}


def test_only_the_approver_policy_approves() -> None:
    conditions = {
        (template, name): statement["Condition"]
        for template in TEMPLATES
        for name, statement in statements(template)
        if "sagemaker:UpdateModelPackage" in as_list(statement["Action"])
    }
    assert conditions == {
        ("gitlab-oidc.yml", "TrainingRole"): {"Null": {"sagemaker:ModelApprovalStatus": "true"}},
        ("gitlab-oidc.yml", "ApproverPolicy"): {
            "StringEquals": {"sagemaker:ModelApprovalStatus": ["Approved", "Rejected", "PendingManualApproval"]}
        },
    }
