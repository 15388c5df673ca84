"""What `build` must know of a CloudFormation template: what it declares under `Parameters:`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ci_scripts.deployment.documents import parse_template

FILE = "endpoint-config-template.yml"
"""The template of a model-deploy repository."""

_LONGEST = 1_000_000  # bytes of a template in S3: CloudFormation's own limit


class Problem(NamedTuple):
    """Something wrong at one place of one file."""

    file: str
    path: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


class Template(NamedTuple):
    """A CloudFormation template: its text, and the declarations in its `Parameters:` section by name."""

    text: str
    parameters: Mapping[str, Mapping[str, Any]]


def read(text: str) -> tuple[Template, list[Problem]]:
    """The template and what is wrong with its frame. Raises Malformed when it is no YAML at all."""
    content = parse_template(text)
    if not isinstance(content, dict):
        return Template(text, {}), [Problem(FILE, "", "is not a CloudFormation template")]
    problems = []
    if not isinstance(content.get("Resources"), dict) or not content["Resources"]:
        problems.append(Problem(FILE, "Resources", "declares no resource"))
    if len(text.encode()) > _LONGEST:
        problems.append(Problem(FILE, "", f"is longer than CloudFormation's limit of {_LONGEST:,} bytes"))
    declared = content.get("Parameters", {})
    if not isinstance(declared, dict):
        return Template(text, {}), [*problems, Problem(FILE, "Parameters", "is not a mapping")]
    parameters = {}
    for name, declaration in declared.items():
        if isinstance(declaration, dict) and isinstance(declaration.get("Type"), str):
            parameters[name] = declaration
        else:
            problems.append(Problem(FILE, f"Parameters.{name}", "has no Type"))
    if "ModelPackageName" not in parameters:
        problems.append(
            Problem(FILE, "Parameters", "lacks ModelPackageName, through which build passes the approved model package")
        )
    return Template(text, parameters), problems
