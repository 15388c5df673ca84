"""Pipeline schedules: https://docs.gitlab.com/api/pipeline_schedules/. `clock.py` starts them when they are due."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, request

from sandbox.gitlab.records.store import DEVELOPER, MAINTAINER, REPORTER, Project, Schedule, Variable, now
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    ApiError,
    Json,
    bad_parameter,
    boolean,
    choice,
    forbidden,
    lacking,
    not_found,
    parameters,
    required,
    rows,
)
from sandbox.gitlab.rest.resources import page_of
from sandbox.gitlab.run.clock import InvalidSchedule, next_run

BASE = "/projects/:project/pipeline_schedules"


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    _read(api, entities)
    _write(api, entities)
    _play(api)
    _variables(api)


def schedule_of(project: Project, key: str) -> Schedule:
    """The project's schedule of this number. Raises 404."""
    schedule = next((schedule for schedule in project.schedules if str(schedule.id) == key), None)
    if schedule is None:
        raise not_found("Pipeline Schedule")
    return schedule


def _changed(project: Project, key: str) -> Schedule:
    """What its owner may change, and an administrator of GitLab. A Maintainer takes it over first.

    https://gitlab.com/gitlab-org/gitlab/-/blob/master/app/policies/ci/pipeline_schedule_policy.rb
    """
    schedule = schedule_of(project, key)
    if schedule.owner is not current_user() and not current_user().admin:
        raise forbidden()
    return schedule


def _administered(api: Api, project: Project, key: str) -> Schedule:
    """What its owner and the project's Maintainers may delete, and take over."""
    schedule = schedule_of(project, key)
    if schedule.owner is not current_user() and api.store.access_level(current_user(), project) < MAINTAINER:
        raise forbidden()
    return schedule


def _show_variable(variable: Variable) -> Json:
    return {
        "key": variable.key,
        "variable_type": variable.variable_type,
        "value": variable.value,
        "raw": variable.raw,
    }


def _show(entities: Entities, schedule: Schedule) -> Json:
    """One schedule, with its variables for its owner."""
    last = entities.basic_pipeline(schedule.last_pipeline) if schedule.last_pipeline else None
    shown = entities.schedule(schedule) | {
        "last_pipeline": last and {name: last[name] for name in ("id", "sha", "ref", "status")},
        "inputs": [{"name": name, "value": value} for name, value in schedule.inputs.items()],
    }
    if schedule.owner is current_user():
        shown["variables"] = [_show_variable(variable) for variable in schedule.variables]
    return shown


def _read(api: Api, entities: Entities) -> None:
    @api.action("GET", BASE, REPORTER)
    def list_schedules(project: Project) -> Response:
        scope = choice(request.args, "scope", ("active", "inactive"))
        schedules = [each for each in project.schedules if scope in (None, "active" if each.active else "inactive")]
        return page_of(schedules, entities.schedule)

    @api.action("GET", f"{BASE}/:key", REPORTER)
    def get_schedule(project: Project, key: str) -> Json:
        return _show(entities, schedule_of(project, key))

    @api.action("GET", f"{BASE}/:key/pipelines", REPORTER)
    def pipelines_of_schedule(project: Project, key: str) -> Response:
        schedule = schedule_of(project, key)
        for name in ("scope", "updated_before", "updated_after", "created_before", "created_after"):
            if name in request.args:
                raise lacking(f"`{name}` of a schedule's pipelines")
        status, sort = request.args.get("status"), choice(request.args, "sort", ("asc", "desc"), "asc")
        pipelines = [each for each in project.pipelines if each.schedule is schedule and status in (None, each.status)]
        return page_of(pipelines[::-1] if sort == "desc" else pipelines, entities.basic_pipeline)


def _full_ref(project: Project, ref: str) -> str:
    """A branch's or tag's full name. Raises 400 for one that there is not, or that is both."""
    repository = project.repository
    name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    kinds = [kind for kind in ("heads", "tags") if name in repository.names(kind) and f"refs/{kind}/{name}" in (
        ref, f"refs/{kind}/{ref}"
    )]  # fmt: skip
    if len(kinds) != 1:
        raise ApiError(400, {"ref": ["is ambiguous" if kinds else "can't be found"]})
    return f"refs/{kinds[0]}/{name}"


def _inputs(before: dict[str, Any], data: Json) -> dict[str, Any]:
    inputs = dict(before)
    for row in rows(data, "inputs", "name"):
        if boolean(row, "_destroy") or boolean(row, "destroy"):
            inputs.pop(str(row["name"]), None)
        elif "value" not in row:
            raise bad_parameter("inputs[0][value] is missing")
        else:
            inputs[str(row["name"])] = row["value"]
    return inputs


