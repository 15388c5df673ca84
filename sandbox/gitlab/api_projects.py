"""REST resources around projects: users, groups, projects, members, variables, tokens, triggers, environments."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

from flask import Response, request

from sandbox.gitlab.api import (
    Api,
    ApiError,
    Json,
    Resource,
    add_resource,
    boolean,
    current_user,
    not_found,
    page_of,
    parameters,
    required,
)
from sandbox.gitlab.entities import Entities
from sandbox.gitlab.repositories import Action, Repository
from sandbox.gitlab.store import (
    GUEST,
    MAINTAINER,
    OWNER,
    Environment,
    Group,
    Project,
    ProtectedBranch,
    Trigger,
    User,
    Variable,
    now,
)

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?<!\.git)(?<!\.atom)(?<!\.)")
_VARIABLE_KEY = re.compile(r"[A-Za-z0-9_]{1,255}")
_MASKABLE = re.compile(r"[a-zA-Z0-9_+=/@:.~-]{8,}")  # a raw value may hold anything but white space
_SUBJECT_PROJECT = ("project_path", "project_id")
_SUBJECT_COMPONENTS = (
    *_SUBJECT_PROJECT, "ref_type", "ref", "ref_protected", "environment_protected", "deployment_tier"
)  # fmt: skip
_ROLES = ("no_one_allowed", "developer", "maintainer", "owner")
_SCOPES = {
    "api", "read_api", "read_user", "read_repository", "write_repository", "read_registry", "write_registry",
    "create_runner", "manage_runner", "ai_features", "k8s_proxy", "self_rotate",
}  # fmt: skip


def register(api: Api, entities: Entities) -> None:
    """Add every resource of this module."""
    store = api.store

    @api.action("GET", "/user")
    def user() -> Json:
        return entities.full_user(current_user())

    # --- users, groups, namespaces ----------------------------------------------------------------------------------

    @api.action("POST", "/users", status=201)
    def create_user() -> Json:
        data = parameters()
        if not current_user().admin:
            raise ApiError(403, "403 Forbidden")
        username, name = required(data, "username", "name")
        if any(user.username == username for user in store.users):
            raise ApiError(409, "Username has already been taken")
        return entities.full_user(store.add_user(username, name, admin=boolean(data, "admin")))

    def visible_groups(_: None) -> list[Group]:
        found = [g for g in store.groups if g.visibility != "private" or store.access_level(current_user(), g)]
        text = request.args.get("search", "").lower()
        return [group for group in found if text in group.full_path.lower() or text in group.name.lower()]

    def create_group(_: None, data: Json) -> Group:
        name, path = required(data, "name", "path")
        parent = store.find_group(str(data["parent_id"])) if data.get("parent_id") else None
        if parent is not None and store.access_level(current_user(), parent) < MAINTAINER:
            raise ApiError(403, "403 Forbidden")
        full_path = f"{parent.full_path}/{path}" if parent else path
        taken = any(g.full_path == full_path for g in store.groups) or any(u.username == full_path for u in store.users)
        if taken or not _PATH.fullmatch(path):
            raise ApiError(
                400, f'Failed to save group {{:path=>["{"has already been taken" if taken else "is invalid"}"]}}'
            )
        group = Group(store.next_id("namespace"), name, path, full_path, parent, data.get("visibility", "private"))
        group.members[current_user().id] = OWNER
        store.groups.append(group)
        return group

    @api.action("POST", "/groups", status=201)
    def post_group() -> Json:
        with store.lock:
            return entities.group(create_group(None, parameters()))

    @api.action("GET", "/groups/:group")
    def get_group(group: Group) -> Json:
        return entities.group(group)

    @api.action("GET", "/groups/:group/projects")
    def group_projects(group: Group) -> Response:
        return page_of([project for project in store.projects if project.group is group], entities.project)

    def namespaces(_: None) -> list[Group | User]:
        found: list[Group | User] = [current_user(), *visible_groups(None)]
        text = request.args.get("search", "").lower()
        return [n for n in found if text in (n.full_path if isinstance(n, Group) else n.username).lower()]

    def find_namespace(items: list[Group | User], key: str) -> Group | User | None:
        shown = ((item, entities.namespace(item)) for item in items)
        return next((item for item, json in shown if key in (str(json["id"]), json["full_path"])), None)

    add_resource(api, Resource("/namespaces", "Namespace", namespaces, entities.namespace, find=find_namespace))

    # --- projects ---------------------------------------------------------------------------------------------------

    def visible_projects() -> list[Project]:
        found = []
        for project in store.projects:
            level = store.access_level(current_user(), project)
            if not level and (project.visibility == "private" or boolean(request.args, "membership")):
                continue
            if boolean(request.args, "owned") and level < OWNER:
                continue
            if request.args.get("search", "").lower() in f"{project.path} {project.name}".lower():
                found.append(project)
        return found[::-1]

    @api.action("GET", "/projects")
    def list_projects() -> Response:
        return page_of(visible_projects(), entities.project)

    def namespace_for(data: Json) -> Group | User:
        wanted = data.get("namespace_id")
        if wanted is None or str(wanted) == str(current_user().namespace_id):
            return current_user()
        group = store.find_group(str(wanted))
        if group is None or store.access_level(current_user(), group) < MAINTAINER:
            raise ApiError(400, {"namespace": ["is not valid"]})
        return group

    def is_taken(namespace: Group | User, path: str) -> bool:
        return any(project.namespace is namespace and project.path == path for project in store.projects)

    @api.action("POST", "/projects", status=201)
    def create_project() -> Json:
        data = parameters()
        if not (data.get("name") or data.get("path")):
            raise ApiError(400, "name, path are missing, at least one parameter must be provided", key="error")
        with store.lock:
            namespace = namespace_for(data)
            name = data.get("name") or data["path"]
            path = data.get("path") or re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.")
            if not _PATH.fullmatch(path):
                raise ApiError(400, {"path": ["can contain only letters, digits, '_', '-' and '.'."]})
            if is_taken(namespace, path):
                taken = ["has already been taken"]
                raise ApiError(400, {"project_namespace.name": taken, "name": taken, "path": taken})
            number = store.next_id("project")
            repository = Repository(store.folder / "repositories" / f"{number}.git")
            repository.create()
            project = Project(number, name, path, namespace, current_user(), repository)
            change_project(project, data)
            store.projects.append(project)
        if boolean(data, "initialize_with_readme"):
            who = {"name": current_user().name, "email": current_user().email}
            readme = Action("create", "README.md", content=f"# {name}\n".encode())
            repository.write(project.default_branch, None, [readme], "Initial commit", who)
            store.protect(project, project.default_branch)
        return entities.project(project)

    def change_project(project: Project, data: Json) -> None:
        if data.get("visibility", "private") not in ("private", "internal", "public"):
            raise ApiError(400, "visibility does not have a valid value", key="error")
        role = data.get("ci_pipeline_variables_minimum_override_role", "no_one_allowed")
        if role not in _ROLES:
            raise ApiError(400, "ci_pipeline_variables_minimum_override_role does not have a valid value", key="error")
        components = data.get("ci_id_token_sub_claim_components", ["project_path"])
        if components[:1] not in ([name] for name in _SUBJECT_PROJECT):
            message = f"{' or '.join(_SUBJECT_PROJECT)} must be the first element of the sub claim"
            raise ApiError(400, {"ci_cd_settings.id_token_sub_claim_components": [message]})
        if unknown := [name for name in components if name not in _SUBJECT_COMPONENTS]:
            message = f"{unknown[0]} is not an allowed sub claim component"
            raise ApiError(400, {"ci_cd_settings.id_token_sub_claim_components": [message]})
        for name in (
            "name",
            "description",
            "visibility",
            "default_branch",
            "ci_pipeline_variables_minimum_override_role",
            "ci_id_token_sub_claim_components",
        ):
            if name in data:
                setattr(project, name, data[name])
        if "build_timeout" in data:
            project.build_timeout = int(data["build_timeout"])
        if "ci_forward_deployment_enabled" in data:
            project.ci_forward_deployment_enabled = boolean(data, "ci_forward_deployment_enabled")
        if project.repository.refs():
            project.repository.git("symbolic-ref", "HEAD", f"refs/heads/{project.default_branch}")

    @api.action("GET", "/projects/:project")
    def get_project(project: Project) -> Json:
        permissions = {
            "project_access": {"access_level": store.access_level(current_user(), project)},
            "group_access": None,
        }
        return entities.project(project) | {"permissions": permissions}

    @api.action("PUT", "/projects/:project", MAINTAINER)
    def update_project(project: Project) -> Json:
        data = parameters()
        with store.lock:
            if (path := data.get("path", project.path)) != project.path:
                if is_taken(project.namespace, path):
                    raise ApiError(400, {"path": ["has already been taken"]})
                store.vacate(project)
                project.path = path
            change_project(project, data)
        return entities.project(project)

    @api.action("PUT", "/projects/:project/transfer", OWNER)
    def transfer_project(project: Project) -> Json:
        (wanted,) = required(parameters(), "namespace")
        with store.lock:
            namespace = find_namespace(namespaces(None), str(wanted))
            if namespace is None:
                raise not_found("Namespace")
            if is_taken(namespace, project.path):
                raise ApiError(400, "Project with same name or path in target namespace already exists")
            store.vacate(project)
            project.namespace = namespace
        return entities.project(project)

    @api.action("DELETE", "/projects/:project", OWNER, status=202)
    def delete_project(project: Project) -> Json:
        for pipeline in list(project.pipelines):
            api.engine.cancel(pipeline)
        with store.lock:
            store.vacate(project)
            store.projects.remove(project)
        return {"message": "202 Accepted"}

    # --- settings of projects and groups ----------------------------------------------------------------------------

    def create_protected_branch(project: Project, data: Json) -> ProtectedBranch:
        (name,) = required(data, "name")
        if any(branch.name == name for branch in project.protected_branches):
            raise ApiError(409, f"Protected branch '{name}' already exists")
        levels = {key: int(data[key]) for key in ("push_access_level", "merge_access_level") if key in data}
        return store.protect(project, name, **levels, allow_force_push=boolean(data, "allow_force_push"))

    add_resource(
        api,
        Resource(
            "/projects/:project/protected_branches", "", lambda project: project.protected_branches,
            entities.protected_branch, key="name", create=create_protected_branch,
            delete=lambda project, branch: project.protected_branches.remove(branch),
        ),
    )  # fmt: skip
    add_resource(
        api,
        Resource(
            "/projects/:project/triggers", "Trigger",
            lambda project: [trigger for trigger in project.triggers if not store.has_gone(trigger.owner)],
            entities.trigger,
            create=lambda project, data: _create_trigger(store.next_id("trigger"), project, data),
            delete=lambda project, trigger: project.triggers.remove(trigger), read=MAINTAINER,
        ),
    )  # fmt: skip
    for scope in ("/projects/:project", "/groups/:group"):
        add_resource(
            api,
            Resource(
                f"{scope}/variables", "Variable", lambda source: source.variables, entities.variable,
                find=_find_variable, create=_create_variable, update=_update_variable,
                delete=lambda source, variable: source.variables.remove(variable), read=MAINTAINER,
            ),
        )  # fmt: skip
        add_resource(
            api,
            Resource(
                f"{scope}/access_tokens", "Access Token", lambda source: source.tokens, entities.token,
                create=lambda source, data: _create_bot_token(api, source, data),
                show_created=lambda token: entities.token(token) | {"token": token.value},
                delete=lambda source, token: setattr(token, "revoked", True), read=MAINTAINER,
            ),
        )  # fmt: skip
        _register_members(api, entities, scope)

    @api.action("POST", "/users/:user_id/personal_access_tokens", status=201)
    def create_personal_token(user_id: str) -> Json:
        user = next((user for user in store.users if str(user.id) == user_id), None)
        if user is None or not current_user().admin:
            raise not_found("User")
        data = parameters()
        name, scopes = required(data, "name", "scopes")
        token = store.add_token(user, name, _scopes(scopes), expires_at=_expiry(data))
        return entities.token(token) | {"token": token.value}

    # --- environments -----------------------------------------------------------------------------------------------

    def environments(project: Project) -> list[Environment]:
        name = request.args.get("name")
        return [environment for environment in project.environments if name in (None, environment.name)]

    def show_environment(environment: Environment) -> Json:
        deployments = [d for p in store.projects for d in p.deployments if d.environment is environment]
        done = [deployment for deployment in deployments if deployment.status == "success"]
        last = max(done, key=lambda deployment: deployment.id, default=None)
        return entities.environment(environment) | {"last_deployment": entities.deployment(last) if last else None}

    add_resource(
        api,
        Resource("/projects/:project/environments", "Environment", environments, show_environment),
    )

    def deployments(project: Project) -> list[Any]:
        name, status = request.args.get("environment"), request.args.get("status")
        found = [
            deployment
            for deployment in project.deployments
            if name in (None, deployment.environment.name) and status in (None, deployment.status)
        ]
        return found[::-1] if request.args.get("sort") == "desc" else found

    add_resource(api, Resource("/projects/:project/deployments", "Deployment", deployments, entities.deployment))


def _create_trigger(number: int, project: Project, data: Json) -> Trigger:
    (description,) = required(data, "description")
    trigger = Trigger(number, description, current_user())
    project.triggers.append(trigger)
    return trigger


# --- variables ------------------------------------------------------------------------------------------------------


def _find_variable(variables: list[Variable], key: str) -> Variable | None:
    scope = request.args.get("filter[environment_scope]") or (parameters().get("filter") or {}).get("environment_scope")
    found = [v for v in variables if v.key == key and scope in (None, v.environment_scope)]
    if len(found) > 1:
        raise ApiError(
            409, "There are multiple variables with provided parameters. Please use 'filter[environment_scope]'"
        )
    return found[0] if found else None


def _create_variable(source: Project | Group, data: Json) -> Variable:
    key, _ = required({**data, "value": data.get("value") or " "}, "key", "value")
    variable = Variable(str(key), "")
    hidden = boolean(data, "masked_and_hidden")
    _update_variable(variable, data | ({"masked": True} if hidden else {}))
    variable.hidden = hidden
    if not _VARIABLE_KEY.fullmatch(variable.key):
        raise ApiError(400, {"key": ["can contain only letters, digits and '_'."]})
    if any(v.key == key and v.environment_scope == variable.environment_scope for v in source.variables):
        raise ApiError(400, {"key": [f"({key}) has already been taken"]})
    source.variables.append(variable)
    return variable


def _update_variable(variable: Variable, data: Json) -> None:
    value = str(data.get("value", variable.value))
    masked, raw = boolean(data, "masked", variable.masked), boolean(data, "raw", variable.raw)
    maskable = re.fullmatch(r"\S{8,}", value) if raw else _MASKABLE.fullmatch(value)
    if masked and not maskable:
        raise ApiError(400, {"value": ["is invalid"]})
    kind = data.get("variable_type", variable.variable_type)
    if kind not in ("env_var", "file"):
        raise ApiError(400, "variable_type does not have a valid value", key="error")
    variable.value, variable.masked, variable.raw, variable.variable_type = value, masked, raw, kind
    variable.protected = boolean(data, "protected", variable.protected)
    variable.environment_scope = data.get("environment_scope", variable.environment_scope)
    variable.description = data.get("description", variable.description)


# --- access tokens --------------------------------------------------------------------------------------------------


def _scopes(scopes: Any) -> list[str]:
    wanted = scopes if isinstance(scopes, list) else str(scopes).split(",")
    if not set(wanted) <= _SCOPES:
        raise ApiError(400, {"scopes": ["can only contain available scopes"]})
    return list(wanted)


def _expiry(data: Json) -> date:
    text = data.get("expires_at")
    return date.fromisoformat(text) if text else now().date() + timedelta(days=365)


def _create_bot_token(api: Api, source: Project | Group, data: Json) -> Any:
    name, scopes = required(data, "name", "scopes")
    level = int(data.get("access_level", MAINTAINER))
    kind = "project" if isinstance(source, Project) else "group"
    bot = api.store.add_user(f"{kind}_{source.id}_bot_{len(api.store.users)}", name, bot=True)
    source.members[bot.id] = level
    token = api.store.add_token(bot, name, _scopes(scopes), source=source, access_level=level, expires_at=_expiry(data))
    source.tokens.append(token)
    return token


# --- members --------------------------------------------------------------------------------------------------------


def _register_members(api: Api, entities: Entities, scope: str) -> None:
    def user_of(number: Any) -> User:
        user = next((user for user in api.store.users if str(user.id) == str(number)), None)
        if user is None:
            raise not_found("User")
        return user

    def items(source: Project | Group) -> list[tuple[User, int]]:
        return [(user_of(number), level) for number, level in source.members.items()]

    def show(member: tuple[User, int]) -> Json:
        return entities.user(member[0]) | {"access_level": member[1], "expires_at": None}

    def create(source: Project | Group, data: Json) -> tuple[User, int]:
        number, level = required(data, "user_id", "access_level")
        user = user_of(number)
        if user.id in source.members:
            raise ApiError(409, "Member already exists")
        source.members[user.id] = int(level)
        return user, int(level)

    add_resource(
        api,
        Resource(
            f"{scope}/members", "Member", items, show, create=create, read=GUEST,
            find=lambda members, key: next((m for m in members if str(m[0].id) == key), None),
            delete=lambda source, member: source.members.pop(member[0].id),
        ),
    )  # fmt: skip
