"""Bucket policies that demand TLS: moto denies by them whatever the connection. `install()` corrects that.

The sandbox's connections do not leave the machine, and count as encrypted.
"""

from __future__ import annotations

import json
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket

_WITHOUT_TLS = {"Bool": {"aws:SecureTransport": "false"}}


def install() -> None:
    bucket: Any = FakeBucket
    bucket.get_permission = _get_permission


def _get_permission(self: FakeBucket, action: str, resource: str) -> PermissionResult:
    if self.policy is None:
        return PermissionResult.NEUTRAL
    document = json.loads(self.policy)
    document["Statement"] = [each for each in document["Statement"] if each.get("Condition") != _WITHOUT_TLS]
    return IAMPolicy(json.dumps(document)).is_action_permitted(action, resource)
