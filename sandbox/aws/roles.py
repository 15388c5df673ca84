"""SageMaker acting as a customer's role: credentials from moto's STS, and clients that call this server with them.

Used by jobs.py and executions.py. What they do for a role goes through the API, so that IAM policies hold for it.
"""

from __future__ import annotations

import threading
from typing import Any

import boto3
from moto.core.exceptions import ServiceException
from moto.iam.models import iam_backends
from moto.sagemaker.exceptions import ValidationError
from moto.sts.models import sts_backends

_PRINCIPAL = "sagemaker.amazonaws.com"
_clients = threading.Lock()  # boto3's default session does not stand clients made by two threads at once


def assume(role_arn: str, session_name: str, region: str) -> dict[str, str]:
    """Credentials of the role as environment variables. Raises ValidationError, as SageMaker's Create* calls do."""
    account = role_arn.split(":")[4] if role_arn.count(":") == 5 else ""
    try:
        trust = iam_backends[account]["aws"].get_role_by_arn(role_arn).assume_role_policy_document
    except ServiceException:
        trust = ""
    if f'"{_PRINCIPAL}"' not in trust:
        raise ValidationError(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            f"'{_PRINCIPAL}' to assume the role."
        )
    role = sts_backends[account]["aws"].assume_role(region, session_name, role_arn, "", 3600, "")
    return {
        "AWS_ACCESS_KEY_ID": role.access_key_id,
        "AWS_SECRET_ACCESS_KEY": role.secret_access_key,
        "AWS_SESSION_TOKEN": role.session_token,
    }


def client(service: str, credentials: dict[str, str]) -> Any:
    """A client of this server for what `assume` returned; the endpoint comes from AWS_ENDPOINT_URL."""
    with _clients:
        return boto3.client(service, **{name.lower(): value for name, value in credentials.items()})
