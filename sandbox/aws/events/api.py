"""The checks and calls of EventBridge's API that moto lacks: patterns, schedules, inputs of targets, entries."""

from __future__ import annotations

import json
import re
from typing import Any

from aws_cron_expression_validator.validator import AWSCronExpressionValidator
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.events.exceptions import InvalidEventPatternException, ResourceNotFoundException, ValidationException
from moto.events.models import EventPattern, EventPatternParser, EventsBackend
from moto.events.responses import EventsHandler

from sandbox.aws.events import patterns, transform
from sandbox.aws.lacking import Lacking

_REQUEST_BYTES = 1024 * 1024  # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
_TIME_BYTES = 14
_RATE = re.compile(r"rate\((1 (minute|hour|day)|(?!1 |0+ )\d+ (minutes|hours|days))\)")
_MOST_TARGETS = 5
_INPUTS = ("Input", "InputPath", "InputTransformer")


def install() -> None:
    backend, pattern, parser, handler = _classes()
    put_rule, put_targets = backend.put_rule, backend.put_targets
    put_events, describe_rule = backend.put_events, backend.describe_rule

    def checked_rule(self: Any, name: str, **settings: Any) -> Any:
        schedule, bus = settings.get("scheduled_expression"), settings.get("event_bus_arn")
        if schedule and self._normalize_event_bus_arn(bus) == "default" and not _is_schedule(schedule):
            raise ValidationException("Parameter ScheduleExpression is not valid.")
        return put_rule(self, name=name, **settings)

    def named_rule(self: Any, name: str, event_bus_arn: str | None) -> Any:
        try:
            return describe_rule(self, name, event_bus_arn)
        except ResourceNotFoundException as error:
            if error.message.startswith("Event bus"):
                raise
            bus = self._normalize_event_bus_arn(event_bus_arn)
            raise ResourceNotFoundException(f"Rule {name} does not exist on EventBus {bus}.") from error

    def checked_targets(self: Any, name: str, event_bus_arn: str | None, targets: list[dict[str, Any]]) -> None:
        for target in targets:
            _check_input(target)
            if not target["Arn"].startswith("arn:") or ":sqs:" in target["Arn"]:
                continue
            raise Lacking(f"targets of rules that are no queues ({target['Arn']})")
        bus = self._get_event_bus(self._normalize_event_bus_arn(event_bus_arn))
        target_ids = {target["Id"] for target in bus.rules[name].targets} if name in bus.rules else set[str]()
        if len(target_ids | {target["Id"] for target in targets}) > _MOST_TARGETS:
            raise JsonRESTError("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
        put_targets(self, name, event_bus_arn, targets)

    def checked_events(self: Any, events: list[dict[str, Any]]) -> Any:
        if sum(map(_size, events)) > _REQUEST_BYTES:
            raise ValidationException("Total size of the entries in the request is over the limit.")
        # moto delivers whatever JSON the detail is; it knows the refusal for what is no JSON.
        return put_events(
            self, [event | ({} if _is_object(event.get("Detail")) else {"Detail": "{"}) for event in events]
        )

    backend.put_rule, backend.put_targets = checked_rule, checked_targets
    backend.put_events, backend.describe_rule = checked_events, named_rule
    parser.parse = _parse
    pattern.matches_event = lambda self, event: self.read.matches(event)
    pattern.read = property(lambda self: patterns.read(self._raw_pattern))
    handler.test_event_pattern = _test_event_pattern


def _classes() -> tuple[Any, Any, Any, Any]:
    return EventsBackend, EventPattern, EventPatternParser, EventsHandler


def _parse(self: Any) -> dict[str, Any]:
    """moto's parser of patterns, which refuses what EventBridge refuses."""
    if not self.pattern:
        return {}
    try:
        patterns.read(self.pattern)
    except patterns.InvalidPattern as error:
        raise InvalidEventPatternException(str(error)) from error
    document: dict[str, Any] = json.loads(self.pattern)
    return document


def _test_event_pattern(self: Any) -> ActionResult:
    try:
        pattern = patterns.read(self._get_param("EventPattern"))
    except patterns.InvalidPattern as error:
        raise InvalidEventPatternException(str(error)) from error
    text = self._get_param("Event")
    if not _is_object(text):
        raise ValidationException("Parameter Event is not valid.")
    return ActionResult({"Result": pattern.matches(json.loads(text))})


def _is_object(text: Any) -> bool:
    if not text:  # a missing detail has a refusal of its own
        return True
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _is_schedule(expression: str) -> bool:
    cron = re.fullmatch(r"cron\((.*)\)", expression)
    if cron is None:
        return _RATE.fullmatch(expression) is not None
    try:
        AWSCronExpressionValidator.validate(cron[1])
    except ValueError:
        return False
    return True


def _check_input(target: dict[str, Any]) -> None:
    if len([name for name in _INPUTS if name in target]) > 1:
        raise ValidationException(
            f"Only one of Input, InputPath, or InputTransformer must be provided for target {target['Id']}."
        )
    transformer = target.get("InputTransformer", {})
    names = transform.PREDEFINED | (transformer.get("InputPathsMap") or {}).keys()
    for match in transform.PLACEHOLDER.finditer(transformer.get("InputTemplate", "")):
        if match[1] not in names:
            raise ValidationException(
                f"InputTemplate for target {target['Id']} contains invalid placeholder {match[1]}."
            )


def _size(entry: dict[str, Any]) -> int:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-calculate-event-size.html, in bytes."""
    texts = [entry.get(name) or "" for name in ("Source", "DetailType", "Detail")] + (entry.get("Resources") or [])
    return sum(len(text.encode()) for text in texts) + (_TIME_BYTES if entry.get("Time") else 0)
