"""SQS for callers that wait at the same time: moto's messages do not stand two threads at once.

Messages that are received again and again keep their newest receipt handles alone: moto copies all of them with each
receipt. And a queue whose policy survives a change of its other attributes, as moto's does not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.sqs.models import Message, Queue, SQSBackend

_lock = threading.Lock()
_HANDLES = 20  # of one message that still count


def install() -> None:
    receive = SQSBackend.receive_message
    set_attributes = Queue._set_attributes

    def waiting_receive(
        self: Any, queue_name: str, count: int, wait_seconds_timeout: int, visibility_timeout: int, names: Any = None
    ) -> Any:
        deadline = time.monotonic() + (wait_seconds_timeout or 0)
        while True:
            with _lock:
                messages = receive(self, queue_name, count, 0, visibility_timeout, names)
            if messages or time.monotonic() >= deadline:
                return messages
            # Wakes at once for a new message; one that becomes visible again is seen within the second.
            self.get_queue(queue_name).wait_for_messages(min(1.0, max(0.05, deadline - time.monotonic())))

    def keeping_policy(self: Any, attributes: dict[str, Any], now: float | None = None) -> None:
        set_attributes(self, {"Policy": getattr(self, "policy", None)} | attributes, now)

    mark = Message.mark_received

    def forgetting_mark(self: Any, visibility_timeout: int | None = None) -> None:
        mark(self, visibility_timeout=visibility_timeout)
        del self._old_receipt_handles[:-_HANDLES]

    Queue._set_attributes = keeping_policy
    Message.mark_received = forgetting_mark
    SQSBackend.receive_message = waiting_receive
    SQSBackend.delete_message = _one_at_a_time(SQSBackend.delete_message)
    SQSBackend.change_message_visibility = _one_at_a_time(SQSBackend.change_message_visibility)


def _one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def alone(*arguments: Any, **named: Any) -> Any:
        with _lock:
            return method(*arguments, **named)

    return alone
