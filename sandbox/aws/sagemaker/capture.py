"""Data capture: requests and answers of an endpoint as lines of JSON in S3, in the folder of variant and hour.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html. invocation.py tells of every
answer; files are written a moment later, as the variant's role.
"""

from __future__ import annotations

import base64
import json
import random
import sys
import threading
import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from sandbox.aws.access import identity
from sandbox.aws.sagemaker.jobfiles import encrypted, split
from sandbox.aws.sagemaker.serving import Answer, Variant

_COLLECT_SECONDS = 1.0  # the service takes minutes
_Place = tuple[str, str]  # bucket and folder


class CapturedRequest(NamedTuple):
    """A request that reached a container: its body and headers."""

    body: bytes
    headers: Mapping[str, str]


def record(
    config: Mapping[str, Any], endpoint: str, variant: Variant, request: CapturedRequest, answer: Answer
) -> None:
    """Keep one exchange, if `config` (DataCaptureConfig) says so and chance picks it."""
    if not config or not config.get("EnableCapture", True):
        return
    if random.random() * 100 >= config["InitialSamplingPercentage"]:  # noqa: S311
        return
    moment = datetime.now(UTC)
    bucket, prefix = split(config["DestinationS3Uri"])
    folder = f"{endpoint}/{variant.name}/{moment:%Y/%m/%d/%H}"
    place = (bucket, "/".join(filter(None, (prefix.strip("/"), folder))))
    with _lock:
        _lines[place].append(json.dumps(_event(config, request, answer, moment)))
        _roles[place] = variant
        if len(_lines[place]) == 1:
            encryption = encrypted(config.get("KmsKeyId"))
            timer = threading.Timer(_COLLECT_SECONDS, _write, [place, moment, encryption])
            timer.daemon = True
            timer.start()


_lock = threading.Lock()
_lines: dict[_Place, list[str]] = defaultdict(list)
_roles: dict[_Place, Variant] = {}


def _event(config: Mapping[str, Any], request: CapturedRequest, answer: Answer, moment: datetime) -> dict[str, Any]:
    modes = {each["CaptureMode"] for each in config["CaptureOptions"]}
    captured = {}
    if modes & {"Input", "InputAndOutput"}:
        captured["endpointInput"] = _side(config, "INPUT", request.headers.get("Content-Type", ""), request.body)
    if modes & {"Output", "InputAndOutput"}:
        captured["endpointOutput"] = _side(config, "OUTPUT", answer.headers.get("Content-Type", ""), answer.body)
    metadata: dict[str, Any] = {"eventId": str(uuid.uuid4())}
    if attributes := request.headers.get("X-Amzn-SageMaker-Custom-Attributes"):
        metadata["customAttributes"] = [attributes]
    if inference_id := request.headers.get("X-Amzn-SageMaker-Inference-Id"):
        metadata["inferenceId"] = inference_id
    metadata["inferenceTime"] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    return {"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"}


def _side(config: Mapping[str, Any], mode: str, content_type: str, body: bytes) -> dict[str, str]:
    """What is no type of CaptureContentTypeHeader is kept as base64."""
    types, kind = config.get("CaptureContentTypeHeader") or {}, content_type.partition(";")[0].strip()
    encodings = {"CSV": types.get("CsvContentTypes", []), "JSON": types.get("JsonContentTypes", [])}
    encoding = next((name for name, kinds in encodings.items() if kind in kinds), "BASE64")
    data = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode(errors="replace")
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}


def _write(place: _Place, moment: datetime, encryption: Mapping[str, Any]) -> None:
    with _lock:
        lines, variant = _lines.pop(place), _roles[place]
    bucket, folder = place
    key = f"{folder}/{moment:%M-%S}-{moment.microsecond // 1000:03}-{uuid.uuid4()}.jsonl"
    try:
        s3 = identity.client("s3", variant.credentials)
        s3.put_object(Bucket=bucket, Key=key, Body="".join(f"{line}\n" for line in lines).encode(), **encryption)
    except ClientError as error:  # whoever asked the endpoint has the answer already
        print(f"data capture could not write s3://{bucket}/{key}: {error}", file=sys.stderr)
