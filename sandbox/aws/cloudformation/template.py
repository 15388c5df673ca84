"""CloudFormation templates as values: parsing, parameters, conditions, intrinsic functions, the order of resources.

Nothing here calls AWS. The engine (stacks.py) evaluates a template against what it has created so far.
Error texts are the service's own, so far as its documentation and users' reports show them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import yaml
from moto.cloudformation.exceptions import CloudFormationError

UNKNOWN = "{{changeSet:KNOWN_AFTER_APPLY}}"
"""What a change set shows for a value that exists only after it is executed."""

_NO_VALUE = object()
_SUBSTITUTION = re.compile(r"\$\{(!?)([^${}]+)\}")


class ValidationError(CloudFormationError):
    """The request or its template is refused before anything is done."""

    code = "ValidationError"


# --- parsing -------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML as CloudFormation reads it: short tags for functions, and dates stay the strings they were written as."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _short_tag(loader: Any, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_tag)


def parse(text: str) -> dict[str, Any]:
    """A template from JSON or YAML text, short tags in their long form. Raises ValidationError."""
    try:
        template = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, _Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"(line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValidationError(f"Template format error: YAML not well-formed. {place}".strip()) from error
    except json.JSONDecodeError as error:
        place = f"(line {error.lineno}, column {error.colno})"
        raise ValidationError(f"Template format error: JSON not well-formed. {place}") from error
    if not isinstance(template, dict):
        raise ValidationError("Template format error: unsupported structure.")
    if not isinstance(template.get("Resources"), dict) or not template["Resources"]:
        raise ValidationError("Template format error: At least one Resources member must be defined.")
    for name, resource in template["Resources"].items():
        if not isinstance(resource, dict) or "Type" not in resource:
            raise ValidationError(
                f"Template format error: [/Resources/{name}] Every Resources object must contain a Type member."
            )
    return template


# --- parameters ----------------------------------------------------------------------------------------------------


def parameter_values(template: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Every declared parameter's value as text, given or default. Raises ValidationError on the first rule broken."""
    declared: Mapping[str, Any] = template.get("Parameters") or {}
    if unknown := [name for name in given if name not in declared]:
        raise ValidationError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    values = {name: str(rule["Default"]) for name, rule in declared.items() if "Default" in rule} | dict(given)
    if missing := [name for name in declared if name not in values]:
        raise ValidationError(f"Parameters: [{', '.join(missing)}] must have values")
    for name, rule in declared.items():
        _check_parameter(name, rule, values[name])
    return values


def _check_parameter(name: str, rule: Mapping[str, Any], text: str) -> None:
    is_list = rule["Type"] == "CommaDelimitedList" or rule["Type"].startswith("List<")
    for item in text.split(",") if is_list else [text]:
        item = item.strip() if is_list else item
        problem = _broken_rule(name, rule, item)
        if problem and "ConstraintDescription" in rule:
            problem = f"Parameter {name} failed to satisfy constraint: {rule['ConstraintDescription']}"
        if problem:
            raise ValidationError(problem)


def _broken_rule(name: str, rule: Mapping[str, Any], text: str) -> str:
    if "AllowedValues" in rule and text not in [_text(allowed) for allowed in rule["AllowedValues"]]:
        return f"Parameter '{name}' must be one of AllowedValues"
    if "AllowedPattern" in rule and not re.fullmatch(rule["AllowedPattern"], text):
        return f"Parameter '{name}' must match pattern {rule['AllowedPattern']}"
    if "MinLength" in rule and len(text) < int(rule["MinLength"]):
        return f"Parameter '{name}' must contain at least {rule['MinLength']} characters"
    if "MaxLength" in rule and len(text) > int(rule["MaxLength"]):
        return f"Parameter '{name}' must contain at most {rule['MaxLength']} characters"
    if rule["Type"] in ("Number", "List<Number>"):
        try:
            number = float(text)
        except ValueError:
            return f"Parameter '{name}' must be a number."
        if "MinValue" in rule and number < float(rule["MinValue"]):
            return f"Parameter '{name}' must be a number not less than {rule['MinValue']}"
        if "MaxValue" in rule and number > float(rule["MaxValue"]):
            return f"Parameter '{name}' must be a number not greater than {rule['MaxValue']}"
    return ""