def _change(project: Project, schedule: Schedule, data: Json) -> None:
    """Set what the request says, after all of it was looked at. Raises ApiError."""
    cron, zone = data.get("cron") or schedule.cron, data.get("cron_timezone") or schedule.zone
    try:
        due = next_run(cron, zone, now())
    except InvalidSchedule as error:
        raise ApiError(400, {error.field: [str(error)]}) from error
    ref = _full_ref(project, data["ref"]) if data.get("ref") else schedule.ref
    active, inputs = boolean(data, "active", schedule.active), _inputs(schedule.inputs, data)
    schedule.description = data.get("description") or schedule.description
    schedule.cron, schedule.zone, schedule.next_run_at = cron, zone, due
    schedule.ref, schedule.active, schedule.inputs, schedule.updated_at = ref, active, inputs, now()


def _write(api: Api, entities: Entities) -> None:
    @api.action("POST", BASE, DEVELOPER, status=201)
    def create_schedule(project: Project) -> Json:
        data = parameters()
        description, ref, cron = required(data, "description", "ref", "cron")
        with api.store.lock:
            schedule = Schedule(0, description, ref, cron, "UTC", current_user())
            _change(project, schedule, data)
            schedule.id = api.store.next_id("schedule")
            project.schedules.append(schedule)
        api.engine.clock.look_again()
        return _show(entities, schedule)

    @api.action("PUT", f"{BASE}/:key", DEVELOPER)
    def update_schedule(project: Project, key: str) -> Json:
        with api.store.lock:
            schedule = _changed(project, key)
            _change(project, schedule, parameters())
        api.engine.clock.look_again()
        return _show(entities, schedule)

    @api.action("DELETE", f"{BASE}/:key", DEVELOPER)
    def delete_schedule(project: Project, key: str) -> None:
        with api.store.lock:
            project.schedules.remove(_administered(api, project, key))

    @api.action("POST", f"{BASE}/:key/take_ownership", DEVELOPER)
    def take_ownership(project: Project, key: str) -> Response:
        schedule = _administered(api, project, key)
        status = 200 if schedule.owner is current_user() else 201
        schedule.owner = current_user()
        return make_response(_show(entities, schedule), status)


def _play(api: Api) -> None:
    @api.action("POST", f"{BASE}/:key/play", DEVELOPER, status=201)
    def play(project: Project, key: str) -> Json:
        schedule = schedule_of(project, key)
        if not api.store.may_run(current_user(), project, schedule.ref.split("/", 2)[2], tag="/tags/" in schedule.ref):
            raise forbidden()
        api.engine.run_schedule(project, schedule)
        return {"message": "201 Created"}


def _may_set_variables(api: Api, project: Project) -> None:
    if not api.store.may_set_variables(current_user(), project):
        raise forbidden()


def _variables(api: Api) -> None:
    def variable_of(schedule: Schedule, name: str) -> Variable:
        variable = next((variable for variable in schedule.variables if variable.key == name), None)
        if variable is None:
            raise not_found("Pipeline Schedule Variable")
        return variable

    def change(variable: Variable, data: Json) -> None:
        variable.variable_type = choice(data, "variable_type", ("env_var", "file"), variable.variable_type)
        variable.value = str(data.get("value", variable.value))

    @api.action("POST", f"{BASE}/:key/variables", DEVELOPER, status=201)
    def create_variable(project: Project, key: str) -> Json:
        data = parameters()
        missing = [name for name in ("key", "value") if data.get(name) is None]
        if missing:
            raise bad_parameter(", ".join(f"{name} is missing" for name in missing))
        with api.store.lock:
            _may_set_variables(api, project)
            schedule = _changed(project, key)
            if any(variable.key == data["key"] for variable in schedule.variables):
                raise ApiError(400, {"key": [f"({data['key']}) has already been taken"]})
            variable = Variable(data["key"], "")
            change(variable, data)
            schedule.variables.append(variable)
        return _show_variable(variable)

    @api.action("GET", f"{BASE}/:key/variables/:name", DEVELOPER)
    def get_variable(project: Project, key: str, name: str) -> Json:
        return _show_variable(variable_of(_administered(api, project, key), name))

    @api.action("PUT", f"{BASE}/:key/variables/:name", DEVELOPER)
    def update_variable(project: Project, key: str, name: str) -> Json:
        _may_set_variables(api, project)
        variable = variable_of(_changed(project, key), name)
        change(variable, parameters())
        return _show_variable(variable)

    @api.action("DELETE", f"{BASE}/:key/variables/:name", DEVELOPER, status=202)
    def delete_variable(project: Project, key: str, name: str) -> Json:
        _may_set_variables(api, project)
        schedule = _administered(api, project, key)
        variable = variable_of(schedule, name)
        schedule.variables.remove(variable)
        return _show_variable(variable)
