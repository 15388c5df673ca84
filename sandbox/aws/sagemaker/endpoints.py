"""Endpoints as SageMaker has them: asynchronous, health-checked, rolled back, their variants scaled and weighted.

moto keeps the data and lists it; `install()` replaces what moto only pretends. Refusals use the service's own words.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import FakeEndpoint, Model, SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse

from sandbox.aws import validation
from sandbox.aws.access import identity
from sandbox.aws.ground import ACCOUNT, state
from sandbox.aws.lacking import Lacking
from sandbox.aws.logs import streams
from sandbox.aws.sagemaker import models, shifting, variants
from sandbox.aws.sagemaker.endpoint_record import Endpoint, Serves, lock
from sandbox.aws.sagemaker.fleet import Fleet
from sandbox.aws.sagemaker.serving import DeploymentFailed, Variant

HEALTH_CHECK_SECONDS = 60.0  # where the variant does not say; the service takes minutes
ROLLBACK_SECONDS = 1.0  # long enough to be seen by whoever polls; the service takes minutes


def _refuse_conversion(endpoint: Endpoint, config: Mapping[str, Any]) -> None:
    """There is no way back, either: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html."""
    if _is_serverless(config) and not _is_serverless(endpoint.config):
        raise ValidationError(
            f'Cannot update endpoint "{endpoint.arn}": an instance-based endpoint cannot be converted to a serverless '
            "endpoint."
        )


def _refuse_other_names(endpoint: Endpoint, config: Mapping[str, Any]) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html."""
    before, after = (
        {each["VariantName"] for each in each_config["ProductionVariants"]} for each_config in (endpoint.config, config)
    )
    if before != after:
        raise ValidationError(
            f'Cannot update endpoint "{endpoint.arn}" with a DeploymentConfig: the variants of the new endpoint '
            f"configuration ({', '.join(sorted(after))}) must have the names of those that serve "
            f"({', '.join(sorted(before))})."
        )


may_update: list[Callable[[Endpoint, Mapping[str, Any]], None]] = [_refuse_conversion]
"""What looks at an update before it begins: functions of an endpoint and its new config that raise ValidationError."""
when_removed: list[Callable[[Endpoint], None]] = []
"""What goes with an endpoint that is deleted."""


def find(backend: SageMakerModelBackend, name: str) -> Endpoint:
    """Raises ValidationError for an endpoint that is not there."""
    endpoint = backend.endpoints.get(name)
    if not isinstance(endpoint, Endpoint):
        arn = FakeEndpoint.arn_formatter(name, backend.account_id, backend.region_name)
        raise ValidationError(f'Could not find endpoint "{arn}".')
    return endpoint


def serving(account: str, region: str, name: str) -> Endpoint | None:
    """The endpoint that can be asked under a name."""
    endpoint = sagemaker_backends[account][region].endpoints.get(name)
    return endpoint if isinstance(endpoint, Endpoint) and endpoint.serves() else None


def install() -> None:
    """Put this module's functions in place of moto's."""
    backend: Any = SageMakerModelBackend
    backend.create_endpoint = _create_endpoint
    backend.describe_endpoint = lambda self, endpoint_name: find(self, endpoint_name).describe()
    backend.delete_endpoint = _delete_endpoint
    for name in ("describe_model", "describe_endpoint_config", "delete_endpoint_config"):
        setattr(backend, name, _in_double_quotes(getattr(backend, name)))
    model: Any = Model
    model.response_object = property(models.describe)
    responses: Any = SageMakerResponse
    responses.create_model = models.create_model
    responses.update_endpoint = _update_endpoint
    responses.update_endpoint_weights_and_capacities = _update_weights_and_capacities


def _in_double_quotes(method: Callable[..., Any]) -> Callable[..., Any]:
    """moto writes an ARN that it could not find in single quotes, the service in double quotes."""

    @wraps(method)
    def quoting(*values: Any, **named: Any) -> Any:
        try:
            return method(*values, **named)
        except ValidationError as error:
            raise ValidationError(str(error.message).replace("'", '"')) from error

    return quoting


