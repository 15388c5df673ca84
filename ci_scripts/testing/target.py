"""The endpoint under test, as the fixture `endpoint` offers it, and the measurement of its quality.

Called by the pytest plugin. The consumer's tests see `Endpoint` alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from ci_scripts import endpoint as sagemaker_endpoint
from ci_scripts.errors import InvalidPredictions, InvocationFailed
from ci_scripts.testing import metrics, payload
from ci_scripts.testing.held_out import HeldOut
from ci_scripts.testing.payload import Row
from ci_scripts.testing.quality import Request


class Endpoint:
    """The deployed endpoint: `name`, `stage`, `model_package_arn`, and how to ask it."""

    def __init__(self, runtime: Any, name: str, stage: str, model_package_arn: str, request: Request) -> None:
        self.name, self.stage, self.model_package_arn = name, stage, model_package_arn
        self._runtime, self._request = runtime, request
        self.latencies: list[float] = []
        """Duration of every request so far, in milliseconds."""

    def __repr__(self) -> str:
        return f"<endpoint {self.name}>"

    def invoke(self, body: bytes | str, content_type: str = "text/csv") -> bytes:
        """The answer to one request. Raises InvocationFailed when the model's container answers an error."""
        __tracebackhide__ = True  # pytest: the line that matters is the test's own
        content = body.encode() if isinstance(body, str) else body
        start = time.perf_counter()
        try:
            answer = sagemaker_endpoint.invoke(self._runtime, self.name, content, content_type)
        except InvocationFailed as error:
            raise error.with_traceback(None) from None
        self.latencies.append((time.perf_counter() - start) * 1000)
        return answer

    def predict(self, rows: Sequence[Row]) -> list[float]:
        """One prediction per row of features, in as many requests as `request` in quality.yml makes of them.

        Raises InvalidPredictions when an answer is not one finite number for every row.
        """
        __tracebackhide__ = True
        predictions: list[float] = []
        for body, count in payload.requests(rows, self._request):
            try:
                predictions += payload.decode(self.invoke(body, self._request.content_type), count)
            except InvalidPredictions as error:
                first = len(predictions) + 1
                raise InvalidPredictions(f"{error.message} (rows {first} to {first + count - 1})") from None
        return predictions


class Measurement(NamedTuple):
    """What an endpoint makes of the held-out data."""

    predictions: list[float]
    latencies: list[float]
    """Milliseconds of each request."""

    def value(self, metric: str, labels: Sequence[float]) -> float:
        """A metric of quality.yml. Raises MetricUndefined when these labels give it no value."""
        if metric in metrics.LATENCY:
            return metrics.percentile(self.latencies, metrics.LATENCY[metric])
        return (metrics.REGRESSION | metrics.CLASSIFICATION)[metric](labels, self.predictions)


def measure(endpoint: Endpoint, held_out: HeldOut) -> Measurement:
    """Ask for predictions of all held-out rows, and time the requests."""
    before = len(endpoint.latencies)
    predictions = endpoint.predict(held_out.features)
    return Measurement(predictions, endpoint.latencies[before:])
