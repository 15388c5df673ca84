"""Projects and their settings: https://docs.gitlab.com/api/projects/."""

from __future__ import annotations

import re
from typing import Any

from flask import Response, request

from sandbox.gitlab.records import project_settings
from sandbox.gitlab.records.git import Action, Repository
from sandbox.gitlab.records.store import MAINTAINER, OWNER, Group, Project, User, now
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.groups import PATH, VISIBILITIES, find_namespace, namespaces
from sandbox.gitlab.rest.parameters import (
    ApiError,
    Json,
    bad_parameter,
    boolean,
    choice,
    forbidden,
    integer,
    lacking,
    not_found,
    parameters,
    required,
)
from sandbox.gitlab.rest.resources import in_order, page_of

_NAME = re.compile(r"[\w\U0001F300-\U0001FAFF][\w\U0001F300-\U0001FAFF .+()\-]{0,254}")
_SUBJECT_PROJECT = ("project_path", "project_id")
_SUBJECT_COMPONENTS = (
    *_SUBJECT_PROJECT, "ref_type", "ref", "ref_protected", "environment_protected", "deployment_tier"
)  # fmt: skip
_ROLES = ("no_one_allowed", "developer", "maintainer", "owner")
_SUBJECT = "ci_cd_settings.id_token_sub_claim_components"
_OVERRIDE = "ci_pipeline_variables_minimum_override_role"
_OTHERS = (
    "build_timeout", "ci_forward_deployment_enabled", "ci_id_token_sub_claim_components", _OVERRIDE, "default_branch",
    "description", "name", "path", "visibility",
)  # fmt: skip


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    _read(api, entities)
    _create(api, entities)
    _change(api, entities)
    _delete(api, entities)


def show(api: Api, entities: Entities, project: Project) -> Json:
    """A project as the caller sees it."""
    administers = api.store.access_level(current_user(), project) >= MAINTAINER
    return entities.project(project, current_user(), may_administer=administers)


def _read(api: Api, entities: Entities) -> None:
    store = api.store

    def permissions(project: Project) -> Json:
        """The roles of the caller's own memberships: an administrator may have none."""

        def access(level: int | None) -> Json | None:
            return {"access_level": level, "notification_level": 3} if level else None

        number = current_user().id
        groups = project.group.lineage() if project.group else []
        direct_level = OWNER if project.namespace is current_user() else project.members.get(number)
        highest = max((group.members.get(number, 0) for group in groups), default=0)
        return {"project_access": access(direct_level), "group_access": access(highest)}

    def is_listed(project: Project) -> bool:
        level = store.access_level(current_user(), project)
        if not level and (project.visibility == "private" or boolean(request.args, "membership")):
            return False
        if boolean(request.args, "owned") and level < OWNER:
            return False
        if level < (integer(request.args, "min_access_level", 0) or 0):
            return False
        if project.marked_for_deletion_on and not boolean(request.args, "include_pending_delete"):
            return False
        if boolean(request.args, "archived"):
            return False
        if choice(request.args, "visibility", VISIBILITIES, project.visibility) != project.visibility:
            return False
        names = f"{project.path} {project.name}"
        if boolean(request.args, "search_namespaces"):
            names += f" {project.full_path}"
        return request.args.get("search", "").lower() in names.lower()

    def row(project: Project) -> Json:
        if boolean(request.args, "simple"):
            return entities.basic_project(project)
        return show(api, entities, project) | {"permissions": permissions(project)}

    @api.action("GET", "/projects")
    def list_projects() -> Response:
        projects = [project for project in store.projects if is_listed(project)]

        def number(project: Project) -> int:
            return project.id

        fields: dict[str, Any] = {
            "id": number,
            "created_at": number,
            "name": lambda project: project.name.lower(),
            "path": lambda project: project.path.lower(),
            "updated_at": lambda project: project.updated_at,
            "last_activity_at": lambda project: project.updated_at,
        }
        return page_of(in_order(projects, fields, "created_at", "desc"), row)

    @api.action("GET", "/projects/:project")
    def get_project(project: Project) -> Json:
        return show(api, entities, project) | {"permissions": permissions(project)}


def _is_taken(api: Api, namespace: Group | User, path: str) -> bool:
    return any(project.namespace is namespace and project.path == path for project in api.store.projects)


