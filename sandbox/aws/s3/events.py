"""What S3 tells EventBridge of new objects, in the published shape. moto has other names, and one reason for all.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

from moto.events.models import events_backends
from moto.s3 import notifications
from moto.s3.notifications import S3NotificationEvent

_log = logging.getLogger(__name__)
_REASONS = {
    S3NotificationEvent.OBJECT_CREATED_PUT_EVENT: "PutObject",
    S3NotificationEvent.OBJECT_CREATED_POST_EVENT: "POST Object",
    S3NotificationEvent.OBJECT_CREATED_COPY_EVENT: "CopyObject",
    S3NotificationEvent.OBJECT_CREATED_COMPLETE_MULTIPART_UPLOAD_EVENT: "CompleteMultipartUpload",
}


def install() -> None:
    module: Any = notifications
    module._send_event_bridge_message = _send


def _send(account_id: str, bucket: Any, event_name: S3NotificationEvent, key: Any) -> None:
    reason = _REASONS.get(event_name)
    if reason is None:
        _log.warning("The sandbox does not have S3's events on EventBridge but Object Created: %s", event_name)
        return
    # Services send to the default bus alone.
    for rule in list(events_backends[account_id][bucket.region_name].event_buses["default"].rules.values()):
        rule.send_to_targets(event(account_id, bucket, key, reason), transform_input=False)


def event(account_id: str, bucket: Any, key: Any, reason: str) -> dict[str, Any]:
    """Of a new object; `bucket` and `key` are moto's."""
    described = {"key": key.name, "size": key.size, "etag": key.etag.strip('"'), "sequencer": f"{time.time_ns():018X}"}
    if bucket.is_versioned:
        described["version-id"] = key.version_id
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": account_id,
        "time": time.time(),
        "region": bucket.region_name,
        "resources": [bucket.arn],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket.name},
            "object": described,
            "request-id": uuid.uuid4().hex[:16].upper(),
            "requester": account_id,
            "source-ip-address": "127.0.0.1",
            "reason": reason,
        },
    }
