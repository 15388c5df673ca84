"""The GitLab side of the examination: a few GET requests. Called by command.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import __version__, errors, gitlab, settings
from ci_scripts.doctor import merge_requests, verdicts
from ci_scripts.doctor.verdicts import Verdict

if TYPE_CHECKING:
    from gitlab import Gitlab
    from gitlab.v4.objects import Project

_NEEDS = "takes GITLAB_TOKEN with the scope read_api, of a Maintainer of this project"


class Surroundings(NamedTuple):
    """Where GitLab's API answers, and the tokens to ask it with; empty strings where there is none."""

    api: str
    project: str
    token: str
    job_token: str
    server: str = ""
    """GitLab's external URL, the issuer of its ID tokens; known in a job alone."""
    oidc: bool = False
    """Whether the job is to enter AWS by an ID token."""


def surroundings(environ: Mapping[str, str], api: str | None, project: str | None) -> Surroundings:
    """Where to ask: the options, which fall back to GitLab's predefined variables."""
    return Surroundings(
        api=api or "",
        project=project or "",
        token=environ.get("GITLAB_TOKEN", ""),
        job_token=environ.get("CI_JOB_TOKEN", ""),
        server=environ.get("CI_SERVER_URL", ""),
        oidc=bool(settings.value(environ, "AWS_ROLE_ARN") and environ.get("AWS_ID_TOKEN")),
    )


def examine(around: Surroundings, *, deploys: bool) -> Iterator[Verdict]:
    """Every check on GitLab: its address, the project's protection and variables, the components that it includes."""
    if around.server:
        yield verdicts.issuer(around.server, settings.issuer_problem(around.server), oidc=around.oidc)
    client = None
    if around.api and (around.token or around.job_token):
        try:
            client = gitlab.connect(around.api, token=around.token, job_token=around.job_token)
        except errors.InvalidOption as error:
            yield verdicts.failed("GitLab API", error.message)
    if not around.api or not around.project:
        yield verdicts.skipped("GitLab project", "outside a job, tell --gitlab-api and --gitlab-project")
    elif not around.token:
        yield verdicts.skipped("GitLab project", f"to look {_NEEDS}")
    elif client is not None:
        yield from _project(client, around.project, deploys=deploys)
    yield from _components(client, Path(".gitlab-ci.yml"))


def _project(client: Gitlab, name: str, *, deploys: bool) -> Iterator[Verdict]:
    try:
        with gitlab.asking():
            project = client.projects.get(name)
    except errors.SagemakerCiError as error:
        yield _unseen("GitLab project", error)
        return
    yield verdicts.ok("GitLab project", project.path_with_namespace)
    yield _default_branch(project, project.attributes.get("default_branch") or "main")
    if deploys and "ci_forward_deployment_enabled" in project.attributes:
        yield verdicts.outdated_deployments(prevented=project.ci_forward_deployment_enabled)
    if deploys and (role := project.attributes.get("ci_pipeline_variables_minimum_override_role")):
        yield verdicts.pipeline_variables(role)
    if deploys:
        yield from _protected_environments(project)
    try:
        with gitlab.asking():
            variables = project.variables.list(get_all=True)
    except errors.SagemakerCiError as error:
        yield _unseen("CI/CD variables", error)
    else:
        rows = [each.attributes for each in variables]
        yield from verdicts.variables(rows, deploys=deploys)
        yield from merge_requests.protected(rows)


def _protected_environments(project: Project) -> Iterator[Verdict]:
    """Who may deploy where; a stage that deploys by itself does so as the owner of the trigger token.

    GitLab without Premium has none of them and answers 404, as it does to who may not look.
    """
    try:
        with gitlab.asking():
            rules = {rule.name: rule.deploy_access_levels for rule in project.protected_environments.list(get_all=True)}
    except errors.GitLabDenied:
        return
    except errors.SagemakerCiError as error:
        yield _unseen("protected environments", error)
        return
    for stage in settings.STAGES:
        if stage in rules:
            owners = _owners_of_triggers(project) if stage == settings.STAGES[0] else []
            yield verdicts.protected_environment(stage, rules[stage], owners)


def _owners_of_triggers(project: Project) -> list[Mapping[str, Any]]:
    """Those in whose name approvals start pipelines, each with `id`, `username` and `access_level`."""
    try:
        with gitlab.asking():
            owners = {each.owner["id"] for each in project.triggers.list(get_all=True) if each.owner}
            return [each.attributes for each in project.members_all.list(get_all=True) if each.id in owners]
    except errors.SagemakerCiError:
        return []  # what the environment admits is told all the same


def _default_branch(project: Project, name: str) -> Verdict:
    try:
        with gitlab.asking():
            return verdicts.protection(name, protected=project.branches.get(name).protected)
    except errors.GitLabDenied:
        return verdicts.hint("default branch", f"{name} is not there yet: push the first commit, then protect it")
    except errors.SagemakerCiError as error:
        return _unseen("default branch", error)


def _unseen(check: str, error: errors.SagemakerCiError) -> Verdict:
    if isinstance(error, errors.GitLabDenied):
        return verdicts.skipped(check, f"{error.message}; to look {_NEEDS}")
    return verdicts.failed(check, error.message)


def _components(client: Gitlab | None, file: Path) -> Iterator[Verdict]:
    included = verdicts.components(merge_requests.configuration(file.parent))
    if not included:
        yield verdicts.skipped("component", f"no component of this project in {file}: run doctor in your repository")
    newest = {project: _newest(client, project) for project in {component.project for component in included}}
    for component in included:
        yield verdicts.component_version(component, __version__, newest[component.project])


def _newest(client: Gitlab | None, name: str) -> str | None:
    if client is None:
        return None
    project = client.projects.get(name, lazy=True)
    # A job token reads releases; tags are for those who may read the repository.
    lists: tuple[tuple[Any, str], ...] = ((project.releases, "tag_name"), (project.tags, "name"))
    for rows, key in lists:
        try:
            with gitlab.asking():
                tags = [str(row.attributes[key]) for row in rows.list(get_all=True)]
        except errors.GitLabUnreachable:
            return None
        except errors.SagemakerCiError:
            continue
        if version := verdicts.newest(tags):
            return version
    return None
