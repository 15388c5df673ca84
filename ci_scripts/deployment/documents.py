"""JSON and YAML files that people write: stage configurations and CloudFormation templates, read strictly.

Called by `build`.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

import yaml


class Malformed(ValueError):
    """The text is not the JSON or YAML it claims to be; says where and why in one line."""


def parse_config(text: str, *, is_json: bool) -> Any:
    """The content of a stage configuration. Raises Malformed, also for a key that is there twice."""
    if not is_json:
        return _parse_yaml(text, _ConfigLoader)
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise Malformed(f"line {error.lineno}: not JSON: {error.msg}") from error


def parse_template(text: str) -> Any:
    """The content of a CloudFormation template, every scalar as the string that CloudFormation makes of it.

    Short forms (`!Ref`, `!Sub`, …) are accepted whatever their name; what they stand for is left out (None).
    """
    return _parse_yaml(text, _TemplateLoader)


def _parse_yaml(text: str, loader: type[yaml.SafeLoader]) -> Any:
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 - both loaders derive from SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise Malformed(f"{line}not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise Malformed(f"not YAML: {' '.join(str(error).split())}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, content in pairs:
        if key in found:
            raise Malformed(f"{key!r} is there twice")
        found[key] = content
    return found


class _StrictLoader(yaml.SafeLoader):
    """YAML whose keys are text, as in JSON (`On:` is no boolean), and are there once; PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            keys.add(key.value)
            key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep=deep)


def _keep_resolvers(loader: type[yaml.SafeLoader], *names: str) -> None:
    """Let unquoted scalars mean only `names`; everything else stays the text it is."""
    kept = {f"tag:yaml.org,2002:{name}" for name in names}
    loader.yaml_implicit_resolvers = {
        first: [(tag, rule) for tag, rule in rules if tag in kept]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _ConfigLoader(_StrictLoader):
    """Numbers and booleans are themselves; a date stays the text that the template's parameter will see."""


class _TemplateLoader(_StrictLoader):
    """Scalars as CloudFormation reads them: `Default: 010` is "010", `[yes, no]` are "true" and "false"."""


_keep_resolvers(_ConfigLoader, "bool", "int", "float", "null", "merge")
_keep_resolvers(_TemplateLoader, "bool", "null", "merge")


def _boolean_text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_yaml_bool(node)).lower()


_TemplateLoader.add_constructor("tag:yaml.org,2002:bool", _boolean_text)
_TemplateLoader.add_multi_constructor("!", lambda loader, suffix, node: None)
