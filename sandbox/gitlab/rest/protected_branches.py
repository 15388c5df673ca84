"""Protected branches: https://docs.gitlab.com/api/protected_branches/."""

from __future__ import annotations

from flask import request

from sandbox.gitlab.records.store import MAINTAINER, Project, ProtectedBranch
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import ApiError, Json, boolean, choice, integer, lacking, required
from sandbox.gitlab.rest.resources import Resource, add_resource

_LEVELS = {
    "push_access_level": (0, 30, 40, 60),
    "merge_access_level": (0, 30, 40, 60),
    "unprotect_access_level": (30, 40, 60),
}
_PREMIUM = (
    "allowed_to_push", "allowed_to_merge", "allowed_to_unprotect", "code_owner_approval_required"
)  # fmt: skip


def register(api: Api, entities: Entities) -> None:
    """Add the resource, which only those may read who may change it."""

    def listed(project: Project) -> list[ProtectedBranch]:
        text = request.args.get("search", "")
        return [branch for branch in project.protected_branches if text in branch.name]

    def create(project: Project, data: Json) -> ProtectedBranch:
        (name,) = required(data, "name")
        _refuse_premium(data)
        levels = {}
        for key, allowed in _LEVELS.items():
            level = integer(data, key, MAINTAINER)
            levels[key] = choice({key: level}, key, allowed)
        if levels.pop("unprotect_access_level") != MAINTAINER:
            raise lacking("levels for who may unprotect a branch")
        if any(branch.name == name for branch in project.protected_branches):
            raise ApiError(409, f"Protected branch '{name}' already exists")
        return api.store.protect(project, name, **levels, allow_force_push=boolean(data, "allow_force_push"))

    def update(branch: ProtectedBranch, data: Json) -> None:
        _refuse_premium(data)
        branch.allow_force_push = boolean(data, "allow_force_push", branch.allow_force_push)

    add_resource(
        api,
        Resource(
            "/projects/:project/protected_branches", "", listed, entities.protected_branch, key="name",
            all_items=lambda project: project.protected_branches, create=create, update=update, update_method="PATCH",
            delete=lambda project, branch: project.protected_branches.remove(branch), read=MAINTAINER,
        ),
    )  # fmt: skip


def _refuse_premium(data: Json) -> None:
    for name in _PREMIUM:
        if data.get(name):
            raise lacking(f"`{name}` of protected branches (Premium)")
