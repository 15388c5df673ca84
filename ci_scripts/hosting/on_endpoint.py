"""What the kinds of hosting share that have an endpoint: real-time, serverless and asynchronous."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ci_scripts import console, documents, endpoint, export, stack
from ci_scripts.aws import Aws
from ci_scripts.export import Export
from ci_scripts.hosting.kind import Objection, Predictor
from ci_scripts.list_prices import Usage
from ci_scripts.registry import ModelPackage
from ci_scripts.settings import Project

_CONFIG, _COMPONENT = "AWS::SageMaker::EndpointConfig", "AWS::SageMaker::InferenceComponent"
_SCALABLE_TARGET = "AWS::ApplicationAutoScaling::ScalableTarget"
_MARKS = {"serverless": "ServerlessConfig", "asynchronous": "AsyncInferenceConfig"}
"""The property by which an endpoint configuration is of another kind than real-time."""

_NEVER_SERVERLESS = "SageMaker turns no endpoint with instances into a serverless one"
_NEVER_SYNCHRONOUS = "SageMaker takes AsyncInferenceConfig from no endpoint"
_OTHER_REQUESTS = "it would refuse the requests that it is sent now"
# From serverless to real-time there is a way: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
_ONE_WAY = {
    ("real-time", "serverless"): _NEVER_SERVERLESS,
    ("asynchronous", "serverless"): _NEVER_SYNCHRONOUS,
    ("asynchronous", "real-time"): _NEVER_SYNCHRONOUS,
    ("real-time", "asynchronous"): _OTHER_REQUESTS,
    ("serverless", "asynchronous"): _OTHER_REQUESTS,
}


def configured(aws: Aws, endpoint_name: str) -> tuple[Sequence[Mapping[str, Any]], str]:
    """The production variants of an endpoint as they were configured, and by them how it is hosted.

    Nothing of both when there is no such endpoint, or its configuration was deleted.
    """
    description = endpoint.describe(aws.sagemaker, endpoint_name)
    config = endpoint.describe_config(aws.sagemaker, description["EndpointConfigName"]) if description else None
    if config is None:
        return [], ""
    variants = config["ProductionVariants"]
    if config.get("AsyncInferenceConfig"):
        return variants, "asynchronous"
    return variants, "serverless" if any(each.get("ServerlessConfig") for each in variants) else "real-time"


def _default(plan: Export, parameter: str) -> str:
    """What a parameter of the template comes to; empty where it has none of that name."""
    declared = documents.parse_template(plan.template).get("Parameters", {}).get(parameter, {})
    return plan.parameters.get(parameter) or str(declared.get("Default", ""))


def _count(parameters: Mapping[str, str], name: str) -> int:
    value = parameters.get(name, "")
    return int(value) if value.isdecimal() else 0


class OnEndpoint:
    """See `Hosting`; a kind adds its name, its template and what is different about it."""

    name: str
    template_file: str
    has_endpoint = True
    usage_type = "Host"
    """How AWS's price list calls an hour of its instances."""
    foreign: Mapping[str, str] = {}
    unguarded = ""
    package_parameters: Mapping[str, str] = {}
    """Parameters that name a model package beside the deployed one → the production variant that serves it, if any."""

    def parameters(self, project: Project, stage: str, role: str) -> dict[str, str | None]:
        return {
            **export.named_parameters(stage, project, ""),
            "ModelPackageName": None,
            "ModelExecutionRoleArn": role,
        }

    def objections(self, parameters: Mapping[str, str]) -> Iterator[Objection]:
        yield from ()

    def usages(self, parameters: Mapping[str, str]) -> Sequence[Usage]:
        kind, count = parameters.get("EndpointInstanceType", ""), _count(parameters, "EndpointInstanceCount")
        if not kind or not count:
            return []
        most = _count(parameters, "MaxInstanceCount")
        least = _count(parameters, "MinInstanceCount") if most else count
        others = [name.removesuffix("ModelPackageName").lower() for name in self.other_packages(parameters)]
        key = f"{self.usage_type}:{kind}"
        return [
            Usage(kind, key, least, most or count),
            *(Usage(f"{kind} of the {other}", key, count, count) for other in others),
        ]

    def other_packages(self, parameters: Mapping[str, str]) -> Mapping[str, str]:
        return {name: arn for name in self.package_parameters if (arn := parameters.get(name, ""))}

    def title(self, plan: Export) -> str:
        return f"endpoint {plan.endpoint_name}"

    def proven(self, plan: Export, package: str) -> str:
        return f"endpoint {plan.endpoint_name} is InService and serves {package}"

    def obstacle(self, aws: Aws, plan: Export) -> str:
        variants, present = configured(aws, plan.endpoint_name)
        # An own template may be of several kinds, by its conditions.
        if not present or any(mark in plan.template for kind, mark in _MARKS.items() if kind != self.name):
            return ""
        if reason := _ONE_WAY.get((present, self.name)):
            return f"endpoint {plan.endpoint_name} is {present} and is to be {self.name}: {reason}"
        before, after = variants[0].get("InstanceType"), _default(plan, "EndpointInstanceType")
        if not before or not after or before == after:
            return ""
        if not stack.physical_ids(aws.cloudformation, plan.stack_name, _SCALABLE_TARGET)[_SCALABLE_TARGET]:
            return ""
        return (
            f"the instances of endpoint {plan.endpoint_name} are {before} and are to be {after}: SageMaker changes no "
            "instance type while it is autoscaled (it does once MaxInstanceCount 0 was deployed with the old type)"
        )

    def require_updatable(self, aws: Aws, plan: Export, poll_seconds: float) -> None:
        """Raises EndpointBeyondRepair."""
        endpoint.require_updatable(aws.sagemaker, plan.endpoint_name, plan.stack_name, poll_seconds)

    def prove(self, aws: Aws, plan: Export, package: ModelPackage, poll_seconds: float, *, of_stack: bool) -> None:
        """Raises what endpoint.verify raises."""
        resources = stack.physical_ids(aws.cloudformation, plan.stack_name, _CONFIG, _COMPONENT) if of_stack else {}
        names = {kind: [each.rsplit("/", 1)[-1] for each in ids] for kind, ids in resources.items()}
        expected = endpoint.Expected(
            package=package.description,
            configs=names.get(_CONFIG, []),
            components=names.get(_COMPONENT, []),
            deployed=plan.text,
            variants={
                variant: arn
                for name, arn in self.other_packages(plan.parameters).items()
                if (variant := self.package_parameters[name])
            },
        )
        endpoint.verify(aws.sagemaker, plan.endpoint_name, expected, poll_seconds)

    def state(self, aws: Aws, plan: Export) -> str:
        name = plan.endpoint_name
        description = endpoint.describe(aws.sagemaker, name)
        if description is None:
            return f"endpoint {name} does not exist"
        if description["EndpointStatus"] != "InService":
            return f"endpoint {name} is {description['EndpointStatus']}"
        variants = endpoint.served(aws.sagemaker, name, description["EndpointConfigName"])
        serving = dict.fromkeys(str(each) for each in variants if each.containers)
        return f"endpoint {name} is InService and serves {', '.join(serving) or 'a model that no longer exists'}"

    def links(self, region: str, plan: Export) -> Mapping[str, str]:
        return {f"Endpoint {plan.endpoint_name}": console.endpoint_url(region, plan.endpoint_name)}

    def variables(self, region: str, plan: Export) -> Mapping[str, str]:
        return {
            "ENDPOINT_NAME": plan.endpoint_name,
            "MODEL_PACKAGE_ARN": plan.model_package_arn,
            "STACK_NAME": plan.stack_name,
            "ENDPOINT_URL": console.endpoint_url(region, plan.endpoint_name),
        }

    def predictor(self, aws: Aws, endpoint_name: str) -> Predictor:
        return Predictor(
            once=partial(endpoint.invoke, aws.runtime, endpoint_name),
            patient=partial(endpoint.invoke, aws.patient_runtime, endpoint_name),
            concurrent=lambda threads: partial(endpoint.invoke, aws.concurrent_runtime(threads), endpoint_name),
        )
