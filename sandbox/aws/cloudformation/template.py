"""CloudFormation templates as text: JSON or YAML into one dictionary, with functions in their long form.

What a template must look like is checked in structure.py and functions.py; evaluator.py gives it values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from sandbox.aws.cloudformation.errors import ValidationError


class _Loader(yaml.SafeLoader):
    """YAML as CloudFormation reads it: short tags for functions, dates stay the strings they were written as."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValidationError("Template error: YAML aliases are not allowed in CloudFormation templates")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Keys are the texts they are written as: account numbers, On and Off."""
        names = {id(key): key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
        return {
            names.get(id(key)) or self.construct_object(key, deep=True): self.construct_object(value, deep=deep)
            for key, value in node.value
        }


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
    except json.JSONDecodeError as error:
        # The service counts the character that it cannot read as read.
        place = f"(line {error.lineno}, column {error.colno + 1})"
        raise ValidationError(f"Template format error: JSON not well-formed. {place}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValidationError(f"Template format error: YAML not well-formed.{place}") from error
    except RecursionError as error:
        raise ValidationError("Template format error: unsupported structure.") from error
    if not isinstance(template, dict):
        raise ValidationError("Template format error: unsupported structure.")
    return {str(name): section for name, section in template.items()}


def functions(node: Any, path: str = "") -> Iterator[tuple[str, Any, str]]:
    """Every function in a part of a template, outermost first: name (`Fn::Sub`, `Ref`), argument, path."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from functions(item, f"{path}/{number}")
    elif isinstance(node, dict):
        for key, value in node.items():
            if is_function(node, key):
                yield key, value, f"{path}/{key}"
            yield from functions(value, f"{path}/{key}")


def is_function(node: dict[str, Any], key: str) -> bool:
    """Whether a member of a mapping makes it a function: `Ref` and `Fn::…` do when they stand alone."""
    return len(node) == 1 and (key == "Ref" or str(key).startswith("Fn::"))


def text(value: Any) -> str:
    """A scalar as CloudFormation writes it into a string."""
    return str(value).lower() if isinstance(value, bool) else str(value)
