"""Endpoints of the sandbox's AWS that are updated while a client asks without a pause: nothing fails."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.support.hosting import Hosting, model_predicting
from tests.support.traffic import asking, at_once, by_s3
from tests.support.waiting import wait_for

INSTANCE = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
SERVERLESS = {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}


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
    ask = (by_s3 if kind == "asynchronous" else at_once)(hosting, name)
    with asking(ask, 1) as client:
        hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=configs[1])
        description = hosting.settled(name)
        wait_for(lambda: client.has_seen(2) or client.failures, "an answer of the second version")
    assert client.failures == []
    assert description["EndpointConfigName"] == configs[1]
    versions = client.versions(1, 2)
    assert set(versions) == {1, 2}
    assert versions == sorted(versions)  # once the new version answers, the old one does not


def test_a_serverless_endpoint_becomes_real_time_without_a_failed_request(hosting: Hosting) -> None:
    models = [hosting.model(model_predicting(number)) for number in (1, 2)]
    name = hosting.endpoint(hosting.configured({"ModelName": models[0], **SERVERLESS}))
    hosting.settled(name)
    with asking(at_once(hosting, name), 1) as client:
        instances = hosting.configured({"ModelName": models[1], **INSTANCE})
        hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=instances)
        wait_for(lambda: client.has_seen(2) or client.failures, "an answer of the real-time variant")
    assert client.failures == []
