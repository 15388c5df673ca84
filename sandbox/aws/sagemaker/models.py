"""Models as SageMaker has them: created when their images and archives are there, described without what is empty.

endpoints.py puts these functions in place of moto's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError
from moto.core.responses import ActionResult
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import Model, SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemaker.utils import arn_formatter

from sandbox.aws import validation
from sandbox.aws.access import identity
from sandbox.aws.containers import images
from sandbox.aws.lacking import Lacking
from sandbox.aws.sagemaker.jobfiles import split


def create_model(self: SageMakerResponse) -> ActionResult:
    """CreateModel, which looks at image and archive at once. Raises ValidationError, Lacking."""
    backend, request = self.sagemaker_backend, validation.sent(self.params)
    name, primary, containers = request["ModelName"], request.get("PrimaryContainer"), request.get("Containers")
    if bool(primary) == bool(containers):
        raise ValidationError("Either PrimaryContainer or Containers must be given, not both.")
    if name in backend._models:
        arn = arn_formatter("model", name, backend.account_id, backend.region_name)
        raise ValidationError(f'Cannot create already existing model "{arn}".')
    role = request["ExecutionRoleArn"]
    s3 = identity.client("s3", identity.sagemaker_credentials(role))
    for definition in resolved_containers(backend, containers or [primary]):
        _refuse_unusable(definition, s3)
    model = Model(
        backend.account_id,
        backend.region_name,
        name,
        role,
        primary or {},
        request.get("VpcConfig") or {},
        containers,
        request.get("Tags"),
    )
    model.enable_network_isolation = request.get("EnableNetworkIsolation", False)
    backend._models[name] = model
    return ActionResult({"ModelArn": model.arn})


def describe(self: Model) -> dict[str, Any]:
    """The answer of DescribeModel."""
    answer = self.gen_response_object()
    answer["ModelArn"] = answer.pop("Arn")
    return {key: value for key, value in answer.items() if value not in (None, {}, [])}


def resolved_containers(backend: SageMakerModelBackend, definitions: list[Any]) -> list[Mapping[str, Any]]:
    """Container definitions with model packages replaced by the containers of their InferenceSpecification."""
    containers: list[Mapping[str, Any]] = []
    for definition in definitions:
        if name := definition.get("ModelPackageName"):
            package = backend.describe_model_package(name)
            for each in package.inference_specification["Containers"]:
                containers.append(
                    {**each, "Environment": each.get("Environment", {}) | definition.get("Environment", {})}
                )
        else:
            containers.append(definition)
    return containers


def _refuse_unusable(definition: Mapping[str, Any], s3: Any) -> None:
    # CreateModel looks at image and archive at once; whether the archive is any good shows only in the endpoint.
    try:
        images.program(definition["Image"], ["serve"])
    except images.UnknownImage as error:
        raise Lacking(error.what) from error
    if uri := definition.get("ModelDataUrl"):
        bucket, key = split(uri)
        try:
            s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            raise ValidationError(f"Could not find model data at {uri}.") from error
