"""Every call is authorized before it is answered: known credentials, and a policy that allows what is asked.

`install()` puts it in front of moto's services. The account's root keys may do everything; a session of a role may do
what the role's policies allow, a user what theirs do. What is not enforced: the request's signature (whoever has a
session has its token), bucket policies, permissions boundaries. Queue policies hold for EventBridge: see events.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import unescape

from moto.core.exceptions import HTTPException, ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import get_service_model
from moto.iam.exceptions import NotFoundException as IAMNotFoundException
from moto.iam.models import iam_backends
from moto.s3.exceptions import S3AccessDeniedError, S3InvalidAccessKeyIdError
from moto.sts.models import AssumedRole

from sandbox.aws import validation, wire
from sandbox.aws.access import identity, policies, requestlog
from sandbox.aws.access.demands import Demand, demands
from sandbox.aws.authorities import violations
from sandbox.aws.ground import ACCOUNT, ROOT_KEYS
from sandbox.aws.s3 import refusals

ROOT = "root"
_NO_CREDENTIALS = {"sts:AssumeRoleWithWebIdentity"}
_ALWAYS_ALLOWED = {"sts:GetCallerIdentity"}
_ACTIONS = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "s3:HeadBucket": "s3:ListBucket",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}
"""Calls whose action has another name."""
_SERVICES = {
    "awslambda": "lambda",
    "sagemaker-runtime": "sagemaker",
    "stepfunctions": "states",
    "service-quotas": "servicequotas",
}


class Refused(ServiceException):
    """The call does not pass; the code is that of JSON services."""


class Caller(NamedTuple):
    """Who calls: an ARN, and the policies that say what they may do."""

    arn: str
    policies: list[Any]


_OBJECTS = re.compile(r"<Object>(.*?)</Object>", re.DOTALL)  # of DeleteObjects, which asks for each object
_KEY = re.compile(r"<Key>([^<]*)</Key>")


def _text(body: Any) -> str:
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)


def install() -> None:
    call_action, authorize_s3 = BaseResponse.call_action, BaseResponse._authenticate_and_authorize_s3_action

    def guarded(self: Any) -> Any:
        try:
            authorize(self, self.service_name, getattr(self, "_determine_resource", lambda: "*")())
            validation.check(self)
        except Refused as refused:
            refused.code = _code(self, refused.code)
            _, headers, body = self.serialized(ActionResult(refused))
            return 400 if "X-Amz-Target" in self.headers else 403, headers, body
        except validation.InvalidParameters as refused:
            return self.serialized(ActionResult(refused))
        try:
            return call_action(self)
        except NotImplementedError:
            return _lacking(self)

    def guarded_s3(self: Any, bucket_name: str | None = None, key_name: str | None = None) -> None:
        place = f"{bucket_name or '*'}/{key_name}" if key_name else (bucket_name or "*")
        objects = _OBJECTS.findall(_text(self.body)) if bucket_name and "delete" in self.querystring else []
        try:
            for each in objects:
                # An object with a version asks for another action: whoever may delete may not make it forgotten.
                # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
                version = "Version" if "<VersionId>" in each else ""
                keys = [unescape(key) for key in _KEY.findall(each)]
                authorize(self, "s3", f"arn:aws:s3:::{bucket_name}/{''.join(keys)}", f"DeleteObject{version}")
            if not objects:
                authorize(self, "s3", f"arn:aws:s3:::{place}" if bucket_name else "*")
        except Refused as refused:
            raise _s3_error(refused) from refused
        refusals.check(self, bucket_name, key_name)
        authorize_s3(self, bucket_name, key_name)

    BaseResponse.call_action = guarded
    BaseResponse._authenticate_and_authorize_s3_action = guarded_s3


def _lacking(response: Any) -> Any:
    """The refusal of an operation that neither moto nor the sandbox has."""
    model = get_service_model(response.boto3_service_name)
    call = f"{model.service_name}:{response._get_action()}"
    refusal = Refused(wire.unknown_operation(model.metadata["protocol"]), wire.LACKS.format(call))
    _, headers, body = response.serialized(ActionResult(refusal))
    return HTTPStatus.NOT_IMPLEMENTED, headers, body


def _code(response: Any, code: str) -> str:
    """Query services leave "Exception" out, and have another name for a key that nobody has.

    https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
    """
    json_service = "X-Amz-Target" in response.headers or response.service_name in ("awslambda", "sagemaker-runtime")
    if json_service:
        return code
    return {"UnrecognizedClientException": "InvalidClientTokenId"}.get(code, code.removesuffix("Exception"))


def _s3_error(refused: Refused) -> HTTPException:
    return S3AccessDeniedError() if refused.code == "AccessDeniedException" else S3InvalidAccessKeyIdError()


def authorize(response: Any, service: str, resource: str, operation: str = "") -> None:
    """Raises Refused unless the caller may make this call, or this `operation`, which is a part of it."""
    service, operation = _SERVICES.get(service, service), operation or response._get_action()
    action = _ACTIONS.get(f"{service}:{operation}", f"{service}:{operation}")
    if service == "s3" and (setting := _bucket_setting(response)):
        action = setting
    requestlog.note(service, operation, resource, "" if service == "s3" else response.boto3_service_name)
    if action in _NO_CREDENTIALS:
        return
    caller = _caller(response)
    if action in _ALWAYS_ALLOWED or (caller.arn == ROOT and not violations.enabled()):
        return
    parameter = partial(_parameter_or_header, response) if service == "s3" else response._get_param
    demanded = demands(service, action.partition(":")[2], parameter, resource)
    requestlog.note_demands(demanded)
    if caller.arn == ROOT:
        return
    for demand in demanded:
        requestlog.note_asked(demand.action, demand.resource)
        _require(caller, demand)


def _parameter_or_header(response: Any, name: str) -> Any:
    """S3 takes most of what a call says from headers."""
    value = response._get_param(name)
    return response.headers.get(name) if value is None else value


# Settings of a bucket whose actions moto takes for creating it: part of the address, part of the action's name.
_BUCKET_SETTINGS = {
    "encryption": "EncryptionConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "publicAccessBlock": "BucketPublicAccessBlock",
}


def _bucket_setting(response: Any) -> str:
    for part, setting in _BUCKET_SETTINGS.items():
        if part in parse_qs(urlsplit(response.uri).query, keep_blank_values=True):
            return f"s3:{'Get' if response.method == 'GET' else 'Put'}{setting}"
    return ""


def role_may(role_arn: str, session: str, needed: list[tuple[str, str]]) -> bool:
    """Whether a role allows all these actions on their resources; for what a service does with it beside the API."""
    allowed = list(_policies(iam_backends[ACCOUNT]["aws"].get_role_by_arn(role_arn)))
    if not all(policies.allows(allowed, action, resource, {}) for action, resource in needed):
        return False
    requestlog.record(f"arn:aws:sts::{ACCOUNT}:assumed-role/{role_arn.rpartition('/')[2]}/{session}", needed)
    return True


def _require(caller: Caller, demand: Demand) -> None:
    if not policies.allows(caller.policies, demand.action, demand.resource, demand.context):
        requestlog.note_refused()
        raise Refused(
            "AccessDeniedException",
            f"User: {caller.arn} is not authorized to perform: {demand.action} on resource: {demand.resource} because "
            f"no identity-based policy allows the {demand.action} action",
        )


# --- the caller -----------------------------------------------------------------------------------------------------


def _caller(response: Any) -> Caller:
    """Raises Refused for keys that nobody has, or a session token that is not theirs."""
    key, token = credentials(response)
    if not key:
        raise Refused("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    if key == ROOT_KEYS["AWS_ACCESS_KEY_ID"]:
        return Caller(ROOT, [])
    holder = identity.holder(key)
    if holder is None or (isinstance(holder, AssumedRole) and holder.session_token != token):
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
    try:
        entity = _entity(holder)
    except IAMNotFoundException:  # the role was deleted, and its sessions with it
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.") from None
    return Caller(str(holder.arn), list(_policies(entity)))


def _entity(holder: Any) -> Any:
    """The role or user whose policies count."""
    return iam_backends[ACCOUNT]["aws"].get_role_by_arn(holder.role_arn) if isinstance(holder, AssumedRole) else holder


def credentials(response: Any) -> tuple[str, str]:
    """Access key id and session token, from the header or from a pre-signed address."""
    authorization = response.headers.get("Authorization", "")
    if "Credential=" in authorization:
        scope = authorization.partition("Credential=")[2]
        return scope.split("/")[0], response.headers.get("X-Amz-Security-Token", "")
    query = parse_qs(urlsplit(response.uri).query)
    scope, token = (query.get(name, [""])[0] for name in ("X-Amz-Credential", "X-Amz-Security-Token"))
    return scope.split("/")[0] or query.get("AWSAccessKeyId", [""])[0], token


def _policies(entity: Any) -> Iterator[Any]:
    """The documents of a role's or a user's policies, inline and managed."""
    versions = [version for policy in entity.managed_policies.values() for version in policy.versions]
    for document in (*entity.policies.values(), *(version.document for version in versions if version.is_default)):
        yield json.loads(document) if isinstance(document, str) else document
