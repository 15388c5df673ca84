"""The EventBridge resource types of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Failed,
    Handler,
    Made,
    Properties,
    document,
    handles,
    retag,
    tag_list,
    without,
)


@handles("AWS::Events::Rule")
class Rule(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
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
        return Made(name, {"Arn": arn, "RuleName": name})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        kept = {target["Id"] for target in new.get("Targets", [])}
        self._remove(call, made, old, [target["Id"] for target in old.get("Targets", []) if target["Id"] not in kept])
        events, arn = call.client("events"), made.attributes["Arn"]
        retag(
            old,
            new,
            lambda keys: events.untag_resource(ResourceARN=arn, TagKeys=keys),
            lambda pairs: events.tag_resource(ResourceARN=arn, Tags=tag_list(pairs)),
        )
        return self.create(call, without(new, "Tags") | {"Name": made.physical_id})

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        self._remove(call, made, properties, [target["Id"] for target in properties.get("Targets", [])])
        call.client("events").delete_rule(Name=made.physical_id)

    def _remove(self, call: Call, made: Made, properties: Properties, ids: list[str]) -> None:
        if ids:
            call.client("events").remove_targets(Rule=made.physical_id, Ids=ids)
