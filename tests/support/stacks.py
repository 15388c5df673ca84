"""CloudFormation stacks of a test, deleted after it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from tests.support.servers import ROOT, Aws
from tests.support.waiting import wait_for

QUEUES = """
Parameters:
  Delay: {Type: Number, Default: 0, MinValue: 0, MaxValue: 900}
  Stage: {Type: String, Default: staging, AllowedValues: [staging, prod]}
  Broken: {Type: String, Default: "no"}
  Label: {Type: String, Default: x, AllowedPattern: "[a-z]+"}
Conditions:
  IsBroken: !Equals [!Ref Broken, "yes"]
Resources:
  Dead:
    Type: AWS::SQS::Queue
  Main:
    Type: AWS::SQS::Queue
    Properties:
      DelaySeconds: !Ref Delay
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}
  Mapping:
    Condition: IsBroken
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      EventSourceArn: !GetAtt Main.Arn
      FunctionName: there-is-no-such-function
Outputs:
  Url:
    Value: !Sub "${Main}"
  Text:
    Value: !Join ["-", [!Ref Stage, !Ref "AWS::Region", !If [IsBroken, broken, fine]]]
"""


class Stacks:
    """A client with the few moves the tests share."""

    def __init__(self, aws: Aws) -> None:
        self.client = aws.client("cloudformation")
        self.name = f"stack-{uuid.uuid4().hex[:8]}"

    def settle(self, name: str = "") -> dict[str, Any]:
        return self._until(lambda: self.describe(name), lambda stack: not stack["StackStatus"].endswith("_IN_PROGRESS"))

    def describe(self, name: str = "") -> dict[str, Any]:
        description: dict[str, Any] = self.client.describe_stacks(StackName=name or self.name)["Stacks"][0]
        return description

    def create(self, template: str = QUEUES, **parameters: str) -> dict[str, Any]:
        self.client.create_stack(StackName=self.name, TemplateBody=template, Parameters=pairs(parameters))
        return self.settle()

    def update(self, template: str = QUEUES, **parameters: str) -> dict[str, Any]:
        self.client.update_stack(StackName=self.name, TemplateBody=template, Parameters=pairs(parameters))
        return self.settle()

    def change_set(self, kind: str, template: str = QUEUES, **parameters: str) -> dict[str, Any]:
        answer = self.client.create_change_set(
            StackName=self.name,
            ChangeSetName=f"change-{uuid.uuid4().hex[:8]}",
            ChangeSetType=kind,
            TemplateBody=template,
            Parameters=pairs(parameters),
        )
        return self._until(
            lambda: self.client.describe_change_set(ChangeSetName=answer["Id"]),
            lambda description: description["Status"] in ("CREATE_COMPLETE", "FAILED"),
        )

    def events(self) -> list[str]:
        """`LogicalId STATUS` of every event, oldest first."""
        stack_events = self.client.describe_stack_events(StackName=self.describe()["StackId"])["StackEvents"]
        return [
            f"{'stack' if one['LogicalResourceId'] == self.name else one['LogicalResourceId']} {one['ResourceStatus']}"
            for one in reversed(stack_events)
        ]

    @staticmethod
    def _until(look: Callable[[], dict[str, Any]], done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            state = look()
            return state if done(state) else None

        return cast("dict[str, Any]", wait_for(reached, "the state of the stack"))


class Deployed(NamedTuple):
    """A stack that stands, and its outputs."""

    name: str
    outputs: dict[str, str]


@contextmanager
def infra_stack(aws: Aws, template: str, parameters: Mapping[str, str]) -> Iterator[Deployed]:
    """A stack of a template of infra/, by its file. Gone afterwards."""
    client, name = aws.client("cloudformation"), f"{template.partition('.')[0]}-{uuid.uuid4().hex[:8]}"
    client.create_stack(
        StackName=name,
        TemplateBody=(ROOT / "infra" / template).read_text(),
        Parameters=pairs(parameters),
        Capabilities=["CAPABILITY_IAM"],
    )
    waited = {"StackName": name, "WaiterConfig": {"Delay": 0.2, "MaxAttempts": 300}}
    client.get_waiter("stack_create_complete").wait(**waited)
    try:
        yield Deployed(name, outputs(client.describe_stacks(StackName=name)["Stacks"][0]))
    finally:
        client.delete_stack(StackName=name)
        client.get_waiter("stack_delete_complete").wait(**waited)


def pairs(parameters: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]


def outputs(stack: dict[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
