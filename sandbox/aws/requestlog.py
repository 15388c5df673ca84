"""One JSON line per AWS call: who called what, on which resource, with which status. Never keys, never bodies.

server.py wraps moto's application in it. What a role really calls is read from here to prove its policy minimal.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from moto.core.responses import BaseResponse
from moto.iam.access_control import S3IAMRequest
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

_call = threading.local()


class RequestLog:
    """WSGI middleware; moto's own authorization hook tells it the operation and the resource."""

    def __init__(self, application: Any, path: Path) -> None:
        self._application = application
        self._file = path.open("a", buffering=1, encoding="utf-8")
        self._lock = threading.Lock()
        _listen_to_authorization()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        _call.entry = entry = {"operation": "", "resource": ""}
        status: list[str] = []

        def note_status(line: str, headers: Any, *rest: Any) -> Any:
            status.append(line)
            return start_response(line, headers, *rest)

        body: Iterable[bytes] = self._application(environ, note_status)
        key, service = _signature(environ.get("HTTP_AUTHORIZATION", ""))
        service = entry.get("service") or service
        operation = entry["operation"] or environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        line = {
            "time": round(time.time(), 3),
            "service": service,
            "operation": operation,
            "resource": entry["resource"],
            "principal": principal(key),
            "status": int(status[0].split()[0]) if status else 500,
        }
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
        return body


def principal(access_key: str) -> str:
    """The ARN behind an access key: an assumed role's session or a user, else `root`; `anonymous` without a key."""
    if not access_key:
        return "anonymous"
    for account in list(sts_backends.values()):
        for role in list(account["aws"].assumed_roles):
            if role.access_key_id == access_key:
                return str(role.arn)
    for account in list(iam_backends.values()):
        for user in list(account["aws"].users.values()):
            if any(key.access_key_id == access_key for key in user.access_keys):
                return str(user.arn)
    return "root"


def _signature(authorization: str) -> tuple[str, str]:
    """Access key id and service of a Signature Version 4 header; two empty strings when there is none."""
    _, _, scope = authorization.partition("Credential=")
    parts = scope.partition(",")[0].split("/")
    return (parts[0], parts[3]) if len(parts) == 5 else ("", "")


def _listen_to_authorization() -> None:
    authorize = BaseResponse._authenticate_and_authorize_action

    def listening(self: Any, iam_request: type, resource: str = "*") -> None:
        entry = getattr(_call, "entry", None)
        if entry is not None:
            entry |= {"operation": self._get_action() or "", "resource": resource}
            entry["service"] = "s3" if iam_request is S3IAMRequest else self.service_name
        authorize(self, iam_request, resource)

    BaseResponse._authenticate_and_authorize_action = listening
