"""IAM's policy language as a function of values: which statements fit a request, and what follows from them.

authorization.py asks it for every call, identity.py for trust policies. Nothing here looks anything up.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def allows(policies: Iterable[Mapping[str, Any]], action: str, resource: str, context: Mapping[str, Any]) -> bool:
    """Whether identity policies let one action on one resource pass: some Allow that fits and no Deny that does.

    `context` has condition keys in lower case; a key that the request does not have is not in it.
    """
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in as_list(policy["Statement"])
        if _concerns(statement, action, resource) and conditions_hold(statement.get("Condition", {}), context)
    }
    return "Allow" in effects and "Deny" not in effects


def _concerns(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    if "Action" in statement:
        fits = any(like(action.lower(), pattern.lower()) for pattern in as_list(statement["Action"]))
    else:
        fits = not any(like(action.lower(), pattern.lower()) for pattern in as_list(statement["NotAction"]))
    if "Resource" in statement:
        return fits and any(like(resource, pattern) for pattern in as_list(statement["Resource"]))
    return fits and not any(like(resource, pattern) for pattern in as_list(statement["NotResource"]))


def names(statement: Mapping[str, Any], kind: str, principal: str) -> bool:
    """Whether a statement of a resource's own policy is for this principal of a kind (`Service`), or for everybody."""
    element = statement.get("Principal")
    return element == "*" or (isinstance(element, dict) and principal in as_list(element.get(kind, [])))


def conditions_hold(conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, Any]) -> bool:
    return all(
        _condition_holds(operator, context.get(key.lower()), as_list(patterns))
        for operator, keys in conditions.items()
        for key, patterns in keys.items()
    )


def _condition_holds(operator: str, value: Any, patterns: list[Any]) -> bool:
    """One condition: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html.

    An operator that is not known here holds for nobody.
    """
    if operator == "Null":
        return (value is None) == (str(patterns[0]).lower() == "true")
    quantifier, _, operator = operator.rpartition(":")
    if operator.endswith("IfExists"):
        if value is None:
            return True
        operator = operator.removesuffix("IfExists")
    negated = "Not" in operator
    tests: dict[str, Callable[[str, str], bool]] = {
        "StringEquals": lambda one, pattern: one == pattern,
        "StringEqualsIgnoreCase": lambda one, pattern: one.lower() == pattern.lower(),
        "StringLike": like,
        "ArnEquals": like,
        "ArnLike": like,
        "Bool": lambda one, pattern: one.lower() == pattern.lower(),
    }
    test = tests.get(operator.replace("Not", ""))
    if test is None:
        return False
    if value is None:
        return negated or quantifier == "ForAllValues"
    results = [any(test(str(one), str(pattern)) for pattern in patterns) != negated for one in as_list(value)]
    return any(results) if quantifier == "ForAnyValue" else all(results)


def like(value: str, pattern: str) -> bool:
    # Not fnmatch: in IAM only * and ? are special, a bracket is a bracket.
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL) is not None


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
