"""The roles of GitLab's jobs, deployed from infra/, and the tokens by which jobs get them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import NamedTuple

import pytest
from botocore.exceptions import ClientError

from sandbox.gateway import Gateway
from tests.support.identity import Issuer
from tests.support.servers import REGION, ROOT, Aws
from tests.support.stacks import infra_stack

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


def artifacts(roles: Roles) -> None:
    """Make the bucket `artifacts` of `roles`, unless another test of this server has."""
    s3 = roles.aws.client("s3")
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})


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
    parameters = {
        "SageMakerProjectName": project_name,
        "SageMakerProjectId": project_id,
        "ArtifactBucket": bucket,
        "GitLabServerUrl": gitlab.url,
        "ModelBuildSubject": BUILD,
        "ModelDeploySubject": DEPLOY,
        **more,
    }
    with infra_stack(aws, "gitlab-oidc.yml", parameters) as stack:
        yield Roles(aws, gitlab, stack.outputs)
    gitlab.server.shutdown()


@contextmanager
def beside(roles: Roles, template: str, **parameters: str) -> Iterator[dict[str, str]]:
    """A stack that gives more rights to some of these roles, by its file in infra/: its outputs. Gone afterwards."""
    body = (ROOT / "infra" / template).read_text()
    names = [name for name in roles.outputs if name.endswith("RoleArn") and f"\n  {name}:\n    Type: String" in body]
    values = {name: roles.outputs[name] for name in names} | parameters
    with infra_stack(roles.aws, template, values) as stack:
        yield stack.outputs
