"""Who may talk to the sandbox's two servers: programs of this machine, and no page in its browser.

The servers run what they are given, and their keys are no secret. A page of the web reaches loopback by a form, which
browsers mark with `Origin`, or by a name of its own that resolves to 127.0.0.1, which shows in `Host`. Names below
`DOMAIN` are let in over TLS: no such name is in the DNS, and none has a certificate that a browser trusts.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")
DOMAIN = "sandbox.test"
"""Reserved: https://www.rfc-editor.org/rfc/rfc6761#section-6.2."""
GITLAB_NAMES = (f"gitlab.{DOMAIN}", f"git.{DOMAIN}")
GITLAB_URL = f"https://{GITLAB_NAMES[0]}"
"""GitLab's external URL: what jobs get as CI_SERVER_URL, and the issuer of ID tokens."""

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def programs_only(application: Application) -> Application:
    """The WSGI application, closed to browsers."""

    def guarded(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "HTTP_ORIGIN" in environ or not _is_allowed(environ.get("HTTP_HOST", HOST), environ["wsgi.url_scheme"]):
            start_response(f"403 {HTTPStatus.FORBIDDEN.phrase}", [("Content-Type", "text/plain")])
            return [b"The sandbox answers programs of this machine only.\n"]
        return application(environ, start_response)

    return guarded


def _is_allowed(address: str, scheme: str) -> bool:
    if address.partition(":")[0] in _NAMES:
        return True
    return scheme == "https" and address.endswith(f".{DOMAIN}")


def without_proxy() -> None:
    """Let this process and its children reach the sandbox's servers directly, whatever proxy the machine has."""
    for name in ("NO_PROXY", "no_proxy"):
        names = [each for each in os.environ.get(name, "").split(",") if each]
        os.environ[name] = ",".join(dict.fromkeys([*names, *_NAMES]))


def is_taken(port: int) -> bool:
    """Whether a program listens at a port; 0 stands for any that is free."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return port != 0 and probe.connect_ex((HOST, port)) == 0
