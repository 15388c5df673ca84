"""A Lambda execution environment: one process with the function's archive, its role's credentials and its log stream.

invocation.py keeps environments warm and gives each one event at a time, as Lambda does.
"""

from __future__ import annotations

import io
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.aws.ground import REGION, gateway, state
from sandbox.aws.logs import streams

_INIT_SECONDS = 30.0  # Lambda allows 10; two busy cores need more
_LIFETIME_SECONDS = 45 * 60  # its credentials live for an hour
_UNZIPPED_BYTES = 250 * 1024 * 1024
_LIBRARIES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
"""What Lambda's Python runtime brings; whatever else a function imports has to be in its archive."""


class Settings(NamedTuple):
    """Everything that makes an environment; another value of any of them means a cold start."""

    name: str
    arn: str
    handler: str
    role: str
    code_sha256: str
    memory: int
    timeout: int  # seconds
    log_group: str
    variables: tuple[tuple[str, str], ...]


class Outcome(NamedTuple):
    """What one invocation came to: the JSON text for the caller, whether it is an error, the log."""

    payload: str
    failed: bool
    log: list[str]


class Environment:
    """Starts the process; `invoke` may be called while `usable` is true, by one thread at a time."""

    def __init__(self, settings: Settings, code: bytes, credentials: dict[str, str]) -> None:
        self.settings = settings
        stream = f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        self._write = streams.writer(settings.log_group, stream, settings.role)
        self._started = time.monotonic()
        task_root = unpack(code, settings.code_sha256)
        reserved = {
            "PATH": os.environ["PATH"],
            "LANG": "en_US.UTF-8",
            "TZ": "UTC",
            "LAMBDA_TASK_ROOT": str(task_root),
            "PYTHONPATH": f"{task_root}{os.pathsep}{_runtime()}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "AWS_LAMBDA_FUNCTION_NAME": settings.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings.memory),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": settings.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "_HANDLER": settings.handler,
        }
        # Where functions run there is no name service for the sandbox's names, but there is a proxy.
        network = {"HTTPS_PROXY": gateway(), "NO_PROXY": "127.0.0.1,localhost"} if gateway() else {}
        # -S and -P: no site-packages and no folder of this project, the archive must bring what it imports.
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-P", str(Path(__file__).with_name("runner.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=task_root,
            env=network | dict(settings.variables) | reserved | credentials,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._fresh = True

    @property
    def usable(self) -> bool:
        return self._process.poll() is None and time.monotonic() - self._started < _LIFETIME_SECONDS

    def invoke(self, event: Any) -> Outcome:
        """Run the handler once. An environment that failed otherwise than by the handler's error ends itself."""
        request_id = str(uuid.uuid4())
        log: list[str] = []

        def note(line: str) -> None:
            log.append(line)
            self._write(line)

        note(f"START RequestId: {request_id} Version: $LATEST")
        initialisation = 0.0
        if self._fresh:
            self._fresh = False
            ready = self._answer(note, self._started + _INIT_SECONDS)
            initialisation = time.monotonic() - self._started
            if not ready or not ready["ready"]:
                self.end()
                fault = ready["fault"] | {"requestId": request_id} if ready else self._ended(request_id)
                return self._finish(note, log, request_id, fault, 0.0, 0, initialisation)
        began, timeout = time.monotonic(), self.settings.timeout
        request = {"id": request_id, "arn": self.settings.arn, "event": event, "deadline": time.time() + timeout}
        answer = self._ask(request, note, began + timeout)
        seconds = time.monotonic() - began
        if answer:
            memory, result = answer["memory"], answer["result"]
            return self._finish(note, log, request_id, result, seconds, memory, initialisation, answer["failed"])
        late = self._process.poll() is None
        self.end()
        if not late:
            return self._finish(note, log, request_id, self._ended(request_id), seconds, 0, initialisation)
        note(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z {request_id} Task timed out after {timeout:.2f} seconds")
        message = f"RequestId: {request_id} Error: Task timed out after {timeout:.2f} seconds"
        error = {"errorType": "Sandbox.Timedout", "errorMessage": message}
        return self._finish(note, log, request_id, error, seconds, 0, initialisation)

    def end(self) -> None:
        """Kill the process and everything it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # it has ended already
        finally:
            self._process.wait()

    def _ask(self, request: dict[str, Any], note: Any, deadline: float) -> dict[str, Any] | None:
        if self._process.stdin is None:
            return None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None  # the process ended between two events
        return self._answer(note, deadline)

    def _answer(self, note: Any, deadline: float) -> dict[str, Any] | None:
        """The runner's next answer, log lines on the way noted; None when it is late or has ended."""
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                return None
            if line is None:
                self._process.wait()
                return None
            text, marked, message = line.rstrip("\n").partition("\0")
            if text:
                note(text)
            if marked:
                answer: dict[str, Any] = json.loads(message)
                return answer
        return None

    def _read(self) -> None:
        if self._process.stdout:
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _ended(self, request_id: str) -> dict[str, str]:
        code = self._process.returncode
        how = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        message = f"RequestId: {request_id} Error: Runtime exited with error: {how}"
        return {"errorType": "Runtime.ExitError", "errorMessage": message}

    def _finish(
        self,
        note: Any,
        log: list[str],
        request_id: str,
        result: Any,
        seconds: float,
        memory: int,
        initialisation: float,
        failed: bool = True,
    ) -> Outcome:
        note(f"END RequestId: {request_id}")
        milliseconds = seconds * 1000
        cold = f"\tInit Duration: {initialisation * 1000:.2f} ms" if initialisation else ""
        note(
            f"REPORT RequestId: {request_id}\tDuration: {milliseconds:.2f} ms"
            f"\tBilled Duration: {int(milliseconds) + 1} ms"
            f"\tMemory Size: {self.settings.memory} MB\tMax Memory Used: {memory} MB{cold}"
        )
        return Outcome(json.dumps(result), failed, log)


def unpack(code: bytes, sha256: str) -> Path:
    """The folder with an archive's files, unpacked once. Raises ValueError for an archive that reaches outside."""
    folder = state() / "lambda" / sha256.replace("/", "_")
    if folder.exists():
        return folder
    beside = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        if sum(member.file_size for member in archive.infolist()) > _UNZIPPED_BYTES:
            raise ValueError(f"Unzipped size must be smaller than {_UNZIPPED_BYTES} bytes")
        for member in archive.infolist():
            path = Path(member.filename)
            if path.is_absolute() or ".." in path.parts or (member.external_attr >> 28) == 0o12:  # a symbolic link
                raise ValueError(f"The archive holds an unsafe path: {member.filename}")
        try:
            archive.extractall(beside)
            with suppress(OSError):  # another thread was first
                beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return folder


@cache
def _runtime() -> Path:
    """A folder with just the libraries of Lambda's Python runtime."""
    folder = state() / "lambda" / "runtime"
    folder.mkdir(parents=True, exist_ok=True)
    for name in _LIBRARIES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise RuntimeError(f"{name} is not installed")
        source = Path(spec.origin)
        source = source.parent if source.name == "__init__.py" else source
        link = folder / source.name
        if not link.exists():
            link.symlink_to(source)
    return folder
