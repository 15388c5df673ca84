"""REST resources of a project's repository: branches, tags, commits, files, and merge requests."""

from __future__ import annotations

import base64
from typing import Any

from flask import Response, request

from sandbox.gitlab.api import (
    Api,
    ApiError,
    Json,
    Resource,
    add_resource,
    boolean,
    current_user,
    not_found,
    page_of,
    parameters,
    required,
)
from sandbox.gitlab.entities import Entities
from sandbox.gitlab.repositories import Action, GitError, Refused
from sandbox.gitlab.store import DEVELOPER, MAINTAINER, MergeRequest, Project, User

_ACTIONS = ("create", "update", "delete", "move", "chmod")


def after_push(api: Api, project: Project, user: User, before: dict[str, str]) -> None:
    """What GitLab does when branches or tags have changed: protect a first default branch, start pipelines."""
    after = project.repository.refs()
    default = f"refs/heads/{project.default_branch}"
    with api.store.lock:
        if default in after and default not in before and not project.protected_branches:
            api.store.protect(project, project.default_branch)
    api.engine.pushed(project, user, before, after)


def register(api: Api, entities: Entities) -> None:
    """Add every resource of this module."""
    base = "/projects/:project/repository"

    def refs(project: Project, kind: str) -> list[tuple[Project, str, str]]:
        found = [(project, name, sha) for name, sha in project.repository.names(kind).items()]
        return [ref for ref in found if request.args.get("search", "") in ref[1]]

    def find_ref(items: list[tuple[Project, str, str]], key: str) -> tuple[Project, str, str] | None:
        return next((ref for ref in items if ref[1] == key), None)

    def show_branch(ref: tuple[Project, str, str]) -> Json:
        project, name, sha = ref
        return {
            "name": name,
            "default": name == project.default_branch,
            "protected": project.protects(name),
            "merged": False,
            "can_push": api.store.may_push(current_user(), project, name),
            "commit": entities.commit(project.repository.commit(sha), project),
            "web_url": f"{entities.url}/{project.full_path}/-/tree/{name}",
        }

    def show_tag(ref: tuple[Project, str, str]) -> Json:
        project, name, sha = ref
        shown = entities.commit(project.repository.commit(sha), project)
        release = next((r for r in project.releases if r.tag == name), None)
        about = {"tag_name": name, "description": release.description} if release else None
        return {"name": name, "message": "", "target": sha, "commit": shown, "release": about, "protected": False}

    def create_ref(project: Project, kind: str, name: str, ref: str) -> tuple[Project, str, str]:
        repository = project.repository
        sha = repository.resolve(ref)
        if sha is None:
            raise ApiError(400, f"Invalid reference name: {ref}" if kind == "heads" else f"Target {ref} is invalid")
        if name in repository.names(kind):
            raise ApiError(400, "Branch already exists" if kind == "heads" else f"Tag {name} already exists")
        before = repository.refs()
        repository.set_ref(f"refs/{kind}/{name}", sha)
        after_push(api, project, current_user(), before)
        return project, name, sha

    def delete_branch(project: Project, ref: tuple[Project, str, str]) -> None:
        if ref[1] == project.default_branch or project.protects(ref[1]):
            raise ApiError(403, "403 Forbidden")
        project.repository.delete_ref(f"refs/heads/{ref[1]}")

    add_resource(
        api,
        Resource(
            f"{base}/branches", "Branch", lambda project: refs(project, "heads"), show_branch, find=find_ref,
            create=lambda project, data: create_ref(project, "heads", *required(data, "branch", "ref")),
            delete=delete_branch, write=DEVELOPER,
        ),
    )  # fmt: skip
    add_resource(
        api,
        Resource(
            f"{base}/tags", "Tag", lambda project: refs(project, "tags"), show_tag, find=find_ref,
            create=lambda project, data: create_ref(project, "tags", *required(data, "tag_name", "ref")),
            write=DEVELOPER,
        ),
    )  # fmt: skip

    # --- commits ----------------------------------------------------------------------------------------------------

    @api.action("GET", f"{base}/commits")
    def list_commits(project: Project) -> Response:
        ref = request.args.get("ref_name", project.default_branch)
        if project.repository.resolve(ref) is None:
            raise not_found("Commit")
        commits = project.repository.commits(ref, path=request.args.get("path"))
        return page_of(commits, lambda commit: entities.commit(commit, project))

    @api.action("POST", f"{base}/commits", DEVELOPER, status=201)
    def create_commit(project: Project) -> Json:
        data = parameters()
        branch, message, actions = required(data, "branch", "commit_message", "actions")
        return entities.commit(project.repository.commit(commit_to(project, data, branch, message, actions)), project)

    def commit_to(project: Project, data: Json, branch: str, message: str, actions: list[Json]) -> str:
        user, repository = current_user(), project.repository
        if not api.store.may_push(user, project, branch):
            raise ApiError(403, "You are not allowed to push into this branch")
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
            who = {"name": data.get("author_name", user.name), "email": data.get("author_email", user.email)}
            try:
                sha = repository.write(branch, parent, map(_action, actions), message, who)
            except Refused as error:
                raise ApiError(400, str(error)) from error
        after_push(api, project, user, before)
        return sha

    @api.action("GET", f"{base}/tree")
    def tree(project: Project) -> Response:
        ref = request.args.get("ref", project.default_branch)
        if project.repository.resolve(ref) is None:
            raise not_found("Tree")
        entries = project.repository.tree(
            ref, request.args.get("path", ""), recursive=boolean(request.args, "recursive")
        )
        return page_of(
            entries,
            lambda e: {"id": e.id, "name": e.path.split("/")[-1], "type": e.type, "path": e.path, "mode": e.mode},
        )

    # --- files ------------------------------------------------------------------------------------------------------

    def file_at(project: Project, path: str) -> tuple[str, str, bytes]:
        ref = request.args.get("ref", "HEAD")
        ref = project.default_branch if ref == "HEAD" else ref
        sha = project.repository.resolve(ref)
        content = project.repository.read(sha, path) if sha else None
        if sha is None or content is None:
            raise not_found("Commit" if sha is None else "File")
        return ref, sha, content

    @api.action("GET", f"{base}/files/:path")
    def get_file(project: Project, path: str) -> Json:
        ref, sha, content = file_at(project, path)
        entry = project.repository.entry(sha, path)
        return {
            "file_name": path.split("/")[-1],
            "file_path": path,
            "size": len(content),
            "encoding": "base64",
            "content": base64.b64encode(content).decode(),
            "ref": ref,
            "blob_id": entry.id if entry else "",
            "commit_id": sha,
            "last_commit_id": project.repository.commits(sha, limit=1, path=path)[0].id,
            "execute_filemode": bool(entry and entry.mode == "100755"),
        }

    @api.action("GET", f"{base}/files/:path/raw")
    def get_raw_file(project: Project, path: str) -> Response:
        return Response(file_at(project, path)[2], mimetype="text/plain")

    _register_merge_requests(api, entities)


