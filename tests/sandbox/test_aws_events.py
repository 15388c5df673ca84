"""EventBridge beyond the recorded table: pattern language and inputs of targets, by event-ruler and AWS's guide."""

import json
from contextlib import nullcontext

import pytest
from aws_lambda_powertools.utilities.parser.models import S3EventNotificationEventBridgeModel

from sandbox.aws.events import patterns, transform
from tests.support.servers import ACCOUNT, REGION, Aws, Project

EVENT = {
    "source": "gold",
    "time": "2026-01-01T00:00:00Z",
    "detail": {
        "models": [{"name": "a", "state": "ready"}, {"name": "b", "state": "failed"}],
        "tags": ["x", "y"],
        "count": 5,
        "done": True,
        "none": None,
        "address": "10.0.0.7",
        "empty": {},
    },
}


@pytest.mark.parametrize(
    ("detail", "fits"),
    [
        # One object of the array has to hold all of it.
        ('{"models": {"name": ["a"], "state": ["ready"]}}', True),
        ('{"models": {"name": ["a"], "state": ["failed"]}}', False),
        ('{"tags": ["y"]}', True),
        ('{"tags": [{"anything-but": "x"}]}', True),
        ('{"tags": [{"anything-but": ["x", "y"]}]}', False),
        ('{"count": [5.0]}', True),
        ('{"count": ["5"]}', False),
        ('{"done": [1]}', False),
        ('{"done": [true]}', True),
        ('{"none": [{"anything-but": "x"}]}', True),
        ('{"missing": [{"anything-but": "x"}]}', False),
        ('{"count": [{"anything-but": {"prefix": "5"}}]}', True),
        ('{"count": [{"numeric": [">=", 5, "<", 6]}]}', True),
        ('{"count": [{"numeric": ["=", 6]}]}', False),
        ('{"address": [{"cidr": "10.0.0.0/29"}]}', True),
        ('{"address": [{"cidr": "10.0.0.8/29"}]}', False),
        ('{"address": ["10.0.0.07"]}', False),
        ('{"empty": [{"exists": true}]}', False),
        ('{"missing": [{"exists": false}], "count": [5]}', True),
        ('{"$or": [{"count": [1]}, {"$or": [{"done": [false]}, {"tags": ["x"]}]}]}', True),
        ('{"$or": [{"count": [1]}, {"count": [5], "done": [false]}]}', False),
        (r'{"address": [{"wildcard": "10.*\\*"}]}', False),
    ],
)
def test_a_pattern_fits(detail: str, fits: bool) -> None:
    assert patterns.read(f'{{"source": ["gold"], "detail": {detail}}}').matches(EVENT) is fits


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[]", "Filter is not an object"),
        ("{}", "Empty objects are not allowed"),
        ('{"a": {}}', "Empty objects are not allowed"),
        ('{"a": []}', "Empty arrays are not allowed"),
        ('{"a": [[1]]}', "Match value must be String, number, true, false, or null"),
        ('{"a": [{}]}', "Match expression name not found"),
        ('{"a": [{"prefix": "x", "suffix": "y"}]}', "Only one key allowed in match expression"),
        ('{"a": [{"prefix": {"suffix": "y"}}]}', "Unsupported prefix pattern: suffix"),
        ('{"a": [{"exists": "true"}]}', "exists match pattern must be either true or false."),
        ('{"a": [{"numeric": ["=", 1, "<", 2]}]}', "Too many elements in numeric expression"),
        ('{"a": [{"numeric": [">", 2, "<", 1]}]}', "Bottom must be less than top"),
        ('{"a": [{"numeric": [5]}]}', "Invalid member in numeric match: 5"),
        ('{"a": [{"anything-but": ["x", 1]}]}', "Inside anything but list, either all values are number or string"),
        ('{"a": [{"anything-but": {"numeric": [1]}}]}', "Unsupported anything-but pattern: numeric"),
        ('{"a": [{"cidr": "10.0.0.0/32"}]}', "IPv4 mask bits must be < 32"),
        ('{"a": [{"cidr": "10.0.0/8"}]}', "Nonstandard IP address: 10.0.0"),
        ('{"a": [{"wildcard": "x**"}]}', "Consecutive wildcard characters at pos 2"),
        (r'{"a": [{"wildcard": "x\\y"}]}', "Invalid escape character at pos 2"),
        ('{"$or": [{"a": [1]}]}', "There must have at least 2 Objects in $or relationship."),
        ('{"$or": {"a": [1]}}', "It must be an Array followed with $or."),
        (
            '{"$or": [{"prefix": [1]}, {"a": [1]}]}',
            "prefix is Ruler reserved fieldName which cannot be used inside $or.",
        ),
        ("no json", "Unrecognized token 'no': was expecting (JSON String"),
        ("{'a': [1]}", "Unexpected character (''' (code 39)): was expecting double-quote to start field name"),
    ],
)
def test_a_pattern_is_refused_with_its_reason(pattern: str, reason: str) -> None:
    with pytest.raises(patterns.InvalidPattern) as refusal:
        patterns.read(pattern)
    assert str(refusal.value).startswith(reason)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('"The count is <count>, tags <tags>, of <models>"', '"The count is 5, tags [x,y], of {name:a,state:ready}"'),
        ('"one <count>"\n"two <missing>"', '"one 5"\n"two "'),
        ('{"tags": <tags>, "path": "models/<name>", "no": <missing>}', '{"tags":["x","y"],"path":"models/a","no":""}'),
        (
            '{"rule": <aws.events.rule-name>, "at": "<aws.events.event.ingestion-time>"}',
            '{"rule":"r","at":"2026-01-01T00:00:00Z"}',
        ),
        ('{"tags": "<tags>"}', None),
        ("<tags> without quotes", None),
    ],
)
def test_a_template_is_filled(template: str, text: str | None) -> None:
    paths = {
        "count": "$.detail.count",
        "tags": "$.detail.tags",
        "models": "$.detail.models[0]",
        "name": "$.detail.models[0].name",
        "missing": "$.detail.no-such.thing",
    }
    target = {"InputTransformer": {"InputPathsMap": paths, "InputTemplate": template}}
    assert transform.text(target, "arn", "r", EVENT) == text


