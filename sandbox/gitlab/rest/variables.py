"""CI/CD variables of projects and groups: https://docs.gitlab.com/api/project_level_variables/."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask import request

from sandbox.gitlab.records.store import MAINTAINER, OWNER, Group, Project, Variable
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import ApiError, Json, bad_parameter, boolean, choice, mapping, parameters, required
from sandbox.gitlab.rest.resources import Resource, add_resource

_KEY = re.compile(r"[A-Za-z0-9_]{1,255}")
_MASKABLE = re.compile(r"[a-zA-Z0-9_+=/@:.~-]{8,}")  # a raw value may hold anything but white space
_LONGEST = 10_000  # characters of a value
_TYPES = ("env_var", "file")


def register(api: Api, entities: Entities) -> None:
    """Add both kinds: a project's Maintainers and a group's Owners see and change them."""
    for path, level in (("/projects/:project", MAINTAINER), ("/groups/:group", OWNER)):
        add_resource(
            api,
            Resource(
                f"{path}/variables", "Variable", lambda source: source.variables, entities.variable, find=_find,
                create=_create, update=_update_of(api), delete=lambda source, each: source.variables.remove(each),
                read=level, write=level,
            ),
        )  # fmt: skip


def _find(variables: list[Variable], key: str) -> Variable | None:
    scope = request.args.get("filter[environment_scope]")
    if scope is None:
        scope = mapping(parameters(), "filter").get("environment_scope")
    matching = [each for each in variables if each.key == key and scope in (None, each.environment_scope)]
    if len(matching) > 1:
        raise ApiError(
            409, "There are multiple variables with provided parameters. Please use 'filter[environment_scope]'"
        )
    return matching[0] if matching else None


def _create(source: Project | Group, data: Json) -> Variable:
    missing = [name for name in ("key", "value") if data.get(name) is None or (name == "key" and not data[name])]
    if missing:
        raise bad_parameter(", ".join(f"{name} is missing" for name in missing))
    (key,) = required(data, "key")
    hidden = boolean(data, "masked_and_hidden")
    variable = _changed(Variable(key, ""), data | ({"masked": True} if hidden else {}))
    variable.hidden = hidden
    if not _KEY.fullmatch(key):
        raise ApiError(400, {"key": ["can contain only letters, digits and '_'."]})
    _refuse_taken(source.variables, variable)
    source.variables.append(variable)
    return variable


def _update_of(api: Api) -> Callable[[Variable, Json], None]:
    def update(variable: Variable, data: Json) -> None:
        changed = _changed(variable, data)
        if variable.hidden and not changed.masked:
            raise ApiError(
                400, {"masked": ["The visibility setting cannot be changed for masked and hidden variables."]}
            )
        sources: list[Project | Group] = [*api.store.projects, *api.store.groups]
        lists = [source.variables for source in sources]
        others = next(variables for variables in lists if variable in variables)
        _refuse_taken([each for each in others if each is not variable], changed)
        vars(variable).update(vars(changed))

    return update


def _refuse_taken(others: list[Variable], variable: Variable) -> None:
    if any((each.key, each.environment_scope) == (variable.key, variable.environment_scope) for each in others):
        raise ApiError(400, {"key": [f"({variable.key}) has already been taken"]})


def _changed(variable: Variable, data: Json) -> Variable:
    """A copy with what the request says. Raises ApiError."""
    value = str(data.get("value", variable.value))
    masked, raw = boolean(data, "masked", variable.masked), boolean(data, "raw", variable.raw)
    maskable = re.fullmatch(r"\S{8,}", value) if raw else _MASKABLE.fullmatch(value)
    if len(value) > _LONGEST:
        raise ApiError(400, {"value": [f"is too long (maximum is {_LONGEST} characters)"]})
    if masked and not maskable:
        raise ApiError(400, {"value": ["is invalid"]})
    return Variable(
        variable.key,
        value,
        choice(data, "variable_type", _TYPES, variable.variable_type),
        boolean(data, "protected", variable.protected),
        masked,
        variable.hidden,
        raw,
        data.get("environment_scope", variable.environment_scope),
        data.get("description", variable.description),
    )