# --- the calls -----------------------------------------------------------------------------------------------------


def _create_endpoint(
    self: SageMakerModelBackend, endpoint_name: str, endpoint_config_name: str, tags: list[dict[str, str]]
) -> Endpoint:
    with lock:
        endpoint = Endpoint(self, endpoint_name, tags)
        if endpoint_name in self.endpoints:
            raise ValidationError(f'Cannot create already existing endpoint "{endpoint.arn}".')
        config = self.describe_endpoint_config(endpoint_config_name)
        every = _variants(self, config)
        endpoint.endpoint_config_name = endpoint_config_name
        self.endpoints[endpoint_name] = endpoint
    _in_background(_deploy, endpoint, config, every, {})
    return endpoint


def _update_endpoint(self: SageMakerResponse) -> ActionResult:
    backend, request = self.sagemaker_backend, validation.sent(self.params)
    with lock:
        endpoint = find(backend, request["EndpointName"])
        config = backend.describe_endpoint_config(request["EndpointConfigName"])
        _refuse_unless_settled(endpoint)
        if config["EndpointConfigName"] == endpoint.endpoint_config_name:
            raise ValidationError("Cannot update endpoint with the currently in use endpoint configuration.")
        # An endpoint whose config was deleted under it cannot be updated any more.
        backend.describe_endpoint_config(endpoint.endpoint_config_name)
        for check in may_update:
            check(endpoint, config)
        if request.get("DeploymentConfig") or request.get("RetainDeploymentConfig"):
            _refuse_other_names(endpoint, config)
        deployment = request.get("DeploymentConfig") or (
            endpoint.last_deployment if request.get("RetainDeploymentConfig") else None
        )
        every = _variants(backend, config)
        retained = variants.retained([*endpoint.production_variants, *endpoint.shadow_variants], request)
        if variants.keeps(request, "DataCaptureConfig"):
            config = {**config, "DataCaptureConfig": endpoint.data_capture_config}
        summaries = _summaries(config, every, retained)
        if deployment:
            _refuse_deployment(deployment, config, summaries)
        endpoint.last_deployment = request.get("DeploymentConfig") or endpoint.last_deployment
        endpoint.pending = {"EndpointConfigName": config["EndpointConfigName"], "StartTime": utcnow()}
        _tell(endpoint, summaries, "Creating", "Launching {} instance(s).")
        endpoint.change("Updating")
    _in_background(_deploy, endpoint, config, every, retained, deployment)
    return ActionResult({"EndpointArn": endpoint.arn})


def _refuse_deployment(
    deployment: Mapping[str, Any], config: Mapping[str, Any], summaries: list[dict[str, Any]]
) -> None:
    """Raises ValidationError, Lacking."""
    if _is_serverless(config) and shifting.kind(deployment) != "ROLLING":
        raise Lacking("deployment guardrails of serverless endpoints")
    counts = [each.get("DesiredInstanceCount", 1) for each in summaries[: len(config["ProductionVariants"])]]
    for problem in shifting.problems(deployment, config, counts):
        raise ValidationError(problem)


def _refuse_unless_settled(endpoint: Endpoint) -> None:
    if endpoint.endpoint_status == "Failed":
        raise ValidationError(f'Cannot update failed endpoint "{endpoint.arn}".')
    if endpoint.endpoint_status != "InService":
        raise ValidationError(f'Cannot update in-progress endpoint "{endpoint.arn}".')


def _is_serverless(config: Mapping[str, Any]) -> bool:
    return any("ServerlessConfig" in each for each in config["ProductionVariants"])


