"""AWS sessions and clients: who we are, how we retry, and what a botocore error means to a person.

The only module that decides on credentials. boto3 is imported when the first client is asked for, not before.
"""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from ci_scripts import __version__, errors
from ci_scripts.settings import value

# Error codes by which the services say the same few things; collected from the services' API references.
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "ExpiredIdentityToken"}
_REFUSED_TOKEN = {"InvalidIdentityToken", "IDPRejectedClaim", "IDPCommunicationError"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "UnauthorizedAccess"}
_UNKNOWN_KEY = {
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "AuthFailure",
    "InvalidSignatureException",
}


def prepare_credentials(role_variable: str = "AWS_ROLE_ARN") -> str:
    """Choose how this process gets its credentials and say which in one line.

    `role_variable` names a role for a special purpose; where it is not set, AWS_ROLE_ARN serves.

    A role with a GitLab ID token (`AWS_ROLE_ARN`, `AWS_ID_TOKEN`) wins over static keys. The token is handed to
    botocore as a file, the form in which botocore refreshes the role's credentials by itself during long jobs.
    """
    role = value(os.environ, role_variable) or value(os.environ, "AWS_ROLE_ARN")
    token = os.environ.pop("AWS_ID_TOKEN", "")
    if role and token:
        # Whoever inherits our environment (the consumer's pipeline module, pytest) gets the role, never the keys.
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            os.environ.pop(name, None)
        os.environ["AWS_ROLE_ARN"] = role
        os.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(_private_file(token))
        # The session name shows up in CloudTrail: it leads from an AWS call back to the GitLab job.
        os.environ["AWS_ROLE_SESSION_NAME"] = f"gitlab-job-{os.environ.get('CI_JOB_ID', 'local')}"
        return f"credentials: OIDC, role {role}"
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return "credentials: static access keys (warning: OIDC needs no long-lived secret; set AWS_ROLE_ARN to use it)"
    return "credentials: the environment's default"


def _private_file(text: str) -> Path:
    # mkstemp creates the file readable by its owner alone.
    descriptor, path = tempfile.mkstemp(prefix="sagemaker-ci-id-token-")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return Path(path)


@cache
def session(region: str) -> Any:
    """The one boto3 session of this process in `region`."""
    import boto3

    return boto3.Session(region_name=region)


@cache
def client(service: str, region: str) -> Any:
    """A client with our retry and time limits. Raises nothing by itself: the first call does.

    Adaptive retries slow down on throttling, which Describe* and List* calls of SageMaker do meet.
    """
    from botocore.config import Config

    config = Config(
        retries={"mode": "adaptive", "total_max_attempts": 8},
        connect_timeout=10,
        read_timeout=70,  # seconds; a real-time endpoint may take 60 to answer
        user_agent_extra=f"sagemaker-ci/{__version__}",
    )
    return session(region).client(service, config=config)


def explain(error: Exception) -> errors.SagemakerCiError | None:
    """Translate an error that botocore raised into ours; None for an error that is not botocore's."""
    from botocore import exceptions as botocore
    from botocore.parsers import ResponseParserError

    if isinstance(error, botocore.NoCredentialsError | botocore.PartialCredentialsError):
        return errors.NoCredentials(str(error))
    if isinstance(error, botocore.EndpointConnectionError | botocore.ConnectionError | botocore.HTTPClientError):
        return errors.AwsUnreachable(str(error))
    if isinstance(error, ResponseParserError):
        return errors.AwsUnreachable("what answers does not speak as AWS does: a proxy, or another server")
    if isinstance(error, botocore.ClientError):
        return _explain_response(error.response, str(error), error.operation_name)
    if isinstance(error, botocore.BotoCoreError):
        return errors.AwsRefused(str(error))
    return None


def _explain_response(response: Any, text: str, operation: str) -> errors.SagemakerCiError:
    code = response.get("Error", {}).get("Code", "")
    if code in _EXPIRED:
        return errors.ExpiredCredentials(text)
    if code in _REFUSED_TOKEN or (code in _DENIED and operation == "AssumeRoleWithWebIdentity"):
        return errors.RoleRefused(text)
    if code in _DENIED:
        return errors.AccessDenied(text)
    if code in _UNKNOWN_KEY:
        return errors.InvalidCredentials(text)
    return errors.AwsRefused(text)


def console_url(region: str, path: str) -> str:
    """A link into the AWS console, for annotations; `path` starts with the service: `sagemaker/home#/endpoints`."""
    return f"https://{region}.console.aws.amazon.com/{path}"
