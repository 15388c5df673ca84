"""InvokeEndpointAsync: a queue for each endpoint, input from S3, the answer or failure to S3, and word of it by SNS.

https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html. What happens to a request happens as the role of
the model: it reads the input, writes the output and publishes.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
import traceback
import uuid
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import requests
from botocore.exceptions import ClientError
from moto.core.utils import get_service_model
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse

from sandbox.aws.access import identity
from sandbox.aws.authorities import shapes
from sandbox.aws.sagemaker import endpoint_metrics, invocation
from sandbox.aws.sagemaker.endpoint_record import Endpoint, Serves
from sandbox.aws.sagemaker.invocation import InvocationRefused
from sandbox.aws.sagemaker.jobfiles import encrypted, split
from sandbox.aws.sagemaker.serving import Answer

_IN_A_MESSAGE = 128 * 1024  # bytes of an answer that SNS messages bring along
_CONCURRENT = 4  # invocations of an instance, where the config leaves it to the service
_LOOK_SECONDS = 0.2


class Request(NamedTuple):
    """One invocation: the call's parameters, where its answer goes, and when it came."""

    parameters: Mapping[str, Any]
    inference_id: str
    output: str
    failure: str
    received: datetime


class _Failed(Exception):
    """An invocation without an answer. `reason` is told by SNS, `details` are what the failure object holds."""

    def __init__(self, reason: str, details: str = "") -> None:
        super().__init__(reason)
        self.reason, self.details = f"ClientError: {reason}", details or reason


def install() -> None:
    """Put this module's function in place of moto's."""
    runtime: Any = SageMakerRuntimeResponse
    runtime.invoke_endpoint_async = _invoke_endpoint_async


def _invoke_endpoint_async(self: SageMakerRuntimeResponse) -> tuple[int, dict[str, str], bytes]:
    endpoint = invocation.addressed(self, asynchronous=True)
    parameters = _parameters(self)
    if ("InputLocation" in parameters) == ("Body" in parameters):
        raise InvocationRefused("Exactly one of InputLocation and Body must be given.")
    output = endpoint.config["AsyncInferenceConfig"]["OutputConfig"]
    name = parameters.get("Filename") or f"{uuid.uuid4()}.out"
    folder = "/".join([output["S3OutputPath"].rstrip("/"), *_extension(parameters)])
    failures = output.get("S3FailurePath", "").rstrip("/")
    request = Request(
        parameters,
        parameters.get("InferenceId") or str(uuid.uuid4()),
        f"{folder}/{name}",
        f"{failures}/{name.removesuffix('.out')}-error.out" if failures else "",
        datetime.now(UTC),
    )
    _queue(endpoint).put(request)
    headers = {"Content-Type": "application/json", "X-Amzn-SageMaker-OutputLocation": request.output}
    headers["status"] = "202"  # where moto looks for it
    if request.failure:
        headers["X-Amzn-SageMaker-FailureLocation"] = request.failure
    return 202, headers, json.dumps({"InferenceId": request.inference_id}).encode()


def _extension(parameters: Mapping[str, Any]) -> list[str]:
    extension = parameters.get("S3OutputPathExtension", "").strip("/")
    return [extension] if extension else []


def _parameters(response: Any) -> dict[str, Any]:
    """The call's parameters, held to its model. Raises InvocationRefused."""
    shape = get_service_model("sagemaker-runtime").operation_model("InvokeEndpointAsync").input_shape
    parameters: dict[str, Any] = {}
    for name, member in shape.members.items():
        text = response.headers.get(member.serialization.get("name", ""))
        if member.serialization.get("location") == "header" and text is not None:
            is_number = member.type_name == "integer" and text.lstrip("-").isdigit()
            parameters[name] = int(text) if is_number else text
    if response.raw_body:
        parameters["Body"] = response.raw_body
    request = {"EndpointName": response.path.split("/")[2], **parameters}
    for problem in shapes.problems(shape, request):
        raise InvocationRefused(f"1 validation error detected: {problem}")
    return parameters


