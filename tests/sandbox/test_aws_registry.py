"""The sandbox's model registry: what the product may rely on, and what must not surprise it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.servers import Aws, Project

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package"
SPECIFICATION = {
    "Containers": [{"Image": "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1"}],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
}


@pytest.fixture
def sagemaker(aws: Aws) -> Any:
    return aws.client("sagemaker")


@pytest.fixture
def register(sagemaker: Any, project: Project) -> Callable[..., str]:
    def create(**settings: Any) -> str:
        answer = sagemaker.create_model_package(
            ModelPackageGroupName=project.group, InferenceSpecification=SPECIFICATION, **settings
        )
        return str(answer["ModelPackageArn"])

    return create


@pytest.fixture
def events(aws: Aws, project: Project) -> Callable[[], list[dict[str, Any]]]:
    """What a rule for the project's group has delivered since the last call."""
    name = f"rule-{uuid.uuid4().hex[:8]}"
    sqs, rules = aws.client("sqs"), aws.client("events")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": [project.group]},
    }
    rule = rules.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    rules.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])

    def delivered() -> list[dict[str, Any]]:
        bodies: list[dict[str, Any]] = []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            bodies += [json.loads(message["Body"]) for message in messages]
        return bodies

    return delivered


def test_versions_count_up_and_wait_for_approval(
    sagemaker: Any, project: Project, register: Callable[..., str]
) -> None:
    assert [register(), register()] == [f"{ARN}/{project.group}/1", f"{ARN}/{project.group}/2"]
    described = sagemaker.describe_model_package(ModelPackageName=f"{ARN}/{project.group}/2")
    assert (described["ModelPackageVersion"], described["ModelApprovalStatus"]) == (2, "PendingManualApproval")


def test_listing_sorts_ascending_unless_told_otherwise_and_pages(
    sagemaker: Any, project: Project, register: Callable[..., str]
) -> None:
    arns = [register() for _ in range(4)]
    for arn in (arns[0], arns[2]):
        sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")

    def listed(**settings: Any) -> list[str]:
        pages = sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=project.group, PaginationConfig={"PageSize": 1}, **settings
        )
        return [each["ModelPackageArn"] for page in pages for each in page["ModelPackageSummaryList"]]

    assert listed() == arns
    assert listed(SortBy="CreationTime", SortOrder="Descending") == arns[::-1]
    assert listed(ModelApprovalStatus="Approved", SortBy="CreationTime", SortOrder="Descending") == [arns[2], arns[0]]
    times = {
        each["CreationTime"]
        for each in sagemaker.list_model_packages(ModelPackageGroupName=project.group)["ModelPackageSummaryList"]
    }
    assert len(times) == 4


def test_an_update_changes_what_it_names_and_keeps_the_rest(sagemaker: Any, register: Callable[..., str]) -> None:
    arn = register(CustomerMetadataProperties={"HeldOutDataUri": "s3://bucket/test.csv", "old": "1"})
    sagemaker.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="MSE is fine"
    )
    sagemaker.update_model_package(
        ModelPackageArn=arn, CustomerMetadataProperties={"commit": "abc"}, CustomerMetadataPropertiesToRemove=["old"]
    )
    described = sagemaker.describe_model_package(ModelPackageName=arn)
    assert described["ModelApprovalStatus"] == "Approved"
    assert described["ApprovalDescription"] == "MSE is fine"
    assert described["CustomerMetadataProperties"] == {"HeldOutDataUri": "s3://bucket/test.csv", "commit": "abc"}
    assert described["LastModifiedTime"] > described["CreationTime"]


def test_every_change_sends_three_events_one_of_them_a_little_later(
    sagemaker: Any, project: Project, register: Callable[..., str], events: Callable[[], list[dict[str, Any]]]
) -> None:
    arn = register()
    created = events()
    assert len(created) == len({event["id"] for event in created}) == 3
    assert len({event["detail"]["LastModifiedTime"] for event in created}) == 2
    for event in created:
        assert event["resources"] == [arn] == [event["detail"]["ModelPackageArn"]]
        assert event["detail"]["ModelPackageGroupName"] == project.group
        assert event["detail"]["ModelPackageVersion"] == 1
        assert event["detail"]["ModelApprovalStatus"] == "PendingManualApproval"
        assert "UpdatedModelPackageFields" not in event["detail"]

    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="fine")
    approved = events()
    assert [event["detail"]["UpdatedModelPackageFields"] for event in approved] == [
        ["ModelApprovalStatus", "ApprovalDescription"]
    ] * 3

    sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"commit": "abc"})
    stamped = events()
    assert [
        (event["detail"]["ModelApprovalStatus"], event["detail"]["UpdatedModelPackageFields"]) for event in stamped
    ] == [("Approved", ["CustomerMetadataProperties"])] * 3


# The event as AWS publishes it, by the type that JSON gives each field:
# https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html#eventbridge-model-package
ENVELOPE = {"version": str, "id": str, "detail-type": str, "source": str, "account": str, "time": str, "region": str,
            "resources": list, "detail": dict}  # fmt: skip
DETAIL = {"ModelPackageGroupName": str, "ModelPackageVersion": int, "ModelPackageArn": str, "CreationTime": str,
          "InferenceSpecification": dict, "ModelPackageStatus": str, "ModelPackageStatusDetails": dict,
          "CertifyForMarketplace": bool, "ModelApprovalStatus": str, "MetadataProperties": dict, "ModelMetrics": dict,
          "ModelLifeCycle": dict, "UpdatedModelPackageFields": list, "LastModifiedTime": str}  # fmt: skip


