"""What somebody has changed by hand: of the stage's stack, as CloudFormation sees it, and of what its endpoint serves.

CloudFormation compares the properties that the template names, of those resource types that it can read
(https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/resource-import-supported-resources.html). What it did
not look at is told. What users get does not depend on that list: the endpoint itself is asked, too, and compared with
the newest record of a deployment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import aws_errors, errors, hosting, job, registry, stack, stack_rules, text
from ci_scripts.aws import Aws
from ci_scripts.deployment_record import Record

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_cloudformation import CloudFormationClient

_LONGEST_VALUE = 200
_SECRETIVE = ("/Environment", "/Secret", "/Password", "/Token")  # parts of paths whose values are not told
_LAST_UPDATE = "/DeploymentConfig"
"""How the endpoint was brought to what it is: SageMaker shows that of the last update alone, and of a creation none."""
_MORE_RIGHTS = (
    "The role needs more than to deploy: create the stack of infra/drift.yml (of a project of SageMaker Studio, its "
    "field Watch for Drift)."
)


class Difference(NamedTuple):
    """One thing that is not as it was deployed."""

    where: str
    """A resource of the stack and the path of its property, `the endpoint`, or `the stack's parameters`."""
    what: str
    """In words."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Configuration(NamedTuple):
    """What came of the look at a stage's stack and endpoint."""

    differences: Sequence[Difference]
    unchecked: Sequence[str]
    """Resources that CloudFormation did not look at, with their types and, where it says so, the reason."""
    checked: int
    """How many resources it did look at."""


def look(aws: Aws, record: Record, poll_seconds: float) -> Configuration:
    """Compare a stage with the newest record of its deployments. Raises DriftNotDetected."""
    name = record.deployed.stack_name
    description = stack.describe(aws.cloudformation, name)
    if description is None:
        return Configuration([Difference(f"stack {name}", "it was deleted")], [], 0)
    differences = _parameters(description.get("Parameters", []), record) + _endpoint(aws, record, poll_seconds)
    stack_differences, unchecked, checked = _stack(aws.cloudformation, name, poll_seconds)
    return Configuration([*differences, *stack_differences], unchecked, checked)


def _parameters(current: Sequence[Mapping[str, Any]], record: Record) -> list[Difference]:
    """Of an update of the stack that no job has made."""
    values = {each["ParameterKey"]: each.get("ParameterValue", "") for each in current}
    return [
        Difference(f"parameter {name} of the stack", _instead(values.get(name, "nothing"), recorded))
        for name, recorded in stack_rules.differing(values, record.deployed.parameters).items()
    ]


def _endpoint(aws: Aws, record: Record, poll_seconds: float) -> list[Difference]:
    """Whether users get what the record says."""
    host = hosting.of(record.deployed.hosting)
    if not host.has_endpoint:  # nothing serves; to prove a batch transform is to run one
        return []
    package = registry.read(aws.sagemaker, record.model_package_arn)
    try:
        host.prove(aws, record.deployed, package, poll_seconds, of_stack=True)
    except errors.EndpointRolledBack:
        message = "on another configuration than the stack's"
        return [Difference("what is served", f"{host.state(aws, record.deployed)}, {message}")]
    except errors.SagemakerCiError as error:
        return [Difference("what is served", error.message)]
    job.say(host.proven(record.deployed, str(package)))
    return []


def _stack(
    cloudformation: CloudFormationClient, name: str, poll_seconds: float
) -> tuple[list[Difference], list[str], int]:
    """What CloudFormation finds, what it did not look at, and how many resources it did. Raises DriftNotDetected."""
    from botocore.exceptions import ClientError

    try:
        resources = _resources(cloudformation, name)
        reasons = _reasons(_detect(cloudformation, name, poll_seconds))
        drifts = _drifts(cloudformation, name)
    except ClientError as error:
        raise _undetected(name, error) from error
    compared = {key: each for key, each in drifts.items() if each["StackResourceDriftStatus"] in _COMPARED}
    unchecked = [
        f"{key} ({kind})" + (f": {text.short(why, _LONGEST_VALUE)}" if (why := reasons.get(key, "")) else "")
        for key, kind in resources.items()
        if key not in compared
    ]
    differences = [each for drift in compared.values() for each in _of_resource(drift)]
    return differences, unchecked, len(compared)


