"""The roles of GitLab's jobs, deployed from infra/, and the tokens by which jobs get them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import NamedTuple

import pytest
from botocore.exceptions import ClientError

from sandbox.gateway import Gateway
from tests.support.identity import Issuer
from tests.support.servers import ROOT, Aws

BUILD, DEPLOY = "project_id:4711", "project_id:4712"
TIERS = {"Staging": "staging", "Prod": "production"}


class Roles(NamedTuple):
    """The stack's outputs, and the GitLab whose tokens they trust."""

    aws: Aws
    gitlab: Issuer
    outputs: dict[str, str]

    def token(self, role: str, project: str, **claims: str) -> str:
        """A job's ID token. Unless told otherwise it is of the protected default branch, for the role's environment."""
        claims = {"ref": "main", "ref_protected": "true", "deployment_tier": TIERS.get(role, "")} | claims
        subject = f"{project}:ref_type:branch:ref:{claims['ref']}:ref_protected:{claims['ref_protected']}"
        if claims["deployment_tier"]:
            subject += f":deployment_tier:{claims['deployment_tier']}"
        return self.gitlab.token(sub=subject, aud=claims.get("aud") or self.gitlab.url)

    def lets_in(self, role: str, project: str, **claims: str) -> bool:
        """Whether a job gets the role."""
        token = self.token(role, project, **claims)
        try:
            self.aws.client("sts").assume_role_with_web_identity(
                RoleArn=self.outputs[f"{role}RoleArn"], RoleSessionName="gitlab-job-1", WebIdentityToken=token
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("AccessDenied", "InvalidIdentityToken"):
                raise
            return False
        return True


@pytest.fixture(scope="module")
def roles(aws: Aws, gateway: Gateway) -> Iterator[Roles]:
    with deployed(aws, gateway, "abalone", "p-sandbox01", "artifacts") as roles:
        yield roles


@contextmanager
def deployed(
    aws: Aws,
    gateway: Gateway,
    project_name: str,
    project_id: str,
    bucket: str,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Roles]:
    """The stack of a project's roles, with `more` parameters; they trust a GitLab of their own. Gone afterwards."""
    gitlab = Issuer(gateway)
    cloudformation = aws.client("cloudformation")
    name = f"gitlab-oidc-{uuid.uuid4().hex[:8]}"
    parameters = {
        "SageMakerProjectName": project_name,
        "SageMakerProjectId": project_id,
        "ArtifactBucket": bucket,
        "GitLabServerUrl": gitlab.url,
        "ModelBuildSubject": BUILD,
        "ModelDeploySubject": DEPLOY,
        **more,
    }
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=(ROOT / "infra" / "gitlab-oidc.yml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    yield Roles(aws, gitlab, {output["OutputKey"]: output["OutputValue"] for output in outputs})
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    gitlab.server.shutdown()


@contextmanager
def beside(roles: Roles, template: str, **parameters: str) -> Iterator[dict[str, str]]:
    """A stack that gives more rights to some of these roles, by its file in infra/: its outputs. Gone afterwards."""
    body = (ROOT / "infra" / template).read_text()
    names = [name for name in roles.outputs if name.endswith("RoleArn") and f"\n  {name}:\n    Type: String" in body]
    values = {name: roles.outputs[name] for name in names} | parameters
    cloudformation, name = roles.aws.client("cloudformation"), f"{template.partition('.')[0]}-{uuid.uuid4().hex[:8]}"
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=body,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])
    yield {each["OutputKey"]: each["OutputValue"] for each in outputs}
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
