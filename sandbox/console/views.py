"""The views: from a path to a title, a template and what it shows. GitLab's paths are GitLab's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from gitlab.exceptions import GitlabGetError

from sandbox.console import deployments, experiments, logs, models, repositories, traffic, way
from sandbox.console.links import of_arn, on_page
from sandbox.console.place import Seen
from sandbox.world import people


class Page(NamedTuple):
    """What a view comes to; `trail` leads up from it: label and path."""

    title: str
    template: str
    context: dict[str, Any]
    trail: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class View:
    rule: str
    show: Callable[..., Page]


VIEWS: list[View] = []
"""Every view, by its rule: https://werkzeug.palletsprojects.com/routing/."""
_PROJECT = "/<path:project>"


def view(rule: str) -> Callable[[Callable[..., Page]], Callable[..., Page]]:
    """Show this function's page under the rule. It raises LookupError where there is nothing to show."""

    def add(show: Callable[..., Page]) -> Callable[..., Page]:
        VIEWS.append(View(rule, show))
        return show

    return add


# --- the whole loop --------------------------------------------------------------------------------------------------


@view("/")
def loop(place: Seen) -> Page:
    projects = {row.path_with_namespace: row for row in repositories.projects(place)}
    build, deploy = projects.get(place.build_repository), projects.get(place.deploy_repository)
    training = repositories.pipelines(build, 4) if build else []
    deploying = repositories.pipelines(deploy, 4) if deploy else []
    group = next(iter(models.groups(place)), "")
    versions = models.versions(place, group, 8) if group else []
    runs = [run for row in models.pipelines(place)[:1] for run in row["executions"][:1]]
    run = models.execution(place, runs[0]["PipelineExecutionArn"]) if runs else None
    return Page("The loop", "loop.html", {
        "build": build, "deploy": deploy, "training": training, "deploying": deploying, "versions": versions,
        "run": run, "ways": way.ways(place, 4),
        "endpoints": {stage: models.endpoint(place, place.endpoint(stage)) for stage in people.STAGES},
        "names": {stage: place.endpoint(stage) for stage in people.STAGES},
    })  # fmt: skip


# --- GitLab ----------------------------------------------------------------------------------------------------------


def _project(place: Seen, path: str) -> Any:
    try:
        return place.gitlab().projects.get(path)
    except GitlabGetError as error:
        raise LookupError(path) from error


