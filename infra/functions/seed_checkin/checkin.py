"""Custom::SeedCheckin: CI/CD variables and trigger token of both projects, then the first commit of each.

The last resource of a stack: the commit to the model build starts its first pipeline, and nothing can fail after it.
Update brings variables and trigger token in line and never commits. Delete leaves the repositories to their owners.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitlab.v4.objects import Project

from . import aws, gitlab_api, request, seed, variables
from .answer import Outcome
from .connection import connect
from .ownership import BUILD, DEPLOY, description
from .progress import Progress
from .reasons import CheckinFailed

Event = Mapping[str, Any]


def create(event: Event, progress: Progress) -> Outcome:
    """Fill both projects, or complete what an earlier attempt at this request began."""
    properties = request.read(event["ResourceProperties"])
    build_seed = _read_seed(properties, properties.build, progress)
    deploy_seed = _read_seed(properties, properties.deploy, progress)
    progress.begin("read the secrets of the CI/CD variables")
    resolved = [_resolve(each, properties.server_url) for each in properties.variables]
    build, deploy = projects = _find(properties, progress)
    # Before the first commit: its pipeline needs them.
    for project, values in zip(projects, resolved, strict=True):
        progress.begin(f"set the CI/CD variables of {project.path_with_namespace}")
        gitlab_api.set_variables(project, values)
    _store_trigger_token(deploy, properties, progress)
    # The commit that starts a pipeline comes last: whatever fails before it has started nothing.
    for role, project, files in ((DEPLOY, deploy, deploy_seed), (BUILD, build, build_seed)):
        progress.begin(f"commit {len(files)} files to {project.path_with_namespace}")
        gitlab_api.commit(project, files, role.message)
    return Outcome(True, _physical_id(properties))


def update(event: Event, progress: Progress) -> Outcome:
    """Follow changed variables, and keep the trigger token where the stack wants it, made by whom it names."""
    properties, before = request.read(event["ResourceProperties"]), _before(event)
    # A trigger token goes with the user who made it, the bot of a group access token for example.
    needs_token = _origin(properties) != _origin(before)
    if properties.variables == before.variables and not needs_token:
        return unchanged(event)
    progress.begin("read the secrets of the CI/CD variables")
    resolved = [_resolve(each, properties.server_url) for each in properties.variables]
    _, deploy = projects = _find(properties, progress)
    for project, values, old in zip(projects, resolved, before.variables, strict=True):
        progress.begin(f"set the CI/CD variables of {project.path_with_namespace}")
        gitlab_api.set_variables(project, values, _names(old))
    if needs_token:
        _store_trigger_token(deploy, properties, progress)
    return unchanged(event)


def delete(event: Event, progress: Progress) -> Outcome:
    """Revoke the trigger token. Projects that were never completed go, when nobody has put anything into them."""
    properties = request.read(event["ResourceProperties"])
    completed = event["PhysicalResourceId"] == _physical_id(properties)
    server = connect(properties.where, progress)
    for role, repository in ((BUILD, properties.build), (DEPLOY, properties.deploy)):
        progress.begin(f"find project {repository.project_id} at {properties.server_url}")
        project = gitlab_api.look_up(server, repository.project_id)
        if project is None:
            continue
        progress.begin(f"revoke the pipeline trigger tokens of {project.path_with_namespace}")
        gitlab_api.revoke_trigger_tokens(project)
        begun_here = not completed and gitlab_api.is_of_this_stack(project, description(event["StackId"], role))
        if begun_here and gitlab_api.is_untouched(project, role.message):
            progress.begin(f"remove the unfinished project {project.path_with_namespace}")
            gitlab_api.set_variables(project, [], _names(repository.variables))
            gitlab_api.give_up(project)
    return unchanged(event)


def unchanged(event: Event) -> Outcome:
    """The answer when there is nothing to tell, or GitLab cannot be asked in the roll-back of an update."""
    return Outcome(True, event["PhysicalResourceId"])


def _origin(properties: request.Properties) -> tuple[str, str, str]:
    """What the trigger token was made with and is kept in."""
    return properties.token_secret, properties.trigger_secret, properties.key


def _physical_id(properties: request.Properties) -> str:
    return f"seeds-of-build-{properties.build.project_id}-deploy-{properties.deploy.project_id}"


def _before(event: Event) -> request.Properties:
    try:
        return request.read(event["OldResourceProperties"])
    except CheckinFailed:  # the roll-back of an update that was refused for its properties: nothing had been changed
        return request.read(event["ResourceProperties"])


def _find(properties: request.Properties, progress: Progress) -> list[Project]:
    """Both gitlab_api. Raises CheckinFailed when one is gone."""
    server = connect(properties.where, progress)
    projects = []
    for repository in (properties.build, properties.deploy):
        progress.begin(f"find project {repository.project_id} at {properties.server_url}")
        projects.append(gitlab_api.find_by_id(server, repository.project_id))
    return projects


def _resolve(requested: list[request.Variable], server_url: str) -> list[variables.Attributes]:
    """The variables as GitLab takes them, with the values of those that are kept in Secrets Manager."""
    return [
        variables.attributes(
            variable.key,
            aws.secret_value(variable.secret, variable.secret_key, server_url)
            if variable.secret
            else variable.value or "",
            variable.environment_scope,
            variable.protected,
            variable.masked,
        )
        for variable in requested
    ]


def _read_seed(
    properties: request.Properties, repository: request.Repository, progress: Progress
) -> list[seed.SeedFile]:
    """The files of a repository's seed, with the component project filled in."""
    progress.begin(f"read the seed s3://{properties.seed_bucket}/{repository.seed_key}")
    files = seed.read(aws.archive(properties.seed_bucket, repository.seed_key))
    return seed.fill_in(files, properties.component_path, properties.component_version)


def _store_trigger_token(deploy: Project, properties: request.Properties, progress: Progress) -> None:
    progress.begin(f"let approvals start pipelines of {deploy.path_with_namespace}")
    if not gitlab_api.let_triggers_start_pipelines(deploy):
        progress.warn(
            f"nobody may set pipeline variables in {deploy.path_with_namespace}, and the access token may not change "
            "that. If the trigger's log says that GitLab refuses approvals for it, let an Owner set Settings > CI/CD > "
            "Variables > Minimum role to use pipeline variables to Maintainer; or use an access token of an Owner"
        )
    progress.begin(f"create the pipeline trigger token of {deploy.path_with_namespace}")
    trigger = gitlab_api.new_trigger_token(deploy)
    progress.begin("store the pipeline trigger token")
    aws.put_secret(properties.trigger_secret, str(trigger.token))
    progress.begin(f"revoke the earlier pipeline trigger tokens of {deploy.path_with_namespace}")
    gitlab_api.revoke_trigger_tokens(deploy, but=trigger)


def _names(requested: list[request.Variable]) -> list[variables.Name]:
    return [(variable.key, variable.environment_scope) for variable in requested]
