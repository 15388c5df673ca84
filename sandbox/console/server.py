"""The HTTP server of the page: views, the stream that keeps a view up to date, actions, and jobs' artifacts."""

from __future__ import annotations

import logging
import mimetypes
import re
import time
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, redirect, request
from gitlab.exceptions import GitlabGetError
from jinja2 import Environment, PackageLoader, StrictUndefined
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, RequestRedirect
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from sandbox.console import actions, drawing, guard, logs, place, views
from sandbox.console.links import on_page, path_of
from sandbox.console.place import Seen
from sandbox.loopback import HOST
from sandbox.world import people

LOOK_SECONDS, BREATH_SECONDS = 1.0, 15.0
"""Between two looks at what a page shows, and between two signs of life to a browser."""
_LOG = logging.getLogger("console")


def environment() -> Environment:
    """The templates; Jinja2 escapes whatever they print."""
    jinja = Environment(
        loader=PackageLoader("sandbox.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"ago": place.ago, "linkify": _linkify, "path_of": path_of, "clock": logs.clock}
    jinja.globals |= {"took": place.took, "drawing": drawing}
    return jinja


def _linkify(content: object) -> Any:
    from markupsafe import Markup

    return Markup(logs.linkify(str(content)))  # noqa: S704 - linkify escapes


class Renderer:
    """Paths to HTML."""

    def __init__(self, world: Seen, live: bool = True) -> None:
        self._world, self._live = world, live
        self._environment = environment()
        self._map = Map(
            [views_rule(each.rule, str(number)) for number, each in enumerate(views.VIEWS)], strict_slashes=False
        )

    def page(self, path: str) -> views.Page:
        """Raises LookupError where there is nothing to show."""
        try:
            number, arguments = self._map.bind("").match(path)
        except RequestRedirect as error:
            return self.page(path_of(error.new_url))
        except HTTPException as error:
            raise LookupError(path) from error
        return views.page_of(views.VIEWS[int(number)].show, self._world, dict(arguments))

    def body(self, page: views.Page) -> str:
        """What changes while a page is open."""
        return self._environment.get_template(page.template).render(page.context, page=page, **self._shared())

    def whole(self, page: views.Page, path: str, status: str = "") -> str:
        """A document."""
        template = self._environment.get_template("base.html")
        return template.render(page=page, body=self.body(page), path=path, status=status, **self._shared())

    def render(self, template: str, **context: Any) -> str:
        return self._environment.get_template(template).render(context, **self._shared())

    def _shared(self) -> dict[str, Any]:
        return {"world": self._world, "live": self._live, "artifact": people.artifact}


def views_rule(rule: str, endpoint: str) -> Any:
    from werkzeug.routing import Rule

    return Rule(rule, endpoint=endpoint, methods=["GET"])


def application(world: Seen, token: str) -> Flask:
    """The page as a WSGI application."""
    flask = Flask("sandbox-console", static_url_path="/-/static", static_folder=str(Path(__file__).parent / "static"))
    guard.install(flask, token)
    renderer = Renderer(world)

    @flask.get("/-/stream")
    def stream() -> Response:
        path = request.args.get("path", "/")
        return Response(_changes(renderer, path), mimetype="text/event-stream")

    @flask.post("/-/do/<name>")
    def act(name: str) -> Any:
        if name not in actions.ACTIONS:
            abort(404)
        outcome = actions.perform(world, name, request.form)
        if "HX-Request" not in request.headers:  # a browser without the page's scripts
            return redirect(outcome.go or request.referrer or "/", 303)
        answer = Response(renderer.render("outcome.html", outcome=outcome, action=name))
        if outcome.go:
            answer.headers["HX-Redirect"] = outcome.go
        return answer

    @flask.get("/<path:project>/-/jobs/<int:job>/artifacts/<path:path>")
    def artifact(project: str, job: int, path: str) -> Any:
        return _artifact(world, project, job, path.removeprefix("raw/").removeprefix("file/"))

    @flask.get("/<path:project>/-/jobs/<int:job>/raw")
    def raw(project: str, job: int) -> Response:
        record = world.gitlab().projects.get(project, lazy=True).jobs.get(job, lazy=True)
        return Response(record.trace(), mimetype="text/plain")

    @flask.get("/")
    @flask.get("/<path:path>")
    def show(path: str = "") -> Any:
        try:
            page = renderer.page(f"/{path}")
        except LookupError as error:
            missing = views.Page("Not found", "missing.html", {"what": str(error).strip("'")})
            return renderer.whole(missing, f"/{path}", "missing"), 404
        return renderer.whole(page, request.full_path.rstrip("?"))

    return flask


def _changes(renderer: Renderer, path: str) -> Iterator[str]:
    """Server-sent events: the view's HTML when it has changed; now and then a comment, to notice who has left."""
    sent, last = "", time.monotonic()
    while True:
        try:
            html = renderer.body(renderer.page(path))
        except LookupError:
            html = sent  # what was shown is gone: leave it to be read
        except Exception:  # noqa: BLE001 - a server that ends, or starts; the next look tells
            _LOG.warning("cannot look at %s", path, exc_info=True)
            html = sent
        if html != sent:
            sent, last = html, time.monotonic()
            lines = "".join(f"data: {line}\n" for line in html.splitlines())
            yield f"event: view\n{lines}\n"
        elif time.monotonic() - last > BREATH_SECONDS:
            last = time.monotonic()
            yield ": still here\n\n"
        time.sleep(LOOK_SECONDS)


def _links_to_page(html: bytes) -> bytes:
    """A report's links, to their places on the page and out of its frame."""

    def led(link: re.Match[str]) -> str:
        target = on_page(unescape(link[1]))
        return f'href="{escape(target)}" target="_top"' if target else link[0]

    return re.sub(r'href="(https://[^"]+)"', led, html.decode("utf-8", "replace")).encode()


def _artifact(world: Seen, project: str, job: int, path: str) -> Response:
    record = world.gitlab().projects.get(project, lazy=True).jobs.get(job, lazy=True)
    try:
        content = record.artifact(path)
    except GitlabGetError:
        abort(404)
    if path.endswith(".html"):
        content = _links_to_page(content)
    kind = mimetypes.guess_type(path)[0] or "text/plain"
    shown = kind if kind in ("text/html", "image/png", "image/svg+xml") else "text/plain"
    headers = {"Content-Security-Policy": guard.policy(guard.REPORT_POLICY)}
    return Response(content, mimetype=shown, headers=headers)


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *arguments: Any) -> None:
        logging.getLogger("http").info(message, *arguments)


def listen(world: Seen, token: str, port: int) -> BaseWSGIServer:
    """A server on loopback that has not begun to serve. Raises SystemExit when the port is taken."""
    return make_server(HOST, port, application(world, token), threaded=True, request_handler=_Handler)
