"""The EventBridge Scheduler resource type of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import Call, Handler, PhysicalResource, Properties, handles, without


@handles("AWS::Scheduler::Schedule")
class Schedule(Handler):
    reads = True

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        name = properties.get("Name") or call.name()
        arn = call.client("scheduler").create_schedule(Name=name, **without(properties, "Name"))["ScheduleArn"]
        return PhysicalResource(name, {"Arn": arn})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        call.client("scheduler").update_schedule(Name=physical.id, **without(new, "Name"))
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        group = {"GroupName": properties["GroupName"]} if "GroupName" in properties else {}
        call.client("scheduler").delete_schedule(Name=physical.id, **group)

    def read(self, call: Call, physical: PhysicalResource, properties: Properties) -> Properties:
        group = {"GroupName": properties["GroupName"]} if "GroupName" in properties else {}
        return dict(call.client("scheduler").get_schedule(Name=physical.id, **group))
