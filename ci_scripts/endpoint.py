"""Endpoints: does this one serve the asked model package, and what does it answer?

Called by `deploy`, which verifies after every deployment, and by `test`, which invokes. Nothing here changes one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ci_scripts import aws_errors, errors, job, text

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointConfigOutputTypeDef, DescribeEndpointOutputTypeDef
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
_SETTLED = {"InService", "OutOfService", "Failed", "UpdateRollbackFailed"}
_ASYNCHRONOUS = (
    "The endpoint is asynchronous (AsyncInferenceConfig in its configuration) and takes InvokeEndpointAsync alone, "
    "which this test does not call: test it with your own code, or deploy to this stage without AsyncInferenceConfig."
)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html: those below 500. Others are
# not the endpoint's fault, but that of the caller's credentials.
_INVOCATION_ERRORS = {"ModelError", "ModelNotReadyException", "ValidationError", "ThrottlingException"}


INFERENCE_ID = "sagemaker-ci"
"""Marks our own requests where an endpoint's data is captured: they are none of its callers'."""

_Description = TypeVar("_Description")


class Served(NamedTuple):
    """What a production variant serves by its model, or by one of the inference components in its place."""

    variant: str
    containers: Sequence[Mapping[str, Any]]
    """Those of the model; of what was deleted there are none."""
    component: str = ""
    """The inference component; empty for the variant's own model."""

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys(container_name(container) for container in self.containers)) or "nothing"

    @property
    def place(self) -> str:
        """What it is called in a message."""
        return f"variant {self.variant}" + (f", inference component {self.component}," if self.component else "")


class Expected(NamedTuple):
    """What an endpoint has to serve."""

    package: Mapping[str, Any]
    """The answer of DescribeModelPackage."""
    configs: Collection[str] = ()
    """The endpoint configurations that the stack holds now; none: whichever the endpoint runs on will do."""
    components: Collection[str] = ()
    """The inference components that the stack holds now: of each of them it is known what it has to serve."""
    deployed: str = ""
    """The text of what was deployed: beside the package, a variant may serve another model that is named there."""
    variants: Mapping[str, str] = {}
    """The model packages, by ARN, of production variants of which it is known that they serve another one."""


def describe(sagemaker: SageMakerClient, name: str) -> DescribeEndpointOutputTypeDef | None:
    """The answer of DescribeEndpoint; None when there is no such endpoint."""
    return _unless_missing(lambda: sagemaker.describe_endpoint(EndpointName=name))


def describe_config(sagemaker: SageMakerClient, name: str) -> DescribeEndpointConfigOutputTypeDef | None:
    """The answer of DescribeEndpointConfig; None when there is no such configuration."""
    return _unless_missing(lambda: sagemaker.describe_endpoint_config(EndpointConfigName=name))


def _unless_missing(describe: Callable[[], _Description]) -> _Description | None:
    # SageMaker has no error code of its own for what does not exist.
    from botocore.exceptions import ClientError

    try:
        return describe()
    except ClientError as error:
        if "could not find" in aws_errors.text(error).lower():
            return None
        raise


def is_settled(endpoint: Mapping[str, Any]) -> bool:
    """Whether nothing is going on: neither a deployment, ours or a person's, nor SageMaker's own patching."""
    return endpoint["EndpointStatus"] in _SETTLED and not endpoint.get("PendingDeploymentSummary")


def wait_until_settled(
    sagemaker: SageMakerClient, name: str, poll_seconds: float
) -> DescribeEndpointOutputTypeDef | None:
    """Wait while the endpoint is being created, updated or deleted. Returns its description, None when it is gone."""
    status = ""
    while (endpoint := describe(sagemaker, name)) is not None and not is_settled(endpoint):
        if endpoint["EndpointStatus"] != status:
            status = endpoint["EndpointStatus"]
            job.say(f"endpoint {name} is {status}, waiting")
        job.pause(poll_seconds)
    return endpoint


def require_updatable(sagemaker: SageMakerClient, name: str, stack: str, poll_seconds: float) -> None:
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


