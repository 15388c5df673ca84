"""Groups and namespaces: https://docs.gitlab.com/api/groups/, …/namespaces/."""

from __future__ import annotations

import re
from typing import Any

from flask import Response, request

from sandbox.gitlab.records.store import MAINTAINER, OWNER, Group, Project, User
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    ApiError,
    Json,
    boolean,
    choice,
    forbidden,
    integer,
    not_found,
    parameters,
    required,
)
from sandbox.gitlab.rest.resources import Resource, add_resource, in_order, page_of

PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?<!\.git)(?<!\.atom)(?<!\.)")
VISIBILITIES = ("private", "internal", "public")


def register(api: Api, entities: Entities) -> None:
    """Add the resources."""
    _groups(api, entities)
    _one_group(api, entities)
    _namespaces(api, entities)


def visible_groups(api: Api) -> list[Group]:
    """Those that the caller may see and that match `search`."""
    store, user = api.store, current_user()
    text = request.args.get("search", "").lower()
    return [
        group
        for group in store.groups
        if (group.visibility != "private" or store.access_level(user, group))
        and (text in group.full_path.lower() or text in group.name.lower())
    ]


def _groups(api: Api, entities: Entities) -> None:
    store = api.store

    def level(group: Group) -> int:
        return store.access_level(current_user(), group)

    @api.action("GET", "/groups")
    def list_groups() -> Response:
        groups, least = visible_groups(api), integer(request.args, "min_access_level", 0) or 0
        if boolean(request.args, "owned"):
            least = OWNER
        top = boolean(request.args, "top_level_only")
        shown = [group for group in groups if level(group) >= least and not (top and group.parent)]
        return page_of(in_order(shown, {"name": _name, "path": _name, "id": _id}, "name", "asc"), entities.group)

    @api.action("POST", "/groups", status=201)
    def create_group() -> Json:
        data = parameters()
        name, path = required(data, "name", "path")
        choice(data, "visibility", VISIBILITIES)
        with store.lock:
            parent = None
            if (number := integer(data, "parent_id")) is not None:
                parent = store.find_group(str(number))
                if parent is None:
                    raise not_found("Group")
                if level(parent) < MAINTAINER:
                    raise forbidden()
            elif current_user().bot:
                raise forbidden()
            full_path = f"{parent.full_path}/{path}" if parent else path
            others = {*(group.full_path for group in store.groups), *(user.username for user in store.users)}
            if full_path in others or not PATH.fullmatch(path):
                reason = "has already been taken" if full_path in others else "is invalid"
                raise ApiError(400, f'Failed to save group {{:path=>["{reason}"]}}')
            group = Group(
                store.next_id("namespace"), name, path, full_path, parent, data.get("visibility", "private"),
                data.get("description") or "",
            )  # fmt: skip
            group.members[current_user().id] = OWNER
            store.groups.append(group)
        return entities.group(group)


def _one_group(api: Api, entities: Entities) -> None:
    store = api.store

    def projects_of(group: Group) -> list[Project]:
        below = boolean(request.args, "include_subgroups")
        return [
            project
            for project in store.projects
            if (project.group is group or (below and project.group and group in project.group.lineage()))
            and (project.visibility != "private" or store.access_level(current_user(), project))
            and not project.marked_for_deletion_on
        ]

    def show_project(project: Project) -> Json:
        administers = store.access_level(current_user(), project) >= MAINTAINER
        return entities.project(project, current_user(), may_administer=administers)

    @api.action("GET", "/groups/:group")
    def get_group(group: Group) -> Json:
        shown = entities.group(group) | {"shared_with_groups": []}
        if store.access_level(current_user(), group) >= OWNER:
            shown |= {"runners_token": None}
        if boolean(request.args, "with_projects", True):
            newest = sorted(projects_of(group), key=_id, reverse=True)[:100]
            shown |= {"projects": [show_project(project) for project in newest], "shared_projects": []}
        return shown

    @api.action("GET", "/groups/:group/projects")
    def group_projects(group: Group) -> Response:
        text = request.args.get("search", "").lower()
        projects = [each for each in projects_of(group) if text in f"{each.path} {each.name}".lower()]
        fields = {"created_at": _id, "id": _id, "name": _name, "path": _name, "updated_at": _id}
        return page_of(in_order(projects, fields, "created_at", "desc"), show_project)


def _namespaces(api: Api, entities: Entities) -> None:
    store = api.store

    def show(namespace: Group | User) -> Json:
        if isinstance(namespace, User):
            return entities.namespace(namespace)
        if store.access_level(current_user(), namespace) < OWNER:
            return entities.namespace(namespace)
        groups = [group for group in store.groups if namespace in group.lineage()]
        members = {number for group in groups for number in group.members}
        projects = [project for project in store.projects if project.group in groups]
        return entities.namespace(namespace, len(members), len(projects))

    def every(_: Any) -> list[Group | User]:
        return namespaces(api)

    def listed(_: Any) -> list[Group | User]:
        text = request.args.get("search", "").lower()
        owned, top = boolean(request.args, "owned_only"), boolean(request.args, "top_level_only")
        return [
            each
            for each in namespaces(api)
            if text in (each.full_path if isinstance(each, Group) else each.username).lower()
            and not (isinstance(each, Group) and top and each.parent)
            and not (isinstance(each, Group) and owned and store.access_level(current_user(), each) < OWNER)
        ]

    def show_one(namespace: Group | User) -> Json:
        return entities.namespace(namespace)

    add_resource(
        api, Resource("/namespaces", "Namespace", listed, show, all_items=every, show_one=show_one, find=find_namespace)
    )


def namespaces(api: Api) -> list[Group | User]:
    """The caller's own and the groups it may see."""
    user = current_user()
    groups = [each for each in api.store.groups if each.visibility != "private" or api.store.access_level(user, each)]
    return [user, *groups]


def find_namespace(items: list[Group | User], key: str) -> Group | User | None:
    """By number or full path."""
    for item in items:
        names = (item.id, item.full_path) if isinstance(item, Group) else (item.namespace_id, item.username)
        if key in map(str, names):
            return item
    return None


def _id(record: Any) -> int:
    return int(record.id)


def _name(record: Any) -> str:
    return str(record.name).lower()
