"""EventBridge delivery: rules that are on, each target with an event of its own, Lambda functions among the targets."""

from __future__ import annotations

import copy
import logging
from datetime import UTC, datetime
from typing import Any

from moto.awslambda.models import lambda_backends
from moto.core.exceptions import ServiceException
from moto.events.models import EventTemplateParser, Rule

from sandbox.aws import functions

_log = logging.getLogger(__name__)


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
            own = copy.deepcopy(event)
            one_target = copy.copy(rule)
            one_target.targets = [target]
            try:
                if ":lambda:" in target["Arn"]:
                    _invoke(target, own)
                else:
                    moto_delivery(one_target, own, transform_input)
            except ServiceException as error:
                # A target that is gone is the rule's trouble, not that of the caller of PutEvents.
                _log.warning("rule %s could not deliver to %s: %s", rule.name, target["Arn"], error)

    moto_queue = Rule._send_to_sqs_queue

    def send_to_queue(rule: Any, name: str, event: Any, group_id: str | None = None) -> None:
        moto_queue(rule, name, _as_sent(event), group_id)

    Rule.send_to_targets = deliver
    Rule._send_to_sqs_queue = send_to_queue


def _as_sent(event: Any) -> Any:
    """Only replayed events have an ingestion time; moto wants it for input transformers."""
    if isinstance(event, dict):
        event.pop("ingestion-time", None)
    return event


def _invoke(target: dict[str, Any], event: dict[str, Any]) -> None:
    transformer = target.get("InputTransformer", {})
    payload = EventTemplateParser.parse(
        input_template=transformer.get("InputTemplate"),
        input_paths_map=transformer.get("InputPathsMap", {}),
        event=event,
    )
    if isinstance(payload, dict) and "time" in payload:
        payload["time"] = datetime.fromtimestamp(float(payload["time"]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _, _, _, region, account, _, name = target["Arn"].split(":", 6)
    functions.run_later(lambda_backends[account][region].get_function(name, None), _as_sent(payload))
