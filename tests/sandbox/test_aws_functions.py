"""Lambda functions of the sandbox run their archives; SQS feeds them in batches; EventBridge reaches both."""

from __future__ import annotations

import base64
import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.functions import archive
from tests.support.servers import Aws, create_role

ECHO = """
import json, os
print("loading")
def handler(event, context):
    print("got", json.dumps(event, sort_keys=True))
    return {"event": event, "name": context.function_name, "id": context.aws_request_id,
            "left": context.get_remaining_time_in_millis(), "mood": os.environ.get("MOOD"), "process": os.getpid()}
"""


class Functions:
    """Makes functions, queues and mappings, and asks for what came of them."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.client, self.sqs = aws.client("lambda"), aws.client("sqs")
        self.names: list[str] = []
        self.role = create_role(aws, f"function-{uuid.uuid4().hex[:8]}", "lambda.amazonaws.com")

    def create(self, source: str, **settings: Any) -> str:
        name = f"function-{uuid.uuid4().hex[:8]}"
        settings_of_function = {
            "Timeout": 10,
            "Handler": "app.handler",
            "Runtime": "python3.13",
            "Role": self.role,
        } | settings
        self.client.create_function(FunctionName=name, Code={"ZipFile": archive(app=source)}, **settings_of_function)
        self.names.append(name)
        return name

    def invoke(self, name: str, event: Any = None) -> tuple[Any, dict[str, Any]]:
        answer = self.client.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
        return json.loads(answer["Payload"].read()), answer

    def queue(self, **attributes: str) -> str:
        all_attributes = {"VisibilityTimeout": "30"} | attributes
        return str(self.sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}", Attributes=all_attributes)["QueueUrl"])

    def arn(self, queue: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def count(self, queue: str) -> int:
        """Messages in the queue, visible or in flight."""
        numbers = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        return int(numbers["ApproximateNumberOfMessages"]) + int(numbers["ApproximateNumberOfMessagesNotVisible"])

    def log(self, name: str) -> list[str]:
        logs, group = self.aws.client("logs"), f"/aws/lambda/{name}"
        try:
            streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [
            event["message"]
            for stream in streams
            for event in logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        ]


@pytest.fixture
def functions(aws: Aws) -> Iterator[Functions]:
    functions = Functions(aws)
    yield functions
    for name in functions.names:
        functions.client.delete_function(FunctionName=name)  # ends its warm processes


def wait(done: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := done()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
    return result


# --- invocations ----------------------------------------------------------------------------------------------------


def test_an_archive_runs_with_event_context_variables_and_log(functions: Functions) -> None:
    name = functions.create(ECHO, Environment={"Variables": {"MOOD": "calm"}})
    result, answer = functions.invoke(name, {"a": 1})
    assert (result["event"], result["name"], result["mood"]) == ({"a": 1}, name, "calm")
    assert 0 < result["left"] <= 10_000
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert f"START RequestId: {result['id']}" in tail
    assert "REPORT RequestId" in tail
    assert 'got {"a": 1}' in functions.log(name)


def test_a_function_writes_to_the_log_group_it_is_given(aws: Aws, functions: Functions) -> None:
    group = f"/mine/{uuid.uuid4().hex[:8]}"
    functions.invoke(functions.create(ECHO, LoggingConfig={"LogGroup": group}))
    streams = aws.client("logs").describe_log_streams(logGroupName=group)["logStreams"]
    assert len(streams) == 1


def test_an_environment_stays_warm_until_code_or_configuration_change(functions: Functions) -> None:
    name = functions.create(ECHO)
    processes = [functions.invoke(name)[0]["process"] for _ in range(2)]
    functions.client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"MOOD": "new"}}, Timeout=10
    )
    after, _ = functions.invoke(name)
    functions.client.update_function_code(
        FunctionName=name, ZipFile=archive(app="def handler(e, c): return 'new code'")
    )
    assert processes[0] == processes[1] != after["process"]
    assert after["mood"] == "new"
    assert functions.invoke(name)[0] == "new code"


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("def handler(event, context): raise ValueError('no rows')", "ValueError", "no rows"),
        ("import sklearn", "Runtime.ImportModuleError", "No module named 'sklearn'"),  # installed here, not in Lambda
        ("def other(event, context): pass", "Runtime.HandlerNotFound", "Handler 'handler' missing"),
        ("import sys\ndef handler(event, context): sys.exit(3)", "Runtime.ExitError", "exit status 3"),
        ("def handler(event, context): return {1, 2}", "Runtime.MarshalError", "Unable to marshal response"),
    ],
)
def test_a_failing_function_answers_as_lambda_does(functions: Functions, source: str, kind: str, message: str) -> None:
    result, answer = functions.invoke(functions.create(source))
    assert answer["FunctionError"] == "Unhandled"
    assert result["errorType"] == kind
    assert message in result["errorMessage"]


def test_a_function_that_takes_too_long_is_killed(functions: Functions) -> None:
    name = functions.create("import time\ndef handler(event, context): time.sleep(60)", Timeout=1)
    result, answer = functions.invoke(name)
    assert answer["FunctionError"] == "Unhandled"
    assert "Task timed out after 1.00 seconds" in result["errorMessage"]


def test_a_function_calls_aws_with_its_role(aws: Aws, functions: Functions) -> None:
    source = "import boto3\ndef handler(event, context): return boto3.client('sts').get_caller_identity()['Arn']"
    result, _ = functions.invoke(functions.create(source))
    assert f"assumed-role/{functions.role.rpartition('/')[2]}/" in result


def test_a_role_that_lambda_may_not_assume_is_refused(aws: Aws, functions: Functions) -> None:
    role = create_role(aws, f"other-{uuid.uuid4().hex[:8]}", "sagemaker.amazonaws.com")
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        functions.create(ECHO, Role=role)


def test_an_archive_that_reaches_outside_is_refused(functions: Functions) -> None:
    name = f"function-{uuid.uuid4().hex[:8]}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("../../escaped.py", "x = 1")
    with pytest.raises(ClientError, match="Could not unzip uploaded file"):
        functions.client.create_function(
            FunctionName=name,
            Code={"ZipFile": buffer.getvalue()},
            Handler="app.handler",
            Runtime="python3.13",
            Role=functions.role,
        )
    assert not list(functions.aws.state.rglob("escaped.py"))


# --- queues ---------------------------------------------------------------------------------------------------------


def test_messages_reach_the_function_and_leave_the_queue(functions: Functions) -> None:
    name, queue = functions.create(ECHO), functions.queue()
    functions.client.create_event_source_mapping(EventSourceArn=functions.arn(queue), FunctionName=name, BatchSize=5)
    functions.sqs.send_message(QueueUrl=queue, MessageBody="hello")
    wait(lambda: any('"body": "hello"' in line for line in functions.log(name)))
    wait(lambda: functions.count(queue) == 0)


def test_a_message_that_keeps_failing_ends_in_the_dead_letter_queue(functions: Functions) -> None:
    dead = functions.queue()
    redrive = json.dumps({"deadLetterTargetArn": functions.arn(dead), "maxReceiveCount": 2})
    queue = functions.queue(VisibilityTimeout="1", RedrivePolicy=redrive)
    name = functions.create("def handler(event, context): raise ValueError('always')", Timeout=1)
    functions.client.create_event_source_mapping(EventSourceArn=functions.arn(queue), FunctionName=name)
    functions.sqs.send_message(QueueUrl=queue, MessageBody="bad")
    wait(lambda: functions.count(dead) == 1)
    assert functions.count(queue) == 0
    assert sum("ValueError: always" in line for line in functions.log(name)) == 2


def test_only_the_named_failures_of_a_batch_stay(functions: Functions) -> None:
    source = """
