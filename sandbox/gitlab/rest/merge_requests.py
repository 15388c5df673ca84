"""Merge requests: https://docs.gitlab.com/api/merge_requests/. Their notes are in `notes.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, request

from sandbox.gitlab.records.git import GitError
from sandbox.gitlab.records.store import DEVELOPER, REPORTER, MergeRequest, Pipeline, Project, now
from sandbox.gitlab.rest.api import Api, current_user
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import (
    ApiError,
    Json,
    boolean,
    choice,
    forbidden,
    integer,
    lacking,
    not_found,
    parameters,
    required,
)
from sandbox.gitlab.rest.resources import in_order, page_of
from sandbox.gitlab.run.merging import MergeRefused, open_merge_request
from sandbox.gitlab.run.pipelines import Refused
from sandbox.gitlab.run.pushes import after_push

BASE = "/projects/:project/merge_requests"
_LACKING = (
    "assignee_id", "assignee_ids", "reviewer_ids", "labels", "add_labels", "milestone_id", "squash", "auto_merge",
    "merge_when_pipeline_succeeds", "allow_collaboration",
)  # fmt: skip


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    show = _one(api, entities)
    _read(api, entities, show)
    _create(api, show)
    _change(api, show)
    _pipelines(api, entities)


def request_of(project: Project, iid: str) -> MergeRequest:
    """The project's merge request of this number. Raises 404."""
    merge_request = next((each for each in project.merge_requests if str(each.iid) == iid), None)
    if merge_request is None:
        raise not_found()
    return merge_request


def _head(project: Project, merge_request: MergeRequest) -> Pipeline | None:
    """Its newest pipeline, or the branch's: https://docs.gitlab.com/api/merge_requests/ (head_pipeline)."""
    pipelines = [each for each in project.pipelines if each.merge_request is merge_request]
    branch = [each for each in project.pipelines if each.sha == merge_request.sha and not each.merge_request]
    return max(pipelines or branch, key=lambda pipeline: pipeline.id, default=None)


def merge_status(project: Project, merge_request: MergeRequest) -> str:
    """The detailed merge status: https://docs.gitlab.com/api/merge_requests/#merge-status."""
    heads = project.repository.names("heads")
    if merge_request.state != "opened":
        return "not_open"
    if merge_request.draft:
        return "draft_status"
    source, target = heads.get(merge_request.source_branch), heads.get(merge_request.target_branch)
    if source is None or target is None:
        return "broken_status"
    if project.repository.contains(target, source):
        return "commits_status"
    if not project.repository.can_merge(target, source):
        return "conflict"
    if project.setting("only_allow_merge_if_pipeline_succeeds"):
        head = _head(project, merge_request)
        allowed = {"success", *(["skipped"] if project.setting("allow_merge_on_skipped_pipeline") else [])}
        if head is None or head.status not in allowed:
            running = head is not None and head.finished_at is None and head.status != "manual"
            return "ci_still_running" if running else "ci_must_pass"
    return "mergeable"


Show = Callable[[MergeRequest, Project], Json]


def _one(api: Api, entities: Entities) -> Show:
    def show(merge_request: MergeRequest, project: Project) -> Json:
        repository = project.repository
        target = repository.names("heads").get(merge_request.target_branch)
        base = repository.merge_base(target, merge_request.sha) if target and merge_request.sha else None
        changes = repository.changed(base, merge_request.sha) if base else 0
        return entities.one_merge_request(
            merge_request,
            project,
            merge_status(project, merge_request),
            _head(project, merge_request),
            (base, changes),
            can_merge=api.store.may_push(current_user(), project, merge_request.target_branch),
        )

    return show


def _read(api: Api, entities: Entities, show: Show) -> None:
    @api.action("GET", BASE, REPORTER)
    def list_merge_requests(project: Project) -> Response:
        query = request.args
        state = choice(query, "state", ("opened", "closed", "locked", "merged", "all"), "all")
        choice(query, "scope", ("created_by_me", "assigned_to_me", "all"))
        author = integer(query, "author_id")
        author = current_user().id if query.get("scope") == "created_by_me" else author
        iids = query.getlist("iids[]")
        text = query.get("search", "").lower()
        merge_requests = [
            each
            for each in project.merge_requests
            if state in ("all", each.state)
            and query.get("source_branch") in (None, each.source_branch)
            and query.get("target_branch") in (None, each.target_branch)
            and author in (None, each.author.id)
            and (not iids or str(each.iid) in iids)
            and text in f"{each.title} {each.description}".lower()
        ]
        fields: dict[str, Any] = {
            "created_at": lambda each: each.iid,
            "updated_at": lambda each: each.updated_at,
            "title": lambda each: each.title,
        }
        return page_of(
            in_order(merge_requests, fields, "created_at", "desc"),
            lambda each: entities.merge_request(each, project, merge_status(project, each)),
        )

    @api.action("GET", f"{BASE}/:iid", REPORTER)
    def get_merge_request(project: Project, iid: str) -> Json:
        return show(request_of(project, iid), project)


