"""Real-time endpoints of the sandbox's AWS in full: weights, shadows, captured data, instance pools, descriptions."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.aws.sagemaker import invocation
from sandbox.aws.sagemaker.endpoint_record import Serves
from sandbox.aws.sagemaker.fleet import Fleet
from tests.support.hosting import Hosting, model_predicting, refusal
from tests.support.stacks import Stacks
from tests.support.waiting import wait_for


def variant(model: str, name: str = "AllTraffic", **settings: Any) -> dict[str, Any]:
    instances = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    return {"VariantName": name, "ModelName": model} | instances | settings


def in_service(hosting: Hosting, config: str) -> str:
    name = hosting.endpoint(config)
    assert hosting.settled(name)["EndpointStatus"] == "InService"
    return name


def test_weights_share_the_requests_within_one_percent(tmp_path: Any) -> None:
    summaries = [{"VariantName": "Champion", "CurrentWeight": 0.9}, {"VariantName": "Challenger", "CurrentWeight": 0.1}]
    serves = Serves("e", Fleet(tmp_path), {}, summaries, [], {})
    chosen = Counter(invocation.choose(serves) for _ in range(100_000))
    assert chosen["Challenger"] / chosen.total() == pytest.approx(0.1, abs=0.01)


def test_traffic_follows_the_weights_and_their_change(hosting: Hosting) -> None:
    models = [hosting.model(model_predicting(number)) for number in (1, 2)]
    config = hosting.configured(
        variant(models[0], "Champion", InitialVariantWeight=0.8),
        variant(models[1], "Challenger", InitialVariantWeight=0.2),
    )
    name = in_service(hosting, config)

    def answers_by_variant(count: int) -> Counter[tuple[str, int]]:
        answers = [hosting.ask(name) for _ in range(count)]
        return Counter((each["InvokedProductionVariant"], round(float(each["Body"].read()))) for each in answers)

    counts = answers_by_variant(150)
    assert set(counts) == {("Champion", 1), ("Challenger", 2)}
    assert counts["Champion", 1] > counts["Challenger", 2]
    desired = [{"VariantName": "Champion", "DesiredWeight": 0.0}, {"VariantName": "Challenger", "DesiredWeight": 1.0}]
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=desired)
    hosting.settled(name)
    assert answers_by_variant(10) == {("Challenger", 2): 10}
    assert hosting.predictions(name, TargetVariant="Champion") == pytest.approx([1])


# --- captured data --------------------------------------------------------------------------------------------------

CAPTURED = re.compile(r"captured/([^/]+)/([^/]+)/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl")


def capture(hosting: Hosting, percentage: int = 100, *modes: str, **settings: Any) -> dict[str, Any]:
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": percentage,
        "DestinationS3Uri": f"s3://{hosting.project.bucket}/captured",
        "CaptureOptions": [{"CaptureMode": mode} for mode in modes or ("Input", "Output")],
    } | settings


CSV = {"CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]}}


def lines(hosting: Hosting, count: int, of: str) -> list[dict[str, Any]]:
    """The captured lines of a variant, once there are so many."""
    s3, bucket = hosting.aws.client("s3"), hosting.project.bucket

    def read() -> list[dict[str, Any]] | None:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix="captured/").get("Contents", [])
        keys = [each["Key"] for each in listed]
        places = [match.groups() for key in keys if (match := CAPTURED.fullmatch(key))]
        assert len(places) == len(keys), keys
        own = [key for key, place in zip(keys, places, strict=True) if place[1] == of]
        texts = [s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in own]
        events = [json.loads(line) for text in texts for line in text.splitlines()]
        return events if len(events) >= count else None

    captured: list[dict[str, Any]] = wait_for(read, f"{count} lines of {of}")
    return captured


def test_requests_and_answers_are_captured_as_lines_of_json(hosting: Hosting) -> None:
    model = hosting.model(model_predicting(9.5))
    name = in_service(hosting, hosting.configured(variant(model), DataCaptureConfig=capture(hosting, 100, **CSV)))
    before = datetime.now(UTC).replace(microsecond=0)
    hosting.ask(name, "1,2,3\n", InferenceId="mine", CustomAttributes="team=risk")
    hosting.ask(name, "4,5,6")

    first, second = lines(hosting, 2, "AllTraffic")
    metadata = first["eventMetadata"]
    assert first["captureData"] == {
        "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": "1,2,3\n", "encoding": "CSV"},
        "endpointOutput": {
            "observedContentType": "text/csv; charset=utf-8",
            "mode": "OUTPUT",
            "data": first["captureData"]["endpointOutput"]["data"],
            "encoding": "CSV",
        },
    }
    assert float(first["captureData"]["endpointOutput"]["data"]) == pytest.approx(9.5)
    assert (metadata["inferenceId"], metadata["customAttributes"]) == ("mine", ["team=risk"])
    assert datetime.fromisoformat(metadata["inferenceTime"]) >= before
    assert first["eventVersion"] == "0"
    assert second["captureData"]["endpointInput"]["data"] == "4,5,6"
    assert second["eventMetadata"].keys() == {"eventId", "inferenceTime"}


def test_a_side_alone_is_captured_and_what_has_no_known_type_is_base64(hosting: Hosting) -> None:
    model = hosting.model(model_predicting(9.5))
    name = in_service(hosting, hosting.configured(variant(model), DataCaptureConfig=capture(hosting, 100, "Input")))
    hosting.ask(name, "1,2,3")
    [line] = lines(hosting, 1, "AllTraffic")
    encoded = base64.b64encode(b"1,2,3").decode()
    side = {"observedContentType": "text/csv", "mode": "INPUT", "data": encoded, "encoding": "BASE64"}
    assert line["captureData"] == {"endpointInput": side}


def test_some_of_the_requests_are_captured_and_none_where_it_is_off(hosting: Hosting) -> None:
    model = hosting.model(model_predicting(1))
    champion = variant(model, "Some")
    name = in_service(hosting, hosting.configured(champion, DataCaptureConfig=capture(hosting, 50)))
    for _ in range(40):
        hosting.ask(name)
    hosting.sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName=hosting.configured(
            variant(model, "None"), DataCaptureConfig=capture(hosting, 100, EnableCapture=False)
        ),
    )
    hosting.settled(name)
    hosting.ask(name)
    captured = lines(hosting, 1, "Some")
    assert len(captured) < 40
    s3 = hosting.aws.client("s3")
    assert "Contents" not in s3.list_objects_v2(Bucket=hosting.project.bucket, Prefix=f"captured/{name}/None/")


# --- shadows --------------------------------------------------------------------------------------------------------


def test_a_shadow_gets_copies_the_client_sees_the_champion_and_capture_shows_both(hosting: Hosting) -> None:
    champion, shadow = (hosting.model(model_predicting(number)) for number in (1, 2))
    config = hosting.configured(
        variant(champion, "Champion", InitialVariantWeight=1.0),
        ShadowProductionVariants=[variant(shadow, "Shadow", InitialVariantWeight=1.0)],
        DataCaptureConfig=capture(hosting, 100, **CSV),
    )
    name = in_service(hosting, config)
    described = hosting.sagemaker.describe_endpoint(EndpointName=name)
    assert [each["VariantName"] for each in described["ProductionVariants"]] == ["Champion"]
    assert [each["VariantName"] for each in described["ShadowProductionVariants"]] == ["Shadow"]

    answers = [hosting.ask(name) for _ in range(10)]
    assert {each["InvokedProductionVariant"] for each in answers} == {"Champion"}
    assert [float(each["Body"].read()) for each in answers] == pytest.approx([1] * 10)
    for of, number in (("Champion", 1), ("Shadow", 2)):
        captured = lines(hosting, 10, of)
        assert [float(each["captureData"]["endpointOutput"]["data"]) for each in captured] == pytest.approx(
            [number] * 10
        )
    assert refusal(hosting.ask, name, TargetVariant="Shadow").startswith("ValidationError: Variant Shadow")


def test_what_shadows_exclude_is_refused(hosting: Hosting) -> None:
    model = hosting.model(model_predicting(1))
    output = {"OutputConfig": {"S3OutputPath": f"s3://{hosting.project.bucket}/out"}}

    def refused(*production: dict[str, Any], shadow: dict[str, Any] | None = None, **settings: Any) -> str:
        shadows = [variant(model, "Shadow") if shadow is None else shadow]
        return refusal(hosting.configured, *production, ShadowProductionVariants=shadows, **settings)

    assert "you can only specify one variant" in refused(variant(model, "A"), variant(model, "B"))
    assert "was non-unique" in refused(variant(model, "Shadow"))
    assert "AsyncInferenceConfig is not supported" in refused(variant(model), AsyncInferenceConfig=output)
    inferentia = variant(model, "Shadow", InstanceType="ml.inf1.xlarge")
    assert "Inf1 instances are not supported" in refused(variant(model), shadow=inferentia)


# --- instance pools, and what is described back ---------------------------------------------------------------------

POOLS = [{"InstanceType": "ml.m5.xlarge", "Priority": 2}, {"InstanceType": "ml.m5.large", "Priority": 1}]


def pooled(model: str, pools: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    return {"ModelName": model, "InstancePools": pools, "InitialInstanceCount": 2} | settings


def test_instances_come_from_the_pool_of_the_first_priority(hosting: Hosting) -> None:
    model = hosting.model(model_predicting(1))
    name = in_service(hosting, hosting.configured(pooled(model, POOLS, VariantInstanceProvisionTimeoutInSeconds=600)))
    [described] = hosting.sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"]
    assert described["InstancePools"] == [
        {"InstanceType": "ml.m5.xlarge", "CurrentInstanceCount": 0},
        {"InstanceType": "ml.m5.large", "CurrentInstanceCount": 2},
    ]
    assert hosting.predictions(name) == pytest.approx([1])
    six = [{"InstanceType": "ml.m5.large", "Priority": 1}] * 6
    assert "at 'productionVariants.1.member.instancePools'" in refusal(hosting.configured, pooled(model, six))
    both = pooled(model, POOLS, InstanceType="ml.m5.large")
    assert "must not specify InstanceType and InstancePools together" in refusal(hosting.configured, both)
    override = [POOLS[0] | {"ModelNameOverride": model}]
    assert "SandboxLacks" in refusal(hosting.configured, pooled(model, override))


def test_a_config_is_described_as_it_was_asked_for_by_a_stack_as_well(hosting: Hosting) -> None:
    model = hosting.model(model_predicting(1))
    pools = pooled(
        model,
        POOLS,
        VariantName="Pooled",
        VolumeSizeInGB=30,
        ModelDataDownloadTimeoutInSeconds=120,
        ContainerStartupHealthCheckTimeoutInSeconds=90,
        VariantInstanceProvisionTimeoutInSeconds=600,
        InitialVariantWeight=1.0,
    )
    properties = {"ProductionVariants": [pools], "KmsKeyId": "alias/key", "DataCaptureConfig": capture(hosting, 20)}
    config = {"Type": "AWS::SageMaker::EndpointConfig", "Properties": properties}
    outputs = {"Name": {"Value": {"Fn::GetAtt": ["Config", "EndpointConfigName"]}}}
    stack = Stacks(hosting.aws).create(json.dumps({"Resources": {"Config": config}, "Outputs": outputs}))
    described = hosting.sagemaker.describe_endpoint_config(EndpointConfigName=stack["Outputs"][0]["OutputValue"])
    assert {name: described[name] for name in properties} == properties


def test_a_guarded_deployment_needs_variants_of_the_same_names(hosting: Hosting) -> None:
    model = hosting.model(model_predicting(1))
    name = in_service(hosting, hosting.configured(variant(model, "Blue")))
    renamed = {"EndpointName": name, "EndpointConfigName": hosting.configured(variant(model, "Green"))}
    shift = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    guarded = {"DeploymentConfig": {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": shift}}}
    assert "must have the names of those that serve (Blue)" in refusal(
        hosting.sagemaker.update_endpoint, **renamed, **guarded
    )
    hosting.sagemaker.update_endpoint(**renamed)
    assert hosting.settled(name)["ProductionVariants"][0]["VariantName"] == "Green"
