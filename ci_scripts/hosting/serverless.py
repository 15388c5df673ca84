"""Serverless hosting: an endpoint that runs on demand and costs nothing while nobody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from ci_scripts import endpoint, list_prices
from ci_scripts.aws import Aws
from ci_scripts.hosting.foreign import (
    BATCH,
    CAPTURE,
    INSTANCES,
    INVOCATIONS,
    ISOLATION,
    KEY,
    POOL,
    QUEUE,
    SCALING,
    SECOND_MODEL,
    START,
    TOPICS,
    VPC,
    reasons,
)
from ci_scripts.hosting.kind import Objection, Predictor
from ci_scripts.hosting.on_endpoint import OnEndpoint
from ci_scripts.list_prices import Usage


class Serverless(OnEndpoint):
    """See `Hosting`."""

    name = "serverless"
    template_file = "serverless-template.yml"
    # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
    unguarded = "SageMaker has deployment guardrails for real-time and asynchronous endpoints alone"
    # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html, under "Feature exclusions"
    foreign: Mapping[str, str] = reasons(
        (
            (*INSTANCES, *POOL, *START),
            "a serverless endpoint has no instances: its size is MemorySizeInMB and MaxConcurrency",
        ),
        (
            (*SCALING, *INVOCATIONS),
            "a serverless endpoint has no instances to scale: it answers up to MaxConcurrency requests at a time, and "
            "MaxProvisionedConcurrency lets those scale that are kept awake",
        ),
        (CAPTURE, "SageMaker captures no data of serverless endpoints"),
        (VPC, "SageMaker puts no serverless endpoint into a VPC"),
        (ISOLATION, "SageMaker isolates no serverless endpoint's model from the network"),
        (KEY, "a serverless endpoint has no volume to encrypt"),
        (SECOND_MODEL, "a serverless endpoint has one production variant, and no shadow variant"),
        ((*QUEUE, *TOPICS), "is an asynchronous endpoint's: a serverless one answers at once"),
        (BATCH, "is a batch transform's: an endpoint gets its rows from callers"),
    )

    def objections(self, parameters: Mapping[str, str]) -> Iterator[Objection]:
        numbers = {name: int(value) for name, value in parameters.items() if value.isdecimal()}
        most, awake = numbers.get("MaxConcurrency"), numbers.get("ProvisionedConcurrency", 0)
        if most is not None and awake > most:
            yield Objection("ProvisionedConcurrency", f"{awake} is more than MaxConcurrency, {most}")
        largest, least = numbers.get("MaxProvisionedConcurrency", 0), numbers.get("MinProvisionedConcurrency", 1)
        if not largest:
            return
        if most is not None and largest > most:
            yield Objection("MaxProvisionedConcurrency", f"{largest} is more than MaxConcurrency, {most}")
        if least > largest:
            yield Objection("MinProvisionedConcurrency", f"{least} is more than MaxProvisionedConcurrency, {largest}")
        # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-autoscale.html
        if not awake:
            yield Objection("ProvisionedConcurrency", "is 0: autoscaling begins with what is provisioned at first")

    def usages(self, parameters: Mapping[str, str]) -> Sequence[Usage]:
        memory, awake = parameters.get("MemorySizeInMB", ""), parameters.get("ProvisionedConcurrency", "")
        if not memory.isdecimal():
            return []
        size = f"{int(memory) // 1024}GB"
        used = [Usage(f"{size} of memory", f"ServerlessInf:Mem-{size}", paid=list_prices.REQUEST)]
        if awake.isdecimal() and int(awake):  # its name in AWS's list could not be looked up
            used.append(Usage(f"{awake} of provisioned concurrency", "", paid=list_prices.REQUEST))
        return used

    def predictor(self, aws: Aws, endpoint_name: str) -> Predictor:
        patient = partial(endpoint.invoke, aws.steady_runtime, endpoint_name)
        return Predictor(
            once=patient,  # throttling is waited out
            patient=patient,
            concurrent=lambda threads: partial(endpoint.invoke, aws.concurrent_runtime(threads), endpoint_name),
            sleeps=True,
        )
