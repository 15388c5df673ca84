"""How CloudFormation makes, changes and deletes each resource type the templates use: calls to this server's own API.

A handler gets resolved properties and a `Call` with the stack's credentials, so that what a service refuses, and what
a role may not do, fails the stack as it would in AWS. stacks.py drives them; sagemaker.py has the SageMaker types.
"""

from __future__ import annotations

import io
import json
import secrets
import string
import zipfile
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from sandbox.aws.server import ACCOUNT, REGION

Properties = dict[str, Any]


class Made(NamedTuple):
    """A physical resource: what Ref returns, and what Fn::GetAtt can ask for."""

    physical_id: str
    attributes: Mapping[str, Any] = MappingProxyType({})


class Call(NamedTuple):
    """What a handler may use: clients that act for the stack, and the names to generate from."""

    client: Callable[[str], Any]
    stack: str
    logical_id: str
    cancelled: Callable[[], bool]
    stack_id: str = ""
    resource_type: str = ""

    def name(self, limit: int = 64, stack: bool = True) -> str:
        """A generated physical name of at most `limit` characters; SageMaker's resources leave the stack's name out."""
        suffix = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(12))
        own = f"{self.stack}-{self.logical_id}" if stack else self.logical_id
        return f"{own[: limit - 13]}-{suffix}"


class Handler:
    """One resource type. `settle` waits for what `create` or `update` started; it may raise Failed."""

    def create(self, call: Call, properties: Properties) -> Made:
        raise NotImplementedError

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        raise NotImplementedError

    def settle(self, call: Call, made: Made, properties: Properties) -> Made | None:
        """Most resources are ready when their call returns. What is known only now is returned as a new `Made`."""

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        raise NotImplementedError


class Failed(Exception):
    """A resource did not reach the asked state; the text is the service's reason.

    `made`: what there is to delete all the same. `verbatim`: the text is CloudFormation's own, shown as it is.
    """

    def __init__(self, reason: str, made: Made | None = None, verbatim: bool = False) -> None:
        super().__init__(reason)
        self.made, self.verbatim = made, verbatim


HANDLERS: dict[str, Handler] = {}
"""Handlers by resource type, filled by `handles`."""

CUSTOM = "AWS::CloudFormation::CustomResource"


def handler_of(resource_type: str) -> Handler | None:
    """The handler of a resource type; one serves every Custom::Name."""
    return HANDLERS.get(CUSTOM if resource_type.startswith("Custom::") else resource_type)


def handles(resource_type: str) -> Callable[[type[Handler]], type[Handler]]:
    """Register a handler class for a resource type."""

    def register(handler: type[Handler]) -> type[Handler]:
        HANDLERS[resource_type] = handler()
        return handler

    return register


def without(properties: Mapping[str, Any], *names: str) -> Properties:
    return {name: value for name, value in properties.items() if name not in names}


