"""What CloudFormation reads from a request: names, templates, parameters, who acts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse

from sandbox.aws.access import identity
from sandbox.aws.cloudformation import evaluation
from sandbox.aws.cloudformation.errors import CloudFormationError, TokenAlreadyExists, ValidationError
from sandbox.aws.cloudformation.operations import Stack
from sandbox.aws.cloudformation.plan import Plan
from sandbox.aws.cloudformation.stack import STACKS, StackState, in_region
from sandbox.aws.lacking import Lacking

_NAME = r"[a-zA-Z][-a-zA-Z0-9]{0,127}"
_MAX_BODY, _MAX_FILE = 51_200, 1_000_000  # bytes
_S3_HOST = r"(.+\.)?s3[.-]([a-z0-9-]+\.)*amazonaws\.com(\.cn)?"
_S3_ERRORS = "For more information check http://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"


def client_factory(region: str) -> Any:
    """Clients of this server, whose errors name their service: CloudFormation's reasons do."""

    return partial(_client, region)


def _client(region: str, credentials: dict[str, str], service: str) -> Any:
    client = identity.client(service, credentials, region)
    once = "service of an error"  # whoever asks again gets the same client
    client.meta.events.register("after-call", _remember_service, unique_id=once)
    return client


def _remember_service(parsed: dict[str, Any], model: Any, **_: Any) -> None:
    if "Error" in parsed:
        parsed["Service"] = model.service_model.service_id.replace(" ", "")