def _create(api: Api, entities: Entities) -> None:
    store = api.store

    def namespace_for(data: Json) -> Group | User:
        number = integer(data, "namespace_id")
        if number is None or number == current_user().namespace_id:
            return current_user()
        group = store.find_group(str(number))
        if group is None or store.access_level(current_user(), group) < MAINTAINER:
            raise ApiError(400, {"namespace": ["is not valid"]})
        return group

    @api.action("POST", "/projects", status=201)
    def create_project() -> Json:
        data = parameters()
        if not (data.get("name") or data.get("path")):
            raise bad_parameter("name, path are missing, at least one parameter must be provided")
        for name in ("template_name", "import_url", "use_custom_template"):
            if data.get(name):
                raise lacking(f"projects made with `{name}`")
        if data.get("repository_object_format", "sha1") != "sha1":
            raise lacking("repositories with SHA-256")
        with store.lock:
            namespace = namespace_for(data)
            name = data.get("name") or data["path"]
            path = data.get("path") or re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.")
            if not _NAME.fullmatch(name):
                message = (
                    "can contain only letters, digits, emoji, '_', '.', '+', dashes, or spaces. "
                    "It must start with a letter, digit, emoji, or '_'."
                )
                raise ApiError(400, {"name": [message]})
            if not PATH.fullmatch(path):
                raise ApiError(400, {"path": ["can contain only letters, digits, '_', '-' and '.'."]})
            if _is_taken(api, namespace, path):
                messages = ["has already been taken"]
                raise ApiError(400, {"project_namespace.name": messages, "name": messages, "path": messages})
            number = store.next_id("project")
            repository = Repository(store.folder / "repositories" / f"{number}.git")
            project = Project(number, name, path, namespace, current_user(), repository)
            changes = _changes(project, data, OWNER)
            repository.create()
            _apply(project, changes)
            store.projects.append(project)
        if boolean(data, "initialize_with_readme"):
            who = {"name": current_user().name, "email": current_user().email}
            readme = Action("create", "README.md", content=f"# {name}\n".encode())
            repository.write(project.default_branch, None, [readme], "Initial commit", who)
            store.protect(project, project.default_branch)
        return show(api, entities, project)


def _changes(project: Project, data: Json, level: int) -> Json:
    """What a request asks to be set, looked at whole before anything is. Raises ApiError."""
    changes: Json = {name: data[name] for name in ("name", "description", "default_branch") if name in data}
    if "visibility" in data:
        changes["visibility"] = choice(data, "visibility", VISIBILITIES)
    if _OVERRIDE in data:
        changes[_OVERRIDE] = _override_role(project, choice(data, _OVERRIDE, _ROLES), level)
    if "ci_id_token_sub_claim_components" in data:
        changes["ci_id_token_sub_claim_components"] = _subject(data["ci_id_token_sub_claim_components"])
    if "ci_forward_deployment_enabled" in data:
        changes["ci_forward_deployment_enabled"] = boolean(data, "ci_forward_deployment_enabled")
    for name, (least, most) in project_settings.RANGES.items():
        number = integer(data, name)
        if number is not None and not least <= number <= most:
            raise ApiError(400, {name: [f"must be between {least} and {most}"]})
    if (seconds := integer(data, "build_timeout")) is not None:
        changes["build_timeout"] = seconds
    heads = project.repository.names("heads") if project.repository.path.exists() else {}
    if heads and data.get("default_branch", project.default_branch) not in heads:
        raise ApiError(400, "Could not set the default branch")
    return changes | {"settings": _settings(project, data)}


def _override_role(project: Project, role: str, level: int) -> str:
    """To `owner`, and from it or from `no_one_allowed`, is for Owners alone.

    https://docs.gitlab.com/ci/variables/#restrict-pipeline-variables, app/services/projects/update_service.rb
    """
    before = project.ci_pipeline_variables_minimum_override_role
    if role != before and level < OWNER:
        if role == "owner":
            raise ApiError(400, f"Changing the {_OVERRIDE} to the owner role is not allowed")
        if before in ("owner", "no_one_allowed"):
            raise ApiError(400, f"Changing the restrict_user_defined_variables or {_OVERRIDE} is not allowed")
    return role


def _settings(project: Project, data: Json) -> Json:
    changes: Json = {}
    for name, default in project_settings.DEFAULTS.items():
        if name not in data:
            continue
        value = data[name]
        if name in project_settings.VALUES:
            value = choice(data, name, project_settings.VALUES[name])
        elif isinstance(default, bool):
            value = boolean(data, name)
        elif isinstance(default, int) or name in project_settings.RANGES:
            value = integer(data, name)
        elif isinstance(default, list) and not isinstance(value, list):
            value = [part.strip() for part in str(value).split(",")]
        if name in project_settings.LACKING and (value or None) != (default or None):
            raise lacking(f"the setting `{name}`")
        changes[name] = value
    return project.settings | changes


