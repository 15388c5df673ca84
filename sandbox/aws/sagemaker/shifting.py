"""Deployment guardrails: the requests move over to a new fleet in steps, and back when an alarm goes off.

endpoints.py has both fleets. The texts of statuses are those of AWS's published event; those of refusals and reasons
are our own, as it publishes the rules and not the texts.
https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from moto.core.utils import utcnow

from sandbox.aws.access import identity
from sandbox.aws.cloudwatch import SCALE

Config = Mapping[str, Any]
_LOOK_SECONDS = 0.1
_LEAST = {"CANARY": 1, "LINEAR": 10, "ROLLING": 5}  # percent
_SIZES = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize", "ROLLING": "MaximumBatchSize"}


class Step(NamedTuple):
    """A part of the new fleet that gets requests, and for how long alarms watch it."""

    instances: int
    share: float
    """Of the requests: whole instances of the new fleet out of all of them."""
    capacity: str
    """What the part is called in messages."""
    seconds: int
    """Of the service, not of this machine."""
    waited_for: str


def kind(deployment: Config) -> str:
    if "RollingUpdatePolicy" in deployment:
        return "ROLLING"
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    return str(routing.get("Type", "ALL_AT_ONCE"))


def _policy(deployment: Config) -> Config:
    policy: Config = deployment.get("RollingUpdatePolicy") or deployment.get("BlueGreenUpdatePolicy") or {}
    return policy


def _routing(deployment: Config) -> Config:
    policy = _policy(deployment)
    routing: Config = policy.get("TrafficRoutingConfiguration", policy)
    return routing


def problems(deployment: Config, config: Config, counts: Sequence[int]) -> Iterator[str]:
    """Why UpdateEndpoint refuses a DeploymentConfig, for an endpoint config whose variants have so many instances."""
    if "RollingUpdatePolicy" in deployment and "BlueGreenUpdatePolicy" in deployment:
        yield "Only one update policy can be specified in a DeploymentConfig."
        return
    way = kind(deployment)
    serverless = any("ServerlessConfig" in each for each in config["ProductionVariants"])
    if way == "ROLLING" and (serverless or len(counts) > 1):
        yield "Rolling deployments support neither serverless nor multi-variant endpoints."
        return
    if name := _SIZES.get(way):
        size = _routing(deployment).get(name)
        if size is None:
            yield f"{name} must be specified for a deployment of type {way}."
            return
        yield from _size_problems(name, size, _LEAST[way], counts)
    limit = _policy(deployment).get("MaximumExecutionTimeoutInSeconds")
    waits = sum(step.seconds for step in steps(deployment, min(counts)))
    if limit is not None and waits >= limit:
        yield (
            f"MaximumExecutionTimeoutInSeconds ({limit}) must be larger than the total waiting time of the deployment "
            f"({waits} seconds)."
        )


def _size_problems(name: str, size: Config, least: int, counts: Sequence[int]) -> Iterator[str]:
    for count in counts:
        percent = size["Value"] if size["Type"] == "CAPACITY_PERCENT" else 100 * size["Value"] / count
        if not least <= percent <= 50:
            yield f"{name} must be {least}-50% of the variant's total instance count, which is {count}."


def falls_back(config: Config) -> bool:
    """Whether the service leaves guardrails out: all requests move at once, and no alarm is watched."""
    return any(each.get("InstanceType", "").startswith("ml.inf1.") for each in config["ProductionVariants"])


def steps(deployment: Config, count: int) -> list[Step]:
    """The steps for a variant of so many instances."""
    way, routing = kind(deployment), _routing(deployment)
    wait, final = routing.get("WaitIntervalInSeconds", 0), _policy(deployment).get("TerminationWaitInSeconds", 0)
    whole = Step(count, 1.0, "full capacity", final, "TerminationWaitInSeconds")
    if way == "ALL_AT_ONCE":
        return [whole]
    batch = _instances(routing[_SIZES[way]], count)
    if way == "CANARY":
        return [Step(batch, min(batch / count, 1.0), "canary capacity", wait, "WaitIntervalInSeconds"), whole]
    parts = [*range(batch, count, batch), count]
    batches = [Step(part, part / count, "capacity", wait, "WaitIntervalInSeconds") for part in parts]
    return batches if way == "ROLLING" else [*batches[:-1], whole]


def _instances(size: Config, count: int) -> int:
    if size["Type"] == "INSTANCE_COUNT":
        return int(size["Value"])
    return max(1, math.ceil(count * int(size["Value"]) / 100))


def run(
    deployment: Config,
    count: int,
    credentials: Mapping[str, str],
    turn_on: Callable[[float], None],
    tell: Callable[[str, str], None],
) -> str:
    """Take the steps; the reason to go back, or an empty text.

    `turn_on` gives the new fleet a share of the requests, `tell` hears each status with its message. SageMaker looks at
    the alarms with `credentials`, those of the model's role.
    """
    alarms = [each["AlarmName"] for each in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])]
    for step in steps(deployment, count):
        tell("ActivatingTraffic", f"Activating traffic on {step.capacity} of {step.instances} instance(s).")
        turn_on(step.share)
        what = f"Baking for {step.seconds} seconds ({step.waited_for}) with traffic enabled on {step.capacity}"
        tell("Baking", f"{what} of {step.instances} instance(s).")
        until = time.monotonic() + step.seconds * SCALE
        while True:
            if reason := _alarmed(alarms, credentials):
                return reason
            if time.monotonic() >= until:
                break
            time.sleep(_LOOK_SECONDS)
    return ""


def _alarmed(alarms: list[str], credentials: Mapping[str, str]) -> str:
    if not alarms:
        return ""
    try:
        alarms_now = identity.client("cloudwatch", credentials).describe_alarms(AlarmNames=alarms)
    except ClientError as error:
        return f"The auto-rollback alarms cannot be described: {error.response['Error']['Message']}"
    on = [each["AlarmName"] for each in alarms_now["MetricAlarms"] if each["StateValue"] == "ALARM"]
    return f"The following auto-rollback alarms are in ALARM state: {', '.join(on)}." if on else ""


def pending(summary: Mapping[str, Any], status: str, message: str) -> dict[str, Any]:
    """A PendingProductionVariantSummary of a variant that will be `summary`."""
    names = ("VariantName", "CurrentWeight", "DesiredWeight", "CurrentInstanceCount", "DesiredInstanceCount")
    now = {"Status": status, "StatusMessage": message, "StartTime": utcnow()}
    return {name: summary[name] for name in names if name in summary} | {"VariantStatus": [now]}
