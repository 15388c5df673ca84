"""What EventBridge Scheduler checks when a schedule is made or changed, which moto does not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.iam.models import iam_backends
from moto.scheduler.exceptions import ScheduleGroupNotFound, ValidationException
from moto.scheduler.models import EventBridgeSchedulerBackend

from sandbox.aws.access import identity
from sandbox.aws.ground import ACCOUNT
from sandbox.aws.lacking import Lacking
from sandbox.aws.scheduler import clock, expressions

_PIPELINE = re.compile(r"arn:aws:sagemaker:[a-z0-9-]+:\d{12}:pipeline/.+")


def install() -> None:
    backend: Any = EventBridgeSchedulerBackend
    for name in ("create_schedule", "update_schedule"):
        setattr(backend, name, _checked(getattr(backend, name)))
    clock.start()


def _checked(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def checking(self: Any, **schedule: Any) -> Any:
        if (schedule.get("group_name") or "default") not in self.schedule_groups:
            raise ScheduleGroupNotFound(schedule["group_name"])
        try:
            expressions.check(schedule["schedule_expression"], schedule.get("schedule_expression_timezone") or "UTC")
        except expressions.InvalidExpression as error:
            raise ValidationException(str(error)) from error
        _check_window(schedule["flexible_time_window"])
        _check_target(schedule["target"])
        return method(self, **schedule)

    return checking


def _check_window(window: dict[str, Any]) -> None:
    # Whether a window is used, the service decides: here a schedule is due when it says.
    minutes = window.get("MaximumWindowInMinutes")
    if (window["Mode"] == "FLEXIBLE") != bool(minutes):
        raise ValidationException(
            "MaximumWindowInMinutes must be provided when, and only when, the mode of the flexible time window is "
            "FLEXIBLE."
        )


def _check_target(target: dict[str, Any]) -> None:
    arn = target["Arn"]
    if not (_PIPELINE.fullmatch(arn) or arn == clock.UNIVERSAL):
        raise Lacking(f"targets of schedules that are no SageMaker pipelines ({arn})")
    if target.get("DeadLetterConfig"):
        raise Lacking("dead-letter queues of schedules")
    if arn == clock.UNIVERSAL:
        _check_input(target.get("Input"))
    roles = list(iam_backends[ACCOUNT]["aws"].roles.values())
    role = next((role for role in roles if role.arn == target["RoleArn"]), None)
    if role is None or not identity.trusts_service(json.loads(role.assume_role_policy_document), clock.SERVICE):
        raise ValidationException(
            "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
        )


def _check_input(text: str | None) -> None:
    try:
        if isinstance(json.loads(text or "{}"), dict):
            return
    except ValueError:
        pass
    raise ValidationException("Invalid RequestJson provided. Reason The input is not a JSON object.")
