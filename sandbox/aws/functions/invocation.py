"""Lambda functions whose archives really run: synchronous and asynchronous invocations, warm environments.

`install()` puts it behind moto's `LambdaFunction`. Event source mappings live in event_sources.py.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
import uuid
import zipfile
from typing import Any

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.core.exceptions import ServiceException

from sandbox.aws import java_json
from sandbox.aws.access import identity
from sandbox.aws.functions import event_sources, network
from sandbox.aws.functions.environment import Environment, Outcome, Settings, unpack
from sandbox.aws.ground import ACCOUNT

_RETRY_SECONDS = (1, 2)  # between the attempts of an asynchronous invocation; AWS waits one minute and two
_TAIL_BYTES = 4096  # of the log, in X-Amz-Log-Result
_idle: dict[str, list[Environment]] = {}
_lock = threading.Lock()


class InvalidParameterValue(ServiceException):
    code = "InvalidParameterValueException"


def install() -> None:
    create_function, delete_function = LambdaBackend.create_function, LambdaBackend.delete_function
    update_configuration = LambdaFunction.update_configuration

    def checked_create(self: Any, spec: dict[str, Any]) -> Any:
        try:
            identity.service_credentials(spec["Role"], "lambda.amazonaws.com", "check")
        except identity.CannotAssume as error:
            message = "The role defined for the function cannot be assumed by Lambda."
            raise InvalidParameterValue(message) from error
        network.check(spec["Role"], spec.get("VpcConfig") or {})
        function = create_function(self, spec)
        try:
            unpack(function.code_bytes, function.code_sha_256)
        except (ValueError, zipfile.BadZipFile) as error:
            delete_function(self, function.function_name)
            message = "Could not unzip uploaded file. Please check your file, then try to upload again."
            raise InvalidParameterValue(message) from error
        except OSError as error:  # a full disk: nothing half made is left
            delete_function(self, function.function_name)
            raise InvalidParameterValue(f"The sandbox cannot unpack the archive: {error.strerror}") from error
        function.dead_letter_arn = spec.get("DeadLetterConfig", {}).get("TargetArn")
        _set_log_group(function, spec)
        return function

    def logging_update(self: Any, config_updates: dict[str, Any]) -> Any:
        _set_log_group(self, config_updates)
        if "VpcConfig" in config_updates:
            network.check(config_updates.get("Role", self.role), config_updates["VpcConfig"])
        if "DeadLetterConfig" in config_updates:
            self.dead_letter_arn = config_updates["DeadLetterConfig"].get("TargetArn")
        return update_configuration(self, config_updates)

    def ending_delete(self: Any, function_name: str, qualifier: str | None = None) -> None:
        arn = self.get_function(function_name, None).function_arn
        delete_function(self, function_name, qualifier)
        with _lock:
            idle = _idle.pop(arn, [])
        for environment in idle:
            environment.end()

    LambdaBackend.create_function = checked_create
    LambdaFunction.update_configuration = logging_update
    LambdaBackend.delete_function = ending_delete
    LambdaFunction.invoke = _invoke
    event_sources.install(run)


def _set_log_group(function: Any, spec: dict[str, Any]) -> None:
    if group := spec.get("LoggingConfig", {}).get("LogGroup"):  # moto has no other place for it
        function.logs_group_name = group


def run(function: Any, event: Any) -> Outcome:
    """Invoke a function once, in a warm environment if one is free."""
    settings = Settings(
        name=function.function_name,
        arn=function.function_arn,
        handler=function.handler,
        role=function.role,
        code_sha256=function.code_sha_256,
        memory=int(function.memory_size),
        timeout=int(function.timeout),
        log_group=function.logs_group_name,
        variables=tuple(sorted((name, str(value)) for name, value in function.environment_vars.items())),
    )
    environment = _take(settings)
    if environment is None:
        credentials = identity.service_credentials(function.role, "lambda.amazonaws.com", function.function_name)
        environment = Environment(settings, function.code_bytes, credentials)
    outcome = environment.invoke(event)
    with _lock:
        _idle.setdefault(settings.arn, []).append(environment)
    return outcome


def run_later(function: Any, event: Any) -> None:
    """An asynchronous invocation: up to two more attempts when the function fails, then its dead-letter queue."""
    settings = getattr(function, "event_invoke_config", {}) or {}
    pauses = _RETRY_SECONDS[: settings.get("MaximumRetryAttempts", len(_RETRY_SECONDS))]

    def attempts() -> None:
        outcome = run(function, event)
        for pause in pauses:
            if not outcome.failed:
                return
            time.sleep(pause)
            outcome = run(function, event)
        if outcome.failed:
            _bury(function, event, outcome)

    threading.Thread(target=attempts, daemon=True).start()


def _bury(function: Any, event: Any, outcome: Outcome) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html#invocation-dlq"""
    arn = getattr(function, "dead_letter_arn", None)
    if not arn or ":sqs:" not in arn:
        return
    report = json.loads(outcome.payload)
    attributes = {
        "RequestID": ("String", report.get("requestId") or str(uuid.uuid4())),
        "ErrorCode": ("Number", "200"),
        "ErrorMessage": ("String", str(report.get("errorMessage", ""))[:1024] or "no message"),
    }
    keys = identity.service_credentials(function.role, "lambda.amazonaws.com", function.function_name)
    identity.client("sqs", keys).send_message(
        QueueUrl=f"{os.environ['AWS_ENDPOINT_URL']}/{ACCOUNT}/{arn.rpartition(':')[2]}",
        MessageBody=json.dumps(event),
        MessageAttributes={
            name: {"DataType": kind, "StringValue": value} for name, (kind, value) in attributes.items()
        },
    )


def _take(settings: Settings) -> Environment | None:
    """A warm environment of the same settings; those that are out of date end here."""
    with _lock:
        waiting = _idle.pop(settings.arn, [])
        fit = [one for one in waiting if one.usable and one.settings == settings]
        environment_to_use = fit.pop() if fit else None
        _idle[settings.arn] = fit
    for environment in waiting:
        if environment is not environment_to_use and environment not in fit:
            environment.end()
    return environment_to_use


def _invoke(function: Any, body: str, request_headers: Any, response_headers: dict[str, str]) -> bytes:
    """The Invoke API."""
    kind = request_headers.get("X-Amz-Invocation-Type", "RequestResponse")
    event = _payload(body)
    if kind == "Event":
        run_later(function, event)
    if kind != "RequestResponse":
        return b""
    outcome = run(function, event)
    response_headers["x-amz-executed-version"] = "$LATEST"
    if outcome.failed:
        response_headers["x-amz-function-error"] = "Unhandled"
    tail = "\n".join(outcome.log).encode()[-_TAIL_BYTES:]
    response_headers["x-amz-log-result"] = base64.b64encode(tail).decode()
    return outcome.payload.encode()


class InvalidContent(LambdaClientError):
    """The payload of an invocation is no JSON."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "InvalidRequestContentException",
            f"Could not parse request body into json: Could not parse payload into json: {reason}",
        )


def _payload(body: str | bytes) -> Any:
    try:
        text = body.decode() if isinstance(body, bytes) else body
        return json.loads(text) if text else {}
    except UnicodeDecodeError as error:
        raise InvalidContent(f"Invalid UTF-8 start byte 0x{error.object[error.start]:02x}") from error
    except json.JSONDecodeError as error:
        raise InvalidContent(java_json.reason(error)) from error
