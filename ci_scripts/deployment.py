"""Bring a stage to what an export says: approval, stack, change set, events, and the proof that the endpoint serves.

Called by the verbs that deploy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ci_scripts import aws_errors, change_set, console, errors, export, hosting, job, registry, stack, text
from ci_scripts.aws import Aws
from ci_scripts.change_set import TemplateArgument
from ci_scripts.export import Export
from ci_scripts.hosting import Hosting
from ci_scripts.registry import ModelPackage
from ci_scripts.settings import Project
from ci_scripts.stack_rules import Action

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.literals import CapabilityType

# What fits into a request: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
_LONGEST_TEMPLATE_BODY = 51_200  # bytes

# What a template may do is for the roles to say, and what it needs is not to be seen from here: transforms, modules and
# nested stacks expand to resources of any type.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html
_CAPABILITIES: Sequence[CapabilityType] = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")


def run(project: Project, plan: Export, role_arn: str | None, poll_seconds: float) -> None:
    """Bring the stage of `plan` to what it says.

    Returns when the endpoint is InService and serves the export's model package; raises in every other case.
    """
    host = hosting.of(plan.hosting)
    aws = Aws(project.region)
    job.say(f"stage:         {plan.stage}")
    job.say(f"stack:         {plan.stack_name} in {project.region}")
    job.say(f"endpoint:      {plan.endpoint_name}")
    job.say(f"model package: {plan.model_package_arn}")
    job.say(str(aws.log_in()))
    # Approval can be withdrawn between build and deploy, and prod may be deployed days later.
    package = _require_approved(aws, project, plan)
    job.say(f"{package} is Approved")
    _write_links(aws.region, host, plan)
    try:
        _deploy(aws, project, host, plan, role_arn, poll_seconds)
        with job.section("Endpoint"):
            host.prove(aws, plan, package, poll_seconds, of_stack=True)
            job.say(f"{host.title(plan)} is InService and serves {package}")
    except job.Cancelled as cancelled:
        with job.after_cancellation():
            state = _seen(lambda: _state(aws, plan))
        raise errors.JobCancelled(
            f"{cancelled}; {state}",
            hint="CloudFormation carries on with what it has begun. Run the job again: it waits, then verifies.",
        ) from None
    _report(aws.region, host, plan, package)


def _require_approved(aws: Aws, project: Project, plan: Export) -> ModelPackage:
    return registry.require_approved(aws.sagemaker, plan.model_package_arn, project.model_package_group)


def _deploy(aws: Aws, project: Project, host: Hosting, plan: Export, role_arn: str | None, poll_seconds: float) -> None:
    def examine(action: Action) -> None:
        if action is Action.UPDATE:
            stack.require_newest_pipeline(aws.cloudformation, plan.stack_name)
            host.require_updatable(aws, plan, poll_seconds)

    def confirm() -> None:
        _require_approved(aws, project, plan)  # again: a busy stack may have been waited for in between

    stack_plan = change_set.Plan(
        stack_name=plan.stack_name,
        template=_template_argument(aws, project, plan),
        parameters=plan.parameters,
        tags=plan.tags,
        capabilities=_CAPABILITIES,
        role_arn=role_arn,
    )
    try:
        change_set.deploy(aws.cloudformation, stack_plan, poll_seconds, examine, confirm)
    except errors.StackFailed as failed:
        job.say(_seen(lambda: host.state(aws, plan)))
        if over := aws_errors.over_quota(failed.message, project.region):
            other = "Or let the stage use an instance type that the account has."
            raise errors.QuotaExceeded(failed.message, hint=f"{over} {other} {failed.hint}") from failed
        raise


def _seen(look: Callable[[], str]) -> str:
    """What a look after a failure finds; it must not hide the failure."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return look()
    except (BotoCoreError, ClientError, errors.InferenceComponentsUnseen) as error:
        return f"what is left cannot be seen: {error}"


def _state(aws: Aws, plan: Export) -> str:
    """After a cancellation: what CloudFormation is left with."""
    description = stack.describe(aws.cloudformation, plan.stack_name)
    return f"the stack {plan.stack_name} is {description['StackStatus'] if description else 'not there'}"


def _template_argument(aws: Aws, project: Project, plan: Export) -> TemplateArgument:
    body = plan.template.encode()
    if len(body) <= _LONGEST_TEMPLATE_BODY:
        return {"TemplateBody": plan.template}

    key = f"{plan.stack_name}/template-{export.digest(body)[:16]}.yml"
    aws.s3.put_object(Bucket=project.artifact_bucket, Key=key, Body=body)
    job.say(f"template: {len(body):,} bytes, sent by way of s3://{project.artifact_bucket}/{key}")
    return {"TemplateURL": f"{aws.s3.meta.endpoint_url}/{project.artifact_bucket}/{key}"}


# --- reports -------------------------------------------------------------------------------------------------------


def _write_links(region: str, host: Hosting, plan: Export) -> None:
    """Before anything happens: a person who looks into a failed job needs the links most."""
    stack_path = f"cloudformation/home?region={region}#/stacks?filteringText={plan.stack_name}"
    job.write_annotations({**host.links(region, plan), f"Stack {plan.stack_name}": console.url(region, stack_path)})


def _report(region: str, host: Hosting, plan: Export, package: ModelPackage) -> None:
    url = next(iter(host.links(region, plan).values()))
    job.write_dotenv(host.variables(region, plan))
    job.write_summary(
        [
            f"## Deploy: {package} to {plan.stage}",
            "",
            f"- endpoint: [{plan.endpoint_name}]({url}), InService",
            f"- model package: {text.code(plan.model_package_arn)}",
            f"- stack: {text.code(plan.stack_name)}",
        ]
    )
