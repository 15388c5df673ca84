"""The work of `sagemaker-ci bootstrap`: build, upload, deploy infra/product.yml, and say what to do next."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ci_scripts import __version__, aws, job, stack
from ci_scripts.bootstrap import artifacts, bucket


class Request(NamedTuple):
    """What was asked for. An empty `offer`, `gitlab_url` or `studio_role` leaves it as the stack has it."""

    region: str
    bucket: str
    offer: str
    """`S3Template` or `ServiceCatalog`, as the parameter `Offer` of infra/product.yml."""
    gitlab_url: str
    studio_role: str
    stack_name: str

    @property
    def in_studio(self) -> bool:
        return self.offer == "S3Template"


def run(request: Request, source: Path, poll_seconds: float) -> None:
    """Bring the bucket and the stack to what the clone in `source` says. Raises a SagemakerCiError."""
    job.say(aws.prepare_credentials())
    s3 = aws.client("s3", request.region)
    bucket.require(s3, request.bucket, request.region)
    with job.cancellation():
        with job.section("Build"), tempfile.TemporaryDirectory() as workspace:
            made = artifacts.build(source, request.bucket, Path(workspace))
            job.say(f"project template {made.project.key.rpartition('/')[2]} of {source}")
        with job.section("Upload"):
            for each in (*made.others, made.project):  # the template last: it must not name what is not there yet
                job.raise_if_cancelled()
                bucket.upload(s3, request.bucket, each)
        with job.section("Stack"):
            request, outputs = _deploy(request, source, made.project.key, poll_seconds)
        # Only now: before, a project could be created without its launch role.
        bucket.show_in_studio(s3, request.bucket, made.project.key if request.in_studio else None)
        if request.in_studio:
            bucket.allow_studio(s3, request.bucket)
    url = f"{s3.meta.endpoint_url}/{request.bucket}/{made.project.key}"
    for line in next_steps(request, url, outputs):
        job.say(line)


def _deploy(request: Request, source: Path, template_key: str, poll_seconds: float) -> tuple[Request, dict[str, str]]:
    """Deploy infra/product.yml; the completed request and the stack's outputs."""
    cloudformation = aws.client("cloudformation", request.region)
    action = stack.make_ready(cloudformation, request.stack_name, None, poll_seconds)
    existing = stack.describe(cloudformation, request.stack_name) or {}
    before = {each["ParameterKey"]: each["ParameterValue"] for each in existing.get("Parameters", [])}
    request = completed(request, before)
    plan = stack.Plan(
        stack_name=request.stack_name,
        template={"TemplateBody": (source / "infra" / "product.yml").read_text(encoding="utf-8")},
        parameters=parameters(request, template_key),
        tags={},
        capabilities=["CAPABILITY_IAM"],
        role_arn=None,
    )
    change_set = stack.prepare(cloudformation, plan, action, poll_seconds)
    if change_set is not None:
        stack.execute(cloudformation, change_set, poll_seconds)
    found: Any = stack.describe(cloudformation, request.stack_name)
    return request, {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def completed(request: Request, before: Mapping[str, str]) -> Request:
    """The request with what it leaves open taken from the stack's parameters.

    Whoever runs it again for a new version must not take a role's access away, or a product from its portfolio.
    """
    return request._replace(
        offer=request.offer or before.get("Offer", "S3Template"),
        gitlab_url=request.gitlab_url or before.get("GitLabServerUrl", ""),
        studio_role=request.studio_role or before.get("StudioRoleArn", ""),
    )


def parameters(request: Request, template_key: str) -> dict[str, str]:
    """The parameters of infra/product.yml."""
    digest = template_key.rpartition("-")[2].removesuffix(".yml")
    return {
        "Offer": request.offer,
        "TemplateBucket": request.bucket,
        "TemplateKey": template_key,
        "TemplateVersion": f"{__version__}-{digest[:8]}",
        "StudioRoleArn": request.studio_role,
        "StudioRoleName": request.studio_role.rpartition("/")[2],
        "GitLabServerUrl": request.gitlab_url,
    }


def next_steps(request: Request, template_url: str, outputs: dict[str, str]) -> list[str]:
    """What is left to a person."""
    steps = [
        "Put a GitLab access token (scope api) into AWS Secrets Manager:",
        "    aws secretsmanager create-secret --name gitlab/access-token --secret-string TOKEN",
    ]
    if request.in_studio:
        steps += [
            "Show SageMaker Studio where the template is; once for each domain:",
            "    aws sagemaker add-tags --resource-arn DOMAIN_ARN --tags "
            f"Key=sagemaker:projectS3TemplatesLocation,Value=s3://{request.bucket}/{artifacts.STUDIO_PREFIX}",
        ]
        if not request.studio_role:
            steps += ["Attach this policy to the execution role of the people in Studio:"]
            steps += [f"    {outputs['StudioPolicyArn']}"]
        steps += [
            "In Studio: Deployments > Projects > Create project > Organization templates > S3 Templates. Role ARN:",
            f"    {outputs['LaunchRoleArn']}",
        ]
    else:
        if not request.studio_role:
            steps += [f"Give the people in Studio access to the Service Catalog portfolio {outputs['PortfolioId']}."]
        steps += ["In Studio: Deployments > Projects > Create project > Organization templates."]
    steps += ["The template:", f"    {template_url}"]
    return ["", "What to do next", *steps]
