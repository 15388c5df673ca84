"""The SQS resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    PhysicalResource,
    Properties,
    document,
    handles,
    retag,
    tags,
    without,
)


@handles("AWS::SQS::Queue")
class Queue(Handler):
    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        sqs = call.client("sqs")
        name = properties.get("QueueName") or call.name(80)
        attributes = self._attributes(properties)
        url = sqs.create_queue(QueueName=name, Attributes=attributes, tags=tags(properties))["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return PhysicalResource(url, {"Arn": arn, "QueueName": name, "QueueUrl": url})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        sqs, url = call.client("sqs"), physical.id
        sqs.set_queue_attributes(QueueUrl=url, Attributes=self._attributes(new))
        retag(
            old,
            new,
            lambda keys: sqs.untag_queue(QueueUrl=url, TagKeys=keys),
            lambda pairs: sqs.tag_queue(QueueUrl=url, Tags=pairs),
        )
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("sqs").delete_queue(QueueUrl=physical.id)

    @staticmethod
    def _attributes(properties: Properties) -> dict[str, str]:
        return {
            name: document(value) if isinstance(value, dict) else str(value).lower() if value is True else str(value)
            for name, value in without(properties, "QueueName", "Tags").items()
        }


@handles("AWS::SQS::QueuePolicy")
class QueuePolicy(Handler):
    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        self._set(call, properties["Queues"], document(properties["PolicyDocument"]))
        name = call.name()
        return PhysicalResource(name, {"Id": name})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        self._set(call, [queue for queue in old["Queues"] if queue not in new["Queues"]], "")
        self._set(call, new["Queues"], document(new["PolicyDocument"]))
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        self._set(call, properties["Queues"], "")

    @staticmethod
    def _set(call: Call, queues: list[str], policy: str) -> None:
        for url in queues:
            call.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
