"""What counts as an endpoint at rest, and as serving a model package."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.session import get_session
from botocore.stub import Stubber

from ci_scripts import endpoint, errors
from ci_scripts.endpoint import Expected

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/abalone-p-1/2"
PACKAGE = {
    "ModelPackageArn": ARN,
    "InferenceSpecification": {"Containers": [{"Image": "image:1", "ModelDataUrl": "s3://bucket/2/model.tar.gz"}]},
}

SETTLED = {
    "InService": True,
    "OutOfService": True,
    "Failed": True,
    "UpdateRollbackFailed": True,
    "Creating": False,
    "Updating": False,
    "SystemUpdating": False,
    "RollingBack": False,
    "Deleting": False,
}


@pytest.mark.parametrize(("status", "expected"), SETTLED.items())
def test_an_endpoint_is_waited_for_until_nothing_goes_on(status: str, expected: bool) -> None:
    assert endpoint.is_settled({"EndpointStatus": status}) is expected


def test_the_table_names_every_status_that_endpoints_have() -> None:
    statuses = get_session().get_service_model("sagemaker").shape_for("EndpointStatus").metadata["enum"]
    assert set(statuses) == SETTLED.keys()


def test_an_endpoint_in_service_with_a_pending_deployment_is_not_at_rest() -> None:
    pending = {"EndpointConfigName": "new"}
    assert not endpoint.is_settled({"EndpointStatus": "InService", "PendingDeploymentSummary": pending})


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"ModelPackageName": ARN}, True),
        ({"ModelPackageName": ARN.replace("/2", "/1")}, False),
        ({"Image": "image:1", "ModelDataUrl": "s3://bucket/2/model.tar.gz"}, True),
        ({"Image": "image:1", "ModelDataSource": {"S3DataSource": {"S3Uri": "s3://bucket/2/model.tar.gz"}}}, True),
        ({"Image": "image:2", "ModelDataUrl": "s3://bucket/2/model.tar.gz"}, False),
        ({"Image": "image:1", "ModelDataUrl": "s3://bucket/1/model.tar.gz"}, False),
        ({"Image": "image:1"}, False),
    ],
)
def test_a_container_serves_a_package_by_name_or_by_image_and_model_data(
    container: dict[str, object], expected: bool
) -> None:
    assert endpoint.serves(container, PACKAGE) is expected


# --- what an endpoint serves -----------------------------------------------------------------------------------------

OTHER = ARN.replace("/2", "/21")
RIGHT, WRONG, DELETED = [{"ModelPackageName": ARN}], [{"ModelPackageName": OTHER}], list[dict[str, Any]]()


@pytest.mark.parametrize(
    ("variants", "also", "wrong"),
    [
        ({"A": RIGHT}, "", []),
        ({"A": WRONG}, "", ["A"]),
        ({"A": RIGHT, "B": RIGHT}, "", []),
        ({"A": RIGHT, "B": WRONG}, "", ["B"]),
        ({"A": RIGHT, "B": WRONG}, f"ModelPackageName: {OTHER}", []),  # an A/B test, as deployed
        ({"A": RIGHT, "B": WRONG}, f"ModelPackageName: {OTHER}0", ["B"]),
        ({"A": WRONG}, f"ModelPackageName: {OTHER}", ["A"]),  # and none serves the package
        ({"A": RIGHT, "B": DELETED}, "", ["B"]),
        ({"A": DELETED}, "", ["A"]),
        ({"A": [{"Image": "pre:1"}, *RIGHT]}, "", []),  # an inference pipeline
        ({}, "", [""]),
    ],
)
def test_every_production_variant_has_to_serve_what_was_deployed(
    variants: dict[str, list[dict[str, Any]]], also: str, wrong: list[str]
) -> None:
    served = [endpoint.Served(name, containers) for name, containers in variants.items()]
    assert [each.variant for each in endpoint.not_as_deployed(served, Expected(PACKAGE, deployed=also))] == wrong


# The sandbox has neither shadow variants nor inference components: the answers are botocore's own shapes.
NOW = datetime.datetime.now(datetime.UTC)
PREFIX = "arn:aws:sagemaker:eu-west-1:123456789012:"
SAGEMAKER = boto3.client("sagemaker", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def aws() -> Iterator[Stubber]:
    with Stubber(SAGEMAKER) as stub:
        yield stub
        stub.assert_no_pending_responses()


def endpoint_with(aws: Stubber, production: list[dict[str, Any]], shadow: list[dict[str, Any]] | None = None) -> None:
    times = {"CreationTime": NOW, "LastModifiedTime": NOW}
    names = {"EndpointName": "e", "EndpointArn": f"{PREFIX}endpoint/e", "EndpointConfigName": "c"}
    aws.add_response("describe_endpoint", {**names, "EndpointStatus": "InService", **times})
    config: dict[str, Any] = {"EndpointConfigName": "c", "EndpointConfigArn": f"{PREFIX}endpoint-config/c"}
    config |= {"CreationTime": NOW, "ProductionVariants": production}
    aws.add_response("describe_endpoint_config", config | ({"ShadowProductionVariants": shadow} if shadow else {}))


def model(aws: Stubber, name: str, package: str) -> None:
    answer = {"ModelName": name, "ModelArn": f"{PREFIX}model/{name}", "CreationTime": NOW}
    aws.add_response("describe_model", answer | {"Containers": [{"ModelPackageName": package}]}, {"ModelName": name})


def test_a_shadow_variant_that_serves_the_package_proves_nothing(aws: Stubber) -> None:
    endpoint_with(aws, [{"VariantName": "A", "ModelName": "old"}], [{"VariantName": "S", "ModelName": "new"}])
    model(aws, "old", OTHER)
    with pytest.raises(errors.EndpointServesOtherModel, match=f"endpoint e serves {OTHER}, not {ARN}"):
        endpoint.verify(SAGEMAKER, "e", Expected(PACKAGE, ["c"]), 0.2)


def test_a_variant_that_serves_another_model_is_named(aws: Stubber) -> None:
    endpoint_with(aws, [{"VariantName": "A", "ModelName": "new"}, {"VariantName": "B", "ModelName": "old"}])
    model(aws, "new", ARN)
    model(aws, "old", OTHER)
    with pytest.raises(errors.EndpointServesOtherModel, match=f"endpoint e variant B serves {OTHER}, not {ARN}"):
        endpoint.verify(SAGEMAKER, "e", Expected(PACKAGE, ["c"]), 0.2)


def components(aws: Stubber, *specifications: dict[str, Any]) -> None:
    """An endpoint whose one variant has these inference components."""
    endpoint_with(aws, [{"VariantName": "AllTraffic", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}])
    common = {"CreationTime": NOW, "LastModifiedTime": NOW, "EndpointName": "e", "EndpointArn": f"{PREFIX}endpoint/e"}
    names = [f"component-{number}" for number in range(len(specifications))]
    rows = [
        {
            **common,
            "InferenceComponentName": name,
            "InferenceComponentArn": f"{PREFIX}x/{name}",
            "VariantName": "AllTraffic",
        }
        for name in names
    ]
    request = {"EndpointNameEquals": "e", "VariantNameEquals": "AllTraffic"}
    aws.add_response("list_inference_components", {"InferenceComponents": rows}, request)
    for row, specification in zip(rows, specifications, strict=True):
        answer = {**row, "Specification": specification, "InferenceComponentStatus": "InService"}
        aws.add_response(
            "describe_inference_component", answer, {"InferenceComponentName": row["InferenceComponentName"]}
        )
        if "ModelName" in specification:
            model(aws, specification["ModelName"], ARN if specification["ModelName"] == "new" else OTHER)


@pytest.mark.parametrize(
    "specifications",
    [
        [{"ModelName": "new"}],
        [{"ModelName": "new"}, {"BaseInferenceComponentName": "component-0"}],
        [
            {
                "Container": {
                    "DeployedImage": {"SpecifiedImage": "image:1", "ResolvedImage": "image@sha256:1"},
                    "ArtifactUrl": "s3://bucket/2/model.tar.gz",
                }
            }
        ],
    ],
    ids=["model", "adapter", "container"],
)
def test_a_variant_without_a_model_serves_what_its_inference_components_do(
    aws: Stubber, specifications: list[dict[str, Any]]
) -> None:
    components(aws, *specifications)
    endpoint.verify(SAGEMAKER, "e", Expected(PACKAGE, ["c"]), 0.2)


def test_an_inference_component_of_the_stack_has_to_serve_what_was_deployed(aws: Stubber) -> None:
    components(aws, {"ModelName": "new"}, {"ModelName": "old"})
    expected = Expected(PACKAGE, ["c"], components=["Component-1"])
    wrong = f"variant AllTraffic, inference component component-1, serves {OTHER}, not {ARN}"
    with pytest.raises(errors.EndpointServesOtherModel, match=wrong):
        endpoint.verify(SAGEMAKER, "e", expected, 0.2)


def test_what_an_inference_component_of_others_serves_is_told(aws: Stubber, capsys: pytest.CaptureFixture[str]) -> None:
    components(aws, {"ModelName": "new"}, {"ModelName": "old"})
    endpoint.verify(SAGEMAKER, "e", Expected(PACKAGE, ["c"], components=["component-0"]), 0.2)
    line = f"inference component component-1, serves {OTHER}, which is not of this deployment"
    assert line in capsys.readouterr().out


def test_an_inference_component_of_another_model_is_no_proof(aws: Stubber) -> None:
    components(aws, {"ModelName": "old"})
    with pytest.raises(errors.EndpointServesOtherModel, match=f"serves {OTHER}"):
        endpoint.verify(SAGEMAKER, "e", Expected(PACKAGE, ["c"]), 0.2)


def test_inference_components_that_may_not_be_looked_at_are_an_error_that_names_them(aws: Stubber) -> None:
    endpoint_with(aws, [{"VariantName": "AllTraffic", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}])
    aws.add_client_error("list_inference_components", "AccessDeniedException", "no")
    with pytest.raises(errors.InferenceComponentsUnseen, match=r"has inference components.*AccessDenied") as raised:
        endpoint.verify(SAGEMAKER, "e", Expected(PACKAGE, ["c"]), 0.2)
    assert "inference components" in raised.value.hint


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("ValidationError", "Endpoint e is of type asynchronous, which InvokeEndpoint does not serve.", True),
        ("ValidationError", "Endpoint e of account 123456789012 not found.", False),
        ("ModelError", 'Received client error (400) from primary with message "async def main"', False),
    ],
)
def test_only_sagemakers_own_refusal_tells_that_an_endpoint_is_asynchronous(
    code: str, message: str, expected: bool
) -> None:
    runtime = boto3.client(
        "sagemaker-runtime", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(runtime) as stub:
        stub.add_client_error("invoke_endpoint", code, message, 400)
        with pytest.raises(errors.InvocationFailed) as raised:
            endpoint.invoke(runtime, "e", b"1,2", "text/csv")
    assert ("InvokeEndpointAsync" in raised.value.hint) is expected
