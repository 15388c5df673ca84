"""Lambda `seed_checkin`: the custom resources of infra/project.yml, which make the two GitLab repositories.

Custom::SeedCheckin. Create makes the projects, their CI/CD variables and the trigger token, then commits the seeds.
Update brings names, group and variables in line and never commits. Delete leaves the repositories to their owners.
Custom::GitLabNamespace only looks, see namespace.py. Each request is answered once, before the function's time is over.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from gitlab.v4.objects import Project

from . import answer, aws, namespace, projects, reasons, request, seed
from .answer import Outcome

Event = Mapping[str, Any]

logger = Logger()


class Role(NamedTuple):
    """One of the two repositories, before it has a name."""

    title: str
    message: str


BUILD = Role("Model build", "Start from the model build seed")
# Nothing is approved yet, so there is nothing to deploy: the first pipeline of this repository is the first approval's.
DEPLOY = Role("Model deploy", "Start from the model deploy seed [skip ci]")


class OutOfTime(BaseException):
    """The function's time is nearly over. No library on the way may take it for an error to retry."""


class Progress:
    """What is being done, and what is in its way: the beginning of every reason."""

    def __init__(self) -> None:
        self.step = "read the request"
        self.trouble = ""

    def begin(self, step: str) -> None:
        self.step = step
        logger.info(step)

    def watch(self, trouble: str) -> None:
        self.trouble = trouble


@logger.inject_lambda_context(clear_state=True)
def handle(event: dict[str, Any], context: LambdaContext) -> None:
    """The Lambda's entry point. Raises only when CloudFormation itself cannot be told: Lambda then invokes it again."""
    seconds = context.get_remaining_time_in_millis() / 1000 - answer.SECONDS
    outcome = carry_out(event, max(seconds, 1))
    logger.info("done", succeeded=outcome.succeeded, reason=outcome.reason, request_type=event.get("RequestType"))
    answer.send(event["ResponseURL"], answer.body(event, outcome))


def carry_out(event: Event, seconds: float) -> Outcome:
    """Do what the request asks within so many seconds; what came of it, whatever happens."""
    progress = Progress()
    kind = event.get("RequestType")
    try:
        with time_limit(seconds):
            if event.get("ResourceType") == namespace.RESOURCE_TYPE:
                return find_namespace(event, progress)
            return _ACTIONS[str(kind)](event, progress)
    except OutOfTime:
        cause = f"there was no time left; {progress.trouble}" if progress.trouble else "there was no time left"
    except Exception as error:
        cause = reasons.explain(error)
        logger.exception("failed")
    reason = f"Could not {progress.step}: {cause}"
    # A stack must be deletable whatever became of GitLab, its token or its projects.
    return Outcome(kind == "Delete", event.get("PhysicalResourceId") or f"not-created-{event['RequestId']}", reason)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in this thread, Lambda's main one, when the time is over."""

    def stop(*_: object) -> None:
        raise OutOfTime

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def create(event: Event, progress: Progress) -> Outcome:
    """Make both repositories, or complete what an earlier attempt at this request began."""
    wanted = request.read(event["ResourceProperties"])
    build_seed = read_seed(wanted, wanted.build, progress)
    deploy_seed = read_seed(wanted, wanted.deploy, progress)
    progress.begin("read the secrets of the CI/CD variables")
    build_variables, deploy_variables = aws.resolve(wanted.build.variables), aws.resolve(wanted.deploy.variables)
    server, namespace = enter(wanted, progress)
    roles = ((BUILD, wanted.build), (DEPLOY, wanted.deploy))
    for role, repository in roles:  # both names are tried before anything is made
        progress.begin(f"use the name {namespace.path}/{repository.name}")
        projects.find(server, namespace, repository.name, description(event, role))
    made = []
    for role, repository in roles:
        progress.begin(f"create project {namespace.path}/{repository.name}")
        made.append(projects.find_or_create(server, namespace, repository.name, description(event, role)))
    build, deploy = made
    # Before the first commit: its pipeline needs them.
    for project, found in ((build, build_variables), (deploy, deploy_variables)):
        progress.begin(f"set the CI/CD variables of {project.path_with_namespace}")
        projects.set_variables(project, found)
    progress.begin(f"let the ID tokens of {deploy.path_with_namespace} tell the deployment tier")
    projects.tell_tier(deploy)
    store_trigger_token(deploy, wanted, progress)
    # The commit that starts a pipeline comes last: whatever fails before it has started nothing.
    for role, project, files in ((DEPLOY, deploy, deploy_seed), (BUILD, build, build_seed)):
        progress.begin(f"commit {len(files)} files to {project.path_with_namespace}")
        projects.commit(project, files, role.message)
    return Outcome(True, f"build-{build.id}-deploy-{deploy.id}", attributes=attributes(build, deploy))


