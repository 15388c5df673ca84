"""SageMaker projects, which moto lacks: made from a CloudFormation template in S3, as Studio does. See `install()`.

As in AWS, the stack is made in the name of whoever creates the project, with the role that they hand on, and gets the
project's name and id as parameters and tags. A project from Service Catalog: provision the product there.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.responses import SageMakerResponse

from sandbox.aws.access import identity
from sandbox.aws.ground import ACCOUNT, REGION, ROOT_KEYS

_projects: dict[str, dict[str, Any]] = {}
_lock = threading.Lock()
_STATUSES = {
    "CREATE_IN_PROGRESS": "CreateInProgress",
    "CREATE_COMPLETE": "CreateCompleted",
    "UPDATE_COMPLETE": "CreateCompleted",
    "DELETE_IN_PROGRESS": "DeleteInProgress",
    "DELETE_FAILED": "DeleteFailed",
    "DELETE_COMPLETE": "DeleteCompleted",
}


def install() -> None:
    responses: Any = SageMakerResponse
    responses.create_project = _create
    responses.describe_project = _describe
    responses.list_projects = _list
    responses.delete_project = _delete


def _create(self: SageMakerResponse) -> ActionResult:
    name = self._get_param("ProjectName")
    if not self._get_param("TemplateProviders"):
        raise ValidationError("the sandbox does not have CreateProject without TemplateProviders")
    [provider] = [each["CfnTemplateProvider"] for each in self._get_param("TemplateProviders")]
    caller = identity.client("cloudformation", identity.caller_credentials(self.access_key))
    with _lock:
        if name in _projects:
            raise ValidationError(f"Project already exists with name {name}")
        number = f"p-sandbox{len(_projects) + 1:02}"
        names = {"SageMakerProjectName": name, "SageMakerProjectId": number}
        parameters = {each["Key"]: each.get("Value", "") for each in provider.get("Parameters", [])} | names
        tags = [{"Key": "sagemaker:project-name", "Value": name}, {"Key": "sagemaker:project-id", "Value": number}]
        try:
            stack = caller.create_stack(
                StackName=f"SP-{name}-{number}",
                TemplateURL=provider["TemplateURL"],
                Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
                Tags=[*tags, *(self._get_param("Tags") or [])],
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
                **({"RoleARN": provider["RoleARN"]} if "RoleARN" in provider else {}),
            )["StackId"]
        except ClientError as error:
            raise ValidationError(f"The stack cannot be created: {error}") from error
        _projects[name] = {
            "ProjectName": name,
            "ProjectId": number,
            "ProjectArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:project/{name}",
            "ProjectDescription": self._get_param("ProjectDescription") or "",
            "CreationTime": datetime.now(UTC).timestamp(),
            "Provider": provider,
            "StackId": stack,
        }
    return ActionResult({key: _projects[name][key] for key in ("ProjectArn", "ProjectId")})


def _find(self: SageMakerResponse) -> dict[str, Any]:
    name = self._get_param("ProjectName")
    if name not in _projects:
        raise ValidationError(f"Project does not exist: {name}")
    return _projects[name]


def _state(project: dict[str, Any]) -> tuple[str, str]:
    """The project's status and the message of its stack, which both follow from the stack."""
    stacks = identity.client("cloudformation", ROOT_KEYS).describe_stacks(StackName=project["StackId"])["Stacks"]
    status = stacks[0]["StackStatus"]
    return _STATUSES.get(status, "CreateFailed"), stacks[0].get("StackStatusReason") or status


def _describe(self: SageMakerResponse) -> ActionResult:
    project = _find(self)
    status, message = _state(project)
    provider, stack = project["Provider"], project["StackId"]
    shown_keys = ("TemplateName", "TemplateURL", "RoleARN", "Parameters")
    detail = {key: provider[key] for key in shown_keys if key in provider}
    detail["StackDetail"] = {"Name": stack.split("/")[1], "Id": stack, "StatusMessage": message}
    shown = {key: value for key, value in project.items() if key not in ("Provider", "StackId")}
    return ActionResult(
        shown | {"ProjectStatus": status, "TemplateProviderDetails": [{"CfnTemplateProviderDetail": detail}]}
    )


def _list(self: SageMakerResponse) -> ActionResult:
    keys = ("ProjectName", "ProjectDescription", "ProjectArn", "ProjectId", "CreationTime")
    rows = [
        {key: project[key] for key in keys} | {"ProjectStatus": _state(project)[0]} for project in _projects.values()
    ]
    return ActionResult({"ProjectSummaryList": [row for row in rows if row["ProjectStatus"] != "DeleteCompleted"]})


def _delete(self: SageMakerResponse) -> EmptyResult:
    project = _find(self)
    caller = identity.client("cloudformation", identity.caller_credentials(self.access_key))
    caller.delete_stack(StackName=project["StackId"])
    return EmptyResult()
