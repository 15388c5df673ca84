"""InvokeEndpoint: a variant by weight or by name, its answer, and what goes wrong with it in the service's words."""

from __future__ import annotations

import random
import threading
import time
from functools import partialmethod
from typing import Any
from urllib.parse import unquote

import requests
from moto.core.exceptions import ServiceException
from moto.core.responses import BaseResponse
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse

from sandbox.aws.sagemaker import capture, endpoint_metrics, endpoints
from sandbox.aws.sagemaker.capture import CapturedRequest
from sandbox.aws.sagemaker.endpoint_record import Endpoint, Serves
from sandbox.aws.sagemaker.serverless import Throttled
from sandbox.aws.sagemaker.serving import Answer

_PASSED = ("Content-Type", "Accept", "X-Amzn-SageMaker-Custom-Attributes", "X-Amzn-SageMaker-Inference-Id")
"""Headers that reach the container."""


class ModelError(ServiceException):
    """An invocation that the model's container refused or did not answer; fields named as on the wire."""

    code = "ModelError"
    OriginalStatusCode: int
    OriginalMessage: str


class InvocationRefused(ServiceException):
    code = "ValidationError"


class TooManyRequests(ServiceException):
    """More at a time than a serverless variant takes. Clients print its message as None, there is none."""

    code = "ThrottlingException"


def install() -> None:
    """Put this module's function in place of moto's."""
    runtime: Any = SageMakerRuntimeResponse
    runtime.setup_class = partialmethod(BaseResponse.setup_class, use_raw_body=True)  # a body need not be text
    runtime.invoke_endpoint = _invoke_endpoint


def addressed(response: SageMakerRuntimeResponse, asynchronous: bool) -> Endpoint:
    """The endpoint in a request's path. Raises InvocationRefused for one that is missing or takes the other call."""
    name, account = unquote(response.path.split("/")[2]), response.current_account
    endpoint = endpoints.serving(account, response.region, name)
    if endpoint is None:
        raise InvocationRefused(f"Endpoint {name} of account {account} not found.")
    if bool(endpoint.config.get("AsyncInferenceConfig")) != asynchronous:
        raise InvocationRefused(f"Endpoint {name} of account {account} does not support this inference type.")
    return endpoint


def choose(serves: Serves, target: str | None = None) -> str:
    """A production variant: the one that is asked for, or one by weight."""
    weights: dict[str, float] = {each["VariantName"]: each["CurrentWeight"] or 0.0 for each in serves.production}
    if target is None:
        everybody = list(weights)
        return random.choices(everybody, list(weights.values()) if any(weights.values()) else None)[0]  # noqa: S311
    if target not in weights:
        raise InvocationRefused(f"Variant {target} is not found for endpoint {serves.endpoint_name}.")
    return target


def _invoke_endpoint(self: SageMakerRuntimeResponse) -> tuple[int, dict[str, str], bytes]:
    began = time.monotonic()
    endpoint = addressed(self, asynchronous=False)
    request = CapturedRequest(self.raw_body, {name: self.headers[name] for name in _PASSED if self.headers.get(name)})
    with endpoint.held() as serves:
        variant = choose(serves, self.headers.get("X-Amzn-SageMaker-Target-Variant"))
        for shadow in _shadows(serves):
            serves.fleet.hold()  # for the thread, which lets it go
            threading.Thread(target=_ask_shadow, args=[endpoint, serves, shadow, request], daemon=True).start()
        asked_at = time.monotonic()
        try:
            answer = serves.fleet.invoke(variant, request.body, request.headers)
        except Throttled:
            raise TooManyRequests(None) from None
        except requests.RequestException as error:
            _count(serves, variant, 0, began, asked_at)
            message = "The container did not answer the invocation."
            raise _model_error(endpoint, "server", 0, "primary", message) from error
        _count(serves, variant, answer.status, began, asked_at)
        _capture(endpoint, serves, variant, request, answer)
    if answer.status >= 400:
        raise refused(endpoint, answer)
    return 200, _reply_headers(answer, variant), answer.body


def _count(serves: Serves, variant: str, status: int, began: float, asked_at: float) -> None:
    now = time.monotonic()
    endpoint_metrics.count(serves, variant, status, now - asked_at, now - began)


def _shadows(serves: Serves) -> list[str]:
    """The shadow variants that get a copy of this request: as many as their weight is of the production variant's."""
    production = sum(each["CurrentWeight"] for each in serves.production) or 1.0
    return [
        each["VariantName"]
        for each in serves.shadows
        if random.random() < each["CurrentWeight"] / production  # noqa: S311
    ]


def _ask_shadow(endpoint: Endpoint, serves: Serves, variant: str, request: CapturedRequest) -> None:
    """Its answer is captured, and nobody gets it; nor does anybody hear of its failures."""
    try:
        _capture(endpoint, serves, variant, request, serves.fleet.invoke(variant, request.body, request.headers))
    except requests.RequestException:
        pass
    finally:
        serves.fleet.release()


def _capture(endpoint: Endpoint, serves: Serves, variant: str, request: CapturedRequest, answer: Answer) -> None:
    if answer.status < 400:
        capture.record(serves.capture, endpoint.endpoint_name, serves.fleet.variants[variant], request, answer)


def _reply_headers(answer: Answer, variant: str) -> dict[str, str]:
    headers = {
        "Content-Type": answer.headers.get("Content-Type", "application/octet-stream"),
        "x-Amzn-Invoked-Production-Variant": variant,
    }
    if attributes := answer.headers.get("X-Amzn-SageMaker-Custom-Attributes"):
        headers["X-Amzn-SageMaker-Custom-Attributes"] = attributes
    return headers


def refused(endpoint: Endpoint, answer: Answer) -> ModelError:
    """What a container's error becomes."""
    side = "client" if answer.status < 500 else "server"
    return _model_error(endpoint, side, answer.status, answer.container, answer.body.decode(errors="replace"))


def _model_error(endpoint: Endpoint, side: str, status: int, container: str, message: str) -> ModelError:
    region, account = endpoint.backend.region_name, endpoint.backend.account_id
    error = ModelError(
        f'Received {side} error ({status}) from {container} with message "{message}". '
        f"See https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:"
        f"group=/aws/sagemaker/Endpoints/{endpoint.endpoint_name} in account {account} for more information."
    )
    error.OriginalStatusCode, error.OriginalMessage = status, message
    return error
