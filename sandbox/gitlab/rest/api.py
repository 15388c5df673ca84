"""The REST API's common ground: who asks, what they may, how routes are registered. Used by every module of `rest/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from flask import Blueprint, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response as BaseResponse

from sandbox.gitlab.records.store import GUEST, REPORTER, Job, Project, Store, Token, User
from sandbox.gitlab.rest.parameters import ApiError, forbidden, not_found
from sandbox.gitlab.run.pipelines import Engine

_READ_METHODS = ("GET", "HEAD")


class Encoded(BaseConverter):
    """A path segment that may hold an encoded slash, such as `group%2Fproject`; see `server.py`."""

    def to_python(self, value: str) -> str:
        return unquote(value)


class Api:
    """Registers resources and actions on one Flask blueprint and resolves `:project` and `:group` for them."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self.store = store
        self.engine = engine
        self.blueprint = Blueprint("api", __name__)
        self.blueprint.register_error_handler(ApiError, lambda error: (jsonify(error.body), error.status))
        self.blueprint.register_error_handler(
            HTTPException, lambda error: (jsonify(error=f"{error.code} {error.name}"), error.code)
        )

    def action(
        self, method: str, path: str, level: int = GUEST, status: int = 200, *, anonymous: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a function for `method path`. `:project` and `:group` in the path arrive as records that the
        caller may see (404 otherwise) and has at least `level` in (403 otherwise)."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            def view(**arguments: str) -> Any:
                g.user = None if anonymous else self.caller()
                resolved: dict[str, Any] = dict(arguments)
                if "project" in arguments:
                    project = self.store.find_project(arguments["project"])
                    if project is None and (moved := self.store.find_moved_project(arguments["project"])):
                        if not anonymous:  # a trigger token's owner is found at the old path, too
                            self._visible(moved, "Project", level, anonymous)
                            return self._moved(path, arguments | {"project": str(moved.id)})
                        project = moved
                    resolved["project"] = self._visible(project, "Project", level, anonymous)
                if "group" in arguments:
                    resolved["group"] = self._visible(
                        self.store.find_group(arguments["group"]), "Group", level, anonymous
                    )
                answer = function(**resolved)
                if answer is None:
                    return Response(status=204)
                return answer if isinstance(answer, BaseResponse) else (jsonify(answer), status)

            rule = "/".join(_segment(part) for part in path.split("/"))
            self.blueprint.add_url_rule(rule, f"{method} {path}".replace(".", " "), view, methods=[method])
            return function

        return register

    def caller(self) -> User:
        """The user behind the request's token, or whom it names with `sudo`. Raises 401 without a token."""
        user = self.identify()
        if user is None:
            raise ApiError(401, "401 Unauthorized")
        name = request.headers.get("Sudo") or request.args.get("sudo")
        return self._sudo(user, name) if name else user

    def _sudo(self, user: User, name: str) -> User:
        """https://docs.gitlab.com/api/rest/authentication/#sudo"""
        if not user.admin:
            raise forbidden("Must be admin to use sudo")
        token: Token | None = g.token
        if token is None:
            raise forbidden("Must be authenticated using an OAuth or personal access token to use sudo")
        if "sudo" not in token.scopes:
            raise _insufficient({"sudo"})
        other = next((each for each in self.store.users if name in (str(each.id), each.username)), None)
        if other is None:
            raise not_found(f"User with ID or username '{name}'")
        return other

    def identify(self) -> User | None:
        """The user of the request's token, None for an anonymous request. Raises ApiError for a token of no worth."""
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        job_token = request.headers.get("JOB-TOKEN") or request.args.get("job_token")
        value = request.headers.get("PRIVATE-TOKEN") or request.args.get("private_token") or bearer
        if bearer.startswith("Basic ") and "/packages/" in request.path:
            # pip and its like know no tokens; the registry takes one as the password, a job's to download alone.
            value = (request.authorization and request.authorization.password) or ""
            if value.startswith("glcbt-") and request.method not in _READ_METHODS:
                raise ApiError(401, "401 Unauthorized")
        g.token, g.job = None, None
        if job_token or value.startswith("glcbt-"):
            g.job = self.store.find_running_job(job_token or value)
            if g.job is None:
                raise ApiError(401, "401 Unauthorized")
            _check_job_token()
            owner: User = g.job.user
            return owner
        if not value:
            return None
        token = self.store.find_token(value)
        if token is None:
            raise ApiError(401, "401 Unauthorized")
        _check_token(token)
        self.store.use(token)
        g.token = token
        return token.user

    def _moved(self, path: str, arguments: Mapping[str, str]) -> Response:
        """https://docs.gitlab.com/api/rest/#redirects: to the same call with the project's number."""
        if request.method not in _READ_METHODS:
            raise ApiError(405, "Non GET methods are not allowed for moved projects")
        address = f"{request.host_url}api/v4{_filled_in(path, arguments)}"
        text = f"This resource has been moved permanently to {address}"
        return Response(text, 301, {"Location": address}, mimetype="text/plain")

    def _visible(self, source: Any, kind: str, level: int, anonymous: bool) -> Any:
        if anonymous and source is not None:
            return source
        actual = 0 if source is None else self.store.access_level(g.user, source)
        if source is None or (actual == 0 and source.visibility == "private"):
            raise not_found(kind)
        if (job := g.get("job")) and isinstance(source, Project) and not self.store.job_reaches(job, source):
            reached = f"from {job.project.full_path} to {source.full_path}"
            raise forbidden(f"Authentication by CI/CD job token not allowed {reached}.")
        if actual < level and not (level <= REPORTER and source.visibility != "private" and _reads()):
            raise forbidden()
        return source


def _reads() -> bool:
    return request.method in _READ_METHODS


def _filled_in(path: str, arguments: Mapping[str, str]) -> str:
    parts = (quote(arguments[part[1:]], safe="") if part[:1] in (":", "*") else part for part in path.split("/"))
    return "/".join(parts)


def _segment(part: str) -> str:
    if part.startswith("*"):
        return f"<path:{part[1:]}>"
    return f"<encoded:{part[1:]}>" if part.startswith(":") else part


# For which paths a smaller scope than api or read_api does: each endpoint's own file in lib/api/ of GitLab.
_MORE_SCOPES = (
    ("read_user", "GET", r"/(user|version|metadata)"),
    ("read_repository", "(GET|HEAD)", r"/projects/[^/]+/repository/files/.*"),
    ("self_rotate", "POST", r"(/(projects|groups)/[^/]+/access_tokens|/personal_access_tokens)/self/rotate"),
)


def _check_token(token: Token) -> None:
    if token.revoked:
        reason = "Token was revoked. You have to re-authorize from the user."
        raise ApiError(401, "invalid_token", key="error", error_description=reason)
    if token.expired:
        reason = "Token is expired. You can either do re-authorization or token refresh."
        raise ApiError(401, "invalid_token", key="error", error_description=reason)
    path = request.path.removeprefix("/api/v4")
    if path == "/personal_access_tokens/self":
        return
    enough = {"api", "read_api"} if request.method in _READ_METHODS else {"api"}
    enough |= {
        scope
        for scope, method, rule in _MORE_SCOPES
        if re.fullmatch(method, request.method) and re.fullmatch(rule, path)
    }
    if not enough & set(token.scopes):
        raise _insufficient(enough)


def _insufficient(scopes: set[str]) -> ApiError:
    reason = "The request requires higher privileges than provided by the access token."
    return ApiError(403, "insufficient_scope", key="error", error_description=reason, scope=" ".join(sorted(scopes)))


# https://docs.gitlab.com/ci/jobs/ci_job_token/#job-token-access
_JOB_TOKEN_MAY = (
    ("GET", r"/job"),
    ("GET", r"/projects/[^/]+/jobs"),
    ("GET", r"/projects/[^/]+/pipelines/[^/]+/jobs"),
    ("PUT", r"/projects/[^/]+/pipelines/[^/]+/metadata"),
    ("GET", r"/projects/[^/]+/jobs/([^/]+/)?artifacts(/.*)?"),
    (r"\w+", r"/projects/[^/]+/(packages|releases|deployments|environments)(/.*)?"),
    ("GET", r"/projects/[^/]+/merge_requests(/[^/]+(/notes)?)?"),
    ("GET", r"/projects/[^/]+/repository/tags(/.*)?"),
    ("GET", r"/projects/[^/]+/repository/(branches|commits/[^/]+|files/[^/]+/raw)"),
    ("POST", r"/projects/[^/]+/(trigger/pipeline|catalog/publish)"),
)


def _check_job_token() -> None:
    path = request.path.removeprefix("/api/v4")
    if not any(re.fullmatch(method, request.method) and re.fullmatch(rule, path) for method, rule in _JOB_TOKEN_MAY):
        raise ApiError(401, "401 Unauthorized")


def current_job() -> Job | None:
    job: Job | None = g.get("job")
    return job


def current_user() -> User:
    user: User = g.user
    return user


def current_token() -> Token | None:
    token: Token | None = g.get("token")
    return token
