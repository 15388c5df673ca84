"""AWS sessions and clients: who we are, how we retry, and what a botocore error means to a person.

The only module that decides on credentials. boto3 is imported when the first client is asked for, not before.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ci_scripts import __version__, errors, job
from ci_scripts.settings import endpoint_problems, value

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


class Credentials(NamedTuple):
    """How this process got its credentials, and whom AWS takes it for."""

    way: str
    """In words: `OIDC, role arn:aws:iam::123456789012:role/training`."""
    arn: str
    """As GetCallerIdentity tells it: `arn:aws:sts::123456789012:assumed-role/training/gitlab-job-7`."""
    account: str

    def __str__(self) -> str:
        return f"credentials: {self.way}" if self.arn in self.way else f"credentials: {self.way} ({self.arn})"


def log_in(region: str, role_variable: str = "AWS_ROLE_ARN") -> Credentials:
    """Choose this process's credentials and have AWS say who they are, in one call.

    Raises InvalidSettings, NoCredentials, InvalidAwsConfiguration, OtherIdentity when AWS takes us for anybody but whom
    was announced, or the error that `explain` makes of AWS's refusal.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    if problems := endpoint_problems():
        raise errors.InvalidSettings("; ".join(problems))
    announced = announce(role_variable)
    _shield(announced)
    try:
        credentials = session(region).get_credentials()
        if credentials is None:
            raise errors.NoCredentials("Unable to locate credentials")
        caller = client("sts", region).get_caller_identity()
        key = credentials.access_key  # only now: a role's are fetched by the first look
    except (BotoCoreError, ClientError) as error:
        raise explain(error) or error from error
    if problem := announced.difference(caller["Arn"], key):
        raise errors.OtherIdentity(problem)
    return Credentials(announced.way, caller["Arn"], caller["Account"])


class Announced(NamedTuple):
    """What the variables say about credentials."""

    way: str
    role: str = ""
    """The role's ARN; empty for static keys and for the environment's default."""
    access_key: str = ""
    """The id of the static key; empty for everything else."""

    def difference(self, caller: str, access_key: str) -> str:
        """Why `caller` (an ARN), who came with `access_key`, is not who was announced; empty if it is."""
        if self.role and _assumed_role(caller) != _role(self.role):
            return f"this job was to act as {self.role}, and AWS takes it for {caller}"
        if self.access_key and access_key != self.access_key:
            return f"this job was to use the access key {self.access_key}, and AWS takes it for {caller} by another one"
        return ""


def _role(arn: str) -> tuple[str, str]:
    """Account and name of a role; its path is left out, as AWS leaves it out of an assumed role's ARN."""
    *_, account, resource = arn.split(":")
    return account, resource.rpartition("/")[2]


def _assumed_role(caller: str) -> tuple[str, str] | None:
    """The same of arn:aws:sts::123456789012:assumed-role/training/gitlab-job-7; None for who is no role."""
    *_, account, resource = caller.split(":")
    kind, _, rest = resource.partition("/")
    return (account, rest.partition("/")[0]) if kind == "assumed-role" else None