def _drifts(cloudformation: CloudFormationClient, name: str) -> dict[str, Mapping[str, Any]]:
    """What CloudFormation found, by the resource."""
    drifts: dict[str, Mapping[str, Any]] = {}
    token: dict[str, str] = {}
    while True:
        page = cloudformation.describe_stack_resource_drifts(StackName=name, MaxResults=100, **token)  # type: ignore[arg-type]
        drifts |= {each["LogicalResourceId"]: each for each in page["StackResourceDrifts"]}
        if not page.get("NextToken"):
            return drifts
        token = {"NextToken": page["NextToken"]}


def _undetected(name: str, error: ClientError) -> errors.SagemakerCiError:
    """A refusal as what it is about: the role's rights, credentials, or this stack."""
    denied = aws_errors.code(error) in aws_errors.DENIED
    explained = aws_errors.explain(error)
    if not denied and explained is not None and not isinstance(explained, errors.AwsRefused):
        return explained
    return errors.DriftNotDetected(
        f"CloudFormation does not look for drift of stack {name}: {aws_errors.text(error)}",
        hint=_MORE_RIGHTS if denied else None,
    )


_COMPARED = ("IN_SYNC", "MODIFIED", "DELETED")


def _reasons(status_reason: str) -> dict[str, str]:
    """Why CloudFormation could not look at a resource, by its name: it tells this as JSON in a text."""
    try:
        failures = json.loads(status_reason)["Failures"]
        return {str(each["Resource"]): str(each["FailureReason"]) for each in failures}
    except (ValueError, TypeError, KeyError):
        return dict.fromkeys(re.findall(r"[\w-]+", status_reason.partition("[")[2].partition("]")[0]), status_reason)


def _resources(cloudformation: CloudFormationClient, name: str) -> dict[str, str]:
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    return {
        each["LogicalResourceId"]: each["ResourceType"]
        for page in pages
        for each in page["StackResourceSummaries"]
        if each["ResourceStatus"] != "DELETE_COMPLETE"
    }


def _detect(cloudformation: CloudFormationClient, name: str, poll_seconds: float) -> str:
    """Have CloudFormation look, and wait for it; why it could not look at all there is."""
    detection = cloudformation.detect_stack_drift(StackName=name)["StackDriftDetectionId"]
    while True:
        answer = cloudformation.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
        if answer["DetectionStatus"] != "DETECTION_IN_PROGRESS":
            return answer.get("DetectionStatusReason", "") if answer["DetectionStatus"] == "DETECTION_FAILED" else ""
        job.pause(poll_seconds)


def _of_resource(drift: Mapping[str, Any]) -> list[Difference]:
    where = f"{drift['LogicalResourceId']} ({drift['ResourceType']})"
    if drift["StackResourceDriftStatus"] == "DELETED":
        return [Difference(where, f"{drift.get('PhysicalResourceId', 'it')} was deleted")]
    differences, property_differences = [], drift.get("PropertyDifferences", [])
    for each in property_differences:
        path = each["PropertyPath"]
        if drift["ResourceType"] == "AWS::SageMaker::Endpoint" and path.startswith(_LAST_UPDATE):
            continue
        hidden = any(part.lower() in path.lower() for part in _SECRETIVE)
        actual = "another value" if hidden else each["ActualValue"]
        differences.append(
            Difference(f"{where} {path}", "has another value" if hidden else _instead(actual, each["ExpectedValue"]))
        )
    if drift["StackResourceDriftStatus"] == "MODIFIED" and not property_differences:
        differences.append(Difference(where, "was modified"))
    return differences


def _instead(actual: Any, expected: Any) -> str:
    return f"{text.short(str(actual), _LONGEST_VALUE)} instead of {text.short(str(expected), _LONGEST_VALUE)}"
