"""CI lint: https://docs.gitlab.com/api/lint/. It compiles as a push to the ref would, and keeps nothing."""

from __future__ import annotations

from typing import Any

import yaml
from flask import request

from sandbox.gitlab.config.errors import InvalidConfiguration
from sandbox.gitlab.config.surroundings import Source
from sandbox.gitlab.records.git import NO_COMMIT
from sandbox.gitlab.records.jobspec import CompiledJob
from sandbox.gitlab.records.store import DEVELOPER, REPORTER, Pipeline, Project
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import Json, boolean, lacking, not_found, parameters, required
from sandbox.gitlab.run import compilation, variables


class _Dumper(yaml.SafeDumper):
    """Writes what the engine reads: mappings and texts of classes of its own."""


_Dumper.add_multi_representer(dict, _Dumper.represent_dict)
_Dumper.add_multi_representer(list, _Dumper.represent_list)
_Dumper.add_multi_representer(str, _Dumper.represent_str)
_Dumper.add_multi_representer(object, lambda dumper, value: dumper.represent_str(str(value)))


def register(api: Api, entities: Entities) -> None:
    """Add both ways: what the repository holds, and a text."""

    @api.action("GET", "/projects/:project/ci/lint", REPORTER)
    def lint_repository(project: Project) -> Json:
        query = request.args
        if not project.repository.refs():
            raise not_found("Repository")
        ref = query.get("content_ref") or query.get("sha") or project.default_branch
        sha = project.repository.resolve(ref)
        if sha is None:
            raise not_found("Commit")
        content = project.repository.read(sha, compilation.CONFIGURATION)
        if content is None:
            return _answer(["Please provide content of .gitlab-ci.yml"], None, [])
        run = query.get("dry_run_ref") or query.get("ref") or project.default_branch
        return lint(project, sha, None, run, query)

    @api.action("POST", "/projects/:project/ci/lint", DEVELOPER)
    def lint_text(project: Project) -> Json:
        data = parameters()
        (content,) = required(data, "content")
        ref = data.get("ref") or project.default_branch
        sha = project.repository.resolve(ref)
        if sha is None:
            raise not_found("Commit" if project.repository.refs() else "Repository")
        return lint(project, sha, content, ref, data)

    def lint(project: Project, sha: str, content: str | None, ref: str, data: Any) -> Json:
        dry_run = boolean(data, "dry_run")
        if boolean(data, "include_jobs") and not dry_run:
            raise lacking("a lint with `include_jobs` that does not ask the rules: add `dry_run`")
        if dry_run and project.repository.resolve(ref) is None:
            return _answer(["Reference not found"], None, [])
        pipeline = Pipeline(
            0, 0, project, ref, False, sha, NO_COMMIT, "push", current_user()
        )  # never kept, so it needs no number
        commit = project.repository.commit(sha)
        pipeline.commit_variables = variables.of_pipeline(pipeline, commit, api.engine.server)
        try:
            linted = compilation.linted(pipeline, api.store, content)
        except InvalidConfiguration as error:
            return _answer(list(error.errors), None, [])
        errors = [linted.no_pipeline] if linted.no_pipeline and dry_run else []
        includes = [include(project, sha, *file) for file in linted.included]
        shown = _answer(errors, yaml.dump(linted.merged, Dumper=_Dumper, sort_keys=False), includes)
        return shown | ({"jobs": [_job(job) for job in linted.jobs]} if boolean(data, "include_jobs") else {})

    def include(project: Project, sha: str, kind: str, path: str, source: Source) -> Json:
        address = f"{entities.url}/{source.project_path}/-"
        extra = {"project": source.project_path, "ref": source.sha} if kind == "file" else {}
        return {
            "type": kind,
            "location": path,
            "blob": f"{address}/blob/{source.sha}/{path}",
            "raw": f"{address}/raw/{source.sha}/{path}",
            "extra": extra,
            "context_project": project.full_path,
            "context_sha": sha,
        }


def _answer(errors: list[str], merged: str | None, includes: list[Json]) -> Json:
    return {"valid": not errors, "errors": errors, "warnings": [], "merged_yaml": merged, "includes": includes}


def _job(job: CompiledJob) -> Json:
    def commands(name: str) -> list[str]:
        value = job.config.get(name) or []
        return [value] if isinstance(value, str) else list(value)

    return {
        "name": job.name,
        "stage": job.stage,
        "before_script": commands("before_script"),
        "script": commands("script"),
        "after_script": commands("after_script"),
        "tag_list": job.config.get("tags", []),
        "only": job.config.get("only"),
        "except": job.config.get("except"),
        "environment": job.environment["name"] if job.environment else None,
        "when": job.when,
        "allow_failure": job.allow_failure,
        "needs": [{"name": need.job, "artifacts": need.artifacts} for need in job.needs or ()] or None,
    }
