"""What `build` must know of a CloudFormation template: what it declares under `Parameters:`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ci_scripts import documents, hosting, regions, text
from ci_scripts.documents import Malformed
from ci_scripts.hosting import Hosting
from ci_scripts.repository import Unreadable


class Problem(NamedTuple):
    """Something wrong at one place of one file."""

    file: str
    path: str
    text: str

    def __str__(self) -> str:
        return ": ".join(text.line(part) for part in self if part)


class Template(NamedTuple):
    """A CloudFormation template: its text, and the declarations in its `Parameters:` section by name."""

    text: str
    parameters: Mapping[str, Mapping[str, Any]]
    file: str
    """What it is called in a message."""


def of_stage(folder: Path, kind: Hosting, *, named: bool) -> tuple[Template | None, list[Problem]]:
    """The template of a stage, None when there is nothing to read, and what is wrong with it.

    The repository's own one, if it is there, else the packaged one of a kind that the configuration has `named`.
    """
    file = kind.template_file
    if named and not os.path.lexists(folder / file):
        return read(hosting.packaged(kind), f"the packaged template of {kind.name}")
    try:
        return read(documents.read_text(folder / file, folder), file)
    except (Unreadable, Malformed) as error:
        advice = (
            ""
            if named or os.path.lexists(folder / file)
            else (f'; a packaged one serves the stages whose configuration says "Hosting": "{kind.name}"')
        )
        return None, [Problem(file, "", f"{error}{advice}")]


def read(content: str, file: str) -> tuple[Template, list[Problem]]:
    """The template and what is wrong with its frame. Raises Malformed when it is no YAML at all."""
    document = documents.parse_template(content)
    if not isinstance(document, dict):
        return Template(content, {}, file), [Problem(file, "", "is not a CloudFormation template")]
    problems = []
    transformed = re.search(r"^Resources:[ \t]*!Transform\b", content, re.MULTILINE)  # a macro makes them
    if not (isinstance(document.get("Resources"), dict) and document["Resources"]) and not transformed:
        problems.append(Problem(file, "Resources", "declares no resource"))
    declared = document.get("Parameters", {})
    if not isinstance(declared, dict):
        return Template(content, {}, file), [*problems, Problem(file, "Parameters", "is not a mapping")]
    parameters = {}
    for name, declaration in declared.items():
        where = f"Parameters.{text.short(name)}"
        if not isinstance(declaration, dict) or not isinstance(declaration.get("Type"), str):
            problems.append(Problem(file, where, "has no Type"))
            continue
        if not isinstance(declaration.get("AllowedValues") or [], list):
            problems.append(Problem(file, f"{where}.AllowedValues", "is not a list"))
            declaration = {key: each for key, each in declaration.items() if key != "AllowedValues"}
        parameters[name] = declaration
    if "ModelPackageName" not in parameters:
        problems.append(
            Problem(file, "Parameters", "lacks ModelPackageName, through which build passes the approved model package")
        )
    return Template(content, parameters, file), problems


def region_problems(filled: Template, region: str) -> list[Problem]:
    """The resources that CloudFormation does not have in a region, as far as AWS's lists told at this release."""
    missing = regions.lacking_types(region)
    if not missing:
        return []
    resources = documents.parse_template(filled.text).get("Resources", {})
    return [
        Problem(filled.file, f"Resources.{text.short(name)}", f"CloudFormation has no {resource['Type']} in {region}")
        for name, resource in (resources.items() if isinstance(resources, dict) else ())
        if isinstance(resource, dict) and resource.get("Type") in missing
    ]
