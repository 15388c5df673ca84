"""Serverless endpoints of the sandbox's AWS: scaled to nothing, started by a request, throttled by their limit."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws.sagemaker import serverless, serving
from tests.support.hosting import Hosting, archive, model_predicting, refusal
from tests.support.servers import IMAGE
from tests.support.waiting import wait_for

SLEEPER = b"""import time, json
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    time.sleep(float(body))
    return body, "text/csv"
"""


def variant(model: str, **limits: int) -> dict[str, Any]:
    return {"ModelName": model, "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5} | limits}


def sleeping(hosting: Hosting) -> str:
    """A model that takes as many seconds to answer as its input says."""
    settings = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    return hosting.model(archive({"code/inference.py": SLEEPER}), Environment=settings)


def test_a_serverless_endpoint_is_described_with_its_limits_and_answers_as_any_other(hosting: Hosting) -> None:
    name = hosting.endpoint(hosting.configured(variant(hosting.model(model_predicting(4)))))
    described = hosting.settled(name)
    limits = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    config = hosting.sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    [variant_summary] = described["ProductionVariants"]

    assert described["EndpointStatus"] == "InService"
    assert config["ProductionVariants"][0]["ServerlessConfig"] == limits
    assert (variant_summary["CurrentServerlessConfig"], variant_summary["DesiredServerlessConfig"]) == (limits, limits)
    assert "CurrentInstanceCount" not in variant_summary
    assert hosting.predictions(name) == pytest.approx([4])


class Counted(serverless.OnDemand):
    """Counts its starts."""

    starts = 0

    def start(self) -> None:
        self.starts += 1
        super().start()


@pytest.mark.usefixtures("as_server")
def test_a_request_after_idling_starts_the_container_and_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(uri: str, folder: Path, credentials: Any) -> None:
        """The model without S3, before the container starts."""
        with tarfile.open(fileobj=io.BytesIO(model_predicting(1))) as bundle:
            bundle.extractall(folder, filter="data")

    monkeypatch.setattr(serving, "_fetch", fetch)
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/model.tar.gz"}
    variant = serving.Variant("A", "", {}, [container], 60, {"MaxConcurrency": 1})
    served = Counted(tmp_path, variant, lambda _: None, idle_seconds=0.3)

    def ask() -> int:
        return served.ask(b"1,2,3", {"Content-Type": "text/csv"}).status

    served.start()
    served.await_health()
    assert not served.runs  # scaled to nothing from the beginning
    assert (ask(), ask(), served.starts) == (200, 200, 2)  # the second one found it running
    wait_for(lambda: not served.runs, "the container to be gone")
    assert (ask(), served.starts) == (200, 3)
    served.end()


def test_provisioned_concurrency_keeps_the_container_running(hosting: Hosting) -> None:
    model = hosting.model(model_predicting(4))
    name = hosting.endpoint(hosting.configured(variant(model, ProvisionedConcurrency=2)))
    hosting.settled(name)
    began = time.monotonic()
    hosting.ask(name)
    warm = time.monotonic() - began

    hosting.sagemaker.delete_endpoint(EndpointName=name)
    hosting.sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    hosting.settled(hosting.endpoint(hosting.configured(variant(model))))
    began = time.monotonic()
    hosting.ask(name)
    assert warm < time.monotonic() - began


def test_more_requests_at_a_time_than_the_limit_are_throttled(hosting: Hosting) -> None:
    name = hosting.endpoint(hosting.configured(variant(sleeping(hosting), MaxConcurrency=2)))
    hosting.settled(name)
    hosting.ask(name, "0")  # warm
    runtime = hosting.client("sagemaker-runtime", retries={"total_max_attempts": 1})
    together = threading.Barrier(5)

    def ask(_: int) -> str:
        together.wait()
        try:
            runtime.invoke_endpoint(EndpointName=name, Body="1.5", ContentType="text/csv")
        except ClientError as error:
            return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error']['Code']}"
        return "answered"

    with ThreadPoolExecutor(5) as pool:
        outcomes = sorted(pool.map(ask, range(5)))
    assert outcomes == ["400 ThrottlingException"] * 3 + ["answered"] * 2


def test_a_model_that_does_not_come_up_fails_in_the_words_of_serverless(hosting: Hosting) -> None:
    name = hosting.endpoint(hosting.configured(variant(hosting.model(archive({"notes.txt": b"no model"})))))
    description = hosting.settled(name)
    assert description["EndpointStatus"] == "Failed"
    assert description["FailureReason"].startswith(
        "Unable to successfully stand up your model within the allotted 180 second timeout."
    )


def test_a_real_time_endpoint_cannot_become_serverless_and_a_serverless_one_can_become_real_time(
    hosting: Hosting,
) -> None:
    model = hosting.model(model_predicting(4))
    lambdas, instances = hosting.configured(variant(model)), hosting.config(AllTraffic=(model, 1.0))
    name = hosting.endpoint(lambdas)
    hosting.settled(name)

    hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=instances)
    description = hosting.settled(name)
    assert (description["EndpointConfigName"], description["ProductionVariants"][0]["CurrentInstanceCount"]) == (
        instances,
        1,
    )
    assert "CurrentServerlessConfig" not in description["ProductionVariants"][0]
    assert "cannot be converted to a serverless endpoint" in refusal(
        hosting.sagemaker.update_endpoint, EndpointName=name, EndpointConfigName=lambdas
    )


VPC = {"SecurityGroupIds": ["sg-0123456789abcdef0"], "Subnets": ["subnet-0123456789abcdef0"]}
SHADOW = {"VariantName": "Shadow", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


def test_what_serverless_excludes_is_refused_by_name(hosting: Hosting) -> None:
    plain = hosting.model(model_predicting(4))
    bucket = f"s3://{hosting.project.bucket}/x"
    capture = {"InitialSamplingPercentage": 9, "DestinationS3Uri": bucket, "CaptureOptions": [{"CaptureMode": "Input"}]}
    data = {"Image": IMAGE}

    def model(name: str, **settings: Any) -> str:
        hosting.sagemaker.create_model(ModelName=name, ExecutionRoleArn=hosting.project.model_role, **settings)
        return name

    private = {"ImageConfig": {"RepositoryAccessMode": "Vpc"}}
    unique = hosting.project.name
    cases: list[tuple[str, list[dict[str, Any]], dict[str, Any]]] = [
        ("Multiple production variants are", [variant(plain), variant(plain) | {"VariantName": "B"}], {}),
        ("Data capture is", [variant(plain)], {"DataCaptureConfig": capture}),
        ("AsyncInferenceConfig is", [variant(plain)], {"AsyncInferenceConfig": {"OutputConfig": {}}}),
        (
            "Shadow production variants are",
            [variant(plain)],
            {"ShadowProductionVariants": [SHADOW | {"ModelName": plain}]},
        ),
        ("VPC configuration is", [variant(model(f"{unique}-v", PrimaryContainer=data, VpcConfig=VPC))], {}),
        (
            "Network isolation is",
            [variant(model(f"{unique}-n", PrimaryContainer=data, EnableNetworkIsolation=True))],
            {},
        ),
        ("Inference pipelines are", [variant(model(f"{unique}-p", Containers=[data, data]))], {}),
        (
            "Multi-model endpoints are",
            [variant(model(f"{unique}-m", PrimaryContainer=data | {"Mode": "MultiModel"}))],
            {},
        ),
        ("Private Docker registries are", [variant(model(f"{unique}-r", PrimaryContainer=data | private))], {}),
    ]
    for what, variants, settings in cases:
        assert refusal(hosting.configured, *variants, **settings) == (
            f"ValidationException: {what} not supported when specifying a ServerlessConfig."
        )
    described = hosting.sagemaker.describe_model(ModelName=f"{unique}-n")
    assert (described["EnableNetworkIsolation"], "VpcConfig" in described) == (True, False)
    assert hosting.sagemaker.describe_model(ModelName=f"{unique}-v")["VpcConfig"] == VPC
    # Switched off it captures nothing, and a key for the volume is no exclusion any more.
    off = {"DataCaptureConfig": capture | {"EnableCapture": False}, "KmsKeyId": "alias/key"}
    assert hosting.configured(variant(plain), **off)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"MemorySizeInMB": 1000}, "at 'productionVariants.1.member.serverlessConfig.memorySizeInMB' failed"),
        ({"MemorySizeInMB": 1500}, "Member must satisfy enum value set: [1024, 2048, 3072, 4096, 5120, 6144]"),
        ({"MemorySizeInMB": 7168}, "at 'productionVariants.1.member.serverlessConfig.memorySizeInMB' failed"),
        ({"MaxConcurrency": 0}, "at 'productionVariants.1.member.serverlessConfig.maxConcurrency' failed"),
        ({"MaxConcurrency": 201}, "at 'productionVariants.1.member.serverlessConfig.maxConcurrency' failed"),
        ({"ProvisionedConcurrency": 6}, "must be less than or equal to MaxConcurrency 5"),
    ],
)
def test_limits_of_serverless_are_held_to_their_ranges(hosting: Hosting, limits: dict[str, int], words: str) -> None:
    # A range below the client's own minimum is refused by the client; its check is switched off here.
    client = hosting.client("sagemaker", parameter_validation=False)
    model = hosting.model(archive({}))
    production = variant(model, **limits) | {"VariantName": "A"}
    answer = refusal(client.create_endpoint_config, EndpointConfigName="c", ProductionVariants=[production])
    assert answer.startswith("ValidationException: ")
    assert words in answer


def test_the_limits_can_be_changed_while_it_serves(hosting: Hosting) -> None:
    name = hosting.endpoint(hosting.configured(variant(hosting.model(model_predicting(4)))))
    hosting.settled(name)
    desired = {
        "VariantName": "AllTraffic",
        "ServerlessUpdateConfig": {"MaxConcurrency": 9, "ProvisionedConcurrency": 1},
    }
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=[desired])
    [variant_summary] = hosting.settled(name)["ProductionVariants"]
    assert variant_summary["CurrentServerlessConfig"] == {
        "MemorySizeInMB": 2048,
        "MaxConcurrency": 9,
        "ProvisionedConcurrency": 1,
    }
    assert hosting.predictions(name) == pytest.approx([4])


def test_what_inference_components_alone_have_is_refused(hosting: Hosting) -> None:
    plain = {"ModelName": hosting.model(archive({})), "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    managed = plain | {"ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": 1}}
    for what, variant, settings in (
        ("ManagedInstanceScaling", managed, {}),
        ("VpcConfig", plain, {"VpcConfig": VPC}),
        ("EnableNetworkIsolation", plain, {"EnableNetworkIsolation": True}),
    ):
        assert refusal(hosting.configured, variant, **settings) == (
            f"ValidationException: {what} is only supported for inference component endpoints."
        )
