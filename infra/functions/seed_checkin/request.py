"""What the stack asks for: the properties of both custom resources, checked. Pure.

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

_NUMBER, _NAME, _WORD = r"[1-9]\d*", r"[A-Za-z0-9_][A-Za-z0-9_.-]*", r"\S+"
_GITLAB = {"GitLabServerUrl": r"https?://[^\s?#]+", "GitLabSecretName": _WORD}
_PROJECTS = _GITLAB | {
    "GitLabGroupId": rf"None|{_NUMBER}",
    "GitLabBaseUrl": r"https?://[^\s?#]+",
    "ModelBuildRepositoryName": _NAME,
    "ModelDeployRepositoryName": _NAME,
}
_CHECKIN = _GITLAB | {
    "ModelBuildProjectId": _NUMBER,
    "ModelDeployProjectId": _NUMBER,
    "SeedBucket": _WORD,
    "ModelBuildSeedKey": _WORD,
    "ModelDeploySeedKey": _WORD,
    "ComponentProjectPath": r"[A-Za-z0-9_][\w./-]*",
    "ComponentVersion": r"[\w~][\w.+~-]*",
    "TriggerTokenSecretArn": _WORD,
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


class Where(NamedTuple):
    """A GitLab, the secret that lets us in, and the one with its certificate authorities or nothing."""

    server_url: str
    token_secret: str
    ca_secret: str


class Projects(NamedTuple):
    """The properties of Custom::GitLabProjects. `group_id` is None for the namespace of the token's owner, a name is
    the last part of a project's path."""

    where: Where
    group_id: int | None
    base_url: str
    build_name: str
    deploy_name: str

    @property
    def server_url(self) -> str:
        return self.where.server_url


class Repository(NamedTuple):
    """What one of the two projects is filled with."""

    project_id: int
    seed_key: str
    variables: list[Variable]


class Properties(NamedTuple):
    """The properties of Custom::SeedCheckin. `key` is the ARN of the KMS key of the trigger token, or nothing."""

    where: Where
    build: Repository
    deploy: Repository
    seed_bucket: str
    component_path: str
    component_version: str
    trigger_secret: str
    key: str

    @property
    def server_url(self) -> str:
        return self.where.server_url

    @property
    def token_secret(self) -> str:
        return self.where.token_secret

    @property
    def variables(self) -> tuple[list[Variable], list[Variable]]:
        return self.build.variables, self.deploy.variables


def read_projects(properties: Mapping[str, Any]) -> Projects:
    """The properties of a request for Custom::GitLabProjects. Raises CheckinFailed that names every wrong one."""
    _check(properties, _PROJECTS)
    if str(properties["ModelBuildRepositoryName"]).lower() == str(properties["ModelDeployRepositoryName"]).lower():
        raise CheckinFailed("the two repositories need different names")
    group = str(properties["GitLabGroupId"])
    return Projects(
        where=_where(properties),
        group_id=None if group == "None" else int(group),
        base_url=str(properties["GitLabBaseUrl"]).rstrip("/"),
        build_name=str(properties["ModelBuildRepositoryName"]),
        deploy_name=str(properties["ModelDeployRepositoryName"]),
    )


def read(properties: Mapping[str, Any]) -> Properties:
    """The properties of a request for Custom::SeedCheckin. Raises CheckinFailed that names every wrong one."""
    _check(properties, _CHECKIN)
    variables = properties.get("Variables") or {}
    build, deploy = (
        Repository(
            int(properties[f"{name}ProjectId"]),
            str(properties[f"{name}SeedKey"]),
            read_variables(variables.get(group) or {}),
        )
        for name, group in (("ModelBuild", "Build"), ("ModelDeploy", "Deploy"))
    )
    return Properties(
        where=_where(properties),
        build=build,
        deploy=deploy,
        seed_bucket=str(properties["SeedBucket"]),
        component_path=str(properties["ComponentProjectPath"]).strip("/"),
        component_version=str(properties["ComponentVersion"]),
        trigger_secret=str(properties["TriggerTokenSecretArn"]),
        key=str(properties.get("KmsKeyArn", "")),
    )


def _where(properties: Mapping[str, Any]) -> Where:
    return Where(
        str(properties["GitLabServerUrl"]).rstrip("/"),
        str(properties["GitLabSecretName"]),
        str(properties.get("GitLabCaSecretName", "")),
    )


def _check(properties: Mapping[str, Any], patterns: Mapping[str, str]) -> None:
    wrong = [
        f"{name} is {'missing' if name not in properties else repr(properties[name])}"
        for name, pattern in patterns.items()
        if not re.fullmatch(pattern, str(properties.get(name, "")), re.ASCII)
    ]
    if wrong:
        raise CheckinFailed(f"the resource's properties are wrong: {'; '.join(wrong)}")


def read_variables(written: Mapping[str, Any]) -> list[Variable]:
    """The variables of one repository. Raises CheckinFailed."""
    variables = []
    for key, entry in written.items():
        for settings in entry if isinstance(entry, list) else [entry]:
            variables.append(_variable(key, settings if isinstance(settings, dict) else {"value": settings}))
    names = [(variable.key, variable.environment_scope) for variable in variables]
    if len(names) != len(set(names)):
        raise CheckinFailed("a variable is given twice for one environment scope")
    return variables


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
