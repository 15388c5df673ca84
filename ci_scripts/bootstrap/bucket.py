"""The platform team's bucket: what is uploaded, and what makes SageMaker Studio see templates. Used by installer.py.

Every step looks first and changes only what is not as it should be: a second run changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ci_scripts import errors, job
from ci_scripts.bootstrap.artifacts import STUDIO_PREFIX, Artifact

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CORSRuleTypeDef, TagTypeDef

VISIBLE: TagTypeDef = {"Key": "sagemaker:studio-visibility", "Value": "true"}
# https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-projects-create.html: Studio reads templates in the browser.
_STUDIO_ORIGIN = "https://*.sagemaker.aws"
STUDIO_RULE: CORSRuleTypeDef = {
    "ID": "sagemaker-studio",
    "AllowedOrigins": [_STUDIO_ORIGIN],
    "AllowedMethods": ["GET", "HEAD"],
    "AllowedHeaders": ["*"],
    "ExposeHeaders": ["ETag", "x-amz-request-id", "x-amz-version-id"],
}


def require(s3: S3Client, bucket: str, region: str) -> None:
    """Raises BucketUnusable unless the bucket exists in this region and may be used."""
    from botocore.exceptions import ClientError

    try:
        answer = s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        place = error.response["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region", region)
        reasons = {404: "does not exist", 403: "is not yours, or these credentials may not use it"}
        if status not in reasons and place == region:
            raise
        why = f"is in {place}, not in {region}" if place != region else reasons[status]
        raise errors.BucketUnusable(f"bucket {bucket} {why}") from error
    place = answer.get("BucketRegion") or region
    if place != region:
        raise errors.BucketUnusable(f"bucket {bucket} is in {place}, not in {region}: Lambda reads code in its region")


def upload(s3: S3Client, bucket: str, artifact: Artifact) -> None:
    """Put an object where none of its key is: the key carries the hash, so what is there is the same."""
    from botocore.exceptions import ClientError

    try:
        s3.head_object(Bucket=bucket, Key=artifact.key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (403, 404):
            raise
        s3.put_object(Bucket=bucket, Key=artifact.key, Body=artifact.content)
        job.say(f"uploaded  {artifact.key}, {len(artifact.content):,} bytes")
    else:
        job.say(f"unchanged {artifact.key}")


def show_in_studio(s3: S3Client, bucket: str, key: str) -> None:
    """Let Studio see this template and no other of this project's. Projects made from older ones go on."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=STUDIO_PREFIX)
    for each in [entry["Key"] for page in pages for entry in page.get("Contents", [])]:
        tags = s3.get_object_tagging(Bucket=bucket, Key=each)["TagSet"]
        others = [tag for tag in tags if tag["Key"] != VISIBLE["Key"]]
        intended = [*others, VISIBLE] if each == key else others
        if sorted(tags, key=str) != sorted(intended, key=str):
            if intended:
                s3.put_object_tagging(Bucket=bucket, Key=each, Tagging={"TagSet": intended})
            else:
                s3.delete_object_tagging(Bucket=bucket, Key=each)
            job.say(f"{'shown' if each == key else 'hidden'} in SageMaker Studio: {each}")


def allow_studio(s3: S3Client, bucket: str) -> None:
    """Let the browser of a person in Studio read the bucket; the bucket's other CORS rules stay."""
    from botocore.exceptions import ClientError

    try:
        rules = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchCORSConfiguration":
            raise
        rules = []
    if not admits_studio(rules):
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [*rules, STUDIO_RULE]})
        job.say(f"CORS of the bucket now admits {_STUDIO_ORIGIN}")


def admits_studio(rules: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of the bucket's CORS rules lets Studio's pages read."""
    return any(_STUDIO_ORIGIN in rule["AllowedOrigins"] and "GET" in rule["AllowedMethods"] for rule in rules)
