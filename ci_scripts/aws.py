"""AWS sessions and clients: who we are, how we retry, and what a botocore error means to a person.

The only module that decides on credentials. boto3 is imported when the first client is asked for, not before.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from ci_scripts import __version__, errors, job
from ci_scripts.settings import value

# Error codes by which the services say the same few things; collected from the services' API references.
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "ExpiredIdentityToken"}
_REFUSED_TOKEN = {"InvalidIdentityToken", "IDPRejectedClaim", "IDPCommunicationError"}
DENIED = {
    "403",  # S3's answer to HEAD requests, which has no body to hold a code
    "AccessDenied",
    "AccessDeniedException",
    "AccessDeniedFault",
    "UnauthorizedOperation",
    "NotAuthorized",
    "UnauthorizedAccess",
}
_UNKNOWN_KEY = {
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "AuthFailure",
    "InvalidSignatureException",
}

# The console outside the partition `aws`, by the regions' prefix.
_CONSOLES = {
    "cn-": "console.amazonaws.cn",
    "us-gov-": "console.amazonaws-us-gov.com",
    "eusc-": "console.amazonaws-eusc.eu",
}


def prepare_credentials(role_variable: str = "AWS_ROLE_ARN") -> str:
    """Choose how this process gets its credentials and say which in one line.

    `role_variable` names a role for a special purpose; where it is not set, AWS_ROLE_ARN serves.

    A role with a GitLab ID token (`AWS_ROLE_ARN`, `AWS_ID_TOKEN`) wins over static keys. The token is handed to
    botocore as a file, the form in which botocore refreshes the role's credentials by itself during long jobs.
    Raises NoCredentials in a job that was given a role and no way to assume it: what the runner itself may do in AWS
    must not take the place of the role.
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
    unused = "; AWS_ROLE_ARN is not used without an AWS_ID_TOKEN" if role else ""
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        advice = unused or "; set AWS_ROLE_ARN to use it"
        return f"credentials: static access keys (warning: OIDC needs no long-lived secret{advice})"
    if role and os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):  # a runner on EKS has one of its own
        os.environ["AWS_ROLE_ARN"] = role
        return f"credentials: the environment's web identity, role {role}"
    if role and job.current().in_gitlab:
        raise errors.NoCredentials(
            f"the job has no AWS_ID_TOKEN to assume the role {role} with",
            hint="Declare it as the components do: `id_tokens: {AWS_ID_TOKEN: {aud: $CI_SERVER_URL}}`.",
        )
    return f"credentials: the environment's default{unused}"


def _private_file(text: str) -> Path:
    """A file for this process and its owner alone: all jobs of a shell runner share one user and one /tmp."""
    descriptor, name = tempfile.mkstemp(prefix="sagemaker-ci-id-token-")  # readable by its owner alone
    path = Path(name)
    atexit.register(path.unlink, missing_ok=True)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return path


@cache
def session(region: str) -> Any:
    """The one boto3 session of this process in `region`."""
    import boto3

    return boto3.Session(region_name=region)


@cache
def client(service: str, region: str, attempts: int = 8) -> Any:
    """A client with our retry and time limits. Raises nothing by itself: the first call does.

    Adaptive retries slow down on throttling, which Describe* and List* calls of SageMaker do meet. With one attempt
    nothing is retried and nothing waits.
    """
    from botocore.config import Config

    config = Config(
        retries={"mode": "adaptive" if attempts > 1 else "standard", "total_max_attempts": attempts},
        connect_timeout=10,
        read_timeout=70,  # seconds; a real-time endpoint may take 60 to answer
        user_agent_extra=f"sagemaker-ci/{__version__}",
    )
    return session(region).client(service, config=config)


def error_code(error: Any) -> str:
    """The service's code for what a ClientError is about: NoSuchBucket."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_text(error: Any) -> str:
    """The service's own words in a ClientError."""
    return str(error.response.get("Error", {}).get("Message", ""))


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
        return _explain_response(error_code(error), str(error), error.operation_name)
    if isinstance(error, botocore.BotoCoreError):
        return errors.AwsRefused(" ".join(str(error).split()))  # botocore's own checks answer in several lines
    return None


def _explain_response(code: str, text: str, operation: str) -> errors.SagemakerCiError:
    if code in _EXPIRED:
        return errors.ExpiredCredentials(text)
    if code in _REFUSED_TOKEN or (code in DENIED and operation == "AssumeRoleWithWebIdentity"):
        return errors.RoleRefused(text)
    if code in DENIED:
        return errors.AccessDenied(text)
    if code in _UNKNOWN_KEY:
        return errors.InvalidCredentials(text)
    return errors.AwsRefused(text)


def console_url(region: str, path: str) -> str:
    """A link into the AWS console, for annotations; `path` starts with the service: `sagemaker/home#/endpoints`."""
    host = next((host for prefix, host in _CONSOLES.items() if region.startswith(prefix)), "console.aws.amazon.com")
    return f"https://{region}.{host}/{path}"


def endpoint_url(region: str, name: str) -> str:
    """A link to an endpoint in the AWS console."""
    return console_url(region, f"sagemaker/home?region={region}#/endpoints/{name}")
