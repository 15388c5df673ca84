"""Drift detection: what the resources of a stack are now, beside what its template says of them.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html: of those types that have a
read handler, only the properties that the template names, read with the rights of who asks.

AWS's list of types (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/resource-import-supported-resources.html)
is what decides there; a type with a read handler that is known not to be in it stands in `NOT_LOOKED_AT`.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from sandbox.aws.cloudformation import schemas
from sandbox.aws.cloudformation.operations import says_gone
from sandbox.aws.cloudformation.resources.handler import Call, Gone, Properties, handler_of
from sandbox.aws.cloudformation.stack import Resource, StackState, now
from sandbox.aws.lacking import Lacking

Answer = dict[str, Any]


@dataclass
class Detection:
    """One look at a stack; `drifts` has the answer about each resource that was looked at."""

    stack: StackState
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: datetime = field(default_factory=now)
    status: str = "DETECTION_IN_PROGRESS"
    reason: str | None = None
    drifts: dict[str, Answer] = field(default_factory=dict)

    @property
    def drifted(self) -> int:
        return sum(each["StackResourceDriftStatus"] in ("MODIFIED", "DELETED") for each in self.drifts.values())

    @property
    def stack_status(self) -> str:
        return "DRIFTED" if self.drifted else "IN_SYNC"


NOT_LOOKED_AT = frozenset(
    # https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/2359
    {"AWS::ApplicationAutoScaling::ScalingPolicy"}
)
"""Types with a read handler that drift detection leaves out: it tells nothing of them."""

DETECTIONS: dict[str, Detection] = {}
"""By id, oldest first."""


def latest(stack: StackState) -> Detection | None:
    """The last look that has ended at the stack as it is since its last update."""
    since = stack.updated or stack.created
    of_stack = [
        each
        for each in list(DETECTIONS.values())
        if each.stack is stack and each.started >= since and each.status != "DETECTION_IN_PROGRESS"
    ]
    return of_stack[-1] if of_stack else None


def begin(stack: StackState, client: Callable[[str], Any]) -> Detection:
    """Begin to look. Raises Lacking for a type that AWS looks at and the sandbox cannot."""
    looked_at = [each for each in stack.resources.values() if _is_readable(each.type)]
    for resource in looked_at:
        handler = handler_of(resource.type)
        if handler is None or not handler.reads:
            raise Lacking(f"drift detection of {resource.type} (resource {resource.logical_id})")
    detection = Detection(stack)
    DETECTIONS[detection.id] = detection
    threading.Thread(target=_detect, args=[detection, looked_at, client], daemon=True).start()
    return detection


def _is_readable(resource_type: str) -> bool:
    if resource_type in NOT_LOOKED_AT:
        return False
    return "read" in schemas.schema(resource_type).get("handlers", {})


def _detect(detection: Detection, resources: list[Resource], client: Callable[[str], Any]) -> None:
    failures = []
    for resource in resources:
        try:
            detection.drifts[resource.logical_id] = _look(detection.stack, resource, client)
        except ClientError as error:
            why = error.response["Error"].get("Message", "")
            failures.append({"Resource": resource.logical_id, "FailureReason": why})
        except Exception as error:  # noqa: BLE001 - a fault of the sandbox must not look like one that still looks
            failures.append({"Resource": resource.logical_id, "FailureReason": f"Internal Failure: {error!r}"})
    if failures:
        names = ", ".join(each["Resource"] for each in failures)
        summary = f"Failed to detect drift on resources [{names}]"
        detection.reason = json.dumps({"Summary": summary, "Failures": failures}, separators=(",", ":"))
    detection.status = "DETECTION_FAILED" if failures else "DETECTION_COMPLETE"


def _look(stack: StackState, resource: Resource, client: Callable[[str], Any]) -> Answer:
    answer: Answer = {
        "StackId": stack.id,
        "LogicalResourceId": resource.logical_id,
        "PhysicalResourceId": resource.physical.id,
        "ResourceType": resource.type,
        "Timestamp": now(),
    }
    handler = handler_of(resource.type)
    assert handler is not None  # noqa: S101 - `begin` has looked
    call = Call(client, stack.name, resource.logical_id, lambda: False, stack.id, resource.type, stack.region)
    try:
        present = handler.read(call, resource.physical, resource.properties)
    except (ClientError, Gone) as error:
        if isinstance(error, ClientError) and not says_gone(error):
            raise
        return answer | {"StackResourceDriftStatus": "DELETED"}
    expected = _named(resource)
    actual = {name: _named_parts(expected[name], present.get(name)) for name in expected if name in present}
    differences = list(_differences(expected, actual, ""))
    answer |= {"ExpectedProperties": json.dumps(expected), "ActualProperties": json.dumps(actual, default=str)}
    answer["PropertyDifferences"] = differences
    return answer | {"StackResourceDriftStatus": "MODIFIED" if differences else "IN_SYNC"}


def _named(resource: Resource) -> Properties:
    """The properties that the template names, but those that nobody can read."""
    written = {path.split("/")[2] for path in schemas.schema(resource.type).get("writeOnlyProperties", [])}
    named = resource.definition.get("Properties") or {}
    return {name: value for name, value in resource.properties.items() if name in named and name not in written}


def _named_parts(expected: Any, actual: Any) -> Any:
    """Of what is there, the parts that the template names: the service adds defaults to them."""
    if isinstance(expected, dict) and isinstance(actual, Mapping):
        return {name: _named_parts(value, actual.get(name)) for name, value in expected.items() if name in actual}
    if isinstance(expected, list) and isinstance(actual, list):
        paired = [_named_parts(one, two) for one, two in zip(expected, actual, strict=False)]
        return paired + actual[len(expected) :]
    return actual


def _differences(expected: Any, actual: Any, path: str) -> Iterator[Answer]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        for name, value in expected.items():
            if name not in actual:
                yield _difference(f"{path}/{name}", value, None, "REMOVE")
            else:
                yield from _differences(value, actual[name], f"{path}/{name}")
    elif isinstance(expected, list) and isinstance(actual, list):
        for at, (one, two) in enumerate(zip(expected, actual, strict=False)):
            yield from _differences(one, two, f"{path}/{at}")
        for at in range(len(actual), len(expected)):
            yield _difference(f"{path}/{at}", expected[at], None, "REMOVE")
        for at in range(len(expected), len(actual)):
            yield _difference(f"{path}/{at}", None, actual[at], "ADD")
    elif expected != actual:
        yield _difference(path, expected, actual, "NOT_EQUAL")


def _difference(path: str, expected: Any, actual: Any, kind: str) -> Answer:
    return {
        "PropertyPath": path,
        "ExpectedValue": _written(expected),
        "ActualValue": _written(actual),
        "DifferenceType": kind,
    }


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool | list | dict):
        return json.dumps(value, default=str)
    return str(value)
