"""Endpoint configs as SageMaker has them: held to the service's exclusions, described as they were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import FakeEndpointConfig, SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse

from sandbox.aws import validation
from sandbox.aws.lacking import Lacking
from sandbox.aws.sagemaker import exclusions, models


class EndpointConfig(FakeEndpointConfig):
    """One endpoint config: moto's record of it, and the whole request."""

    def __init__(self, backend: SageMakerModelBackend, request: Mapping[str, Any]) -> None:
        self.endpoint_config_name = request["EndpointConfigName"]
        self.endpoint_config_arn = self.arn_formatter(
            self.endpoint_config_name, backend.account_id, backend.region_name
        )
        self.tags = request.get("Tags") or []  # moto's ListTags reads them here
        self.creation_time = utcnow()
        self._request = {key: value for key, value in request.items() if key != "Tags"}

    @property
    def response_object(self) -> dict[str, Any]:
        return {
            **self._request,
            "EndpointConfigArn": self.endpoint_config_arn,
            "CreationTime": self.creation_time,
        }


def install() -> None:
    """Put this module's function in place of moto's."""
    responses: Any = SageMakerResponse
    responses.create_endpoint_config = create


def create(self: SageMakerResponse) -> ActionResult:
    """CreateEndpointConfig. Raises ValidationError, Lacking."""
    backend, request = self.sagemaker_backend, validation.sent(self.params)
    config = EndpointConfig(backend, request)
    if config.endpoint_config_name in backend.endpoint_configs:
        raise ValidationError(f'Cannot create already existing endpoint configuration "{config.endpoint_config_arn}".')
    every = [*request["ProductionVariants"], *(request.get("ShadowProductionVariants") or [])]
    _refuse_lacking(request, every)
    hosted = {each["ModelName"]: _hosted(backend, each["ModelName"]) for each in every}
    for problem in exclusions.problems(request, hosted):
        raise ValidationError(problem)
    output = (request.get("AsyncInferenceConfig") or {}).get("OutputConfig") or {}
    if "AsyncInferenceConfig" in request and not output.get("S3OutputPath"):
        raise Lacking("asynchronous endpoints without S3OutputPath")
    if "AsyncInferenceConfig" in request and "DataCaptureConfig" in request:
        raise Lacking("data capture of asynchronous endpoints")
    if any(each.has_many_models for each in hosted.values()):
        raise Lacking("multi-model endpoints")
    backend.endpoint_configs[config.endpoint_config_name] = config
    return ActionResult({"EndpointConfigArn": config.endpoint_config_arn})


def _hosted(backend: SageMakerModelBackend, name: str) -> exclusions.Hosted:
    model = backend.describe_model(name)
    containers = models.resolved_containers(backend, model.containers or [model.primary_container])
    return exclusions.Hosted(containers, bool(model.vpc_config), model.enable_network_isolation)


def _refuse_lacking(request: Mapping[str, Any], variants: list[Mapping[str, Any]]) -> None:
    if not all(each.get("ModelName") for each in variants):
        raise Lacking("endpoints of inference components: a production variant without ModelName")
    if any("ModelNameOverride" in pool for each in variants for pool in each.get("InstancePools") or []):
        raise Lacking("ModelNameOverride of instance pools")
    for name in ("ExplainerConfig", "CrossRegionTrafficConfig"):
        if name in request:
            raise Lacking(f"{name} of endpoint configs")
