"""Custom::SeedCheckin: CI/CD variables and trigger token of both projects, then the first commit of each.

The last resource of a stack: the commit to the model build starts its first pipeline, and nothing can fail after it.
Update brings variables and trigger token in line and never commits. Delete leaves the repositories to their owners.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitlab.v4.objects import Project

from . import aws, projects, request, seed
from .answer import Outcome
from .progress import Progress
from .reasons import CheckinFailed
from .repositories import BUILD, DEPLOY, connect, description

Event = Mapping[str, Any]


def create(event: Event, progress: Progress) -> Outcome:
    """Fill both projects, or complete what an earlier attempt at this request began."""
    wanted = request.read(event["ResourceProperties"])
    build_seed = _read_seed(wanted, wanted.build, progress)
    deploy_seed = _read_seed(wanted, wanted.deploy, progress)
    progress.begin("read the secrets of the CI/CD variables")
    resolved = [aws.resolve(repository.variables, wanted.server_url) for repository in (wanted.build, wanted.deploy)]
    build, deploy = found = _find(wanted, progress)
    # Before the first commit: its pipeline needs them.
    for project, found_variables in zip(found, resolved, strict=True):
        progress.begin(f"set the CI/CD variables of {project.path_with_namespace}")
        projects.set_variables(project, found_variables)
    _store_trigger_token(deploy, wanted, progress)
    # The commit that starts a pipeline comes last: whatever fails before it has started nothing.
    for role, project, files in ((DEPLOY, deploy, deploy_seed), (BUILD, build, build_seed)):
        progress.begin(f"commit {len(files)} files to {project.path_with_namespace}")
        projects.commit(project, files, role.message)
    return Outcome(True, _physical_id(wanted))


def update(event: Event, progress: Progress) -> Outcome:
    """Follow changed variables, and keep the trigger token where the stack wants it, made by whom it names."""
    wanted, before = request.read(event["ResourceProperties"]), _before(event)
    # A trigger token goes with the user who made it, the bot of a group access token for example.
    needs_token = _origin(wanted) != _origin(before)
    if wanted.variables == before.variables and not needs_token:
        return unchanged(event)
    progress.begin("read the secrets of the CI/CD variables")
    resolved = [aws.resolve(repository.variables, wanted.server_url) for repository in (wanted.build, wanted.deploy)]
    _, deploy = found = _find(wanted, progress)
    for project, found_variables, old in zip(found, resolved, before.variables, strict=True):
        progress.begin(f"set the CI/CD variables of {project.path_with_namespace}")
        projects.set_variables(project, found_variables, _names(old))
    if needs_token:
        _store_trigger_token(deploy, wanted, progress)
    return unchanged(event)


def delete(event: Event, progress: Progress) -> Outcome:
    """Revoke the trigger token. Projects that were never completed go, when nobody has put anything into them."""
    wanted = request.read(event["ResourceProperties"])
    completed = event["PhysicalResourceId"] == _physical_id(wanted)
    server = connect(wanted.where, progress)
    for role, repository in ((BUILD, wanted.build), (DEPLOY, wanted.deploy)):
        progress.begin(f"find project {repository.project_id} at {wanted.server_url}")
        project = projects.look_up(server, repository.project_id)
        if project is None:
            continue
        progress.begin(f"revoke the pipeline trigger tokens of {project.path_with_namespace}")
        projects.revoke_trigger_tokens(project)
        ours = not completed and projects.is_ours(project, description(event, role))
        if ours and projects.is_untouched(project, role.message):
            progress.begin(f"remove the unfinished project {project.path_with_namespace}")
            projects.set_variables(project, [], _names(repository.variables))
            projects.give_up(project)
    return unchanged(event)


def unchanged(event: Event) -> Outcome:
    """The answer when there is nothing to tell, or GitLab cannot be asked in the roll-back of an update."""
    return Outcome(True, event["PhysicalResourceId"])


def _origin(wanted: request.Properties) -> tuple[str, str, str]:
    """What the trigger token was made with and is kept in."""
    return wanted.token_secret, wanted.trigger_secret, wanted.key


def _physical_id(wanted: request.Properties) -> str:
    return f"seeds-of-build-{wanted.build.project_id}-deploy-{wanted.deploy.project_id}"


def _before(event: Event) -> request.Properties:
    try:
        return request.read(event["OldResourceProperties"])
    except CheckinFailed:  # the roll-back of an update that was refused for its properties: nothing had been changed
        return request.read(event["ResourceProperties"])


def _find(wanted: request.Properties, progress: Progress) -> list[Project]:
    """Both projects. Raises CheckinFailed when one is gone."""
    server = connect(wanted.where, progress)
    found = []
    for repository in (wanted.build, wanted.deploy):
        progress.begin(f"find project {repository.project_id} at {wanted.server_url}")
        found.append(projects.find_by_id(server, repository.project_id))
    return found


def _read_seed(wanted: request.Properties, repository: request.Repository, progress: Progress) -> list[seed.SeedFile]:
    """The files of a repository's seed, with the component project filled in."""
    progress.begin(f"read the seed s3://{wanted.seed_bucket}/{repository.seed_key}")
    files = seed.read(aws.archive(wanted.seed_bucket, repository.seed_key))
    return seed.fill_in(files, wanted.component_path, wanted.component_version)


def _store_trigger_token(deploy: Project, wanted: request.Properties, progress: Progress) -> None:
    progress.begin(f"let approvals start pipelines of {deploy.path_with_namespace}")
    if not projects.let_triggers_start_pipelines(deploy):
        progress.warn(
            f"nobody may set pipeline variables in {deploy.path_with_namespace}, and the access token may not change "
            "that. If the trigger's log says that GitLab refuses approvals for it, let an Owner set Settings > CI/CD > "
            "Variables > Minimum role to use pipeline variables to Maintainer; or use an access token of an Owner"
        )
    progress.begin(f"create the pipeline trigger token of {deploy.path_with_namespace}")
    trigger = projects.new_trigger_token(deploy)
    progress.begin("store the pipeline trigger token")
    aws.put_secret(wanted.trigger_secret, str(trigger.token))
    progress.begin(f"revoke the earlier pipeline trigger tokens of {deploy.path_with_namespace}")
    projects.revoke_trigger_tokens(deploy, but=trigger)


def _names(variables: list[request.Variable]) -> list[tuple[str, str]]:
    return [(each.key, each.environment_scope) for each in variables]
