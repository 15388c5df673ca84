"""The program inside a warm Lambda environment: loads the handler, then answers one event per line of standard input.

environment.py starts it with the archive and boto3 on the path and nothing else: it may use the standard library only.
Answers go to standard output behind a NUL byte; every other line there is the function's log.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

Handler = Callable[[Any, Any], Any]


class Context:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-context.html"""

    def __init__(self, request_id: str, arn: str, deadline: float) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = arn
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = self.client_context = None
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.time()) * 1000))


class _LogHandler(logging.Handler):
    """Lambda's own format: level, time, request id, message, separated by tabs."""

    request_id = ""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        text = super().format(record)
        return f"[{record.levelname}]\t{moment}.{int(record.msecs):03d}Z\t{self.request_id}\t{text}"


def load(name: str) -> Handler:
    """The handler function for `module.function`. Raises RuntimeFault with Lambda's own words."""
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        raise RuntimeFault("MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise RuntimeFault("ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        raise RuntimeFault("UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}") from error
    try:
        handler: Handler = getattr(module, function_name)
    except AttributeError as error:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise RuntimeFault("HandlerNotFound", message) from error
    return handler


class RuntimeFault(Exception):
    """The runtime's fault report, `Runtime.<kind>`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = f"Runtime.{kind}"


def _report(error: BaseException, request_id: str) -> dict[str, Any]:
    kind = error.kind if isinstance(error, RuntimeFault) else type(error).__name__
    # The first frame is ours.
    trace = (
        [] if isinstance(error, RuntimeFault) else traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
    )
    print(f"[ERROR] {kind}: {error}", *(["Traceback (most recent call last):", *trace] if trace else []), sep="\n")
    return {"errorMessage": str(error), "errorType": kind, "requestId": request_id, "stackTrace": trace}


def _answer(handler: Handler, request: dict[str, Any]) -> tuple[Any, bool]:
    """The handler's result, or its error report, and whether it is the latter."""
    context = Context(request["id"], request["arn"], request["deadline"])
    try:
        result = handler(request["event"], context)
    except Exception as error:  # noqa: BLE001 - whatever the function raises is its answer
        return _report(error, request["id"]), True
    try:
        json.dumps(result)
    except TypeError as error:
        return _report(RuntimeFault("MarshalError", f"Unable to marshal response: {error}"), request["id"]), True
    return result, False


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")

    def reply(message: dict[str, Any]) -> None:
        sys.stdout.flush()
        replies.write("\0" + json.dumps(message) + "\n")
        replies.flush()

    log = _LogHandler()
    logging.getLogger().addHandler(log)
    try:
        handler = load(os.environ["_HANDLER"])
    except Exception as error:  # noqa: BLE001 - as above
        reply({"ready": False, "fault": _report(error, "")})
        return
    reply({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        log.request_id = request["id"]
        result, failed = _answer(handler, request)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # MB on Linux
        reply({"result": result, "failed": failed, "memory": peak})


if __name__ == "__main__":
    main()