def update(event: Event, progress: Progress) -> Outcome:
    """Follow changed names, group and variables. What is in the repositories is their owners': no seed is committed."""
    wanted = request.read(event["ResourceProperties"])
    try:
        before = request.read(event["OldResourceProperties"])
    except reasons.CheckinFailed:
        before = wanted  # the roll-back of an update that was refused for its properties: nothing had been changed
    progress.begin("read the secrets of the CI/CD variables")
    found = [aws.resolve(repository.variables) for repository in (wanted.build, wanted.deploy)]
    server, namespace = enter(wanted, progress)
    pairs = ((BUILD, wanted.build, before.build), (DEPLOY, wanted.deploy, before.deploy))
    current = []
    for (role, _, _), project_id in zip(pairs, project_ids(event), strict=True):
        progress.begin(f"find project {project_id} at {wanted.server_url}")
        project = projects.find_by_id(server, project_id)
        # Another GitLab has a project of that number too.
        if wanted.server_url != before.server_url and not projects.is_ours(project, description(event, role)):
            raise reasons.CheckinFailed(f"{project.web_url} is not of this stack: a project cannot change its server")
        current.append(project)
    for project, resolved, (_, new, old) in zip(current, found, pairs, strict=True):
        if wanted.group_id != before.group_id:
            progress.begin(f"move {project.path_with_namespace} to {namespace.path}")
            projects.transfer(project, namespace)
        if new.name != old.name:
            progress.begin(f"rename {project.path_with_namespace} to {new.name}")
            projects.rename(project, new.name)
        progress.begin(f"set the CI/CD variables of {project.path_with_namespace}")
        withdrawn = [(each.key, each.environment_scope) for each in old.variables]
        projects.set_variables(project, resolved, withdrawn)
    build, deploy = (projects.find_by_id(server, project.id) for project in current)
    progress.begin(f"let the ID tokens of {deploy.path_with_namespace} tell the deployment tier")
    projects.tell_tier(deploy)
    if wanted.trigger_secret != before.trigger_secret or not projects.has_trigger(deploy):
        store_trigger_token(deploy, wanted, progress)
    return Outcome(True, event["PhysicalResourceId"], attributes=attributes(build, deploy))


def delete(event: Event, progress: Progress) -> Outcome:
    """Revoke the trigger token. Projects that were never completed go, when nobody has put anything into them."""
    wanted = request.read(event["ResourceProperties"])
    server, namespace = enter(wanted, progress)
    if re.fullmatch(_PHYSICAL_ID, event["PhysicalResourceId"]):
        progress.begin("revoke the pipeline trigger token")
        projects.revoke_trigger_tokens(projects.find_by_id(server, project_ids(event)[1]))
        return Outcome(True, event["PhysicalResourceId"])
    for role, repository in ((BUILD, wanted.build), (DEPLOY, wanted.deploy)):
        progress.begin(f"remove the unfinished project {namespace.path}/{repository.name}")
        project = projects.look_up(server, f"{namespace.path}/{repository.name}")
        ours = project is not None and projects.is_ours(project, description(event, role))
        if project and ours and projects.is_untouched(project, role.message):
            project.delete()
    return Outcome(True, event["PhysicalResourceId"])


def find_namespace(event: Event, progress: Progress) -> Outcome:
    """Where the repositories will be. Nothing is made, so there is nothing to delete."""
    if event["RequestType"] == "Delete":
        return Outcome(True, event["PhysicalResourceId"])
    wanted = namespace.read(event["ResourceProperties"])
    _, found = enter(wanted, progress)
    progress.begin("compare the group with the base URL of the repositories")
    namespace.require_base_url(wanted, found.path)
    return Outcome(True, f"namespace-{found.id}", attributes={"Path": found.path})


_ACTIONS: dict[str, Callable[[Event, Progress], Outcome]] = {"Create": create, "Update": update, "Delete": delete}
_PHYSICAL_ID = r"build-(\d+)-deploy-(\d+)"
"""The projects, as they are known for ever: no update changes it, so none makes CloudFormation replace them."""


def project_ids(event: Event) -> list[int]:
    """The ids of the build and the deploy project."""
    found = re.fullmatch(_PHYSICAL_ID, event["PhysicalResourceId"])
    if not found:
        raise reasons.CheckinFailed(f"{event['PhysicalResourceId']} does not name two projects")
    return [int(number) for number in found.groups()]


def description(event: Event, role: Role) -> str:
    """What a project of ours says about itself; by this we know it again, and no other stack does."""
    return f"{role.title} of a SageMaker project. Created by {event['StackId']} {event['LogicalResourceId']}"


def enter(wanted: request.Properties | namespace.Properties, progress: Progress) -> tuple[Any, projects.Namespace]:
    """GitLab's API, and the namespace of the projects in it."""
    progress.begin(f"read the access token in secret {wanted.token_secret}")
    token = aws.access_token(wanted.token_secret)
    server = projects.connect(wanted.server_url, token, progress.watch)
    group = f"group {wanted.group_id}" if wanted.group_id else "the token owner's namespace"
    progress.begin(f"find {group} at {wanted.server_url}")
    return server, projects.find_namespace(server, wanted.group_id)


def read_seed(wanted: request.Properties, repository: request.Repository, progress: Progress) -> list[seed.SeedFile]:
    """The files of a repository's seed, with the component project filled in."""
    progress.begin(f"read the seed s3://{wanted.seed_bucket}/{repository.seed_key}")
    files = seed.read(aws.archive(wanted.seed_bucket, repository.seed_key))
    return seed.fill_in(files, wanted.component_path, wanted.component_version)


def store_trigger_token(deploy: Project, wanted: request.Properties, progress: Progress) -> None:
    progress.begin(f"create the pipeline trigger token of {deploy.path_with_namespace}")
    token = projects.new_trigger_token(deploy)
    progress.begin("store the pipeline trigger token")
    aws.put_secret(wanted.trigger_secret, token)


def attributes(build: Project, deploy: Project) -> dict[str, str]:
    """What Fn::GetAtt gives."""
    return {
        f"{name}{key}": str(value)
        for name, project in (("ModelBuildProject", build), ("ModelDeployProject", deploy))
        for key, value in (("Id", project.id), ("Url", project.web_url), ("Path", project.path_with_namespace))
    } | {"ModelBuildCloneUrl": build.http_url_to_repo, "ModelDeployCloneUrl": deploy.http_url_to_repo}
