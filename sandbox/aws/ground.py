"""What every module of the sandbox's AWS stands on: its account and region, the root's keys, where it may write."""

from __future__ import annotations

import os
from pathlib import Path

REGION = "eu-west-1"
ACCOUNT = "123456789012"
ROOT_KEYS = {"AWS_ACCESS_KEY_ID": "AKIASANDBOXROOT00000", "AWS_SECRET_ACCESS_KEY": "sandbox-root-secret"}
"""Static keys of the account's root, for the person or program that sets the sandbox up."""

HELD = "SANDBOX_AWS_QUOTAS_HELD"
"""The variable that, where it is set, has jobs and endpoints held to the account's quotas."""


def gateway() -> str:
    """The proxy by which functions and STS reach https addresses of the sandbox; empty where there is none."""
    return os.environ.get("SANDBOX_AWS_GATEWAY", "")


def authorities() -> str:
    """A file with the certificates that STS trusts, those of the gateway among them."""
    return os.environ.get("SANDBOX_AWS_AUTHORITIES", "")


def state() -> Path:
    """The directory in which this process may write."""
    return Path(os.environ["SANDBOX_AWS_STATE"])
