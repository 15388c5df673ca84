"""What DescribeEndpoint tells of a variant, and how its weight and count outlive an update.

endpoints.py asks for both; values alone, no calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.core.utils import utcnow

from sandbox.aws.sagemaker.serving import Variant

RETAINED = {"DesiredInstanceCount": "InstanceCount", "DesiredWeight": "Weight"}
"""VariantPropertyType to what stands after Current and Desired in a summary. The third, DataCaptureConfig, is no
variant's own."""


def summary(config: Mapping[str, Any], variant: Variant, retained_values: Mapping[str, Any]) -> dict[str, Any]:
    """A ProductionVariantSummary. `retained_values`: weight and count that do not come from the config."""
    deployed = [{"SpecifiedImage": each["Image"], "ResolutionTime": utcnow()} for each in variant.containers]
    answer: dict[str, Any] = {"VariantName": variant.name, "DeployedImages": deployed}
    values = {"Weight": config.get("InitialVariantWeight", 1.0), **retained_values}
    if serverless := config.get("ServerlessConfig"):
        values |= {"ServerlessConfig": serverless}
        values.pop("InstanceCount", None)
    else:
        values = {"InstanceCount": config.get("InitialInstanceCount", 1)} | values
    for name, value in values.items():
        answer |= {f"Current{name}": value, f"Desired{name}": value}
    if pools := config.get("InstancePools"):
        answer["InstancePools"] = _pools(pools, values["InstanceCount"])
    if "RoutingConfig" in config:
        answer["RoutingConfig"] = config["RoutingConfig"]
    return answer


def _pools(pools: list[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """There is always capacity here: all instances are of the type that is tried first."""
    first = min(pools, key=lambda pool: pool["Priority"])
    return [
        {"InstanceType": pool["InstanceType"], "CurrentInstanceCount": count if pool is first else 0} for pool in pools
    ]


def change(summaries: list[dict[str, Any]], desired: Mapping[str, Any]) -> None:
    """Give one variant another weight, count or limits: a DesiredWeightAndCapacity, as a summary shows it."""
    summary = next(each for each in summaries if each["VariantName"] == desired["VariantName"])
    for name in RETAINED:
        if name in desired:
            part = RETAINED[name]
            summary |= {f"Current{part}": desired[name], f"Desired{part}": desired[name]}
    if limits := desired.get("ServerlessUpdateConfig"):
        merged = {**summary["CurrentServerlessConfig"], **limits}
        summary |= {"CurrentServerlessConfig": merged, "DesiredServerlessConfig": merged}
    if "InstancePools" in summary and "DesiredInstanceCount" in desired:
        counts = [each["CurrentInstanceCount"] for each in summary["InstancePools"]]
        first = counts.index(max(counts))
        summary["InstancePools"][first]["CurrentInstanceCount"] = desired["DesiredInstanceCount"]


def retained(summaries: list[dict[str, Any]], update: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By variant, what an update (UpdateEndpoint's parameters) keeps of it, where it keeps its name."""
    parts = [part for name, part in RETAINED.items() if keeps(update, name)]
    return {
        each["VariantName"]: {part: each[f"Desired{part}"] for part in parts if f"Desired{part}" in each}
        for each in summaries
    }


def keeps(update: Mapping[str, Any], property_type: str) -> bool:
    """Whether an update keeps a VariantPropertyType of what served before."""
    excluded = [each["VariantPropertyType"] for each in update.get("ExcludeRetainedVariantProperties") or []]
    return bool(update.get("RetainAllVariantProperties")) and property_type not in excluded
