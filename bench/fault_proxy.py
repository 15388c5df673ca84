"""A proxy in front of AWS, and of GitLab, that lets one call go wrong: what networks, hosts and services do to a job.

`Fault.kind` is one of KINDS for a command, of FUNCTION_KINDS for a Lambda function. The n-th call of an operation is
hit, whatever else is asked in between.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.message import Message
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from subprocess import Popen
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

KINDS = {
    "kill before": "SIGKILL; AWS never hears of the call",
    "kill after": "SIGKILL; AWS has carried the call out",
    "cancel": "SIGTERM while the call is under way; AWS carries it out",
    "cancel before": "SIGTERM while the call is under way; AWS never hears of it",
    "cancel after": "SIGTERM right after the answer",
    "throttle": "refused once: too many requests",
    "reset": "carried out, and the connection breaks before the answer",
    "burst": "this call and the next four are answered 5xx",
}
_ANSWERS = {
    "error after": "carried out, and answered 500 all the same",
    "timeout": "carried out, and never answered",
}
FUNCTION_KINDS = {
    **{kind: text for kind, text in KINDS.items() if not kind.startswith("cancel")},
    **_ANSWERS,
    "broken": "carried out, and the body of the answer is cut off; GitLab only",
    "outage": "this operation is refused for OUTAGE_SECONDS; AWS only",
}
OUTAGE_SECONDS = 8
CANCELS = {"cancel", "cancel before", "cancel after"}
KILLS = {"kill before", "kill after"}

_SIGNALS = dict.fromkeys(CANCELS, signal.SIGTERM) | dict.fromkeys(KILLS, signal.SIGKILL)
_BURST = 5
_HANG_SECONDS = 16  # a little longer than the functions wait for an answer
_ANSWER_SECONDS = 120  # the longest that the sandbox takes for one call
# Operations that change nothing, or that only take back what a cancelled command has begun.
_PASSIVE = re.compile(
    r"\.(Describe|Get|List|Head|Assume|Invoke|Delete|Stop|Search|Lookup)|^s3\.(GET|HEAD|DELETE)|^gitlab\.GET"
)
NameOperation = Callable[[str, str, Mapping[str, str] | Message, bytes], str]
"""From a request's method, path with query, headers and body."""
_SUBRESOURCES = {"cors", "tagging", "versioning", "publicAccessBlock", "list-type"}


class Fault(NamedTuple):
    """What shall go wrong: `kind` at the call number `number` (from 0) of `operation`."""

    operation: str
    number: int
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.operation} #{self.number}"


class Call(NamedTuple):
    """A call that came."""

    operation: str
    number: int
    after_signal: bool
    """Whether it came when a signal had been sent."""

    @property
    def acts(self) -> bool:
        """Whether it changes something, other than to take back what was begun."""
        return not _PASSIVE.search(self.operation)


class FaultProxy:
    """Forwards what it is asked to `target`, the http:// address of AWS, and to a GitLab's; a context manager."""

    def __init__(self, target: str) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._fault: Fault | None = None
        self._victim: Popen[str] | None = None
        self._bursting = 0
        self._outage_ends = 0.0
        self._signalled = False
        self.calls: list[Call] = []
        self.hit = False
        """Whether the fault has come."""
        self.before: Callable[[Call], None] = lambda _: None
        """Called before a call is carried out."""
        self._servers: list[_Server] = []
        self.url = self.front(target, operation_of)

    def front(self, target: str, operation_of: NameOperation) -> str:
        """Stand in front of a further server, whose operations are called so; the address to ask instead of it."""
        server = _Server(("127.0.0.1", 0), _handler(self, urlsplit(target).netloc, operation_of))
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def follow(self, victim: Popen[str]) -> None:
        """From here on it is this process that is killed."""
        with self._lock:
            self._victim = victim

    def watch(self, victim: Popen[str] | None, fault: Fault | None = None) -> None:
        """Count from here on, and let `fault` come to the process `victim`."""
        with self._lock:
            self._counts.clear()
            self.calls = []
            self._fault, self._victim = fault, victim
            self.hit = self._signalled = False
            self._bursting, self._outage_ends = 0, 0.0

    def arrived(self, operation: str) -> str:
        """Note a call; the kind of fault that comes to it, or nothing."""
        with self._lock:
            call = Call(operation, self._counts[operation], self._signalled)
            self._counts[operation] += 1
            self.calls.append(call)
            fault = self._fault
            kind = ""
            if self._bursting:
                self._bursting -= 1
                kind = "burst"
            elif fault and fault.operation == operation and time.monotonic() < self._outage_ends:
                kind = "outage"
            elif fault and not self.hit and (fault.operation, fault.number) == (operation, call.number):
                self.hit, kind = True, fault.kind
                self._bursting = _BURST - 1 if kind == "burst" else 0
                self._outage_ends = time.monotonic() + OUTAGE_SECONDS if kind == "outage" else 0.0
        self.before(call)
        return kind

    def send_signal(self, kind: str) -> None:
        if self._victim is not None:
            self._victim.send_signal(_SIGNALS[kind])
        with self._lock:
            self._signalled = True


