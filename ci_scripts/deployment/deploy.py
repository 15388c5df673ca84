"""`sagemaker-ci deploy`: bring one stage to what its export says, through CloudFormation, and prove that it is there.

Everything it deploys comes from the export; the job needs no checkout of the repository.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci_scripts import errors, job, settings
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from ci_scripts.deployment.export import Export
    from ci_scripts.registry import ModelPackage

# What fits into a request: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
_LONGEST_TEMPLATE_BODY = 51_200  # bytes


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--stage", required=True, choices=("staging", "prod"), help="the stage to deploy")
    settings.add_option(
        parser,
        "--cloudformation-role-arn",
        "SMCI_CLOUDFORMATION_ROLE_ARN",
        "the role CloudFormation creates the resources with; default: CLOUDFORMATION_ROLE_ARN, else the job's own",
        metavar="ARN",
    )


def run(arguments: Namespace) -> None:
    project = settings.load_project()
    poll_seconds = settings.poll_seconds()
    role_arn = _cloudformation_role(arguments.cloudformation_role_arn)

    from ci_scripts import aws, registry
    from ci_scripts.deployment import export

    plan = export.load(arguments.stage, project, os.environ, Path.cwd())
    job.say(f"stage:         {plan.stage}")
    job.say(f"stack:         {plan.stack_name} in {project.region}")
    job.say(f"endpoint:      {plan.endpoint_name}")
    job.say(f"model package: {plan.model_package_arn}")
    job.say(aws.prepare_credentials())
    with job.cancellation():
        # Approval can be withdrawn between build and deploy, and prod may be played days later.
        sagemaker = aws.client("sagemaker", project.region)
        package = registry.require_approved(sagemaker, plan.model_package_arn, project.model_package_group)
        job.say(f"{package} is Approved")
        _write_links(project, plan)
        try:
            _deploy(project, plan, role_arn, poll_seconds)
            with job.section("Endpoint"):
                _verify(project, plan, package, poll_seconds)
        except errors.JobCancelled as cancelled:
            raise errors.JobCancelled(
                f"{cancelled.message}; {_state(project, plan)}",
                hint="CloudFormation carries on with what it has begun. Run the job again: it waits, then verifies.",
            ) from None
    _report(project, plan, package)


def _cloudformation_role(option: str | None) -> str | None:
    name = "CLOUDFORMATION_ROLE_ARN"
    found = option or settings.value(os.environ, name)
    return settings.role_arn(name, {name: found}) if found else None


def _deploy(project: Project, plan: Export, role_arn: str | None, poll_seconds: float) -> None:
    from ci_scripts import aws, endpoint, stack
    from ci_scripts.deployment import template

    cloudformation = aws.client("cloudformation", project.region)
    sagemaker = aws.client("sagemaker", project.region)
    with job.section("Stack"):
        action = stack.make_ready(cloudformation, plan.stack_name, role_arn, poll_seconds)
        if action is stack.Action.UPDATE:
            endpoint.require_updatable(sagemaker, plan.endpoint_name, plan.stack_name, poll_seconds)
    with job.section("Change set"):
        wanted = stack.Plan(
            stack_name=plan.stack_name,
            template=_template_argument(project, plan),
            parameters=plan.parameters,
            tags=plan.tags,
            capabilities=template.capabilities(plan.template),
            role_arn=role_arn,
        )
        change_set = stack.prepare(cloudformation, wanted, action, poll_seconds)
    if change_set is None:
        return
    with job.section("Stack events"):
        try:
            stack.execute(cloudformation, change_set, poll_seconds)
        except errors.StackFailed:
            job.say(_what_serves(sagemaker, plan.endpoint_name))
            raise


def _state(project: Project, plan: Export) -> str:
    from ci_scripts import aws, stack

    found = stack.describe(aws.client("cloudformation", project.region), plan.stack_name)
    return f"the stack {plan.stack_name} is {found['StackStatus'] if found else 'not there'}"


def _template_argument(project: Project, plan: Export) -> dict[str, str]:
    body = plan.template.encode()
    if len(body) <= _LONGEST_TEMPLATE_BODY:
        return {"TemplateBody": plan.template}

    from ci_scripts import aws
    from ci_scripts.deployment.export import digest

    s3 = aws.client("s3", project.region)
    key = f"{plan.stack_name}/template-{digest(body)[:16]}.yml"
    s3.put_object(Bucket=project.artifact_bucket, Key=key, Body=body)
    job.say(f"template: {len(body):,} bytes, sent by way of s3://{project.artifact_bucket}/{key}")
    return {"TemplateURL": f"{s3.meta.endpoint_url}/{project.artifact_bucket}/{key}"}


def _what_serves(sagemaker: Any, name: str) -> str:
    """After a failure: what users of the endpoint get now."""
    from ci_scripts import endpoint

    found = endpoint.describe(sagemaker, name)
    if found is None:
        return f"endpoint {name} does not exist"
    if found["EndpointStatus"] != "InService":
        return f"endpoint {name} is {found['EndpointStatus']}"
    serving = endpoint.containers(sagemaker, found["EndpointConfigName"])
    return f"endpoint {name} still serves {', '.join(endpoint.container_name(each) for each in serving)}"


def _verify(project: Project, plan: Export, package: ModelPackage, poll_seconds: float) -> None:
    from ci_scripts import aws, endpoint, stack

    cloudformation = aws.client("cloudformation", project.region)
    # The physical id of an endpoint configuration is its ARN: .../endpoint-config/NAME.
    ids = stack.physical_ids(cloudformation, plan.stack_name, "AWS::SageMaker::EndpointConfig")
    endpoint.verify(
        aws.client("sagemaker", project.region),
        plan.endpoint_name,
        package.description,
        [each.rsplit("/", 1)[-1] for each in ids],
        poll_seconds,
    )
    job.say(f"endpoint {plan.endpoint_name} is InService and serves {package}")


# --- reports -------------------------------------------------------------------------------------------------------


def _endpoint_url(project: Project, plan: Export) -> str:
    from ci_scripts import aws

    return aws.console_url(project.region, f"sagemaker/home?region={project.region}#/endpoints/{plan.endpoint_name}")


def _write_links(project: Project, plan: Export) -> None:
    """Before anything happens: a person who looks into a failed job needs the links most."""
    from ci_scripts import aws

    stack_path = f"cloudformation/home?region={project.region}#/stacks?filteringText={plan.stack_name}"
    job.write_annotations(
        {
            f"Endpoint {plan.endpoint_name}": _endpoint_url(project, plan),
            f"Stack {plan.stack_name}": aws.console_url(project.region, stack_path),
        }
    )


def _report(project: Project, plan: Export, package: ModelPackage) -> None:
    job.write_dotenv(
        {
            "ENDPOINT_NAME": plan.endpoint_name,
            "MODEL_PACKAGE_ARN": plan.model_package_arn,
            "STACK_NAME": plan.stack_name,
            "ENDPOINT_URL": _endpoint_url(project, plan),
        }
    )
    job.write_summary(
        [
            f"## Deploy: {package} to {plan.stage}",
            "",
            f"- endpoint: [{plan.endpoint_name}]({_endpoint_url(project, plan)}), InService",
            f"- model package: `{plan.model_package_arn}`",
            f"- stack: `{plan.stack_name}`",
        ]
    )