class Request(BaseResponse):
    """One call; the classes of calls build on it."""

    HAS: ClassVar[dict[str, str]] = {}
    """Parameters that each operation understands, by its name. Another one is refused by name."""

    def __init__(self) -> None:
        super().__init__(service_name="cloudformation")
        self.automated_parameter_parsing = True

    def call_action(self) -> Any:
        """An operation that is not here, or that breaks, answers as the service's errors do."""
        operation = self._get_action()
        try:
            return super().call_action()
        except NotImplementedError:
            return self._refusal(Lacking(f"the operation {operation} of CloudFormation"))
        except ServiceException as error:
            return self._refusal(error)
        except Exception as error:  # noqa: BLE001 - a fault of the sandbox is told in the protocol, too
            return self._refusal(CloudFormationError("InternalFailure", f"the sandbox failed: {error!r}"))

    def _refusal(self, error: ServiceException) -> Any:
        return self.serialized(ActionResult(error))

    def _require_known_parameters(self) -> None:
        operation = self._get_action()
        for name, value in self.params.items():
            if value not in (None, False, [], "") and name not in self.HAS[operation].split():
                raise Lacking(f"the parameter {name} of {operation}")

    # --- stacks -----------------------------------------------------------------------------------------------------

    def _all(self) -> list[Stack]:
        return [stack for stack in in_region(self.region) if isinstance(stack, Stack)]

    def _find(self, name: str | None) -> Stack | None:
        """By id, or by name when it is not deleted."""
        by_id = [stack for stack in self._all() if stack.id == name]
        by_name = [stack for stack in self._all() if stack.name == name and stack.status != "DELETE_COMPLETE"]
        return next(iter(by_id + by_name), None)

    def _existing(self, message: str = "Stack with id {} does not exist") -> Stack:
        name = self._get_param("StackName")
        stack = self._find(name)
        if stack is None:
            raise ValidationError(message.format(name))
        return stack

    def _stack_name(self) -> str:
        name: str = self._get_param("StackName")
        self._require_pattern("stackName", name, _NAME, "[a-zA-Z][-a-zA-Z0-9]*|arn:[-a-zA-Z0-9:/._+]*")
        return name

    @staticmethod
    def _require_pattern(member: str, value: str, pattern: str, shown: str) -> None:
        if not re.fullmatch(pattern, value):
            raise ValidationError(
                f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must "
                f"satisfy regular expression pattern: {shown}"
            )

    def _new(self, name: str) -> Stack:
        return Stack(name, self.region, client_factory(self.region))

    def _add(self, stack: StackState) -> None:
        STACKS[stack.id] = stack

    # --- what the stack is to become --------------------------------------------------------------------------------

    def _plan(self, stack: Stack, before: Plan | None) -> Plan:
        """Raises ValidationError, or Lacking, for what is refused before anything starts."""
        text = before.text if before and self._get_bool_param("UsePreviousTemplate") else self._template()
        plan = Plan.make(
            text,
            self._parameters(before.parameters if before else {}),
            self._tags(before.tags if before else {}),
            self.region,
            self._get_param("Capabilities", []),
            self._ssm_values,
        )
        self._require_resource_types(plan)
        self._require_rollback_triggers()
        evaluation.check(stack, plan)
        if role_arn := self._get_param("RoleARN"):
            self._credentials(role_arn)
        return plan

    def _template(self) -> str:
        body, url = self._get_param("TemplateBody"), self._get_param("TemplateURL")
        if bool(body) == bool(url):
            raise ValidationError("Either Template URL or Template Body must be specified.")
        if not body:
            return self._file(url, "TemplateURL")
        if len(body.encode()) > _MAX_BODY:
            raise ValidationError(
                f"1 validation error detected: Value '{body}' at 'templateBody' failed to satisfy constraint: Member "
                f"must have length less than or equal to {_MAX_BODY}"
            )
        return str(body)

    def _file(self, url: str, parameter: str) -> str:
        """A file in S3: https://BUCKET.s3.REGION.amazonaws.com/KEY, https://s3.REGION.amazonaws.com/BUCKET/KEY."""
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path.lstrip("/")
        if not parts.scheme or not host:
            raise ValidationError(f"{parameter} must be a supported URL.")
        here = parts.netloc == urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
        if not here and not re.fullmatch(_S3_HOST, host):
            raise ValidationError(f"S3 error: Domain name specified in {host} is not a valid S3 domain")
        virtual = re.match(r"(.+?)\.s3[.-]", host)
        bucket, _, key = (virtual[1], "", path) if virtual else path.partition("/")
        s3 = client_factory(self.region)(self._credentials(None), "s3")
        try:
            content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read(_MAX_FILE + 1)
        except ClientError as error:
            raise ValidationError(f"S3 error: {error.response['Error']['Message']}\n{_S3_ERRORS}") from error
        if len(content) > _MAX_FILE:
            raise ValidationError(f"Template may not exceed {_MAX_FILE} bytes in size.")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise ValidationError("Template format error: unsupported structure.") from error

    def _parameters(self, previous: dict[str, str]) -> dict[str, str]:
        values = {}
        for parameter in self._get_param("Parameters", []):
            name = parameter["ParameterKey"]
            if not parameter.get("UsePreviousValue"):
                values[name] = parameter.get("ParameterValue", "")
            elif name in previous:
                values[name] = previous[name]
            else:
                raise ValidationError(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true for a parameter "
                    "key not in the previous template"
                )
        return values

    def _tags(self, previous: dict[str, str]) -> dict[str, str]:
        tags = self._get_param("Tags")
        return previous if tags is None else {tag["Key"]: tag["Value"] for tag in tags}

    def _ssm_values(self, names: Sequence[str]) -> Mapping[str, str]:
        ssm = client_factory(self.region)(self._credentials(self._get_param("RoleARN")), "ssm")
        try:
            ssm_parameters = ssm.get_parameters(Names=list(names))["Parameters"]
        except ClientError as error:
            raise ValidationError(error.response["Error"]["Message"]) from error
        return {parameter["Name"]: parameter["Value"] for parameter in ssm_parameters}

    def _require_resource_types(self, plan: Plan) -> None:
        """ResourceTypes says which types a request may touch: AWS::*, AWS::SQS::*, AWS::SQS::Queue, Custom::*."""
        allowed = self._get_param("ResourceTypes")
        if not allowed:
            return
        for resource in plan.template["Resources"].values():
            kind = resource["Type"]
            prefixes = [each.removesuffix("*") for each in allowed if each.endswith("::*")]
            if kind not in allowed and not any(kind.startswith(prefix) for prefix in prefixes):
                raise ValidationError(
                    f"Resource type {kind} is not allowed by parameter ResourceTypes [{', '.join(allowed)}]"
                )

    def _require_rollback_triggers(self) -> None:
        configuration = self._get_param("RollbackConfiguration") or {}
        for trigger in configuration.get("RollbackTriggers", []):
            if trigger["Type"] not in ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"):
                raise ValidationError("Rollback Trigger Type not supported")
            if not re.fullmatch(r"arn:[^:]+:cloudwatch:[^:]*:[^:]*:alarm:.+", trigger["Arn"]):
                raise ValidationError("RelativeId of a Rollback Trigger's ARN is incorrect")
        if any(configuration.values()):
            raise Lacking("rollback triggers of stacks")

    # --- who acts ---------------------------------------------------------------------------------------------------

    def _credentials(self, role_arn: str | None) -> dict[str, str]:
        if not role_arn:
            return identity.caller_credentials(self.access_key)
        try:
            return identity.service_credentials(role_arn, "cloudformation.amazonaws.com", "AWSCloudFormation")
        except identity.CannotAssume as error:
            raise ValidationError(f"Role {role_arn} is invalid or cannot be assumed") from error

    def _act_as(self, stack: Stack) -> None:
        """A role once given stays with its stack; without one the caller's own credentials are used."""
        role_arn = self._get_param("RoleARN") or stack.role_arn
        stack.credentials, stack.role_arn = self._credentials(role_arn), role_arn

    def _token(self) -> str | None:
        token: str | None = self._get_param("ClientRequestToken")
        return token

    def _repeats(self, stack: Stack, kind: str) -> bool:
        """Whether this is a request that has been carried out: the same token, the same kind of operation.

        Raises TokenAlreadyExists for a token of another operation.
        """
        operation = stack.operation(self._token())
        if operation and operation.type != kind:
            raise TokenAlreadyExists(f"Token {operation.token} has been used for another operation")
        return operation is not None

    def _page(self, items: list[Any], size: int = 100) -> tuple[list[Any], str | None]:
        start = int(self._get_param("NextToken") or 0)
        more = str(start + size) if len(items) > start + size else None
        return items[start : start + size], more