def _document(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _tags(properties: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}


# --- SQS, EventBridge ----------------------------------------------------------------------------------------------


@handles("AWS::SQS::Queue")
class Queue(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        sqs = call.client("sqs")
        name = properties.get("QueueName") or call.name(80)
        attributes = self._attributes(properties)
        url = sqs.create_queue(QueueName=name, Attributes=attributes, tags=_tags(properties))["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return Made(url, {"Arn": arn, "QueueName": name, "QueueUrl": url})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        call.client("sqs").set_queue_attributes(QueueUrl=made.physical_id, Attributes=self._attributes(new))
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("sqs").delete_queue(QueueUrl=made.physical_id)

    @staticmethod
    def _attributes(properties: Properties) -> dict[str, str]:
        return {
            name: _document(value) if isinstance(value, dict) else str(value).lower() if value is True else str(value)
            for name, value in without(properties, "QueueName", "Tags").items()
        }


@handles("AWS::SQS::QueuePolicy")
class QueuePolicy(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        self._set(call, properties["Queues"], _document(properties["PolicyDocument"]))
        return Made(call.name())

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        self._set(call, [queue for queue in old["Queues"] if queue not in new["Queues"]], "")
        self._set(call, new["Queues"], _document(new["PolicyDocument"]))
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        self._set(call, properties["Queues"], "")

    @staticmethod
    def _set(call: Call, queues: list[str], policy: str) -> None:
        for url in queues:
            call.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


@handles("AWS::Events::Rule")
class Rule(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get("Name") or call.name()
        events = call.client("events")
        rule = without(properties, "Name", "Targets")
        if "EventPattern" in rule:
            rule["EventPattern"] = _document(rule["EventPattern"])
        arn = events.put_rule(Name=name, **rule)["RuleArn"]
        if properties.get("Targets"):
            answer = events.put_targets(Rule=name, Targets=properties["Targets"])
            if answer["FailedEntryCount"]:
                raise Failed(answer["FailedEntries"][0]["ErrorMessage"])
        return Made(name, {"Arn": arn, "RuleName": name})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        kept = {target["Id"] for target in new.get("Targets", [])}
        self._remove(call, made, old, [target["Id"] for target in old.get("Targets", []) if target["Id"] not in kept])
        return self.create(call, new | {"Name": made.physical_id})

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        self._remove(call, made, properties, [target["Id"] for target in properties.get("Targets", [])])
        call.client("events").delete_rule(Name=made.physical_id)

    def _remove(self, call: Call, made: Made, properties: Properties, ids: list[str]) -> None:
        if ids:
            call.client("events").remove_targets(Rule=made.physical_id, Ids=ids)


# --- Lambda --------------------------------------------------------------------------------------------------------


@handles("AWS::Lambda::Function")
class Function(Handler):
    _APART = ("FunctionName", "Code", "Tags")

    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get("FunctionName") or call.name()
        arn = call.client("lambda").create_function(
            FunctionName=name,
            Code=self._code(properties["Code"]),
            Tags=_tags(properties),
            **without(properties, *self._APART),
        )["FunctionArn"]
        return Made(name, {"Arn": arn})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        function = call.client("lambda")
        if old["Code"] != new["Code"]:
            function.update_function_code(FunctionName=made.physical_id, **self._code(new["Code"]))
        settings = without(new, *self._APART, "PackageType", "Architectures")
        function.update_function_configuration(FunctionName=made.physical_id, **settings)
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("lambda").delete_function(FunctionName=made.physical_id)

    @staticmethod
    def _code(code: Properties) -> Properties:
        if "ZipFile" not in code:
            return code
        archive = io.BytesIO()  # in a template ZipFile is source text, which becomes index.py
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("index.py", code["ZipFile"])
        return {"ZipFile": archive.getvalue()}


@handles("AWS::Lambda::EventSourceMapping")
class EventSourceMapping(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        given = without(properties, "Tags") | {"Tags": _tags(properties)}
        answer = call.client("lambda").create_event_source_mapping(**given)
        return Made(answer["UUID"], {"Id": answer["UUID"], "EventSourceMappingArn": answer["EventSourceMappingArn"]})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        given = without(new, "Tags", "EventSourceArn")
        call.client("lambda").update_event_source_mapping(UUID=made.physical_id, **given)
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("lambda").delete_event_source_mapping(UUID=made.physical_id)


# --- data: DynamoDB, Secrets Manager, S3, CloudWatch ----------------------------------------------------------------


@handles("AWS::DynamoDB::Table")
class Table(Handler):
    _APART = ("TableName", "PointInTimeRecoverySpecification", "SSESpecification")

    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get("TableName") or call.name(255)
        given = without(properties, *self._APART)
        if "SSESpecification" in properties:
            encryption = dict(properties["SSESpecification"])
            given["SSESpecification"] = {"Enabled": encryption.pop("SSEEnabled"), **encryption}
        dynamodb = call.client("dynamodb")
        table = dynamodb.create_table(TableName=name, **given)["TableDescription"]
        dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        self._protect(call, name, properties)
        return Made(name, {"Arn": table["TableArn"]})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        given = without(new, *self._APART, "KeySchema", "Tags")
        call.client("dynamodb").update_table(TableName=made.physical_id, **given)
        self._protect(call, made.physical_id, new)
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("dynamodb").delete_table(TableName=made.physical_id)

    @staticmethod
    def _protect(call: Call, name: str, properties: Properties) -> None:
        if recovery := properties.get("PointInTimeRecoverySpecification"):
            call.client("dynamodb").update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)


@handles("AWS::SecretsManager::Secret")
class Secret(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        given = properties | {"Name": properties.get("Name") or call.name(512)}
        arn = call.client("secretsmanager").create_secret(**given)["ARN"]
        return Made(arn, {"Id": arn})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        given = {name: new[name] for name in ("Description", "KmsKeyId", "SecretString") if name in new}
        if given.get("SecretString") == old.get("SecretString"):
            given.pop("SecretString", None)  # a value set by hand since then stays
        call.client("secretsmanager").update_secret(SecretId=made.physical_id, **given)
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("secretsmanager").delete_secret(SecretId=made.physical_id, ForceDeleteWithoutRecovery=True)


@handles("AWS::S3::Bucket")
class Bucket(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get("BucketName") or call.name(63).lower()
        s3 = call.client("s3")
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
        self._configure(s3, name, properties)
        return Made(name, {"Arn": f"arn:aws:s3:::{name}", "DomainName": f"{name}.s3.amazonaws.com"})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        self._configure(call.client("s3"), made.physical_id, new)
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("s3").delete_bucket(Bucket=made.physical_id)

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
        named = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
        rules.append(named | without(rule, "Id", "Status", "Prefix"))
    return {"Rules": rules}


@handles("AWS::S3::BucketPolicy")
class BucketPolicy(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        bucket = properties["Bucket"]
        call.client("s3").put_bucket_policy(Bucket=bucket, Policy=_document(properties["PolicyDocument"]))
        return Made(bucket)

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        return self.create(call, new)

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("s3").delete_bucket_policy(Bucket=made.physical_id)


@handles("AWS::Logs::LogGroup")
class LogGroup(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get("LogGroupName") or call.name(512)
        given = {"tags": tags} if (tags := _tags(properties)) else {}
        call.client("logs").create_log_group(logGroupName=name, **given)
        made = Made(name, {"Arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:*"})
        return self.update(call, made, {}, properties)

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        if days := new.get("RetentionInDays"):
            call.client("logs").put_retention_policy(logGroupName=made.physical_id, retentionInDays=days)
        elif "RetentionInDays" in old:
            call.client("logs").delete_retention_policy(logGroupName=made.physical_id)
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("logs").delete_log_group(logGroupName=made.physical_id)


@handles("AWS::CloudWatch::Alarm")
class Alarm(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get("AlarmName") or call.name(255)
        cloudwatch = call.client("cloudwatch")
        cloudwatch.put_metric_alarm(**properties | {"AlarmName": name})
        [alarm] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return Made(name, {"Arn": alarm["AlarmArn"]})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        call.client("cloudwatch").put_metric_alarm(**without(new, "Tags") | {"AlarmName": made.physical_id})
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("cloudwatch").delete_alarms(AlarmNames=[made.physical_id])


# --- IAM -----------------------------------------------------------------------------------------------------------


@handles("AWS::IAM::Role")
class Role(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        given = without(properties, "Policies", "ManagedPolicyArns")
        given["RoleName"] = properties.get("RoleName") or call.name()
        given["AssumeRolePolicyDocument"] = _document(properties["AssumeRolePolicyDocument"])
        role = call.client("iam").create_role(**given)["Role"]
        self._set_policies(call, role["RoleName"], {}, properties)
        return Made(role["RoleName"], {"Arn": role["Arn"], "RoleId": role["RoleId"]})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        iam, name = call.client("iam"), made.physical_id
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=_document(new["AssumeRolePolicyDocument"]))
        settings = {key: new[key] for key in ("Description", "MaxSessionDuration") if key in new}
        iam.update_role(RoleName=name, **settings)
        self._set_policies(call, name, old, new)
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        self._set_policies(call, made.physical_id, properties, {})
        call.client("iam").delete_role(RoleName=made.physical_id)

    @staticmethod
    def _set_policies(call: Call, name: str, old: Properties, new: Properties) -> None:
        iam = call.client("iam")
        wanted = {policy["PolicyName"]: policy["PolicyDocument"] for policy in new.get("Policies", [])}
        for policy in old.get("Policies", []):
            if policy["PolicyName"] not in wanted:
                iam.delete_role_policy(RoleName=name, PolicyName=policy["PolicyName"])
        for policy_name, document in wanted.items():
            iam.put_role_policy(RoleName=name, PolicyName=policy_name, PolicyDocument=_document(document))
        before, after = set(old.get("ManagedPolicyArns", [])), set(new.get("ManagedPolicyArns", []))
        for arn in before - after:
            iam.detach_role_policy(RoleName=name, PolicyArn=arn)
        for arn in after - before:
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)


@handles("AWS::IAM::Policy")
class InlinePolicy(Handler):
    """A policy document put into roles; users and groups have no place in the templates."""

    def create(self, call: Call, properties: Properties) -> Made:
        for role in properties.get("Roles", []):
            call.client("iam").put_role_policy(
                RoleName=role,
                PolicyName=properties["PolicyName"],
                PolicyDocument=_document(properties["PolicyDocument"]),
            )
        return Made(call.name())

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        if old["PolicyName"] != new["PolicyName"]:
            self.delete(call, made, old)
        else:
            gone = [role for role in old.get("Roles", []) if role not in new.get("Roles", [])]
            self.delete(call, made, old | {"Roles": gone})
        self.create(call, new)
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        for role in properties.get("Roles", []):
            call.client("iam").delete_role_policy(RoleName=role, PolicyName=properties["PolicyName"])


@handles("AWS::IAM::ManagedPolicy")
class ManagedPolicy(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        given = {key: properties[key] for key in ("Description", "Path") if key in properties}
        arn = call.client("iam").create_policy(
            PolicyName=properties.get("ManagedPolicyName") or call.name(128),
            PolicyDocument=_document(properties["PolicyDocument"]),
            **given,
        )["Policy"]["Arn"]
        made = Made(arn, {"PolicyArn": arn})
        self._attach(call, made, [], properties.get("Roles", []))
        return made

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        iam = call.client("iam")
        if old["PolicyDocument"] != new["PolicyDocument"]:
            versions = iam.list_policy_versions(PolicyArn=made.physical_id)["Versions"]
            iam.create_policy_version(
                PolicyArn=made.physical_id, PolicyDocument=_document(new["PolicyDocument"]), SetAsDefault=True
            )
            for version in versions:
                iam.delete_policy_version(PolicyArn=made.physical_id, VersionId=version["VersionId"])
        self._attach(call, made, old.get("Roles", []), new.get("Roles", []))
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        self._attach(call, made, properties.get("Roles", []), [])
        call.client("iam").delete_policy(PolicyArn=made.physical_id)

    @staticmethod
    def _attach(call: Call, made: Made, old: list[str], new: list[str]) -> None:
        iam = call.client("iam")
        for role in set(old) - set(new):
            iam.detach_role_policy(RoleName=role, PolicyArn=made.physical_id)
        for role in set(new) - set(old):
            iam.attach_role_policy(RoleName=role, PolicyArn=made.physical_id)


@handles("AWS::IAM::OIDCProvider")
class OidcProvider(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        given = {"Tags": properties["Tags"]} if "Tags" in properties else {}
        arn = call.client("iam").create_open_id_connect_provider(
            Url=properties["Url"],
            ClientIDList=properties.get("ClientIdList", []),
            ThumbprintList=properties.get("ThumbprintList", []),
            **given,
        )["OpenIDConnectProviderArn"]
        return Made(arn, {"Arn": arn})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        iam = call.client("iam")
        before, after = set(old.get("ClientIdList", [])), set(new.get("ClientIdList", []))
        for client in after - before:
            iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=made.physical_id, ClientID=client)
        for client in before - after:
            iam.remove_client_id_from_open_id_connect_provider(
                OpenIDConnectProviderArn=made.physical_id, ClientID=client
            )
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=made.physical_id)


def reason(error: ClientError) -> str:
    """A refused call as CloudFormation words it in ResourceStatusReason."""
    details, metadata = error.response["Error"], error.response.get("ResponseMetadata", {})
    service = error.response.get("Service", "")
    code = "AccessDenied" if "AccessDenied" in details.get("Code", "") else "InvalidRequest"
    text = (
        f"{details.get('Message', '')} (Service: {service}, Status Code: {metadata.get('HTTPStatusCode', 400)}, "
        f"Request ID: {metadata.get('RequestId', '')})"
    )
    return resource_handler_returned(text, code)


def resource_handler_returned(message: str, code: str) -> str:
    token = secrets.token_hex(16)
    return f'Resource handler returned message: "{message}" (RequestToken: {token}, HandlerErrorCode: {code})'
