"""The HTTP server: the REST API, git, and GitLab's OpenID discovery, on one loopback port for people and tests.

Jobs, functions and AWS know the same server as `GITLAB_URL`, over TLS and through the gateway.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask, jsonify, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from sandbox import keeping
from sandbox.gateway import Gateway
from sandbox.gitlab import git_http, graphql
from sandbox.gitlab.records.store import Store
from sandbox.gitlab.rest import routes
from sandbox.gitlab.rest.api import Api, Encoded
from sandbox.gitlab.rest.entities import Entities
from sandbox.gitlab.rest.parameters import lacking
from sandbox.gitlab.run.id_tokens import Issuer
from sandbox.gitlab.run.pipelines import Engine
from sandbox.gitlab.run.runner import Images
from sandbox.gitlab.run.variables import Server
from sandbox.loopback import GITLAB_NAMES, GITLAB_URL, HOST, programs_only


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open: a demo asks some thousand times

    def log(self, type: str, message: str, *arguments: Any) -> None:
        logging.getLogger("http").info(message, *arguments)


class GitLab:
    """The whole server, made of its parts. `serve` blocks until `stop`.

    With `keep` it goes on with the records that its folder holds, and leaves them there at its end.
    """

    def __init__(self, port: int, folder: Path, images: Images, concurrency: int, *, keep: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.store = Store(folder)
        issuer = Issuer()
        application = Flask("sandbox-gitlab")
        guarded = programs_only(_keep_encoded_slashes(application.wsgi_app))
        self._server = _listen(port, guarded)
        self._gateway = Gateway()
        self._secure = _listen(0, guarded, self._gateway.certificate(*GITLAB_NAMES))
        for name in GITLAB_NAMES:
            self._gateway.lead(name, self._secure.server_port)
        self.url = f"http://{HOST}:{self._server.server_port}"
        issuer.url = GITLAB_URL
        network = self._gateway.write_authority(folder)
        (folder / "network.json").write_text(json.dumps(network))
        authority = {"CI_SERVER_TLS_CA_FILE": str(folder / "authority.pem")}
        self.engine = Engine(self.store, Server(GITLAB_URL, network | authority), images, issuer, concurrency)
        _add_routes(application, Api(self.store, self.engine), Entities(), issuer)
        for status in (404, 405):
            application.register_error_handler(status, _no_such_route(folder / "web-url"))
        self._saved = folder / keeping.FILE if keep else None
        if self._saved and self._saved.exists():
            self.store.read(self._saved)
            self.engine.resume()
        else:
            root = self.store.add_user("root", "Administrator", admin=True)
            token = self.store.add_token(root, "root", ["api", "sudo"])
            _write_private(folder / "root-token", token.value)

    def serve(self) -> None:
        threading.Thread(target=self._secure.serve_forever, daemon=True).start()
        self._server.serve_forever()

    def stop(self) -> None:
        """End the server and every job."""
        self._server.shutdown()
        self._secure.shutdown()
        self._gateway.stop()
        self.engine.close()
        if self._saved:
            self.store.write(self._saved)


def _listen(port: int, application: Callable[..., Iterable[bytes]], context: ssl.SSLContext | None = None) -> Any:
    server: BaseWSGIServer = make_server(HOST, port, application, threaded=True, request_handler=_Handler)
    # Clients wait for small answers: do not hold them back for more.
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context:
        # Not by make_server, whose handshakes would keep other clients waiting.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.ssl_context = context
    return server


def _add_routes(application: Flask, api: Api, entities: Entities, issuer: Issuer) -> None:
    application.url_map.converters["encoded"] = Encoded
    routes.register(api, entities)
    application.register_blueprint(api.blueprint, url_prefix="/api/v4")
    application.register_blueprint(git_http.blueprint(api))
    application.register_blueprint(graphql.blueprint(api))
    application.add_url_rule("/.well-known/openid-configuration", "openid", lambda: jsonify(issuer.configuration()))
    application.add_url_rule("/oauth/discovery/keys", "keys", lambda: jsonify(issuer.key_set()))


def _no_such_route(web_url: Path) -> Callable[[HTTPException], Any]:
    """No route of the API is there by mistake: what this one does not have, GitLab may.

    A browser that follows a `web_url` is sent to the page that shows it, whose address stands in a file once it serves.
    """

    def answer(error: HTTPException) -> Any:
        path = request.path.removeprefix("/api/v4")
        if path != request.path:
            refused = lacking(f"{request.method} {path}")
            return jsonify(refused.body), refused.status
        if request.method == "GET" and request.accept_mimetypes["text/html"] == 1 and web_url.exists():
            return redirect(web_url.read_text().strip() + request.full_path.rstrip("?"))
        return jsonify(error="404 Not Found"), 404

    return answer


def _keep_encoded_slashes(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Let `group%2Fproject` arrive as one path segment: WSGI decodes the slash before any routing could see it."""

    def middleware(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raw = environ.get("REQUEST_URI", environ["PATH_INFO"]).partition("?")[0]
        if "%2f" in raw.lower():
            encoded = raw.replace("%2F", "%252F").replace("%2f", "%252F")
            environ["PATH_INFO"] = unquote_to_bytes(encoded).decode("latin-1")
        return application(environ, start_response)

    return middleware


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")
