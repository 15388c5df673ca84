"""What counts as an endpoint at rest, and as serving a model package."""

from __future__ import annotations

import pytest
from botocore.session import get_session

from ci_scripts import endpoint

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
    assert set(get_session().get_service_model("sagemaker").shape_for("EndpointStatus").enum) == SETTLED.keys()


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
