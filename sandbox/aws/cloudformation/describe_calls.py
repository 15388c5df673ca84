"""The calls that only ask."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult

from sandbox.aws.cloudformation import answers
from sandbox.aws.cloudformation.change_set_calls import ChangeSetCalls
from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.evaluation import evaluator
from sandbox.aws.cloudformation.exports import exports, importers
from sandbox.aws.cloudformation.plan import checked
from sandbox.aws.cloudformation.stack import Resource


class DescribeCalls(ChangeSetCalls):
    # --- stacks -----------------------------------------------------------------------------------------------------

    def describe_stacks(self) -> ActionResult:
        if self._get_param("StackName"):
            return ActionResult({"Stacks": [answers.stack(self._existing())]})
        stacks = [answers.stack(stack) for stack in reversed(self._all()) if stack.status != "DELETE_COMPLETE"]
        page, token = self._page(stacks)
        return ActionResult({"Stacks": page, "NextToken": token})

    def list_stacks(self) -> ActionResult:
        statuses = self._get_param("StackStatusFilter")
        stacks = [stack for stack in reversed(self._all()) if not statuses or stack.status in statuses]
        page, token = self._page([answers.stack_summary(stack) for stack in stacks])
        return ActionResult({"StackSummaries": page, "NextToken": token})

    def list_exports(self) -> ActionResult:
        listed = [
            {"ExportingStackId": export.stack.id, "Name": export.name, "Value": export.value}
            for export in exports(self.region)
        ]
        page, token = self._page(listed)
        return ActionResult({"Exports": page, "NextToken": token})

    def list_imports(self) -> ActionResult:
        name = self._get_param("ExportName")
        names = importers(self.region, name)
        if not names:
            raise ValidationError(f"Export '{name}' is not imported by any stack.")
        page, token = self._page(names)
        return ActionResult({"Imports": page, "NextToken": token})

    # --- events -----------------------------------------------------------------------------------------------------

    def describe_stack_events(self) -> ActionResult:
        stack = self._existing("Stack [{}] does not exist")
        events, token = self._page(list(reversed(stack.events)))
        return ActionResult({"StackEvents": events, "NextToken": token})

    def describe_events(self) -> ActionResult:
        name, change_set_name = self._get_param("StackName"), self._get_param("ChangeSetName")
        operation = self._get_param("OperationId")
        if not (name or operation or (change_set_name or "").startswith("arn:")):
            raise ValidationError("One of ChangeSetName, OperationId or StackName must be specified")
        events: list[dict[str, Any]] = []
        for stack in [self._existing("Stack [{}] does not exist")] if name else self._all():
            change_sets = list(stack.change_sets.values())
            if change_set_name:
                change_sets = [one for one in change_sets if change_set_name in (one.name, one.id)]
            stack_events = [
                event for change_set in change_sets for event in answers.validation_events(stack, change_set)
            ]
            if not change_set_name:
                stack_events += [event for one in stack.operations for event in answers.operation_events(stack, one)]
            events += [event for event in stack_events if operation in (None, event["OperationId"])]
        if (self._get_param("Filters") or {}).get("FailedEvents"):
            events = [event for event in events if event["EventType"].endswith("_ERROR")]
        events.sort(key=lambda event: event["Timestamp"], reverse=True)
        page, token = self._page(events)
        return ActionResult({"OperationEvents": page, "NextToken": token})

    # --- resources --------------------------------------------------------------------------------------------------

    def describe_stack_resource(self) -> ActionResult:
        stack = self._existing("Stack '{}' does not exist")
        name = self._get_param("LogicalResourceId")
        resource = stack.resources.get(name)
        if resource is None or not resource.physical.id:
            stack_name = self._get_param("StackName")
            raise ValidationError(f"Resource {name} does not exist for stack {stack_name}")
        metadata = evaluator(stack, stack.plan, stack.resources.get).value(resource.definition.get("Metadata") or {})
        return ActionResult({"StackResourceDetail": answers.resource_detail(stack, resource, metadata)})

    def describe_stack_resources(self) -> ActionResult:
        stack_name, physical = self._get_param("StackName"), self._get_param("PhysicalResourceId")
        if bool(stack_name) == bool(physical):
            raise ValidationError("One of StackName or PhysicalResourceId must be specified, but not both.")
        if physical:
            stacks = [stack for stack in self._all() if any(_is(each, physical) for each in stack.resources.values())]
            if not stacks:
                raise ValidationError(f"Stack for {physical} does not exist")
            stack = stacks[0]
        else:
            stack = self._existing()
        name = self._get_param("LogicalResourceId")
        listed = [answers.resource(stack, each) for each in list(stack.resources.values())]
        return ActionResult({"StackResources": [one for one in listed if name in (None, one["LogicalResourceId"])]})

    def list_stack_resources(self) -> ActionResult:
        stack = self._existing()
        listed = [answers.resource(stack, each) for each in list(stack.resources.values())]
        page, token = self._page([one | {"LastUpdatedTimestamp": one["Timestamp"]} for one in listed])
        return ActionResult({"StackResourceSummaries": page, "NextToken": token})

    # --- templates --------------------------------------------------------------------------------------------------

    def get_template(self) -> ActionResult:
        change_set_name = self._get_param("ChangeSetName")
        if change_set_name and not change_set_name.startswith("arn:") and not self._get_param("StackName"):
            raise ValidationError("StackName is a required parameter.")
        if change_set_name:
            plan = self._change_set()[1].plan
        elif not self._get_param("StackName"):
            raise ValidationError("StackName is required if ChangeSetName is not specified.")
        else:
            plan = self._existing().plan
        return ActionResult({"TemplateBody": plan.text, "StagesAvailable": ["Original", "Processed"]})

    def get_template_summary(self) -> ActionResult:
        stack = self._existing() if self._get_param("StackName") else None
        if stack and stack.status == "REVIEW_IN_PROGRESS":
            raise ValidationError("GetTemplateSummary cannot be called on REVIEW_IN_PROGRESS stacks.")
        template = stack.plan.template if stack else checked(self._template(), self.region)
        return ActionResult(answers.template_summary(template))

    def validate_template(self) -> ActionResult:
        template = checked(self._template(), self.region)
        return ActionResult(
            answers.template_capabilities(template)
            | {"Parameters": answers.template_parameters(template), "Description": template.get("Description")}
        )


def _is(resource: Resource, physical_id: str) -> bool:
    return resource.physical.id == physical_id
