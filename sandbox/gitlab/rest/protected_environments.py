"""Protected environments, of GitLab Premium: https://docs.gitlab.com/api/protected_environments/."""

from __future__ import annotations

from operator import attrgetter

from sandbox.gitlab.records.store import DEVELOPER, MAINTAINER, DeployLevel, Project, ProtectedEnvironment
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import ApiError, Json, bad_parameter, bad_request, integer, lacking, required
from sandbox.gitlab.rest.resources import Resource, add_resource

_LEVELS = (DEVELOPER, MAINTAINER, 60)  # there is no level for "no one", as branches have it
_DEPRECATED = (
    "Parameter 'required_approval_count' is deprecated and shouldn't be used. "
    "See https://gitlab.com/groups/gitlab-org/-/epics/9662"
)


def register(api: Api, entities: Entities) -> None:
    """Add the resource, which only those may read who may change it."""

    def level(row: Json) -> DeployLevel:
        number = api.store.next_id("deploy access level")
        if row.get("group_id"):
            raise lacking("groups that may deploy to a protected environment")
        if user_id := integer(row, "user_id"):
            user = next((each for each in api.store.users if each.id == user_id), None)
            return DeployLevel(number, None, user)
        access = integer(row, "access_level")
        if access not in _LEVELS:
            raise bad_parameter("deploy_access_levels[0][access_level] does not have a valid value")
        return DeployLevel(number, access, None)

    def create(project: Project, data: Json) -> ProtectedEnvironment:
        name, rows = required(data, "name", "deploy_access_levels")
        if integer(data, "required_approval_count", 0):
            raise ApiError(422, _DEPRECATED)
        if data.get("approval_rules"):
            raise lacking("approval rules of protected environments")
        if not isinstance(rows, list):
            raise bad_parameter("deploy_access_levels is invalid")
        if any(rule.name == name for rule in project.protected_environments):
            raise ApiError(409, f"Environment '{name}' is already protected")
        if not rows:
            raise bad_request("deploy_access_levels is empty")
        rule = ProtectedEnvironment(name, [level(row) for row in rows])
        project.protected_environments.append(rule)
        return rule

    def sorted_by_name(project: Project) -> list[ProtectedEnvironment]:
        return sorted(project.protected_environments, key=attrgetter("name"))

    add_resource(
        api,
        Resource(
            "/projects/:project/protected_environments", "", sorted_by_name, entities.protected_environment, key="name",
            create=create, delete=lambda project, rule: project.protected_environments.remove(rule), read=MAINTAINER,
        ),
    )  # fmt: skip
