"""Lambda's pollers: one thread per SQS event source mapping receives batches, invokes, and deletes what succeeded.

It calls SQS with the function's role, as Lambda does. What fails is left to the queue: it becomes visible again, and
the redrive policy moves it to the dead-letter queue. invocation.py installs it.
https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.awslambda.models import EventSourceMapping, LambdaBackend, lambda_backends
from moto.core.exceptions import ServiceException
from moto.sqs.models import sqs_backends

from sandbox.aws.access import identity
from sandbox.aws.events import patterns
from sandbox.aws.functions.environment import Outcome
from sandbox.aws.ground import ACCOUNT, REGION

_WAIT_SECONDS = 1  # one long poll; a mapping that is disabled or deleted stops after the one under way
_WINDOW_POLL_SECONDS = 0.1
_CONCURRENCY = 5  # batches in flight that Lambda starts with
_CREDENTIALS_SECONDS = 30 * 60

Run = Callable[[Any, Any], Outcome]


class InvalidParameterValue(ServiceException):
    code = "InvalidParameterValueException"


def install(run: Run) -> None:
    create = LambdaBackend.create_event_source_mapping

    def polling_create(self: Any, spec: dict[str, Any]) -> Any:
        mapping = create(self, spec)
        queue = _queue(mapping)
        function = self.get_function_by_arn(mapping.function_arn)
        queue.lambda_event_source_mappings.clear()  # or moto would invoke within SendMessage
        if int(queue.visibility_timeout) < int(function.timeout):
            self.delete_event_source_mapping(mapping.uuid)
            raise InvalidParameterValue(
                f"Queue visibility timeout: {queue.visibility_timeout} seconds is less than "
                f"Function timeout: {function.timeout} seconds"
            )
        threading.Thread(target=_Poller(self, mapping, run).loop, daemon=True).start()
        return mapping

    LambdaBackend.create_event_source_mapping = polling_create


def resume(run: Run) -> None:
    """Start a poller for each mapping that there is."""
    for backend in lambda_backends[ACCOUNT].values():
        for mapping in backend.list_event_source_mappings(None, None):
            queue = _queue(mapping)
            queue.lambda_event_source_mappings.clear()
            threading.Thread(target=_Poller(backend, mapping, run).loop, daemon=True).start()


class _Poller:
    def __init__(self, backend: Any, mapping: EventSourceMapping, run: Run) -> None:
        self._backend, self._mapping, self._run = backend, mapping, run
        self._url = f"{os.environ['AWS_ENDPOINT_URL']}/{ACCOUNT}/{mapping.event_source_arn.rpartition(':')[2]}"
        limit = (mapping.scaling_config or {}).get("MaximumConcurrency", _CONCURRENCY)
        self._free = threading.Semaphore(int(limit))
        self._client: Any = None
        self._client_until = 0.0

    def loop(self) -> None:
        while self._backend.get_event_source_mapping(self._mapping.uuid) is self._mapping:
            if not self._mapping.enabled:
                time.sleep(1)
                continue
            self._free.acquire()
            batch = self._receive()
            if not batch:
                self._free.release()
                continue
            threading.Thread(target=self._work, args=(batch,), daemon=True).start()

    def _work(self, batch: list[dict[str, Any]]) -> None:
        try:
            self._process(batch)
        except (ClientError, BotoCoreError, identity.CannotAssume):
            pass  # the queue or the role went away meanwhile: what is left comes back when it becomes visible again
        finally:
            self._free.release()

    def _receive(self) -> list[dict[str, Any]]:
        """One batch: what is there at once, or what comes within the batching window."""
        batch: list[dict[str, Any]] = []
        size, window = int(self._mapping.batch_size), int(self._mapping.max_batch_window or 0)
        deadline = 0.0
        while len(batch) < size:
            try:
                answer = self._sqs().receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=min(10, size - len(batch)),
                    WaitTimeSeconds=0 if batch else _WAIT_SECONDS,
                    MessageSystemAttributeNames=["All"],
                    MessageAttributeNames=["All"],
                )
            except (ClientError, BotoCoreError, identity.CannotAssume):
                time.sleep(2)  # the queue or the role is gone, or may not be used: Lambda keeps trying, too
                return batch
            deadline = deadline or time.monotonic() + window
            batch += answer.get("Messages", [])
            if not batch or time.monotonic() >= deadline:
                break
            time.sleep(_WINDOW_POLL_SECONDS)
        return batch

    def _process(self, batch: list[dict[str, Any]]) -> None:
        function = self._backend.get_function_by_arn(self._mapping.function_arn)
        alive = self._backend.get_event_source_mapping(self._mapping.uuid) is self._mapping
        if function is None or not alive or not self._mapping.enabled:
            self._give_back(batch)
            return
        batch = self._matching(batch)
        if not batch:
            return
        outcome = self._run(function, {"Records": [_record(message, self._mapping) for message in batch]})
        partial = "ReportBatchItemFailures" in (self._mapping.function_response_types or [])
        failed = failures(outcome, [message["MessageId"] for message in batch], partial)
        for message in batch:
            if message["MessageId"] not in failed:
                self._sqs().delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def _give_back(self, batch: list[dict[str, Any]]) -> None:
        # Lambda's own doing: no role has to allow it.
        queues, name = sqs_backends[ACCOUNT][REGION], self._url.rpartition("/")[2]
        with suppress(ServiceException):  # the queue is gone, too
            for message in batch:
                queues.change_message_visibility(name, message["ReceiptHandle"], 0)

    def _matching(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages that a filter of the mapping fits; Lambda deletes the others.

        https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html
        """
        filters = (self._mapping.filter_criteria or {}).get("Filters", [])
        fitting = [patterns.read(each["Pattern"]) for each in filters]
        if not fitting:
            return batch
        matching = []
        for message in batch:
            record = _record(message, self._mapping)
            with suppress(ValueError):
                record["body"] = json.loads(record["body"])
            if any(pattern.matches(record) for pattern in fitting):
                matching.append(message)
            else:
                self._sqs().delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return matching

    def _sqs(self) -> Any:
        if time.monotonic() > self._client_until:
            function = self._backend.get_function_by_arn(self._mapping.function_arn)
            role = function.role if function else ""
            keys = identity.service_credentials(role, "lambda.amazonaws.com", "awslambda-poller")
            self._client, self._client_until = identity.client("sqs", keys), time.monotonic() + _CREDENTIALS_SECONDS
        return self._client


def failures(outcome: Outcome, ids: list[str], partial: bool) -> set[str]:
    """The messages that stay in the queue.

    Without partial responses it is all or none. With them it is what `batchItemFailures` names; a response that
    cannot be understood counts for the whole batch, an empty one for nothing.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if outcome.failed:
        return set(ids)
    if not partial:
        return set()
    response = json.loads(outcome.payload)
    if response in (None, "", {}):
        return set()
    try:
        failed_ids = {item["itemIdentifier"] for item in response.get("batchItemFailures") or []}
    except (TypeError, KeyError, AttributeError):
        return set(ids)
    return failed_ids if failed_ids <= set(ids) else set(ids)


def _record(message: dict[str, Any], mapping: EventSourceMapping) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: {
                "stringValue": value.get("StringValue"),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": value["DataType"],
            }
            for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": mapping.event_source_arn,
        "awsRegion": REGION,
    }


def _queue(mapping: EventSourceMapping) -> Any:
    queues = sqs_backends[ACCOUNT][REGION].queues.values()
    return next(queue for queue in queues if queue.queue_arn == mapping.event_source_arn)
