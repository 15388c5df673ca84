"""Who holds which credentials: access keys, web identity tokens as STS verifies them, roles that services assume.

`install()` puts AssumeRoleWithWebIdentity under these rules. What a caller may do is authorization.py's. What a
service does for a role goes through the API with `client`, so that IAM policies hold for it.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import boto3
import jwt
import requests
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult
from moto.iam.models import OpenIDConnectProvider, Role, iam_backends
from moto.iam.responses import IamResponse
from moto.sagemaker.exceptions import ValidationError
from moto.sts.models import AssumedRole, sts_backends
from moto.sts.responses import TokenResponse

from sandbox.aws.access import policies
from sandbox.aws.ground import ACCOUNT, REGION, ROOT_KEYS, authorities, gateway
from sandbox.loopback import DOMAIN

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
    """The issuer's public key, by OpenID Connect discovery. Only the sandbox's issuers are asked: nothing leaves."""
    try:
        configuration = _read(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        for key in jwt.PyJWKSet.from_dict(_read(configuration["jwks_uri"])).keys:
            if key_id is None or key.key_id == key_id:
                return key.key
    except (requests.RequestException, jwt.InvalidTokenError, jwt.PyJWKSetError, KeyError, ValueError) as error:
        raise TokenRefused(
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider, please reference "
            "AssumeRoleWithWebIdentity documentation for requirements",
        ) from error
    raise TokenRefused("InvalidIdentityToken", "No matching key found in the identity provider's key set")


def _read(url: str) -> Any:
    address = urlsplit(url)
    if address.scheme != "https" or not (address.hostname or "").endswith(f".{DOMAIN}") or not gateway():
        raise requests.ConnectionError(f"{url} is not in the sandbox")
    answer = requests.get(url, timeout=5, proxies={"https": gateway()}, verify=authorities())
    answer.raise_for_status()
    return answer.json()


def trusts(policy: Mapping[str, Any], provider_arn: str, claims: Mapping[str, Any]) -> bool:
    """Whether a trust policy lets this identity assume its role: an Allow that fits, and no Deny that does."""
    host = provider_arn.partition(":oidc-provider/")[2]
    context = {f"{host}:{name}".lower(): claims[name] for name in _CONDITION_CLAIMS if name in claims}
    own = [each for each in policies.as_list(policy["Statement"]) if policies.names(each, "Federated", provider_arn)]
    return _let_in(own, "sts:AssumeRoleWithWebIdentity", context)


def _let_in(statements: list[Any], action: str, context: Mapping[str, Any]) -> bool:
    # The resource of a trust policy is its role: no statement names it.
    return policies.allows([{"Statement": [each | {"Resource": "*"} for each in statements]}], action, "*", context)


# --- roles that services use ---------------------------------------------------------------------------------------


class CannotAssume(Exception):
    """The role does not exist or does not trust the service."""


def service_credentials(role_arn: str, service: str, session_name: str) -> dict[str, str]:
    """Credentials of a role for an AWS service (`lambda.amazonaws.com`), as environment variables.

    Raises CannotAssume.
    """
    role = _role(role_arn)
    if role is None or not trusts_service(json.loads(role.assume_role_policy_document), service):
        raise CannotAssume(role_arn)
    session = sts_backends[ACCOUNT]["aws"].assume_role(REGION, session_name, role_arn, "", 3600, "")
    return _environment(session)


def sagemaker_credentials(role_arn: str, session_name: str = "SageMaker") -> dict[str, str]:
    """Those of a role for SageMaker. Raises ValidationError, as SageMaker's Create* calls do."""
    try:
        return service_credentials(role_arn, "sagemaker.amazonaws.com", session_name)
    except CannotAssume as error:
        raise ValidationError(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            "'sagemaker.amazonaws.com' to assume the role."
        ) from error


def trusts_service(policy: Mapping[str, Any], service: str) -> bool:
    """Whether a trust policy lets a service of this account assume its role."""
    own = [each for each in policies.as_list(policy["Statement"]) if policies.names(each, "Service", service)]
    return _let_in(own, "sts:AssumeRole", {"aws:sourceaccount": ACCOUNT})


def _role(arn: str) -> Role | None:
    roles = list(iam_backends[ACCOUNT]["aws"].roles.values())
    return next((role for role in roles if role.arn == arn), None)


# --- access keys ---------------------------------------------------------------------------------------------------


def holder(access_key: str) -> Any:
    """moto's session of a role (AssumedRole) or user (User) that has this access key; None when neither has."""
    session = sts_backends[ACCOUNT]["aws"].get_assumed_role_from_access_key(access_key)
    users = list(iam_backends[ACCOUNT]["aws"].users.values())
    return session or next((user for user in users if _key(user, access_key)), None)


def _key(user: Any, access_key: str) -> Any:
    return next((key for key in user.access_keys if key.access_key_id == access_key), None)


def caller_credentials(access_key: str) -> dict[str, str]:
    """The credentials behind a caller's access key, for a service that goes on in the caller's name."""
    caller = holder(access_key)
    if caller is None:
        return dict(ROOT_KEYS)
    if isinstance(caller, AssumedRole):
        return _environment(caller)
    return {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": _key(caller, access_key).secret_access_key}


def _environment(session: AssumedRole) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": session.access_key_id,
        "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
        "AWS_SESSION_TOKEN": session.session_token,
    }


_clients = threading.Lock()  # boto3's default session does not stand clients made by two threads at once


def client(service: str, credentials: Mapping[str, str], region: str = REGION) -> Any:
    """A client of this server for credentials as above; the endpoint comes from AWS_ENDPOINT_URL.

    Whoever asks with the same credentials gets the same one: making a client costs more than most calls do.
    """
    with _clients:
        return _client(service, region, tuple(sorted(credentials.items())))


@lru_cache(maxsize=64)
def _client(service: str, region: str, credentials: tuple[tuple[str, str], ...]) -> Any:
    keys: Any = {name.lower(): value for name, value in credentials}
    return boto3.client(service, region_name=region, **keys)  # type: ignore[call-overload]


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
