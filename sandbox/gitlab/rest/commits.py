"""Commits, the tree they hold, comparisons and archives: https://docs.gitlab.com/api/commits/, …/repositories/."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from flask import Response, request

from sandbox.gitlab.records.git import Action, Commit, Refused
from sandbox.gitlab.records.store import DEVELOPER, REPORTER, Project
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    ApiError,
    Json,
    bad_parameter,
    boolean,
    choice,
    forbidden,
    lacking,
    moment,
    not_found,
    parameters,
    required,
    rows,
)
from sandbox.gitlab.rest.resources import page_of
from sandbox.gitlab.run.pushes import after_push

BASE = "/projects/:project/repository"
_ACTIONS = ("create", "update", "delete", "move", "chmod")
_FORMATS = {"tar.gz": "application/gzip", "tar": "application/x-tar", "zip": "application/zip"}


def register(api: Api, entities: Entities) -> None:
    """Add the resources."""
    _read(api, entities)
    _write(api, entities)
    _tree(api)
    _compare(api, entities)
    _archive(api)


def _show(api: Api, entities: Entities, project: Project, commit: Commit, *, stats: bool) -> Json:
    pipelines = [pipeline for pipeline in project.pipelines if pipeline.sha == commit.id]
    last = max(pipelines, key=lambda pipeline: pipeline.id, default=None)
    shown = entities.commit(commit, project)
    if stats:
        added, deleted = project.repository.stats(commit.id)
        shown["stats"] = {"additions": added, "deletions": deleted, "total": added + deleted}
    return shown | {
        "status": last.status if last else None,
        "project_id": project.id,
        "last_pipeline": entities.basic_pipeline(last) if last else None,
    }


def _read(api: Api, entities: Entities) -> None:
    @api.action("GET", f"{BASE}/commits", REPORTER)
    def list_commits(project: Project) -> Response:
        query = request.args
        for name in ("with_stats", "follow"):
            if boolean(query, name):
                raise lacking(f"`{name}` for lists of commits")
        ref: str | None = query.get("ref_name") or project.default_branch
        if boolean(query, "all"):
            ref = None
        elif project.repository.resolve(str(ref)) is None:
            raise not_found("Commit")
        since, until = moment(query, "since"), moment(query, "until")
        commits = project.repository.commits(
            ref,
            path=query.get("path"),
            first_parent=boolean(query, "first_parent"),
            author=query.get("author"),
            since=since.isoformat() if since else None,
            until=until.isoformat() if until else None,
        )
        return page_of(commits, lambda commit: entities.commit(commit, project), counted=False)

    @api.action("GET", f"{BASE}/commits/:key", REPORTER)
    def get_commit(project: Project, key: str) -> Json:
        sha = project.repository.resolve(key)
        if sha is None:
            raise not_found("Commit")
        stats = boolean(request.args, "stats", True)
        return _show(api, entities, project, project.repository.commit(sha), stats=stats)


def _write(api: Api, entities: Entities) -> None:
    @api.action("POST", f"{BASE}/commits", DEVELOPER, status=201)
    def create_commit(project: Project) -> Json:
        data = parameters()
        branch, message = required(data, "branch", "commit_message")
        if "actions" not in data:
            raise bad_parameter("actions is missing")
        actions = [_action(index, row) for index, row in enumerate(rows(data, "actions", "action"))]
        if not actions and not boolean(data, "allow_empty"):
            raise bad_parameter("actions is empty")
        sha = commit_to(api, project, data, branch, message, actions)
        commit = project.repository.commit(sha)
        return _show(api, entities, project, commit, stats=boolean(data, "stats", True))


def commit_to(api: Api, project: Project, data: Json, branch: str, message: str, actions: list[Action]) -> str:
    """Commit to a branch as the caller, and do what follows a push. Returns the SHA. Raises ApiError."""
    user, repository = current_user(), project.repository
    if data.get("start_project"):
        raise lacking("`start_project`: a project has no forks here")
    if not api.store.may_push(user, project, branch):
        raise forbidden("You are not allowed to push into this branch")
    with repository.lock:
        before = repository.refs()
        head = before.get(f"refs/heads/{branch}")
        start = data.get("start_branch") or data.get("start_sha")
        if start and head and not boolean(data, "force"):
            raise ApiError(
                400, f"A branch called '{branch}' already exists. Switch to that branch in order to make changes"
            )
        if not start and head is None and before:
            raise ApiError(400, "You can only create or edit files when you are on a branch")
        parent = repository.resolve(start) if start else head
        if start and parent is None:
            raise ApiError(400, "Invalid start branch" if data.get("start_branch") else "Invalid start sha")
        who = {"name": data.get("author_name") or user.name, "email": data.get("author_email") or user.email}
        try:
            sha = repository.write(branch, parent, actions, message, who)
        except Refused as error:
            raise ApiError(400, str(error)) from error
    after_push(api.engine, project, user, before)
    return sha


def _action(index: int, row: Json) -> Action:
    kind = row.get("action")
    if kind not in _ACTIONS:
        raise bad_parameter(f"actions[{index}][action] does not have a valid value")
    for name in ("file_path", "previous_path", "content"):
        if isinstance(row.get(name), (dict, list)):
            raise bad_parameter(f"actions[{index}][{name}] is invalid")
    if not row.get("file_path"):
        raise bad_parameter(f"actions[{index}][file_path] is missing")
    executable = boolean(row, "execute_filemode") if "execute_filemode" in row else None
    previous = None if row.get("previous_path") is None else str(row["previous_path"])
    return Action(kind, str(row["file_path"]), previous, content_of(row), executable)


def content_of(data: Json) -> bytes | None:
    """The bytes of a file as a request holds them. Raises 400 for Base64 that is none."""
    content: Any = data.get("content")
    if content is None:
        return None
    if choice(data, "encoding", ("text", "base64"), "text") == "text":
        return str(content).encode()
    try:
        return base64.b64decode(content)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, "content is not valid Base64") from error


def _tree(api: Api) -> None:
    @api.action("GET", f"{BASE}/tree", REPORTER)
    def tree(project: Project) -> Response:
        ref, path = request.args.get("ref", project.default_branch), request.args.get("path", "")
        sha = project.repository.resolve(ref)
        if sha is None:
            raise not_found("Tree")
        if request.args.get("pagination") == "none" or request.args.get("page_token"):
            raise lacking("trees without pages and `page_token`")
        entries = project.repository.tree(sha, path, recursive=boolean(request.args, "recursive"))
        if path and not entries:
            raise not_found("invalid revision or path")
        return page_of(
            entries,
            lambda e: {"id": e.id, "name": e.path.split("/")[-1], "type": e.type, "path": e.path, "mode": e.mode},
        )


def _compare(api: Api, entities: Entities) -> None:
    @api.action("GET", f"{BASE}/compare", REPORTER)
    def compare(project: Project) -> Json:
        old, new = required(request.args, "from", "to")
        repository = project.repository
        first, last = repository.resolve(old), repository.resolve(new)
        if first is None or last is None:
            raise not_found("Ref")
        if request.args.get("from_project_id"):
            raise lacking("comparisons with another project")
        straight = boolean(request.args, "straight")
        base = first if straight else repository.merge_base(first, last) or first
        commits = repository.commits(f"{base}..{last}")[::-1]
        return {
            "commit": entities.commit(commits[-1] if commits else repository.commit(last), project),
            "commits": [entities.commit(commit, project) for commit in commits],
            "diffs": repository.diffs(base, last),
            "compare_timeout": False,
            "compare_same_ref": first == last,
            "web_url": f"{entities.url}/{project.full_path}/-/compare/{first}...{last}",
        }


def _archive(api: Api) -> None:
    def archive(project: Project, kind: str) -> Response:
        if kind not in _FORMATS:
            raise lacking(f"archives of the format {kind}")
        ref = request.args.get("sha", project.default_branch)
        sha = project.repository.resolve(ref)
        if sha is None:
            raise not_found("File")
        for parameter in ("path", "exclude_paths"):
            if request.args.get(parameter):
                raise lacking(f"archives of a part of the repository (`{parameter}`)")
        name = f"{project.path}-{ref.replace('/', '-')}-{sha}"
        content = project.repository.git("archive", f"--format={kind}", f"--prefix={name}/", sha)
        headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
        return Response(content, mimetype=_FORMATS[kind], headers=headers)

    @api.action("GET", f"{BASE}/archive", REPORTER)
    def default_archive(project: Project) -> Response:
        return archive(project, request.args.get("format", "tar.gz"))

    for kind in ("tar.gz", "tar", "zip", "tar.bz2"):
        api.action("GET", f"{BASE}/archive.{kind}", REPORTER)(lambda project, kind=kind: archive(project, kind))