def test_a_version_tells_by_their_iam_identity_who_made_it_and_who_changed_it_last(
    sagemaker: Any, register: Callable[..., str]
) -> None:
    arn = register()
    root = {"IamIdentity": {"Arn": "arn:aws:iam::123456789012:root", "PrincipalId": "123456789012"}}
    created = sagemaker.describe_model_package(ModelPackageName=arn)
    assert created["CreatedBy"] == root
    assert "LastModifiedBy" not in created
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    assert sagemaker.describe_model_package(ModelPackageName=arn)["LastModifiedBy"] == root


def test_an_event_has_the_fields_and_types_that_aws_publishes(
    sagemaker: Any, register: Callable[..., str], events: Callable[[], list[dict[str, Any]]]
) -> None:
    statistics = {"ContentType": "application/json", "S3Uri": "s3://bucket/evaluation.json"}
    arn = register(
        MetadataProperties={"GeneratedBy": "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p/execution/1"},
        ModelMetrics={"ModelQuality": {"Statistics": statistics}},
    )
    events()
    stage = {"Stage": "Development", "StageStatus": "Approved", "StageDescription": "by hand"}
    sagemaker.update_model_package(ModelPackageArn=arn, ModelLifeCycle=stage, SourceUri="s3://bucket/code")
    event = events()[0]
    assert {key: type(value) for key, value in event.items()} == ENVELOPE
    detail = event["detail"]
    assert {key: type(value) for key, value in detail.items()} == DETAIL | {"SourceUri": str}
    assert detail["ModelLifeCycle"] == stage
    assert detail["UpdatedModelPackageFields"] == ["ModelLifeCycle", "sourceUri"]
    assert detail["ModelPackageStatusDetails"] == {"ValidationStatuses": [], "ImageScanStatuses": []}
    described = sagemaker.describe_model_package(ModelPackageName=arn)
    assert (described["ModelLifeCycle"], described["SourceUri"]) == (stage, "s3://bucket/code")


def test_what_the_registry_would_forget_is_refused_by_name(sagemaker: Any, register: Callable[..., str]) -> None:
    with pytest.raises(ClientError, match="The sandbox does not have ManagedStorageType of model packages"):
        register(ManagedStorageType="Restricted")
    with pytest.raises(ClientError, match="The sandbox does not have InferenceSpecification of model packages"):
        sagemaker.update_model_package(ModelPackageArn=register(), InferenceSpecification=SPECIFICATION)


def test_a_model_card_is_kept_and_one_of_another_schema_is_refused(
    sagemaker: Any, register: Callable[..., str]
) -> None:
    card = {"ModelCardContent": '{"intended_uses": {"purpose_of_model": "ages"}}', "ModelCardStatus": "Draft"}
    arn = register(ModelCard=card)
    assert sagemaker.describe_model_package(ModelPackageName=arn)["ModelCard"] == card
    for content in ('{"model_package_details": {}}', "[]", "{"):
        with pytest.raises(ClientError, match="Model card content does not follow the schema"):
            sagemaker.update_model_package(ModelPackageArn=arn, ModelCard=card | {"ModelCardContent": content})


def test_refusals(sagemaker: Any, project: Project, register: Callable[..., str]) -> None:
    unknown = f"{ARN}/{project.group}/7"
    arn = register()

    def refusal(call: Callable[..., Any], **settings: Any) -> str:
        with pytest.raises(ClientError) as caught:
            call(**settings)
        error = caught.value.response["Error"]
        return f"{error['Code']}: {error['Message']}"

    missing = f"ValidationException: ModelPackage {unknown} does not exist."
    assert refusal(sagemaker.describe_model_package, ModelPackageName=unknown) == missing
    update = {"ModelPackageArn": unknown, "ModelApprovalStatus": "Approved"}
    assert refusal(sagemaker.update_model_package, **update) == missing
    assert "does not exist" in refusal(
        sagemaker.create_model_package, ModelPackageGroupName="nothing", InferenceSpecification=SPECIFICATION
    )
    assert "already exists" in refusal(sagemaker.create_model_package_group, ModelPackageGroupName=project.group)
    for properties in ({"url": "https://host/?a=1"}, {"long": "x" * 257}, {f"k{n}": "v" for n in range(51)}):
        assert "failed to satisfy constraint" in refusal(
            sagemaker.update_model_package, ModelPackageArn=arn, CustomerMetadataProperties=properties
        )
    assert "CustomerMetadataProperties" not in sagemaker.describe_model_package(ModelPackageName=arn)


def test_a_version_in_a_group_has_been_neither_validated_nor_scanned(
    sagemaker: Any, register: Callable[..., str]
) -> None:
    described = sagemaker.describe_model_package(ModelPackageName=register())
    assert described["ModelPackageStatusDetails"] == {"ValidationStatuses": [], "ImageScanStatuses": []}


def test_the_stage_of_the_life_cycle_is_kept_and_its_event_names_it_alone(
    sagemaker: Any, register: Callable[..., str], events: Callable[[], list[dict[str, Any]]]
) -> None:
    arn = register(ModelApprovalStatus="Approved")
    events()
    stage = {"Stage": "Production", "StageStatus": "Deployed"}
    sagemaker.update_model_package(ModelPackageArn=arn, ModelLifeCycle=stage)
    assert sagemaker.describe_model_package(ModelPackageName=arn)["ModelLifeCycle"] == stage
    changes = [(each["detail"]["UpdatedModelPackageFields"], each["detail"]["ModelLifeCycle"]) for each in events()]
    assert changes
    assert all(each == (["ModelLifeCycle"], stage) for each in changes)
