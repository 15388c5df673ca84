"""What the check-in asks of AWS: secrets, the seed archives. Used by handler.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import boto3
from botocore.config import Config

from . import variables
from .reasons import CheckinFailed
from .request import Variable
from .seed import MAX_BYTES

TOKEN_KEY = "token"  # noqa: S105 - the name of the entry in a secret that holds JSON

# Without a way to the service (a VPC without endpoints) a call must fail while there is time to say so.
_CONFIG = Config(connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 3})


def access_token(secret: str) -> str:
    """GitLab's access token: the secret itself, or its entry `token` when it is JSON. Raises CheckinFailed."""
    text = _secret(secret)
    token = pick(text, TOKEN_KEY if text.lstrip().startswith("{") else None, secret).strip()
    # A header with a line break in it would be refused with a message that quotes it.
    if not re.fullmatch(r"[!-~]+", token):
        raise CheckinFailed(f"secret {secret} does not hold an access token: it is empty or has spaces in it")
    return token


def resolve(wanted: Iterable[Variable]) -> list[variables.Attributes]:
    """The variables as GitLab takes them, values from Secrets Manager put in."""
    return [
        variables.attributes(
            each.key,
            pick(_secret(each.secret), each.secret_key, each.secret) if each.secret else each.value or "",
            each.environment_scope,
            each.protected,
            each.masked,
        )
        for each in wanted
    ]


def pick(text: str, key: str | None, secret: str) -> str:
    """The entry `key` of a secret that holds a JSON object, the whole text for None. Raises CheckinFailed."""
    if key is None:
        return text
    try:
        entries = json.loads(text)
    except ValueError:
        entries = None
    if not isinstance(entries, dict) or not isinstance(entries.get(key), str):
        raise CheckinFailed(f"secret {secret} is not a JSON object with an entry {key!r}")
    return str(entries[key])


def put_secret(arn: str, value: str) -> None:
    """Make `value` the current value of an existing secret."""
    _client("secretsmanager").put_secret_value(SecretId=arn, SecretString=value)


def archive(bucket: str, key: str) -> bytes:
    """A seed archive's bytes. Raises CheckinFailed when it is too large."""
    found = _client("s3").get_object(Bucket=bucket, Key=key)
    if found["ContentLength"] > MAX_BYTES:
        raise CheckinFailed(f"it has {found['ContentLength']:,} bytes, at most {MAX_BYTES:,} are taken")
    content: bytes = found["Body"].read()
    return content


def _secret(name: str) -> str:
    found = _client("secretsmanager").get_secret_value(SecretId=name)
    if "SecretString" not in found:
        raise CheckinFailed(f"secret {name} holds bytes; a text is needed")
    return str(found["SecretString"])


def _client(service: str) -> Any:
    return boto3.client(service, config=_CONFIG)
