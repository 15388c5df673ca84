"""What both custom resources ask of AWS: secrets, the seed archives, how the stack stands."""

from __future__ import annotations

import json
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gitlab_secrets import certificates, tokens

from .reasons import CheckinFailed, explain
from .seed import MAX_BYTES

TAG = "sagemaker-ci:gitlab"
"""The tag of a secret that says for which GitLab it is; see the policy of CheckinRole in project.yml."""

# Without a way to the service (a VPC without endpoints) a call must fail while there is time to say so.
_QUICK = Config(connect_timeout=3, read_timeout=3, retries={"total_max_attempts": 2})
STACK_SECONDS = 13
"""How long `is_rolled_back` may take."""
# A deletion ends as done even without GitLab's token, and leaves what it should have removed: half a minute of trouble
# must not come to that. The mode "legacy" waits for seconds between attempts, "standard" for tenths of one.
_CONFIG = Config(connect_timeout=5, read_timeout=15, retries={"mode": "legacy", "total_max_attempts": 7})


def access_token(secret: str, server_url: str) -> str:
    """GitLab's access token: the secret itself, or its entry `token` when it is JSON. Raises CheckinFailed."""
    try:
        return tokens.token(_secret(secret, server_url))
    except tokens.Unreadable as error:
        how = "as its text or, in JSON, as an entry 'token'"
        raise CheckinFailed(f"secret {secret} does not hold an access token, {how}: {error}") from error


def authorities(secret: str, server_url: str) -> str | None:
    """A file with the certificates in the secret beside those that everybody trusts; None without a secret.

    Raises CheckinFailed for a secret that holds no certificates.
    """
    if not secret:
        return None
    try:
        return certificates.bundle(_secret(secret, server_url))
    except ValueError as error:
        raise CheckinFailed(f"secret {secret} holds no certificates in PEM form: {error}") from error


def secret_value(secret: str, key: str | None, server_url: str) -> str:
    """The secret's text, or its entry `key` when that is given and the secret holds JSON. Raises CheckinFailed."""
    return pick(_secret(secret, server_url), key, secret)


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
    stored = _client("s3").get_object(Bucket=bucket, Key=key)
    if stored["ContentLength"] > MAX_BYTES:
        raise CheckinFailed(f"it has {stored['ContentLength']:,} bytes, at most {MAX_BYTES:,} are taken")
    content: bytes = stored["Body"].read()
    return content


def is_rolled_back(stack: str) -> bool:
    """Whether an update of the stack is being undone; False when CloudFormation does not say."""
    try:
        answer = _client("cloudformation", _QUICK).describe_stacks(StackName=stack)
    except (BotoCoreError, ClientError):
        return False
    return bool(answer["Stacks"][0]["StackStatus"] == "UPDATE_ROLLBACK_IN_PROGRESS")


def _secret(name: str, server_url: str) -> str:
    """A secret's text. The function's role reads only those that are tagged for the GitLab they are sent to."""
    try:
        answer = _client("secretsmanager").get_secret_value(SecretId=name)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "AccessDeniedException":
            raise
        raise CheckinFailed(
            f"secret {name} does not exist, or is not tagged as meant for {server_url}. If it is: aws secretsmanager "
            f"tag-resource --secret-id {name} --tags Key={TAG},Value={server_url} ({explain(error)})"
        ) from error
    if "SecretString" not in answer:
        raise CheckinFailed(f"secret {name} holds bytes; a text is needed")
    return str(answer["SecretString"])


def _client(service: str, config: Config = _CONFIG) -> Any:
    return boto3.client(service, config=config)  # type: ignore[call-overload]
