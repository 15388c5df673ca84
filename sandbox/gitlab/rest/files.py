"""Files of a repository: https://docs.gitlab.com/api/repository_files/."""

from __future__ import annotations

import base64
import hashlib

from flask import Response, jsonify, request

from sandbox.gitlab.records.git import Action
from sandbox.gitlab.records.store import DEVELOPER, REPORTER, Project
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.commits import BASE, commit_to, content_of
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import ApiError, Json, bad_parameter, boolean, not_found, parameters, required

_HEADERS = (
    "blob_id", "commit_id", "content_sha256", "encoding", "file_name", "file_path", "last_commit_id", "ref", "size",
    "execute_filemode",
)  # fmt: skip


def register(api: Api, entities: Entities) -> None:
    """Add the resource."""
    _read(api)
    _write(api)


def _show(project: Project, path: str, ref: str) -> tuple[Json, bytes]:
    """A file's facts and content. Raises 404."""
    if ".." in path.split("/"):
        raise bad_parameter("file_path should be a valid file path")
    ref = project.default_branch if ref == "HEAD" else ref
    repository = project.repository
    sha = repository.resolve(ref)
    if sha is None:
        raise not_found("Commit")
    content, entry = repository.read(sha, path), repository.entry(sha, path)
    if content is None or entry is None:
        raise not_found("File")
    shown: Json = {
        "file_name": path.split("/")[-1],
        "file_path": path,
        "size": len(content),
        "encoding": "base64",
        "content_sha256": hashlib.sha256(content).hexdigest(),
        "ref": ref,
        "blob_id": entry.id,
        "commit_id": sha,
        "last_commit_id": repository.commits(sha, limit=1, path=path)[0].id,
        "execute_filemode": entry.mode == "100755",
    }
    return shown, content


def _headers(shown: Json) -> dict[str, str]:
    values = {name: str(shown[name]).lower() if isinstance(shown[name], bool) else shown[name] for name in _HEADERS}
    return {f"X-Gitlab-{name.replace('_', '-').title()}": str(value) for name, value in values.items()}


def _read(api: Api) -> None:
    @api.action("GET", f"{BASE}/files/:path", REPORTER)
    def get_file(project: Project, path: str) -> Response:
        (ref,) = required(request.args, "ref")
        shown, content = _show(project, path, ref)
        answer = jsonify(shown | {"content": base64.b64encode(content).decode()})
        answer.headers.update(_headers(shown))
        return answer

    @api.action("HEAD", f"{BASE}/files/:path", REPORTER)
    def head_file(project: Project, path: str) -> Response:
        (ref,) = required(request.args, "ref")
        return Response(headers=_headers(_show(project, path, ref)[0]))

    @api.action("GET", f"{BASE}/files/:path/raw", REPORTER)
    def get_raw_file(project: Project, path: str) -> Response:
        shown, content = _show(project, path, request.args.get("ref", "HEAD"))
        return Response(content, mimetype="text/plain", headers=_headers(shown))


def _write(api: Api) -> None:
    def write(project: Project, path: str, kind: str) -> Json:
        data = parameters()
        names = ["branch", "commit_message", *(["content"] if kind != "delete" else [])]
        missing = [
            f"{name} is missing" for name in names if data.get(name) is None or (name != "content" and not data[name])
        ]
        if missing:
            raise bad_parameter(", ".join(missing))
        branch = data["branch"]
        if (seen := data.get("last_commit_id")) and kind != "create":
            newest = project.repository.commits(f"refs/heads/{branch}", limit=1, path=path)
            if newest and newest[0].id != seen:
                raise ApiError(
                    400, "You are attempting to update a file that has changed since you started editing it."
                )
        executable = boolean(data, "execute_filemode") if "execute_filemode" in data else None
        action = Action(kind, path, None, content_of(data), executable)
        commit_to(api, project, data, branch, data["commit_message"], [action])
        return {"file_path": path, "branch": branch}

    @api.action("POST", f"{BASE}/files/:path", DEVELOPER, status=201)
    def create_file(project: Project, path: str) -> Json:
        return write(project, path, "create")

    @api.action("PUT", f"{BASE}/files/:path", DEVELOPER)
    def update_file(project: Project, path: str) -> Json:
        return write(project, path, "update")

    @api.action("DELETE", f"{BASE}/files/:path", DEVELOPER)
    def delete_file(project: Project, path: str) -> None:
        write(project, path, "delete")
