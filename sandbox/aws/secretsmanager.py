"""Secrets Manager: refusals in AWS's words and with its status. `install()` puts the checks before moto's calls."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.secretsmanager.exceptions import InvalidRequestException, SecretHasNoValueException, SecretsManagerClientError
from moto.secretsmanager.models import FakeSecret, SecretsManagerBackend
from moto.secretsmanager.responses import SecretsManagerResponse

_NAME = re.compile(r"[A-Za-z0-9/_+=.@!:-]+")
_NAMED = (
    "create_secret delete_secret describe_secret get_secret_value list_secret_version_ids put_secret_value "
    "restore_secret tag_resource untag_resource update_secret"
).split()
_DELETED = "You can't perform this operation on the secret because it was marked for deletion."


def install() -> None:
    backend: Any = SecretsManagerBackend
    create, value, rotate = backend.create_secret, backend.get_secret_value, backend.rotate_secret
    tag, untag = backend.tag_resource, backend.untag_resource

    def checked_create(self: Any, name: str, **settings: Any) -> Any:
        existing = self.secrets.get(name)
        if existing and existing.is_deleted():
            raise InvalidRequestException(
                "You can't create this secret because a secret with this name is already scheduled for deletion."
            )
        return create(self, name=name, **settings)

    def checked_value(self: Any, secret_id: str, version_id: str, version_stage: str) -> Any:
        secret = self.secrets[secret_id] if self._is_valid_identifier(secret_id) else None
        stage = version_stage or "AWSCURRENT"
        if secret and not version_id and not secret.is_deleted():
            stages = [name for version in secret.versions.values() for name in version["version_stages"]]
            if stage not in stages:
                raise SecretHasNoValueException(stage)
        return value(self, secret_id, version_id, version_stage)

    def checked_rotate(self: Any, secret_id: str, **settings: Any) -> Any:
        secret = self.secrets[secret_id] if self._is_valid_identifier(secret_id) else None
        function = settings.get("rotation_lambda_arn") or getattr(secret, "rotation_lambda_arn", None)
        if secret and not secret.is_deleted() and not function:
            raise InvalidRequestException("No Lambda rotation function ARN is associated with this secret.")
        return rotate(self, secret_id=secret_id, **settings)

    def checked_tag(self: Any, arn: str, tags: Any) -> Any:
        _refuse_deleted(self, arn)
        return tag(self, arn, tags)

    def checked_untag(self: Any, arn: str, tag_keys: Any) -> Any:
        _refuse_deleted(self, arn)
        return untag(self, arn, tag_keys)

    backend.create_secret, backend.get_secret_value, backend.rotate_secret = (
        checked_create,
        checked_value,
        checked_rotate,
    )
    backend.tag_resource, backend.untag_resource = checked_tag, checked_untag
    _answer_400()
    secret: Any = FakeSecret
    to_dict = secret.to_dict
    # moto gives the versions the name that they have in ListSecrets, too.
    secret.to_dict = lambda self: {key: each for key, each in to_dict(self).items() if key != "SecretVersionsToStages"}
    responses: Any = SecretsManagerResponse
    for name in _NAMED:
        setattr(responses, name, _with_name(getattr(responses, name)))


def _refuse_deleted(backend: Any, secret_id: str) -> None:
    if secret_id in backend.secrets and backend.secrets[secret_id].is_deleted():
        raise InvalidRequestException(_DELETED)


def _answer_400() -> None:
    """Every refusal is HTTP 400; moto has 404 for what is missing."""
    for kind in SecretsManagerClientError.__subclasses__():
        kind.code = property(lambda self: 400, lambda self, code: None)


def _with_name(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(call)
    def checked(self: Any) -> Any:
        name = self._get_param("Name") or self._get_param("SecretId") or ""
        if name and not _NAME.fullmatch(name):
            raise JsonRESTError(
                "ValidationException",
                "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: "
                "-/_+=.@!",
            )
        return call(self)

    return checked
