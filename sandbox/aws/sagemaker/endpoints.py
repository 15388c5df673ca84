"""Models, endpoint configs and endpoints as SageMaker has them: asynchronous, health-checked, rolled back, invocable.

moto keeps the data and lists it; `install()` replaces what moto only pretends. Refusals use the service's own words.
"""

from __future__ import annotations

import random
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from functools import cache, partialmethod, wraps
from typing import Any
from urllib.parse import unquote

import boto3
import requests
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import utcnow
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import FakeEndpoint, FakeEndpointConfig, Model, SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse

from sandbox.aws.access import identity
from sandbox.aws.ground import state
from sandbox.aws.logs import streams
from sandbox.aws.sagemaker import models
from sandbox.aws.sagemaker.fleet import DeploymentFailed, Fleet, Variant

HEALTH_CHECK_SECONDS = 60.0  # where the variant does not say; the service takes minutes
ROLLBACK_SECONDS = 1.0  # long enough to be seen by whoever polls; the service takes minutes
_lock = threading.RLock()  # guards the endpoints' state against their own threads


class Endpoint(FakeEndpoint):
    """An endpoint: moto's record of it, the fleet that serves, and the update under way."""

    def __init__(self, backend: SageMakerModelBackend, name: str, tags: list[dict[str, str]]) -> None:
        super().__init__(backend.account_id, backend.region_name, name, "", [], {}, tags)
        self.backend = backend
        self.fleet: Fleet | None = None
        self.pending: dict[str, Any] | None = None
        self.last_deployment: dict[str, Any] | None = None
        self.endpoint_status = "Creating"

    def change(self, status: str, failure_reason: str | None = None) -> None:
        self.endpoint_status, self.failure_reason = status, failure_reason
        self.last_modified_time = utcnow()

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeEndpoint: while an update runs, config and variants are those that serve."""
        answer = {
            **self.summary(),
            "EndpointConfigName": self.endpoint_config_name,
            "ProductionVariants": self.production_variants,
            "DataCaptureConfig": _capture(self.data_capture_config),
            "FailureReason": self.failure_reason,
            "PendingDeploymentSummary": self.pending,
            "LastDeploymentConfig": self.last_deployment,
        }
        return {key: value for key, value in answer.items() if value}


def _capture(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """DescribeEndpoint's summary of a config's data capture; all of its members are required."""
    if not config:
        return None
    enabled = config.get("EnableCapture", False)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }


class ModelError(ServiceException):
    """An invocation that the model's container refused or did not answer; fields named as on the wire."""

    code = "ModelError"
    OriginalStatusCode: int
    OriginalMessage: str


class InvocationRefused(ServiceException):
    code = "ValidationError"


def install() -> None:
    """Put this module's functions in place of moto's."""
    backend: Any = SageMakerModelBackend
    backend.create_model = models.create_model
    backend.create_endpoint_config = _refusing_a_second(backend.create_endpoint_config)
    backend.create_endpoint = _create_endpoint
    backend.describe_endpoint = lambda self, endpoint_name: _find(self, endpoint_name).describe()
    backend.delete_endpoint = _delete_endpoint
    for name in (
        "describe_model",
        "describe_endpoint_config",
        "delete_endpoint_config",
        "validate_production_variants",
    ):
        setattr(backend, name, _in_double_quotes(getattr(backend, name)))
    backend.describe_endpoint_config = _without_empty(backend.describe_endpoint_config)
    model: Any = Model
    model.response_object = property(models.describe)
    config: Any = FakeEndpointConfig
    config.validate_instance_type = _validate_instance_type
    responses: Any = SageMakerResponse
    responses.update_endpoint = _update_endpoint
    runtime: Any = SageMakerRuntimeResponse
    runtime.setup_class = partialmethod(BaseResponse.setup_class, use_raw_body=True)  # a body need not be text
    runtime.invoke_endpoint = _invoke_endpoint


# --- models and endpoint configs -----------------------------------------------------------------------------------


