"""CI/CD variables: what has to change in a repository's settings. Pure; gitlab_api.py asks GitLab."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Attributes = dict[str, Any]
Name = tuple[str, str]
"""A variable's key and environment scope: together they name it."""


class Plan(NamedTuple):
    """What to do, in this order."""

    create: list[Attributes]
    update: list[Attributes]
    delete: list[Name]


def attributes(key: str, value: str, environment_scope: str, protected: bool, masked: bool) -> Attributes:
    """A variable as GitLab's API takes it. `raw`: a `$` in the value stays one."""
    return {
        "key": key,
        "value": value,
        "environment_scope": environment_scope,
        "protected": protected,
        "masked": masked,
        "raw": True,
    }


def name_of(variable: Mapping[str, Any]) -> Name:
    return str(variable["key"]), str(variable["environment_scope"])


def plan(existing: Iterable[Mapping[str, Any]], requested: Iterable[Attributes], withdrawn: Iterable[Name]) -> Plan:
    """What leads from the existing variables to the requested ones; no other variable is touched.

    `withdrawn` are those that the stack requested before: they are removed unless it still does.
    """
    by_name = {name_of(variable): variable for variable in existing}
    named = {name_of(variable): variable for variable in requested}
    return Plan(
        create=[variable for name, variable in named.items() if name not in by_name],
        update=[
            variable
            for name, variable in named.items()
            if name in by_name and any(by_name[name].get(key) != value for key, value in variable.items())
        ],
        delete=[name for name in withdrawn if name in by_name and name not in named],
    )
