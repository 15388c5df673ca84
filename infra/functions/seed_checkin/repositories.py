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

from . import aws, projects, reasons, request
from .answer import Outcome
from .progress import Progress

Event = Mapping[str, Any]


class Role(NamedTuple):
    """One of the two repositories, before it has a name."""

    title: str
    message: str


BUILD = Role("Model build", "Start from the model build seed")
# Nothing is approved yet, so there is nothing to deploy: the first pipeline of this repository is the first approval's.
DEPLOY = Role("Model deploy", "Start from the model deploy seed [skip ci]")


class Made(NamedTuple):
    """What the physical id tells: the projects' numbers, and whether their ID tokens name them by their paths."""

    build: int
    deploy: int
    by_path: bool

    @property
    def physical_id(self) -> str:
        return f"build-{self.build}-deploy-{self.deploy}" + ("-by-path" if self.by_path else "")


def identity(physical_id: str) -> Made | None:
    """What a physical id of this resource tells, None for one of a creation that failed."""
    found = re.fullmatch(r"build-(\d+)-deploy-(\d+)(-by-path)?", physical_id)
    return Made(int(found[1]), int(found[2]), bool(found[3])) if found else None


def create(event: Event, progress: Progress) -> Outcome:
    """Make both projects, or complete what an earlier attempt at this request began."""
    wanted = request.read_projects(event["ResourceProperties"])
    server, namespace = _enter(wanted, progress)
    require_base_url(wanted, namespace.path)
    named = ((BUILD, wanted.build_name), (DEPLOY, wanted.deploy_name))
    for role, name in named:  # both names are tried before anything is made
        progress.begin(f"use the name {namespace.path}/{name}")
        projects.find(server, namespace, name, description(event, role))
    found = []
    for role, name in named:
        progress.begin(f"create project {namespace.path}/{name}")
        found.append(projects.find_or_create(server, namespace, name, description(event, role)))
    build, deploy = found
    progress.begin(f"say what the ID tokens of {build.path_with_namespace} tell")
    by_path = not projects.tell(build, subject(BUILD, by_path=False))
    made = Made(build.id, deploy.id, by_path)
    _tell(build, deploy, by_path, progress)
    return Outcome(True, made.physical_id, attributes=attributes(wanted, namespace.path, made))


def update(event: Event, progress: Progress) -> Outcome:
    """Follow changed names and a changed group."""
    wanted, made = request.read_projects(event["ResourceProperties"]), _made(event)
    try:
        before = request.read_projects(event["OldResourceProperties"])
    except reasons.CheckinFailed:
        before = wanted  # the roll-back of an update that was refused for its properties: nothing had been changed
    server, namespace = _enter(wanted, progress)
    require_base_url(wanted, namespace.path)
    found = []
    for role, number in ((BUILD, made.build), (DEPLOY, made.deploy)):
        progress.begin(f"find project {number} at {wanted.server_url}")
        project = projects.find_by_id(server, number)
        # Another GitLab has a project of that number too.
        if wanted.server_url != before.server_url and not projects.is_ours(project, description(event, role)):
            raise reasons.CheckinFailed(f"{project.web_url} is not of this stack: a project cannot change its server")
        found.append(project)
    names = ((wanted.build_name, before.build_name), (wanted.deploy_name, before.deploy_name))
    for project, (new, old) in zip(found, names, strict=True):
        if wanted.group_id != before.group_id:
            progress.begin(f"move {project.path_with_namespace} to {namespace.path}")
            projects.transfer(project, namespace)
        if new != old:
            progress.begin(f"rename {project.path_with_namespace} to {new}")
            projects.rename(project, new)
    build, deploy = found
    _tell(build, deploy, made.by_path, progress)
    return Outcome(True, made.physical_id, attributes=attributes(wanted, namespace.path, made))


def delete(event: Event, progress: Progress) -> Outcome:
    """Remove the projects of a creation that came to nothing. Those that hold something stay."""
    wanted = request.read_projects(event["ResourceProperties"])
    made = identity(event["PhysicalResourceId"])
    server, namespace = _enter(wanted, progress)
    numbers = (made.build, made.deploy) if made else (None, None)
    for role, name, number in zip((BUILD, DEPLOY), (wanted.build_name, wanted.deploy_name), numbers, strict=True):
        progress.begin(f"remove the unfinished project {namespace.path}/{name}")
        project = projects.look_up(server, number or f"{namespace.path}/{name}")
        if project and projects.is_ours(project, description(event, role)) and projects.is_empty(project):
            projects.give_up(project)
    return Outcome(True, event["PhysicalResourceId"])


