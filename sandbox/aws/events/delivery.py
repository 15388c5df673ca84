"""EventBridge delivery: rules that are on, each target with an event of its own.

A queue takes what its own policy lets EventBridge send; what a target does not take goes to its dead-letter queue.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import ServiceException
from moto.events.models import Rule
from moto.sqs.models import sqs_backends

from sandbox.aws.access import policies
from sandbox.aws.events import transform

_log = logging.getLogger(__name__)


class NotPermitted(ServiceException):
    code = "NO_PERMISSIONS"


def install() -> None:
    rule: Any = Rule
    rule.send_to_targets = _deliver


def _deliver(rule: Any, message: dict[str, Any], transform_input: bool = True) -> None:
    # moto delivers for disabled rules, too, and sends every event to a rule that has only a schedule.
    if rule.state == "DISABLED" or not rule.event_pattern.get_pattern():
        return
    event = _as_sent(message)
    if not rule.event_pattern.matches_event(event):
        return
    for target in list(rule.targets):
        try:
            text = transform.text(target, rule.arn, rule.name, event)
            if text is None:  # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
                _log.warning("rule %s: the input for %s is not JSON and is not sent", rule.name, target["Arn"])
                continue
            _require_permission(rule, target["Arn"])
            _send(target["Arn"], text, target.get("SqsParameters", {}).get("MessageGroupId"))
        except ServiceException as error:
            # A target that is gone is the rule's trouble, not that of the caller of PutEvents.
            _log.warning("rule %s could not deliver to %s: %s", rule.name, target["Arn"], error)
            _bury(rule, target, event)


def _as_sent(message: dict[str, Any]) -> dict[str, Any]:
    """The event as targets see it; in moto its time may be a number, and it has the one of its arrival."""
    event = {name: value for name, value in message.items() if name != "ingestion-time"}
    if not isinstance(event["time"], str):
        event["time"] = f"{datetime.fromtimestamp(float(event['time']), UTC):%Y-%m-%dT%H:%M:%SZ}"
    return event


def _send(queue_arn: str, text: str, group: str | None) -> None:
    _, _, _, region, account, name = queue_arn.split(":")
    sqs_backends[account][region].send_message(name, text, group_id=group)


def _require_permission(rule: Any, queue_arn: str) -> None:
    """EventBridge has no role for queues: the queue's own policy decides. Raises NotPermitted.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
    """
    _, _, _, region, account, name = queue_arn.split(":")
    policy = json.loads(sqs_backends[account][region].get_queue(name).policy or '{"Statement": []}')
    for_sender = [
        each
        for each in policies.as_list(policy["Statement"])
        if policies.names(each, "Service", "events.amazonaws.com")
    ]
    if not policies.allows([{"Statement": for_sender}], "sqs:SendMessage", queue_arn, {"aws:sourcearn": rule.arn}):
        raise NotPermitted(f"the queue's policy does not let rule {rule.name} send to it")


def _bury(rule: Any, target: dict[str, Any], event: dict[str, Any]) -> None:
    """Keep an event that its target does not take, if there is a place for it that does."""
    if arn := target.get("DeadLetterConfig", {}).get("Arn"):
        try:
            _require_permission(rule, arn)
            _send(arn, transform.as_json(event), None)
        except ServiceException as error:
            _log.warning("rule %s could not deliver to its dead-letter queue: %s", rule.name, error)
