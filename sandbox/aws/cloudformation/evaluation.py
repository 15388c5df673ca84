"""A plan evaluated for its stack: properties with the stack's tags, and all that is refused before work starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sandbox.aws.cloudformation import schemas
from sandbox.aws.cloudformation.dynamic_references import SUPPORTED, services
from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.evaluator import UNKNOWN, Evaluator
from sandbox.aws.cloudformation.exports import imported
from sandbox.aws.cloudformation.plan import Plan
from sandbox.aws.cloudformation.references import references
from sandbox.aws.cloudformation.resources.handler import Properties, handler_of
from sandbox.aws.cloudformation.stack import Resource, StackState
from sandbox.aws.cloudformation.template import functions
from sandbox.aws.ground import ACCOUNT
from sandbox.aws.lacking import Lacking


def evaluator(
    stack: StackState,
    plan: Plan,
    find: Callable[[str], Resource | None],
    import_value: Callable[[str], str] | None = None,
) -> Evaluator:
    """An evaluator of the plan. `find` gives a resource that is there, None for one that is only to come."""
    pseudo = {
        "AWS::AccountId": ACCOUNT,
        "AWS::Region": stack.region,
        "AWS::StackId": stack.id,
        "AWS::StackName": stack.name,
        "AWS::URLSuffix": "amazonaws.com",
        "AWS::Partition": "aws",
        "AWS::NotificationARNs": [],
    }

    def attribute(name: str, key: str) -> Any:
        resource = find(name)
        if resource is None:
            return UNKNOWN
        if key in resource.physical.attributes:
            return resource.physical.attributes[key]
        if key in resource.properties:
            return resource.properties[key]
        raise Lacking(f"the attribute {key} of {resource.type} (resource {name})")

    def ref(name: str) -> str:
        resource = find(name)
        return resource.physical.id if resource else UNKNOWN

    def import_if_there(name: str) -> str:
        try:
            return imported(stack.region, name)
        except ValidationError:
            return UNKNOWN  # only the execution fails

    return Evaluator(plan.template, plan.values, pseudo, ref, attribute, import_value or import_if_there)


def properties_of(evaluate: Evaluator, definition: dict[str, Any], plan: Plan) -> Properties:
    """A resource's properties as its handler gets them: evaluated, with the stack's tags, in the schema's types."""
    properties: Properties = evaluate.value(definition.get("Properties") or {})
    if plan.tags and schemas.has_tags(definition["Type"]):
        resource_tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
        properties = properties | {
            "Tags": [{"Key": key, "Value": value} for key, value in (plan.tags | resource_tags).items()]
        }
    return schemas.coerce(definition["Type"], properties)


def check(stack: StackState, plan: Plan) -> None:
    """Raises what is refused before anything is made.

    References to what is switched off, circles, values that functions cannot give, attributes that a type has not;
    and what CloudFormation has while the sandbox does not.
    """
    evaluate = evaluator(stack, plan, lambda _: None)
    for name, definition in evaluate.resources().items():
        _check_attributes(evaluate, definition.get("Properties") or {}, plan)
        properties = evaluate.value(definition.get("Properties") or {})
        evaluate.value(definition.get("Metadata") or {})
        for service in sorted(services(properties) - SUPPORTED):
            raise Lacking(f"dynamic references to {service} (resource {name})")
        handler = handler_of(definition["Type"])
        if handler is None:
            raise Lacking(f"the resource type {definition['Type']} (resource {name})")
        schema_properties = schemas.schema(definition["Type"])["properties"]
        for key in handler.lacking({key for key in properties if key in schema_properties}):
            raise Lacking(f"the property {key} of {definition['Type']} (resource {name})")
    for output in evaluate.outputs().values():
        if not isinstance(evaluate.value(output["Value"]), str | int | float):
            raise ValidationError(
                "Template format error: The Value field of every Outputs member must evaluate to a String."
            )


def _check_attributes(evaluate: Evaluator, node: Any, plan: Plan) -> None:
    for reference in references(evaluate.chosen(node)):
        if reference.attribute and not _has(plan, reference.name, reference.attribute):
            raise ValidationError(
                f"Template error: resource {reference.name} does not support attribute type {reference.attribute} in "
                "Fn::GetAtt"
            )


def impossible_outputs(evaluate: Evaluator, plan: Plan) -> Iterator[str]:
    """Outputs of attributes that a type has not: the service finds them only when it begins to work."""
    for name, output in evaluate.outputs().items():
        for function, argument, path in functions(output["Value"], f"/Outputs/{name}/Value"):
            if function != "Fn::GetAtt":
                continue
            resource, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
            if isinstance(attribute, str) and not _has(plan, resource, attribute):
                kind = plan.template["Resources"][resource]["Type"]
                yield f"[Error] {path}: Resource type {kind} does not support attribute {{{attribute}}}."


def _has(plan: Plan, name: str, attribute: str) -> bool:
    definition = plan.template["Resources"].get(name)
    return definition is None or schemas.has_attribute(definition["Type"], attribute)
