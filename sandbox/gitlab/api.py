"""The REST API's common ground: who asks, what they may, how answers, pages and errors look. Used by all `api_*`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote, urlencode

from flask import Blueprint, Response, g, jsonify, redirect, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from sandbox.gitlab.pipelines import Engine
from sandbox.gitlab.store import GUEST, MAINTAINER, Job, Project, Store, Token, User

Json = dict[str, Any]
_READ_METHODS = ("GET", "HEAD")


class ApiError(Exception):
    """An answer that is not a success, in GitLab's form: `{"message": …}`, for bad parameters `{"error": …}`."""

    def __init__(self, status: int, message: Any, key: str = "message", **more: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.body = {key: message, **more}


def not_found(what: str = "") -> ApiError:
    return ApiError(404, f"404 {what} Not Found" if what else "404 Not found")


def bad_parameter(message: str) -> ApiError:
    return ApiError(400, message, key="error")


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
                    if moved := self._moved(arguments["project"]):
                        # https://docs.gitlab.com/api/rest/#redirects: to the same call with the project's number.
                        self._visible(moved, "Project", level, anonymous)
                        if method != "GET":
                            raise ApiError(405, "Non GET methods are not allowed for moved projects")
                        return redirect(
                            f"{request.host_url}api/v4{_filled_in(path, arguments | {'project': str(moved.id)})}"
                        )
                    resolved["project"] = self._visible(
                        self.store.find_project(arguments["project"]), "Project", level, anonymous
                    )
                if "group" in arguments:
                    resolved["group"] = self._visible(
                        self.store.find_group(arguments["group"]), "Group", level, anonymous
                    )
                answer = function(**resolved)
                if answer is None:
                    return Response(status=204)
                return answer if isinstance(answer, Response) else (jsonify(answer), status)

            rule = "/".join(_segment(part) for part in path.split("/"))
            self.blueprint.add_url_rule(rule, f"{method} {path}", view, methods=[method])
            return function

        return register

    def caller(self) -> User:
        """The user behind the request's token. Raises 401 without one, 403 when its scopes do not suffice."""
        user = self.identify()
        if user is None:
            raise ApiError(401, "401 Unauthorized")
        return user

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
        g.token = token
        return token.user

    def _moved(self, reference: str) -> Project | None:
        return None if self.store.find_project(reference) else self.store.find_moved_project(reference)

    def _visible(self, source: Any, kind: str, level: int, anonymous: bool) -> Any:
        if anonymous and source is not None:
            return source
        actual = 0 if source is None else self.store.access_level(g.user, source)
        if (
            g.get("job")
            and isinstance(source, Project)
            and source is not g.job.project
            and source.visibility == "private"
        ):
            actual = 0  # a job token reaches its own project; the allowlist of others starts out empty
        if source is None or (actual == 0 and source.visibility == "private"):
            raise not_found(kind)
        if actual < level and not (level <= GUEST and source.visibility != "private"):
            raise ApiError(403, "403 Forbidden")
        return source


def _filled_in(path: str, arguments: Mapping[str, str]) -> str:
    parts = (quote(arguments[part[1:]], safe="") if part[:1] in (":", "*") else part for part in path.split("/"))
    return "/".join(parts)


def _segment(part: str) -> str:
    if part.startswith("*"):
        return f"<path:{part[1:]}>"
    return f"<encoded:{part[1:]}>" if part.startswith(":") else part


def _check_token(token: Token) -> None:
    if token.revoked:
        reason = "Token was revoked. You have to re-authorize from the user."
        raise ApiError(401, "invalid_token", key="error", error_description=reason)
    if token.expired:
        reason = "Token is expired. You can either do re-authorization or token refresh."
        raise ApiError(401, "invalid_token", key="error", error_description=reason)
    enough = {"api", "read_api"} if request.method in _READ_METHODS else {"api"}
    if not enough & set(token.scopes):
        reason = "The request requires higher privileges than provided by the access token."
        raise ApiError(403, "insufficient_scope", key="error", error_description=reason, scope=" ".join(sorted(enough)))


# https://docs.gitlab.com/ci/jobs/ci_job_token/#job-token-access
_JOB_TOKEN_MAY = (
    ("GET", r"/job"),
    ("GET", r"/projects/[^/]+/jobs/([^/]+/)?artifacts(/.*)?"),
    (r"\w+", r"/projects/[^/]+/(packages|releases|deployments|environments)(/.*)?"),
    ("GET", r"/projects/[^/]+/repository/tags(/.*)?"),
    ("POST", r"/projects/[^/]+/trigger/pipeline"),
)


def _check_job_token() -> None:
    path = request.path.removeprefix("/api/v4")
    if not any(re.fullmatch(method, request.method) and re.fullmatch(rule, path) for method, rule in _JOB_TOKEN_MAY):
        raise ApiError(401, "401 Unauthorized")


# --- parameters -----------------------------------------------------------------------------------------------------


def parameters() -> Json:
    """The request's body as one mapping: JSON, or a form whose `inputs[key]=value` nests; under it the query's."""
    body = request.get_json(silent=True) if request.is_json else None
    if request.is_json and not isinstance(body, dict):
        if request.get_data():
            raise bad_parameter("Problems parsing JSON")
        body = {}
    return {**_nested(request.args), **(body if body is not None else _nested(request.form))}


def _nested(pairs: MultiDict[str, str]) -> Json:
    result: Json = {}
    for name, value in pairs.items(multi=True):
        key, bracket, rest = name.partition("[")
        inner = rest.rstrip("]")
        if not bracket:
            result[key] = value
        elif inner:
            result.setdefault(key, {})[inner] = value
        else:
            result.setdefault(key, []).append(value)
    return result


def required(data: Mapping[str, Any], *names: str) -> list[Any]:
    """The named parameters. Raises 400 that names those missing."""
    missing = [f"{name} is missing" for name in names if data.get(name) in (None, "")]
    if missing:
        raise bad_parameter(", ".join(missing))
    return [data[name] for name in names]


def boolean(data: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = data.get(name, default)
    if str(value).lower() not in ("true", "false", "1", "0"):
        raise bad_parameter(f"{name} is invalid")
    return str(value).lower() in ("true", "1")


def stamp(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


# --- lists ----------------------------------------------------------------------------------------------------------


def page_of(items: list[Any], show: Callable[[Any], Json]) -> Response:
    """One page of `items`, with the headers by which clients find the others."""
    number = max(1, int(request.args.get("page", 1)))
    size = min(100, max(1, int(request.args.get("per_page", 20))))
    pages = max(1, -(-len(items) // size))
    response = jsonify([show(item) for item in items[(number - 1) * size : number * size]])
    around = {"prev": number - 1 if number > 1 else None, "next": number + 1 if number < pages else None}
    links = {**around, "first": 1, "last": pages}
    response.headers["Link"] = ", ".join(f'<{_url(page)}>; rel="{name}"' for name, page in links.items() if page)
    response.headers["X-Page"], response.headers["X-Per-Page"] = str(number), str(size)
    response.headers["X-Total"], response.headers["X-Total-Pages"] = str(len(items)), str(pages)
    response.headers["X-Prev-Page"] = str(around["prev"] or "")
    response.headers["X-Next-Page"] = str(around["next"] or "")
    return response


def _url(page: int) -> str:
    return f"{request.base_url}?{urlencode({**request.args, 'page': page})}"


# --- resources ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resource:
    """A collection below a project or group: `path` serves the list, `path/:key` each item.

    `items(scope)` gives all of them; `create(scope, data)`, `update(item, data)` and `delete(scope, item)` exist where
    the API has them. `read` and `write` are the access levels needed.
    """

    path: str
    name: str
    items: Callable[[Any], list[Any]]
    show: Callable[[Any], Json]
    key: str = "id"
    find: Callable[[list[Any], str], Any] | None = None
    create: Callable[[Any, Json], Any] | None = None
    show_created: Callable[[Any], Json] | None = None  # where the answer to POST tells more, such as a token's value
    update: Callable[[Any, Json], None] | None = None
    delete: Callable[[Any, Any], None] | None = None
    read: int = GUEST
    write: int = MAINTAINER


def add_resource(api: Api, resource: Resource) -> None:
    """Register the routes of a resource."""
    item_path = f"{resource.path}/:key"

    def found(scope: Any, key: str) -> Any:
        items = resource.items(scope)
        if resource.find:
            item = resource.find(items, key)
        else:
            item = next((item for item in items if str(getattr(item, resource.key)) == key), None)
        if item is None:
            raise not_found(resource.name)
        return item

    def scope_of(arguments: dict[str, Any]) -> Any:
        return next(iter(arguments.values()), None)

    @api.action("GET", resource.path, resource.read)
    def list_items(**scope: Any) -> Response:
        return page_of(resource.items(scope_of(scope)), resource.show)

    @api.action("GET", item_path, resource.read)
    def get_item(key: str, **scope: Any) -> Json:
        return resource.show(found(scope_of(scope), key))

    if create := resource.create:

        @api.action("POST", resource.path, resource.write, status=201)
        def create_item(**scope: Any) -> Json:
            with api.store.lock:
                made = create(scope_of(scope), parameters())
                return (resource.show_created or resource.show)(made)

    if update := resource.update:

        @api.action("PUT", item_path, resource.write)
        def update_item(key: str, **scope: Any) -> Json:
            with api.store.lock:
                item = found(scope_of(scope), key)
                update(item, parameters())
                return resource.show(item)

    if delete := resource.delete:

        @api.action("DELETE", item_path, resource.write)
        def delete_item(key: str, **scope: Any) -> None:
            with api.store.lock:
                delete(scope_of(scope), found(scope_of(scope), key))


def current_job() -> Job | None:
    job: Job | None = g.get("job")
    return job


def current_user() -> User:
    user: User = g.user
    return user
