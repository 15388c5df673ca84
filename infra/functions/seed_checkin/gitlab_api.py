"""What both custom resources ask of GitLab: two projects, their settings and one commit each.

Every function may be called again after a crash or a lost answer: it finds what it did before. A project is this
stack's when its description says so (ownership.py); it carries that from the moment it exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import gitlab
import requests
from gitlab.v4.objects import Project, ProjectTrigger

from . import reasons, seed, variables
from .reasons import CheckinFailed

BRANCH = "main"
TRIGGER = "Approvals in the SageMaker Model Registry"
LEFT_OVER = "Left over from a SageMaker project that could not be created. The next attempt takes it."
COMMIT_SECONDS = 90  # several megabytes, which GitLab takes apart before it answers

OVERRIDE_ROLE = "maintainer"
"""Who may set pipeline variables, as GitLab may count what comes with every trigger. Only Maintainers have trigger
tokens, and they may change the CI/CD variables themselves: a lesser role is not needed, a higher one is not enough."""
_ENOUGH = ("developer", OVERRIDE_ROLE)

_BOT = re.compile(r"(group|project)_\d+_bot(_\w+)?")


class Namespace(NamedTuple):
    """Where the projects live: a group, or a person's own namespace."""

    id: int
    path: str


def find_namespace(server: gitlab.Gitlab, group_id: int | None) -> Namespace:
    """The group, or the own namespace of the token's owner. Raises CheckinFailed when there is no such group."""
    server.auth()  # tells a token of no worth from a group that it may not see
    if group_id is None:
        # A project's or group's token has a user of its own, in whose namespace nobody looks.
        if server.user and (server.user.attributes.get("bot") or _BOT.fullmatch(server.user.username)):
            raise CheckinFailed("a group access token needs the ID of its group; None is for a person's token")
        namespace = server.namespaces.get(server.user.username if server.user else "")
        return Namespace(namespace.id, namespace.full_path)
    try:
        group = server.groups.get(group_id, with_projects=False)
    except gitlab.GitlabGetError as error:
        if error.response_code != 404:
            raise
        raise CheckinFailed("there is no such group, or the access token may not see it") from error
    return Namespace(group.id, group.full_path)


def find(server: gitlab.Gitlab, namespace: Namespace, name: str, description: str) -> Project | None:
    """This stack's project of that name, or one left over; or None. Raises CheckinFailed for another's."""
    project = look_up(server, f"{namespace.path}/{name}")
    left_over = project is not None and project.description == LEFT_OVER and is_empty(project)
    if project and not left_over and not is_of_this_stack(project, description):
        raise CheckinFailed(
            f"{project.web_url} exists and was not created by this stack; choose another name, or rename or delete "
            "that project"
        )
    return project


def look_up(server: gitlab.Gitlab, reference: str | int) -> Project | None:
    """The project of that path or number, whoever's it is; None when there is none."""
    try:
        return server.projects.get(reference)
    except requests.TooManyRedirects as error:
        # The project that was at this path is elsewhere now: https://docs.gitlab.com/api/rest/#redirects.
        location = error.response.headers.get("Location", "") if error.response is not None else ""
        if re.search(r"/api/v4/projects/\d+$", urlsplit(location).path):
            return None
        raise
    except gitlab.GitlabGetError as error:
        if error.response_code == 404:
            return None
        raise


def is_of_this_stack(project: Project, description: str) -> bool:
    return description in (project.description or "")


def find_or_create(server: gitlab.Gitlab, namespace: Namespace, name: str, description: str) -> Project:
    """This stack's project of that name, private, with a protected default branch."""
    project = find(server, namespace, name, description) or _create(server, namespace, name, description)
    if not is_of_this_stack(project, description):
        _update(project, description=description)
    levels = {"push_access_level": gitlab.const.AccessLevel.MAINTAINER}
    levels["merge_access_level"] = gitlab.const.AccessLevel.MAINTAINER
    try:
        # Before the first commit: its pipeline gets protected variables, and roles that trust protected branches only.
        project.protectedbranches.create({"name": BRANCH, **levels})
    except gitlab.GitlabCreateError as error:
        if error.response_code != 409:  # it is protected already
            raise
    return project


def _create(server: gitlab.Gitlab, namespace: Namespace, name: str, description: str) -> Project:
    settings = {"name": name, "path": name, "namespace_id": namespace.id, "description": description}
    settings |= {"visibility": "private", "default_branch": BRANCH, "initialize_with_readme": False}
    try:
        created = server.projects.create(settings)
    except gitlab.GitlabCreateError as error:
        # GitLab may have created it and its answer been lost: then it is found now.
        project = find(server, namespace, name, description) if reasons.is_taken(error) else None
        if project is None:
            raise
        return project
    # An older GitLab, or what is none, drops what it does not know without a word.
    stored = {key: settings[key] for key in ("path", "description", "visibility")}
    require_stored(created.attributes, stored, f"project {namespace.path}/{name}")
    return created


def require_stored(answer: Mapping[str, Any], settings: Mapping[str, Any], what: str) -> None:
    """Raises CheckinFailed when GitLab's answer does not repeat every setting."""
    dropped = sorted(key for key, value in settings.items() if answer.get(key) != value)
    if dropped:
        raise CheckinFailed(f"GitLab did not store {', '.join(dropped)} of {what}; GitLab 18.7 or newer is needed")


