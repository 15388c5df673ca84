"""Drift detection of the sandbox's CloudFormation, as its guide and botocore's model describe it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.deployment import create_user, forbid
from tests.support.hosted import TEMPLATE, Hosted
from tests.support.hosting import model_predicting
from tests.support.servers import Aws
from tests.support.stacks import Stacks
from tests.support.waiting import wait_for


def detected(client: Any, stack: str) -> dict[str, Any]:
    """The end of a detection."""
    detection = client.detect_stack_drift(StackName=stack)["StackDriftDetectionId"]

    def ended() -> dict[str, Any] | None:
        answer: dict[str, Any] = client.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
        return answer if answer["DetectionStatus"] != "DETECTION_IN_PROGRESS" else None

    answer: dict[str, Any] = wait_for(ended, "the end of the detection")
    return answer


def drifts(client: Any, stack: str, *statuses: str) -> dict[str, dict[str, Any]]:
    filters = {"StackResourceDriftStatusFilters": list(statuses)} if statuses else {}
    answer = client.describe_stack_resource_drifts(StackName=stack, **filters)["StackResourceDrifts"]
    return {each["LogicalResourceId"]: each for each in answer}


def test_what_somebody_changed_or_deleted_is_found_and_nothing_else(hosted: Hosted) -> None:
    stack, client = hosted.stacks.name, hosted.stacks.client
    hosted.stacks.create(TEMPLATE, **hosted.parameters(model_predicting(1)))
    assert drifts(client, stack) == {}, "nobody has looked yet"
    answer = detected(client, stack)
    assert (answer["DetectionStatus"], answer["StackDriftStatus"]) == ("DETECTION_COMPLETE", "IN_SYNC")
    assert answer["DriftedStackResourceCount"] == 0
    assert {each["StackResourceDriftStatus"] for each in drifts(client, stack).values()} == {"IN_SYNC"}

    before = hosted.sagemaker.describe_endpoint(EndpointName=hosted.endpoint)["EndpointConfigName"]
    variants = hosted.sagemaker.describe_endpoint_config(EndpointConfigName=before)["ProductionVariants"]
    name = f"{hosted.endpoint}-by-hand"
    hosted.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
    hosted.sagemaker.update_endpoint(EndpointName=hosted.endpoint, EndpointConfigName=name)
    wait_for(lambda: hosted.sagemaker.describe_endpoint(EndpointName=hosted.endpoint)["EndpointStatus"] == "InService")
    assert detected(client, stack)["StackDriftStatus"] == "DRIFTED"
    (drift,) = drifts(client, stack, "MODIFIED").values()
    assert drift["PropertyDifferences"] == [
        {
            "PropertyPath": "/EndpointConfigName",
            "ExpectedValue": before,
            "ActualValue": name,
            "DifferenceType": "NOT_EQUAL",
        }
    ]
    assert json.loads(drift["ExpectedProperties"])["EndpointName"] == hosted.endpoint

    hosted.sagemaker.delete_endpoint(EndpointName=hosted.endpoint)
    wait_for(lambda: hosted.endpoint not in hosted.names("endpoints"))
    assert detected(client, stack)["DriftedStackResourceCount"] == 1
    (drift,) = drifts(client, stack, "DELETED").values()
    assert drift["ResourceType"] == "AWS::SageMaker::Endpoint"
    assert not {"ExpectedProperties", "ActualProperties", "PropertyDifferences"} & set(drift)
    assert hosted.stacks.describe()["DriftInformation"]["StackDriftStatus"] == "DRIFTED"


def test_resources_are_read_with_the_rights_of_who_asks(aws: Aws, hosted: Hosted) -> None:
    hosted.stacks.create(TEMPLATE, **hosted.parameters(model_predicting(2)))
    user, keys = create_user(aws)
    credentials = {name.lower(): value for name, value in keys.items()}
    client = aws.client("cloudformation", **credentials)
    forbid(aws, user, "sagemaker:ListTags")
    answer = detected(client, hosted.stacks.name)
    assert answer["DetectionStatus"] == "DETECTION_FAILED"
    reason = json.loads(answer["DetectionStatusReason"])
    assert reason["Summary"] == "Failed to detect drift on resources [Model, EndpointConfig, Endpoint]"
    assert "sagemaker:ListTags" in reason["Failures"][0]["FailureReason"]
    assert drifts(client, hosted.stacks.name) == {}


@pytest.mark.parametrize("action", ["DetectStackDrift", "DetectStackResourceDrift", "BatchDescribeTypeConfigurations"])
def test_a_detection_asks_for_three_actions(aws: Aws, action: str) -> None:
    stacks = Stacks(aws)
    stacks.create(
        "Resources: {Group: {Type: AWS::SageMaker::ModelPackageGroup, Properties: "
        f"{{ModelPackageGroupName: {stacks.name}}}}}}}"
    )
    user, keys = create_user(aws)
    forbid(aws, user, f"cloudformation:{action}")
    client = aws.client("cloudformation", **{name.lower(): value for name, value in keys.items()})
    with pytest.raises(ClientError, match=f"cloudformation:{action}"):
        client.detect_stack_drift(StackName=stacks.name)


def test_a_stack_that_is_not_complete_is_not_looked_at(aws: Aws) -> None:
    stacks = Stacks(aws)
    broken = "Resources: {Mapping: {Type: AWS::Lambda::EventSourceMapping, Properties: {FunctionName: no-such}}}"
    assert stacks.create(broken)["StackStatus"] == "ROLLBACK_COMPLETE"
    with pytest.raises(ClientError, match=r"Drift detection cannot be performed on stack \[arn.*\[ROLLBACK_COMPLETE\]"):
        stacks.client.detect_stack_drift(StackName=stacks.name)


def test_a_type_that_the_service_reads_and_the_sandbox_cannot_is_refused_by_name(aws: Aws) -> None:
    stacks = Stacks(aws)
    stacks.create("Resources: {Queue: {Type: AWS::SQS::Queue}}")
    with pytest.raises(ClientError, match="The sandbox does not have drift detection of AWS::SQS::Queue"):
        stacks.client.detect_stack_drift(StackName=stacks.name)
