"""The HTTP side of a serving container: nginx in front, Flask behind it, as SageMaker's own Python images have them.

The status pages, the content types of answers and the way a body is read are those of the Flask (1.1, Werkzeug 0.15)
that is pinned in https://github.com/aws/sagemaker-xgboost-container.
"""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from sandbox.aws.containers.lacking import Lacking

JSON = "application/json"
_PROXIED = re.compile(r"/(ping|invocations|execution-parameters)")  # what nginx passes on; the rest it answers itself
_EXPLANATIONS = {
    400: "The browser (or proxy) sent a request that this server could not understand.",
    404: "The requested URL was not found on the server. If you entered the URL manually please check your spelling "
    "and try again.",
    405: "The method is not allowed for the requested URL.",
    413: "The data value transmitted exceeds the capacity limit.",
    500: "The server encountered an internal error and was unable to complete your request. Either the server is "
    "overloaded or there is an error in the application.",
}


class Request(NamedTuple):
    """`content_type` and `accept` are None when the header was not sent."""

    body: bytes
    content_type: str | None
    accept: str | None


class Reply(NamedTuple):
    status: int
    body: bytes
    content_type: str


def reply(body: str | bytes = b"", status: int = 200, mimetype: str = "text/html") -> Reply:
    """An answer as Flask makes it: text has a charset, other media types have none."""
    content = body.encode() if isinstance(body, str) else body
    textual = mimetype.startswith("text/") or mimetype.endswith("+xml") or mimetype == "application/xml"
    return Reply(status, content, f"{mimetype}; charset=utf-8" if textual else mimetype)


def error_page(status: int) -> Reply:
    """Flask's own page for an HTTP error."""
    name = "Request Entity Too Large" if status == 413 else HTTPStatus(status).phrase
    page = f"<title>{status} {name}</title>\n<h1>{name}</h1>\n<p>{_EXPLANATIONS[status]}</p>\n"
    return Reply(status, f'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n{page}'.encode(), "text/html")


def header(text: str) -> tuple[str, dict[str, str]]:
    """A header's value and its parameters: `text/csv; label_size=1` is `text/csv` with one parameter."""
    value, *rest = text.split(";")
    pairs = [part.partition("=") for part in rest]
    return value.strip(), {name.strip().lower(): value.strip().strip('"') for name, sign, value in pairs if sign}


Route = Callable[[Request], Reply]


class Routes(NamedTuple):
    """What an application answers: for each path, the function of each method. `largest`: bytes of a body, or None."""

    functions: Mapping[str, Mapping[str, Route]]
    largest: int | None

    def answer(self, method: str, target: str, headers: Mapping[str, str], read_body: Callable[[], bytes]) -> Reply:
        """The answer to one request; the body is not read when it is too large."""
        path = target.partition("?")[0]
        if not _PROXIED.match(path):
            return Reply(404, b"{}", "application/octet-stream")
        methods = self.functions.get(path)
        if methods is None:
            return error_page(404)
        function = methods.get("GET" if method == "HEAD" else method)
        if function is None:
            return reply() if method == "OPTIONS" else error_page(405)
        if self.largest is not None and int(headers.get("Content-Length") or 0) > self.largest:
            return error_page(413)
        content_type = headers.get("Content-Type")
        body = b"" if _is_form(content_type or "") else read_body()
        try:
            return function(Request(body, content_type, headers.get("Accept")))
        except Lacking as lacking:
            return reply(str(lacking), 501, "text/plain")
        except Exception:  # noqa: BLE001 - what nobody caught is the server's error, as in Flask
            traceback.print_exc(file=sys.stderr)
            return error_page(500)


def _is_form(content_type: str) -> bool:
    """Whether Flask takes the body apart for the fields of a form, so that nothing of it is left as data."""
    kind, parameters = header(content_type.lower())
    if kind == "multipart/form-data":
        return "boundary" in parameters
    return kind in ("application/x-www-form-urlencoded", "application/x-url-encoded")


def parameters(concurrent: int, megabytes: int) -> Reply:
    """What batch transform asks for before it sends anything."""
    answer = {"MaxConcurrentTransforms": concurrent, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": megabytes}
    return reply(json.dumps(answer), mimetype=JSON)


def server(routes: Routes, port: int) -> ThreadingHTTPServer:
    """A server on loopback that is bound and not yet serving; port 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            read = False

            def read_body() -> bytes:
                nonlocal read
                read = True
                return self.rfile.read(length)

            answer = routes.answer(self.command, self.path, dict(self.headers), read_body)
            if not read:
                self._discard(length)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            if answer.status != HTTPStatus.NO_CONTENT:  # which has no body, not even an empty one
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD" and answer.status != HTTPStatus.NO_CONTENT:
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle  # noqa: N815 - the library's names

        def _discard(self, length: int) -> None:
            # So that the client, which still sends, gets the answer; nginx does the same for it.
            while length > 0 and (chunk := self.rfile.read(min(length, 1 << 20))):
                length -= len(chunk)

        def log_message(self, format: str, *values: Any) -> None:
            if not self.path.startswith("/ping"):
                print(format % values, flush=True)

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