def find_by_id(server: gitlab.Gitlab, project_id: int) -> Project:
    """A project of this stack. Raises CheckinFailed when it is gone."""
    project = look_up(server, project_id)
    if project is None or project.attributes.get("marked_for_deletion_on"):
        raise CheckinFailed(
            f"project {project_id} is gone, or the access token may not see it; restore it in GitLab, or delete the "
            "stack and create a new one"
        )
    return project


def set_variables(
    project: Project, requested: Iterable[variables.Attributes], withdrawn: Iterable[variables.Name] = ()
) -> None:
    """Create, update and remove variables, see variables.py."""
    existing = [variable.attributes for variable in project.variables.list(iterator=True)]
    plan = variables.plan(existing, requested, withdrawn)
    for attributes in (*plan.create, *plan.update):
        try:
            if attributes in plan.create:
                answer: Mapping[str, Any] = project.variables.create(attributes).attributes
            else:
                scope = {"environment_scope": attributes["environment_scope"]}
                answer = project.variables.update(attributes["key"], attributes, filter=scope)
        except gitlab.GitlabError as error:
            if not reasons.is_taken(error):  # else it was created and the answer to that was lost
                raise CheckinFailed(f"variable {attributes['key']}: {reasons.explain(error)}") from error
        else:
            require_stored(answer, attributes, f"variable {attributes['key']}")
    for key, environment_scope in plan.delete:
        _remove(partial(project.variables.delete, key, filter={"environment_scope": environment_scope}))


def tell(project: Project, components: list[str]) -> bool:
    """Make up the subject of its jobs' ID tokens of these components; whether GitLab accepts and keeps them."""
    if project.attributes.get("ci_id_token_sub_claim_components") != components:
        try:
            _update(project, ci_id_token_sub_claim_components=components)
        except gitlab.GitlabUpdateError as error:
            if error.response_code != 400:
                raise
            return False
    return bool(project.attributes.get("ci_id_token_sub_claim_components") == components)


def let_triggers_start_pipelines(project: Project) -> bool:
    """Let the owner of a trigger token set pipeline variables, as which GitLab may count what comes with every trigger.

    Whether they may. Where nobody could, only an Owner may change that.
    """
    name = "ci_pipeline_variables_minimum_override_role"
    if project.attributes.get(name) not in _ENOUGH:
        try:
            _update(project, **{name: OVERRIDE_ROLE})
        except gitlab.GitlabUpdateError as error:
            if error.response_code not in (400, 403):
                raise
            return False
    return project.attributes.get(name) in _ENOUGH


def give_up(project: Project) -> None:
    """Delete an unfinished project. Who may not do that (a Maintainer) leaves it to the next attempt."""
    if project.attributes.get("marked_for_deletion_on"):
        return
    try:
        _remove(project.delete)
    except gitlab.GitlabDeleteError as error:
        if error.response_code == 403:
            _update(project, description=LEFT_OVER)
            return
        project.refresh()
        if not project.attributes.get("marked_for_deletion_on"):  # else it was, and the answer to that was lost
            raise


def _remove(delete: Callable[[], object]) -> None:
    """Delete something. What is not there any more was deleted, and the answer to that was lost."""
    try:
        delete()
    except gitlab.GitlabDeleteError as error:
        if error.response_code != 404:
            raise


def new_trigger_token(project: Project) -> ProjectTrigger:
    """A new pipeline trigger token. Those before it stay valid until it is stored."""
    return project.triggers.create({"description": TRIGGER})


def revoke_trigger_tokens(project: Project, but: ProjectTrigger | None = None) -> None:
    """Revoke those of this function; also one that GitLab created although its answer to that was lost."""
    for trigger in project.triggers.list(get_all=True):
        if trigger.description == TRIGGER and (but is None or trigger.id != but.id):
            _remove(trigger.delete)


def is_empty(project: Project) -> bool:
    return not project.branches.list(per_page=1, get_all=False)


def commit(project: Project, files: Iterable[seed.SeedFile], message: str) -> None:
    """Put the seed into an empty repository, as one commit."""
    if not is_empty(project):
        return
    content = {"branch": BRANCH, "commit_message": message, "actions": seed.actions(files)}
    try:
        project.commits.create(content, timeout=COMMIT_SECONDS)
    except gitlab.GitlabCreateError:
        if is_empty(project):  # else it was made and the answer to that was lost
            raise


def is_untouched(project: Project, message: str) -> bool:
    """Whether the repository holds nothing, or nothing but the commit of the seed."""
    branches = project.branches.list(per_page=2, get_all=False)
    if not branches:
        return True
    head = branches[0].commit
    return len(branches) == 1 and not head["parent_ids"] and head["message"].strip() == message


def rename(project: Project, name: str) -> None:
    """Give the project another name and path. GitLab redirects from the old one."""
    if project.path != name:
        _update(project, name=name, path=name)


def transfer(project: Project, namespace: Namespace) -> None:
    """Move the project to another group. GitLab redirects from the old path."""
    if project.namespace["full_path"] != namespace.path:
        project.transfer(namespace.path)


def _update(project: Project, **settings: Any) -> None:
    """Change settings; afterwards the project's attributes are those of GitLab's answer. Raises GitlabUpdateError."""
    for name, value in settings.items():
        setattr(project, name, value)
    try:
        project.save()
    except gitlab.GitlabUpdateError:
        for name in settings:  # lest the next change asks for what was refused
            project._updated_attrs.pop(name, None)
        raise
