"""A message in a dead-letter queue tells which queue it comes from; moto forgets it. `install()` adds the attribute."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.sqs.models import Queue
from moto.sqs.responses import SQSResponse

_NAME = "DeadLetterQueueSourceArn"


def install() -> None:
    queue, responses = _classes()
    add, receive = queue.add_message, responses.receive_message

    def remembering_add(self: Any, message: Any) -> None:
        home = getattr(message, "home", self.queue_arn)
        if home != self.queue_arn:
            message.source = home
        message.home = self.queue_arn
        add(self, message)

    def telling_receive(self: Any) -> ActionResult:
        answer: ActionResult = receive(self)
        names = self._get_param("AttributeNames", []) + self._get_param("MessageSystemAttributeNames", [])
        if {"All", _NAME} & set(names):
            by_id = {message.id: message for message in self.sqs_backend.get_queue(self._get_queue_name())._messages}
            for each in answer.result.get("Messages", []):
                if source := getattr(by_id.get(each["MessageId"]), "source", None):
                    each.setdefault("Attributes", {})[_NAME] = source
        return answer

    queue.add_message, responses.receive_message = remembering_add, telling_receive


def _classes() -> tuple[Any, Any]:
    return Queue, SQSResponse
