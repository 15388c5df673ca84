"""The EventBridge Scheduler resource type of CloudFormation."""

from __future__ import annotations

from sandbox.aws.cloudformation.resources.handler import Call, Handler, Made, Properties, handles, without


@handles("AWS::Scheduler::Schedule")
class Schedule(Handler):
    reads = True

    def create(self, call: Call, properties: Properties) -> Made:
        name = properties.get("Name") or call.name()
        arn = call.client("scheduler").create_schedule(Name=name, **without(properties, "Name"))["ScheduleArn"]
        return Made(name, {"Arn": arn})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        call.client("scheduler").update_schedule(Name=made.physical_id, **without(new, "Name"))
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        group = {"GroupName": properties["GroupName"]} if "GroupName" in properties else {}
        call.client("scheduler").delete_schedule(Name=made.physical_id, **group)

    def read(self, call: Call, made: Made, properties: Properties) -> Properties:
        group = {"GroupName": properties["GroupName"]} if "GroupName" in properties else {}
        return dict(call.client("scheduler").get_schedule(Name=made.physical_id, **group))
