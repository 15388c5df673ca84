"""Who may talk to the sandbox's two servers: programs of this machine, and no page in its browser.

The servers run what they are given, and their keys are no secret. A page of the web reaches loopback by a form, which
browsers mark with `Origin`, or by a name of its own that resolves to 127.0.0.1, which shows in `Host`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def programs_only(application: Application) -> Application:
    """The WSGI application, closed to browsers."""

    def guarded(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "HTTP_ORIGIN" in environ or environ.get("HTTP_HOST", HOST).partition(":")[0] not in _NAMES:
            start_response(f"403 {HTTPStatus.FORBIDDEN.phrase}", [("Content-Type", "text/plain")])
            return [b"The sandbox answers programs of this machine only.\n"]
        return application(environ, start_response)

    return guarded


def without_proxy() -> None:
    """Let this process and its children reach the sandbox's servers directly, whatever proxy the machine has."""
    for name in ("NO_PROXY", "no_proxy"):
        names = [each for each in os.environ.get(name, "").split(",") if each]
        os.environ[name] = ",".join(dict.fromkeys([*names, *_NAMES]))