def check_rules(template: Mapping[str, Any], values: Mapping[str, str]) -> None:
    """Raises ValidationError for the first broken assertion of the template's `Rules`, with its description."""
    for name, rule in (template.get("Rules") or {}).items():
        if not _holds(rule.get("RuleCondition", True), values):
            continue
        for assertion in rule["Assertions"]:
            if not _holds(assertion["Assert"], values):
                raise ValidationError(
                    f"Template validation error: rule {name} failed: {assertion.get('AssertDescription', 'no reason')}"
                )


def _holds(node: Any, values: Mapping[str, str]) -> Any:
    """A rule's function on the parameters' values: rules know no resources and no other functions."""
    if not isinstance(node, dict):
        return node
    [(function, argument)] = node.items()
    if function == "Ref":
        return values[argument]
    found = [_holds(item, values) for item in argument]
    results: dict[str, Callable[[], Any]] = {
        "Fn::And": lambda: all(found),
        "Fn::Or": lambda: any(found),
        "Fn::Not": lambda: not found[0],
        "Fn::Equals": lambda: found[0] == found[1],
        "Fn::Contains": lambda: found[1] in found[0],
    }
    if function not in results:
        raise ValidationError(f"Template validation error: {function} is not supported in Rules")
    return results[function]()


# --- references and order ------------------------------------------------------------------------------------------


