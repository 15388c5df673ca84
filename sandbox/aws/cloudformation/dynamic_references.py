"""Dynamic references: values that CloudFormation takes from Parameter Store and Secrets Manager while it works.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from sandbox.aws.cloudformation.errors import ValidationError

REFERENCE = re.compile(r"\{\{resolve:([a-z-]+):([^{}]+)\}\}")

ClientOf = Callable[[str], Any]


def resolved(value: Any, client: ClientOf) -> Any:
    """The value with every reference in its texts replaced. Raises ClientError, ValidationError."""
    if isinstance(value, dict):
        return {key: resolved(item, client) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, client) for item in value]
    if not isinstance(value, str):
        return value
    return REFERENCE.sub(lambda match: _RESOLVERS[match[1]](match[2], client), value)


def services(value: Any) -> set[str]:
    """The services that references in a value ask; `ssm-secure` is one of them."""
    return {match[1] for match in REFERENCE.finditer(json.dumps(value, default=str))}


def _ssm(rest: str, client: ClientOf) -> str:
    return str(client("ssm").get_parameter(Name=rest)["Parameter"]["Value"])  # name, or name:version


def _secret(rest: str, client: ClientOf) -> str:
    """`ID:SecretString:KEY:STAGE:VERSION`; the id may be an ARN, everything behind it may be left out."""
    parts = rest.split(":")
    length = 7 if parts[0] == "arn" else 1
    name, (kind, key, stage, version) = ":".join(parts[:length]), [*parts[length:], *[""] * 4][:4]
    if kind not in ("", "SecretString"):
        raise ValidationError(f"Invalid dynamic reference: {kind} of secret {name} cannot be retrieved")
    version_of = {name: value for name, value in (("VersionStage", stage), ("VersionId", version)) if value}
    value = client("secretsmanager").get_secret_value(SecretId=name, **version_of)["SecretString"]
    if not key:
        return str(value)
    try:
        return str(json.loads(value)[key])
    except (ValueError, KeyError, TypeError) as error:
        raise ValidationError(f"Could not find a value associated with JSONKey in SecretString of {name}") from error


_RESOLVERS: dict[str, Callable[[str, ClientOf], str]] = {"ssm": _ssm, "secretsmanager": _secret}
SUPPORTED = frozenset(_RESOLVERS)
