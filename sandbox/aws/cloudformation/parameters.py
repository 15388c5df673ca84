"""Parameters of a template: their types, the values they get, the rules that values must keep.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.template import text
from sandbox.aws.lacking import Lacking

_AWS_TYPE = (
    r"AWS::EC2::(AvailabilityZone::Name|Image::Id|Instance::Id|KeyPair::KeyName|SecurityGroup::(GroupName|Id)|Subnet::Id|"
    r"Volume::Id|VPC::Id)|AWS::Route53::HostedZone::Id"
)
_PLAIN_TYPE = rf"String|Number|CommaDelimitedList|List<(String|Number|{_AWS_TYPE})>|{_AWS_TYPE}"
_SSM_TYPE = r"AWS::SSM::Parameter::Value<(.+)>"
PARAMETER_TYPE = rf"{_PLAIN_TYPE}|AWS::SSM::Parameter::Name|AWS::SSM::Parameter::Value<({_PLAIN_TYPE})>"
"""Every type that a parameter can have. What the AWS-specific ones name is not looked up here."""


def parameter_values(template: Mapping[str, Any], supplied: Mapping[str, str]) -> dict[str, str]:
    """Every declared parameter's value as text, given or default. Raises ValidationError on the first rule broken."""
    declared: Mapping[str, Any] = template.get("Parameters") or {}
    if unknown := [name for name in supplied if name not in declared]:
        raise ValidationError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    values = {name: text(rule["Default"]) for name, rule in declared.items() if "Default" in rule} | dict(supplied)
    missing = [name for name in declared if name not in values]
    for name in missing:
        if re.fullmatch(_SSM_TYPE, declared[name]["Type"]):
            raise ValidationError(f"Parameter {name} should either have input value or default value")
    if missing:
        raise ValidationError(f"Parameters: [{', '.join(missing)}] must have values")
    for name, rule in declared.items():
        _check_value(name, rule, values[name])
    return values


def resolved_values(
    template: Mapping[str, Any], values: Mapping[str, str], fetch: Callable[[Sequence[str]], Mapping[str, str]]
) -> dict[str, str]:
    """What the parameters of SSM types stand for, by the parameter's name.

    `fetch` gives the values of SSM parameters by name; those that do not exist are missing from its answer.
    """
    keys = {
        name: values[name]
        for name, rule in (template.get("Parameters") or {}).items()
        if re.fullmatch(_SSM_TYPE, rule["Type"])
    }
    if not keys:
        return {}
    resolved = fetch(sorted(set(keys.values())))
    if missing := sorted({key for key in keys.values() if key not in resolved}):
        raise ValidationError(
            f"Unable to fetch parameters [{','.join(missing)}] from parameter store for this account."
        )
    return {name: resolved[key] for name, key in keys.items()}


def typed(kind: str, value: str) -> Any:
    """A parameter's value as Ref gives it: text, or a list of texts."""
    inner = re.fullmatch(_SSM_TYPE, kind)
    if _is_list(inner[1] if inner else kind):
        return [item.strip() for item in value.split(",")] if value else []
    return value


def _is_list(kind: str) -> bool:
    return kind == "CommaDelimitedList" or kind.startswith("List<")


def _check_value(name: str, rule: Mapping[str, Any], value: str) -> None:
    several = _is_list(rule["Type"])
    for item in value.split(",") if several else [value]:
        problem = _broken_rule(name, rule, item.strip() if several else item)
        if problem and "ConstraintDescription" in rule:
            problem = f"Parameter {name} failed to satisfy constraint: {rule['ConstraintDescription']}"
        if problem:
            raise ValidationError(problem)


def _broken_rule(name: str, rule: Mapping[str, Any], value: str) -> str:
    if "AllowedValues" in rule and value not in [text(allowed) for allowed in rule["AllowedValues"]]:
        return f"Parameter '{name}' must be one of AllowedValues"
    if "AllowedPattern" in rule and not _matches(name, str(rule["AllowedPattern"]), value):
        return f"Parameter '{name}' must match pattern {rule['AllowedPattern']}"
    if "MinLength" in rule and len(value) < int(rule["MinLength"]):
        return f"Parameter '{name}' must contain at least {rule['MinLength']} characters"
    if "MaxLength" in rule and len(value) > int(rule["MaxLength"]):
        return f"Parameter '{name}' must contain at most {rule['MaxLength']} characters"
    if rule["Type"] in ("Number", "List<Number>"):
        try:
            number = float(value)
        except ValueError:
            return f"Parameter '{name}' must be a number."
        if "MinValue" in rule and number < float(rule["MinValue"]):
            return f"Parameter '{name}' must be a number not less than {rule['MinValue']}"
        if "MaxValue" in rule and number > float(rule["MaxValue"]):
            return f"Parameter '{name}' must be a number not greater than {rule['MaxValue']}"
    return ""


def _matches(name: str, pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error as error:
        raise Lacking(f"the AllowedPattern of parameter {name}: {error}") from error


# --- rules ---------------------------------------------------------------------------------------------------------


def check_rules(template: Mapping[str, Any], values: Mapping[str, str]) -> None:
    """Raises ValidationError for the first broken assertion of the template's `Rules`, with its description."""
    for name, rule in (template.get("Rules") or {}).items():
        if not isinstance(rule, dict) or not isinstance(rule.get("Assertions"), list):
            raise ValidationError(f"Template format error: Every Rules member must contain Assertions ({name})")
        if not _holds(rule.get("RuleCondition", True), values):
            continue
        for assertion in rule["Assertions"]:
            if not isinstance(assertion, dict) or "Assert" not in assertion:
                raise ValidationError(f"Template format error: Every Assertions member must contain an Assert ({name})")
            if not _holds(assertion["Assert"], values):
                raise ValidationError(
                    f"Template validation error: rule {name} failed: {assertion.get('AssertDescription', 'no reason')}"
                )


def _holds(node: Any, values: Mapping[str, str]) -> Any:
    """A rule's function on the parameters' values: rules know no resources."""
    if not isinstance(node, dict):
        return node
    function, argument = next(iter(node.items()), ("", []))
    if function == "Ref" and isinstance(argument, str):
        return values.get(argument, argument)
    if len(node) != 1 or not isinstance(argument, list) or not argument:
        raise ValidationError(f"Template validation error: {function or 'an empty object'} in Rules has a wrong form")
    items = [_holds(item, values) for item in argument]
    results: dict[str, Callable[[], Any]] = {
        "Fn::And": lambda: all(items),
        "Fn::Or": lambda: any(items),
        "Fn::Not": lambda: not items[0],
        "Fn::Equals": lambda: items[0] == items[-1],
        "Fn::Contains": lambda: items[-1] in items[0] if isinstance(items[0], list | str) else False,
    }
    if function not in results:
        raise Lacking(f"the function {function} in Rules")
    return results[function]()