def verify(sagemaker: SageMakerClient, name: str, expected: Expected, poll_seconds: float) -> None:
    """Wait until the endpoint is at rest and prove, variant by variant, that it is InService and serves what it has to.

    An endpoint that is InService on another configuration than the stack's was silently rolled back. Shadow variants
    answer nobody and prove nothing. What an inference component serves that is not of this deployment is told.
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
    if expected.configs and config.lower() not in {each.lower() for each in expected.configs}:
        raise errors.EndpointRolledBack(
            f"endpoint {name} is InService, but on its previous configuration {config}{reason}"
        )
    serving = list(served(sagemaker, name, config))
    if others := not_as_deployed(serving, expected):
        what = (
            f"serves {others[0]}" if len(serving) <= 1 else "; ".join(f"{each.place} serves {each}" for each in others)
        )
        package = expected.package["ModelPackageArn"]
        raise errors.EndpointServesOtherModel(f"endpoint {name} {what}, not {package}{reason}")
    for each in serving:
        if each.component and not is_expected(each, expected):
            job.say(f"{each.place} serves {each}, which is not of this deployment")


def served(sagemaker: SageMakerClient, name: str, config: str) -> Iterator[Served]:
    """What each production variant of the endpoint `name`, which runs on the endpoint configuration `config`, serves.

    Raises InferenceComponentsUnseen.
    """
    # An endpoint keeps serving when its configuration or model was deleted; then nobody can say what it serves.
    description = describe_config(sagemaker, config)
    for variant in description["ProductionVariants"] if description else []:
        variant_name = variant["VariantName"]
        if model := variant.get("ModelName"):
            yield Served(variant_name, model_containers(sagemaker, model))
        else:
            components = _components(sagemaker, name, variant_name)
            yield from components or [Served(variant_name, [])]


def model_containers(sagemaker: SageMakerClient, model: str) -> Sequence[Mapping[str, Any]]:
    """The containers of a model; none when there is no such model."""
    description = _unless_missing(lambda: sagemaker.describe_model(ModelName=model))
    if description is None:
        return []
    return description.get("Containers") or [description["PrimaryContainer"]]


def _components(sagemaker: SageMakerClient, endpoint_name: str, variant: str) -> list[Served]:
    """What a variant's inference components serve, which take the place of its model.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_InferenceComponentSpecification.html: either names a
    model, or a container with its artifact, or is an adapter of another component.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    components: list[Served] = []
    try:
        pages = sagemaker.get_paginator("list_inference_components").paginate(
            EndpointNameEquals=endpoint_name, VariantNameEquals=variant
        )
        for summary in [each for page in pages for each in page["InferenceComponents"]]:
            name = summary["InferenceComponentName"]
            component = sagemaker.describe_inference_component(InferenceComponentName=name).get("Specification", {})
            containers: Sequence[Mapping[str, Any]] = []
            if component.get("ModelName"):
                containers = model_containers(sagemaker, component["ModelName"])
            elif container := component.get("Container"):
                image = container.get("DeployedImage", {}).get("SpecifiedImage", "")
                containers = [{"Image": image, "ModelDataUrl": container.get("ArtifactUrl", "")}]
            elif component.get("BaseInferenceComponentName"):
                continue  # an adapter without an artifact of its own: its base serves, and is asked itself
            components.append(Served(variant, containers, name))
    except (BotoCoreError, ClientError) as error:
        raise errors.InferenceComponentsUnseen(
            f"variant {variant} of the endpoint {endpoint_name} has inference components, and what they serve cannot "
            f"be seen: {error}"
        ) from error
    return components


def not_as_deployed(serving: Collection[Served], expected: Expected) -> list[Served]:
    """What serves neither the package nor another model that the deployment names; all of it, when none is the package.

    A variant with inference components is right by one of them: others may have been added by somebody else, but those
    of the stack have to be right each. For an endpoint without any variant, one that serves nothing.
    """
    own_variants = [each for each in serving if each.variant not in expected.variants]
    if not any(serves(container, expected.package) for each in own_variants for container in each.containers):
        return own_variants or [Served("", [])]
    right = {each.variant for each in serving if is_expected(each, expected)}
    components = {name.lower() for name in expected.components}
    return [
        each
        for each in serving
        if not is_expected(each, expected) and (each.variant not in right or each.component.lower() in components)
    ]


def is_expected(each: Served, expected: Expected) -> bool:
    """Whether it serves the model package, or another model that the deployment names: its variant's, where known."""
    if package := expected.variants.get(each.variant):
        return any(container.get("ModelPackageName") == package for container in each.containers)
    return any(
        serves(container, expected.package) or _names(expected.deployed, container_name(container))
        for container in each.containers
    )


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


def invoke(runtime: SageMakerRuntimeClient, endpoint_name: str, body: bytes, content_type: str) -> tuple[bytes, int]:
    """The endpoint's answer to one request, and how often the client `runtime` sent it again.

    Raises InvocationFailed with the container's own words.
    """
    from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

    try:
        answer = runtime.invoke_endpoint(
            EndpointName=endpoint_name, Body=body, ContentType=content_type, InferenceId=INFERENCE_ID
        )
        content: bytes = answer["Body"].read()
    except (HTTPClientError, IncompleteReadError) as error:  # a timeout, above all
        raise errors.InvocationFailed(f"endpoint {endpoint_name} did not answer: {error}") from error
    except ClientError as error:
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status < 500 and aws_errors.code(error) not in _INVOCATION_ERRORS:
            raise
        message = text.short(str(error.response.get("OriginalMessage") or aws_errors.text(error)), 2000)
        raise errors.InvocationFailed(
            f"endpoint {endpoint_name} answered with an error: {message}",
            hint=_ASYNCHRONOUS if refuses_as_asynchronous(error) else None,
        ) from error
    return content, answer["ResponseMetadata"].get("RetryAttempts", 0)


def refuses_as_asynchronous(error: Any) -> bool:
    """Whether SageMaker itself, not the container, refused a request because the endpoint is an asynchronous one.

    No code tells: it is a ValidationError like any other.
    """
    return aws_errors.code(error) == "ValidationError" and "async" in aws_errors.text(error).lower()
