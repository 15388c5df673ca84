"""Endpoints of the sandbox's AWS: real containers behind them, and the service's states and words."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws.containers import container
from sandbox.aws.sagemaker import fleet, serving
from tests.support.hosting import Hosting, archive, model_predicting, refusal
from tests.support.servers import IMAGE, register


def test_an_endpoint_answers_with_its_models_predictions(hosting: Hosting) -> None:
    config = hosting.config(AllTraffic=(hosting.model(model_predicting(9.5)), 1.0))
    name = hosting.endpoint(config)
    assert hosting.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating"

    description = hosting.settled(name)

    assert description["EndpointStatus"] == "InService"
    assert description["EndpointConfigName"] == config
    assert description["ProductionVariants"][0]["DeployedImages"][0]["SpecifiedImage"] == IMAGE
    answer = hosting.ask(name, "1,2,3\n4,5,\n")
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("text/csv; charset=utf-8", "AllTraffic")
    assert [float(number) for number in answer["Body"].read().split()] == pytest.approx([9.5, 9.5])


def test_a_model_package_brings_image_and_archive(hosting: Hosting) -> None:
    url = f"s3://{hosting.project.bucket}/package/model.tar.gz"
    hosting.aws.client("s3").put_object(
        Bucket=hosting.project.bucket, Key="package/model.tar.gz", Body=model_predicting(4)
    )
    package = register(hosting.aws, hosting.project.group, model=url)
    hosting.sagemaker.create_model(
        ModelName=hosting.project.name,
        Containers=[{"ModelPackageName": package}],
        ExecutionRoleArn=hosting.project.model_role,
    )
    described = hosting.sagemaker.describe_model(ModelName=hosting.project.name)
    assert described["Containers"] == [{"ModelPackageName": package}]
    assert "PrimaryContainer" not in described

    name = hosting.endpoint(hosting.config(AllTraffic=(hosting.project.name, 1.0)))

    assert hosting.settled(name)["EndpointStatus"] == "InService"
    assert hosting.predictions(name) == pytest.approx([4])


def test_an_endpoint_without_a_model_in_its_archive_fails_with_the_services_reason_and_a_log(hosting: Hosting) -> None:
    name = hosting.endpoint(hosting.config(AllTraffic=(hosting.model(archive({"notes.txt": b"no model"})), 1.0)))

    description = hosting.settled(name)

    assert description["EndpointStatus"] == "Failed"
    assert description["FailureReason"] == (
        "The primary container for production variant AllTraffic did not pass the ping health check. "
        "Please check CloudWatch logs for this endpoint."
    )
    logs = hosting.aws.client("logs")
    group = f"/aws/sagemaker/Endpoints/{name}"
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    lines = [event["message"] for event in logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]]
    assert stream.startswith("AllTraffic/i-")
    assert any("cannot be loaded" in line for line in lines)
    # Deleting is all that can be done with it.
    config = hosting.config(AllTraffic=(hosting.model(model_predicting(1)), 1.0))
    assert "Cannot update failed endpoint" in refusal(
        hosting.sagemaker.update_endpoint, EndpointName=name, EndpointConfigName=config
    )
    hosting.sagemaker.delete_endpoint(EndpointName=name)
    hosting.sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )


def test_an_endpoint_that_breaks_the_sandbox_fails(hosting: Hosting) -> None:
    name = hosting.endpoint(hosting.config(A=(hosting.model(model_predicting(1), Environment={"NUL": "\0"}), 1.0)))
    description = hosting.settled(name)
    assert (description["EndpointStatus"], description["FailureReason"].partition(".")[0]) == (
        "Failed",
        "Request to service failed",
    )


def variant(*images: str) -> serving.Variant:
    return serving.Variant("A", "", {}, [{"Image": image} for image in images], health_check_seconds=60)


@pytest.mark.usefixtures("as_server")
def test_a_model_whose_second_container_cannot_start_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = []

    def start(*arguments: Any) -> container.Process:
        started.append(real_start(*arguments))
        return started[-1]

    real_start = container.start
    monkeypatch.setattr(container, "start", start)
    with pytest.raises(serving.DeploymentFailed, match="does not have the image no-such-image"):
        fleet.Fleet(tmp_path).start([variant(IMAGE, "no-such-image")], lambda _: print)
    assert [process.poll() is None for process in started] == [False]


def test_a_container_that_ended_is_not_healthy_whoever_answers_on_its_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Ended(container.Process):
        def end(self, grace: float = 0) -> None:
            """It has."""

    ended = Ended(["true"])
    ended.wait()
    monkeypatch.setattr(container, "start", lambda *_: ended)
    monkeypatch.setattr(serving, "_is_healthy", lambda _: True)
    with pytest.raises(serving.DeploymentFailed, match="did not pass the ping health check"):
        fleet.Fleet(tmp_path).start([variant(IMAGE)], lambda _: print)


def test_an_archive_that_leads_out_of_its_folder_is_not_extracted(hosting: Hosting) -> None:
    name = hosting.endpoint(hosting.config(AllTraffic=(hosting.model(archive({"../../escaped": b"!"})), 1.0)))
    description = hosting.settled(name)
    assert description["FailureReason"].startswith("Failed to extract model data archive from URL")
    assert not list(hosting.aws.state.rglob("escaped"))


def test_an_update_serves_the_old_model_until_the_new_one_is_healthy(hosting: Hosting) -> None:
    old = hosting.config(AllTraffic=(hosting.model(model_predicting(1)), 1.0))
    new = hosting.config(AllTraffic=(hosting.model(model_predicting(2)), 1.0))
    name = hosting.endpoint(old)
    hosting.settled(name)

    hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new, RetainAllVariantProperties=True)
    during = hosting.sagemaker.describe_endpoint(EndpointName=name)
    seen = {hosting.predictions(name)[0]}
    assert (during["EndpointStatus"], during["EndpointConfigName"]) == ("Updating", old)
    assert during["PendingDeploymentSummary"]["EndpointConfigName"] == new
    update = {"EndpointName": name, "EndpointConfigName": old}
    assert "Cannot update in-progress endpoint" in refusal(hosting.sagemaker.update_endpoint, **update)
    assert "Cannot update in-progress endpoint" in refusal(hosting.sagemaker.delete_endpoint, EndpointName=name)
    while hosting.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Updating":
        seen.add(hosting.predictions(name)[0])  # every request is answered, by one model or the other

    assert hosting.settled(name)["EndpointConfigName"] == new
    assert hosting.predictions(name) == pytest.approx([2])
    assert all(number in (pytest.approx(1), pytest.approx(2)) for number in seen)


def test_an_update_that_does_not_come_up_is_rolled_back_silently(hosting: Hosting) -> None:
    old = hosting.config(AllTraffic=(hosting.model(model_predicting(1)), 1.0))
    bad = hosting.config(AllTraffic=(hosting.model(archive({"notes.txt": b"no model"})), 1.0))
    name = hosting.endpoint(old)
    hosting.settled(name)
    hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=bad)

    seen = []
    while (status := hosting.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]) != "InService":
        seen.append(status)
        time.sleep(0.1)

    description = hosting.settled(name)
    assert list(dict.fromkeys(seen)) == ["Updating", "RollingBack"]
    assert (description["EndpointConfigName"], "FailureReason" in description) == (old, False)
    assert hosting.predictions(name) == pytest.approx([1])


def test_variants_share_the_traffic_and_can_be_asked_for(hosting: Hosting) -> None:
    config = hosting.config(A=(hosting.model(model_predicting(1)), 0.0), B=(hosting.model(model_predicting(2)), 1.0))
    name = hosting.endpoint(config)
    hosting.settled(name)

    assert {hosting.ask(name)["InvokedProductionVariant"] for _ in range(5)} == {"B"}
    assert hosting.predictions(name, TargetVariant="A") == pytest.approx([1])
    assert refusal(hosting.ask, name, TargetVariant="C").startswith("ValidationError: Variant C")


def test_what_the_container_refuses_is_a_model_error(hosting: Hosting) -> None:
    name = hosting.endpoint(hosting.config(AllTraffic=(hosting.model(model_predicting(1)), 1.0)))
    hosting.settled(name)

    with pytest.raises(ClientError) as caught:
        hosting.ask(name, "1,2,3,4")
    answer: Any = caught.value.response  # with members that ModelError alone has
    assert answer["Error"]["Code"] == "ModelError"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert answer["OriginalStatusCode"] == 400
    assert answer["OriginalMessage"].startswith("Unable to evaluate payload provided: ")
    assert "Number of columns does not match number of features in booster" in answer["OriginalMessage"]
    assert answer["Error"]["Message"].startswith('Received client error (400) from primary with message "Unable to')
    assert f"/aws/sagemaker/Endpoints/{name} in account" in answer["Error"]["Message"]
    assert "Received client error (415)" in refusal(hosting.ask, name, "one,two,three")
    assert "Received client error (415)" in refusal(hosting.ask, name, "{}", ContentType="application/json")
    assert "Received client error (415)" in refusal(hosting.ask, name, b"\xff\xfe")
    assert hosting.predictions(name, "1,2") == pytest.approx([1])  # a column too few is a missing value


def test_refusals_use_the_services_words(hosting: Hosting) -> None:
    sagemaker, project = hosting.sagemaker, hosting.project
    arn = "arn:aws:sagemaker:eu-west-1:123456789012"
    model = hosting.model(model_predicting(1))
    config = hosting.config(AllTraffic=(model, 1.0))
    gone = f"s3://{project.bucket}/gone.tar.gz"

    def create_model(name: str, image: str = IMAGE, url: str = gone, role: str = project.model_role) -> str:
        container = {"Image": image, "ModelDataUrl": url}
        return refusal(sagemaker.create_model, ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role)

    assert create_model("other") == f"ValidationException: Could not find model data at {gone}."
    lacking = create_model("other", image=IMAGE.replace("xgboost", "nothing"))
    assert lacking.startswith("SandboxLacks: The sandbox does not have the image ")
    assert "Could not assume role" in create_model("other", role="arn:aws:iam::123456789012:role/nobody")
    assert create_model(model) == f'ValidationException: Cannot create already existing model "{arn}:model/{model}".'
    assert "already existing endpoint configuration" in refusal(
        sagemaker.create_endpoint_config,
        EndpointConfigName=config,
        ProductionVariants=[{"VariantName": "A", "ModelName": model, "InstanceType": "ml.m5.large"}],
    )
    create = {"EndpointName": "nowhere", "EndpointConfigName": "nothing"}
    missing = f'ValidationException: Could not find endpoint configuration "{arn}:endpoint-config/nothing".'
    assert refusal(sagemaker.create_endpoint, **create) == missing
    unknown = f'ValidationException: Could not find endpoint "{arn}:endpoint/nowhere".'
    assert refusal(sagemaker.describe_endpoint, EndpointName="nowhere") == unknown
    assert refusal(sagemaker.delete_endpoint, EndpointName="nowhere") == unknown
    assert refusal(hosting.ask, "nowhere") == ("ValidationError: Endpoint nowhere of account 123456789012 not found.")
    name = hosting.endpoint(config)
    assert refusal(hosting.ask, name) == f"ValidationError: Endpoint {name} of account 123456789012 not found."
    hosting.settled(name)
    again = {"EndpointName": name, "EndpointConfigName": config}
    assert "Cannot create already existing endpoint" in refusal(sagemaker.create_endpoint, **again)
    assert "currently in use endpoint configuration" in refusal(sagemaker.update_endpoint, **again)
    other = hosting.config(AllTraffic=(model, 1.0))
    sagemaker.delete_endpoint_config(EndpointConfigName=config)
    assert f'"{arn}:endpoint-config/{config}"' in refusal(
        sagemaker.update_endpoint, EndpointName=name, EndpointConfigName=other
    )


def test_data_capture_is_described_as_the_service_does(hosting: Hosting) -> None:
    model = hosting.model(model_predicting(1))
    plain = hosting.config(AllTraffic=(model, 1.0))
    assert "DataCaptureConfig" not in hosting.sagemaker.describe_endpoint_config(EndpointConfigName=plain)
    variant = {"VariantName": "A", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 40,
        "DestinationS3Uri": f"s3://{hosting.project.bucket}/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    name = f"capture-{uuid.uuid4().hex[:8]}"
    hosting.sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[variant], DataCaptureConfig=capture
    )
    described = hosting.settled(hosting.endpoint(name))
    assert described["DataCaptureConfig"] == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 40,
        "DestinationS3Uri": f"s3://{hosting.project.bucket}/captured",
        "KmsKeyId": "",
    }
