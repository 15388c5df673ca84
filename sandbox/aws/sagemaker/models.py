"""Models as SageMaker has them: created when their images and archives are there, described without what is empty.

endpoints.py puts these functions in place of moto's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import Model, SageMakerModelBackend
from moto.sagemaker.utils import arn_formatter

from sandbox.aws.access import identity
from sandbox.aws.containers import images
from sandbox.aws.lacking import Lacking
from sandbox.aws.sagemaker.jobfiles import split


def create_model(
    self: SageMakerModelBackend,
    model_name: str,
    execution_role_arn: str,
    primary_container: dict[str, Any] | None,
    vpc_config: dict[str, Any] | None,
    containers: list[dict[str, Any]] | None,
    tags: list[dict[str, str]] | None,
) -> Model:
    """CreateModel, which looks at image and archive at once. Raises ValidationError, Lacking."""
    if bool(primary_container) == bool(containers):
        raise ValidationError("Either PrimaryContainer or Containers must be given, not both.")
    if model_name in self._models:
        arn = arn_formatter("model", model_name, self.account_id, self.region_name)
        raise ValidationError(f'Cannot create already existing model "{arn}".')
    s3 = identity.client("s3", identity.sagemaker_credentials(execution_role_arn))
    for definition in resolved_containers(self, containers or [primary_container or {}]):
        _refuse_unusable(definition, s3)
    made = Model(
        self.account_id,
        self.region_name,
        model_name,
        execution_role_arn,
        primary_container or {},
        vpc_config or {},
        containers,
        tags,
    )
    self._models[model_name] = made
    return made


def describe(self: Model) -> dict[str, Any]:
    """The answer of DescribeModel."""
    answer = self.gen_response_object()
    answer["ModelArn"] = answer.pop("Arn")
    return {key: value for key, value in answer.items() if value not in (None, {}, [])}


def resolved_containers(backend: SageMakerModelBackend, definitions: list[Any]) -> list[Mapping[str, Any]]:
    """Container definitions with model packages replaced by the containers of their InferenceSpecification."""
    found: list[Mapping[str, Any]] = []
    for definition in definitions:
        if name := definition.get("ModelPackageName"):
            package = backend.describe_model_package(name)
            for each in package.inference_specification["Containers"]:
                found.append({**each, "Environment": each.get("Environment", {}) | definition.get("Environment", {})})
        else:
            found.append(definition)
    return found


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
