"""`$NAME` in texts of a configuration, and variables that mention one another, as GitLab (not its runner) reads them.

See lib/expand_variables.rb and lib/gitlab/ci/variables/collection.rb of GitLab.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

_NAME = r"([a-zA-Z_][a-zA-Z0-9_]*)"
_MENTION = re.compile(rf"\$(?:{_NAME}|\{{{_NAME}\}})|%{_NAME}%")
_MENTION_OR_ESCAPE = re.compile(rf"\$\$|%%|{_MENTION.pattern}")


class Variable(NamedTuple):
    """One variable of a pipeline or a job; of several with one name the last counts."""

    key: str
    value: str
    raw: bool = False


class MaskedVariable(Exception):
    """A masked variable would end up in the configuration."""


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Every mention replaced, by nothing if no variable has this name."""
    return _replaced(_MENTION, text, lambda name, _: variables.get(name, ""))


def expanded_existing(text: str, variables: Mapping[str, str], masked: frozenset[str] = frozenset()) -> str:
    """Mentions of known variables replaced. Raises MaskedVariable."""

    def value(name: str, written: str) -> str:
        if name in masked:
            raise MaskedVariable(name)
        return variables.get(name, written)

    return _replaced(_MENTION, text, value)


def values(variables: Sequence[Variable]) -> dict[str, str]:
    return {variable.key: variable.value for variable in variables}


def ring(variables: Sequence[Variable]) -> list[str] | None:
    """The names of variables that mention each other in a ring, if there is one; one that mentions itself is none."""
    by_name: dict[str, set[str]] = {}
    for variable in variables:
        by_name.setdefault(variable.key, set()).update(_mentioned(variable))
    mentions = {name: {other for other in names if other in by_name} - {name} for name, names in by_name.items()}
    try:
        TopologicalSorter(mentions).prepare()
    except CycleError as error:
        return sorted(set(error.args[1]))
    return None


def all_expanded(variables: Sequence[Variable]) -> dict[str, str]:
    """Each variable with its mentions replaced. As they are, if there is a ring."""
    plain = values(variables)
    if ring(variables):
        return plain
    last = {variable.key: variable for variable in variables}
    mentions = {key: {n for n in _mentioned(variable) if n in last} - {key} for key, variable in last.items()}
    ready: dict[str, str] = {}
    for key in TopologicalSorter(mentions).static_order():
        ready[key] = last[key].value if last[key].raw else _replaced(
            _MENTION_OR_ESCAPE, last[key].value, lambda name, _: ready.get(name, "")
        )  # fmt: skip
    return ready


def _mentioned(variable: Variable) -> set[str]:
    if variable.raw:
        return set()
    return {name for match in _MENTION_OR_ESCAPE.finditer(variable.value) if (name := _name(match))}


def _name(match: re.Match[str]) -> str | None:
    return next((group for group in match.groups() if group), None)


def _replaced(pattern: re.Pattern[str], text: str, value: Callable[[str, str], str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        name = _name(match)
        return match[0] if name is None else value(name, match[0])

    return pattern.sub(replacement, text) if "$" in text or "%" in text else text
