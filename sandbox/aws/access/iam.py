"""IAM: refusals of roles and policies that moto lets pass or has in other words. `install()` puts them before moto."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.exceptions import DeleteConflictException, NotFoundException
from moto.iam.models import IAMBackend
from moto.iam.responses import IamResponse

from sandbox.aws.lacking import Lacking
from sandbox.aws.validation import InvalidParameters


class Malformed(InvalidParameters):
    """A policy document that cannot be read."""

    code = "MalformedPolicyDocument"


def install() -> None:
    backend: Any = IAMBackend
    responses: Any = IamResponse
    for name in ("create_role", "update_assume_role_policy"):
        setattr(responses, name, _with_json(getattr(responses, name)))
    for kind in ("role", "user", "group"):
        for verb in ("attach", "detach"):
            name = f"{verb}_{kind}_policy"
            setattr(responses, name, _with_arn(getattr(responses, name)))
    delete = backend.delete_policy

    def checked_delete(self: Any, policy_arn: str) -> None:
        policy = self.managed_policies.get(policy_arn)
        if policy is None:
            raise NotFoundException(f"Policy {policy_arn} was not found.")
        if policy.attachment_count:
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        if len(policy.versions) > 1:
            raise DeleteConflictException(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                "versions. The default version is deleted with the policy."
            )
        delete(self, policy_arn)

    backend.delete_policy = checked_delete
    responses.list_entities_for_policy = _list_entities_for_policy
    responses.create_open_id_connect_provider = _with_issuer(responses.create_open_id_connect_provider)


def _list_entities_for_policy(self: Any) -> ActionResult:
    """Everybody who holds a policy: moto looks at one page of a hundred roles."""
    for name in ("EntityFilter", "PathPrefix", "PolicyUsageFilter"):
        if self._get_param(name):
            raise Lacking(f"`{name}` of ListEntitiesForPolicy")
    arn = self._get_param("PolicyArn")
    if arn not in self.backend.managed_policies:
        raise NotFoundException(f"Policy {arn} was not found.")
    holders = {"Users": self.backend.users, "Roles": self.backend.roles, "Groups": self.backend.groups}
    by_kind = {
        f"Policy{kind}": [each for each in of.values() if arn in each.managed_policies] for kind, of in holders.items()
    }
    return ActionResult({**by_kind, "IsTruncated": False})


def _with_issuer(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(call)
    def checked(self: Any) -> Any:
        # https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html
        if not re.fullmatch(r"https://[^/?#:@]+(/[^?#]*)?", self._get_param("Url") or ""):
            raise InvalidParameters("ValidationError", "Invalid Open ID Connect Provider URL")
        return call(self)

    return checked


def _with_json(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(call)
    def checked(self: Any) -> Any:
        text = self._get_param("AssumeRolePolicyDocument") or self._get_param("PolicyDocument")
        try:
            json.loads(text)
        except (TypeError, ValueError) as error:
            raise Malformed("This policy contains invalid Json") from error
        return call(self)

    return checked


def _with_arn(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(call)
    def checked(self: Any) -> Any:
        if not str(self._get_param("PolicyArn")).startswith("arn:"):
            raise InvalidParameters("ValidationError", "Invalid ARN:  Could not be parsed!")
        return call(self)

    return checked
