"""Custom::GitLabProjects: the two GitLab projects, still empty, and how their ID tokens will name them.

They are there before the roles, which trust these names, and before all else that the first commits need. Create makes
them, or nothing. Update follows changed names and groups. Delete leaves them to their owners, unless they are still
empty: then a creation is rolled back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import gitlab
from gitlab.v4.objects import Project

from . import gitlab_api, reasons, request
from .answer import Outcome
from .connection import connect
from .ownership import BUILD, DEPLOY, Role, description
from .progress import Progress

Event = Mapping[str, Any]


class Identity(NamedTuple):
    """What the physical id tells: the projects' numbers, and whether their ID tokens name them by their paths."""

    build: int
    deploy: int
    by_path: bool

    @property
    def physical_id(self) -> str:
        return f"build-{self.build}-deploy-{self.deploy}" + ("-by-path" if self.by_path else "")


def identity(physical_id: str) -> Identity | None:
    """What a physical id of this resource tells, None for one of a creation that failed."""
    match = re.fullmatch(r"build-(\d+)-deploy-(\d+)(-by-path)?", physical_id)
    return Identity(int(match[1]), int(match[2]), bool(match[3])) if match else None


def create(event: Event, progress: Progress) -> Outcome:
    """Make both projects, or complete what an earlier attempt at this request began."""
    properties = request.read_projects(event["ResourceProperties"])
    server, namespace = _enter(properties, progress)
    require_base_url(properties, namespace.path)
    build_mark, deploy_mark = (description(event["StackId"], role) for role in (BUILD, DEPLOY))
    named = ((properties.build_name, build_mark), (properties.deploy_name, deploy_mark))
    for name, mark in named:  # both names are tried before anything is made
        progress.begin(f"use the name {namespace.path}/{name}")
        gitlab_api.find(server, namespace, name, mark)
    projects = []
    for name, mark in named:
        progress.begin(f"create project {namespace.path}/{name}")
        projects.append(gitlab_api.find_or_create(server, namespace, name, mark))
    build, deploy = projects
    progress.begin(f"say what the ID tokens of {build.path_with_namespace} tell")
    by_path = not gitlab_api.tell(build, subject(BUILD, by_path=False))
    _tell(build, deploy, by_path, progress)
    return _outcome(properties, namespace.path, Identity(build.id, deploy.id, by_path))


def update(event: Event, progress: Progress) -> Outcome:
    """Follow changed names and a changed group."""
    properties, current = request.read_projects(event["ResourceProperties"]), _identity(event)
    try:
        before = request.read_projects(event["OldResourceProperties"])
    except reasons.CheckinFailed:
        before = properties  # the roll-back of an update that was refused for its properties: nothing had been changed
    server, namespace = _enter(properties, progress)
    require_base_url(properties, namespace.path)
    projects = []
    for role, number in ((BUILD, current.build), (DEPLOY, current.deploy)):
        progress.begin(f"find project {number} at {properties.server_url}")
        project = gitlab_api.find_by_id(server, number)
        elsewhere = properties.server_url != before.server_url  # another GitLab has a project of that number too
        if elsewhere and not gitlab_api.is_of_this_stack(project, description(event["StackId"], role)):
            raise reasons.CheckinFailed(f"{project.web_url} is not of this stack: a project cannot change its server")
        projects.append(project)
    names = ((properties.build_name, before.build_name), (properties.deploy_name, before.deploy_name))
    for project, (new, old) in zip(projects, names, strict=True):
        if properties.group_id != before.group_id:
            progress.begin(f"move {project.path_with_namespace} to {namespace.path}")
            gitlab_api.transfer(project, namespace)
        if new != old:
            progress.begin(f"rename {project.path_with_namespace} to {new}")
            gitlab_api.rename(project, new)
    build, deploy = projects
    _tell(build, deploy, current.by_path, progress)
    return _outcome(properties, namespace.path, current)


