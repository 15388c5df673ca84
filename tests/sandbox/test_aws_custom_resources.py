"""Custom resources of the sandbox's CloudFormation: a function that answers, refuses, replaces itself, stays silent."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from tests.support.servers import Aws, create_role

CODE = """
import json, urllib.request
def handle(event, context):
    asked = event["ResourceProperties"]
    print("REQUEST", event["RequestType"], event.get("PhysicalResourceId", "-"), asked["Name"], repr(asked["Number"]))
    if asked["Name"] == "silent":
        return
    refused = asked["Name"] == "refused" and event["RequestType"] == "Create"
    answer = {"Status": "FAILED" if refused else "SUCCESS", "Reason": "the name is refused"}
    answer |= {"PhysicalResourceId": "id-" + asked["Name"], "Data": {"Upper": asked["Name"].upper()}}
    answer |= {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    body, headers = json.dumps(answer).encode(), {"Content-Type": ""}
    urllib.request.urlopen(urllib.request.Request(event["ResponseURL"], body, headers, method="PUT"))
"""


class Stack:
    """One stack with a function and one custom resource of it."""

    def __init__(self, aws: Aws) -> None:
        self.aws, self.name = aws, f"custom-{uuid.uuid4().hex[:8]}"
        self.role = create_role(aws, f"{self.name}-function", "lambda.amazonaws.com")
        self.cloudformation = aws.client("cloudformation")

    def template(self, name: str, **settings: Any) -> str:
        function = {
            "Runtime": "python3.13",
            "Handler": "index.handle",
            "Role": self.role,
            "Code": {"ZipFile": CODE},
            "FunctionName": self.name,
        }
        token = {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}}
        resources = {
            "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
            "Thing": {"Type": "Custom::Thing", "Properties": token | {"Name": name, "Number": 1} | settings},
        }
        outputs = {"Id": {"Value": {"Ref": "Thing"}}, "Upper": {"Value": {"Fn::GetAtt": ["Thing", "Upper"]}}}
        return json.dumps({"Resources": resources, "Outputs": outputs})

    def wait(self, waiter: str) -> None:
        settings = {"Delay": 1, "MaxAttempts": 60}
        self.cloudformation.get_waiter(waiter).wait(StackName=self.name, WaiterConfig=settings)

    def create(self, name: str, **settings: Any) -> None:
        self.cloudformation.create_stack(StackName=self.name, TemplateBody=self.template(name, **settings))
        self.wait("stack_create_complete")

    def update(self, name: str) -> None:
        self.cloudformation.update_stack(StackName=self.name, TemplateBody=self.template(name))
        self.wait("stack_update_complete")

    def outputs(self) -> dict[str, str]:
        listed = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["Outputs"]
        return {output["OutputKey"]: output["OutputValue"] for output in listed}

    def requests(self) -> list[str]:
        group = f"/aws/lambda/{self.name}"
        events = self.aws.client("logs").filter_log_events(logGroupName=group)["events"]
        return [match[1] for event in events if (match := re.search(r"REQUEST (.*)", event["message"]))]

    def reason(self) -> str:
        events = self.cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
        failed = [each for each in events if each["ResourceStatus"] == "CREATE_FAILED"]
        return str(failed[-1]["ResourceStatusReason"])


@pytest.fixture
def stack(aws: Aws) -> Stack:
    return Stack(aws)


def test_a_new_physical_id_replaces_the_resource_and_deletes_the_old_one(stack: Stack) -> None:
    stack.create("one")
    assert stack.outputs() == {"Id": "id-one", "Upper": "ONE"}
    stack.update("two")
    assert stack.outputs() == {"Id": "id-two", "Upper": "TWO"}
    stack.cloudformation.delete_stack(StackName=stack.name)
    stack.wait("stack_delete_complete")
    assert stack.requests() == [
        "Create - one '1'",  # CloudFormation sends everything as text
        "Update id-one two '1'",
        "Delete id-one one '1'",
        "Delete id-two two '1'",
    ]


def test_a_refusal_is_the_stack_events_reason_and_is_deleted_by_its_id(stack: Stack) -> None:
    with pytest.raises(WaiterError):
        stack.create("refused")
    assert "Received response status [FAILED] from custom resource" in stack.reason()
    assert "the name is refused" in stack.reason()
    assert stack.requests() == ["Create - refused '1'", "Delete id-refused refused '1'"]


def test_silence_fails_after_the_service_timeout(stack: Stack) -> None:
    with pytest.raises(WaiterError):
        stack.create("silent", ServiceTimeout=3)
    assert stack.reason().startswith("CloudFormation did not receive a response from your Custom Resource.")
