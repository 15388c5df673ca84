"""The answer to CloudFormation: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import requests

MAX_BYTES = 4096
ATTEMPTS, TIMEOUT_SECONDS = 3, 2.5
_REASON_CHARACTERS = 1000


class Outcome(NamedTuple):
    """What a request came to. `reason` is shown in the stack's events, `attributes` are for Fn::GetAtt."""

    succeeded: bool
    physical_id: str
    reason: str = ""
    attributes: Mapping[str, str] = {}


def body(event: Mapping[str, Any], outcome: Outcome) -> bytes:
    """The answer's bytes, at most 4 KB: the reason is cut when need be."""
    answer: dict[str, Any] = {
        "Status": "SUCCESS" if outcome.succeeded else "FAILED",
        "PhysicalResourceId": outcome.physical_id,
        **{key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")},
        "Reason": outcome.reason[:_REASON_CHARACTERS],
        "Data": dict(outcome.attributes),
    }
    encoded = json.dumps(answer).encode()
    if len(encoded) <= MAX_BYTES:
        return encoded
    # Beyond ASCII a character takes up to twelve bytes.
    return json.dumps(answer | {"Reason": outcome.reason[: _REASON_CHARACTERS // 12]}).encode()


def send(url: str, content: bytes) -> None:
    """Put the answer where CloudFormation looks for it. Raises requests' errors after a few attempts.

    The URL is signed for this one host and for an empty content type: no redirect is followed.
    """
    for attempt in range(ATTEMPTS):
        last = attempt == ATTEMPTS - 1
        try:
            response = requests.put(
                url, data=content, headers={"Content-Type": ""}, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
            if response.status_code < 300:
                return
            if response.status_code < 500 or last:
                raise requests.HTTPError(f"CloudFormation's address answered {response.status_code}")
        except (requests.ConnectionError, requests.Timeout):
            if last:
                raise
        time.sleep(0.5)
