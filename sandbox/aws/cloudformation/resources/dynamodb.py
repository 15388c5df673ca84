"""The DynamoDB resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    Made,
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
        dynamodb, arn = call.client("dynamodb"), made.attributes["Arn"]
        wanted = ("BillingMode", "DeletionProtectionEnabled", "ProvisionedThroughput")
        if given := {key: new[key] for key in wanted if key in new and new[key] != old.get(key)}:
            dynamodb.update_table(TableName=made.physical_id, **given)
        self._protect(call, made.physical_id, new)
        retag(
            old,
            new,
            lambda keys: dynamodb.untag_resource(ResourceArn=arn, TagKeys=keys),
            lambda pairs: dynamodb.tag_resource(ResourceArn=arn, Tags=tag_list(pairs)),
        )
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client("dynamodb").delete_table(TableName=made.physical_id)

    @staticmethod
    def _protect(call: Call, name: str, properties: Properties) -> None:
        if recovery := properties.get("PointInTimeRecoverySpecification"):
            call.client("dynamodb").update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)
