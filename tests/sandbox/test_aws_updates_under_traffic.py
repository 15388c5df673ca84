"""Endpoints of the sandbox's AWS that are updated while a client asks without a pause: nothing fails."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.hosting import Hosting, model_predicting
from tests.support.waiting import wait_for

INSTANCE = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
SERVERLESS = {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}


class Client:
    """Asks without a pause until it is told to stop; keeps what it was answered, and what went wrong."""

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


def asking_at_once(hosting: Hosting, name: str) -> Callable[[], float]:
    # One attempt: the client of the SDK would hide a failure by asking again.
    runtime = hosting.client("sagemaker-runtime", retries={"total_max_attempts": 1})

    def ask() -> float:
        answer = runtime.invoke_endpoint(EndpointName=name, Body="1,2,3", ContentType="text/csv")
        return float(answer["Body"].read())

    return ask


def asking_by_s3(hosting: Hosting, name: str) -> Callable[[], float]:
    runtime = hosting.client("sagemaker-runtime", retries={"total_max_attempts": 1})
    s3, bucket = hosting.aws.client("s3"), hosting.project.bucket

    def object_at(uri: str) -> str | None:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=uri.removeprefix(f"s3://{bucket}/")).get("Contents", [])
        return str(s3.get_object(Bucket=bucket, Key=listed[0]["Key"])["Body"].read().decode()) if listed else None

    def ask() -> float:
        asked = runtime.invoke_endpoint_async(EndpointName=name, Body=b"1,2,3", ContentType="text/csv")
        both = (asked["OutputLocation"], asked["FailureLocation"])
        wait_for(lambda: any(object_at(uri) for uri in both), "an answer or a failure", seconds=20)
        failure = object_at(asked["FailureLocation"])
        assert failure is None, failure
        return float(object_at(asked["OutputLocation"]) or "nan")

    return ask


def asynchronous(hosting: Hosting) -> dict[str, Any]:
    folder = f"s3://{hosting.project.bucket}/{uuid.uuid4().hex}"
    return {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": folder, "S3FailurePath": f"{folder}-failed"}}}


@pytest.mark.parametrize("kind", ["real-time", "serverless", "asynchronous"])
def test_an_update_fails_no_request_and_answers_by_one_version_or_the_other(hosting: Hosting, kind: str) -> None:
    settings = asynchronous(hosting) if kind == "asynchronous" else {}
    variant = SERVERLESS if kind == "serverless" else INSTANCE
    configs = [
        hosting.configured({"ModelName": hosting.model(model_predicting(number)), **variant}, **settings)
        for number in (1, 2)
    ]
    name = hosting.endpoint(configs[0])
    assert hosting.settled(name)["EndpointStatus"] == "InService"
    client = Client((asking_by_s3 if kind == "asynchronous" else asking_at_once)(hosting, name))
    try:
        wait_for(lambda: client.has_seen(1) or client.failures, "an answer of the first version")
        hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=configs[1])
        found = hosting.settled(name)
        wait_for(lambda: client.has_seen(2) or client.failures, "an answer of the second version")
    finally:
        client.stop()
    assert client.failures == []
    assert found["EndpointConfigName"] == configs[1]
    versions = [
        1 if answer == pytest.approx(1) else 2 if answer == pytest.approx(2) else answer for answer in client.answers
    ]
    assert set(versions) == {1, 2}
    assert versions == sorted(versions)  # once the new version answers, the old one does not


def test_a_serverless_endpoint_becomes_real_time_without_a_failed_request(hosting: Hosting) -> None:
    models = [hosting.model(model_predicting(number)) for number in (1, 2)]
    name = hosting.endpoint(hosting.configured({"ModelName": models[0], **SERVERLESS}))
    hosting.settled(name)
    client = Client(asking_at_once(hosting, name))
    try:
        wait_for(lambda: client.has_seen(1) or client.failures, "an answer of the serverless variant")
        instances = hosting.configured({"ModelName": models[1], **INSTANCE})
        hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=instances)
        wait_for(lambda: client.has_seen(2) or client.failures, "an answer of the real-time variant")
    finally:
        client.stop()
    assert client.failures == []