def unchanged(event: Event) -> Outcome:
    """The answer to the roll-back of an update when GitLab cannot be asked."""
    wanted = request.read_projects(event["ResourceProperties"])
    path = wanted.base_url.removeprefix(wanted.server_url).strip("/")
    return Outcome(True, event["PhysicalResourceId"], attributes=attributes(wanted, path, _made(event)))


def description(event: Event, role: Role) -> str:
    """What a project of ours says about itself; by this we know it again, and no other stack does."""
    return f"{role.title} of a SageMaker project. Created by {event['StackId']}"


def subject(role: Role, *, by_path: bool) -> list[str]:
    """The components of the subject (sub) of a project's ID tokens.

    By its number: a path that another project once had would get no tokens, https://docs.gitlab.com/ci/cloud_services/.
    GitLab before 19.1 wants the path, and knows no `ref_protected`. A model build has no environments.
    """
    beginning = ["project_path", "ref_type", "ref"] if by_path else ["project_id", "ref_type", "ref", "ref_protected"]
    return beginning + (["deployment_tier"] if role is DEPLOY else [])


def attributes(wanted: request.Projects, path: str, made: Made) -> dict[str, str]:
    """What Fn::GetAtt gives; `path` is the namespace's.

    It follows from the request alone, so that it can be told again while GitLab is away.
    """
    found = {"SubjectComponents": ",".join(subject(DEPLOY, by_path=made.by_path)[1:])}
    named = (("ModelBuild", wanted.build_name, made.build), ("ModelDeploy", wanted.deploy_name, made.deploy))
    for prefix, name, number in named:
        url = f"{wanted.server_url}/{path}/{name}"
        found |= {
            f"{prefix}ProjectId": str(number),
            f"{prefix}ProjectUrl": url,
            f"{prefix}CloneUrl": f"{url}.git",
            f"{prefix}Subject": f"project_path:{path}/{name}" if made.by_path else f"project_id:{number}",
        }
    return found


def require_base_url(wanted: request.Projects, path: str) -> None:
    """Raises CheckinFailed when the repositories would end up elsewhere than the base URL says."""
    found = f"{wanted.server_url}/{path}"
    # GitLab finds paths in any case.
    if found.lower() != wanted.base_url.lower():
        whose = f"group {wanted.group_id}" if wanted.group_id else "the namespace of the access token's owner"
        raise reasons.CheckinFailed(
            f"the base URL for the repositories is {wanted.base_url}, but {whose} is at {found}"
        )


def connect(where: request.Where, progress: Progress) -> gitlab.Gitlab:
    """GitLab's API with the access token of the secret."""
    authorities = None
    if where.ca_secret:
        progress.begin(f"read GitLab's certificate authorities in secret {where.ca_secret}")
        authorities = aws.authorities(where.ca_secret, where.server_url)
    progress.begin(f"read the access token in secret {where.token_secret}")
    token = aws.access_token(where.token_secret, where.server_url)
    return projects.connect(where.server_url, token, progress.watch, authorities)


def _enter(wanted: request.Projects, progress: Progress) -> tuple[gitlab.Gitlab, projects.Namespace]:
    """GitLab's API, and the namespace of the projects in it."""
    server = connect(wanted.where, progress)
    group = f"group {wanted.group_id}" if wanted.group_id else "the token owner's namespace"
    progress.begin(f"find {group} at {wanted.server_url}")
    return server, projects.find_namespace(server, wanted.group_id)


def _tell(build: Project, deploy: Project, by_path: bool, progress: Progress) -> None:
    for role, project in ((BUILD, build), (DEPLOY, deploy)):
        progress.begin(f"say what the ID tokens of {project.path_with_namespace} tell")
        if not projects.tell(project, subject(role, by_path=by_path)):
            raise reasons.CheckinFailed("GitLab refuses the subject's components; GitLab 18.7 or newer is needed")


def _made(event: Event) -> Made:
    made = identity(event["PhysicalResourceId"])
    if made is None:
        raise reasons.CheckinFailed(f"{event['PhysicalResourceId']} does not name two projects")
    return made
