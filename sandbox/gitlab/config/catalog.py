"""The CI/CD catalog's versions: what is one, and which published one a short version stands for.

`includes.py` looks up components here; `run/releases.py` publishes.
https://docs.gitlab.com/ci/components/#component-versions
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LATEST = "~latest"
_SHORT = re.compile(r"\d+(\.\d+)?")
_NUMBER = r"(?:0|[1-9]\d*)"
VERSION = re.compile(
    rf"(?P<numbers>{_NUMBER}\.{_NUMBER}\.{_NUMBER})(?P<pre>-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)


def is_short(reference: str) -> bool:
    """Is this no name of its own, but stands for the newest of several versions?"""
    return reference == LATEST or _SHORT.fullmatch(reference) is not None


def find(reference: str, versions: Mapping[str, str]) -> str | None:
    """The published version that a reference means: itself, or the newest of its line, which is never a pre-release."""
    if not is_short(reference):
        return reference if reference in versions else None
    prefix = [] if reference == LATEST else [int(part) for part in reference.split(".")]
    numbered = {version: _numbers(version) for version in versions}
    matching = {
        version: numbers for version, numbers in numbered.items() if numbers and numbers[: len(prefix)] == prefix
    }
    return max(matching, key=lambda version: matching[version], default=None)


def _numbers(version: str) -> list[int]:
    """Major, minor and patch; nothing for a pre-release."""
    match = VERSION.fullmatch(version)
    return [int(part) for part in match["numbers"].split(".")] if match and not match["pre"] else []