def _refusing_a_second(create: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(create)
    def create_endpoint_config(self: SageMakerModelBackend, endpoint_config_name: str, **settings: Any) -> Any:
        if endpoint_config_name in self.endpoint_configs:
            arn = FakeEndpointConfig.arn_formatter(endpoint_config_name, self.account_id, self.region_name)
            raise ValidationError(f'Cannot create already existing endpoint configuration "{arn}".')
        return create(self, endpoint_config_name=endpoint_config_name, **settings)

    return create_endpoint_config


def _without_empty(method: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """moto answers what a request did not hold as empty, the service leaves it out."""

    @wraps(method)
    def answering(*values: Any, **named: Any) -> dict[str, Any]:
        return {key: value for key, value in method(*values, **named).items() if value not in (None, {}, [])}

    return answering


def _in_double_quotes(method: Callable[..., Any]) -> Callable[..., Any]:
    """moto writes an ARN that it could not find in single quotes, the service in double quotes."""

    @wraps(method)
    def quoting(*values: Any, **named: Any) -> Any:
        try:
            return method(*values, **named)
        except ValidationError as error:
            raise ValidationError(str(error.message).replace("'", '"')) from error

    return quoting


@cache
def _instance_types() -> list[str]:
    model = boto3.client("sagemaker").meta.service_model
    types: list[str] = model.shape_for("ProductionVariantInstanceType").enum  # type: ignore[attr-defined]
    return types


def _validate_instance_type(self: FakeEndpointConfig, instance_type: str) -> None:
    if instance_type not in _instance_types():
        raise ValidationError(
            f"1 validation error detected: Value '{instance_type}' at 'productionVariants.1.member.instanceType' "
            f"failed to satisfy constraint: Member must satisfy enum value set: [{', '.join(_instance_types())}]"
        )


# --- endpoints -----------------------------------------------------------------------------------------------------


def _find(backend: SageMakerModelBackend, name: str) -> Endpoint:
    found = backend.endpoints.get(name)
    if not isinstance(found, Endpoint):
        arn = FakeEndpoint.arn_formatter(name, backend.account_id, backend.region_name)
        raise ValidationError(f'Could not find endpoint "{arn}".')
    return found


def _create_endpoint(
    self: SageMakerModelBackend, endpoint_name: str, endpoint_config_name: str, tags: list[dict[str, str]]
) -> Endpoint:
    with _lock:
        endpoint = Endpoint(self, endpoint_name, tags)
        if endpoint_name in self.endpoints:
            raise ValidationError(f'Cannot create already existing endpoint "{endpoint.arn}".')
        config = self.describe_endpoint_config(endpoint_config_name)
        variants = _variants(self, config)
        endpoint.endpoint_config_name = endpoint_config_name
        self.endpoints[endpoint_name] = endpoint
    _in_background(_deploy, endpoint, config, variants)
    return endpoint


def _update_endpoint(self: SageMakerResponse) -> ActionResult:
    backend = self.sagemaker_backend
    with _lock:
        endpoint = _find(backend, self._get_param("EndpointName"))
        config = backend.describe_endpoint_config(self._get_param("EndpointConfigName"))
        if endpoint.endpoint_status == "Failed":
            raise ValidationError(f'Cannot update failed endpoint "{endpoint.arn}".')
        if endpoint.endpoint_status != "InService":
            raise ValidationError(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        if config["EndpointConfigName"] == endpoint.endpoint_config_name:
            raise ValidationError("Cannot update endpoint with the currently in use endpoint configuration.")
        # An endpoint whose config was deleted under it cannot be updated any more.
        backend.describe_endpoint_config(endpoint.endpoint_config_name)
        variants = _variants(backend, config)
        endpoint.pending = {"EndpointConfigName": config["EndpointConfigName"], "StartTime": utcnow()}
        endpoint.last_deployment = self._get_param("DeploymentConfig") or endpoint.last_deployment
        endpoint.change("Updating")
    _in_background(_deploy, endpoint, config, variants)
    return ActionResult({"EndpointArn": endpoint.arn})


def _delete_endpoint(self: SageMakerModelBackend, endpoint_name: str) -> None:
    with _lock:
        endpoint = _find(self, endpoint_name)
        if endpoint.endpoint_status not in ("InService", "Failed"):
            raise ValidationError(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        endpoint.change("Deleting")
    _in_background(_remove, endpoint)


def _in_background(work: Callable[..., None], *values: Any) -> None:
    threading.Thread(target=work, args=values, name=work.__name__, daemon=True).start()


def _deploy(endpoint: Endpoint, config: Mapping[str, Any], variants: list[Variant]) -> None:
    """Start what `config` asks for; serve from it when all of it is healthy, else go back to what served before."""

    def log(variant: Variant) -> Callable[[str], None]:
        stream = f"{variant.name}/i-{uuid.uuid4().hex[:17]}"
        group = f"/aws/sagemaker/Endpoints/{endpoint.endpoint_name}"
        place = {"account_id": endpoint.backend.account_id, "region": endpoint.backend.region_name}
        return streams.writer(group, stream, variant.role_arn, **place)

    fleet = Fleet(state() / "endpoints" / uuid.uuid4().hex)
    try:
        fleet.start(variants, log)
    except DeploymentFailed as error:
        _give_up(endpoint, str(error))
        return
    except Exception:  # noqa: BLE001 - a defect of the sandbox must not leave the endpoint Creating or Updating for ever
        traceback.print_exc(file=sys.stderr)
        _give_up(endpoint, "Request to service failed. If failure persists after retry, contact customer support.")
        return
    with _lock:
        before, endpoint.fleet, endpoint.pending = endpoint.fleet, fleet, None
        endpoint.endpoint_config_name = config["EndpointConfigName"]
        endpoint.production_variants = [
            _summary(each, variant) for each, variant in zip(config["ProductionVariants"], variants, strict=True)
        ]
        endpoint.data_capture_config = config.get("DataCaptureConfig", {})
        endpoint.change("InService")
    if before:
        before.stop()


def _give_up(endpoint: Endpoint, reason: str) -> None:
    if endpoint.fleet is None:
        endpoint.change("Failed", reason)
        return
    endpoint.change("RollingBack", reason)
    time.sleep(ROLLBACK_SECONDS)
    with _lock:
        # The reason is gone with the rollback, only the config's name tells:
        # https://github.com/hashicorp/terraform-provider-aws/issues/48997
        endpoint.pending = None
        endpoint.change("InService")


def _remove(endpoint: Endpoint) -> None:
    if endpoint.fleet:
        endpoint.fleet.stop()
    del endpoint.backend.endpoints[endpoint.endpoint_name]


def _variants(backend: SageMakerModelBackend, config: Mapping[str, Any]) -> list[Variant]:
    found = []
    for each in config["ProductionVariants"]:
        model = backend.describe_model(each["ModelName"])
        found.append(
            Variant(
                name=each["VariantName"],
                role_arn=model.execution_role_arn,
                credentials=identity.sagemaker_credentials(model.execution_role_arn),
                containers=models.resolved_containers(backend, model.containers or [model.primary_container]),
                health_check_seconds=each.get("ContainerStartupHealthCheckTimeoutInSeconds", HEALTH_CHECK_SECONDS),
            )
        )
    return found


def _summary(config: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    weight = config.get("InitialVariantWeight", 1.0)
    deployed = [{"SpecifiedImage": each["Image"], "ResolutionTime": utcnow()} for each in variant.containers]
    summary = {
        "VariantName": variant.name,
        "DeployedImages": deployed,
        "CurrentWeight": weight,
        "DesiredWeight": weight,
    }
    if serverless := config.get("ServerlessConfig"):
        return summary | {"CurrentServerlessConfig": serverless, "DesiredServerlessConfig": serverless}
    count = config.get("InitialInstanceCount", 1)
    return summary | {"CurrentInstanceCount": count, "DesiredInstanceCount": count}


# --- invocation ----------------------------------------------------------------------------------------------------


def _invoke_endpoint(self: SageMakerRuntimeResponse) -> tuple[int, dict[str, str], bytes]:
    name = unquote(self.path.split("/")[2])
    endpoint = sagemaker_backends[self.current_account][self.region].endpoints.get(name)
    if not isinstance(endpoint, Endpoint) or endpoint.fleet is None or endpoint.endpoint_status == "Deleting":
        raise InvocationRefused(f"Endpoint {name} of account {self.current_account} not found.")
    with _lock:
        fleet, variant = endpoint.fleet, _choose(endpoint, self.headers.get("X-Amzn-SageMaker-Target-Variant"))
    passed = ("Content-Type", "Accept", "X-Amzn-SageMaker-Custom-Attributes", "X-Amzn-SageMaker-Inference-Id")
    headers = {header: self.headers[header] for header in passed if self.headers.get(header)}
    where = (
        f"See https://{self.region}.console.aws.amazon.com/cloudwatch/home?region={self.region}#logEventViewer:"
        f"group=/aws/sagemaker/Endpoints/{name} in account {self.current_account} for more information."
    )
    try:
        answer = fleet.invoke(variant, self.raw_body, headers)
    except requests.RequestException as error:
        raise _model_error("server", 0, "primary", "The container did not answer the invocation.", where) from error
    if answer.status >= 400:
        side = "client" if answer.status < 500 else "server"
        raise _model_error(side, answer.status, answer.container, answer.body.decode(errors="replace"), where)
    reply = {
        "Content-Type": answer.headers.get("Content-Type", "application/octet-stream"),
        "x-Amzn-Invoked-Production-Variant": variant,
    }
    if attributes := answer.headers.get("X-Amzn-SageMaker-Custom-Attributes"):
        reply["X-Amzn-SageMaker-Custom-Attributes"] = attributes
    return 200, reply, answer.body


def _choose(endpoint: Endpoint, target: str | None) -> str:
    weights: dict[str, float] = {
        each["VariantName"]: each["CurrentWeight"] or 0.0 for each in endpoint.production_variants
    }
    if target is None:
        everybody = list(weights)
        return random.choices(everybody, list(weights.values()) if any(weights.values()) else None)[0]  # noqa: S311
    if target not in weights:
        raise InvocationRefused(f"Variant {target} is not found for endpoint {endpoint.endpoint_name}.")
    return target


def _model_error(side: str, status: int, container: str, message: str, where: str) -> ModelError:
    error = ModelError(f'Received {side} error ({status}) from {container} with message "{message}". {where}')
    error.OriginalStatusCode, error.OriginalMessage = status, message
    return error
