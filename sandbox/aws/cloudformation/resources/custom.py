"""Custom resources: a Lambda function is invoked and answers with one HTTP PUT to a pre-signed address in S3.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import json
import time
import uuid
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import ClientError

from sandbox.aws.cloudformation.resources.handler import (
    CUSTOM,
    Call,
    Failed,
    Handler,
    PhysicalResource,
    Properties,
    handles,
    without,
)
from sandbox.aws.ground import REGION

_BUCKET = f"cloudformation-custom-resource-response-{REGION.replace('-', '')}"
_DEFAULT_SECONDS = 3600
_POLL_SECONDS = 0.2


@handles(CUSTOM)
class CustomResource(Handler):
    """`Ref` is the physical id that the function chooses; another one after an update replaces the resource."""

    sends = True

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        return _ask(call, properties, "Create", {})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        more = {"PhysicalResourceId": physical.id, "OldResourceProperties": _texts(_own(old))}
        return _ask(call, new, "Update", more)

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        _ask(call, properties, "Delete", {"PhysicalResourceId": physical.id})


def _ask(call: Call, properties: Properties, kind: str, more: Properties) -> PhysicalResource:
    """Send one request and wait for its answer. Raises Failed, with the physical id that a roll-back has to delete."""
    request_id = str(uuid.uuid4())
    key = f"{call.stack_id}|{call.logical_id}|{request_id}"
    event = {
        "RequestType": kind,
        "ServiceToken": properties["ServiceToken"],
        "ResponseURL": _service().generate_presigned_url("put_object", {"Bucket": _bucket(), "Key": key}, 7200),
        "StackId": call.stack_id,
        "RequestId": request_id,
        "LogicalResourceId": call.logical_id,
        "ResourceType": call.resource_type,
        "ResourceProperties": {"ServiceToken": properties["ServiceToken"], **_texts(_own(properties))},
        **more,
    }
    call.client("lambda").invoke(
        FunctionName=properties["ServiceToken"], InvocationType="Event", Payload=json.dumps(event).encode()
    )
    before = PhysicalResource(more.get("PhysicalResourceId") or call.name())
    answer = _wait(key, float(properties.get("ServiceTimeout", _DEFAULT_SECONDS)))
    if answer is None:
        raise Failed(
            "CloudFormation did not receive a response from your Custom Resource. Please check your logs for requestId "
            f"[{request_id}].",
            physical=before,
            verbatim=True,
        )
    physical = PhysicalResource(answer.get("PhysicalResourceId") or before.id, answer.get("Data") or {})
    if answer["Status"] != "SUCCESS":
        raise Failed(
            f"Received response status [{answer['Status']}] from custom resource. Message returned: "
            f"{answer.get('Reason', '')} (RequestId: {request_id})",
            physical=physical if kind == "Create" else None,
            verbatim=True,
        )
    return physical


def _wait(key: str, seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            content = _service().get_object(Bucket=_BUCKET, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            time.sleep(_POLL_SECONDS)
            continue
        _service().delete_object(Bucket=_BUCKET, Key=key)
        return json.loads(content)
    return None


def _own(properties: Properties) -> Properties:
    return without(properties, "ServiceToken", "ServiceTimeout")


def _texts(value: Any) -> Any:
    """CloudFormation sends every scalar as a string."""
    if isinstance(value, dict):
        return {key: _texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache
def _service() -> Any:
    """CloudFormation's own access to its own bucket."""
    return boto3.client("s3", region_name=REGION)


@cache
def _bucket() -> str:
    _service().create_bucket(Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return _BUCKET