def references(node: Any) -> Iterator[str]:
    """Names that a part of a template refers to by Ref, Fn::GetAtt or Fn::Sub (parameters and pseudo ones included)."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "Ref":
            yield str(value)
        elif key == "Fn::GetAtt":
            yield str(value[0] if isinstance(value, list) else value.split(".")[0])
        elif key == "Fn::Sub":
            text, own = (value, {}) if isinstance(value, str) else value
            yield from (
                found.group(2).split(".")[0]
                for found in _SUBSTITUTION.finditer(text)
                if not found.group(1) and found.group(2) not in own
            )
            yield from references(own)
        else:
            yield from references(value)


class Evaluator:
    """Evaluates parts of one template. `ref` and `attribute` answer for resources: physical id, attribute value."""

    def __init__(
        self,
        template: Mapping[str, Any],
        parameters: Mapping[str, str],
        pseudo: Mapping[str, Any],
        ref: Callable[[str], str],
        attribute: Callable[[str, str], Any],
    ) -> None:
        self._template = template
        self._pseudo = {"AWS::NoValue": _NO_VALUE, **pseudo}
        self._parameters = {
            name: _typed(rule["Type"], parameters[name]) for name, rule in (template.get("Parameters") or {}).items()
        }
        self._ref, self._attribute = ref, attribute
        self._conditions: dict[str, bool] = {}

    def resources(self) -> dict[str, Any]:
        """The resources whose condition holds, dependencies first. Raises ValidationError when there is no order."""
        active = {
            name: resource
            for name, resource in self._template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }
        graph: dict[str, set[str]] = {}
        unresolved: list[str] = []
        for name, resource in active.items():
            after = resource.get("DependsOn", [])
            used = set(references(self._chosen(resource.get("Properties") or {})))
            used -= self._parameters.keys() | self._pseudo.keys()
            unresolved += sorted(used - active.keys())
            # A DependsOn on a resource whose condition is false is ignored by the service.
            graph[name] = (used | set([after] if isinstance(after, str) else after)) & active.keys()
        if unresolved:
            names = ", ".join(dict.fromkeys(unresolved))
            raise ValidationError(
                f"Template format error: Unresolved resource dependencies [{names}] in the Resources block of the "
                "template"
            )
        try:
            order = list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            names = ", ".join(sorted(set(error.args[1])))
            raise ValidationError(f"Circular dependency between resources: [{names}]") from error
        return {name: active[name] for name in order}

    def condition(self, name: str) -> bool:
        if name not in self._conditions:
            if name not in (self._template.get("Conditions") or {}):
                raise ValidationError(f"Template format error: Unresolved condition dependency {name}")
            self._conditions[name] = bool(self.value(self._template["Conditions"][name]))
        return self._conditions[name]

    def value(self, node: Any) -> Any:
        """The node with every function applied; members that are AWS::NoValue disappear."""
        if isinstance(node, list):
            return [value for value in map(self.value, node) if value is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(key, argument)] = node.items()
            if key == "Condition" and isinstance(argument, str):
                return self.condition(argument)
            if key == "Ref" or key.startswith("Fn::"):
                return self._apply(key, argument)
        values = {key: self.value(value) for key, value in node.items()}
        return {key: value for key, value in values.items() if value is not _NO_VALUE}

    def _chosen(self, node: Any) -> Any:
        """The node with every Fn::If replaced by its chosen branch: only that branch makes dependencies."""
        if isinstance(node, list):
            return [self._chosen(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "Fn::If" in node:
            name, yes, no = node["Fn::If"]
            return self._chosen(yes if self.condition(name) else no)
        return {key: self._chosen(value) for key, value in node.items()}

    def _apply(self, function: str, argument: Any) -> Any:
        method = getattr(self, "fn_" + function.removeprefix("Fn::").lower(), None)
        if method is None:
            raise ValidationError(f"Template validation error: Unknown function {function}")
        return method(argument)

    def fn_ref(self, name: str) -> Any:
        for known in (self._pseudo, self._parameters):
            if name in known:
                return known[name]
        return self._ref(name)

    def fn_getatt(self, argument: Any) -> Any:
        name, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
        return self._attribute(name, self.value(attribute))

    def fn_sub(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else argument

        def replace(found: re.Match[str]) -> str:
            literal, name = found.groups()
            if literal:
                return "${" + name + "}"
            if name in own:
                return _text(self.value(own[name]))
            return _text(self.fn_getatt(name) if "." in name else self.fn_ref(name))

        return _SUBSTITUTION.sub(replace, text)

    def fn_join(self, argument: Any) -> str:
        return str(argument[0]).join(_text(item) for item in self.value(argument[1]))

    def fn_split(self, argument: Any) -> list[str]:
        return str(self.value(argument[1])).split(argument[0])

    def fn_select(self, argument: Any) -> Any:
        index, items = int(self.value(argument[0])), self.value(argument[1])
        if not 0 <= index < len(items):
            raise ValidationError("Template error: Fn::Select cannot select nonexistent value at index " + str(index))
        return items[index]

    def fn_if(self, argument: Any) -> Any:
        name, yes, no = argument
        return self.value(yes if self.condition(name) else no)

    def fn_equals(self, argument: Any) -> bool:
        left, right = self.value(argument)
        return _text(left) == _text(right)

    def fn_not(self, argument: Any) -> bool:
        return not self.value(argument)[0]

    def fn_and(self, argument: Any) -> bool:
        return all(self.value(argument))

    def fn_or(self, argument: Any) -> bool:
        return any(self.value(argument))

    def fn_findinmap(self, argument: Any) -> Any:
        name, first, second = (self.value(item) for item in argument[:3])
        try:
            return self._template["Mappings"][name][first][second]
        except KeyError as error:
            raise ValidationError(f"Template error: Unable to get mapping for {name}::{first}::{second}") from error


def _typed(kind: str, text: str) -> Any:
    if kind == "CommaDelimitedList" or kind.startswith("List<"):
        return [item.strip() for item in text.split(",")]
    return text


def _text(value: Any) -> str:
    """A scalar as CloudFormation writes it into a string."""
    return str(value).lower() if isinstance(value, bool) else str(value)
