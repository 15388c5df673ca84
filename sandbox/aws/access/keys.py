"""What is asked of KMS when a call of another service uses a key of the account: S3 for objects, SageMaker for volumes.

The caller must be allowed to use the key, too. S3 generates a data key for every object it encrypts, and decrypts it to
read: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html#require-sse-kms. SageMaker uses it
by a grant: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html, under KmsKeyId.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from moto.s3.models import FakeBucket, FakeKey, s3_backends
from moto.sagemaker.models import sagemaker_backends

from sandbox.aws.ground import ACCOUNT, REGION

Use = tuple[str, str, Mapping[str, Any]]
"""An action, the ARN of a key, and the condition keys of the question."""


def uses(service: str, operation: str, parameter: Callable[[str], Any], resource: str) -> Iterator[Use]:
    """The uses of keys that come with a call; of an AWS-managed key none, which its service may use for everybody."""
    if service == "sagemaker" and operation in ("CreateEndpoint", "UpdateEndpoint"):
        config: Any = sagemaker_backends[ACCOUNT][REGION].endpoint_configs.get(parameter("EndpointConfigName"))
        if key := config and config.response_object.get("KmsKeyId"):
            yield "kms:DescribeKey", _arn(key), {}
            yield "kms:CreateGrant", _arn(key), {"kms:grantisforawsresource": "true"}
    if service == "s3" and resource.count("/"):
        name, _, key_name = resource.removeprefix("arn:aws:s3:::").partition("/")
        bucket = s3_backends[ACCOUNT]["aws"].buckets.get(name)
        context = {"kms:viaservice": f"s3.{REGION}.amazonaws.com"}
        if bucket and operation == "PutObject" and (key := _key_for(bucket, parameter)):
            yield "kms:GenerateDataKey", _arn(key), context
        if bucket and operation == "GetObject" and (key := _key_of(bucket.keys.get(key_name))):
            yield "kms:Decrypt", _arn(key), context


def _key_for(bucket: FakeBucket, parameter: Callable[[str], Any]) -> str:
    """The key that a new object is encrypted with: the one that is named, else that of the bucket."""
    rule: Any = (bucket.encryption or {}).get("Rule", {})
    default = rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID")
    encryption = parameter("x-amz-server-side-encryption")
    if encryption and not str(encryption).startswith("aws:kms"):
        return ""
    return str(parameter("x-amz-server-side-encryption-aws-kms-key-id") or default or "")


def _key_of(item: Any) -> str:
    return str(item.kms_key_id or "") if isinstance(item, FakeKey) else ""


def _arn(key: str) -> str:
    return key if key.startswith("arn:") else f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key}"
