"""The answer to CloudFormation: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import requests

MAX_BYTES = 4096
ATTEMPTS, TIMEOUT_SECONDS = 3, 2
SECONDS = 15
"""How long `send` may take in all: every attempt may wait for the connection and for the answer."""
_REASON_CHARACTERS = 1000


class NotAnswered(Exception):
    """CloudFormation does not know the outcome."""


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


def asked_at(url: str) -> float | None:
    """When CloudFormation signed the address, just before it asked, as a Unix time; None when the address hides it."""
    [signed] = parse_qs(urlsplit(url).query).get("X-Amz-Date", [""])
    try:
        return datetime.strptime(signed, "%Y%m%dT%H%M%S%z").timestamp()
    except ValueError:
        return None


def send(url: str, content: bytes) -> None:
    """Put the answer where CloudFormation looks for it, in a few attempts. Raises NotAnswered.

    The URL is signed for this one host and for an empty content type: no redirect is followed. It is not logged either.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            response = requests.put(
                url, data=content, headers={"Content-Type": ""}, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            problem = type(error).__name__  # its message would hold the signed URL
        else:
            if response.status_code < 300:
                return
            problem = f"status {response.status_code}"
            if response.status_code < 500:
                break
        if attempt < ATTEMPTS:
            time.sleep(0.5)
    raise NotAnswered(f"CloudFormation could not be answered: {problem}")