def announce(role_variable: str = "AWS_ROLE_ARN") -> Announced:
    """Choose how this process gets its credentials, and say which. Calls nobody.

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
        return Announced(f"OIDC, role {role}", role=role)
    unused = "; AWS_ROLE_ARN is not used without an AWS_ID_TOKEN" if role else ""
    if key := os.environ.get("AWS_ACCESS_KEY_ID"):
        advice = unused or "; set AWS_ROLE_ARN to use it"
        way = f"static access keys (warning: OIDC needs no long-lived secret{advice})"
        return Announced(way, access_key=key)
    if role and os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):  # a runner on EKS has one of its own
        os.environ["AWS_ROLE_ARN"] = role
        return Announced(f"the environment's web identity, role {role}", role=role)
    if role and job.current().in_gitlab:
        raise errors.NoCredentials(
            f"the job has no AWS_ID_TOKEN to assume the role {role} with",
            hint="Declare it as the components do: `id_tokens: {AWS_ID_TOKEN: {aud: $CI_SERVER_URL}}`.",
        )
    return Announced(f"the environment's default{unused}")


# What `[default]` in ~/.aws/config may still say: how this machine connects, nothing of who it is.
_CONNECTION_SETTINGS = {"ca_bundle", "endpoint_url", "services", "use_dualstack_endpoint", "use_fips_endpoint"}


def _shield(announced: Announced) -> None:
    """Keep the machine's own AWS configuration from taking the place of announced credentials.

    botocore asks a profile with `role_arn`, `[default]` among them, before it looks at a web identity. Who inherits our
    environment is shielded with us. A profile that somebody asks for by its name is still there.
    """
    if not (announced.role or announced.access_key):
        return
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)
    for name, usual in (("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")):
        path = Path(os.environ.get(name) or usual).expanduser()
        os.environ[name] = str(_private_file(text)) if (text := _without_default(path)) else os.devnull


def _without_default(path: Path) -> str:
    """An AWS configuration file without the credentials of its default profile; nothing if it cannot be read."""
    import configparser
    import io
    import shlex

    parser, text = configparser.RawConfigParser(default_section=""), io.StringIO()
    try:
        parser.read_string(path.read_text())
        default = [name for name in parser.sections() if shlex.split(name)[-1:] == ["default"]]
    except (OSError, ValueError, configparser.Error):
        return ""
    for section in default:
        for setting in set(parser.options(section)) - _CONNECTION_SETTINGS:
            parser.remove_option(section, setting)
    parser.write(text)
    return text.getvalue()


def _private_file(text: str) -> Path:
    """A file for this process and its owner alone: all jobs of a shell runner share one user and one /tmp."""
    descriptor, name = tempfile.mkstemp(prefix="sagemaker-ci-")  # readable by its owner alone
    path = Path(name)
    atexit.register(path.unlink, missing_ok=True)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return path


@cache
def session(region: str) -> Any:
    """The one boto3 session of this process in `region`: its clients send nothing once the job is cancelled.

    Before every attempt, because botocore repeats by itself what a signal has interrupted.
    """
    import boto3

    made = boto3.Session(region_name=region)
    made.events.register("before-send", job.raise_if_cancelled)
    return made


@cache
def client(service: str, region: str, attempts: int = 8) -> Any:
    """A client with our retry and time limits. Raises nothing by itself: the first call does.

    Adaptive retries slow down on throttling, which Describe* and List* calls of SageMaker do meet. With one attempt
    nothing is retried and nothing waits; with two, nothing but the second one.
    """
    from botocore.config import Config

    config = Config(
        retries={"mode": "adaptive" if attempts > 2 else "standard", "total_max_attempts": attempts},
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
    if isinstance(
        error,
        botocore.ProfileNotFound
        | botocore.ConfigParseError
        | botocore.ConfigNotFound
        | botocore.InvalidConfigError
        | botocore.InfiniteLoopConfigError
        | botocore.CredentialRetrievalError,
    ):
        return errors.InvalidAwsConfiguration(" ".join(str(error).split()))
    if isinstance(error, botocore.EndpointConnectionError | botocore.ConnectionError | botocore.HTTPClientError):
        return errors.AwsUnreachable(str(error))
    if isinstance(error, ResponseParserError):
        return errors.AwsUnreachable("what answers does not speak as AWS does: a proxy, or another server")
    if isinstance(error, botocore.ClientError):
        return _explain_response(error_code(error), str(error), error.operation_name)
    if isinstance(error, botocore.BotoCoreError):
        return errors.AwsRefused(" ".join(str(error).split()))  # botocore's own checks answer in several lines
    return None


def explain_any(error: BaseException) -> errors.SagemakerCiError | None:
    """`explain`, for an error that somebody's code made of AWS's own: boto3's uploads, the SDK's helpers.

    Beneath another error only a lack of rights or of credentials counts as the cause, and the outer words stay.
    """
    cause: BaseException | None = error
    for depth in range(5):
        if cause is None:
            return None
        explained = explain(cause) if isinstance(cause, Exception) else None
        if explained is not None and depth == 0:
            return explained
        if isinstance(explained, _BENEATH):
            words = " ".join(str(error).split()) or type(error).__name__
            explained.message = words if explained.message in words else f"{words}: {explained.message}"
            return explained
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


_BENEATH = (
    errors.AccessDenied,
    errors.ExpiredCredentials,
    errors.InvalidAwsConfiguration,
    errors.InvalidCredentials,
    errors.NoCredentials,
    errors.RoleRefused,
)


def denied_by_bucket(text: str) -> str:
    """A hint for an upload that the bucket's own policy refuses; empty for every other denial."""
    if "PutObject" not in text or "explicit deny" not in text:
        return ""
    return (
        "The policy of the bucket refuses it, so no right of the role helps. If it demands an encryption header "
        "(s3:x-amz-server-side-encryption, KMS), which most programs do not send: switch default encryption with that "
        "key on for the bucket, and let the policy deny only requests that name another one (a `Null` condition)."
    )


def _explain_response(code: str, text: str, operation: str) -> errors.SagemakerCiError:
    if code in _EXPIRED:
        return errors.ExpiredCredentials(text)
    if code in _REFUSED_TOKEN or (code in DENIED and operation == "AssumeRoleWithWebIdentity"):
        return errors.RoleRefused(text)
    if code in DENIED:
        return errors.AccessDenied(text, hint=denied_by_bucket(text) or None)
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
