"""infra/new-data.yml, deployed: what comes to a place in S3 starts one pipeline for a burst, nothing is left out."""

# ruff: noqa: F811 - the fixtures are used under the names they are imported by

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.servers import Aws, Project
from tests.support.stacks import infra_stack
from tests.support.trigger import DEPLOY_PROJECT, TOKEN, GitLab, archive  # noqa: F401 - the fixture
from tests.support.waiting import wait_for

PREFIX = "incoming/"
QUIET_SECONDS = 3  # more than the doubt about clocks
_COUNTS = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]


class NewData(NamedTuple):
    """The stack, the GitLab that it asks, and the bucket that it watches."""

    aws: Aws
    bucket: str
    gitlab: GitLab
    outputs: dict[str, str]
    table: str

    def put(self, *keys: str, body: bytes = b"1,2\n") -> None:
        for key in keys:
            self.aws.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)

    def is_quiet(self) -> bool:
        queue = {"QueueUrl": self.outputs["QueueUrl"], "AttributeNames": _COUNTS}
        return not any(map(int, self.aws.client("sqs").get_queue_attributes(**queue)["Attributes"].values()))

    def started(self) -> list[str]:
        """What each pipeline was told of the data that it was started for, once every event has been worked off."""
        wait_for(self.is_quiet, "every event worked off", 60)
        return [request["inputs"].get("new_data", "") for request in self.gitlab.requests]

    def records(self) -> dict[str, dict[str, Any]]:
        items = self.aws.client("dynamodb").scan(TableName=self.table)["Items"]
        return {item["id"]["S"]: item for item in items}


@pytest.fixture
def new_data(aws: Aws, project: Project, archive: Path) -> Iterator[NewData]:
    gitlab = GitLab()
    gitlab.inputs = {"new_data"}
    s3 = aws.client("s3")
    s3.upload_file(str(archive), project.bucket, archive.name)
    s3.put_bucket_notification_configuration(
        Bucket=project.bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    secret = aws.client("secretsmanager").create_secret(Name=f"{project.name}/build-token", SecretString=TOKEN)["ARN"]
    parameters = {
        "SageMakerProjectName": project.name,
        "SageMakerProjectId": project.id,
        "DataBucket": project.bucket,
        "DataPrefix": PREFIX,
        "QuietMinutes": "1",
        "GitLabServerUrl": f"http://127.0.0.1:{gitlab.port}",
        "GitLabProjectId": DEPLOY_PROJECT,
        "TriggerTokenSecretArn": secret,
        "CodeBucket": project.bucket,
        "CodeKey": archive.name,
    }
    with infra_stack(aws, "new-data.yml", parameters) as stack:
        sqs, url = aws.client("sqs"), stack.outputs["QueueUrl"]
        delay = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["DelaySeconds"])["Attributes"]["DelaySeconds"]
        assert delay == "60"
        sqs.set_queue_attributes(
            QueueUrl=url, Attributes={"DelaySeconds": str(QUIET_SECONDS), "VisibilityTimeout": "3"}
        )
        resources = aws.client("cloudformation").describe_stack_resources(StackName=stack.name)["StackResources"]
        [table] = [each["PhysicalResourceId"] for each in resources if each["LogicalResourceId"] == "Starts"]
        yield NewData(aws, project.bucket, gitlab, stack.outputs, table)
    gitlab.down()


def test_a_burst_starts_one_pipeline_what_comes_later_another_and_other_places_none(new_data: NewData) -> None:
    new_data.put("outgoing/a.csv", "incoming")
    new_data.put(f"{PREFIX}folder/", body=b"")  # as S3's console makes a folder
    new_data.put(*(f"{PREFIX}{number}.csv" for number in range(10)))
    assert len(new_data.started()) == 1
    new_data.put(f"{PREFIX}late.csv")
    first, second = new_data.started()
    assert first < second
    [request, _] = new_data.gitlab.requests
    assert request["ref"] == "main"


def test_what_comes_while_gitlab_is_down_is_trained_with_when_it_is_back_declared_or_not(new_data: NewData) -> None:
    new_data.gitlab.busy, new_data.gitlab.inputs = True, set()
    new_data.put(f"{PREFIX}a.csv")
    wait_for(lambda: new_data.gitlab.refused, "an attempt")
    new_data.gitlab.busy = False
    assert new_data.started() == [""]


def test_an_end_between_gitlabs_answer_and_the_record_repeats_the_name_of_the_start_and_covers_nothing_new(
    new_data: NewData,
) -> None:
    new_data.put(f"{PREFIX}a.csv")
    [first] = new_data.started()
    # As the function left it when it was ended there: nothing of the pipeline, only that it was to be asked for.
    before = new_data.records()
    dynamodb = new_data.aws.client("dynamodb")
    for key in before.keys() - {"covered", f"after#{first}"}:
        dynamodb.delete_item(TableName=new_data.table, Key={"id": {"S": key}})
    dynamodb.update_item(
        TableName=new_data.table,
        Key={"id": {"S": "covered"}},
        UpdateExpression="SET covered_until = :before",
        ExpressionAttributeValues={":before": {"S": first}},
    )
    new_data.put(f"{PREFIX}b.csv")
    again, other = new_data.started()[1:]
    assert again == first
    assert other == before[f"after#{first}"]["seen_until"]["S"]
