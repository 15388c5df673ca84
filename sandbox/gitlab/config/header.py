"""The header of a configuration file: which inputs it has, and which of its component's facts it wants.

https://docs.gitlab.com/ci/yaml/#header-keywords
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sandbox.gitlab.config import checks, expressions
from sandbox.gitlab.config.inputs import TYPES

COMPONENT = ("name", "sha", "version", "reference")
_INPUT = ("default", "description", "options", "regex", "type", "rules")
_OPTIONS, _DESCRIPTION = 50, 256


def problems(header: Mapping[Any, Any]) -> Iterator[str]:
    """What is wrong with the header."""
    yield from checks.keys(header, ("spec",), "header")
    spec = header.get("spec")
    if spec is None:
        return
    at = "header:spec"
    yield from checks.mapping(spec, ("inputs", "include", "component", "description"), at)
    if not isinstance(spec, dict):
        return
    yield from checks.member(spec, "description", checks.is_text, "should be a string", at)
    if checks.is_text(spec.get("description")) and len(spec["description"]) > _DESCRIPTION:
        yield f"{at} description is too long (maximum is {_DESCRIPTION} characters)"
    component = spec.get("component")
    if component is not None:
        if not checks.is_texts(component):
            yield f"{at}:component config should be an array of strings"
        elif unknown := [each for each in component if each not in COMPONENT]:
            yield f"{at}:component config contains unknown values: {', '.join(unknown)}"
    if spec.get("inputs") is not None:
        yield from _inputs(spec["inputs"], f"{at}:inputs")


def _inputs(inputs: Any, at: str) -> Iterator[str]:
    if not isinstance(inputs, dict):
        yield f"{at} config should be a hash"
        return
    for name, details in inputs.items():
        yield from _input(name, {} if details is None else details, f"{at}:{name}")
    yield from _rings(inputs, at)


def _input(name: Any, details: Any, at: str) -> Iterator[str]:
    if not checks.is_alphanumeric(name):
        yield f"{at} key must be an alphanumeric string"
    yield from checks.mapping(details, _INPUT, at)
    if not isinstance(details, dict):
        return
    yield from checks.member(details, "description", checks.is_alphanumeric, "must be an alphanumeric string", at)
    yield from checks.member(details, "regex", checks.is_text, "should be a string", at)
    if details.get("type") is not None and details["type"] not in TYPES:
        yield f"{at} input type unknown value: {details['type']}"
    yield from checks.exclusive(details, ("rules", "options"), at)
    yield from checks.exclusive(details, ("rules", "default"), at)
    yield from _options(details, at)
    if details.get("rules") is not None:
        if not isinstance(details["rules"], list):
            yield f"{at}:rules config should be an array"
            return
        for rule in checks.flattened(details["rules"]):
            yield from _rule(rule, f"{at}:rules:rule")


def _options(details: Mapping[str, Any], at: str) -> Iterator[str]:
    options = details.get("options")
    if options is None:
        return
    if not isinstance(options, list):
        yield f"{at} input options should be an array"
    elif None in options:
        yield f"{at} config options array cannot contain null values"
    if isinstance(options, list) and len(options) > _OPTIONS:
        yield f"{at} config cannot define more than {_OPTIONS} options"


def _rule(rule: Any, at: str) -> Iterator[str]:
    if not isinstance(rule, dict) or not rule:
        yield f"{at} config should be a hash"
        return
    yield from checks.keys(rule, ("if", "options", "default"), at)
    yield from checks.expression(rule.get("if"), at)
    options = rule.get("options")
    if options is not None and not isinstance(options, list):
        yield f"{at} options should be an array"
    elif options and len(options) > _OPTIONS:
        yield f"{at} config cannot define more than {_OPTIONS} options"
    elif "default" not in rule:
        yield f"{at} rule must define 'options' with at least one value and a 'default'"
    elif options and rule["default"] not in options:
        yield f"{at} default '{rule['default']}' must be one of the options"


def _rings(inputs: Mapping[Any, Any], at: str) -> Iterator[str]:
    """Inputs whose rules look at one another in a circle, or at none that there is."""
    mentioned: dict[str, set[str]] = {}
    for name, details in inputs.items():
        rules = details.get("rules") if isinstance(details, dict) else None
        texts = [rule.get("if") for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
        names = {each for text in texts if isinstance(text, str) for each in expressions.inputs_of(text)}
        mentioned[str(name)] = names
        if unknown := sorted(names - set(map(str, inputs))):
            yield f"{at}:{name} config rule references undefined inputs: {', '.join(unknown)}"
    try:
        TopologicalSorter(mentioned).prepare()
    except CycleError:
        yield f"{at} config circular dependency detected"
