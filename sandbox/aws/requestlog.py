"""One JSON line per AWS call: who called what, on which resource, with which status. Never keys, never bodies.

server.py wraps moto's application in it; authorization.py notes what IAM was asked. What a role really needs is read
from here to prove its policy minimal.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sandbox.aws import identity
from sandbox.aws.server import ROOT_KEYS

_call = threading.local()
_logs: list[RequestLog] = []


class RequestLog:
    """WSGI middleware; `note` tells it what it cannot see from outside."""

    def __init__(self, application: Any, path: Path) -> None:
        self._application = application
        self._file = path.open("a", buffering=1, encoding="utf-8")
        self._lock = threading.Lock()
        _logs.append(self)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        _call.entry = entry = {"service": "", "operation": "", "resource": "", "asked": [], "refused": False}
        status: list[str] = []

        def note_status(line: str, headers: Any, *rest: Any) -> Any:
            status.append(line)
            return start_response(line, headers, *rest)

        body: Iterable[bytes] = self._application(environ, note_status)
        key, service = _signature(environ.get("HTTP_AUTHORIZATION", ""))
        line = {
            "time": round(time.time(), 3),
            "service": entry["service"] or service,
            "operation": entry["operation"] or environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2],
            "resource": entry["resource"],
            "asked": entry["asked"],
            "refused": entry["refused"],
            "principal": principal(key),
            "status": int(status[0].split()[0]) if status else 500,
        }
        self.write(line)
        return body

    def write(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps(line) + "\n")


def note(service: str, operation: str, resource: str) -> None:
    """What the call under way in this thread turned out to be."""
    _entry().update({"service": service, "operation": operation, "resource": resource})


def note_asked(action: str, resource: str) -> None:
    """A question that IAM was asked for it."""
    _entry()["asked"].append([action, resource])


def note_refused() -> None:
    """The answer to the last question was no. The status alone does not tell: services of JSON say 400 for it."""
    _entry()["refused"] = True


def record(principal_arn: str, asked: list[tuple[str, str]]) -> None:
    """What a service did with a role's permissions without a call of the API."""
    for log in _logs:
        log.write(
            {
                "time": round(time.time(), 3),
                "service": "",
                "operation": "",
                "resource": "",
                "asked": asked,
                "refused": False,
                "principal": principal_arn,
                "status": 200,
            }
        )


def _entry() -> dict[str, Any]:
    entry: dict[str, Any] = _call.entry
    return entry


def principal(access_key: str) -> str:
    """The ARN behind an access key: a role's session, a user, or `root`; `unknown` for others, `anonymous` for none."""
    if not access_key:
        return "anonymous"
    if access_key == ROOT_KEYS["AWS_ACCESS_KEY_ID"]:
        return "root"
    holder = identity.holder(access_key)
    return str(holder.arn) if holder else "unknown"


def _signature(authorization: str) -> tuple[str, str]:
    """Access key id and service of a Signature Version 4 header; two empty strings when there is none."""
    _, _, scope = authorization.partition("Credential=")
    parts = scope.partition(",")[0].split("/")
    return (parts[0], parts[3]) if len(parts) == 5 else ("", "")
