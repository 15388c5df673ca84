"""The way of an approval from the registry to GitLab: rule, queue, function. And CloudFormation's stacks."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from sandbox.console import models
from sandbox.console.place import Seen

Json = dict[str, Any]


class Queue(NamedTuple):
    """A queue: messages that wait, and those that a function works on."""

    name: str
    waiting: int
    in_flight: int


class Way(NamedTuple):
    """One rule for the events of the registry, and what is behind it; `function` and `log` are empty without one."""

    rule: str
    group: str
    state: str
    queue: Queue
    dead: Queue | None
    function: str
    log: list[str]


def ways(place: Seen, lines: int = 30) -> list[Way]:
    """From each rule for model packages to its function."""
    events, result = place.aws("events"), []
    for rule in events.list_rules()["Rules"]:
        pattern = json.loads(rule.get("EventPattern") or "{}")
        groups = pattern.get("detail", {}).get("ModelPackageGroupName", [])
        if "aws.sagemaker" not in pattern.get("source", []) or not groups:
            continue
        for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]:
            if ":sqs:" in target["Arn"]:
                result.append(_way(place, rule, str(groups[0]), target["Arn"], lines))
    return result


def _way(place: Seen, rule: Json, group: str, arn: str, lines: int) -> Way:
    queue, attributes = _queue(place, arn)
    dead = json.loads(attributes.get("RedrivePolicy", "{}")).get("deadLetterTargetArn")
    functions = place.aws("lambda")
    mappings = functions.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
    name = mappings[0]["FunctionArn"].rpartition(":function:")[2] if mappings else ""
    log: list[str] = []
    if name:
        described = functions.get_function_configuration(FunctionName=name)
        logging = described.get("LoggingConfig") or {}
        log = models.log(place, logging.get("LogGroup") or f"/aws/lambda/{name}").splitlines()
    return Way(rule["Name"], group, rule["State"], queue, _queue(place, dead)[0] if dead else None, name, log[-lines:])


def _queue(place: Seen, arn: str) -> tuple[Queue, dict[str, str]]:
    sqs, name = place.aws("sqs"), arn.rpartition(":")[2]
    address = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes: dict[str, str] = sqs.get_queue_attributes(QueueUrl=address, AttributeNames=["All"])["Attributes"]
    waiting = int(attributes["ApproximateNumberOfMessages"])
    return Queue(name, waiting, int(attributes["ApproximateNumberOfMessagesNotVisible"])), attributes


def stacks(place: Seen) -> list[Json]:
    """All stacks, the newest first."""
    pages = place.aws("cloudformation").get_paginator("describe_stacks").paginate()
    rows = [row for page in pages for row in page["Stacks"]]
    return sorted(rows, key=lambda row: row["CreationTime"], reverse=True)


def stack_events(place: Seen, name: str) -> list[Json]:
    """What happened in a stack, the newest first. Raises LookupError if there is none."""
    pages = place.aws("cloudformation").get_paginator("describe_stack_events").paginate(StackName=name)
    try:
        return [row for page in pages for row in page["StackEvents"]]
    except ClientError as error:
        raise LookupError(name) from error
