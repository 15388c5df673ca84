"""What SQS refuses and moto takes, or refuses in other words. `install()` puts the checks before moto's calls.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from moto.sqs.exceptions import QueueAlreadyExists, SQSException
from moto.sqs.models import Queue, SQSBackend
from moto.sqs.responses import SQSResponse

_OF_FIFO_ALONE = ("DeduplicationScope", "FifoThroughputLimit")
_BATCH_PREFIX = "AWS.SimpleQueueService."
_TOKEN = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")


def install() -> None:
    responses: Any = SQSResponse
    for name, check in _CHECKS.items():
        setattr(responses, name, _checked(getattr(responses, name), check))
    for name in ("send_message_batch", "delete_message_batch", "change_message_visibility_batch"):
        setattr(responses, name, _with_batch_codes(getattr(responses, name)))
    backend: Any = SQSBackend
    backend.create_queue = _naming_the_difference(backend.create_queue)


def _checked(call: Callable[[Any], Any], check: Callable[[Any], None]) -> Callable[[Any], Any]:
    @wraps(call)
    def checked(self: Any) -> Any:
        check(self)
        return call(self)

    return checked


def _with_batch_codes(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Refusals of batches have a prefix in their code, which moto leaves out of some."""

    @wraps(call)
    def prefixed(self: Any) -> Any:
        try:
            return call(self)
        except SQSException as error:
            if "Batch" in error.code and not error.code.startswith(_BATCH_PREFIX):
                error.code = _BATCH_PREFIX + error.code
            raise

    return prefixed


def _naming_the_difference(create: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(create)
    def create_queue(self: Any, name: str, tags: dict[str, str] | None = None, **attributes: Any) -> Any:
        if queue := self.queues.get(name):
            requested = {key: value for key, value in attributes.items() if key != "region"}
            other = Queue(name, region=self.region_name, account_id=self.account_id, **requested).attributes
            for key in requested:
                if queue.attributes.get(key) != other.get(key):
                    raise QueueAlreadyExists(
                        f"A queue already exists with the same name and a different value for attribute {key}"
                    )
        return create(self, name, tags, **attributes)

    return create_queue


# --- the checks, by call -------------------------------------------------------------------------------------------


def _create(response: Any) -> None:
    attributes = response._get_param("Attributes", {})
    for name in _OF_FIFO_ALONE:
        if name in attributes and attributes.get("FifoQueue") != "true":
            raise SQSException(
                "InvalidAttributeName", f"You can specify the {name} only when FifoQueue is set to true."
            )
    _check_encryption(attributes)


def _set(response: Any) -> None:
    attributes = response._get_param("Attributes", {})
    queue = response.sqs_backend.get_queue(response._get_queue_name())
    if "FifoQueue" in attributes:
        if not queue.fifo_queue:
            raise SQSException("InvalidAttributeName", "Unknown Attribute FifoQueue.")
        if attributes["FifoQueue"] != "true":
            raise SQSException(
                "InvalidAttributeValue",
                "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
            )
    _check_encryption(attributes)


def _check_encryption(attributes: Mapping[str, str]) -> None:
    if attributes.get("KmsMasterKeyId") and attributes.get("SqsManagedSseEnabled") == "true":
        raise SQSException(
            "InvalidAttributeName",
            "You can use one type of server-side encryption (SSE) at one time. "
            "You can either enable KMS SSE or SQS SSE.",
        )


def _receive(response: Any) -> None:
    _require_range(response, "MaxNumberOfMessages", 1, 10, "Must be between 1 and 10, if provided.")
    _require_range(response, "WaitTimeSeconds", 0, 20, "Must be >= 0 and <= 20, if provided.")


def _require_range(response: Any, name: str, low: int, high: int, reason: str) -> None:
    value = response._get_param(name)
    if value is not None and not low <= int(value) <= high:
        raise SQSException("InvalidParameterValue", f"Value {value} for parameter {name} is invalid. Reason: {reason}")


def _send(response: Any) -> None:
    if response._get_param("MessageBody") == "":
        raise SQSException("MissingParameter", "The request must contain the parameter MessageBody.")
    for name in ("MessageGroupId", "MessageDeduplicationId"):
        value = response._get_param(name)
        if value is not None and not _TOKEN.fullmatch(value):
            raise SQSException(
                "InvalidParameterValue",
                f"Value {value} for parameter {name} is invalid. Reason: {name} can only include alphanumeric and "
                "punctuation characters. 1 to 128 in length.",
            )


_CHECKS: dict[str, Callable[[Any], None]] = {
    "create_queue": _create,
    "set_queue_attributes": _set,
    "receive_message": _receive,
    "send_message": _send,
}
