"""git over HTTP: clone, fetch and push with an access token or a job token as password.

The smart protocol itself is git's own `--stateless-rpc`: https://git-scm.com/docs/http-protocol.
"""

from __future__ import annotations

import base64
import gzip
import subprocess

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from sandbox.gitlab.records.git import ENVIRONMENT, NO_COMMIT
from sandbox.gitlab.records.store import DEVELOPER, Project, User
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.run.merging import MergeRefused, open_merge_request
from sandbox.gitlab.run.push_options import Options, UnknownOption, parse
from sandbox.gitlab.run.pushes import after_push

_SERVICES = ("git-upload-pack", "git-receive-pack")
_READ_SCOPES, _WRITE_SCOPES = {"api", "read_repository", "write_repository"}, {"api", "write_repository"}


class _Denied(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def blueprint(api: Api) -> Blueprint:
    """The routes `/<project>.git/…`."""
    routes = Blueprint("git", __name__)

    @routes.errorhandler(_Denied)
    def denied(error: _Denied) -> Response:
        headers = {"WWW-Authenticate": 'Basic realm="GitLab"'} if error.status == 401 else {}
        return Response(f"{error}\n", error.status, headers, mimetype="text/plain")

    @routes.get("/<path:path>.git/info/refs")
    def advertise(path: str) -> Response:
        service = request.args.get("service", "")
        project, _ = _authorize(api, path, service)
        output = _git(project, service, b"", "--advertise-refs")
        announcement = f"# service={service}\n"
        body = f"{len(announcement) + 4:04x}{announcement}0000".encode() + output
        return _answer(body, f"application/x-{service}-advertisement")

    @routes.get("/<path:path>/info/refs")
    def advertise_elsewhere(path: str) -> BaseResponse:
        return redirect(f"/{path}.git/info/refs?{request.query_string.decode()}", 301)

    @routes.post("/<path:path>.git/<any('git-upload-pack','git-receive-pack'):service>")
    def exchange(path: str, service: str) -> Response:
        project, user = _authorize(api, path, service)
        body = request.get_data()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if service == "git-upload-pack":
            return _answer(_git(project, service, body), f"application/x-{service}-result")
        assert user is not None  # noqa: S101 - pushing is never anonymous
        refs, options = _pushed(body)
        try:
            push = parse(options)
        except UnknownOption as error:
            return _answer(_refusal(str(error)), f"application/x-{service}-result")
        for ref in refs:
            branch = ref.removeprefix("refs/heads/")
            if branch != ref and not api.store.may_push(user, project, branch):
                refusal = _refusal("You are not allowed to push code to protected branches on this project.")
                return _answer(refusal, f"application/x-{service}-result")
        with project.repository.lock:
            before = project.repository.refs()
            output = _git(project, service, body)
        after_push(api.engine, project, user, before, push.pipeline)
        messages = [_opened(api, project, user, ref, push) for ref in refs] if push.merge_request is not None else []
        return _answer(_messages(messages) + output, f"application/x-{service}-result")

    return routes


def _authorize(api: Api, path: str, service: str) -> tuple[Project, User | None]:
    """The project and the user, when the user may do this. Raises _Denied as GitLab answers git."""
    if service not in _SERVICES:
        raise _Denied(403, "only the smart protocol is served")
    project = api.store.find_project(path)
    pushing = service == "git-receive-pack"
    password = _password()
    if not password:
        if project and project.visibility == "public" and not pushing:
            return project, None
        raise _Denied(401, "HTTP Basic: Access denied.")
    user, readable, writable = _identify(api, password, project)
    level = api.store.access_level(user, project) if project else 0
    if project is None or not readable or (level == 0 and project.visibility == "private"):
        raise _Denied(
            404, "The project you were looking for could not be found or you don't have permission to view it."
        )
    if pushing and not (writable and level >= DEVELOPER):
        raise _Denied(403, "You are not allowed to upload code.")
    return project, user


def _password() -> str:
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "basic":
        return ""
    return base64.b64decode(value).decode(errors="replace").partition(":")[2]


def _identify(api: Api, password: str, project: Project | None) -> tuple[User, bool, bool]:
    """Whose token it is, and whether it lets its owner read and write this repository."""
    if job := api.store.find_running_job(password):
        return job.user, project is job.project or (project is not None and project.visibility != "private"), False
    token = api.store.find_token(password)
    if token is None or token.revoked or token.expired:
        raise _Denied(401, "HTTP Basic: Access denied.")
    scopes = set(token.scopes)
    return token.user, bool(scopes & _READ_SCOPES), bool(scopes & _WRITE_SCOPES)


def _pushed(body: bytes) -> tuple[list[str], list[str]]:
    """The refs that a push wants to change, and its push options: `old new ref` lines, then lines of options."""
    commands, position = _lines(body, 0)
    refs = []
    for line in commands:
        parts = line.split(b"\0")[0].decode(errors="replace").strip().split(" ", 2)
        if len(parts) == 3 and len(parts[0]) == len(NO_COMMIT):
            refs.append(parts[2])
    capabilities = commands[0].split(b"\0")[-1].split() if commands and b"\0" in commands[0] else []
    options = _lines(body, position)[0] if b"push-options" in capabilities else []
    return refs, [option.decode(errors="replace").rstrip("\n") for option in options]


def _lines(body: bytes, position: int) -> tuple[list[bytes], int]:
    """The packet lines up to the next flush packet, and where that ends."""
    lines = []
    while (length := int(body[position : position + 4] or b"0", 16)) > 4:
        lines.append(body[position + 4 : position + length])
        position += length
    return lines, position + 4


def _opened(api: Api, project: Project, user: User, ref: str, push: Options) -> str:
    """Open the merge request that a push asks for. Returns what git shows of it."""
    branch = ref.removeprefix("refs/heads/")
    sha = project.repository.refs().get(ref)
    if branch == ref or sha is None or push.merge_request is None:
        return ""
    wishes = push.merge_request
    target = wishes.target or project.default_branch
    title = wishes.title or project.repository.commit(sha).title
    if wishes.draft and not title.lower().startswith("draft:"):
        title = f"Draft: {title}"
    try:
        opened = open_merge_request(api.store, api.engine, project, user, branch, target, title, wishes.description)
    except MergeRefused as error:
        return f"WARNINGS:\n\n  Error encountered with push options 'merge_request.create': {error}\n"
    opened.remove_source_branch = wishes.remove_source_branch
    address = f"{request.host_url}{project.full_path}/-/merge_requests/{opened.iid}"
    return f"View merge request for {branch}:\n  {address}\n"


def _refusal(text: str) -> bytes:
    """The end of a push, with a reason that git shows: on the third band."""
    content = f"\x03GitLab: {text}\n".encode()
    return f"{len(content) + 4:04x}".encode() + content + b"0000"


def _messages(texts: list[str]) -> bytes:
    """What git shows as lines of `remote:`, on the second band: https://git-scm.com/docs/protocol-common."""
    text = "\n".join(filter(None, texts))
    content = f"\x02\n{text}\n".encode()
    return f"{len(content) + 4:04x}".encode() + content if text else b""


def _git(project: Project, service: str, body: bytes, *options: str) -> bytes:
    protocol = request.headers.get("Git-Protocol", "")
    environment = ENVIRONMENT | ({"GIT_PROTOCOL": protocol} if protocol else {})
    command = ["git", service.removeprefix("git-"), "--stateless-rpc", *options, str(project.repository.path)]
    return subprocess.run(command, input=body, env=environment, capture_output=True, check=False).stdout


def _answer(body: bytes, mimetype: str) -> Response:
    return Response(body, mimetype=mimetype, headers={"Cache-Control": "no-cache"})
