"""Members of projects and groups: https://docs.gitlab.com/api/members/."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from sandbox.gitlab.records.store import MAINTAINER, OWNER, Group, Project, User
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    ApiError,
    Json,
    choice,
    integer,
    lacking,
    not_found,
    parameters,
    required,
)
from sandbox.gitlab.rest.resources import Resource, add_resource, page_of

_LEVELS = (5, 10, 15, 20, 30, 40, 50)


Member = tuple[Project | Group, User, int]


def register(api: Api, entities: Entities) -> None:
    """Add both kinds: a project's Maintainers and a group's Owners change them."""
    for path, level in (("/projects/:project", MAINTAINER), ("/groups/:group", OWNER)):
        _add(api, entities, path, level)


def _selected(members: list[Member]) -> list[Member]:
    text = request.args.get("query", "").lower()
    numbers = request.args.get("user_ids") or request.args.getlist("user_ids[]")
    if isinstance(numbers, str):
        numbers = numbers.split(",")
    return [
        member
        for member in members
        if text in f"{member[1].username} {member[1].name}".lower() and (not numbers or str(member[1].id) in numbers)
    ]


def _level_of(data: Json) -> int:
    """The access level that a request names, which was looked for. Raises ApiError."""
    if data.get("expires_at"):
        raise lacking("members whose membership ends (`expires_at`)")
    number = integer(data, "access_level")
    choice({"access_level": number}, "access_level", _LEVELS)
    assert number is not None  # noqa: S101 - whoever calls has seen to it
    return number


def _delete(source: Project | Group, member: Member) -> None:
    source.members.pop(member[1].id)


def _find(members: list[Member], key: str) -> Member | None:
    return next((member for member in members if str(member[1].id) == key), None)


def _add(api: Api, entities: Entities, path: str, write: int) -> None:
    store = api.store

    def user_of(number: Any) -> User:
        user = next((user for user in store.users if str(user.id) == str(number)), None)
        if user is None:
            raise not_found("User")
        return user

    def members(source: Project | Group) -> list[Member]:
        return [(source, user_of(number), level) for number, level in source.members.items()]

    def show(member: Member) -> Json:
        return entities.member(member[1:], member[0])

    def create(source: Project | Group, data: Json) -> Member:
        required(data, "access_level", "user_id")
        if "," in str(data["user_id"]):
            raise lacking("several members at once")
        level, user = _level_of(data), user_of(integer(data, "user_id"))
        if user.id in source.members:
            raise ApiError(409, "Member already exists")
        source.members[user.id] = level
        return source, user, level

    @api.action("GET", f"{path}/members/all")
    def all_members(**scope: Any) -> Response:
        source = next(iter(scope.values()))
        groups = (source.group.lineage() if source.group else []) if isinstance(source, Project) else source.lineage()
        highest: dict[User, Member] = {}
        for member in [member for each in dict.fromkeys([*groups[::-1], source]) for member in members(each)]:
            if member[1] not in highest or member[2] >= highest[member[1]][2]:
                highest[member[1]] = member
        return page_of(_selected(list(highest.values())), show)

    add_resource(
        api,
        Resource(
            f"{path}/members", "", lambda source: _selected(members(source)), show, all_items=members, find=_find,
            create=create, delete=_delete, write=write,
        ),
    )  # fmt: skip

    @api.action("PUT", f"{path}/members/:key", write)
    def change(key: str, **scope: Any) -> Json:
        source = next(iter(scope.values()))
        with store.lock:
            member = _find(members(source), key)
            if member is None:
                raise not_found()
            data = parameters()
            required(data, "access_level")
            level = source.members[member[1].id] = _level_of(data)
        return show((source, member[1], level))