def delete(event: Event, progress: Progress) -> Outcome:
    """Remove the projects of a creation that came to nothing. Those that hold something stay."""
    properties = request.read_projects(event["ResourceProperties"])
    current = identity(event["PhysicalResourceId"])
    server, namespace = _enter(properties, progress)
    names = (properties.build_name, properties.deploy_name)
    numbers = (current.build, current.deploy) if current else (None, None)
    for role, name, number in zip((BUILD, DEPLOY), names, numbers, strict=True):
        progress.begin(f"remove the unfinished project {namespace.path}/{name}")
        project = gitlab_api.look_up(server, number or f"{namespace.path}/{name}")
        if project is None or not gitlab_api.is_of_this_stack(project, description(event["StackId"], role)):
            continue
        if gitlab_api.is_empty(project):
            gitlab_api.give_up(project)
    return Outcome(True, event["PhysicalResourceId"])


def unchanged(event: Event) -> Outcome:
    """The answer to the roll-back of an update when GitLab cannot be asked."""
    properties = request.read_projects(event["ResourceProperties"])
    path = properties.base_url.removeprefix(properties.server_url).strip("/")
    return _outcome(properties, path, _identity(event))


def _outcome(properties: request.Projects, path: str, current: Identity) -> Outcome:
    return Outcome(True, current.physical_id, attributes=attributes(properties, path, current))


def subject(role: Role, *, by_path: bool) -> list[str]:
    """The components of the subject (sub) of a project's ID tokens.

    By its number: a path that another project once had would get no tokens, https://docs.gitlab.com/ci/cloud_services/.
    GitLab before 19.1 wants the path, and knows no `ref_protected`. A model build has no environments.
    """
    beginning = ["project_path", "ref_type", "ref"] if by_path else ["project_id", "ref_type", "ref", "ref_protected"]
    return beginning + (["deployment_tier"] if role is DEPLOY else [])


def attributes(properties: request.Projects, path: str, current: Identity) -> dict[str, str]:
    """What Fn::GetAtt gives; `path` is the namespace's.

    It follows from the request alone, so that it can be told again while GitLab is away.
    """
    result = {"SubjectComponents": ",".join(subject(DEPLOY, by_path=current.by_path)[1:])}
    projects = (
        ("ModelBuild", properties.build_name, current.build),
        ("ModelDeploy", properties.deploy_name, current.deploy),
    )
    for prefix, name, number in projects:
        url = f"{properties.server_url}/{path}/{name}"
        result |= {
            f"{prefix}ProjectId": str(number),
            f"{prefix}ProjectUrl": url,
            f"{prefix}CloneUrl": f"{url}.git",
            f"{prefix}Subject": f"project_path:{path}/{name}" if current.by_path else f"project_id:{number}",
        }
    return result


def require_base_url(properties: request.Projects, path: str) -> None:
    """Raises CheckinFailed when the repositories would end up elsewhere than the base URL says."""
    url = f"{properties.server_url}/{path}"
    # GitLab finds paths in any case.
    if url.lower() != properties.base_url.lower():
        whose = f"group {properties.group_id}" if properties.group_id else "the namespace of the access token's owner"
        raise reasons.CheckinFailed(
            f"the base URL for the repositories is {properties.base_url}, but {whose} is at {url}"
        )


def _enter(properties: request.Projects, progress: Progress) -> tuple[gitlab.Gitlab, gitlab_api.Namespace]:
    """GitLab's API, and the namespace of the projects in it."""
    server = connect(properties.where, progress)
    group = f"group {properties.group_id}" if properties.group_id else "the token owner's namespace"
    progress.begin(f"find {group} at {properties.server_url}")
    return server, gitlab_api.find_namespace(server, properties.group_id)


def _tell(build: Project, deploy: Project, by_path: bool, progress: Progress) -> None:
    for role, project in ((BUILD, build), (DEPLOY, deploy)):
        progress.begin(f"say what the ID tokens of {project.path_with_namespace} tell")
        if not gitlab_api.tell(project, subject(role, by_path=by_path)):
            raise reasons.CheckinFailed("GitLab refuses the subject's components; GitLab 18.7 or newer is needed")


def _identity(event: Event) -> Identity:
    current = identity(event["PhysicalResourceId"])
    if current is None:
        raise reasons.CheckinFailed(f"{event['PhysicalResourceId']} does not name two projects")
    return current
