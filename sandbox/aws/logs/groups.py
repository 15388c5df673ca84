"""CloudWatch Logs' API: refusals that name the stream, and what a group tells of itself. streams.py writes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.logs.exceptions import InvalidParameterException, ResourceAlreadyExistsException, ResourceNotFoundException
from moto.logs.models import LogGroup, LogsBackend
from moto.logs.responses import LogsResponse

_LONGEST = 512


def install() -> None:
    group: Any = LogGroup
    group.create_log_stream = _naming_the_stream(group.create_log_stream)
    for name in ("delete_log_stream", "get_log_events", "put_log_events"):
        setattr(group, name, _naming_the_stream(getattr(group, name)))
    describe = group.to_describe_dict
    group.to_describe_dict = lambda self: (
        describe(self)
        | {
            "logGroupClass": "STANDARD",
            "deletionProtectionEnabled": False,
        }
    )
    backend: Any = LogsBackend
    create = backend.create_log_group

    def checked_create(self: Any, log_group_name: str, tags: Any, **settings: Any) -> Any:
        if len(log_group_name) > _LONGEST:
            raise InvalidParameterException(
                f"Invalid LogGroup or LogStream, both must have length less than or equal to {_LONGEST}."
            )
        return create(self, log_group_name, tags, **settings)

    backend.create_log_group = checked_create
    responses: Any = LogsResponse
    describe_groups = responses.describe_log_groups

    def checked_describe(self: Any) -> Any:
        if self._get_param("logGroupNamePrefix") and self._get_param("logGroupNamePattern"):
            raise InvalidParameterException(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
            )
        return describe_groups(self)

    responses.describe_log_groups = checked_describe


def _naming_the_stream(call: Callable[..., Any]) -> Callable[..., Any]:
    """moto says "log group" of a stream, too."""

    @wraps(call)
    def named(self: Any, *arguments: Any, **settings: Any) -> Any:
        try:
            return call(self, *arguments, **settings)
        except ResourceAlreadyExistsException as error:
            error.description = error.description.replace("log group", "log stream")
            raise
        except ResourceNotFoundException as error:
            error.description = error.description.replace("log group", "log stream")
            raise

    return named
