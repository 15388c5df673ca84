"""The launch role of infra/product.yml against what CloudFormation says it may ask of whoever creates a project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.decode import cfn_yaml

from sandbox.aws.cloudformation import schemas

INFRA = Path(__file__).parents[2] / "infra"
LACKED: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "iam" / "launch_role.yml").read_text())
KINDS = sorted(
    {
        resource["Type"]
        for name in (
            "project.yml",
            "trigger.yml",
            "gitlab-oidc.yml",
            "steps.yml",
            "hosting.yml",
            "drift.yml",
            "merge-requests.yml",
            "images.yml",
        )
        for resource in cfn_yaml.load(str(INFRA / name))["Resources"].values()
        if not resource["Type"].startswith("Custom::")
    }
)


def statements(node: Any) -> Iterator[dict[str, Any]]:
    for value in node if isinstance(node, list) else node.values():
        if isinstance(value, dict) and "Effect" in value:
            yield value
        elif isinstance(value, dict | list):
            yield from statements(value)


def granted() -> set[str]:
    resources = cfn_yaml.load(str(INFRA / "product.yml"))["Resources"]
    allowed = set()
    for name in ("LaunchPolicy", "LaunchCodePolicy"):
        for statement in statements(resources[name]["Properties"]["PolicyDocument"]):
            actions = statement["Action"]
            allowed |= {actions.lower()} if isinstance(actions, str) else {action.lower() for action in actions}
    return allowed


def permissions_of(kind: str) -> set[str]:
    """What the handlers of a resource type may ask for; listing all resources of a type is not our business."""
    handlers = (schemas.schema(kind) or {}).get("handlers", {})
    return {
        action
        for name in ("create", "read", "update", "delete")
        for action in handlers.get(name, {}).get("permissions", [])
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_launch_role_has_every_permission_of_a_resource_type_or_a_reason_to_lack_it(kind: str) -> None:
    excused = {action for entry in LACKED if entry["resource"] == kind for action in entry["actions"]}
    assert {action for action in permissions_of(kind) if action.lower() not in granted()} == excused


def test_every_reason_is_for_a_resource_type_that_is_used() -> None:
    assert {entry["resource"] for entry in LACKED} <= set(KINDS)
    assert all(entry["reason"] for entry in LACKED)
