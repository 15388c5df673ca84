"""Who a caller is: web identity tokens verified as STS verifies them, and roles that services assume.

`install()` puts AssumeRoleWithWebIdentity under these rules. What a caller may do is authorization.py's.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult
from moto.iam.models import OpenIDConnectProvider, Role, iam_backends
from moto.iam.responses import IamResponse
from moto.sts.models import sts_backends
from moto.sts.responses import TokenResponse

from sandbox.aws import policies
from sandbox.aws.server import ACCOUNT, REGION, ROOT_KEYS

_ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"]
_CONDITION_CLAIMS = ("aud", "sub", "amr", "email", "oaud")  # of an identity provider of one's own, IAM knows no others
_NOT_AUTHORIZED = "Not authorized to perform sts:AssumeRoleWithWebIdentity"


class TokenRefused(ServiceException):
    """STS refuses a web identity token; the code is STS's own."""


def install() -> None:
    moto_answer = TokenResponse.assume_role_with_web_identity

    def verified(self: Any) -> ActionResult:
        token, role_arn = self._get_param("WebIdentityToken"), self._get_param("RoleArn")
        claims, provider = verify_token(token)
        role = _role(role_arn)
        if role is None or not trusts(json.loads(role.assume_role_policy_document), provider.arn, claims):
            raise TokenRefused("AccessDenied", _NOT_AUTHORIZED)
        if self._get_int_param("DurationSeconds", 3600) > int(role.max_session_duration or 3600):
            raise TokenRefused(
                "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )
        answer: ActionResult = moto_answer(self)
        details: dict[str, Any] = answer.result
        details |= {
            "SubjectFromWebIdentityToken": claims.get("sub"),
            "Audience": claims.get("aud"),
            "Provider": provider.arn,
        }
        return answer

    TokenResponse.assume_role_with_web_identity = verified
    IamResponse.add_client_id_to_open_id_connect_provider = _add_client_id
    IamResponse.remove_client_id_from_open_id_connect_provider = _remove_client_id


# --- web identity --------------------------------------------------------------------------------------------------


def verify_token(token: str) -> tuple[dict[str, Any], OpenIDConnectProvider]:
    """The claims of a token that a registered identity provider signed, and that provider. Raises TokenRefused."""
    try:
        header = jwt.get_unverified_header(token)
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        raise TokenRefused("InvalidIdentityToken", "The ID Token provided is not a valid JWT.") from error
    issuer = str(claims.get("iss", ""))
    host = issuer.partition("://")[2].rstrip("/")
    provider = iam_backends[ACCOUNT]["aws"].open_id_providers.get(f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}")
    if provider is None:
        raise TokenRefused("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {issuer}")
    key = _signing_key(issuer, header.get("kid"))
    try:
        jwt.decode(token, key, algorithms=_ALGORITHMS, options={"verify_aud": False, "require": ["exp", "iat"]})
    except jwt.ExpiredSignatureError as error:
        raise TokenRefused(
            "ExpiredTokenException",
            f"Token expired: current date/time {int(time.time())} must be before the expiration date/time "
            f"{claims['exp']}",
        ) from error
    except jwt.InvalidTokenError as error:
        raise TokenRefused("InvalidIdentityToken", f"The token could not be validated: {error}") from error
    audiences = claims.get("aud", [])
    if not set([audiences] if isinstance(audiences, str) else audiences) & set(provider.client_id_list):
        raise TokenRefused("InvalidIdentityToken", "Incorrect token audience")
    return claims, provider


def _signing_key(issuer: str, key_id: str | None) -> Any:
    """The issuer's public key, by OpenID Connect discovery. Only issuers on loopback are asked: nothing leaves."""
    try:
        if urlsplit(issuer).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise requests.ConnectionError(f"{issuer} is not on loopback")
        configuration = requests.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration", timeout=5)
        configuration.raise_for_status()
        keys = requests.get(configuration.json()["jwks_uri"], timeout=5)
        keys.raise_for_status()
        for key in jwt.PyJWKSet.from_dict(keys.json()).keys:
            if key_id is None or key.key_id == key_id:
                return key.key
    except (requests.RequestException, jwt.InvalidTokenError, jwt.PyJWKSetError, KeyError, ValueError) as error:
        raise TokenRefused(
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider, please reference "
            "AssumeRoleWithWebIdentity documentation for requirements",
        ) from error
    raise TokenRefused("InvalidIdentityToken", "No matching key found in the identity provider's key set")


def trusts(policy: Mapping[str, Any], provider_arn: str, claims: Mapping[str, Any]) -> bool:
    """Whether a trust policy lets this identity assume its role: an Allow that fits, and no Deny that does."""
    host = provider_arn.partition(":oidc-provider/")[2]
    context = {f"{host}:{name}".lower(): claims[name] for name in _CONDITION_CLAIMS if name in claims}
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    effects = {statement["Effect"] for statement in statements if _statement_fits(statement, provider_arn, context)}
    return "Allow" in effects and "Deny" not in effects


def _statement_fits(statement: Mapping[str, Any], provider_arn: str, context: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal", {})
    federated = principal.get("Federated", []) if isinstance(principal, dict) else []
    if provider_arn not in policies.as_list(federated):
        return False
    actions = policies.as_list(statement["Action"])
    if not any(policies.like("sts:assumerolewithwebidentity", action.lower()) for action in actions):
        return False
    return policies.conditions_hold(statement.get("Condition", {}), context)


# --- roles that services use ---------------------------------------------------------------------------------------


class CannotAssume(Exception):
    """The role does not exist or does not trust the service."""


def service_credentials(role_arn: str, service: str, session_name: str) -> dict[str, str]:
    """Credentials of a role for an AWS service (`lambda.amazonaws.com`), as environment variables.

    Raises CannotAssume.
    """
    role = _role(role_arn)
    if role is None or not _trusts_service(json.loads(role.assume_role_policy_document), service):
        raise CannotAssume(role_arn)
    session = sts_backends[ACCOUNT]["aws"].assume_role(REGION, session_name, role_arn, "", 3600, "")
    return _environment(session)


def caller_credentials(access_key: str) -> dict[str, str]:
    """The credentials behind a caller's access key, for a service that goes on in the caller's name."""
    for session in list(sts_backends[ACCOUNT]["aws"].assumed_roles):
        if session.access_key_id == access_key:
            return _environment(session)
    for user in list(iam_backends[ACCOUNT]["aws"].users.values()):
        for key in user.access_keys:
            if key.access_key_id == access_key:
                return {"AWS_ACCESS_KEY_ID": key.access_key_id, "AWS_SECRET_ACCESS_KEY": key.secret_access_key}
    return dict(ROOT_KEYS)


def _environment(session: Any) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": session.access_key_id,
        "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
        "AWS_SESSION_TOKEN": session.session_token,
    }


def _trusts_service(policy: Mapping[str, Any], service: str) -> bool:
    return any(
        statement["Effect"] == "Allow"
        and isinstance(statement.get("Principal"), dict)
        and service in policies.as_list(statement["Principal"].get("Service", []))
        for statement in policies.as_list(policy["Statement"])
    )


def _role(arn: str) -> Role | None:
    roles = iam_backends[ACCOUNT]["aws"].roles.values()
    return next((role for role in roles if role.arn == arn), None)


# --- the two calls on an identity provider's audiences that moto lacks ---------------------------------------------


def _add_client_id(self: Any) -> EmptyResult:
    audiences = self.backend.get_open_id_connect_provider(self._get_param("OpenIDConnectProviderArn")).client_id_list
    if self._get_param("ClientID") not in audiences:
        audiences.append(self._get_param("ClientID"))
    return EmptyResult()


def _remove_client_id(self: Any) -> EmptyResult:
    audiences = self.backend.get_open_id_connect_provider(self._get_param("OpenIDConnectProviderArn")).client_id_list
    if self._get_param("ClientID") in audiences:
        audiences.remove(self._get_param("ClientID"))
    return EmptyResult()
