"""Regular expressions of users: RE2, as in GitLab, whose `$` is the end of the text and whose `\\w` is ASCII."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2

_SLASHES = re.compile(r"^/(?P<pattern>.*)/(?P<flags>[ismU]*)$", re.MULTILINE)


class InvalidPattern(Exception):
    """Not a regular expression that RE2 takes."""


class Pattern:
    """A compiled pattern; two are equal if they are written alike."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._compiled = _compiled(source)

    def found_in(self, value: str) -> bool:
        return self._compiled.search(value) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.source == other.source

    def __hash__(self) -> int:
        return hash(self.source)


def between_slashes(value: str) -> Pattern:
    """The pattern of `/…/flags`. Raises InvalidPattern."""
    match = _SLASHES.search(value)
    if match is None:
        raise InvalidPattern(value)
    flags = f"(?{match['flags']})" if match["flags"] else ""
    return Pattern(flags + match["pattern"])


def is_between_slashes(value: Any) -> bool:
    return isinstance(value, str) and _SLASHES.search(value) is not None


@lru_cache(maxsize=1024)
def _compiled(source: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(source, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise InvalidPattern(source) from error