def handler(event, context):
    bad = [one["messageId"] for one in event["Records"] if one["body"] == "bad"]
    return {"batchItemFailures": [{"itemIdentifier": one} for one in bad]}
"""
    name, queue = functions.create(source), functions.queue()
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(["good", "bad", "good"])]
    functions.sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    mapping = functions.client.create_event_source_mapping(
        EventSourceArn=functions.arn(queue), FunctionName=name, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    wait(lambda: functions.count(queue) == 1)
    time.sleep(0.5)
    assert functions.count(queue) == 1
    functions.client.delete_event_source_mapping(UUID=mapping["UUID"])  # else it fails again and again


def test_a_queue_that_shows_messages_again_too_soon_is_refused(functions: Functions) -> None:
    name, queue = functions.create(ECHO, Timeout=60), functions.queue()
    with pytest.raises(ClientError, match="Queue visibility timeout: 30 seconds is less than Function timeout: 60"):
        functions.client.create_event_source_mapping(EventSourceArn=functions.arn(queue), FunctionName=name)


def test_a_function_whose_role_may_not_write_logs_runs_and_leaves_none(functions: Functions) -> None:
    create, put = "logs:CreateLogStream", "logs:PutLogEvents"
    creation = {"Effect": "Allow", "Action": "logs:CreateLogGroup", "Resource": "*"}
    for allowed in ([create], [put], [create, put]):
        statements: list[dict[str, Any]] = [creation, {"Effect": "Allow", "Action": allowed, "Resource": "*"}]
        role = create_role(functions.aws, f"logs-{uuid.uuid4().hex[:8]}", "lambda.amazonaws.com", statements)
        name = functions.create(ECHO, Role=role)
        assert functions.invoke(name, {"a": 1})[1]["StatusCode"] == 200
        assert bool(functions.log(name)) == (allowed == [create, put])


# --- events ---------------------------------------------------------------------------------------------------------


def put_rule(functions: Functions, pattern: dict[str, Any], target: str, state: str = "ENABLED") -> str:
    """A rule with one target; its ARN. A queue has to let it in: `admit`."""
    events, name = functions.aws.client("events"), f"rule-{uuid.uuid4().hex[:8]}"
    rule = events.put_rule(Name=name, EventPattern=json.dumps(pattern), State=state)["RuleArn"]
    events.put_targets(Rule=name, Targets=[{"Id": "one", "Arn": target}])
    return str(rule)


def admit(functions: Functions, queue: str, rule: str, principal: str = "events.amazonaws.com") -> None:
    """Let a rule send to a queue."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": principal},
        "Action": "sqs:SendMessage",
        "Resource": functions.arn(queue),
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    functions.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})


