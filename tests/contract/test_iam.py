"""The policies of every shipped template: named actions, named resources, and who may not do what."""

from __future__ import annotations

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
    if isinstance(value, dict) and "PolicyDocument" in value:
        yield from as_list(value["PolicyDocument"]["Statement"])
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _find(each)


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
        if "*" in as_list(statement["Resource"])
    }
    excused = {(each["template"], each["statement"]): each["reason"] for each in EXCEPTIONS["every_resource"]}
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
