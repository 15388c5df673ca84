"""One JSON line per AWS call: who called what, on which resource, with which status. Never keys, never bodies.

server.py wraps moto's application in it; authorization.py notes what IAM was asked. What a role really needs is read
from here to prove its policy minimal. Answers pass through wire.py and, in tests, by the authorities.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Iterable
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from typing import Any

from sandbox.aws import wire
from sandbox.aws.access import identity
from sandbox.aws.authorities import answers, iam_definition, violations
from sandbox.aws.ground import ROOT_KEYS

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
        _call.entry = entry = {
            "service": "",
            "operation": "",
            "resource": "",
            "asked": [],
            "refused": False,
            "model": "",
            "demands": [],
        }
        answer = self._answer(environ)
        key, service = _signature(environ.get("HTTP_AUTHORIZATION", ""))
        call = f"{entry['service'] or service}:{entry['operation'] or _target(environ)}"
        answer = self._checked(environ, entry, call, wire.readable(environ, call, answer))
        line = {
            "time": round(time.time(), 3),
            "service": call.partition(":")[0],
            "operation": call.partition(":")[2],
            "resource": entry["resource"],
            "asked": entry["asked"],
            "refused": entry["refused"],
            "principal": principal(key),
            "status": answer.status,
        }
        self.write(line)
        start_response(f"{answer.status} {responses.get(answer.status, 'Unknown')}", answer.headers)
        return [answer.body]

    def _answer(self, environ: dict[str, Any]) -> wire.Answer:
        """moto's answer; its own interface of the kind /moto-api/ would leave half of the sandbox's state behind."""
        path = environ.get("PATH_INFO", "")
        if path.startswith("/moto-api/"):
            return wire.lacking(environ, f"{environ['REQUEST_METHOD']} {path}")
        started: list[tuple[str, list[tuple[str, str]]]] = []
        try:
            body = self._application(environ, lambda line, headers, *_: started.append((line, headers)))
            content = b"".join(body)
        except Exception:  # noqa: BLE001 - a fault of the sandbox: told to the client, and whole in the server's log
            traceback.print_exc()
            return wire.failed(environ)
        if close := getattr(body, "close", None):
            close()
        line, headers = started[0]
        return wire.Answer(int(line.split()[0]), headers, content)

    def _checked(self, environ: dict[str, Any], entry: dict[str, Any], call: str, answer: wire.Answer) -> wire.Answer:
        """In tests: what botocore's model refuses is written down, and answered as loudly as a server can."""
        if not violations.enabled():
            return answer
        if answer.status < HTTPStatus.MULTIPLE_CHOICES or entry["refused"]:
            _compare(call, entry["demands"])
        if not entry["model"] or environ["REQUEST_METHOD"] == "HEAD":
            return answer
        headers = {key.lower(): value for key, value in answer.headers}
        operation = entry["operation"]
        problems = answers.problems(entry["model"], operation, answer.status, headers, answer.body)
        if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            problems.append("the server failed")
        if not (problems := violations.unlisted(call, problems)):
            return answer
        violations.write("botocore", call, problems, status=answer.status)
        message = f"The sandbox's answer to {call} is none of AWS's: {'; '.join(problems[:5])}"
        return wire.error(environ, "SandboxAnswerInvalid", message, HTTPStatus.NOT_IMPLEMENTED)

    def write(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps(line) + "\n")


def note(service: str, operation: str, resource: str, model: str) -> None:
    """What the call under way in this thread turned out to be; `model` is botocore's name of the service."""
    _entry().update({"service": service, "operation": operation, "resource": resource, "model": model})


def note_demands(demands: list[Any]) -> None:
    """Everything that IAM would be asked for it, as `demands.Demand`."""
    _entry()["demands"] = demands


def _compare(call: str, demands: list[Any]) -> None:
    """Write down where IAM's definition contradicts what a call asks."""
    for action in {demand.action: None for demand in demands}:
        of_action = [demand for demand in demands if demand.action == action]
        keys = {key for demand in of_action for key in demand.context}
        contradictions = iam_definition.problems(action, [demand.resource for demand in of_action], keys)
        if problems := violations.unlisted(call, [f"{action} {problem}" for problem in contradictions]):
            violations.write("policy_sentry", call, problems)


def note_asked(action: str, resource: str) -> None:
    """A question that IAM was asked for it."""
    _entry()["asked"].append([action, resource])


def note_refused() -> None:
    """The answer to the last question was no. The status alone does not tell: services of JSON say 400 for it."""
    _entry()["refused"] = True


def record(principal_arn: str, questions: list[tuple[str, str]]) -> None:
    """What a service did with a role's permissions without a call of the API."""
    for log in _logs:
        log.write(
            {
                "time": round(time.time(), 3),
                "service": "",
                "operation": "",
                "resource": "",
                "asked": questions,
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


def _target(environ: dict[str, Any]) -> str:
    return str(environ.get("HTTP_X_AMZ_TARGET", "")).rpartition(".")[2]


def _signature(authorization: str) -> tuple[str, str]:
    """Access key id and service of a Signature Version 4 header; two empty strings when there is none."""
    _, _, scope = authorization.partition("Credential=")
    parts = scope.partition(",")[0].split("/")
    return (parts[0], parts[3]) if len(parts) == 5 else ("", "")
