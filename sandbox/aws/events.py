"""EventBridge delivery: rules that are on, each target with an event of its own.

A queue takes what its own policy lets EventBridge send; what a target does not take goes to its dead-letter queue.
"""

from __future__ import annotations

import copy
import json
import logging
from typing import Any

from moto.core.exceptions import ServiceException
from moto.events.models import Rule
from moto.sqs.models import sqs_backends

from sandbox.aws import policies

_log = logging.getLogger(__name__)


class NotPermitted(ServiceException):
    code = "NO_PERMISSIONS"


def install() -> None:
    moto_delivery = Rule.send_to_targets

    def deliver(rule: Any, event: dict[str, Any], transform_input: bool = True) -> None:
        # moto delivers for disabled rules, too, and sends every event to a rule that has only a schedule.
        if rule.state == "DISABLED" or not rule.event_pattern.get_pattern():
            return
        if not rule.event_pattern.matches_event(event):
            return
        targets = list(rule.targets)
        for target in targets:
            try:
                send(rule, target, event, transform_input)
            except ServiceException as error:
                # A target that is gone is the rule's trouble, not that of the caller of PutEvents.
                _log.warning("rule %s could not deliver to %s: %s", rule.name, target["Arn"], error)
                _bury(rule, target, event)

    def send(rule: Any, target: dict[str, Any], event: dict[str, Any], transform_input: bool) -> None:
        own = copy.deepcopy(event)
        if ":sqs:" in target["Arn"]:
            _require_permission(rule, target["Arn"])
        one_target = copy.copy(rule)
        one_target.targets = [target]
        moto_delivery(one_target, own, transform_input)

    moto_queue = Rule._send_to_sqs_queue

    def send_to_queue(rule: Any, name: str, event: Any, group_id: str | None = None) -> None:
        moto_queue(rule, name, _as_sent(event), group_id)

    Rule.send_to_targets = deliver
    Rule._send_to_sqs_queue = send_to_queue


def _queue(arn: str) -> Any:
    _, _, _, region, account, name = arn.split(":")
    return sqs_backends[account][region].get_queue(name)


def _require_permission(rule: Any, queue_arn: str) -> None:
    """EventBridge has no role for queues: the queue's own policy decides. Raises NotPermitted.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
    """
    policy = json.loads(_queue(queue_arn).policy or '{"Statement": []}')
    own = [
        each
        for each in policies.as_list(policy["Statement"])
        if policies.names(each, "Service", "events.amazonaws.com")
    ]
    if not policies.allows([{"Statement": own}], "sqs:SendMessage", queue_arn, {"aws:sourcearn": rule.arn}):
        raise NotPermitted(f"the queue's policy does not let rule {rule.name} send to it")


def _bury(rule: Any, target: dict[str, Any], event: dict[str, Any]) -> None:
    """Keep an event that its target does not take, if there is a place for it that does."""
    if arn := target.get("DeadLetterConfig", {}).get("Arn"):
        try:
            _require_permission(rule, arn)
            rule._send_to_sqs_queue(_queue(arn).name, copy.deepcopy(event))
        except ServiceException as error:
            _log.warning("rule %s could not deliver to its dead-letter queue: %s", rule.name, error)


def _as_sent(event: Any) -> Any:
    """Only replayed events have an ingestion time; moto wants it for input transformers."""
    if isinstance(event, dict):
        event.pop("ingestion-time", None)
    return event
