"""The endpoint under test, as the fixture `endpoint` offers it.

Called by the test command and the pytest plugin. The consumer's tests see `Endpoint` alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ci_scripts import errors, hosting, transforms
from ci_scripts.aws import Aws
from ci_scripts.errors import InvalidPredictions, RequestTooLarge, TransformFailed
from ci_scripts.hosting.kind import Ask, Predictor
from ci_scripts.predictions import answers, payload
from ci_scripts.predictions.answers import NUMBERS, Answers, Classes
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.predictions.payload import LARGEST_BODY, Row
from ci_scripts.quality import Label, Request


class Endpoint:
    """The deployed endpoint: `name`, `stage`, `model_package_arn`, and how to ask it.

    `predictor` is the way of its kind of `hosting` to ask for predictions.
    """

    InvocationFailed = errors.InvocationFailed
    """What `invoke` and `predict` raise, so that a test needs no import: `pytest.raises(endpoint.InvocationFailed)`."""

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
        self.has_endpoint = not predictor.whole
        """Whether it answers single requests, and is no batch transform."""
        self._asleep = predictor.sleeps
        self.latencies: list[float] = []
        """Duration of every request so far, in milliseconds; of those that were sent twice there is none."""
        self.repeated = 0
        """How many requests were sent twice."""
        self.classes: Classes = NUMBERS
        """What the held-out data says about classes."""

    def __repr__(self) -> str:
        return f"<endpoint {self.name}>"

    def invoke(self, body: bytes | str, content_type: str = "text/csv") -> bytes:
        """The answer to one request. Raises InvocationFailed when the model's container answers an error."""
        __tracebackhide__ = True  # pytest: the line that matters is the test's own
        return self._invoke(self._predictor.once, body.encode() if isinstance(body, str) else body, content_type)

    def _invoke(self, ask: Ask, body: bytes, content_type: str) -> bytes:
        __tracebackhide__ = True
        try:
            if self._asleep:
                ask(body, content_type)
                self._asleep = False
            start = time.perf_counter()
            answer, repeated = ask(body, content_type)
        except errors.InvocationFailed as error:
            raise error.with_traceback(None) from None
        if repeated:
            self.repeated += 1
        else:
            self.latencies.append((time.perf_counter() - start) * 1000)
        return answer

    def predict(self, rows: Sequence[Row]) -> list[Any]:
        """One prediction per row of features, in as many requests as `request` in quality.yml makes of them.

        The class where the container names one or gives each a score, else its number; a list of them where
        `request.answer` is `numbers`. A request that was throttled, reset or answered 5xx is sent a second time.
        Raises InvalidPredictions when an answer is not one prediction for every row.
        """
        __tracebackhide__ = True
        answer = self.ask(rows)
        return list(answer.values if answer.outputs is None else answer.outputs)

    def ask(self, rows: Sequence[Row], *, once: bool = False) -> Answers:
        """The same with all that the answers say; `once`: each request is sent once, as for measuring latency."""
        __tracebackhide__ = True
        ask = self._predictor.once if once else self._predictor.patient
        parts: list[Answers] = []
        first = 1
        for body, content_type, count in self.requests(rows):
            answer = self._invoke(ask, body, content_type)
            try:
                parts.append(self._read(answer, rows[first - 1 : first - 1 + count]))
            except InvalidPredictions as error:
                where = f"{error.message} (rows {first} to {first + count - 1})"
                raise InvalidPredictions(where, hint=error.hint) from None
            first += count
        formats = {part.format for part in parts}
        if len(formats) > 1:
            raise InvalidPredictions(f"the endpoint answered in different formats: {', '.join(sorted(formats))}")
        return answers.together(formats.pop() if formats else "number", [row for part in parts for row in part.rows])

    def requests(self, rows: Sequence[Row], size: int = 0) -> Iterator[tuple[bytes, str, int]]:
        """Body, content type and number of rows of each request, of `size` rows instead of those of quality.yml."""
        size, name = size or self._request.rows_per_request, self._request.transform
        if self._predictor.whole:
            size = max(len(rows), 1)
        if not name:
            for body, count in payload.requests(rows, self._request._replace(rows_per_request=size)):
                yield body, self._request.content_type, count
            return
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            body, content_type = payload.transformed(part, self._transform, name)
            if len(body) > LARGEST_BODY:
                raise RequestTooLarge(
                    f"{name} returned {len(body)} bytes, InvokeEndpoint takes at most {LARGEST_BODY}",
                    hint="Send fewer rows in a request: `request: {rows_per_request: 1}` in quality.yml.",
                )
            yield body, content_type, len(part)

    def concurrent(self, threads: int) -> Ask:
        """Sends one request, once, for each of so many threads at a time."""
        return self._predictor.concurrent(threads)

    def bodies(self, rows: Sequence[Row], size: int, most: int) -> list[tuple[bytes, str]]:
        """Bodies and content types of at most `most` requests, each of `size` rows where there are as many."""
        return [(body, content_type) for body, content_type, _ in self.requests(rows[: size * most], size)]

    def _read(self, answer: bytes, rows: Sequence[Row]) -> Answers:
        request = self._request
        if not request.transform_answer:
            return answers.decode(answer, len(rows), request.answer, request.labels, self.classes)
        name = request.transform_answer
        predictions = transforms.call(name, self._transform_answer, answer, [list(row) for row in rows])
        if not isinstance(predictions, list | tuple):
            raise TransformFailed(f"{name} returned a {type(predictions).__name__}, not a list of predictions")
        if len(predictions) != len(rows):
            raise TransformFailed(f"{name} returned {len(predictions)} predictions for {len(rows)} rows")
        return answers.read([_plain(each) for each in predictions], request.answer, request.labels, self.classes)

    @cached_property
    def _transform(self) -> Callable[..., Any]:
        return transforms.load(self._request.transform, Path.cwd())

    @cached_property
    def _transform_answer(self) -> Callable[..., Any]:
        return transforms.load(self._request.transform_answer, Path.cwd())


def endpoint(aws: Aws, kind: str, name: str, stage: str, model_package_arn: str, request: Request) -> Endpoint:
    """The endpoint of this kind of hosting, with clients of this process."""
    predictor = hosting.of(kind).predictor(aws, name)
    return Endpoint(predictor, name, stage, model_package_arn, request, region=aws.region, hosting=kind)


def positive(held_out: HeldOut) -> Label:
    """The class that precision, recall, F1 and a single score are of."""
    return 1.0 if held_out.positive is None else held_out.positive


def classes_of(held_out: HeldOut, declared: Sequence[Label]) -> Classes:
    """What the data says about the classes of an answer; `declared` are those of scores in quality.yml."""
    in_scores = declared or (tuple(held_out.class_labels) if held_out.is_text else ())
    return Classes(in_scores, positive(held_out), held_out.is_text)


def _plain(prediction: Any) -> Any:
    """A prediction of a user's function as JSON has it: numbers of numpy, and scores by class."""
    if isinstance(prediction, dict) and not {"score", "label", "predicted_label"} & set(prediction):
        return [{"label": name, "score": _plain(score)} for name, score in prediction.items()]
    if hasattr(prediction, "tolist"):
        return prediction.tolist()
    return list(prediction) if isinstance(prediction, tuple) else prediction
