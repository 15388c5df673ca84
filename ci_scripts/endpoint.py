"""Endpoints: does this one serve the asked model package, and what does it answer?

Called by `deploy`, which verifies after every deployment, and by `test`, which invokes. Nothing here changes one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ci_scripts import aws, errors, job

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
_SETTLED = {"InService", "OutOfService", "Failed", "UpdateRollbackFailed"}
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html: those below 500. Others are
# not the endpoint's fault, but that of the caller's credentials.
_INVOCATION_ERRORS = {"ModelError", "ModelNotReadyException", "ValidationError", "ThrottlingException"}


def describe(sagemaker: Any, name: str) -> dict[str, Any] | None:
    """The answer of DescribeEndpoint; None when there is no such endpoint."""
    return _unless_missing(sagemaker.describe_endpoint, EndpointName=name)


def describe_config(sagemaker: Any, name: str) -> dict[str, Any] | None:
    """The answer of DescribeEndpointConfig; None when there is no such configuration."""
    return _unless_missing(sagemaker.describe_endpoint_config, EndpointConfigName=name)


def _unless_missing(operation: Callable[..., dict[str, Any]], **request: str) -> dict[str, Any] | None:
    # SageMaker has no error code of its own for what does not exist.
    from botocore.exceptions import ClientError

    try:
        return operation(**request)
    except ClientError as error:
        if "could not find" in aws.error_text(error).lower():
            return None
        raise


def is_settled(endpoint: Mapping[str, Any]) -> bool:
    """Whether nothing is going on: neither a deployment, ours or a person's, nor SageMaker's own patching."""
    return endpoint["EndpointStatus"] in _SETTLED and not endpoint.get("PendingDeploymentSummary")


def wait_until_settled(sagemaker: Any, name: str, poll_seconds: float) -> dict[str, Any] | None:
    """Wait while the endpoint is being created, updated or deleted. Returns its description, None when it is gone."""
    shown = ""
    while (endpoint := describe(sagemaker, name)) is not None and not is_settled(endpoint):
        if endpoint["EndpointStatus"] != shown:
            shown = endpoint["EndpointStatus"]
            job.say(f"endpoint {name} is {shown}, waiting")
        job.pause(poll_seconds)
    return endpoint


def require_updatable(sagemaker: Any, name: str, stack: str, poll_seconds: float) -> None:
    """Wait until the endpoint can take an update. Raises EndpointBeyondRepair when it never will.

    UpdateEndpoint is refused while the endpoint changes, and for ever once it is Failed or once the configuration that
    it runs on was deleted; the stack update would fail on it, and so might its rollback, which leaves a stack that
    nobody can update.
    """
    endpoint = wait_until_settled(sagemaker, name, poll_seconds)
    if endpoint is None:
        return
    config = endpoint["EndpointConfigName"]
    if endpoint["EndpointStatus"] == "InService" and describe_config(sagemaker, config) is None:
        raise errors.EndpointBeyondRepair(
            f"endpoint {name} runs on the configuration {config}, which was deleted: SageMaker refuses to update it",
            hint="Create an endpoint configuration of that name again, a copy of another one, then run this job again.",
        )
    if endpoint["EndpointStatus"] == "Failed":
        raise errors.EndpointBeyondRepair(
            f"endpoint {name} is Failed and cannot be updated: {endpoint.get('FailureReason', 'no reason given')}",
            hint=f"It serves nothing and can only be deleted: delete the stack {stack}, then run this job again.",
        )


def verify(
    sagemaker: Any,
    name: str,
    package: Mapping[str, Any],
    configs: Collection[str],
    poll_seconds: float,
) -> dict[str, Any]:
    """Wait until the endpoint is at rest and prove that it is InService and serves the model package.

    `package` is the answer of DescribeModelPackage; `configs` names the endpoint configurations that the stack holds
    now: an endpoint InService on another one was silently rolled back.
    Raises EndpointMissing, EndpointNotInService, EndpointRolledBack or EndpointServesOtherModel.
    """
    endpoint = wait_until_settled(sagemaker, name, poll_seconds)
    if endpoint is None:
        raise errors.EndpointMissing(f"there is no endpoint {name}")
    reason = f": {endpoint['FailureReason']}" if endpoint.get("FailureReason") else ""
    if endpoint["EndpointStatus"] != "InService":
        raise errors.EndpointNotInService(f"endpoint {name} is {endpoint['EndpointStatus']}{reason}")
    config = endpoint["EndpointConfigName"]
    # ARNs, from which the stack's names may come, hold names in lower case.
    if configs and config.lower() not in {each.lower() for each in configs}:
        raise errors.EndpointRolledBack(
            f"endpoint {name} is InService, but on its previous configuration {config}{reason}"
        )
    serving = list(containers(sagemaker, config))
    if not any(serves(container, package) for container in serving):
        found = ", ".join(dict.fromkeys(container_name(container) for container in serving)) or "nothing"
        raise errors.EndpointServesOtherModel(
            f"endpoint {name} serves {found}, not {package['ModelPackageArn']}{reason}"
        )
    return endpoint


def containers(sagemaker: Any, config: str) -> Iterator[dict[str, Any]]:
    """The containers of all models behind the variants, shadow variants included, of an endpoint configuration."""
    answer = describe_config(sagemaker, config) or {}
    for variant in [*answer.get("ProductionVariants", []), *answer.get("ShadowProductionVariants", [])]:
        if "ModelName" in variant:
            # An endpoint keeps serving when its configuration or model was deleted; then nobody can say what it serves.
            model = _unless_missing(sagemaker.describe_model, ModelName=variant["ModelName"]) or {}
            yield from model.get("Containers") or [model["PrimaryContainer"]] if model else []


def serves(container: Mapping[str, Any], package: Mapping[str, Any]) -> bool:
    """Whether a model's container is the model package, by name or because image and model data are the package's."""
    if container.get("ModelPackageName"):
        return bool(container["ModelPackageName"] == package["ModelPackageArn"])
    parts = package.get("InferenceSpecification", {}).get("Containers", [])
    return any(_image_and_data(container) == _image_and_data(part) for part in parts)


def container_name(container: Mapping[str, Any]) -> str:
    """What a container is called in a message: its model package, else the model data it loads."""
    image, data = _image_and_data(container)
    return container.get("ModelPackageName") or data or image


def _image_and_data(container: Mapping[str, Any]) -> tuple[str, str]:
    source = container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri", "")
    return container.get("Image", ""), container.get("ModelDataUrl") or source


def invoke(runtime: Any, endpoint_name: str, body: bytes, content_type: str) -> bytes:
    """The endpoint's answer to one request. Raises InvocationFailed with the container's own words."""
    from botocore.exceptions import ClientError, HTTPClientError

    try:
        answer = runtime.invoke_endpoint(EndpointName=endpoint_name, Body=body, ContentType=content_type)
        content: bytes = answer["Body"].read()
    except HTTPClientError as error:  # a timeout, above all
        raise errors.InvocationFailed(f"endpoint {endpoint_name} did not answer: {error}") from error
    except ClientError as error:
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status < 500 and aws.error_code(error) not in _INVOCATION_ERRORS:
            raise
        said = error.response.get("OriginalMessage") or aws.error_text(error)
        raise errors.InvocationFailed(f"endpoint {endpoint_name} answered with an error: {said}") from error
    return content
