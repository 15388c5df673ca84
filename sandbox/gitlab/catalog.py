"""The CI/CD catalog: which versions a component project has published, and which one a short version stands for.

`includes.py` looks up components here; a job's `release:` and `api_catalog.py` publish.
https://docs.gitlab.com/ci/components/#component-versions
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.gitlab.store import Project  # which needs includes.py, which needs this

LATEST = "~latest"
_SHORT = re.compile(r"\d+(\.\d+)?")
_NUMBER = r"(?:0|[1-9]\d*)"
_VERSION = re.compile(
    rf"(?P<numbers>{_NUMBER}\.{_NUMBER}\.{_NUMBER})(?P<pre>-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)


class NotPublished(Exception):
    """GitLab would not publish this version; the message is its own."""


def is_short(reference: str) -> bool:
    """Is this no name of its own, but stands for the newest of several versions?"""
    return reference == LATEST or _SHORT.fullmatch(reference) is not None


def find(reference: str, versions: Mapping[str, str]) -> str | None:
    """The published version that a reference means: itself, or the newest of its line, which is never a pre-release."""
    if not is_short(reference):
        return reference if reference in versions else None
    wanted = [] if reference == LATEST else [int(part) for part in reference.split(".")]
    known = {version: _numbers(version) for version in versions}
    matching = {version: numbers for version, numbers in known.items() if numbers and numbers[: len(wanted)] == wanted}
    return max(matching, key=lambda version: matching[version], default=None)


def _numbers(version: str) -> list[int]:
    """Major, minor and patch; nothing for a pre-release."""
    match = _VERSION.fullmatch(version)
    return [int(part) for part in match["numbers"].split(".")] if match and not match["pre"] else []


def publish(project: Project, tag: str) -> None:
    """Publish what a tag points at. Raises NotPublished with all of GitLab's reasons."""
    sha = project.repository.names("tags").get(tag)
    problems = []
    if not project.catalog:
        problems.append("Project is not a catalog resource")
    if not _VERSION.fullmatch(tag):
        problems.append("Version must follow semantic versioning")
    if not project.description:
        problems.append("Project must have a description")
    if sha is None:
        raise NotPublished("Tag does not exist")
    if project.repository.entry(sha, "README.md") is None:
        problems.append("Project must have a README")
    if not project.repository.tree(sha, "templates"):
        problems.append("Project must contain components. Ensure you are using the correct directory structure")
    if problems:
        raise NotPublished(", ".join(problems))
    project.catalog_versions[tag] = sha
