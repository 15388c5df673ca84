"""Endpoints: does this one serve the asked model package, and what does it answer?

Called by `deploy`, which verifies after every deployment, and by `test`, which invokes. Nothing here changes one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from ci_scripts import aws, errors, job, text

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
_SETTLED = {"InService", "OutOfService", "Failed", "UpdateRollbackFailed"}
_ASYNCHRONOUS = (
    "The endpoint is asynchronous (AsyncInferenceConfig in its configuration) and takes InvokeEndpointAsync alone, "
    "which this test does not call: test it with your own code, or deploy to this stage without AsyncInferenceConfig."
)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html: those below 500. Others are
# not the endpoint's fault, but that of the caller's credentials.
_INVOCATION_ERRORS = {"ModelError", "ModelNotReadyException", "ValidationError", "ThrottlingException"}


class Served(NamedTuple):
    """What a production variant serves."""

    variant: str
    containers: list[dict[str, Any]]
    """Those of its model or, when it has none, of its inference components; of what was deleted there are none."""

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys(container_name(container) for container in self.containers)) or "nothing"


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

    UpdateEndpoint is refused while the endpoint changes, and permanently once it is Failed or once the configuration
    that it runs on was deleted; the stack update would fail on it, and so might its rollback, which leaves a stack that
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
    also: str = "",
) -> dict[str, Any]:
    """Wait until the endpoint is at rest and prove that it is InService and serves the model package.

    `package` is the answer of DescribeModelPackage; `configs` names the endpoint configurations that the stack holds
    now: an endpoint InService on another one was silently rolled back. `also` is the text of what was deployed: beside
    the variants that serve the package (shadow variants answer nobody) there may be others, of the models named there.
    Raises EndpointMissing, EndpointNotInService, EndpointRolledBack, EndpointServesOtherModel or
    InferenceComponentsUnseen.
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
    variants = list(served(sagemaker, name, config))
    if others := not_as_deployed(variants, package, also):
        what = (
            f"serves {others[0]}"
            if len(variants) <= 1
            else "; ".join(f"variant {each.variant} serves {each}" for each in others)
        )
        raise errors.EndpointServesOtherModel(f"endpoint {name} {what}, not {package['ModelPackageArn']}{reason}")
    return endpoint


def served(sagemaker: Any, name: str, config: str) -> Iterator[Served]:
    """What each production variant of the endpoint `name`, which runs on the endpoint configuration `config`, serves.

    Raises InferenceComponentsUnseen.
    """
    # An endpoint keeps serving when its configuration or model was deleted; then nobody can say what it serves.
    for variant in (describe_config(sagemaker, config) or {}).get("ProductionVariants", []):
        model = variant.get("ModelName")
        found = _model_containers(sagemaker, model) if model else _components(sagemaker, name, variant["VariantName"])
        yield Served(variant["VariantName"], found)


def _model_containers(sagemaker: Any, model: str) -> list[dict[str, Any]]:
    description = _unless_missing(sagemaker.describe_model, ModelName=model) or {}
    return description.get("Containers") or ([description["PrimaryContainer"]] if description else [])


def _components(sagemaker: Any, endpoint_name: str, variant: str) -> list[dict[str, Any]]:
    """The containers of a variant's inference components, which take the place of its model.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_InferenceComponentSpecification.html: either names a
    model, or a container with its artifact, or is an adapter of another component.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    containers: list[dict[str, Any]] = []
    try:
        pages = sagemaker.get_paginator("list_inference_components").paginate(
            EndpointNameEquals=endpoint_name, VariantNameEquals=variant
        )
        for summary in [each for page in pages for each in page["InferenceComponents"]]:
            name = summary["InferenceComponentName"]
            component = sagemaker.describe_inference_component(InferenceComponentName=name).get("Specification", {})
            if component.get("ModelName"):
                containers += _model_containers(sagemaker, component["ModelName"])
            elif container := component.get("Container"):
                image = container.get("DeployedImage", {}).get("SpecifiedImage", "")
                containers.append({"Image": image, "ModelDataUrl": container.get("ArtifactUrl", "")})
    except (BotoCoreError, ClientError) as error:
        raise errors.InferenceComponentsUnseen(
            f"variant {variant} of the endpoint {endpoint_name} has inference components, and what they serve cannot "
            f"be seen: {error}"
        ) from error
    return containers


def not_as_deployed(variants: Collection[Served], package: Mapping[str, Any], also: str) -> list[Served]:
    """The variants that serve neither the package nor another model that the text `also` names.

    All of them, when none serves the package; for an endpoint without any variant, one that serves nothing.
    """
    right = [each for each in variants if any(serves(container, package) for container in each.containers)]
    if not right:
        return list(variants) or [Served("", [])]
    return [
        each
        for each in variants
        if each not in right and not any(_names(also, container_name(container)) for container in each.containers)
    ]


def _names(text: str, name: str) -> bool:
    """Whether the text holds the name as a word: version 1 is not named by version 12."""
    return bool(name) and re.search(rf"(?<![\w/:.-]){re.escape(name)}(?![\w/-])", text) is not None


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


def invoke(runtime: Any, endpoint_name: str, body: bytes, content_type: str) -> tuple[bytes, int]:
    """The endpoint's answer to one request, and how often the client `runtime` sent it again.

    Raises InvocationFailed with the container's own words.
    """
    from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

    try:
        answer = runtime.invoke_endpoint(EndpointName=endpoint_name, Body=body, ContentType=content_type)
        content: bytes = answer["Body"].read()
    except (HTTPClientError, IncompleteReadError) as error:  # a timeout, above all
        raise errors.InvocationFailed(f"endpoint {endpoint_name} did not answer: {error}") from error
    except ClientError as error:
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status < 500 and aws.error_code(error) not in _INVOCATION_ERRORS:
            raise
        said = text.short(error.response.get("OriginalMessage") or aws.error_text(error), 2000)
        raise errors.InvocationFailed(
            f"endpoint {endpoint_name} answered with an error: {said}",
            hint=_ASYNCHRONOUS if refuses_as_asynchronous(error) else None,
        ) from error
    return content, answer["ResponseMetadata"].get("RetryAttempts", 0)


def refuses_as_asynchronous(error: Any) -> bool:
    """Whether SageMaker itself, not the container, refused a request because the endpoint is an asynchronous one.

    No code tells: it is a ValidationError like any other.
    """
    return aws.error_code(error) == "ValidationError" and "async" in aws.error_text(error).lower()
