"""What Lambda tells of a function and of a mapping: states while they are made, revisions, no member without a value.

The work itself is done when the call returns; a caller that waits for Active or Enabled sees it at its next look.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.awslambda.models import EventSourceMapping, LambdaFunction
from moto.awslambda.responses import LambdaResponse

_BEING_CREATED = "The function is being created."


def install() -> None:
    function: Any = LambdaFunction
    describe, update, update_code = (
        function.get_configuration,
        function.update_configuration,
        function.update_function_code,
    )

    def configuration(self: Any, on_create: bool = False) -> dict[str, Any]:
        settings = {key: value for key, value in describe(self, on_create).items() if value not in (None, [], {})}
        settings |= {
            "Description": self.description or "",
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": self.logs_group_name},
            "RevisionId": revision(self),
            "TracingConfig": self.tracing_config or {"Mode": "PassThrough"},
        }
        if on_create:
            settings |= {"State": "Pending", "StateReason": _BEING_CREATED, "StateReasonCode": "Creating"}
        return settings

    function.get_configuration = configuration
    function.update_configuration = _revising(update)
    function.update_function_code = _revising(update_code)
    mapping: Any = EventSourceMapping
    mapping.get_configuration = _described(mapping.get_configuration)
    responses: Any = LambdaResponse
    responses.create_event_source_mapping = _creating(responses.create_event_source_mapping)


def revision(function: Any) -> str:
    """The id of a function's present state."""
    if not hasattr(function, "revision"):
        function.revision = str(uuid.uuid4())
    return str(function.revision)


def _revising(update: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    @wraps(update)
    def revising(self: Any, changes: dict[str, Any]) -> dict[str, Any]:
        self.revision = str(uuid.uuid4())
        return update(self, changes) | {
            "LastUpdateStatus": "InProgress",
            "LastUpdateStatusReason": _BEING_CREATED,
            "LastUpdateStatusReasonCode": "Creating",
        }

    return revising


def _described(describe: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    @wraps(describe)
    def described(self: Any) -> dict[str, Any]:
        settings = {
            key: value for key, value in describe(self).items() if key != "Tags" and value not in (None, [], {})
        }
        return settings | {
            "FunctionResponseTypes": self.function_response_types or [],
            "MaximumBatchingWindowInSeconds": int(self.max_batch_window or 0),
            "StateTransitionReason": "USER_INITIATED",
        }

    return described


def _creating(create: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(create)
    def creating(self: Any) -> Any:
        status, headers, body = create(self)
        return status, headers, json.dumps(json.loads(body) | {"State": "Creating"})

    return creating
