"""Real-time hosting: an endpoint with instances of its own, made from the repository's own template."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ci_scripts import console, endpoint, export, stack
from ci_scripts.aws import Aws
from ci_scripts.export import Export
from ci_scripts.hosting.kind import Predictor
from ci_scripts.registry import ModelPackage
from ci_scripts.settings import Project

_CONFIG, _COMPONENT = "AWS::SageMaker::EndpointConfig", "AWS::SageMaker::InferenceComponent"


class RealTime:
    """See `Hosting`."""

    name = export.REAL_TIME
    template_file = "endpoint-config-template.yml"

    def parameters(self, project: Project, stage: str, role: str) -> dict[str, str | None]:
        return {
            **export.named_parameters(stage, project, ""),
            "ModelPackageName": None,
            "ModelExecutionRoleArn": role,
            "DataCaptureUploadPath": f"s3://{project.artifact_bucket}/datacapture-{stage}",
        }

    def title(self, plan: Export) -> str:
        return f"endpoint {plan.endpoint_name}"

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
