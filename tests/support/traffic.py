"""A client that asks an endpoint without a pause, whatever becomes of it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError

from tests.support.hosting import Hosting
from tests.support.waiting import wait_for


class Client:
    """Asks until it is told to stop; keeps what it was answered, and what went wrong."""

    def __init__(self, ask: Callable[[], float]) -> None:
        self._ask, self._stop = ask, threading.Event()
        self.answers: list[float] = []
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(self._ask())
            except (ClientError, AssertionError) as error:
                self.failures.append(str(error))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def has_seen(self, number: float) -> bool:
        return any(answer == pytest.approx(number) for answer in self.answers)

    def versions(self, *numbers: float) -> list[float]:
        """Every answer as the one of `numbers` that it is; one that is none of them stays what it is."""
        return [
            next((number for number in numbers if answer == pytest.approx(number, abs=0.01)), answer)
            for answer in self.answers
        ]


@contextmanager
def asking(ask: Callable[[], float], first: float) -> Iterator[Client]:
    """A client that has been answered `first`, until the block ends."""
    client = Client(ask)
    try:
        wait_for(lambda: client.has_seen(first) or client.failures, "an answer of the first version")
        yield client
    finally:
        client.stop()


def at_once(hosting: Hosting, name: str) -> Callable[[], float]:
    """How a real-time or serverless endpoint is asked, once: the SDK's own client would hide a failure."""
    runtime = hosting.client("sagemaker-runtime", retries={"total_max_attempts": 1})

    def ask() -> float:
        answer = runtime.invoke_endpoint(EndpointName=name, Body="1,2,3", ContentType="text/csv")
        return float(answer["Body"].read())

    return ask


def by_s3(hosting: Hosting, name: str) -> Callable[[], float]:
    """How an asynchronous endpoint is asked that says where failures go."""
    runtime = hosting.client("sagemaker-runtime", retries={"total_max_attempts": 1})
    s3, bucket = hosting.aws.client("s3"), hosting.project.bucket

    def object_at(uri: str) -> str | None:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=uri.removeprefix(f"s3://{bucket}/")).get("Contents", [])
        return str(s3.get_object(Bucket=bucket, Key=listed[0]["Key"])["Body"].read().decode()) if listed else None

    def ask() -> float:
        answer = runtime.invoke_endpoint_async(EndpointName=name, Body=b"1,2,3", ContentType="text/csv")
        both = (answer["OutputLocation"], answer["FailureLocation"])
        wait_for(lambda: any(object_at(uri) for uri in both), "an answer or a failure", seconds=20)
        failure = object_at(answer["FailureLocation"])
        assert failure is None, failure
        return float(object_at(answer["OutputLocation"]) or "nan")

    return ask
