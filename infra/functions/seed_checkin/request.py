"""What the stack asks for: the custom resource's properties, checked. Pure; handler.py reads requests with it.

CloudFormation turns every value into a string. The variables of a repository are a map from their name to a value, to
one of the settings below, or to a list of those (one for each environment scope):

    AWS_REGION: eu-west-1
    AWS_ROLE_ARN: [{value: arn:..., environment_scope: staging}, {value: arn:..., environment_scope: prod}]
    AWS_SECRET_ACCESS_KEY: {secret: name or ARN, secret_key: SecretAccessKey}

`value` or `secret` (with `secret_key` when the secret holds JSON), `environment_scope` (default `*`), `protected` and
`masked` (default false; true for values from a secret).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .reasons import CheckinFailed

_PATTERNS = {
    "GitLabServerUrl": r"https?://[^\s?#]+",
    "GitLabGroupId": r"None|[1-9]\d*",
    "ModelBuildRepositoryName": r"[A-Za-z0-9_][A-Za-z0-9_.-]*",
    "ModelDeployRepositoryName": r"[A-Za-z0-9_][A-Za-z0-9_.-]*",
    "GitLabSecretName": r"\S+",
    "SeedBucket": r"\S+",
    "ModelBuildSeedKey": r"\S+",
    "ModelDeploySeedKey": r"\S+",
    "ComponentProjectPath": r"[A-Za-z0-9_][\w./-]*",
    "ComponentVersion": r"[\w~][\w.+~-]*",
    "TriggerTokenSecretArn": r"\S+",
}
_SETTINGS = {"value", "secret", "secret_key", "environment_scope", "protected", "masked"}


class Variable(NamedTuple):
    """A CI/CD variable of a repository; its value is known or kept in Secrets Manager."""

    key: str
    value: str | None
    secret: str | None = None
    secret_key: str | None = None
    environment_scope: str = "*"
    protected: bool = False
    masked: bool = False


class Repository(NamedTuple):
    """One of the two repositories: `name` is the last part of its path."""

    name: str
    seed_key: str
    variables: list[Variable]


class Properties(NamedTuple):
    """The custom resource's properties; `group_id` is None for the namespace of the token's owner."""

    server_url: str
    group_id: int | None
    build: Repository
    deploy: Repository
    token_secret: str
    seed_bucket: str
    component_path: str
    component_version: str
    trigger_secret: str


def read(properties: Mapping[str, Any]) -> Properties:
    """The properties of a request. Raises CheckinFailed that names every one that is missing or wrong."""
    wrong = [
        f"{name} is {'missing' if name not in properties else repr(properties[name])}"
        for name, pattern in _PATTERNS.items()
        if not re.fullmatch(pattern, str(properties.get(name, "")), re.ASCII)
    ]
    if wrong:
        raise CheckinFailed(f"the resource's properties are wrong: {'; '.join(wrong)}")
    if str(properties["ModelBuildRepositoryName"]).lower() == str(properties["ModelDeployRepositoryName"]).lower():
        raise CheckinFailed("the two repositories need different names")
    group = str(properties["GitLabGroupId"])
    variables = properties.get("Variables") or {}
    return Properties(
        server_url=str(properties["GitLabServerUrl"]).rstrip("/"),
        group_id=None if group == "None" else int(group),
        build=Repository(
            str(properties["ModelBuildRepositoryName"]),
            str(properties["ModelBuildSeedKey"]),
            read_variables(variables.get("Build") or {}),
        ),
        deploy=Repository(
            str(properties["ModelDeployRepositoryName"]),
            str(properties["ModelDeploySeedKey"]),
            read_variables(variables.get("Deploy") or {}),
        ),
        token_secret=str(properties["GitLabSecretName"]),
        seed_bucket=str(properties["SeedBucket"]),
        component_path=str(properties["ComponentProjectPath"]).strip("/"),
        component_version=str(properties["ComponentVersion"]),
        trigger_secret=str(properties["TriggerTokenSecretArn"]),
    )


def read_variables(written: Mapping[str, Any]) -> list[Variable]:
    """The variables of one repository. Raises CheckinFailed."""
    found = []
    for key, entry in written.items():
        for settings in entry if isinstance(entry, list) else [entry]:
            found.append(_variable(key, settings if isinstance(settings, dict) else {"value": settings}))
    names = [(variable.key, variable.environment_scope) for variable in found]
    if len(names) != len(set(names)):
        raise CheckinFailed("a variable is given twice for one environment scope")
    return found


def _variable(key: str, settings: Mapping[str, Any]) -> Variable:
    if not re.fullmatch(r"\w{1,255}", key, re.ASCII):
        raise CheckinFailed(f"variable {key!r}: a name has letters, digits and _ only")
    if unknown := set(settings) - _SETTINGS:
        raise CheckinFailed(f"variable {key}: unknown setting {', '.join(sorted(unknown))}")
    if ("value" in settings) == ("secret" in settings):
        raise CheckinFailed(f"variable {key}: give either value or secret")
    secret = "secret" in settings
    return Variable(
        key,
        value=None if secret else str(settings["value"]),
        secret=str(settings["secret"]) if secret else None,
        secret_key=settings.get("secret_key"),
        environment_scope=str(settings.get("environment_scope", "*")),
        protected=_flag(key, settings.get("protected", secret)),
        masked=_flag(key, settings.get("masked", secret)),
    )


def _flag(key: str, value: object) -> bool:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise CheckinFailed(f"variable {key}: {value!r} is neither true nor false")
    return text == "true"
