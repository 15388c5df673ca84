"""The work of `sagemaker-ci deploy`: approval, stack, change set, events, and the proof that the endpoint serves."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ci_scripts import aws, endpoint, errors, export, job, registry, stack, text
from ci_scripts.export import Export
from ci_scripts.registry import ModelPackage
from ci_scripts.settings import Project
from ci_scripts.stack_rules import Action

# What fits into a request: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
_LONGEST_TEMPLATE_BODY = 51_200  # bytes

# What a template may do is for the roles to say, and what it needs is not to be seen from here: transforms, modules and
# nested stacks expand to resources of any type.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html
_CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")


def run(project: Project, stage: str, role_arn: str | None, poll_seconds: float, folder: Path) -> None:
    """Bring `stage` to what its export in `folder` says.

    Returns when the endpoint is InService and serves the export's model package; raises in every other case.
    """
    plan = export.load(stage, project, os.environ, folder)
    job.say(f"stage:         {plan.stage}")
    job.say(f"stack:         {plan.stack_name} in {project.region}")
    job.say(f"endpoint:      {plan.endpoint_name}")
    job.say(f"model package: {plan.model_package_arn}")
    job.say(str(aws.log_in(project.region)))
    # Approval can be withdrawn between build and deploy, and prod may be played days later.
    package = _require_approved(project, plan)
    job.say(f"{package} is Approved")
    _write_links(project, plan)
    try:
        _deploy(project, plan, role_arn, poll_seconds)
        with job.section("Endpoint"):
            _verify(project, plan, package, poll_seconds)
    except job.Cancelled as cancelled:
        with job.after_cancellation():
            state = _seen(lambda: _state(project, plan))
        raise errors.JobCancelled(
            f"{cancelled}; {state}",
            hint="CloudFormation carries on with what it has begun. Run the job again: it waits, then verifies.",
        ) from None
    _report(project, plan, package)


def _require_approved(project: Project, plan: Export) -> ModelPackage:
    sagemaker = aws.client("sagemaker", project.region)
    return registry.require_approved(sagemaker, plan.model_package_arn, project.model_package_group)


def _deploy(project: Project, plan: Export, role_arn: str | None, poll_seconds: float) -> None:
    cloudformation = aws.client("cloudformation", project.region)
    sagemaker = aws.client("sagemaker", project.region)

    def examine(action: Action) -> None:
        if action is Action.UPDATE:
            stack.require_newest_pipeline(cloudformation, plan.stack_name)
            endpoint.require_updatable(sagemaker, plan.endpoint_name, plan.stack_name, poll_seconds)

    def confirm() -> None:
        _require_approved(project, plan)  # again: a busy stack may have been waited for in between

    asked = stack.Plan(
        stack_name=plan.stack_name,
        template=_template_argument(project, plan),
        parameters=plan.parameters,
        tags=plan.tags,
        capabilities=_CAPABILITIES,
        role_arn=role_arn,
    )
    try:
        stack.deploy(cloudformation, asked, poll_seconds, examine, confirm)
    except errors.StackFailed:
        job.say(_seen(lambda: _what_serves(sagemaker, plan.endpoint_name)))
        raise


def _seen(look: Callable[[], str]) -> str:
    """What a look after a failure finds; it must not hide the failure."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return look()
    except (BotoCoreError, ClientError, errors.InferenceComponentsUnseen) as error:
        return f"what is left cannot be seen: {error}"


def _state(project: Project, plan: Export) -> str:
    """After a cancellation: what CloudFormation is left with."""
    found = stack.describe(aws.client("cloudformation", project.region), plan.stack_name)
    return f"the stack {plan.stack_name} is {found['StackStatus'] if found else 'not there'}"


def _template_argument(project: Project, plan: Export) -> dict[str, str]:
    body = plan.template.encode()
    if len(body) <= _LONGEST_TEMPLATE_BODY:
        return {"TemplateBody": plan.template}

    s3 = aws.client("s3", project.region)
    key = f"{plan.stack_name}/template-{export.digest(body)[:16]}.yml"
    s3.put_object(Bucket=project.artifact_bucket, Key=key, Body=body)
    job.say(f"template: {len(body):,} bytes, sent by way of s3://{project.artifact_bucket}/{key}")
    return {"TemplateURL": f"{s3.meta.endpoint_url}/{project.artifact_bucket}/{key}"}


def _what_serves(sagemaker: Any, name: str) -> str:
    """After a failure: what users of the endpoint get now."""
    found = endpoint.describe(sagemaker, name)
    if found is None:
        return f"endpoint {name} does not exist"
    if found["EndpointStatus"] != "InService":
        return f"endpoint {name} is {found['EndpointStatus']}"
    serving = [str(each) for each in endpoint.served(sagemaker, name, found["EndpointConfigName"]) if each.containers]
    return f"endpoint {name} is InService and serves {', '.join(serving) or 'a model that no longer exists'}"


def _verify(project: Project, plan: Export, package: ModelPackage, poll_seconds: float) -> None:
    cloudformation = aws.client("cloudformation", project.region)
    # The physical id of an endpoint configuration is its ARN: .../endpoint-config/NAME.
    ids = stack.physical_ids(cloudformation, plan.stack_name, "AWS::SageMaker::EndpointConfig")
    endpoint.verify(
        aws.client("sagemaker", project.region),
        plan.endpoint_name,
        package.description,
        [each.rsplit("/", 1)[-1] for each in ids],
        poll_seconds,
        also=plan.text,
    )
    job.say(f"endpoint {plan.endpoint_name} is InService and serves {package}")


# --- reports -------------------------------------------------------------------------------------------------------


def _write_links(project: Project, plan: Export) -> None:
    """Before anything happens: a person who looks into a failed job needs the links most."""
    stack_path = f"cloudformation/home?region={project.region}#/stacks?filteringText={plan.stack_name}"
    job.write_annotations(
        {
            f"Endpoint {plan.endpoint_name}": aws.endpoint_url(project.region, plan.endpoint_name),
            f"Stack {plan.stack_name}": aws.console_url(project.region, stack_path),
        }
    )


def _report(project: Project, plan: Export, package: ModelPackage) -> None:
    url = aws.endpoint_url(project.region, plan.endpoint_name)
    job.write_dotenv(
        {
            "ENDPOINT_NAME": plan.endpoint_name,
            "MODEL_PACKAGE_ARN": plan.model_package_arn,
            "STACK_NAME": plan.stack_name,
            "ENDPOINT_URL": url,
        }
    )
    job.write_summary(
        [
            f"## Deploy: {package} to {plan.stage}",
            "",
            f"- endpoint: [{plan.endpoint_name}]({url}), InService",
            f"- model package: {text.code(plan.model_package_arn)}",
            f"- stack: {text.code(plan.stack_name)}",
        ]
    )
