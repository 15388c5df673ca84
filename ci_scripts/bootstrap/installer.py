"""The work of `sagemaker-ci bootstrap`: build, upload, deploy infra/product.yml, and say what to do next."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import __version__, change_set, errors, job, quotas, regions, stack, stack_rules
from ci_scripts.aws import Aws
from ci_scripts.bootstrap import artifacts, bucket
from ci_scripts.stack_rules import Action

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_iam import IAMClient


class Request(NamedTuple):
    """What was asked for. What is empty is left as the stack has it."""

    region: str
    bucket: str
    offer: str
    """`S3Template` or `ServiceCatalog`, as the parameter `Offer` of infra/product.yml."""
    gitlab_url: str
    studio_role: str
    stack_name: str
    choices: Mapping[str, tuple[str, ...]] = {}
    """What projects may choose, by the parameter of infra/project.yml; see artifacts.CHOICES."""

    @property
    def in_studio(self) -> bool:
        return self.offer == "S3Template"


def run(request: Request, source: Path, poll_seconds: float) -> None:
    """Bring the bucket and the stack to what the clone in `source` says. Raises a SagemakerCiError."""
    if lacking := [part for part in regions.lacking(request.region) if part in ("project", "offer")]:
        raise errors.RegionLacksPart(f"{request.region}: {'; '.join(regions.PARTS[part] for part in lacking)}")
    aws = Aws(request.region)
    job.say(str(aws.log_in()))
    bucket.require(aws.s3, request.bucket, request.region)
    before = _parameters(aws.cloudformation, request.stack_name)
    request = completed(request, before)
    provider = identity_provider(aws.iam, request.gitlab_url, before)
    with job.section("Build"), tempfile.TemporaryDirectory() as workspace:
        built = artifacts.build(source, request.bucket, request.choices, Path(workspace))
        job.say(f"project template {built.project.key.rpartition('/')[2]} of {source}")
    with job.section("Upload"):
        for each in (*built.others, built.project):  # the template last: it must not name what is not there yet
            bucket.upload(aws.s3, request.bucket, each)
    intended = parameters(request, built.project.key) | {"GitLabServerUrl": provider}
    outputs = _deploy(aws, request, source, intended, poll_seconds)
    if request.in_studio:  # only now: before, a project could be created without its launch role
        bucket.show_in_studio(aws.s3, request.bucket, built.project.key)
        bucket.allow_studio(aws.s3, request.bucket)
    url = f"{aws.s3.meta.endpoint_url}/{request.bucket}/{built.project.key}"
    for line in [*next_steps(request, url, outputs), *quotas_to_ask_for(aws, source)]:
        job.say(line)


def _parameters(cloudformation: CloudFormationClient, name: str) -> dict[str, str]:
    """Those of the stack; none when there is no stack, or only what a first deployment left that never succeeded."""
    description = stack.describe(cloudformation, name)
    if description is None or stack_rules.next_action(description["StackStatus"]) in (Action.CREATE, Action.DELETE):
        return {}
    return {each["ParameterKey"]: each["ParameterValue"] for each in description.get("Parameters", [])}


def _deploy(
    aws: Aws, request: Request, source: Path, parameters: dict[str, str], poll_seconds: float
) -> dict[str, str]:
    """Deploy infra/product.yml with these parameters; the stack's outputs."""
    plan = change_set.Plan(
        stack_name=request.stack_name,
        template={"TemplateBody": (source / "infra" / "product.yml").read_text(encoding="utf-8")},
        parameters=parameters,
        tags={},
        capabilities=["CAPABILITY_IAM"],
        role_arn=None,
    )
    change_set.deploy(aws.cloudformation, plan, poll_seconds)
    deployed: Any = stack.describe(aws.cloudformation, request.stack_name)
    return {output["OutputKey"]: output["OutputValue"] for output in deployed.get("Outputs", [])}


def completed(request: Request, before: Mapping[str, str]) -> Request:
    """The request with what it leaves open taken from the stack's parameters. Raises OfferFixed.

    Whoever runs it again for a new version must not take a role's access away, or a bucket from its readers. The offer
    stays for good: the launch role trusts the service of that offer, and may touch only what its projects are named.
    """
    offer = before.get("Offer", request.offer or "S3Template")
    if request.offer not in ("", offer):
        raise errors.OfferFixed(f"stack {request.stack_name} offers projects as {offer}, not as {request.offer}")
    return request._replace(
        offer=offer,
        gitlab_url=request.gitlab_url or before.get("GitLabServerUrl", ""),
        studio_role=request.studio_role or before.get("StudioRoleArn", ""),
        choices={choice.name: _admitted(choice, request, before) for choice in artifacts.CHOICES},
    )


def _admitted(choice: artifacts.Choice, request: Request, before: Mapping[str, str]) -> tuple[str, ...]:
    values = request.choices.get(choice.name) or choice.admitted(before.get(choice.kept_as, ""))
    return tuple(dict.fromkeys([choice.default, *values]))


def identity_provider(iam: IAMClient, gitlab_url: str, before: Mapping[str, str]) -> str:
    """For which GitLab the stack is to have an identity provider: none that the account has from somewhere else.

    Raises IdentityProviderUnusable when that one is no good to the jobs.
    """
    ours = before.get("GitLabServerUrl", "")
    if gitlab_url in ("", ours):
        return ours
    arns = [each["Arn"] for each in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    provider = next(
        (arn for arn in arns if arn.partition(":oidc-provider/")[2] == gitlab_url.partition("://")[2]), None
    )
    if provider is None:
        return gitlab_url
    if gitlab_url not in iam.get_open_id_connect_provider(OpenIDConnectProviderArn=provider)["ClientIDList"]:
        raise errors.IdentityProviderUnusable(f"{provider} does not accept ID tokens for the audience {gitlab_url}")
    job.say(f"the account has the identity provider already: {provider}")
    return ours


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
        **{each.kept_as: ",".join(filter(None, request.choices[each.name])) for each in artifacts.CHOICES},
    }


def next_steps(request: Request, template_url: str, outputs: dict[str, str]) -> list[str]:
    """What is left to a person."""
    steps = [
        "Put a GitLab access token (scope api) into AWS Secrets Manager:",
        "    aws secretsmanager create-secret --name gitlab/access-token --secret-string TOKEN "
        f"--tags Key=sagemaker-ci:gitlab,Value={request.gitlab_url or 'GITLAB_SERVER_URL'}",
    ]
    if request.gitlab_url:
        steps += [
            f"In projects, enter {request.gitlab_url} as GitLab server URL, letter by letter: jobs enter AWS by it."
        ]
    else:
        steps += [
            "Has the account no identity provider for GitLab yet? No job enters AWS without it. Run this again with:",
            "    --gitlab-url GITLAB_SERVER_URL",
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


def quotas_to_ask_for(aws: Aws, source: Path) -> list[str]:
    """What a project of the seeds needs and the account may not run yet; nothing when it may."""
    from botocore.exceptions import BotoCoreError, ClientError

    needs = quotas.of_pipeline(source / "seed-build") + quotas.of_endpoints(source / "seed-deploy")
    try:
        by_usage = quotas.held(aws.service_quotas)
    except (BotoCoreError, ClientError) as error:
        names = ", ".join(need.quota for need in needs)
        return [f"Look at the account's quotas, which could not be seen from here ({error}): {names}"]
    assessed = [quotas.assess(need, by_usage, aws.region) for need in needs]
    lines = [f"    {text}" for status, text in assessed if status != "ok"]
    return ["Ask for service quotas before the first project is created:", *lines] if lines else []