def test_a_target_that_is_no_queue_is_refused_as_lacking(aws: Aws) -> None:
    events = aws.client("events")
    events.put_rule(Name="to-a-topic", EventPattern='{"source": ["gold"]}')
    with pytest.raises(
        events.exceptions.ClientError, match="The sandbox does not have targets of rules that are no queues"
    ):
        events.put_targets(Rule="to-a-topic", Targets=[{"Id": "a", "Arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:topic"}])


def test_a_rule_has_five_targets_at_most(aws: Aws) -> None:
    events = aws.client("events")
    events.put_rule(Name="six", EventPattern='{"source": ["gold"]}')
    targets = [{"Id": str(number), "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"} for number in range(6)]
    with pytest.raises(events.exceptions.LimitExceededException):
        events.put_targets(Rule="six", Targets=targets)


@pytest.mark.parametrize(
    ("schedule", "accepted"),
    [
        ("rate(1 minute)", True),
        ("rate(10 hours)", True),
        ("cron(0 2 ? * SAT#3 *)", True),
        ("rate(1 minutes)", False),
        ("rate(10 day)", False),
        ("rate(0 minutes)", False),
        ("rate( 10 minutes )", False),
        ("rate(10 MINUTES)", False),
        ("cron(0 1 * * * *)", False),
        ("every minute", False),
    ],
)
def test_a_schedule_is_checked(aws: Aws, schedule: str, accepted: bool) -> None:
    events = aws.client("events")
    with (
        nullcontext()
        if accepted
        else pytest.raises(events.exceptions.ClientError, match=r"Parameter ScheduleExpression is not valid\.")
    ):
        events.put_rule(Name="clock", ScheduleExpression=schedule)


def test_a_bucket_that_sends_its_events_tells_of_new_objects_in_aws_published_shape(aws: Aws, project: Project) -> None:
    sqs, s3, events = aws.client("sqs"), aws.client("s3"), aws.client("events")
    queue = sqs.create_queue(QueueName=project.bucket)["QueueUrl"]
    arn, rule = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{project.bucket}", f"new-objects-of-{project.bucket}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [project.bucket]}}}
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])

    s3.put_object(Bucket=project.bucket, Key="before", Body=b"1")  # the bucket does not tell yet
    s3.put_bucket_notification_configuration(
        Bucket=project.bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.put_object(Bucket=project.bucket, Key="a b.csv", Body=b"1,2")
    s3.delete_object(Bucket=project.bucket, Key="a b.csv")  # other kinds of events are not imitated

    [message] = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    notification = S3EventNotificationEventBridgeModel.model_validate_json(message["Body"])
    assert (notification.detail_type, notification.resources) == ("Object Created", [f"arn:aws:s3:::{project.bucket}"])
    assert (notification.detail.bucket.name, notification.detail.object.key, notification.detail.object.size) == (
        project.bucket,
        "a b.csv",
        3,
    )
    assert notification.detail.reason == "PutObject"
    events.remove_targets(Rule=rule, Ids=["queue"])
    events.delete_rule(Name=rule)
