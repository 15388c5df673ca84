"""AWS::CloudFormation::Stack: a stack inside a stack, made and followed through CloudFormation's own API."""

from __future__ import annotations

import secrets
import string
import time
from typing import Any

from botocore.exceptions import ClientError

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Failed,
    Handler,
    PhysicalResource,
    Properties,
    handles,
    names,
)

_POLL_SECONDS = 0.2
# Whoever acknowledged the outer stack's capabilities has acknowledged these.
_CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]


@handles("AWS::CloudFormation::Stack")
class NestedStack(Handler):
    properties = names("Parameters Tags TemplateURL")

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        suffix = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(13))
        name = f"{call.stack}-{call.logical_id}-{suffix}"
        stack_id = call.client("cloudformation").create_stack(StackName=name, **_request(properties))["StackId"]
        return PhysicalResource(stack_id)

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        try:
            call.client("cloudformation").update_stack(StackName=physical.id, **_request(new))
        except ClientError as error:
            if "No updates are to be performed" not in error.response["Error"]["Message"]:
                raise
        return physical

    def settle(self, call: Call, physical: PhysicalResource, properties: Properties) -> PhysicalResource:
        stack = _wait(call, physical.id)
        if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            verb = "created" if stack["StackStatus"].startswith(("CREATE", "ROLLBACK")) else "updated"
            raise Failed(
                f"Embedded stack {physical.id} was not successfully {verb}: {_first_failure(call, stack)}",
                verbatim=True,
            )
        outputs = {f"Outputs.{each['OutputKey']}": each["OutputValue"] for each in stack.get("Outputs", [])}
        return PhysicalResource(physical.id, outputs)

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("cloudformation").delete_stack(StackName=physical.id)
        stack = _wait(call, physical.id)
        if stack["StackStatus"] != "DELETE_COMPLETE":
            reason = f"Embedded stack {physical.id} was not successfully deleted: {stack.get('StackStatusReason')}"
            raise Failed(reason, verbatim=True)


def _request(properties: Properties) -> dict[str, Any]:
    parameters = properties.get("Parameters", {})
    return {
        "TemplateURL": properties["TemplateURL"],
        "Parameters": [{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()],
        "Tags": properties.get("Tags", []),
        "Capabilities": _CAPABILITIES,
    }


def _wait(call: Call, stack_id: str) -> dict[str, Any]:
    cloudformation = call.client("cloudformation")
    while True:
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            return stack
        time.sleep(_POLL_SECONDS)


def _first_failure(call: Call, stack: dict[str, Any]) -> str:
    """Why the embedded stack began to roll back: `The following resource(s) failed to create: ...`."""
    events = call.client("cloudformation").describe_stack_events(StackName=stack["StackId"])["StackEvents"]
    of_stack = [event for event in events if event["PhysicalResourceId"] == stack["StackId"]]
    reasons = [each["ResourceStatusReason"] for each in of_stack if "failed to" in each.get("ResourceStatusReason", "")]
    return reasons[0] if reasons else str(stack.get("StackStatusReason", ""))
