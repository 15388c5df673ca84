"""The endpoint under test, as the fixture `endpoint` offers it, and the measurement of its quality.

Called by the test command and the pytest plugin. The consumer's tests see `Endpoint` alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from ci_scripts.errors import InvalidPredictions, InvocationFailed, MetricUndefined
from ci_scripts.hosting.kind import Ask, Predictor
from ci_scripts.quality import Request
from ci_scripts.test import answers, metrics, payload
from ci_scripts.test.answers import Answers
from ci_scripts.test.held_out import HeldOut
from ci_scripts.test.payload import Row


class Endpoint:
    """The deployed endpoint: `name`, `stage`, `model_package_arn`, and how to ask it.

    `predictor` is the way of its kind of `hosting` to ask for predictions.
    """

    def __init__(
        self,
        predictor: Predictor,
        name: str,
        stage: str,
        model_package_arn: str,
        request: Request,
        *,
        region: str,
        hosting: str,
    ) -> None:
        self.name, self.stage, self.model_package_arn = name, stage, model_package_arn
        self.region, self.hosting = region, hosting
        self._predictor, self._request = predictor, request
        self.latencies: list[float] = []
        """Duration of every request so far, in milliseconds; of those that were sent twice there is none."""
        self.repeated = 0
        """How many requests were sent twice."""

    def __repr__(self) -> str:
        return f"<endpoint {self.name}>"

    def invoke(self, body: bytes | str, content_type: str = "text/csv") -> bytes:
        """The answer to one request. Raises InvocationFailed when the model's container answers an error."""
        __tracebackhide__ = True  # pytest: the line that matters is the test's own
        return self._invoke(self._predictor.once, body.encode() if isinstance(body, str) else body, content_type)

    def _invoke(self, ask: Ask, body: bytes, content_type: str) -> bytes:
        __tracebackhide__ = True
        start = time.perf_counter()
        try:
            answer, repeated = ask(body, content_type)
        except InvocationFailed as error:
            raise error.with_traceback(None) from None
        if repeated:
            self.repeated += 1
        else:
            self.latencies.append((time.perf_counter() - start) * 1000)
        return answer

    def predict(self, rows: Sequence[Row]) -> list[float]:
        """One prediction per row of features, in as many requests as `request` in quality.yml makes of them.

        The class where the container names one or gives each a score, else its number. A request that was throttled,
        reset or answered 5xx is sent a second time.
        Raises InvalidPredictions when an answer is not one prediction for every row.
        """
        __tracebackhide__ = True
        return self.ask(rows).values

    def ask(self, rows: Sequence[Row], *, once: bool = False) -> Answers:
        """The same with all that the answers say; `once`: each request is sent once, as for measuring latency."""
        __tracebackhide__ = True
        ask = self._predictor.once if once else self._predictor.patient
        values: list[float] = []
        probabilities: list[float] = []
        formats: set[str] = set()
        for body, count in payload.requests(rows, self._request):
            answer = self._invoke(ask, body, self._request.content_type)
            try:
                part = answers.decode(answer, count, self._request.answer, self._request.labels)
            except InvalidPredictions as error:
                first = len(values) + 1
                where = f"{error.message} (rows {first} to {first + count - 1})"
                raise InvalidPredictions(where, hint=error.hint) from None
            values += part.values
            probabilities += part.probabilities or []
            formats.add(part.format)
        if len(formats) > 1:
            raise InvalidPredictions(f"the endpoint answered in different formats: {', '.join(sorted(formats))}")
        complete = len(probabilities) == len(values)
        return Answers(formats.pop() if formats else "number", values, probabilities if complete else None)


class Measurement(NamedTuple):
    """What an endpoint makes of the held-out data."""

    predictions: list[float]
    latencies: list[float]
    """Milliseconds of each request."""
    answers: Answers | None = None
    """All that the endpoint answered; None: plain numbers."""
    repeated: int = 0
    """Requests that were sent twice."""

    def value(self, metric: str, held_out: HeldOut, *, declared: bool = False) -> float:
        """A metric of quality.yml, whose classes are `declared` there or the file's.

        Raises MetricUndefined when labels or answers give it no value.
        """
        labels = held_out.labels
        final = self.answers or Answers("number", self.predictions, self.predictions)
        if metric in metrics.LATENCY:
            return metrics.percentile(self.latencies, metrics.LATENCY[metric])
        if metric in metrics.REGRESSION:
            if final.are_classes:
                raise MetricUndefined(f"{metric} needs numbers, the endpoint answers classes ({final.format})")
            return metrics.REGRESSION[metric](labels, self.predictions)
        metrics.require_binary(metric, held_out.known)
        if metric == "log_loss":
            if final.probabilities is None:
                raise MetricUndefined(f"log_loss needs the probability of class 1, which {final.format} does not hold")
            return metrics.log_loss(labels, final.probabilities)
        return metrics.CLASSIFICATION[metric](labels, self.classes(metric, held_out, declared=declared))

    def classes(self, metric: str, held_out: HeldOut, *, declared: bool = False) -> list[float]:
        """The predictions as classes: a score is cut where the whole file's labels, not those sampled, are 0 and 1."""
        if (self.answers and self.answers.are_final) or not metrics.is_binary(held_out.known):
            return self.predictions
        return metrics.called(metric, self.predictions, any_number=declared)


def measure(endpoint: Endpoint, held_out: HeldOut, *, once: bool = False) -> Measurement:
    """Ask for predictions of all held-out rows, and time the requests; `once`: none of them is sent twice."""
    before, repeated = len(endpoint.latencies), endpoint.repeated
    final = endpoint.ask(held_out.features, once=once)
    return Measurement(final.values, endpoint.latencies[before:], final, endpoint.repeated - repeated)
