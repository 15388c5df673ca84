"""What a repository needs whose merge requests train: two roles and their variables. Called by both sides of doctor.

Functions of values: the file, the variables, a role's trust policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ci_scripts import repository, settings
from ci_scripts.doctor import verdicts
from ci_scripts.doctor.verdicts import Verdict

CHECK = "merge requests that train"
PIPELINE_ROLE = settings.MERGE_REQUEST_PIPELINE_ROLE
ROLES = (settings.MERGE_REQUEST_ROLE, PIPELINE_ROLE)
POLICY = "MergeRequestDoctorPolicy of infra/merge-requests.yml"
"""What lets a person look at the two roles: DoctorPolicy is of another stack, and cannot name them."""

_STACK = "infra/merge-requests.yml, in the project template the parameter TrainInMergeRequests"
_COMPONENT = "merge-request-training"
_INPUT = re.compile(
    r"""^\s*["']?train_in_merge_requests["']?\s*:\s*["']?(true|yes|on)\b""", re.MULTILINE | re.IGNORECASE
)
_OWN_ROLE = re.compile(r"""^\s*["']?merge_request_pipeline_role_arn["']?\s*:\s*["']?[^\s"'#]""", re.MULTILINE)
_MOST_BYTES = 1_000_000

# GitLab gives a protected variable to protected branches alone, and a merge request's is none.
_READ_BY_MERGE_REQUESTS = ("AWS_CHECK_ROLE_ARN", *ROLES, "MERGE_REQUEST_ALLOWED_STEPS")


def configuration(folder: Path) -> str:
    """The text of the repository's `.gitlab-ci.yml`; empty if there is none that can be read."""
    try:
        return repository.read(folder / ".gitlab-ci.yml", _MOST_BYTES).decode(errors="replace")
    except repository.Unreadable:
        return ""


def trains(text: str) -> bool:
    """Whether a `.gitlab-ci.yml` has merge requests train, by the input or by the component itself."""
    return bool(_INPUT.search(text)) or any(each.name == _COMPONENT for each in verdicts.components(text))


def variables(text: str, environ: Mapping[str, str]) -> Iterator[Verdict]:
    """Whether `environ` has what the jobs of merge requests read, for a `.gitlab-ci.yml` by which they train."""
    if not trains(text):
        return
    missing = [] if settings.value(environ, PIPELINE_ROLE) or _OWN_ROLE.search(text) else [PIPELINE_ROLE]
    by_oidc = any(settings.value(environ, name) for name in ("AWS_ROLE_ARN", "AWS_CHECK_ROLE_ARN"))
    if by_oidc and not settings.value(environ, settings.MERGE_REQUEST_ROLE):
        missing.insert(0, settings.MERGE_REQUEST_ROLE)
    if missing:
        yield verdicts.failed(
            CHECK, f"{' and '.join(missing)} missing: create the stack of {_STACK}; its outputs are the values"
        )
    elif not settings.value(environ, settings.MERGE_REQUEST_ROLE):
        yield verdicts.hint(
            CHECK, f"with static keys, which are no role: nothing keeps them from the project's own ({_STACK})"
        )
    else:
        yield verdicts.ok(CHECK, "both roles are named")


def role(arn: str, trust: Mapping[str, Any]) -> Verdict:
    """Whether the role of merge requests' jobs can be assumed by an ID token; `trust` is its trust policy."""
    statements = trust.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        actions = statement.get("Action", [])
        if statement.get("Effect") == "Allow" and "sts:AssumeRoleWithWebIdentity" in (
            [actions] if isinstance(actions, str) else actions
        ):
            return verdicts.ok(settings.MERGE_REQUEST_ROLE, f"{arn}, trusts ID tokens")
    return verdicts.failed(
        settings.MERGE_REQUEST_ROLE, f"{arn} trusts no ID token: it is MergeRequestRoleArn of the stack of {_STACK}"
    )


def protected(rows: Sequence[Mapping[str, Any]]) -> Iterator[Verdict]:
    """`rows` are the project's CI/CD variables: those that merge requests read and are protected never reach them."""
    for row in rows:
        if row["key"] in _READ_BY_MERGE_REQUESTS and row.get("protected"):
            yield verdicts.failed(
                "CI/CD variables",
                f"{row['key']} is protected, and branches of merge requests are not: clear Protect variable under "
                "Settings > CI/CD > Variables",
            )