def _action(data: Json) -> Action:
    kind = data.get("action")
    if kind not in _ACTIONS:
        raise ApiError(400, "actions[action] does not have a valid value", key="error")
    content: Any = data.get("content")
    if content is not None:
        content = base64.b64decode(content) if data.get("encoding") == "base64" else content.encode()
    executable = boolean(data, "execute_filemode") if "execute_filemode" in data else None
    return Action(kind, data.get("file_path", ""), data.get("previous_path"), content, executable)


def _register_merge_requests(api: Api, entities: Entities) -> None:
    base = "/projects/:project/merge_requests"
    store = api.store

    def found(project: Project, iid: str) -> MergeRequest:
        request_ = next((request for request in project.merge_requests if str(request.iid) == iid), None)
        if request_ is None:
            raise not_found()
        return request_

    @api.action("POST", base, DEVELOPER, status=201)
    def create_merge_request(project: Project) -> Json:
        data = parameters()
        source, target, title = required(data, "source_branch", "target_branch", "title")
        heads = project.repository.names("heads")
        if source == target or source not in heads or target not in heads:
            raise ApiError(400, {"validate_branches": ["Branches are invalid"]})
        with store.lock:
            for other in project.merge_requests:
                if (other.source_branch, other.target_branch, other.state) == (source, target, "opened"):
                    raise ApiError(
                        409, [f"Another open merge request already exists for this source branch: !{other.iid}"]
                    )
            made = MergeRequest(
                store.next_id("merge request"), store.next_id(f"merge request of {project.id}"), title,
                data.get("description", ""), source, target, current_user(),
            )  # fmt: skip
            project.merge_requests.append(made)
        api.engine.merge_request_changed(made, project, current_user())
        return entities.merge_request(made, project)

    @api.action("GET", f"{base}/:iid")
    def get_merge_request(project: Project, iid: str) -> Json:
        return entities.merge_request(found(project, iid), project)

    @api.action("GET", f"{base}/:iid/pipelines")
    def merge_request_pipelines(project: Project, iid: str) -> Response:
        wanted = found(project, iid)
        return page_of([p for p in project.pipelines[::-1] if p.merge_request is wanted], entities.pipeline)

    @api.action("PUT", f"{base}/:iid/merge", MAINTAINER)
    def merge(project: Project, iid: str) -> Json:
        wanted, user = found(project, iid), current_user()
        if wanted.state != "opened":
            raise ApiError(405, "405 Method Not Allowed")
        before = project.repository.refs()
        message = f"Merge branch '{wanted.source_branch}' into '{wanted.target_branch}'"
        who = {"name": user.name, "email": user.email}
        try:
            sha = project.repository.merge(wanted.target_branch, wanted.source_branch, message, who)
        except GitError as error:
            raise ApiError(422, "Branch cannot be merged") from error
        wanted.merge_commit_sha, wanted.state = sha, "merged"
        if boolean(parameters(), "should_remove_source_branch"):
            project.repository.delete_ref(f"refs/heads/{wanted.source_branch}")
        after_push(api, project, user, before)
        return entities.merge_request(wanted, project)