def _refuse_lacking(data: Json) -> None:
    for name in _LACKING:
        if data.get(name) not in (None, "", [], False, "false"):
            raise lacking(f"`{name}` of merge requests")


def _create(api: Api, show: Show) -> None:
    @api.action("POST", BASE, DEVELOPER, status=201)
    def create_merge_request(project: Project) -> Json:
        data = parameters()
        source, target, title = required(data, "source_branch", "target_branch", "title")
        if integer(data, "target_project_id", project.id) != project.id:
            raise lacking("merge requests between projects")
        _refuse_lacking(data)
        try:
            opened = open_merge_request(
                api.store, api.engine, project, current_user(), source, target, title, data.get("description") or ""
            )
        except MergeRefused as error:
            key = "error" if error.status == 422 else "message"
            raise ApiError(error.status, [str(error)], key=key) from error
        opened.remove_source_branch = boolean(data, "remove_source_branch")
        return show(opened, project)


def _change(api: Api, show: Show) -> None:
    @api.action("PUT", f"{BASE}/:iid", DEVELOPER)
    def update_merge_request(project: Project, iid: str) -> Json:
        data = parameters()
        _refuse_lacking(data)
        event = choice(data, "state_event", ("close", "reopen"))
        with api.store.lock:
            merge_request = request_of(project, iid)
            if "target_branch" in data and data["target_branch"] not in project.repository.names("heads"):
                raise ApiError(400, {"validate_branches": ["Branches are invalid"]})
            for name in ("title", "description", "target_branch"):
                if name in data:
                    setattr(merge_request, name, data[name] or "")
            if event == "close" and merge_request.state == "opened":
                merge_request.state, merge_request.closed_at = "closed", now()
                merge_request.closed_by = current_user()
            elif event == "reopen" and merge_request.state == "closed":
                merge_request.state, merge_request.closed_at, merge_request.closed_by = "opened", None, None
            merge_request.updated_at = now()
        if event == "close":
            api.engine.merge_request_closed(merge_request, project, current_user())
        return show(merge_request, project)

    @api.action("PUT", f"{BASE}/:iid/merge", REPORTER)
    def merge(project: Project, iid: str) -> Json:
        data, user = parameters(), current_user()
        merge_request = request_of(project, iid)
        _refuse_lacking(data)
        repository = project.repository
        if not api.store.may_merge(user, project, merge_request.target_branch):
            raise ApiError(401, "401 Unauthorized")
        status = merge_status(project, merge_request)
        if status in ("not_open", "draft_status", "ci_must_pass", "ci_still_running"):
            raise ApiError(405, "405 Method Not Allowed")
        if (sha := data.get("sha")) and sha != merge_request.sha:
            raise ApiError(409, f"SHA does not match HEAD of source branch: {merge_request.sha}")
        if status != "mergeable":
            raise ApiError(422, "Branch cannot be merged")
        before = repository.refs()
        names = f"branch '{merge_request.source_branch}' into '{merge_request.target_branch}'"
        message = data.get("merge_commit_message") or (
            f"Merge {names}\n\n{merge_request.title}\n\nSee merge request {project.full_path}!{merge_request.iid}"
        )
        who = {"name": user.name, "email": user.email}
        try:
            sha = repository.merge(merge_request.target_branch, merge_request.source_branch, message, who)
        except GitError as error:
            raise ApiError(422, "Branch cannot be merged") from error
        merge_request.merge_commit_sha, merge_request.state = sha, "merged"
        merge_request.merged_by, merge_request.merged_at, merge_request.updated_at = user, now(), now()
        if boolean(data, "should_remove_source_branch", bool(merge_request.remove_source_branch)):
            repository.delete_ref(f"refs/heads/{merge_request.source_branch}")
        after_push(api.engine, project, user, before)
        api.engine.merge_request_closed(merge_request, project, user)
        return show(merge_request, project)


def _pipelines(api: Api, entities: Entities) -> None:
    @api.action("GET", f"{BASE}/:iid/pipelines", REPORTER)
    def merge_request_pipelines(project: Project, iid: str) -> Response:
        merge_request = request_of(project, iid)
        pipelines = [each for each in project.pipelines[::-1] if each.merge_request is merge_request]
        return page_of(pipelines, entities.basic_pipeline)

    @api.action("POST", f"{BASE}/:iid/pipelines", DEVELOPER, status=201)
    def run_pipeline(project: Project, iid: str) -> Json:
        merge_request = request_of(project, iid)
        if boolean(parameters(), "async"):
            raise lacking("`async` for pipelines of merge requests")
        if merge_request.state != "opened":
            raise forbidden()
        try:
            return entities.pipeline(api.engine.create_for_merge_request(merge_request, project, current_user()))
        except Refused as error:
            raise ApiError(400, {"base": [str(error)]}) from error
