"""Asynchronous endpoints of the sandbox's AWS: a queue, answers and failures in S3, and what SNS says of them."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.hosting import Hosting, archive, model_predicting, refusal
from tests.support.servers import ACCOUNT, REGION, create_role
from tests.support.waiting import wait_for

# Answers with its input; waits as many seconds as the input says when that is a number.
PROGRAM = b"""
import time
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    if body.startswith("broken"): raise ValueError("cannot be scored")
    if body.replace(".", "").isdigit(): time.sleep(float(body))
    return f"{body}|{content_type}|{accept}", "text/plain"
"""


class Asynchronous:
    """One asynchronous endpoint with its topics, and a queue that hears of both."""

    def __init__(self, hosting: Hosting) -> None:
        self.hosting, self.bucket, self.s3 = hosting, hosting.project.bucket, hosting.aws.client("s3")
        self.runtime = hosting.aws.client("sagemaker-runtime")
        sns, sqs = hosting.aws.client("sns"), hosting.aws.client("sqs")
        unique = uuid.uuid4().hex[:8]
        self.queue = sqs.create_queue(QueueName=f"heard-{unique}")["QueueUrl"]
        self.topics = {}
        for topic in ("SuccessTopic", "ErrorTopic"):
            self.topics[topic] = sns.create_topic(Name=f"{topic}-{unique}")["TopicArn"]
            arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:heard-{unique}"
            sns.subscribe(TopicArn=self.topics[topic], Protocol="sqs", Endpoint=arn)

    def config(self, model: str = "", notify: tuple[str, ...] = (), **client: int) -> str:
        including = {"IncludeInferenceResponseIn": list(notify)} if notify else {}
        output = {
            "S3OutputPath": f"s3://{self.bucket}/out/",
            "S3FailurePath": f"s3://{self.bucket}/failed",
            "KmsKeyId": "alias/key",
            "NotificationConfig": {**self.topics, **including},
        }
        settings: dict[str, Any] = {"OutputConfig": output} | ({"ClientConfig": client} if client else {})
        variant = {"ModelName": model or self.model(), "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        return self.hosting.configured(variant, AsyncInferenceConfig=settings)

    def model(self) -> str:
        settings = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
        return self.hosting.model(archive({"code/inference.py": PROGRAM}), Environment=settings)

    def endpoint(self, config: str = "") -> str:
        name = self.hosting.endpoint(config or self.config())
        assert self.hosting.settled(name)["EndpointStatus"] == "InService"
        return name

    def ask(self, name: str, body: str = "1,2,3", content_type: str = "text/csv", **settings: Any) -> dict[str, Any]:
        key = f"in/{uuid.uuid4().hex}"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body.encode(), ContentType=content_type)
        location = {"InputLocation": f"s3://{self.bucket}/{key}"}
        answer: dict[str, Any] = self.runtime.invoke_endpoint_async(EndpointName=name, **location | settings)
        return answer | location

    def text(self, uri: str) -> str | None:
        try:
            content = self.s3.get_object(Bucket=self.bucket, Key=uri.removeprefix(f"s3://{self.bucket}/"))
        except ClientError:
            return None
        return str(content["Body"].read().decode())

    def heard(self) -> dict[str, Any]:
        """The next message of either topic."""
        sqs = self.hosting.aws.client("sqs")
        [message] = wait_for(
            lambda: sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=1).get("Messages"), "a message"
        )
        sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        notification = json.loads(message["Body"])
        text: dict[str, Any] = json.loads(notification["Message"])
        return text | {"Topic": notification["TopicArn"]}


@pytest.fixture
def asynchronous(hosting: Hosting) -> Asynchronous:
    return Asynchronous(hosting)


def test_an_answer_comes_to_s3_and_the_success_topic_tells_of_it(asynchronous: Asynchronous) -> None:
    name = asynchronous.endpoint()
    answer = asynchronous.ask(name, Accept="text/plain", InferenceId="mine")

    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["InferenceId"]) == (202, "mine")
    assert answer["OutputLocation"].startswith(f"s3://{asynchronous.bucket}/out/")
    assert answer["OutputLocation"].endswith(".out")
    assert answer["FailureLocation"].startswith(f"s3://{asynchronous.bucket}/failed/")
    # The object's own type goes to the container, where the call names none.
    assert wait_for(lambda: asynchronous.text(answer["OutputLocation"]), "the answer") == "1,2,3|text/csv|text/plain"
    notification = asynchronous.heard()
    assert notification.pop("eventTime") >= notification.pop("receivedTime")
    assert notification == {
        "Topic": asynchronous.topics["SuccessTopic"],
        "awsRegion": REGION,
        "invocationStatus": "Completed",
        "requestParameters": {
            "accept": "text/plain",
            "endpointName": name,
            "inputLocation": answer["InputLocation"],
        },
        "responseParameters": {
            "contentType": "text/plain; charset=utf-8",
            "outputLocation": answer["OutputLocation"],
        },
        "inferenceId": "mine",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    described = asynchronous.hosting.sagemaker.describe_endpoint(EndpointName=name)
    assert described["AsyncInferenceConfig"]["OutputConfig"]["NotificationConfig"] == asynchronous.topics


def test_a_failure_comes_to_s3_and_the_error_topic_tells_of_it(asynchronous: Asynchronous) -> None:
    config = asynchronous.config(notify=("ERROR_NOTIFICATION_TOPIC", "SUCCESS_NOTIFICATION_TOPIC"))
    name = asynchronous.endpoint(config)
    failed = asynchronous.ask(name, "broken")

    text = wait_for(lambda: asynchronous.text(failed["FailureLocation"]), "the failure")
    assert text.startswith("Received server error (500) from primary with message")
    assert asynchronous.text(failed["OutputLocation"]) is None
    notification = asynchronous.heard()
    assert (notification["Topic"], notification["invocationStatus"]) == (asynchronous.topics["ErrorTopic"], "Failed")
    assert notification["failureReason"] == (
        "ClientError: Received server error (500) from model. See the SageMaker Endpoint logs in your account for more "
        "information."
    )
    assert notification["responseBody"]["content"] == text
    assert "responseParameters" not in notification
    asynchronous.ask(name, "fine")
    body = asynchronous.heard()["responseBody"]
    assert base64.b64decode(body["content"]).decode().startswith("fine|")


def test_the_place_of_an_answer_can_be_named_and_its_input_sent_along(asynchronous: Asynchronous) -> None:
    name = asynchronous.endpoint()
    runtime = asynchronous.runtime
    answer = runtime.invoke_endpoint_async(
        EndpointName=name, Body=b"4,5", ContentType="text/csv", S3OutputPathExtension="team/a", Filename="b.csv"
    )
    assert answer["OutputLocation"] == f"s3://{asynchronous.bucket}/out/team/a/b.csv"
    assert wait_for(lambda: asynchronous.text(answer["OutputLocation"]), "the answer").startswith("4,5|text/csv|")


def test_as_many_are_under_way_as_the_instances_take_and_none_while_there_is_no_instance(
    asynchronous: Asynchronous,
) -> None:
    name = asynchronous.endpoint(asynchronous.config(MaxConcurrentInvocationsPerInstance=1))
    sagemaker = asynchronous.hosting.sagemaker

    def scale(count: int) -> None:
        desired = [{"VariantName": "AllTraffic", "DesiredInstanceCount": count}]
        sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=desired)
        variant = asynchronous.hosting.settled(name)["ProductionVariants"][0]
        assert variant["CurrentInstanceCount"] == count

    scale(0)
    first = asynchronous.ask(name, "1.0")
    second = asynchronous.ask(name, "second")
    with pytest.raises(AssertionError, match="did not come"):
        wait_for(lambda: asynchronous.text(first["OutputLocation"]), "the answer", seconds=1.5)
    scale(1)
    wait_for(lambda: asynchronous.text(second["OutputLocation"]), "the second answer")
    assert asynchronous.text(first["OutputLocation"])  # which the second one has waited for


def test_a_request_ends_by_its_own_limits(asynchronous: Asynchronous) -> None:
    name = asynchronous.endpoint()
    slow = asynchronous.ask(name, "5", InvocationTimeoutSeconds=1)
    text = wait_for(lambda: asynchronous.text(slow["FailureLocation"]), "the failure")
    assert text == "The model did not answer within its InvocationTimeoutSeconds."
    gone = asynchronous.ask(name, InputLocation=f"s3://{asynchronous.bucket}/nothing")
    assert "NoSuchKey" in wait_for(lambda: asynchronous.text(gone["FailureLocation"]), "the failure")


def test_each_kind_of_endpoint_refuses_the_call_of_the_other(asynchronous: Asynchronous) -> None:
    hosting, ask = asynchronous.hosting, asynchronous.runtime.invoke_endpoint_async
    name = asynchronous.endpoint()
    words = f"ValidationError: Endpoint {name} of account {ACCOUNT} does not support this inference type."
    assert refusal(hosting.ask, name) == words
    location = f"s3://{asynchronous.bucket}/in"
    assert "Exactly one of InputLocation and Body" in refusal(ask, EndpointName=name)
    unchecked = hosting.client("sagemaker-runtime", parameter_validation=False).invoke_endpoint_async
    for wrong in ({"RequestTTLSeconds": 59}, {"InvocationTimeoutSeconds": 3601}, {"Filename": "a.b.c"}):
        answer = refusal(unchecked, EndpointName=name, InputLocation=location, **wrong)
        assert answer.startswith("ValidationError: 1 validation error detected"), answer
    missing = refusal(ask, EndpointName="nowhere", InputLocation=location)
    assert missing == f"ValidationError: Endpoint nowhere of account {ACCOUNT} not found."

    hosting.sagemaker.delete_endpoint(EndpointName=name)
    hosting.sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    real_time = hosting.endpoint(hosting.config(AllTraffic=(hosting.model(model_predicting(1)), 1.0)))
    hosting.settled(real_time)
    assert refusal(ask, EndpointName=real_time, InputLocation=location) == words


def test_caller_and_model_need_their_own_rights(asynchronous: Asynchronous) -> None:
    """The caller invokes and touches nothing else; reading, writing and publishing are the model's role's."""
    hosting = asynchronous.hosting
    name = asynchronous.endpoint()
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{name}"
    sts = hosting.aws.client("sts")

    def caller(action: str) -> Any:
        statement = {"Effect": "Allow", "Action": action, "Resource": arn}
        role = create_role(hosting.aws, f"caller-{uuid.uuid4().hex[:8]}", "lambda.amazonaws.com", [statement])
        keys = sts.assume_role(RoleArn=role, RoleSessionName="caller")["Credentials"]
        return hosting.aws.client(
            "sagemaker-runtime",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )

    asynchronous.s3.put_object(Bucket=asynchronous.bucket, Key="in/a", Body=b"a", ContentType="text/csv")
    request = {"EndpointName": name, "InputLocation": f"s3://{asynchronous.bucket}/in/a"}
    assert "sagemaker:InvokeEndpointAsync" in refusal(
        caller("sagemaker:InvokeEndpoint").invoke_endpoint_async, **request
    )
    answer = caller("sagemaker:InvokeEndpointAsync").invoke_endpoint_async(**request)
    assert wait_for(lambda: asynchronous.text(answer["OutputLocation"]), "the answer")

    iam, role = hosting.aws.client("iam"), hosting.project.model_role.rpartition("/")[2]
    deny = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{asynchronous.bucket}/out/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    iam.put_role_policy(RoleName=role, PolicyName="no-output", PolicyDocument=policy)
    denied = asynchronous.ask(name)
    text = wait_for(lambda: asynchronous.text(denied["FailureLocation"]), "the failure")
    assert text == f"Failed to upload the output to {denied['OutputLocation']}: AccessDenied"