# --- the queue ------------------------------------------------------------------------------------------------------


class _Queue:
    """Requests of one endpoint, in the order in which they came, as many under way as its instances take."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._waiting: deque[Request] = deque()
        self._under_way = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._hand_out, name=f"queue of {endpoint.endpoint_name}", daemon=True).start()

    def put(self, request: Request) -> None:
        with self._changed:
            self._waiting.append(request)
            self._changed.notify_all()

    def _hand_out(self) -> None:
        while self._exists():
            with self._changed:
                self._changed.wait_for(lambda: self._waiting, timeout=_LOOK_SECONDS)
                if not self._waiting or not self._has_room():
                    self._changed.wait(timeout=_LOOK_SECONDS)
                    continue
                request = self._waiting.popleft()
                self._under_way += 1
            threading.Thread(target=self._work, args=[request], daemon=True).start()

    def _exists(self) -> bool:
        endpoint = self._endpoint
        return endpoint.backend.endpoints.get(endpoint.endpoint_name) is endpoint

    def _has_room(self) -> bool:
        """Also once it was scaled to nothing: then requests wait for an instance."""
        instances = sum(each.get("CurrentInstanceCount", 0) for each in self._endpoint.production_variants)
        client = self._endpoint.config.get("AsyncInferenceConfig", {}).get("ClientConfig", {})
        each = client.get("MaxConcurrentInvocationsPerInstance", _CONCURRENT)
        return self._endpoint.serves() and self._under_way < instances * each

    def _work(self, request: Request) -> None:
        try:
            with self._endpoint.held() as serves:
                _answer(self._endpoint, serves, request)
        except Exception:  # noqa: BLE001 - a defect of the sandbox must not stop the queue
            traceback.print_exc(file=sys.stderr)
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()


_queues: WeakKeyDictionary[Endpoint, _Queue] = WeakKeyDictionary()
_making = threading.Lock()


def _queue(endpoint: Endpoint) -> _Queue:
    with _making:
        return _queues.setdefault(endpoint, _queues.get(endpoint) or _Queue(endpoint))


# --- one request ----------------------------------------------------------------------------------------------------


def _answer(endpoint: Endpoint, serves: Serves, request: Request) -> None:
    variant = invocation.choose(serves)
    credentials = serves.fleet.variants[variant].credentials
    s3 = identity.client("s3", credentials)
    output = serves.config["AsyncInferenceConfig"]["OutputConfig"]
    notify = _Notifier(endpoint, request, output.get("NotificationConfig") or {}, credentials)
    try:
        answer = _invoked(endpoint, serves, variant, request, s3)
        content_type = answer.headers.get("Content-Type", "application/octet-stream")
        _store(s3, request.output, answer.body, content_type, output.get("KmsKeyId"))
    except _Failed as failed:
        if request.failure:
            try:
                _store(s3, request.failure, failed.details.encode(), "text/plain", output.get("KmsKeyId"))
            except _Failed as second:
                failed = second
        notify.failed(failed)
        return
    notify.completed(answer, content_type)


def _invoked(endpoint: Endpoint, serves: Serves, variant: str, request: Request, s3: Any) -> Answer:
    """What the container answers. Raises _Failed."""
    parameters = request.parameters
    age = (datetime.now(UTC) - request.received).total_seconds()
    if age > parameters.get("RequestTTLSeconds", 21600):
        raise _Failed("The request was in the queue for longer than its RequestTTLSeconds.")
    body, own_type = _input(parameters, s3)
    headers = {
        "Content-Type": parameters.get("ContentType") or own_type,
        "Accept": parameters.get("Accept"),
        "X-Amzn-SageMaker-Custom-Attributes": parameters.get("CustomAttributes"),
        "X-Amzn-SageMaker-Inference-Id": request.inference_id,
    }
    sent = {name: value for name, value in headers.items() if value}
    began = time.monotonic()
    answer = None
    try:
        answer = serves.fleet.invoke(variant, body, sent, parameters.get("InvocationTimeoutSeconds", 900))
    except requests.Timeout as error:
        raise _Failed("The model did not answer within its InvocationTimeoutSeconds.") from error
    except requests.RequestException as error:
        raise _Failed("The model did not answer the invocation.") from error
    finally:
        seconds = time.monotonic() - began
        endpoint_metrics.count(serves, variant, answer.status if answer else 0, seconds, seconds)
    if answer.status >= 400:
        side = "client" if answer.status < 500 else "server"
        raise _Failed(
            f"Received {side} error ({answer.status}) from model. See the SageMaker Endpoint logs in your account for "
            "more information.",
            str(invocation.refused(endpoint, answer).message),
        )
    return answer


def _input(parameters: Mapping[str, Any], s3: Any) -> tuple[bytes, str]:
    """The body for the container, and the type that the object in S3 has. Raises _Failed."""
    if "Body" in parameters:
        return parameters["Body"], ""
    uri = parameters["InputLocation"]
    try:
        content = s3.get_object(**dict(zip(("Bucket", "Key"), split(uri), strict=True)))
    except ClientError as error:
        raise _Failed(f"Failed to download the input from {uri}: {error.response['Error']['Code']}") from error
    return content["Body"].read(), content["ContentType"]


def _store(s3: Any, uri: str, content: bytes, content_type: str, kms_key: str | None) -> None:
    bucket, key = split(uri)
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type, **encrypted(kms_key))
    except ClientError as error:
        raise _Failed(f"Failed to upload the output to {uri}: {error.response['Error']['Code']}") from error


class _Notifier:
    """Publishes what became of a request, where the config names topics.

    https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-check-predictions.html
    """

    def __init__(
        self, endpoint: Endpoint, request: Request, config: Mapping[str, Any], credentials: Mapping[str, str]
    ) -> None:
        self._config, self._credentials = config, credentials
        self._request, self._region = request, endpoint.backend.region_name
        sent = {"accept": "Accept", "contentType": "ContentType", "inputLocation": "InputLocation"}
        request_parameters = {name: request.parameters[key] for name, key in sent.items() if key in request.parameters}
        self._parameters = {"endpointName": endpoint.endpoint_name, **request_parameters}

    def completed(self, answer: Answer, content_type: str) -> None:
        more: dict[str, Any] = {
            "responseParameters": {"contentType": content_type, "outputLocation": self._request.output}
        }
        if self._includes("SUCCESS_NOTIFICATION_TOPIC", answer.body):
            content = base64.b64encode(answer.body).decode()
            more["responseBody"] = {"content": content, "encoding": "BASE64"}
        self._publish("SuccessTopic", "Completed", more)

    def failed(self, failure: _Failed) -> None:
        more: dict[str, Any] = {"failureReason": failure.reason}
        if self._includes("ERROR_NOTIFICATION_TOPIC", failure.details.encode()):
            more["responseBody"] = {"content": failure.details, "message": failure.reason}
        self._publish("ErrorTopic", "Failed", more)

    def _includes(self, topic: str, body: bytes) -> bool:
        return topic in self._config.get("IncludeInferenceResponseIn", []) and len(body) <= _IN_A_MESSAGE

    def _publish(self, topic: str, status: str, more: Mapping[str, Any]) -> None:
        if topic not in self._config:
            return
        message = {
            "awsRegion": self._region,
            "eventTime": _time(datetime.now(UTC)),
            "receivedTime": _time(self._request.received),
            "invocationStatus": status,
            "requestParameters": self._parameters,
            **more,
            "inferenceId": self._request.inference_id,
            "eventVersion": "1.0",
            "eventSource": "aws:sagemaker",
            "eventName": "InferenceResult",
        }
        try:
            sns = identity.client("sns", self._credentials)
            sns.publish(TopicArn=self._config[topic], Message=json.dumps(message))
        except ClientError as error:  # a topic that cannot be told changes nothing about the answer
            print(f"asynchronous inference could not publish to {self._config[topic]}: {error}", file=sys.stderr)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