def _update_weights_and_capacities(self: SageMakerResponse) -> ActionResult:
    request = validation.sent(self.params)
    desired = request["DesiredWeightsAndCapacities"]
    with lock:
        endpoint = find(self.sagemaker_backend, request["EndpointName"])
        _refuse_unless_settled(endpoint)
        names = [each["VariantName"] for each in desired]
        existing = [each["VariantName"] for each in (*endpoint.production_variants, *endpoint.shadow_variants)]
        if len(set(names)) < len(names):
            raise ValidationError(
                f'The variant name "{max(names, key=names.count)}" was non-unique within the request.'
            )
        if unknown := [name for name in names if name not in existing]:
            raise ValidationError(
                f'The variant name(s) "{", ".join(unknown)}" is/are not present within endpoint configuration '
                f'"{endpoint.endpoint_config_name}".'
            )
        endpoint.change("Updating")
    _in_background(_scale, endpoint, desired)
    return ActionResult({"EndpointArn": endpoint.arn})


def _scale(endpoint: Endpoint, desired: list[Mapping[str, Any]]) -> None:
    for each in desired:
        if endpoint.fleet and (limits := each.get("ServerlessUpdateConfig")):
            endpoint.fleet.change_limits(each["VariantName"], limits)
    with lock:
        for each in desired:
            variants.change([*endpoint.production_variants, *endpoint.shadow_variants], each)
        endpoint.change("InService")


