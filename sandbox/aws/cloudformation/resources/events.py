"""The EventBridge resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Failed,
    Handler,
    PhysicalResource,
    Properties,
    document,
    handles,
    retag,
    tag_list,
    without,
)


@handles("AWS::Events::Rule")
class Rule(Handler):
    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get("Name") or call.name()
        events = call.client("events")
        rule = without(properties, "Name", "Targets")
        if "EventPattern" in rule:
            rule["EventPattern"] = document(rule["EventPattern"])
        arn = events.put_rule(Name=name, **rule)["RuleArn"]
        if properties.get("Targets"):
            answer = events.put_targets(Rule=name, Targets=properties["Targets"])
            if answer["FailedEntryCount"]:
                raise Failed(answer["FailedEntries"][0]["ErrorMessage"])
        return PhysicalResource(name, {"Arn": arn, "RuleName": name})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        target_ids = {target["Id"] for target in new.get("Targets", [])}
        self._remove(
            call, physical, old, [target["Id"] for target in old.get("Targets", []) if target["Id"] not in target_ids]
        )
        events, arn = call.client("events"), physical.attributes["Arn"]
        retag(
            old,
            new,
            lambda keys: events.untag_resource(ResourceARN=arn, TagKeys=keys),
            lambda pairs: events.tag_resource(ResourceARN=arn, Tags=tag_list(pairs)),
        )
        return self.create(call, without(new, "Tags") | {"Name": physical.id})

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        self._remove(call, physical, properties, [target["Id"] for target in properties.get("Targets", [])])
        call.client("events").delete_rule(Name=physical.id)

    def _remove(self, call: Call, physical: PhysicalResource, properties: Properties, ids: list[str]) -> None:
        if ids:
            call.client("events").remove_targets(Rule=physical.id, Ids=ids)
