"""What an endpoint config may not hold together: the service's own exclusions between kinds of hosting.

endpoint_configs.py asks for every new one. Which features exclude each other is AWS's list; the sentences are of the
kind that users have seen ("Marketplace images are not supported when specifying an AsyncInferenceConfig.").
https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html#serverless-endpoints-how-it-works-exclusions
https://docs.aws.amazon.com/sagemaker/latest/dg/shadow-tests-exclusions.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

MEMORY_SIZES = (1024, 2048, 3072, 4096, 5120, 6144)


class Hosted(NamedTuple):
    """What of a model matters here: its containers, with model packages resolved, and its network."""

    containers: list[Mapping[str, Any]]
    has_vpc: bool
    is_isolated: bool

    @property
    def has_private_registry(self) -> bool:
        return any(each.get("ImageConfig", {}).get("RepositoryAccessMode") == "Vpc" for each in self.containers)

    @property
    def has_many_models(self) -> bool:
        return any(each.get("Mode") == "MultiModel" for each in self.containers)


def problems(request: Mapping[str, Any], models: Mapping[str, Hosted]) -> Iterator[str]:
    """Every reason for which CreateEndpointConfig refuses a request; `models` by name."""
    variants, shadows = request["ProductionVariants"], request.get("ShadowProductionVariants") or []
    names = [each["VariantName"] for each in (*variants, *shadows)]
    for name in sorted({each for each in names if names.count(each) > 1}):
        yield f'The variant name "{name}" was non-unique within the request.'
    for member, group in (("productionVariants", variants), ("shadowProductionVariants", shadows)):
        for number, variant in enumerate(group, start=1):
            yield from _of_variant(variant, f"{member}.{number}.member")
    # https://github.com/hashicorp/terraform-provider-aws/pull/45926, /issues/48740 and /pull/48738; every variant that
    # names a model is none of inference components.
    for what in ("VpcConfig", "EnableNetworkIsolation"):
        if request.get(what):
            yield f"{what} is only supported for inference component endpoints."
    if any("ManagedInstanceScaling" in each for each in (*variants, *shadows)):
        yield "ManagedInstanceScaling is only supported for inference component endpoints."
    if any("ServerlessConfig" in each for each in (*variants, *shadows)):
        yield from _of_serverless(request, models)
    if shadows:
        yield from _of_shadows(request, models)


def _of_variant(variant: Mapping[str, Any], path: str) -> Iterator[str]:
    kinds = [each for each in ("InstanceType", "InstancePools", "ServerlessConfig") if each in variant]
    name = variant["VariantName"]
    if not kinds:
        yield f'Production variant "{name}" must specify one of InstanceType, InstancePools or ServerlessConfig.'
    elif len(kinds) > 1:
        yield f'Production variant "{name}" must not specify {" and ".join(kinds)} together.'
    if "ServerlessConfig" in variant:
        yield from _of_limits(variant, path)


def _of_limits(variant: Mapping[str, Any], path: str) -> Iterator[str]:
    limits, name = variant["ServerlessConfig"], variant["VariantName"]
    if limits["MemorySizeInMB"] not in MEMORY_SIZES:
        yield (
            f"1 validation error detected: Value '{limits['MemorySizeInMB']}' at '{path}.serverlessConfig."
            f"memorySizeInMB' failed to satisfy constraint: Member must satisfy enum value set: {list(MEMORY_SIZES)}"
        )
    if limits.get("ProvisionedConcurrency", 0) > limits["MaxConcurrency"]:
        yield (
            f"ProvisionedConcurrency {limits['ProvisionedConcurrency']} must be less than or equal to MaxConcurrency "
            f'{limits["MaxConcurrency"]} of production variant "{name}".'
        )
    if "InitialInstanceCount" in variant:
        yield "InitialInstanceCount is not supported when specifying a ServerlessConfig."


def _of_serverless(request: Mapping[str, Any], models: Mapping[str, Hosted]) -> Iterator[str]:
    hosted = [models[each["ModelName"]] for each in request["ProductionVariants"]]
    capture = request.get("DataCaptureConfig") or {}
    conflicts = {
        "Multiple production variants are": len(hosted) > 1,
        "Shadow production variants are": bool(request.get("ShadowProductionVariants")),
        "AsyncInferenceConfig is": bool(request.get("AsyncInferenceConfig")),
        "Data capture is": bool(capture) and capture.get("EnableCapture", True),
        "VPC configuration is": any(each.has_vpc for each in hosted),
        "Network isolation is": any(each.is_isolated for each in hosted),
        "Inference pipelines are": any(len(each.containers) > 1 for each in hosted),
        "Multi-model endpoints are": any(each.has_many_models for each in hosted),
        "Private Docker registries are": any(each.has_private_registry for each in hosted),
    }
    yield from (
        f"{what} not supported when specifying a ServerlessConfig." for what, holds in conflicts.items() if holds
    )


def _of_shadows(request: Mapping[str, Any], models: Mapping[str, Hosted]) -> Iterator[str]:
    both = [*request["ProductionVariants"], *request["ShadowProductionVariants"]]
    if len(both) > 2:
        yield (
            "When specifying ShadowProductionVariants, you can only specify one variant for ProductionVariants and one "
            "variant for ShadowProductionVariants."
        )
    hosted = [models[each["ModelName"]] for each in both]
    types = [
        pool["InstanceType"]
        for each in both
        for pool in [each, *(each.get("InstancePools") or [])]
        if "InstanceType" in pool
    ]
    conflicts = {
        "AsyncInferenceConfig is": bool(request.get("AsyncInferenceConfig")),
        "Multi-container models are": any(len(each.containers) > 1 for each in hosted),
        "Multi-model endpoints are": any(each.has_many_models for each in hosted),
        "Inf1 instances are": any(each.startswith("ml.inf1.") for each in types),
    }
    yield from (
        f"{what} not supported when specifying ShadowProductionVariants." for what, holds in conflicts.items() if holds
    )