def _delete_endpoint(self: SageMakerModelBackend, endpoint_name: str) -> None:
    with lock:
        endpoint = find(self, endpoint_name)
        if endpoint.endpoint_status not in ("InService", "Failed"):
            raise ValidationError(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        endpoint.change("Deleting")
    for forget in when_removed:
        forget(endpoint)
    _in_background(_remove, endpoint)


# --- what happens after them ---------------------------------------------------------------------------------------


def _in_background(work: Callable[..., None], *values: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=values, name=work.__name__, daemon=True)
    thread.start()
    return thread


def _log_of(endpoint: Endpoint, variant: Variant) -> Callable[[str], None]:
    """What a new instance of a variant writes its log with."""
    stream = f"{variant.name}/i-{uuid.uuid4().hex[:17]}"
    group = f"/aws/sagemaker/Endpoints/{endpoint.endpoint_name}"
    place = {"account_id": endpoint.backend.account_id, "region": endpoint.backend.region_name}
    return streams.writer(group, stream, variant.role_arn, **place)


def _deploy(
    endpoint: Endpoint,
    config: Mapping[str, Any],
    every: list[Variant],
    retained: Mapping[str, Mapping[str, Any]],
    deployment: Mapping[str, Any] | None = None,
) -> None:
    """Start what `config` asks for; serve from it when all of it is healthy, else go back to what served before.

    With a `deployment` (DeploymentConfig) the requests move over as it says.
    """
    fleet = Fleet(state() / "endpoints" / uuid.uuid4().hex)
    try:
        fleet.start(every, partial(_log_of, endpoint))
    except DeploymentFailed as error:
        _give_up(endpoint, str(error))
        return
    except Exception:  # noqa: BLE001 - a defect of the sandbox must not leave the endpoint Creating or Updating
        traceback.print_exc(file=sys.stderr)
        _give_up(endpoint, "Request to service failed. If failure persists after retry, contact customer support.")
        return
    summaries = _summaries(config, every, retained)
    count = len(config["ProductionVariants"])
    if deployment and not shifting.falls_back(config):
        capture = config.get("DataCaptureConfig") or {}
        serves = Serves(endpoint.endpoint_name, fleet, config, summaries[:count], summaries[count:], capture)
        if reason := _shift(endpoint, serves, deployment, every[0].credentials):
            endpoint.shift(None, 0.0)
            _give_up(endpoint, reason)
            fleet.stop()
            return
    with lock:
        before, endpoint.fleet, endpoint.pending, endpoint.config = endpoint.fleet, fleet, None, config
        endpoint.endpoint_config_name = config["EndpointConfigName"]
        endpoint.production_variants, endpoint.shadow_variants = summaries[:count], summaries[count:]
        endpoint.shift(None, 0.0)
        endpoint.data_capture_config = config.get("DataCaptureConfig") or {}
        endpoint.change("InService")
    if before:
        before.stop()


def resume() -> None:
    """Let every endpoint serve what it served before the server ended; what it was changing to is given up."""
    threads = []
    for backend in sagemaker_backends[ACCOUNT].values():
        for endpoint in backend.endpoints.values():
            endpoint.pending = None
            if endpoint.config and endpoint.endpoint_status != "Deleting":
                threads.append(_in_background(_serve_again, endpoint))
            else:
                endpoint.change("Failed", "The sandbox ended while the endpoint was created or deleted.")
    for thread in threads:
        thread.join()


def _serve_again(endpoint: Endpoint) -> None:
    fleet = Fleet(state() / "endpoints" / uuid.uuid4().hex)
    try:
        fleet.start(_variants(endpoint.backend, endpoint.config), partial(_log_of, endpoint))
    except Exception as error:  # noqa: BLE001 - whatever it is, the endpoint does not serve
        endpoint.change("Failed", f"The sandbox could not let it serve again: {error}")
        return
    endpoint.fleet, endpoint.endpoint_status = fleet, "InService"


def _summaries(
    config: Mapping[str, Any], every: list[Variant], retained: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    pairs = zip(_configured(config), every, strict=True)
    return [variants.summary(each, variant, retained.get(variant.name, {})) for each, variant in pairs]


def _shift(endpoint: Endpoint, serves: Serves, deployment: Mapping[str, Any], credentials: Mapping[str, str]) -> str:
    """Move the requests over; why they go back, or an empty text."""
    count = serves.production[0].get("DesiredInstanceCount", 1)
    return shifting.run(
        deployment,
        count,
        credentials,
        lambda share: endpoint.shift(serves, share),
        lambda status, message: _tell(endpoint, serves.production, status, message),
    )


def _tell(endpoint: Endpoint, summaries: list[dict[str, Any]], status: str, message: str) -> None:
    """How far the update is, for DescribeEndpoint; `{}` in a message is a variant's number of instances."""
    pending = [shifting.pending(each, status, message.format(each.get("DesiredInstanceCount"))) for each in summaries]
    with lock:
        endpoint.pending = {**(endpoint.pending or {}), "ProductionVariants": pending}
        endpoint.last_modified_time = utcnow()


def _give_up(endpoint: Endpoint, reason: str) -> None:
    if endpoint.fleet is None:
        endpoint.change("Failed", reason)
        return
    endpoint.change("RollingBack", reason)
    time.sleep(ROLLBACK_SECONDS)
    with lock:
        # The reason is gone with the rollback, only the config's name tells:
        # https://github.com/hashicorp/terraform-provider-aws/issues/48997
        endpoint.pending = None
        endpoint.change("InService")


def _remove(endpoint: Endpoint) -> None:
    if endpoint.fleet:
        endpoint.fleet.stop()
    del endpoint.backend.endpoints[endpoint.endpoint_name]


def _configured(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every variant of a config, the shadows last."""
    return [*config["ProductionVariants"], *config.get("ShadowProductionVariants", [])]


def _variants(backend: SageMakerModelBackend, config: Mapping[str, Any]) -> list[Variant]:
    variants_of_config = []
    for each in _configured(config):
        model = backend.describe_model(each["ModelName"])
        variants_of_config.append(
            Variant(
                name=each["VariantName"],
                role_arn=model.execution_role_arn,
                credentials=identity.sagemaker_credentials(model.execution_role_arn),
                containers=models.resolved_containers(backend, model.containers or [model.primary_container]),
                health_check_seconds=each.get("ContainerStartupHealthCheckTimeoutInSeconds", HEALTH_CHECK_SECONDS),
                serverless=each.get("ServerlessConfig"),
            )
        )
    return variants_of_config
