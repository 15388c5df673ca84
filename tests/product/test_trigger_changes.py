"""The trigger, beside approvals: rejections take a version back or raise an alarm, and who waits is announced once."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tests.support.trigger import Trigger, archive, log_lines, trigger  # noqa: F401 - the fixtures
from tests.support.waiting import wait_for

IN_PRODUCTION = {"Stage": "Production", "StageStatus": "Deployed", "StageDescription": "Endpoint"}
STAMP = {
    "GitLabCommit": "0a1b2c3d4e5f",
    "GitLabJob": "https://gitlab.example.com/mlops/build/-/jobs/97",
    "Metric.mse.value": "4.43",
}


def deployed(trigger: Trigger) -> str:
    """A version that stands in production."""
    arn = trigger.register("Approved")
    trigger.aws.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelLifeCycle=IN_PRODUCTION)
    return arn


def announced(trigger: Trigger) -> Callable[[], list[dict[str, str]]]:
    """Lets the trigger announce to a topic; what the topic was told until now, each with Subject and Message."""
    sns, sqs = trigger.aws.client("sns"), trigger.aws.client("sqs")
    topic = sns.create_topic(Name=f"{trigger.project.name}-versions")["TopicArn"]
    queue = sqs.create_queue(QueueName=f"{trigger.project.name}-versions")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    trigger.update(AnnouncementTopicArn=topic)
    messages: list[dict[str, str]] = []

    def read() -> list[dict[str, str]]:
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        messages.extend(json.loads(message["Body"]) for message in received)
        return messages

    return read


def test_a_rejection_of_what_was_approved_starts_one_rollback_though_its_event_comes_three_times(
    trigger: Trigger,
) -> None:
    trigger.update(RollbackOnRejection="true")
    arn = deployed(trigger)
    assert trigger.pipelines() == [arn]

    trigger.set(arn, "Rejected")
    assert trigger.rollbacks() == [arn]
    assert trigger.gitlab.requests[-1]["inputs"] == {"rollback_from": arn}
    assert trigger.metric("RollbacksStarted") == 1

    trigger.set(arn, "Rejected")  # no change
    assert trigger.rollbacks() == [arn]
    trigger.set(arn, "Approved")
    trigger.set(arn, "Rejected")
    assert trigger.rollbacks() == [arn, arn]
    assert trigger.metric("EventsFailed") == 0
    assert trigger.alarmed("RejectionAlarm") == 0


def test_a_version_that_was_never_approved_is_rejected_without_a_rollback(trigger: Trigger) -> None:
    trigger.update(RollbackOnRejection="true")
    arn = trigger.register("PendingManualApproval")
    trigger.set(arn, "Rejected")
    assert trigger.rollbacks() == []


def test_a_version_that_was_approved_again_while_gitlab_was_down_is_not_taken_back(trigger: Trigger) -> None:
    trigger.update(RollbackOnRejection="true")
    arn = deployed(trigger)
    assert trigger.pipelines() == [arn]
    trigger.gitlab.busy = True
    trigger.set(arn, "Rejected")
    wait_for(lambda: bool(trigger.gitlab.refused))
    trigger.set(arn, "Approved")
    time.sleep(1)

    trigger.gitlab.busy = False

    assert trigger.pipelines() == [arn, arn]
    assert trigger.rollbacks() == []


def test_without_a_rollback_the_rejection_of_what_stands_in_production_raises_the_alarm(trigger: Trigger) -> None:
    other, arn = trigger.register("Approved"), deployed(trigger)
    trigger.set(other, "Rejected")
    assert trigger.rollbacks() == []
    assert trigger.alarmed("RejectionAlarm") == 0

    trigger.set(arn, "Rejected")

    assert trigger.rollbacks() == []
    assert trigger.alarmed("RejectionAlarm") >= 1
    [line] = {json.loads(line)["model_package_arn"] for line in log_lines(trigger) if "nobody asked for" in line}
    assert line == arn


@pytest.mark.parametrize(
    ("declared", "refusal", "advice"),
    [
        ({"model_package_arn", "approval_number"}, "", "Declare the input rollback_from"),
        (
            set(),
            "Pipeline will not run for the selected trigger.",
            "hand rollback_from and `rollback: true` to the component",
        ),
    ],
)
def test_the_log_says_what_keeps_a_version_from_being_taken_back(
    trigger: Trigger, declared: set[str], refusal: str, advice: str
) -> None:
    trigger.update(RollbackOnRejection="true")
    arn = trigger.register("Approved")
    assert trigger.pipelines() == [arn]
    trigger.gitlab.inputs = declared or trigger.gitlab.inputs
    trigger.gitlab.refusal = refusal

    trigger.set(arn, "Rejected")

    wait_for(lambda: any(advice in line for line in log_lines(trigger)))
    wait_for(lambda: trigger.alarmed("ErrorAlarm") >= 1)


def test_a_version_that_waits_is_announced_once_with_what_it_comes_from(trigger: Trigger) -> None:
    messages, sagemaker = announced(trigger), trigger.aws.client("sagemaker")
    trigger.retry_every(30)  # the stamp is here before a look without it gives up
    arn = trigger.register("PendingManualApproval")
    sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties=STAMP)
    sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"note": "again"})

    assert trigger.pipelines() == []
    wait_for(lambda: bool(messages()))
    assert [each["Subject"] for each in messages()] == [f"Version 1 of {trigger.project.group} waits for approval"]
    assert "Commit: 0a1b2c3d4e5f" in messages()[0]["Message"]
    assert f"GitLab job: {STAMP['GitLabJob']}" in messages()[0]["Message"]
    assert "mse.value: 4.43" in messages()[0]["Message"]
    assert trigger.metric("EventsFailed") == 0


def test_a_version_without_origin_is_announced_after_a_pause_and_one_that_was_decided_on_is_not(
    trigger: Trigger,
) -> None:
    messages = announced(trigger)
    trigger.retry_every(10)  # long enough for all events of the second version to have been seen once
    trigger.register("PendingManualApproval")
    decided = trigger.register("PendingManualApproval")
    trigger.set(decided, "Rejected")

    assert trigger.pipelines() == []
    wait_for(lambda: bool(messages()))
    assert [each["Subject"] for each in messages()] == [f"Version 1 of {trigger.project.group} waits for approval"]
    assert trigger.metric("EventsFailed") == 0
