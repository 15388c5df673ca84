"""What deployments leave behind: models and endpoint configurations that no longer serve, and logs that never end.

A template keeps what an update replaces (UpdateReplacePolicy: Retain): SageMaker may put an endpoint back on it while
the update is under way. Once a deployment is proven nothing needs it: a rollback deploys an export anew, with models of
its own. What belongs to a deployment is in its record. Called when a record is written; nothing here fails a job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ci_scripts import aws_errors, job, stack
from ci_scripts.aws import Aws
from ci_scripts.deployment_history import History
from ci_scripts.deployment_record import Record

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

MODELS, CONFIGS = "Models", "EndpointConfigs"
"""As records name them."""

_TYPES = {CONFIGS: "AWS::SageMaker::EndpointConfig", MODELS: "AWS::SageMaker::Model"}
"""In the order in which they are deleted: what names the other one first."""

_WINDOW = 3
"""Of how many deployments beyond those that are kept things are deleted: a job does the one that has just fallen out,
and what jobs before it have not got done."""


class Upkeep(NamedTuple):
    """What a deployment does once it is proven and recorded."""

    keep: int
    """Of how many superseded deployments models and endpoint configurations stay."""
    log_days: int
    """How long the endpoint's log is kept; 0: nothing is set."""


def resources(aws: Aws, stack_name: str) -> dict[str, list[str]]:
    """The names of the models and endpoint configurations that the stack holds now."""
    ids = stack.physical_ids(aws.cloudformation, stack_name, *_TYPES.values())
    return {kind: [each.rpartition("/")[2] for each in ids[name]] for kind, name in _TYPES.items()}


def tidy(aws: Aws, history: History, latest: Record, upkeep: Upkeep) -> None:
    """Delete what no rollback can need, and limit the endpoint's log."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        for kind, name in _left(history, latest, upkeep.keep):
            if _delete(aws, kind, name):
                job.say(f"deleted, superseded for more than {upkeep.keep} deployments: {kind[:-1]} {name}")
    except (ClientError, BotoCoreError) as error:
        job.say(f"superseded models and endpoint configurations stay: {_reason(error)}")
    try:
        if upkeep.log_days and latest.deployed.endpoint_name:
            _limit_log(aws, f"/aws/sagemaker/Endpoints/{latest.deployed.endpoint_name}", upkeep.log_days)
    except (ClientError, BotoCoreError) as error:
        job.say(f"the endpoint's log stays as it is: {_reason(error)}")


def _left(history: History, latest: Record, keep: int) -> list[tuple[str, str]]:
    """What may go, by the newest records."""
    deployments: list[Mapping[str, Sequence[str]]] = []
    for record in (latest, *history.newest_first(before=latest.number)):
        if record.resources and record.resources not in deployments:
            deployments.append(record.resources)
        if len(deployments) > keep + _WINDOW:
            break
    return superfluous(deployments, keep)


def superfluous(deployments: Sequence[Mapping[str, Sequence[str]]], keep: int) -> list[tuple[str, str]]:
    """What may go, by kind and name, endpoint configurations before models.

    `deployments` are what the stack held after each, the newest first, which serves; `keep` of those before it stay.
    """
    needed, outdated = deployments[: keep + 1], deployments[keep + 1 :]
    resources = []
    for kind in _TYPES:
        in_use = {name for each in needed for name in each.get(kind, ())}
        names = dict.fromkeys(name for each in outdated for name in each.get(kind, ()))
        resources += [(kind, name) for name in names if name not in in_use]
    return resources


def _delete(aws: Aws, kind: str, name: str) -> bool:
    """Whether it was there."""
    from botocore.exceptions import ClientError

    try:
        if kind == CONFIGS:
            aws.sagemaker.delete_endpoint_config(EndpointConfigName=name)
        else:
            aws.sagemaker.delete_model(ModelName=name)
    except ClientError as error:
        if "could not find" not in aws_errors.text(error).lower():
            raise
        return False
    return True


def _limit_log(aws: Aws, group: str, days: int) -> None:
    """Limit a log group that is there and without limit: what a person has set stays."""
    groups = aws.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    if any(each["logGroupName"] == group and "retentionInDays" not in each for each in groups):
        aws.logs.put_retention_policy(logGroupName=group, retentionInDays=days)
        job.say(f"log group {group}: kept for {days} days")


def _reason(error: Exception | ClientError) -> str:
    response = getattr(error, "response", None)
    if response and aws_errors.code(error) in aws_errors.DENIED:
        return "the job's role may not change them; infra/hosting.yml has the right"
    return str(error)
