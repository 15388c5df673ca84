"""What the shipped roles may do, and what of it a run of the loop used: read from IAM and from the log of AWS calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from cfnlint.decode import cfn_yaml

INFRA = Path(__file__).parents[2] / "infra"
EXCEPTIONS = Path(__file__).parents[2] / "tests" / "contract" / "iam" / "exceptions.yml"


class Role(NamedTuple):
    """A role of the product: its name in the template, its name in IAM and its statements."""

    logical_id: str
    name: str
    statements: list[dict[str, Any]]

    @property
    def granted(self) -> set[str]:
        return {action for statement in self.statements for action in as_list(statement["Action"])}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def policies_of(template: str) -> set[str]:
    """The names of the inline policies that a template of infra/ gives to roles of another one."""
    resources = cfn_yaml.load(str(INFRA / template))["Resources"].values()
    return {each["Properties"]["PolicyName"] for each in resources if each["Type"] == "AWS::IAM::Policy"}


def shipped_roles(cloudformation: Any, iam: Any, without: str = "") -> list[Role]:
    """Every role that a stack made, without the policies and roles of the template that is named."""
    policies = policies_of(without) if without else set()
    roles = set(cfn_yaml.load(str(INFRA / without))["Resources"]) if without else set()
    shipped = []
    for stack in cloudformation.describe_stacks()["Stacks"]:
        for row in cloudformation.list_stack_resources(StackName=stack["StackName"])["StackResourceSummaries"]:
            if row["ResourceType"] == "AWS::IAM::Role" and row["LogicalResourceId"] not in roles:
                name = row["PhysicalResourceId"]
                shipped.append(Role(row["LogicalResourceId"], name, _statements(iam, name, policies)))
    return shipped


def _statements(iam: Any, role: str, without: set[str]) -> list[dict[str, Any]]:
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        if name not in without
    ]
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]["DefaultVersionId"]
        answer = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId=version)
        documents.append(answer["PolicyVersion"]["Document"])
    return [statement for document in documents for statement in as_list(document["Statement"])]


def used(requests: Path, role: Role) -> set[str]:
    """The actions for which the role was asked in the course of calls that were not refused."""
    lines = map(json.loads, requests.read_text().splitlines())
    mine = (line for line in lines if f":assumed-role/{role.name}/" in line["principal"])
    return {action for line in mine if not line["refused"] for action, _ in line["asked"]}


def explained(section: str = "unused") -> dict[str, dict[str, str]]:
    """Role, action: why it is granted though the loop, or what the section is about, does not use it."""
    reasons: dict[str, dict[str, str]] = {}
    for entry in yaml.safe_load(EXCEPTIONS.read_text())[section]:
        reasons.setdefault(entry["role"], {}).update(dict.fromkeys(entry["actions"], entry["reason"]))
    return reasons


def report(roles: list[Role], requests: Path) -> str:
    """For a reviewer: per role what the loop used of what it was granted, and why the rest is granted. Markdown."""
    reasons, lines = explained(), ["# What the shipped roles may do, and what of it the loop used"]
    for role in sorted(roles):
        called = role.granted & used(requests, role)
        lines += [
            "",
            f"## {role.logical_id}: {len(called)} of {len(role.granted)} used",
            "",
            "| action | |",
            "| --- | --- |",
        ]
        for action in sorted(role.granted):
            why = "used" if action in called else reasons.get(role.logical_id, {}).get(action, "**never used**")
            lines.append(f"| `{action}` | {why} |")
    return "\n".join(lines) + "\n"
