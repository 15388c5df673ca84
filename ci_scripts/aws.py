"""A region of AWS for one run: who we are there, how we retry, and the clients, each made once.

The only module that decides on credentials. A command makes one `Aws` and hands it down; boto3 is imported when the
first client is needed, not before.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import __version__, aws_errors, errors, job
from ci_scripts.settings import endpoint_problems, value
from ci_scripts.text import UNFIT, fits_header

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_service_quotas import ServiceQuotasClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient


class Aws:
    """AWS in one region, as this run asks it: its clients with our retry and time limits, each made when first used.

    Making one asks nobody. The clients send nothing once the job is cancelled.
    """

    def __init__(self, region: str) -> None:
        self.region = region

    def __repr__(self) -> str:
        return f"<AWS in {self.region}>"

    def log_in(self, role_variable: str = "AWS_ROLE_ARN") -> Credentials:
        """Choose this process's credentials and have AWS say who they are, in one call; before any client is used.

        Raises InvalidSettings, NoCredentials, InvalidAwsConfiguration, OtherIdentity when AWS takes us for anybody but
        whom was announced, or the error that `aws_errors.explain` makes of AWS's refusal.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        if problems := endpoint_problems():
            raise errors.InvalidSettings("; ".join(problems))
        announced = announce(role_variable)
        _shield(announced)
        try:
            credentials = self.session.get_credentials()
            if credentials is None:
                raise errors.NoCredentials("Unable to locate credentials")
            caller = self.sts.get_caller_identity()
            key = credentials.access_key  # only now: a role's are fetched by the first look
        except (BotoCoreError, ClientError) as error:
            raise aws_errors.explain(error) or error from error
        if problem := announced.difference(caller["Arn"], key):
            raise errors.OtherIdentity(problem)
        return Credentials(announced.way, caller["Arn"], caller["Account"])

    @cached_property
    def session(self) -> Any:
        """The one boto3 session of the run."""
        import boto3

        session = boto3.Session(region_name=self.region)
        # Before every attempt, because botocore repeats by itself what a signal has interrupted.
        session.events.register("before-send", job.raise_if_cancelled)
        return session

    def _client(self, service: str, attempts: int = 8, connections: int = 10) -> Any:
        """A client. Raises nothing by itself: the first call does.

        Adaptive retries slow down on throttling, which Describe* and List* calls of SageMaker do meet. With one attempt
        nothing is retried and nothing waits; with two, nothing but the second one. `connections` at once are kept open.
        """
        from botocore.config import Config

        config = Config(
            retries={"mode": "adaptive" if attempts > 2 else "standard", "total_max_attempts": attempts},
            connect_timeout=10,
            read_timeout=70,  # seconds; a real-time endpoint may take 60 to answer
            max_pool_connections=connections,
            user_agent_extra=f"sagemaker-ci/{__version__}",
        )
        return self.session.client(service, config=config)

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        return self._client("cloudformation")  # type: ignore[no-any-return]

    @cached_property
    def cloudwatch(self) -> CloudWatchClient:
        return self._client("cloudwatch")  # type: ignore[no-any-return]

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        return self._client("dynamodb")  # type: ignore[no-any-return]

    @cached_property
    def ecr(self) -> ECRClient:
        return self._client("ecr")  # type: ignore[no-any-return]

    @cached_property
    def events(self) -> EventBridgeClient:
        return self._client("events")  # type: ignore[no-any-return]

    @cached_property
    def iam(self) -> IAMClient:
        return self._client("iam")  # type: ignore[no-any-return]

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        return self._client("logs")  # type: ignore[no-any-return]

    @cached_property
    def s3(self) -> S3Client:
        return self._client("s3")  # type: ignore[no-any-return]

    @cached_property
    def sagemaker(self) -> SageMakerClient:
        return self._client("sagemaker")  # type: ignore[no-any-return]

    @cached_property
    def service_quotas(self) -> ServiceQuotasClient:
        return self._client("service-quotas")  # type: ignore[no-any-return]

    @cached_property
    def sqs(self) -> SQSClient:
        return self._client("sqs")  # type: ignore[no-any-return]

    @cached_property
    def sts(self) -> STSClient:
        return self._client("sts")  # type: ignore[no-any-return]

    @cached_property
    def runtime(self) -> SageMakerRuntimeClient:
        """Asks endpoints once: what a caller gets, not what retries make of it."""
        return self._client("sagemaker-runtime", attempts=1)  # type: ignore[no-any-return]

    def concurrent_runtime(self, connections: int) -> SageMakerRuntimeClient:
        """Asks endpoints once, with so many requests under way at a time."""
        return self._client("sagemaker-runtime", attempts=1, connections=connections)  # type: ignore[no-any-return]

    @cached_property
    def steady_runtime(self) -> SageMakerRuntimeClient:
        """Asks endpoints until they answer, as often and as slowly as everything else is asked."""
        return self._client("sagemaker-runtime")  # type: ignore[no-any-return]

    @cached_property
    def patient_runtime(self) -> SageMakerRuntimeClient:
        """Asks endpoints a second time when the first request was throttled, reset or answered 5xx."""
        return self._client("sagemaker-runtime", attempts=2)  # type: ignore[no-any-return]


class Credentials(NamedTuple):
    """How this process got its credentials, and whom AWS takes it for."""

    way: str
    """In words: `OIDC, role arn:aws:iam::123456789012:role/training`."""
    arn: str
    """As GetCallerIdentity tells it: `arn:aws:sts::123456789012:assumed-role/training/gitlab-job-7`."""
    account: str

    def __str__(self) -> str:
        return f"credentials: {self.way}" if self.arn in self.way else f"credentials: {self.way} ({self.arn})"


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
    must not take the place of the role. Raises InvalidCredentials for keys that no request can carry.
    """
    role = value(os.environ, role_variable) or value(os.environ, "AWS_ROLE_ARN")
    token = os.environ.pop("AWS_ID_TOKEN", "")
    if role and token:
        # Whoever inherits our environment (the consumer's pipeline module, pytest) gets the role, never the keys.
        for name in _KEYS:
            os.environ.pop(name, None)
        os.environ["AWS_ROLE_ARN"] = role
        os.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(_private_file(token))
        # The session name shows up in CloudTrail: it leads from an AWS call back to the GitLab job.
        os.environ["AWS_ROLE_SESSION_NAME"] = f"gitlab-job-{os.environ.get('CI_JOB_ID', 'local')}"
        return Announced(f"OIDC, role {role}", role=role)
    unused = "; AWS_ROLE_ARN is not used without an AWS_ID_TOKEN" if role else ""
    _trim_keys()
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


_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def _trim_keys() -> None:
    """Static keys without the line break that pasting into a CI/CD variable leaves at their end.

    Raises InvalidCredentials for others with what no HTTP header may hold: the HTTP library's own error shows the key.
    """
    for name in _KEYS:
        key = os.environ.get(name, "").strip()
        if not fits_header(key):
            raise errors.InvalidCredentials(
                f"{name} {UNFIT}",
                hint="Set the CI/CD variable anew, as one line, or move to OIDC with AWS_ROLE_ARN.",
            )
        if name in os.environ:
            os.environ[name] = key


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