def send(functions: Functions, **detail: Any) -> None:
    entry = {"Source": "test", "DetailType": "Change", "Detail": json.dumps(detail)}
    functions.aws.client("events").put_events(Entries=[entry])


def test_a_rule_matches_lists_nested_fields_and_missing_fields(functions: Functions) -> None:
    queue = functions.queue()
    pattern = {
        "source": ["test"],
        "detail": {
            "Status": ["Approved"],
            "Updated": ["ModelApprovalStatus"],
            "Group": {"Name": [{"prefix": "abalone"}]},
            "Error": [{"exists": False}],
        },
    }
    admit(functions, queue, put_rule(functions, pattern, functions.arn(queue)))
    group = {"Name": "abalone-1"}
    send(functions, Status="Approved", Updated=["Other", "ModelApprovalStatus"], Group=group)
    send(functions, Status="Approved", Updated=["Other"], Group=group)
    send(functions, Status="Approved", Group=group)
    send(functions, Status="Approved", Updated=["ModelApprovalStatus"], Group={"Name": "other"})
    send(functions, Status="Approved", Updated=["ModelApprovalStatus"], Group=group, Error="x")
    messages = functions.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert [json.loads(message["Body"])["detail"]["Updated"] for message in messages] == [
        ["Other", "ModelApprovalStatus"]
    ]


def test_a_disabled_rule_sends_nothing(functions: Functions) -> None:
    queue = functions.queue()
    admit(functions, queue, put_rule(functions, {"source": ["test"]}, functions.arn(queue), state="DISABLED"))
    send(functions, a=1)
    assert functions.count(queue) == 0


def test_a_queue_takes_events_only_of_rules_that_its_policy_names(functions: Functions) -> None:
    queue = functions.queue()
    rule = put_rule(functions, {"source": ["test"]}, functions.arn(queue))
    for sender, principal in [(f"{rule}-2", "events.amazonaws.com"), (rule, "sns.amazonaws.com")]:
        admit(functions, queue, sender, principal)
        send(functions, a=1)
        assert functions.count(queue) == 0
    admit(functions, queue, rule)
    send(functions, a=1)
    assert functions.count(queue) == 1
