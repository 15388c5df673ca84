"""Parameters are held to the service's model before it looks at them: patterns, lengths, ranges and sets of values.

Clients check types and what is missing; the rest is the server's. authorization.py asks `check` for every call that it
lets pass. The words are those that AWS's services share.
"""

from __future__ import annotations

from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.request import determine_request_protocol
from moto.core.responses import PROTOCOL_PARSERS
from moto.core.utils import get_service_model

from sandbox.aws.authorities import shapes

_CODES = {
    "application-autoscaling": "ValidationException",
    "cloudformation": "ValidationError",
    "dynamodb": "ValidationException",
    "events": "ValidationException",
    "iam": "ValidationError",
    "lambda": "ValidationException",
    "logs": "InvalidParameterException",
    "sagemaker": "ValidationException",
    "scheduler": "ValidationException",
    "sts": "ValidationError",
}
"""Services that answer so, and their code for it. S3, SQS and others have words of their own for each parameter."""


class InvalidParameters(ServiceException):
    """The code is the service's."""


def check(response: Any) -> None:
    """Raises InvalidParameters with every constraint that a request fails; `response` is moto's of the call."""
    service = response.boto3_service_name
    if service not in _CODES:
        return
    model = get_service_model(service)
    operation = response._get_action()
    shape = model.operation_model(operation).input_shape if operation in model.operation_names else None
    if shape is None:
        return
    problems = [_worded(problem) for problem in shapes.problems(shape, _parameters(response, model, operation))]
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected"
        raise InvalidParameters(_CODES[service], f"{count}: {'; '.join(problems)}")


def _parameters(response: Any, model: Any, operation: str) -> Any:
    """The parameters as moto's parsers read them by the model, without those that were not sent."""
    request = response.normalized_request
    protocol = determine_request_protocol(model, request.content_type)
    parser = PROTOCOL_PARSERS[protocol](model.operation_model(operation))
    return sent(
        parser.parse(
            {
                "method": request.method,
                "values": request.values,
                "headers": request.headers,
                "body": request.data,
                "url_path": request.path,
                "url_params": response.uri_match,
            }
        )
    )


def sent(value: Any) -> Any:
    """Parsed parameters without those that were not sent, which moto's parsers have as None."""
    if isinstance(value, dict):
        return {key: sent(each) for key, each in value.items() if each is not None}
    return [sent(each) for each in value] if isinstance(value, list) else value


def _worded(problem: shapes.Problem) -> str:
    value = "null" if problem.value is None else f"'{_java(problem.value)}'"
    path = ".".join(part[:1].lower() + part[1:] for part in problem.path.split("."))
    return f"Value {value} at '{path}' failed to satisfy constraint: {problem.constraint}"


def _java(value: Any) -> str:
    """A value as Java prints it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_java, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}={_java(each)}' for key, each in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else str(value)
