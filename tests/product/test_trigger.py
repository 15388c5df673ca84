"""The trigger: an approval starts one pipeline for exactly that version, and a failure is loud."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.private_gitlab import private_gitlab
from tests.support.servers import ROOT
from tests.support.trigger import DEPLOY_PROJECT, QUIET_SECONDS, TOKEN, Trigger, archive, log_lines, trigger  # noqa: F401 - the fixtures
from tests.support.waiting import wait_for


def test_an_approval_starts_one_pipeline_though_its_event_comes_three_times(trigger: Trigger) -> None:
    arn = trigger.register("PendingManualApproval")
    assert trigger.pipelines() == []

    trigger.set(arn, "Approved")

    assert trigger.pipelines() == [arn]
    (request,) = trigger.gitlab.requests
    assert (request["ref"], request["inputs"]) == ("main", {"model_package_arn": arn, "approval_number": "1"})
    assert trigger.metric("PipelinesStarted") == 1
    assert trigger.metric("EventsReceived") >= 3  # of the registration, and of the approval
    assert trigger.metric("EventsFailed") == 0  # copies that came while one was being worked on do not count


def test_an_update_of_an_approved_model_package_starts_nothing(trigger: Trigger) -> None:
    arn = trigger.register("PendingManualApproval")
    trigger.set(arn, "Approved")
    assert trigger.pipelines() == [arn]

    sagemaker = trigger.aws.client("sagemaker")
    sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"commit": "abc"})
    sagemaker.update_model_package(ModelPackageArn=arn, ApprovalDescription="still fine")
    trigger.set(arn, "Approved")

    assert trigger.pipelines() == [arn]


def test_approved_rejected_and_approved_again_starts_two(trigger: Trigger) -> None:
    arn = trigger.register("Approved")
    for status in ("Rejected", "Approved"):
        trigger.set(arn, status)
    assert trigger.pipelines() == [arn, arn]
    assert [request["inputs"]["approval_number"] for request in trigger.gitlab.requests] == ["1", "2"]


def test_a_pipeline_that_does_not_declare_the_number_is_started_without(trigger: Trigger) -> None:
    trigger.gitlab.inputs = {"model_package_arn"}

    arn = trigger.register("Approved")

    assert trigger.pipelines() == [arn]
    assert trigger.gitlab.requests[0]["inputs"] == {"model_package_arn": arn}
    assert trigger.gitlab.refused == [422]
    assert any("declare it in the `spec: inputs:` header" in line for line in log_lines(trigger))
    assert trigger.metric("EventsFailed") == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: (len(content), content[:20]),  # cut off
        lambda content: (0, b""),
        lambda content: (19, b"<html>Welcome</html"),
        lambda content: (2, b"[]"),
        lambda content: (8, b'{"id":1}'),
    ],
    ids=["cut", "empty", "html", "list", "no address"],
)
def test_a_pipeline_counts_as_started_whatever_the_body_of_the_answer_is(
    trigger: Trigger, spoil: Callable[[bytes], tuple[int, bytes]]
) -> None:
    trigger.gitlab.spoil = spoil
    trigger.retry_every(1)

    arn = trigger.register("Approved")

    assert trigger.pipelines() == [arn]
    assert trigger.metric("PipelinesStarted") == 1
    assert any("did not say which" in line for line in log_lines(trigger))


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("Insufficient permissions to set pipeline variables", "Minimum role to use pipeline variables to Maintainer"),
        ("Insufficient permissions to create a new pipeline", "let a Maintainer make a new token"),
        ("Reference not found", "GitLabRef"),
        ("Pipeline will not run for the selected trigger. The rules configuration ...", "sagemaker_project_name"),
    ],
)
def test_the_log_says_what_to_do_about_a_refusal(trigger: Trigger, message: str, advice: str) -> None:
    trigger.gitlab.refusal = message
    trigger.register("Approved")
    wait_for(lambda: any(message in line and advice in line for line in log_lines(trigger)))


def test_the_alarm_says_what_to_do_where_nobody_may_set_pipeline_variables(trigger: Trigger) -> None:
    alarms = trigger.aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    [text] = [each["AlarmDescription"] for each in alarms if f"{trigger.stack}-ErrorAlarm" in each["AlarmName"]]
    assert "Insufficient permissions to set pipeline variables" in text
    assert f"GitLab project {DEPLOY_PROJECT}" in text
    assert len(text) <= 1024


@pytest.mark.parametrize("text", [f"{TOKEN}\n", json.dumps({"token": TOKEN}), f'\n {{"token": "{TOKEN}\\n"}}'])
def test_the_token_is_found_however_people_store_it(trigger: Trigger, text: str) -> None:
    trigger.aws.client("secretsmanager").put_secret_value(SecretId=trigger.secret, SecretString=text)
    arn = trigger.register("Approved")
    assert trigger.pipelines() == [arn]


def test_a_secret_without_a_token_is_named_and_its_text_is_not(trigger: Trigger) -> None:
    trigger.aws.client("secretsmanager").put_secret_value(SecretId=trigger.secret, SecretString='{"Token": "hidden"}')
    trigger.register("Approved")
    wait_for(lambda: any(f"{trigger.secret} holds no trigger token" in line for line in log_lines(trigger)))
    assert any("its JSON has no entry 'token'" in line for line in log_lines(trigger))
    assert not any("hidden" in line for line in log_lines(trigger))
    assert trigger.gitlab.refused == []


def test_a_gitlab_with_a_certificate_authority_of_its_own(trigger: Trigger, tmp_path: Path) -> None:
    lambdas, function = trigger.aws.client("lambda"), trigger.outputs["FunctionName"]
    with private_gitlab(f"http://127.0.0.1:{trigger.gitlab.port}", tmp_path) as (url, authority):
        variables = lambdas.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        variables |= {"GITLAB_URL": url}
        lambdas.update_function_configuration(FunctionName=function, Environment={"Variables": variables})
        trigger.retry_every(1)
        arn = trigger.register("Approved")
        wait_for(lambda: any("CERTIFICATE_VERIFY_FAILED" in line for line in log_lines(trigger)))

        tags = [{"Key": "sagemaker-ci:gitlab", "Value": f"http://127.0.0.1:{trigger.gitlab.port}"}]
        name = f"{trigger.project.name}/authority"
        trigger.aws.client("secretsmanager").create_secret(Name=name, SecretString=authority, Tags=tags)
        trigger.update(GitLabCaSecretName=name)
        variables = lambdas.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        variables |= {"GITLAB_URL": url}
        lambdas.update_function_configuration(FunctionName=function, Environment={"Variables": variables})

        wait_for(lambda: bool(trigger.gitlab.requests))
        assert trigger.pipelines() == [arn]


def test_another_group_starts_nothing(trigger: Trigger) -> None:
    other = f"{trigger.project.group}-2"
    trigger.aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=other)
    foreign = trigger.register("Approved", other)
    assert trigger.pipelines() == []

    # Not even when somebody puts the event into the queue.
    event = json.loads((ROOT / "tests/unit/events/created_approved.json").read_text())
    event["detail"] |= {"ModelPackageGroupName": other, "ModelPackageArn": foreign}
    trigger.aws.client("sqs").send_message(QueueUrl=trigger.outputs["QueueUrl"], MessageBody=json.dumps(event))
    assert trigger.pipelines() == []


def test_a_pipeline_starts_once_gitlab_is_back(trigger: Trigger) -> None:
    trigger.retry_every(2)
    trigger.gitlab.down()
    arn = trigger.register("Approved")
    time.sleep(QUIET_SECONDS)
    assert not trigger.is_quiet()

    trigger.gitlab.up()

    wait_for(lambda: bool(trigger.gitlab.requests))
    assert trigger.pipelines() == [arn]


def test_a_busy_gitlab_is_asked_again_later_and_the_alarm_hears_of_it(trigger: Trigger) -> None:
    trigger.gitlab.busy = True
    arn = trigger.register("Approved")
    wait_for(lambda: any("answered 429 to the trigger" in line for line in log_lines(trigger)))  # it waits no minute
    wait_for(lambda: trigger.alarmed("ErrorAlarm") >= 1)

    trigger.gitlab.busy = False

    assert trigger.pipelines() == [arn]


@pytest.mark.parametrize("service", ["dynamodb", "secrets_manager"])
def test_a_service_of_aws_that_does_not_answer_stands_in_the_log(trigger: Trigger, service: str) -> None:
    """As in a VPC that lacks an endpoint for it."""
    lambdas, function = trigger.aws.client("lambda"), trigger.outputs["FunctionName"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = lambdas.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        address = {f"AWS_ENDPOINT_URL_{service.upper()}": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        lambdas.update_function_configuration(FunctionName=function, Environment={"Variables": variables | address})
        trigger.register("Approved")
        wait_for(lambda: any("Read timeout on endpoint URL" in line for line in log_lines(trigger)))
    assert not any("Task timed out" in line for line in log_lines(trigger))
    wait_for(lambda: trigger.alarmed("ErrorAlarm") >= 1)


def test_a_rotated_token_is_read_again_and_never_logged(trigger: Trigger) -> None:
    first = trigger.register("Approved")
    assert trigger.pipelines() == [first]

    trigger.retry_every(2)
    trigger.gitlab.token = "glptt-9876543210"
    second = trigger.register("Approved")
    wait_for(lambda: bool(trigger.gitlab.refused))
    trigger.aws.client("secretsmanager").put_secret_value(SecretId=trigger.secret, SecretString=trigger.gitlab.token)

    wait_for(lambda: len(trigger.gitlab.requests) == 2)
    assert trigger.pipelines() == [first, second]
    lines = log_lines(trigger)
    assert any("answered 404 to the trigger of project 4711 on ref main" in line for line in lines)
    assert not any("glptt-" in line for line in lines)
    (started,) = [line for line in lines if "pipeline started" in line and second in line]
    record = json.loads(started)
    assert (record["model_package_arn"], record["ordinal"]) == (second, 1)
    assert record["pipeline_url"].endswith("/pipelines/2")


def test_a_message_that_is_no_event_ends_in_the_dead_letter_queue(trigger: Trigger) -> None:
    sqs = trigger.aws.client("sqs")
    queue, dead = trigger.outputs["QueueUrl"], trigger.outputs["DeadLetterQueueUrl"]
    trigger.retry_every(1)
    policy = json.loads(
        sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    )
    impatient = json.dumps(policy | {"maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": impatient})
    sqs.send_message(QueueUrl=queue, MessageBody='{"detail": {}}')
    good = trigger.register("Approved")

    assert sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=20)["Messages"][0]["Body"] == '{"detail": {}}'
    assert trigger.pipelines() == [good]


def test_an_event_that_the_queue_does_not_take_ends_in_the_dead_letter_queue(trigger: Trigger) -> None:
    trigger.aws.client("sqs").set_queue_attributes(QueueUrl=trigger.outputs["QueueUrl"], Attributes={"Policy": ""})

    arn = trigger.register("Approved")

    assert trigger.pipelines() == []
    dead = {"QueueUrl": trigger.outputs["DeadLetterQueueUrl"], "WaitTimeSeconds": 5}
    [message] = trigger.aws.client("sqs").receive_message(**dead)["Messages"]
    assert json.loads(message["Body"])["resources"] == [arn]
