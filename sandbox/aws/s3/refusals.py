"""What S3 refuses and moto takes, or refuses in other words. authorization.py asks `check` before moto's action.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from moto.kms.models import kms_backends
from moto.s3.exceptions import InvalidNotificationARN, S3ClientError
from moto.s3.models import FakeDeleteMarker
from moto.s3.responses import S3Response

from sandbox.aws.ground import ACCOUNT, REGION

_SETTINGS = frozenset(
    ("encryption", "ownershipControls", "publicAccessBlock", "replication", "inventory", "object-lock")
)
_VERSION = re.compile(r"null|[\w.-]{16,}")


class Refused(S3ClientError):
    """A refusal with S3's code, message and HTTP status."""

    def __init__(self, code: str, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(code, message)
        self.status = status


def install() -> None:
    responses: Any = S3Response
    serialized = responses.serialized

    def with_status(self: Any, result: Any) -> Any:
        status, headers, body = serialized(self, result)
        return getattr(result.result, "status", status) if isinstance(result.result, Refused) else status, headers, body

    responses.serialized = with_status
    arn: Any = InvalidNotificationARN
    arn.__init__ = lambda self: S3ClientError.__init__(self, "InvalidArgument", "The ARN could not be parsed")


def check(response: Any, bucket_name: str | None, key_name: str | None) -> None:
    """Raises Refused for a call that S3 would refuse; `response` is moto's of the call, its action already known."""
    if bucket_name is None or bucket_name not in response.backend.buckets:
        return  # moto says so
    query = parse_qs(response.parsed_url.query, keep_blank_values=True)
    action = response.data.get("Action") or ""
    if setting := _SETTINGS & query.keys():  # moto takes these for the bucket itself
        action = f"{response.method} {min(setting)}"
    for test in _CHECKS.get(action, ()):
        test(response, response.backend.buckets[bucket_name], key_name)


# --- objects --------------------------------------------------------------------------------------------------------


def _conditions(response: Any, bucket: Any, key: str | None) -> None:
    match, none_match = response.headers.get("If-Match"), response.headers.get("If-None-Match")
    if (match and none_match) or match == "*" or none_match not in (None, "*"):
        raise Refused(
            "NotImplemented",
            "A header you provided implies functionality that is not implemented",
            HTTPStatus.NOT_IMPLEMENTED,
        )


def _digests(response: Any, bucket: Any, key: str | None) -> None:
    if response.headers.get("X-Amz-Decoded-Content-Length"):
        return  # the body is still in chunks, with its sum at the end
    body = _body(response)
    if md5 := response.headers.get("Content-MD5"):
        if len(_decoded(md5)) != hashlib.md5().digest_size:  # noqa: S324 - S3's own sum
            raise Refused("InvalidDigest", "The Content-MD5 you specified was invalid.")
        if _decoded(md5) != hashlib.md5(body).digest():  # noqa: S324
            raise Refused("BadDigest", "The Content-MD5 you specified did not match what we received.")
    for name, calculate in _SUMS.items():
        if (checksum := response.headers.get(f"x-amz-checksum-{name}")) is None:
            continue
        expected = calculate(body)
        if len(_decoded(checksum)) != len(expected):
            raise Refused("InvalidRequest", f"Value for x-amz-checksum-{name} header is invalid.")
        if _decoded(checksum) != expected:
            raise Refused("BadDigest", f"The {name.upper()} you specified did not match the calculated checksum.")


_SUMS: dict[str, Callable[[bytes], bytes]] = {
    "crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "sha1": lambda body: hashlib.sha1(body).digest(),  # noqa: S324 - one that S3 offers
    "sha256": lambda body: hashlib.sha256(body).digest(),
}


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _key_of_kms(response: Any, bucket: Any, key: str | None) -> None:
    key_id = response.headers.get("x-amz-server-side-encryption-aws-kms-key-id")
    if not key_id or key_id.startswith("alias/"):
        return
    keys = kms_backends[ACCOUNT][REGION]
    if key_id.rpartition("/")[2] in keys.keys:
        return
    if key_id.startswith("arn:") or re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", key_id):
        arn = key_id if key_id.startswith("arn:") else f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}"
        raise Refused("KMS.NotFoundException", f"Key '{arn}' does not exist")
    raise Refused("KMS.NotFoundException", f"Invalid keyId '{key_id}'")


def _version(response: Any, bucket: Any, key: str | None) -> None:
    version = response.querystring.get("versionId", [None])[0]
    if version is not None and not _VERSION.fullmatch(version):
        raise Refused("InvalidArgument", "Invalid version id specified")


def _no_delete_marker(response: Any, bucket: Any, key: str | None) -> None:
    version = response.querystring.get("versionId", [None])[0]
    versions = bucket.keys.getlist(key, default=[])
    if any(isinstance(each, FakeDeleteMarker) and each.version_id == version for each in versions):
        raise Refused(
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
            HTTPStatus.METHOD_NOT_ALLOWED,
        )


# --- buckets --------------------------------------------------------------------------------------------------------


def _no_versions(response: Any, bucket: Any, key: str | None) -> None:
    if bucket.versioning_status and bucket.keys:
        raise Refused(
            "BucketNotEmpty",
            "The bucket you tried to delete is not empty. You must delete all versions in the bucket.",
            HTTPStatus.CONFLICT,
        )


def _continuation(response: Any, bucket: Any, key: str | None) -> None:
    token = response.querystring.get("continuation-token", [None])[0]
    if token is not None and token not in response.backend._pagination_tokens:
        raise Refused("InvalidArgument", "The continuation token provided is incorrect")


def _versioning(response: Any, bucket: Any, key: str | None) -> None:
    if b"<Status>" not in _body(response):
        raise Refused("IllegalVersioningConfigurationException", "The Versioning element must be specified")


def _encryption(response: Any, bucket: Any, key: str | None) -> None:
    if b"<SSEAlgorithm>AES256<" in _body(response) and b"<KMSMasterKeyID>" in _body(response):
        raise Refused(
            "InvalidArgument",
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
        )


def _policy(response: Any, bucket: Any, key: str | None) -> None:
    try:
        document = json.loads(_body(response))
    except ValueError:
        document = None
    if not isinstance(document, Mapping):
        raise Refused("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
    if "Statement" not in document:
        raise Refused("MalformedPolicy", "Missing required field Statement")


def _body(response: Any) -> bytes:
    return response.raw_body if isinstance(response.raw_body, bytes) else str(response.raw_body).encode()


_Check = Callable[[Any, Any, str | None], None]
_CHECKS: dict[str, tuple[_Check, ...]] = {
    "PutObject": (_conditions, _digests, _key_of_kms),
    "GetObjectVersion": (_version, _no_delete_marker),
    "DeleteObject": (_version,),
    "DeleteObjectVersion": (_version,),
    "DeleteBucket": (_no_versions,),
    "ListBucket": (_continuation,),
    "PutBucketVersioning": (_versioning,),
    "PUT encryption": (_encryption,),
    "PutBucketPolicy": (_policy,),
}
"""By moto's name of the action, or by method and setting."""
