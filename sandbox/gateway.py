"""The way to https addresses of the sandbox: a proxy on loopback, and an authority that signs their certificates.

AWS takes GitLab only at https on port 443, which no ordinary user may open. So jobs and functions reach it as many
companies' do: by a proxy, and by a certificate that their own authority has signed. People keep to http on loopback.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import certifi
import trustme

from sandbox.loopback import DOMAIN, HOST

_CONNECT_SECONDS = 10
_TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE")
"""Where Python and OpenSSL, pip and requests, git, and curl look."""


class Gateway:
    """Serves from its start until `stop`. Names below `DOMAIN` lead to where `lead` says, every other one to itself."""

    def __init__(self) -> None:
        self._authority = trustme.CA(organization_name="Sandbox")
        self._ports: dict[str, int] = {}
        gateway = self

        class Handler(_Handler):
            def target(self, host: str, port: int) -> tuple[str, int] | None:
                return gateway._target(host, port)

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _target(self, host: str, port: int) -> tuple[str, int] | None:
        if not host.endswith(f".{DOMAIN}"):
            return host, port
        return (HOST, self._ports[host]) if port == 443 and host in self._ports else None

    def lead(self, name: str, port: int) -> None:
        """Let `https://NAME` be the server that speaks TLS on a port of this machine."""
        self._ports[name] = port

    def certificate(self, *names: str) -> ssl.SSLContext:
        """For the server of these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        return context

    def write_authority(self, folder: Path) -> dict[str, str]:
        """Write the authority's certificate to `folder`; the environment of a program that is to trust it."""
        authority, everybody = folder / "authority.pem", folder / "authorities.pem"
        pem = self._authority.cert_pem.bytes()
        authority.write_bytes(pem)
        public = Path(ssl.get_default_verify_paths().cafile or certifi.where())
        everybody.write_bytes(public.read_bytes() + b"\n" + pem)
        trusted = dict.fromkeys(_TRUST, str(everybody))
        return {"HTTPS_PROXY": self.url, "NO_PROXY": f"{HOST},localhost"} | trusted

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection: https://www.rfc-editor.org/rfc/rfc9110#name-connect."""

    def target(self, host: str, port: int) -> tuple[str, int] | None:
        raise NotImplementedError

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        target = self.target(host.strip("[]").lower(), int(port)) if port.isdecimal() else None
        if target is None:
            self.send_error(HTTPStatus.NOT_FOUND, f"The sandbox does not have {self.path}")
            return
        try:
            server = socket.create_connection(target, timeout=_CONNECT_SECONDS)
        except OSError as error:
            self.send_error(HTTPStatus.BAD_GATEWAY, str(error))
            return
        with server:
            server.settimeout(None)
            for end in (server, self.connection):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.send_response(HTTPStatus.OK)
            self.end_headers()
            back = threading.Thread(target=_copy, args=(server, self.connection), daemon=True)
            back.start()
            _copy(self.connection, server)
            back.join()
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing: the servers keep logs of their own."""


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65_536):
            sink.sendall(content)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