def _trail(project: Any, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return ((project.path_with_namespace, f"/{project.path_with_namespace}"), *more)


def _or_missing(get: Callable[[], Any], what: str) -> Any:
    try:
        return get()
    except GitlabGetError as error:
        raise LookupError(what) from error


@view(f"{_PROJECT}/-/pipelines/<int:number>")
def pipeline(place: Seen, project: str, number: int) -> Page:
    row = _project(place, project)
    shown = _or_missing(lambda: repositories.pipeline(row, number), f"pipeline {number}")
    reports = row.pipelines.get(number, lazy=True).test_report_summary.get()
    context = {"project": row, "pipeline": shown, "tests": reports.total}
    return Page(f"Pipeline {number}", "pipeline.html", context, _trail(row))


@view(f"{_PROJECT}/-/jobs/<int:number>")
def job(place: Seen, project: str, number: int) -> Page:
    row = _project(place, project)
    facts = _or_missing(lambda: row.jobs.get(number), f"job {number}")
    whole = repositories.pipeline(row, facts.pipeline["id"])
    [shown] = [each for stage in whole.stages for each in stage.jobs if each.name == facts.name]
    context = {
        "project": row,
        "job": repositories.job_of(facts),
        "newer": shown if shown.id != number else None,
        "facts": facts,
        "pipeline": whole,
        "log": logs.html(repositories.trace(row, number)),
        "artifacts": repositories.artifacts(place, project, facts),
    }
    trail = _trail(row, (f"Pipeline {whole.id}", whole.path))
    return Page(facts.name, "job.html", context, trail)


@view(f"{_PROJECT}/-/merge_requests/<int:number>")
def merge_request(place: Seen, project: str, number: int) -> Page:
    row = _project(place, project)
    shown = _or_missing(lambda: repositories.merge_request(row, number), f"merge request {number}")
    return Page(f"{shown.facts.title}", "merge_request.html", {"project": row, "shown": shown}, _trail(row))


@view(f"{_PROJECT}/-/commit/<sha>")
def commit(place: Seen, project: str, sha: str) -> Page:
    row = _project(place, project)
    facts = _or_missing(lambda: row.commits.get(sha), f"commit {sha}")
    changed = repositories.changes(row, facts.parent_ids[0], facts.id) if facts.parent_ids else []
    runs = [repositories.pipeline(row, each.id) for each in row.pipelines.list(sha=facts.id, get_all=True)]
    context = {"project": row, "commit": facts, "changes": changed, "pipelines": runs}
    return Page(facts.title, "commit.html", context, _trail(row))


@view(f"{_PROJECT}/-/compare/<first>...<last>")
def compare(place: Seen, project: str, first: str, last: str) -> Page:
    row = _project(place, project)
    changed = _or_missing(lambda: repositories.changes(row, first, last), f"{first}...{last}")
    context = {"project": row, "commit": None, "changes": changed, "pipelines": []}
    return Page(f"{first}...{last}", "commit.html", context, _trail(row))


@view(f"{_PROJECT}/-/blob/<ref>/<path:path>")
def blob(place: Seen, project: str, ref: str, path: str) -> Page:
    row = _project(place, project)
    context = {"project": row, "ref": ref, "path": path, "content": repositories.file(row, ref, path)}
    return Page(path, "file.html", context, _trail(row, ("Files", f"/{project}/-/tree/{ref}")))


@view(f"{_PROJECT}/-/edit/<ref>/<path:path>")
def edit(place: Seen, project: str, ref: str, path: str) -> Page:
    row = _project(place, project)
    context = {"project": row, "ref": ref, "path": path, "content": repositories.file(row, ref, path)}
    return Page(f"Edit {path}", "edit.html", context, _trail(row, ("Files", f"/{project}/-/tree/{ref}")))


@view(f"{_PROJECT}/-/tree/<ref>")
def tree(place: Seen, project: str, ref: str) -> Page:
    row = _project(place, project)
    rows = _or_missing(lambda: row.repository_tree(ref=ref, recursive=True, get_all=True), ref)
    paths = [each["path"] for each in rows if each["type"] == "blob"]
    return Page(f"Files of {ref}", "tree.html", {"project": row, "ref": ref, "paths": paths}, _trail(row))


@view(f"{_PROJECT}/-/releases/<tag>")
def release(place: Seen, project: str, tag: str) -> Page:
    row = _project(place, project)
    facts = _or_missing(lambda: row.releases.get(tag), f"release {tag}")
    shown = {"Tag": facts.tag_name, "Name": facts.name, "Released": facts.released_at, "About": facts.description}
    return Page(f"Release {tag}", "facts.html", {"facts": shown, "log": ""}, _trail(row))


@view("/groups/<path:group>")
def group(place: Seen, group: str) -> Page:
    row = _or_missing(lambda: place.gitlab().groups.get(group), f"group {group}")
    paths = [each.path_with_namespace for each in row.projects.list(get_all=True)]
    return Page(row.full_name, "group.html", {"paths": paths})


@view(f"{_PROJECT}/-/pipelines")
@view(_PROJECT)
def project(place: Seen, project: str) -> Page:
    if "/" not in project:
        person = repositories.person(place, project)
        return Page(person["Name"], "facts.html", {"facts": person, "log": ""})
    row = _project(place, project)
    context = {
        "project": row,
        "pipelines": repositories.pipelines(row),
        "requests": row.mergerequests.list(state="opened", get_all=True),
        "environments": row.environments.list(get_all=True),
        "schedules": deployments.schedules(row),
    }
    return Page(project, "project.html", context)


@view(f"{_PROJECT}/-/environments")
def environments(place: Seen, project: str) -> Page:
    row = _project(place, project)
    context = {"project": row, "environments": deployments.environments(place, row),
               "drift": deployments.drift(place, row)}  # fmt: skip
    return Page("Environments", "environments.html", context, _trail(row))


@view(f"{_PROJECT}/-/ml/experiments/<identity>")
def experiment(place: Seen, project: str, identity: str) -> Page:
    row = _project(place, project)
    name, runs = experiments.runs(row, identity)
    metrics = sorted({metric for run in runs for metric in run.metrics})
    return Page(f"Experiment {name}", "experiment.html", {"runs": runs, "metrics": metrics}, _trail(row))


# --- AWS -------------------------------------------------------------------------------------------------------------

_AWS = ("SageMaker", "/aws/pipelines")


@view("/aws/pipelines")
def executions(place: Seen) -> Page:
    return Page("SageMaker pipelines", "executions.html", {"pipelines": models.pipelines(place)})


@view("/aws/pipelines/<name>")
def pipeline_executions(place: Seen, name: str) -> Page:
    rows = [row for row in models.pipelines(place) if row["PipelineName"] == name]
    if not rows:
        raise LookupError(name)
    return Page(name, "executions.html", {"pipelines": rows}, (_AWS,))


@view("/aws/pipelines/<name>/<number>")
def execution(place: Seen, name: str, number: str) -> Page:
    arn = f"arn:aws:sagemaker:{place.region}:{place.account}:pipeline/{name}/execution/{number}"
    shown = models.execution(place, arn)
    job = on_page(shown.facts.get("PipelineExecutionDescription", ""))
    return Page(f"Execution {number}", "execution.html", {"run": shown, "started_by": job},
                (_AWS, (name, f"/aws/pipelines/{name}")))  # fmt: skip


@view("/aws/models")
def registry(place: Seen) -> Page:
    return Page("Model registry", "registry.html", {"groups": [_group(place, name) for name in models.groups(place)]})


@view("/aws/models/<name>")
def model_group(place: Seen, name: str) -> Page:
    return Page(name, "registry.html", {"groups": [_group(place, name)]}, (("Model registry", "/aws/models"),))


def _group(place: Seen, name: str) -> dict[str, Any]:
    versions = models.versions(place, name)
    held_to = models.limits(place, versions[0]) if versions else {}
    return {"name": name, "versions": versions, "charts": models.charts(versions, held_to), "held_to": held_to}


@view("/aws/models/<name>/<int:number>")
def model_version(place: Seen, name: str, number: int) -> Page:
    arn = f"arn:aws:sagemaker:{place.region}:{place.account}:model-package/{name}/{number}"
    shown = models.version(place, arn)
    rows = [each for each in models.endpoints(place) if arn in [variant.package for variant in each.variants]]
    origin = shown.facts.get("CustomerMetadataProperties") or {}
    execution = origin.get("PipelineExecutionArn", "")
    context = {
        "version": shown,
        "held_to": models.limits(place, shown),
        "endpoints": rows,
        "origin": {key: (value, on_page(value) or of_arn(value)) for key, value in origin.items()},
        "commit": f"/{origin['GitLabProject']}/-/commit/{origin['GitLabCommit']}" if "GitLabCommit" in origin else "",
        "job": on_page(origin.get("GitLabJob", "")),
        "execution": of_arn(execution) if execution else "",
    }
    trail = (("Model registry", "/aws/models"), (name, f"/aws/models/{name}"))
    return Page(f"Version {number}", "version.html", context, trail)


@view("/aws/endpoints")
def endpoints(place: Seen) -> Page:
    return Page("Endpoints", "endpoints.html", _endpoints(place, models.endpoints(place)))


def _endpoints(place: Seen, rows: list[models.Endpoint]) -> dict[str, Any]:
    traffic_by_name = {each.name: traffic.traffic(place, each.facts) for each in rows}
    return {
        "endpoints": rows,
        "traffic": traffic_by_name,
        "sample": people.SAMPLE,
        "version_of": partial(models.version_of, place),
    }


@view("/aws/endpoints/<name>")
def endpoint(place: Seen, name: str) -> Page:
    shown = models.endpoint(place, name)
    if shown is None:
        raise LookupError(f"endpoint {name}")
    return Page(name, "endpoints.html", _endpoints(place, [shown]), (("Endpoints", "/aws/endpoints"),))


@view("/aws/jobs/<kind>/<name>")
def sagemaker_job(place: Seen, kind: str, name: str) -> Page:
    facts, log = models.job(place, kind, name)
    shown = {key: value for key, value in facts.items() if key != "ResponseMetadata"}
    return Page(name, "facts.html", {"facts": shown, "log": logs.html(log)}, (_AWS,))


@view("/aws/events")
def events(place: Seen) -> Page:
    deploy = {row.path_with_namespace: row for row in repositories.projects(place)}.get(place.deploy_repository)
    started = [each for each in repositories.pipelines(deploy) if each.facts["source"] == "trigger"] if deploy else []
    return Page("Events", "events.html", {"ways": way.ways(place), "started": started})


@view("/aws/stacks")
def stacks(place: Seen) -> Page:
    return Page("Stacks", "stacks.html", {"stacks": way.stacks(place)})


@view("/aws/stacks/<name>")
def stack(place: Seen, name: str) -> Page:
    return Page(name, "stack.html", {"events": way.stack_events(place, name)}, (("Stacks", "/aws/stacks"),))


@view("/aws/quotas")
def quotas(place: Seen) -> Page:
    pages = place.aws("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    shown = {row["QuotaName"]: f"{row['Value']:g}" for page in pages for row in page["Quotas"]}
    return Page("Service quotas of SageMaker", "facts.html", {"facts": shown, "log": ""})


def page_of(show: Callable[..., Page], place: Seen, arguments: dict[str, Any]) -> Page:
    """A view's page. Raises LookupError for what AWS does not have, too."""
    try:
        return show(place, **arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("ValidationException", "ValidationError", "ResourceNotFound", "ResourceNotFoundException"):
            raise LookupError(error.response["Error"]["Message"]) from error
        raise
