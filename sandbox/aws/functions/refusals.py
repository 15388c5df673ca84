"""What Lambda refuses and moto takes, or refuses in other words. `install()` puts the checks before moto's calls.

https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any
from urllib.parse import unquote

from moto.awslambda.exceptions import (
    InvalidParameterValueException,
    LambdaClientError,
    PreconditionFailedException,
    UnknownEventConfig,
    UnknownFunctionException,
    UnknownPolicyException,
)
from moto.awslambda.responses import LambdaResponse
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends

from sandbox.aws.events import patterns
from sandbox.aws.functions.configuration import revision
from sandbox.aws.ground import ACCOUNT, REGION

_LONGEST_NAME, _ENVIRONMENT_BYTES, _SMALL_BATCH = 64, 4096, 10
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html: blocked for new functions.
_OLD_RUNTIMES = re.compile(
    r"python(2\.7|3\.[678])|nodejs([468]|10|12|14|16)?(\.x|\.10)?|ruby2\.\d|java8|go1\.x|dotnetcore[\d.]+|dotnet[567]|provided"
)


class NotFound(LambdaClientError):
    code = 404

    def __init__(self, message: str) -> None:
        super().__init__("ResourceNotFoundException", message)


def install() -> None:
    responses: Any = LambdaResponse
    for name, check in _CHECKS.items():
        setattr(responses, name, _checked(getattr(responses, name), check))
    setup = responses.setup_class

    def any_bytes(self: Any, request: Any, *arguments: Any, **settings: Any) -> None:
        try:
            setup(self, request, *arguments, **settings)
        except UnicodeDecodeError:  # a payload that is no text
            setup(self, request, *arguments, **settings | {"use_raw_body": True})

    responses.setup_class = any_bytes
    _with_words()


def _checked(call: Callable[[Any], Any], check: Callable[[Any], None]) -> Callable[[Any], Any]:
    @wraps(call)
    def checked(self: Any) -> Any:
        check(self)
        return call(self)

    return checked


def _with_words() -> None:
    """Two of moto's refusals have other words."""
    responses: Any = LambdaResponse
    remove, settings = responses.remove_permission, responses.get_function_event_invoke_config

    def remove_permission(self: Any) -> Any:
        try:
            return remove(self)
        except UnknownPolicyException as error:
            if not self.backend.get_function(_function_name(self)).policy.statements:
                raise
            statement = unquote(self.path.rsplit("/", 1)[-1])
            raise NotFound(f"Statement {statement} is not found in resource policy.") from error

    def event_invoke_config(self: Any) -> Any:
        try:
            return settings(self)
        except UnknownEventConfig as error:
            arn = self.backend.get_function(_function_name(self)).function_arn
            raise NotFound(f"The function {arn}:$LATEST doesn't have an EventInvokeConfig") from error

    responses.remove_permission = remove_permission
    responses.get_function_event_invoke_config = event_invoke_config


# --- the checks, by call -------------------------------------------------------------------------------------------


def _function_name(response: Any) -> str:
    parts = unquote(response.path).split("/")
    return parts[parts.index("functions") + 1] if "functions" in parts else ""


def _qualifier(response: Any) -> str | None:
    return next(
        (response.querystring[key][0] for key in ("Qualifier", "qualifier") if key in response.querystring), None
    )


def _name(response: Any) -> None:
    """Of a call on a function: its ARN is of here, and names the version that the call names."""
    name, qualifier = _function_name(response), _qualifier(response)
    if not name.startswith("arn:"):
        return
    parts = name.split(":")
    if parts[3] != REGION:
        raise NotFound(f"Functions from '{parts[3]}' are not reachable in this region ('{REGION}')")
    if len(parts) > 7 and qualifier and parts[7] != qualifier:
        raise InvalidParameterValueException(
            "The derived qualifier from the function name does not match the specified qualifier."
        )


def _invoke(response: Any) -> None:
    _name(response)
    name, qualifier = _function_name(response), _qualifier(response)
    if qualifier and qualifier != "$LATEST":
        try:
            response.backend.get_function(name, qualifier)
        except LambdaClientError as error:
            arn = response.backend.get_function(name).function_arn
            raise UnknownFunctionException(f"{arn}:{qualifier}") from error


def _create(response: Any) -> None:
    settings = response.json_body
    name = settings["FunctionName"]
    if len(name) > _LONGEST_NAME and ":" not in name:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {_LONGEST_NAME}"
        )
    _check_settings(settings)
    _check_code(settings.get("Code", {}))


def _check_settings(settings: Mapping[str, Any]) -> None:
    runtime = settings.get("Runtime") or ""
    if _OLD_RUNTIMES.fullmatch(runtime):
        raise InvalidParameterValueException(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    variables = settings.get("Environment", {}).get("Variables", {})
    text = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(text.encode()) > _ENVIRONMENT_BYTES:
        raise InvalidParameterValueException(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {text}"
        )


def _check_code(code: Mapping[str, Any]) -> None:
    if "S3Bucket" not in code:
        return
    bucket = s3_backends[ACCOUNT]["aws"].buckets.get(code["S3Bucket"])
    missing = ("NoSuchBucket", "The specified bucket does not exist") if bucket is None else None
    if bucket is not None and code["S3Key"] not in bucket.keys:
        missing = ("NoSuchKey", "The specified key does not exist.")
    if missing:
        raise InvalidParameterValueException(
            f"Error occurred while GetObject. S3 Error Code: {missing[0]}. S3 Error Message: {missing[1]}"
        )


def _update(response: Any) -> None:
    _name(response)
    _revision(response)
    _check_settings(response.json_body)
    _check_code(response.json_body)


def _revision(response: Any) -> None:
    expected = (json.loads(response.body) if response.body else {}).get("RevisionId")
    if expected and expected != revision(response.backend.get_function(_function_name(response))):
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
            "retrieve the latest Revision Id"
        )


def _event_settings(response: Any) -> None:
    try:
        response.backend.get_function(_function_name(response))
    except UnknownFunctionException as error:
        raise NotFound("The function doesn't exist.") from error


def _mapping(response: Any) -> None:
    settings = response.json_body
    queue_arn = str(settings.get("EventSourceArn", ""))
    if ":sqs:" in queue_arn and queue_arn.rpartition(":")[2] not in sqs_backends[ACCOUNT][REGION].queues:
        raise InvalidParameterValueException(
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
            "SQS Error Message: The specified queue does not exist."
        )
    if settings.get("BatchSize", 0) > _SMALL_BATCH and not settings.get("MaximumBatchingWindowInSeconds"):
        raise InvalidParameterValueException(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )
    for each in (settings.get("FilterCriteria") or {}).get("Filters", []):
        try:
            patterns.read(each.get("Pattern", ""))
        except patterns.InvalidPattern as error:
            raise InvalidParameterValueException("Invalid filter pattern definition.") from error


_CHECKS: dict[str, Callable[[Any], None]] = {
    "get_function": _name,
    "get_function_configuration": _name,
    "invoke": _invoke,
    "create_function": _create,
    "update_function_configuration": _update,
    "update_function_code": _update,
    "publish_version": _revision,
    "put_function_event_invoke_config": _event_settings,
    "create_event_source_mapping": _mapping,
}
