"""Stack policies: which resources an update may touch.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html
"""

from __future__ import annotations

import json
from typing import Any

from sandbox.aws.access.policies import as_list, like
from sandbox.aws.cloudformation.errors import ValidationError

_ACTIONS = ("Update:*", "Update:Modify", "Update:Replace", "Update:Delete")


def check_policy(text: str) -> None:
    """Raises ValidationError for a text that is no stack policy."""
    try:
        policy = json.loads(text)
    except json.JSONDecodeError:
        policy = None
    if not isinstance(policy, dict) or not all(_is_statement(each) for each in as_list(policy.get("Statement", []))):
        raise ValidationError("Error validating stack policy: Invalid stack policy")


def _is_statement(statement: Any) -> bool:
    return (
        isinstance(statement, dict)
        and statement.get("Effect") in ("Allow", "Deny")
        and statement.get("Principal") == "*"
        and ("Resource" in statement or "NotResource" in statement)
        and all(action in _ACTIONS for action in as_list(statement.get("Action", [None])))
    )


def denial(text: str | None, action: str, logical_id: str, resource_type: str) -> str:
    """Why a policy does not let an update do something (`Modify`, `Replace`, `Delete`); empty when it does.

    A resource that no statement names is protected; where several do, the last one counts.
    """
    statements = as_list(json.loads(text or "{}").get("Statement", []))
    matching = [
        (number, statement)
        for number, statement in enumerate(statements, 1)
        if _concerns(statement, f"Update:{action}", f"LogicalResourceId/{logical_id}", resource_type)
    ]
    if not statements or (matching and matching[-1][1]["Effect"] == "Allow"):
        return ""
    if not matching:
        return f"Action not allowed by stack policy: [Update:{action}] for resource [LogicalResourceId/{logical_id}]"
    return (
        f"Action denied by stack policy: Statement [#{matching[-1][0]}] does not allow [Update:{action}] for resource "
        f"[LogicalResourceId/{logical_id}]"
    )


def _concerns(statement: dict[str, Any], action: str, resource: str, resource_type: str) -> bool:
    if not any(like(action, pattern) for pattern in as_list(statement["Action"])):
        return False
    key = "Resource" if "Resource" in statement else "NotResource"
    if any(like(resource, pattern) for pattern in as_list(statement[key])) != (key == "Resource"):
        return False
    conditions = statement.get("Condition", {})
    return all(
        any(like(resource_type, pattern) for pattern in as_list(patterns))
        for keys in conditions.values()
        for patterns in keys.values()
    )
