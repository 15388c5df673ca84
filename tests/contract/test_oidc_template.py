"""The template of GitLab's roles: what a reviewer would look for, checked on every run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

TEMPLATE = Path(__file__).parents[2] / "infra" / "gitlab-oidc.yml"
JOBS = ("TrainingRole", "CheckRole", "BuildRole", "StagingRole", "ProdRole")
SERVICES = ("StagingCloudFormationRole", "ProdCloudFormationRole", "PipelineRole", "ModelExecutionRole")


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    loaded: dict[str, Any] = cfn_yaml.load(str(TEMPLATE))
    return loaded


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(template: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """Every statement of a role's policies, those of the managed policies it refers to included."""
    role = template["Resources"][name]["Properties"]
    for policy in role["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]
    for reference in role.get("ManagedPolicyArns", []):
        yield from template["Resources"][reference["Ref"]]["Properties"]["PolicyDocument"]["Statement"]


def actions(template: dict[str, Any], name: str) -> set[str]:
    return {action for statement in statements(template, name) for action in as_list(statement["Action"])}


def trust(template: dict[str, Any], name: str) -> dict[str, Any]:
    text, _ = template["Resources"][name]["Properties"]["AssumeRolePolicyDocument"]["Fn::Sub"]
    [statement] = json.loads(text)["Statement"]
    result: dict[str, Any] = statement
    return result


def test_cfn_lint_has_nothing_to_say() -> None:
    command = [str(Path(sys.executable).parent / "cfn-lint"), "--include-checks", "I", "--template", str(TEMPLATE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["gitlab-oidc.yml", "product.yml", "project.yml"])
def test_an_issuer_is_at_https_and_has_no_port(name: str) -> None:
    """As IAM wants it: https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html."""
    parameter = cfn_yaml.load(str(TEMPLATE.with_name(name)))["Parameters"]["GitLabServerUrl"]
    for url in ("https://gitlab.com", "https://git.example-1.com/gitlab"):
        assert re.fullmatch(parameter["AllowedPattern"], url), url
    for url in ("http://gitlab.com", "https://gitlab.com:443", "https://gitlab.com:8443/x", "https://a:b@gitlab.com"):
        assert not re.fullmatch(parameter["AllowedPattern"], url), url
    assert "no port" in parameter["ConstraintDescription"]
    assert "reverse proxy" in " ".join(parameter["ConstraintDescription"].split())


def test_it_can_be_sent_without_a_bucket() -> None:
    assert TEMPLATE.stat().st_size <= 51_200


def test_every_parameter_is_described_and_constrained(template: dict[str, Any]) -> None:
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name
        assert parameter.get("AllowedPattern") or parameter.get("AllowedValues"), name
    assert all(output["Description"] for output in template["Outputs"].values())
    assert {f"{role}Arn" for role in (*JOBS, *SERVICES, "ApproverPolicy", "DoctorPolicy", "HistoryPolicy")} == set(
        template["Outputs"]
    )


@pytest.mark.parametrize("name", ["TrainingRole", "StagingRole", "ProdRole"])
def test_only_the_default_branch_of_one_project_changes_anything(template: dict[str, Any], name: str) -> None:
    statement = trust(template, name)
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    [(operator, keys)] = statement["Condition"].items()
    assert operator == "StringEquals"
    project = "ModelBuildSubject" if name == "TrainingRole" else "ModelDeploySubject"
    tier = "" if name == "TrainingRole" else "${Tier}"
    assert keys["${Host}:sub"] == f"${{{project}}}:ref_type:branch:ref:${{DefaultBranch}}${{Protected}}{tier}"
    assert keys["${Host}:aud"] == "${Aud}"


@pytest.mark.parametrize("name", ["ModelBuildSubject", "ModelDeploySubject"])
def test_a_subject_names_one_project(template: dict[str, Any], name: str) -> None:
    pattern = template["Parameters"][name]["AllowedPattern"]
    for good in ("project_id:4711", "project_path:data-science/team/model-build"):
        assert re.fullmatch(pattern, good), good
    for bad in ("4711", "project_id:*", "project_id:0", "project_path:data-science", "project_path:*/model-build"):
        assert not re.fullmatch(pattern, bad), bad


@pytest.mark.parametrize("name", ["BuildRole", "CheckRole"])
def test_what_any_branch_may_assume_only_reads(template: dict[str, Any], name: str) -> None:
    assert trust(template, name)["Condition"]["StringEquals"] == {"${Host}:aud": "${Aud}"}
    # `build` says whose an approval is: see the next test.
    written = {
        action for action in actions(template, name) if not action.split(":")[1].startswith(("Describe", "List"))
    }
    assert written == ({"dynamodb:UpdateItem"} if name == "BuildRole" else set())


def test_build_writes_claims_into_the_triggers_table_and_nothing_else(template: dict[str, Any]) -> None:
    [policy] = template["Resources"]["BuildRole"]["Properties"]["Policies"]
    [statement] = [each for each in policy["PolicyDocument"]["Statement"] if each["Sid"] == "ClaimApproval"]
    assert statement["Action"] == "dynamodb:UpdateItem"
    assert statement["Condition"] == {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["claim#*"]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }
    trigger = cfn_yaml.load(str(TEMPLATE.with_name("trigger.yml")))
    table = trigger["Resources"]["Approvals"]["Properties"]["TableName"]["Fn::Sub"]
    assert statement["Resource"]["Fn::Sub"].endswith(f":table/{table}")


def test_only_cloudformation_creates_endpoints_each_role_those_of_its_stage(template: dict[str, Any]) -> None:
    endpoints = {
        name: [
            resource["Fn::Sub"].partition(":endpoint/")[2]
            for statement in statements(template, name)
            if "sagemaker:CreateEndpoint" in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
            if ":endpoint/" in resource["Fn::Sub"]
        ]
        for name in (*JOBS, *SERVICES)
        if "sagemaker:CreateEndpoint" in actions(template, name)
    }
    assert endpoints == {
        "StagingCloudFormationRole": ["${SageMakerProjectName}-staging"],
        "ProdCloudFormationRole": ["${SageMakerProjectName}-prod"],
    }


@pytest.mark.parametrize("stage", ["Staging", "Prod"])
def test_stacks_change_only_with_the_role_made_for_the_stage_and_import_nothing(
    template: dict[str, Any], stage: str
) -> None:
    role = {"Fn::GetAtt": [f"{stage}CloudFormationRole", "Arn"]}
    for statement in statements(template, f"{stage}Role"):
        if {"cloudformation:CreateChangeSet", "cloudformation:DeleteStack"} & set(as_list(statement["Action"])):
            assert statement["Condition"] == {
                "StringEquals": {"cloudformation:RoleArn": role},
                "Null": {"cloudformation:ImportResourceTypes": "true"},
            }
        if "iam:PassRole" in as_list(statement["Action"]):
            assert statement["Resource"] == role
    assert "sagemaker:InvokeEndpoint" in actions(template, "StagingRole") - actions(template, "ProdRole")


def test_who_trains_a_model_cannot_approve_it(template: dict[str, Any]) -> None:
    [stamp] = [one for one in statements(template, "TrainingRole") if one["Action"] == "sagemaker:UpdateModelPackage"]
    assert stamp["Condition"] == {"Null": {"sagemaker:ModelApprovalStatus": "true"}}


def test_roles_are_passed_only_to_the_service_they_are_for(template: dict[str, Any]) -> None:
    for name in (*JOBS, *SERVICES):
        for statement in statements(template, name):
            if "iam:PassRole" in as_list(statement["Action"]):
                assert "iam:PassedToService" in statement["Condition"]["StringEquals"], (name, statement["Sid"])