def _forward(
    target: str, method: str, path: str, headers: Mapping[str, str] | Message, body: bytes
) -> tuple[int, list[Any], bytes]:
    """Ask the target; status, headers and body of its answer."""
    connection = HTTPConnection(target, timeout=_ANSWER_SECONDS)
    dropped = ("transfer-encoding", "expect", "connection", "content-length")
    passed_on = {name: content for name, content in headers.items() if name.lower() not in dropped}
    try:
        connection.request(method, path, body, passed_on | {"Content-Length": str(len(body))})
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: connections break here on purpose."""


def _handler(proxy: FaultProxy, target: str, operation_of: NameOperation) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            try:
                body = self._body()
            except (EOFError, ValueError):  # who asked has ended in the middle: no service carries that out
                return self._break()
            operation = operation_of(self.command, self.path, self.headers, body)
            kind = proxy.arrived(operation)
            if kind in ("kill before", "cancel before"):
                proxy.send_signal(kind)
                return self._break()
            if kind in ("throttle", "burst", "outage"):
                return self._send(*_refusal(operation, kind))
            if kind == "cancel":
                proxy.send_signal(kind)
                time.sleep(0.2)  # until the process has noticed
            try:
                status, headers, content = _forward(target, self.command, self.path, self.headers, body)
            except (OSError, HTTPException):
                return self._break()
            if kind == "kill after":
                proxy.send_signal(kind)
            if kind == "timeout":
                self._hang()
            if kind in ("kill after", "reset", "timeout"):
                return self._break()
            if kind == "error after":
                return self._send(*_refusal(operation, "burst"))
            if kind == "broken":
                content = content[: len(content) // 2]
            self._send(status, headers, content)
            if kind == "cancel after":
                proxy.send_signal(kind)
            return None

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer  # noqa: N815 - named by http.server

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
                length = int(self.headers.get("Content-Length") or 0)
                content = self.rfile.read(length)
                if len(content) < length:
                    raise EOFError
                return content
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():  # trailers
                pass
            return b"".join(parts)

        def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            own = ("connection", "transfer-encoding", "content-length")
            for name, text in headers:
                if name.lower() not in own or (self.command == "HEAD" and name.lower() == "content-length"):
                    self.send_header(name, text)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            self.wfile.flush()

        def _hang(self) -> None:
            """Say nothing until the other side gives up."""
            self.connection.settimeout(_HANG_SECONDS)
            with suppress(OSError):
                self.connection.recv(1)

        def _break(self) -> None:
            """End the connection with a reset."""
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.wfile = open(os.devnull, "wb")  # noqa: PTH123, SIM115 - http.server flushes and closes it

        def log_message(self, *_: Any) -> None:
            """Nothing: a table is printed at the end."""

    return Handler


def operation_of(method: str, path: str, headers: Mapping[str, str] | Message, body: bytes) -> str:
    """What a request asks for: `cloudformation.CreateChangeSet`, `s3.PUT object`, `sagemaker.InvokeEndpoint`.

    By the ways in which AWS's protocols name an operation: a header, a form field, or method and path.
    """
    signed = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", headers.get("Authorization", ""))
    service = signed[1] if signed else "sts"
    if target := headers.get("X-Amz-Target", ""):
        return f"{service}.{target.rpartition('.')[2]}"
    if b"Action=" in body:
        return f"{service}.{parse_qs(body.decode())['Action'][0]}"
    url = urlsplit(path)
    if url.path.endswith("/invocations"):
        return "sagemaker.InvokeEndpoint"
    thing = "object" if len(url.path.strip("/").split("/", 1)) == 2 else "bucket"
    about = sorted(_SUBRESOURCES & parse_qs(url.query, keep_blank_values=True).keys())
    return " ".join([f"{service}.{method}", thing, *about])


def gitlab_operation_of(method: str, path: str, headers: Mapping[str, str] | Message, body: bytes) -> str:
    """What a request asks of GitLab: `gitlab.POST projects/:id/variables`."""
    parts = urlsplit(path).path.removeprefix("/api/v4/").split("/")
    named = [":id" if re.search(r"^\d+$|%2F", part, re.IGNORECASE) else part for part in parts]
    return f"gitlab.{method} {'/'.join(named)}"


def _refusal(operation: str, kind: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """What the operation's service answers when it is asked too much, or is down."""
    service = operation.partition(".")[0]
    throttled = kind == "throttle"
    if service == "gitlab":
        status = 429 if throttled else 502
        return status, [("Content-Type", "text/html"), ("Retry-After", "0")], b"<html>imitated</html>"
    if service == "s3":
        code, status = ("SlowDown", 503) if throttled else ("InternalError", 500)
        content = f"<Error><Code>{code}</Code><Message>imitated</Message></Error>"
    elif service in ("cloudformation", "sts", "iam"):
        code, status = ("Throttling", 400) if throttled else ("ServiceUnavailable", 503)
        content = f"<ErrorResponse><Error><Code>{code}</Code><Message>imitated</Message></Error></ErrorResponse>"
    else:
        code, status = ("ThrottlingException", 400) if throttled else ("InternalServerException", 500)
        content = f'{{"__type": "{code}", "message": "imitated"}}'
    return (
        status,
        [("Content-Type", "text/xml" if content.startswith("<") else "application/x-amz-json-1.1")],
        content.encode(),
    )
