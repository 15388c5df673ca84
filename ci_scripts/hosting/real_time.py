"""Real-time hosting: an endpoint with instances of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from ci_scripts import export
from ci_scripts.hosting.foreign import BATCH, ON_DEMAND, QUEUE, TOPICS, reasons
from ci_scripts.hosting.kind import Objection
from ci_scripts.hosting.on_endpoint import OnEndpoint
from ci_scripts.settings import Project

_SERVERLESS = "is a serverless endpoint's"
_ASYNCHRONOUS = "is an asynchronous endpoint's"


class RealTime(OnEndpoint):
    """See `Hosting`."""

    name = export.REAL_TIME
    template_file = "endpoint-config-template.yml"
    foreign: Mapping[str, str] = reasons(
        (ON_DEMAND, "is a serverless endpoint's: instances have their memory, and are always awake"),
        ((*QUEUE, *TOPICS), "is an asynchronous endpoint's: a real-time one answers at once"),
        (BATCH, "is a batch transform's: an endpoint gets its rows from callers"),
        (("SixthInstanceType",), "SageMaker tries at most five instance types for a variant"),
    )
    package_parameters: Mapping[str, str] = {"ChallengerModelPackageName": "Challenger", "ShadowModelPackageName": ""}

    def parameters(self, project: Project, stage: str, role: str) -> dict[str, str | None]:
        capture = f"s3://{project.artifact_bucket}/datacapture-{stage}"
        return {**super().parameters(project, stage, role), "DataCaptureUploadPath": capture}

    def objections(self, parameters: Mapping[str, str]) -> Iterator[Objection]:
        # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
        if parameters.get("ChallengerModelPackageName") and parameters.get("ShadowModelPackageName"):
            yield Objection(
                "ShadowModelPackageName", "an endpoint with a shadow variant has one production variant alone"
            )
        yield from missing_in_vpc(parameters)
        yield from scaling_objections(parameters)
        yield from pools(parameters)


def missing_in_vpc(parameters: Mapping[str, str]) -> Iterator[Objection]:
    """Subnets without security groups, or the other way round."""
    names = ("VpcSubnetIds", "VpcSecurityGroupIds")
    present = [name for name in names if parameters.get(name)]
    if len(present) == 1:
        missing = next(name for name in names if name not in present)
        yield Objection(missing, f"is missing: a model in a VPC has both, {present[0]} is set")


def scaling_objections(parameters: Mapping[str, str]) -> Iterator[Objection]:
    """A largest number of instances below the least or the first one."""
    largest = _number(parameters.get("MaxInstanceCount", ""))
    if not largest:
        return
    for name in ("MinInstanceCount", "EndpointInstanceCount"):
        number = _number(parameters.get(name, ""))
        if number is not None and number > largest:
            yield Objection(name, f"{number} is more than MaxInstanceCount, {largest}")


def pools(parameters: Mapping[str, str]) -> Iterator[Objection]:
    """Instance types with a gap between them, or twice the same."""
    names = ["EndpointInstanceType", *(f"{each}InstanceType" for each in ("Second", "Third", "Fourth", "Fifth"))]
    for before, name in itertools.pairwise(names):
        value = parameters.get(name, "")
        if value and before in parameters and not parameters[before]:
            yield Objection(name, f"is set, and {before} is not: they are tried in this order")
        elif value and value in [parameters.get(each) for each in names[: names.index(name)]]:
            yield Objection(name, f"{value} is named twice: each type of a pool is another one")


def _number(value: str) -> int | None:
    try:
        return int(value)
    except ValueError:  # told by the template's declaration
        return None