def _subject(components: Any) -> list[str]:
    if not isinstance(components, list):
        raise bad_parameter("ci_id_token_sub_claim_components is invalid")
    if not components:
        raise ApiError(400, {_SUBJECT: ["is too short (minimum is 1 character)"]})
    if components[0] not in _SUBJECT_PROJECT:
        message = f"{' or '.join(_SUBJECT_PROJECT)} must be the first element of the sub claim"
        raise ApiError(400, {_SUBJECT: [message]})
    if unknown := [name for name in components if name not in _SUBJECT_COMPONENTS]:
        raise ApiError(400, {_SUBJECT: [f"{unknown[0]} is not an allowed sub claim component"]})
    return components


def _apply(project: Project, changes: Json) -> None:
    for name, value in changes.items():
        setattr(project, name, value)
    project.updated_at = now()
    if project.repository.refs():
        project.repository.git("symbolic-ref", "HEAD", f"refs/heads/{project.default_branch}")


def _change(api: Api, entities: Entities) -> None:
    store = api.store

    @api.action("PUT", "/projects/:project", MAINTAINER)
    def update_project(project: Project) -> Json:
        data = parameters()
        if not set(data) & {*_OTHERS, *project_settings.DEFAULTS, "ci_job_token_scope_enabled"}:
            names = ", ".join(sorted({*_OTHERS, *project_settings.DEFAULTS}))
            raise bad_parameter(f"{names} are missing, at least one parameter must be provided")
        with store.lock:
            path = data.get("path", project.path)
            if path != project.path:
                if _is_taken(api, project.namespace, path):
                    raise ApiError(400, {"path": ["has already been taken"]})
                if not PATH.fullmatch(path):
                    raise ApiError(400, {"path": ["can contain only letters, digits, '_', '-' and '.'."]})
            _apply(project, _changes(project, data, store.access_level(current_user(), project)))
            if path != project.path:
                store.vacate(project)
                project.path = path
        return show(api, entities, project)

    @api.action("PUT", "/projects/:project/transfer", OWNER)
    def transfer_project(project: Project) -> Json:
        (name,) = required(parameters(), "namespace")
        with store.lock:
            namespace = find_namespace(namespaces(api), str(name))
            if namespace is None:
                raise not_found("Namespace")
            allowed = isinstance(namespace, User) or store.access_level(current_user(), namespace) >= MAINTAINER
            if _is_taken(api, namespace, project.path) or not allowed:
                raise ApiError(400, "Project with same name or path in target namespace already exists")
            store.vacate(project)
            project.namespace = namespace
        return show(api, entities, project)


def _delete(api: Api, entities: Entities) -> None:
    store = api.store

    @api.action("DELETE", "/projects/:project", OWNER, status=202)
    def delete_project(project: Project) -> Json:
        """Marked first, for a time in which it can be restored; then, when asked once more, gone."""
        data = parameters()
        permanently = boolean(data, "permanently_remove")
        with store.lock:
            if project.marked_for_deletion_on is None and permanently:
                raise ApiError(400, "Project must be marked for deletion first.")
            if project.marked_for_deletion_on and not permanently:
                raise ApiError(400, "Project has been already marked for deletion")
            if permanently and data.get("full_path") != project.full_path:
                raise ApiError(400, "`full_path` is incorrect. You must enter the complete path for the project.")
            for pipeline in list(project.pipelines):
                api.engine.cancel(pipeline)
            store.vacate(project)
            if permanently:
                store.projects.remove(project)
            else:
                project.marked_for_deletion_on = now().date()
                suffix = f"-deletion_scheduled-{project.id}"
                project.name, project.path = project.name + suffix, project.path + suffix
        return {"message": "202 Accepted"}

    @api.action("POST", "/projects/:project/restore", OWNER, status=201)
    def restore_project(project: Project) -> Json:
        with store.lock:
            if project.marked_for_deletion_on is None:
                raise forbidden()
            suffix = f"-deletion_scheduled-{project.id}"
            path = project.path.removesuffix(suffix)
            if _is_taken(api, project.namespace, path):
                raise ApiError(400, {"path": ["has already been taken"]})
            store.vacate(project)
            project.name, project.path = project.name.removesuffix(suffix), path
            project.marked_for_deletion_on = None
        return show(api, entities, project)
