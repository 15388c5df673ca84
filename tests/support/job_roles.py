"""What a job may do with its role."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from tests.support.roles import BUILD, DEPLOY, Roles

PREFIX = "sagemaker-abalone-p-sandbox01-deploy"
GROUP = "abalone-p-sandbox01"
PROJECT_OF = {"Training": BUILD, "Check": BUILD, "Build": DEPLOY, "Staging": DEPLOY, "Prod": DEPLOY}


class Job:
    """A GitLab job of the default branch with the credentials of its role."""

    def __init__(self, roles: Roles, role: str) -> None:
        self._aws = roles.aws
        token = roles.token(role, PROJECT_OF[role])
        answer = roles.aws.client("sts").assume_role_with_web_identity(
            RoleArn=roles.outputs[f"{role}RoleArn"], RoleSessionName="gitlab-job-1", WebIdentityToken=token
        )["Credentials"]
        self.keys = {
            "aws_access_key_id": answer["AccessKeyId"],
            "aws_secret_access_key": answer["SecretAccessKey"],
            "aws_session_token": answer["SessionToken"],
        }

    def client(self, service: str) -> Any:
        return self._aws.client(service, **self.keys)

    def refusal(self, service: str, operation: str, **request: Any) -> str:
        """The error's code, or nothing when the call passed."""
        try:
            getattr(self.client(service), operation)(**request)
        except ClientError as error:
            return str(error.response["Error"]["Code"]).removesuffix("Exception")
        return ""
