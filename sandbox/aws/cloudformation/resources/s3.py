"""The S3 resource types of CloudFormation."""

from __future__ import annotations

from typing import Any

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    PhysicalResource,
    Properties,
    document,
    handles,
    names,
    without,
)


@handles("AWS::S3::Bucket")
class Bucket(Handler):
    properties = names(
        "BucketEncryption BucketName LifecycleConfiguration OwnershipControls PublicAccessBlockConfiguration Tags "
        "VersioningConfiguration"
    )

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get("BucketName") or call.name(63).lower()
        s3 = call.client("s3")
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
        self._configure(s3, name, properties)
        domains = {
            "DomainName": f"{name}.s3.amazonaws.com",
            "DualStackDomainName": f"{name}.s3.dualstack.{call.region}.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{call.region}.amazonaws.com",
        }
        return PhysicalResource(name, {"Arn": f"arn:aws:s3:::{name}", **domains})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        s3, name = call.client("s3"), physical.id
        self._configure(s3, name, new)
        for key, delete in (
            ("BucketEncryption", s3.delete_bucket_encryption),
            ("LifecycleConfiguration", s3.delete_bucket_lifecycle),
            ("OwnershipControls", s3.delete_bucket_ownership_controls),
            ("PublicAccessBlockConfiguration", s3.delete_public_access_block),
            ("Tags", s3.delete_bucket_tagging),
        ):
            if old.get(key) and not new.get(key):
                delete(Bucket=name)
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("s3").delete_bucket(Bucket=physical.id)

    @staticmethod
    def _configure(s3: Any, name: str, properties: Properties) -> None:
        if block := properties.get("PublicAccessBlockConfiguration"):
            s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
        if versioning := properties.get("VersioningConfiguration"):
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=versioning)
        if encryption := properties.get("BucketEncryption"):
            rules = [
                {"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}
                for rule in encryption["ServerSideEncryptionConfiguration"]
            ]
            s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
        if lifecycle := properties.get("LifecycleConfiguration"):
            s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration=_lifecycle(lifecycle))
        if ownership := properties.get("OwnershipControls"):
            s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls=ownership)
        if tags := properties.get("Tags"):
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})


def _lifecycle(configuration: Properties) -> Properties:
    """The rules as the API takes them; CloudFormation writes some of their parts flat."""
    rules = []
    for rule in configuration["Rules"]:
        s3_rule = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
        rules.append(s3_rule | without(rule, "Id", "Status", "Prefix"))
    return {"Rules": rules}


@handles("AWS::S3::BucketPolicy")
class BucketPolicy(Handler):
    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        bucket = properties["Bucket"]
        call.client("s3").put_bucket_policy(Bucket=bucket, Policy=document(properties["PolicyDocument"]))
        return PhysicalResource(bucket)

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        return self.create(call, new)

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("s3").delete_bucket_policy(Bucket=physical.id)
