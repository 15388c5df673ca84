"""The SNS resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    PhysicalResource,
    Properties,
    document,
    handles,
    names,
    retag,
    tag_list,
    tags,
    without,
)


@handles("AWS::SNS::Topic")
class Topic(Handler):
    properties = names("DisplayName KmsMasterKeyId Subscription Tags TopicName")
    changeable = names("DisplayName KmsMasterKeyId Tags")

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get("TopicName") or call.name(256)
        sns = call.client("sns")
        attributes = self._attributes(properties)
        arn = sns.create_topic(Name=name, Attributes=attributes, Tags=tag_list(tags(properties)))["TopicArn"]
        for each in properties.get("Subscription", []):
            sns.subscribe(TopicArn=arn, Protocol=each["Protocol"], Endpoint=each["Endpoint"])
        return PhysicalResource(arn, {"TopicArn": arn, "TopicName": name})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        sns, arn = call.client("sns"), physical.id
        before = self._attributes(old)
        for name, value in self._attributes(new).items():
            if before.get(name) != value:
                sns.set_topic_attributes(TopicArn=arn, AttributeName=name, AttributeValue=value)
        retag(
            old,
            new,
            lambda keys: sns.untag_resource(ResourceArn=arn, TagKeys=keys),
            lambda pairs: sns.tag_resource(ResourceArn=arn, Tags=tag_list(pairs)),
        )
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("sns").delete_topic(TopicArn=physical.id)

    @staticmethod
    def _attributes(properties: Properties) -> dict[str, str]:
        return {name: str(value) for name, value in without(properties, "Subscription", "Tags", "TopicName").items()}


@handles("AWS::SNS::Subscription")
class Subscription(Handler):
    properties = names("Endpoint FilterPolicy Protocol RawMessageDelivery TopicArn")
    changeable = names("FilterPolicy RawMessageDelivery")

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        request = {name: properties[name] for name in ("TopicArn", "Protocol", "Endpoint") if name in properties}
        attributes = self._attributes(properties)
        arn = call.client("sns").subscribe(**request, Attributes=attributes, ReturnSubscriptionArn=True)[
            "SubscriptionArn"
        ]
        return PhysicalResource(arn, {"Arn": arn})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        for name, value in self._attributes(new).items():
            call.client("sns").set_subscription_attributes(
                SubscriptionArn=physical.id, AttributeName=name, AttributeValue=value
            )
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client("sns").unsubscribe(SubscriptionArn=physical.id)

    @staticmethod
    def _attributes(properties: Properties) -> dict[str, str]:
        return {
            name: str(value).lower() if isinstance(value, bool) else document(value)
            for name, value in without(properties, "TopicArn", "Protocol", "Endpoint").items()
        }


@handles("AWS::SNS::TopicPolicy")
class TopicPolicy(Handler):
    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        self._set(call, properties["Topics"], document(properties["PolicyDocument"]))
        name = call.name()
        return PhysicalResource(name, {"Id": name})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        self._reset(call, [topic for topic in old["Topics"] if topic not in new["Topics"]])
        self._set(call, new["Topics"], document(new["PolicyDocument"]))
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        self._reset(call, properties["Topics"])

    @staticmethod
    def _set(call: Call, topics: list[str], policy: str) -> None:
        for arn in topics:
            call.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)

    def _reset(self, call: Call, topics: list[str]) -> None:
        """A topic cannot be without a policy: it gets the one that topics are made with."""
        for arn in topics:
            account = arn.split(":")[4]
            actions = "AddPermission DeleteTopic GetTopicAttributes ListSubscriptionsByTopic Publish RemovePermission"
            statement = {
                "Sid": "__default_statement_ID",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": [f"SNS:{each}" for each in [*actions.split(), "SetTopicAttributes", "Subscribe"]],
                "Resource": arn,
                "Condition": {"StringEquals": {"AWS:SourceOwner": account}},
            }
            default = {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}
            self._set(call, [arn], document(default))
