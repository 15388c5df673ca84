"""The DynamoDB resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    PhysicalResource,
    Properties,
    handles,
    names,
    retag,
    tag_list,
    without,
)


@handles("AWS::DynamoDB::Table")
class Table(Handler):
    properties = names(
        "AttributeDefinitions BillingMode DeletionProtectionEnabled GlobalSecondaryIndexes KeySchema "
        "LocalSecondaryIndexes PointInTimeRecoverySpecification ProvisionedThroughput SSESpecification "
        "StreamSpecification TableClass TableName Tags"
    )
    changeable = names(
        "BillingMode DeletionProtectionEnabled PointInTimeRecoverySpecification ProvisionedThroughput Tags"
    )
    _APART = ("TableName", "PointInTimeRecoverySpecification", "SSESpecification")

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get("TableName") or call.name(255)
        request = without(properties, *self._APART)
        if "SSESpecification" in properties:
            encryption = dict(properties["SSESpecification"])
            request["SSESpecification"] = {"Enabled": encryption.pop("SSEEnabled"), **encryption}
        dynamodb = call.client("dynamodb")
        table = dynamodb.create_table(TableName=name, **request)["TableDescription"]
        dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        self._protect(call, name, properties)
        return PhysicalResource(name, {"Arn": table["TableArn"]})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        dynamodb, arn = call.client("dynamodb"), physical.attributes["Arn"]
        updatable = ("BillingMode", "DeletionProtectionEnabled", "ProvisionedThroughput")
        if request := {key: new[key] for key in updatable if key in new and new[key] != old.get(key)}:
            dynamodb.update_table(TableName=physical.id, **request)
        self._protect(call, physical.id, new)
        retag(
            old,
            new,
            lambda keys: dynamodb.untag_resource(ResourceArn=arn, TagKeys=keys),
            lambda pairs: dynamodb.tag_resource(ResourceArn=arn, Tags=tag_list(pairs)),
        )
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("dynamodb").delete_table(TableName=physical.id)

    @staticmethod
    def _protect(call: Call, name: str, properties: Properties) -> None:
        if recovery := properties.get("PointInTimeRecoverySpecification"):
            call.client("dynamodb").update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)
