"""CHANGELOG.md: its sections, and the turn of "Unreleased" into a release. Pure."""

from __future__ import annotations

import re
from datetime import date

from release.versions import ReleaseError

UNRELEASED = "## [Unreleased]"
_HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\].*$", re.MULTILINE)


def section(text: str, version: str) -> str:
    """What the changelog says about a version, without its heading. Raises ReleaseError when it says nothing."""
    headings = list(_HEADING.finditer(text))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading["version"] == version:
            body = text[heading.end() : following.start() if following else len(text)].strip()
            if not re.search(r"^\s*[-*] \S", body, re.MULTILINE):
                raise ReleaseError(f"the section [{version}] of CHANGELOG.md lists no change")
            return body
    raise ReleaseError(f"CHANGELOG.md has no section [{version}]")


def released(text: str, version: str, day: date) -> str:
    """The changelog with its unreleased changes as those of `version`. Raises ReleaseError."""
    section(text, "Unreleased")
    if any(heading["version"] == version for heading in _HEADING.finditer(text)):
        raise ReleaseError(f"CHANGELOG.md already has a section [{version}]")
    return text.replace(UNRELEASED, f"{UNRELEASED}\n\n## [{version}] - {day.isoformat()}", 1)
