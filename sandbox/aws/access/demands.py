"""What IAM is asked for each call: the action, the resources by ARN, the condition keys, and what comes along.

A call may need more than its own action: passing a role needs iam:PassRole, tags at creation need AddTags.
Where a call is not described here its resource is "*", which only a statement for all resources allows.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

from moto.awslambda.models import lambda_backends
from moto.ecr.models import ecr_backends
from moto.s3.models import FakeKey, s3_backends
from moto.sagemaker.models import sagemaker_backends
from moto.secretsmanager.models import secretsmanager_backends

from sandbox.aws.access import keys
from sandbox.aws.ground import ACCOUNT, REGION

Parameter = Callable[[str], Any]
"""The value of a request's parameter by its name; None when it was not given."""


class Demand(NamedTuple):
    """One question to IAM."""

    action: str
    resource: str
    context: Mapping[str, Any] = {}


def demands(service: str, operation: str, parameter: Parameter, default_resource: str) -> list[Demand]:
    """Everything that must be allowed for the call to pass. `default_resource` is moto's own idea of the resource."""
    find = _RESOURCES.get(service)
    resources = find(operation, parameter) if find else [default_resource]
    if not resources or resources == ["*"]:  # tags are put on what its ARN names
        arns = (parameter(name) for name in ("ResourceArn", "ResourceARN", "resourceArn", "Resource"))
        resources = [arn for arn in arns if isinstance(arn, str) and arn.startswith("arn:")] or resources
    context = {
        key.lower(): value for key, name in _CONTEXT.get(service, {}).items() if (value := parameter(name)) is not None
    }
    if operation in ("ListModelPackages", "PutMetricAlarm") or operation.startswith("DescribeSc"):
        context = {}  # what it filters by, or watches, is no condition
    if service == "lambda" and "EventSourceMapping" in operation:
        context |= _function_of_mapping(parameter)
    if service == "iam" and operation.startswith(("Attach", "Detach")):
        context["iam:policyarn"] = parameter("PolicyArn")
    if service == "dynamodb" and isinstance(item := parameter("Key") or parameter("Item"), dict):
        # Every table here has one key attribute; the condition key holds its values.
        context["dynamodb:leadingkeys"] = list(item.get("id", {}).values())
    if service == "sagemaker" and isinstance(stage := parameter("ModelLifeCycle"), dict):
        context["sagemaker:modellifecycle:stage"] = stage.get("Stage")
        context["sagemaker:modellifecycle:stagestatus"] = stage.get("StageStatus")
    if (service, operation) == ("s3", "GetObject"):
        context |= _tags_of_object(default_resource)
    if (service, operation) == ("s3", "PutObject") and (condition := parameter("If-None-Match")):
        context["s3:if-none-match"] = condition
    if service == "sagemaker" and operation in ("DeleteModel", "DeleteEndpointConfig"):
        context |= _tags_of_hosting(resources)
    if service == "secretsmanager":
        context |= _tags_of_secret(resources)
    if service == "ecr":
        context |= _tags_of_repository(resources) | _tags_given(parameter("tags"))
    if imported := parameter("ResourcesToImport") if service == "cloudformation" else None:
        context["cloudformation:importresourcetypes"] = [each["ResourceType"] for each in imported]
    result = [Demand(f"{service}:{operation}", resource, context) for resource in resources or [default_resource]]
    for name, receiver in _PASSED_ROLES.get(service, {}).items():
        if role := parameter(name):
            result.append(Demand("iam:PassRole", str(role), {"iam:passedtoservice": receiver}))
    if within := _PASSED_WITHIN.get(service):
        name, member, receiver = within
        if isinstance(holder := parameter(name), dict) and (role := holder.get(member)):
            result.append(Demand("iam:PassRole", str(role), {"iam:passedtoservice": receiver}))
    if (service, operation) == ("cloudformation", "DetectStackDrift"):
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html#drift-considerations
        result += [Demand("cloudformation:DetectStackResourceDrift", each.resource, context) for each in result[:1]]
        result.append(Demand("cloudformation:BatchDescribeTypeConfigurations", "*"))
    result += [Demand(*use) for use in keys.uses(service, operation, parameter, default_resource)]
    tags, tagging = _TAGGED.get(f"{service}:{operation}", ("", ""))
    if service == "sagemaker" and operation.startswith("Create"):
        tags, tagging = "Tags", "sagemaker:AddTags"
    if tags and parameter(tags):
        new_mapping = _arn("lambda", "event-source-mapping:new")
        resource = new_mapping if operation == "CreateEventSourceMapping" else result[0].resource
        result.append(Demand(tagging, resource, _tags_given(parameter(tags))))
    if service == "s3" and operation == "GetObject" and (place := _place_without_object(default_resource)):
        # Who may not list the keys is not told that one is missing, either; listing may be limited to some prefixes.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, https://github.com/ceph/ceph/pull/68577
        result.append(Demand("s3:ListBucket", f"arn:aws:s3:::{place[0]}", {"s3:prefix": place[1]}))
    return result


_PASSED_ROLES = {
    "sagemaker": {"RoleArn": "sagemaker.amazonaws.com", "ExecutionRoleArn": "sagemaker.amazonaws.com"},
    "cloudformation": {"RoleARN": "cloudformation.amazonaws.com"},
    "lambda": {"Role": "lambda.amazonaws.com"},
    "events": {"RoleArn": "events.amazonaws.com"},
    "application-autoscaling": {"RoleARN": "application-autoscaling.amazonaws.com"},
}
_PASSED_WITHIN = {"scheduler": ("Target", "RoleArn", "scheduler.amazonaws.com")}
"""Roles that are passed in a structure: the parameter, its member, who receives the role."""
_TAGGED = {
    "application-autoscaling:RegisterScalableTarget": ("Tags", "application-autoscaling:TagResource"),
    "cloudformation:CreateChangeSet": ("Tags", "cloudformation:TagResource"),
    "cloudformation:CreateStack": ("Tags", "cloudformation:TagResource"),
    "cloudformation:UpdateStack": ("Tags", "cloudformation:TagResource"),
    "dynamodb:CreateTable": ("Tags", "dynamodb:TagResource"),
    "ecr:CreateRepository": ("tags", "ecr:TagResource"),
    "events:PutRule": ("Tags", "events:TagResource"),
    "iam:CreateRole": ("Tags", "iam:TagRole"),
    "lambda:CreateEventSourceMapping": ("Tags", "lambda:TagResource"),
    "lambda:CreateFunction": ("Tags", "lambda:TagResource"),
    "cloudwatch:PutMetricAlarm": ("Tags", "cloudwatch:TagResource"),
    "logs:CreateLogGroup": ("tags", "logs:TagResource"),
    "sns:CreateTopic": ("Tags", "sns:TagResource"),
    "secretsmanager:CreateSecret": ("Tags", "secretsmanager:TagResource"),
    "sqs:CreateQueue": ("tags", "sqs:TagQueue"),
}
"""Calls that tag what they make: the parameter, and the action that tags ask for."""
_CONTEXT = {
    "application-autoscaling": {
        "application-autoscaling:service-namespace": "ServiceNamespace",
        "application-autoscaling:scalable-dimension": "ScalableDimension",
    },
    "sagemaker": {"sagemaker:ModelApprovalStatus": "ModelApprovalStatus"},
    "cloudformation": {"cloudformation:RoleArn": "RoleARN", "cloudformation:TemplateUrl": "TemplateURL"},
    "cloudwatch": {"cloudwatch:namespace": "Namespace"},
    "s3": {"s3:prefix": "prefix"},
    "sns": {"sns:Protocol": "Protocol", "sns:Endpoint": "Endpoint"},
}


def _place_without_object(arn: str) -> tuple[str, str] | None:
    """Bucket and key, when the bucket is there and holds nothing under the key."""
    bucket, _, key = arn.removeprefix("arn:aws:s3:::").partition("/")
    s3_bucket = s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
    return (bucket, key) if s3_bucket and not isinstance(s3_bucket.keys.get(key), FakeKey) else None


def _arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


# --- resources by service -------------------------------------------------------------------------------------------

_SAGEMAKER_NAMES = {
    "ProjectName": "project",
    "PipelineName": "pipeline",
    "ProcessingJobName": "processing-job",
    "TrainingJobName": "training-job",
    "TransformJobName": "transform-job",
    "HyperParameterTuningJobName": "hyper-parameter-tuning-job",
    "ImageName": "image",
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
    "ModelPackageGroupName": "model-package-group",
    "ModelPackageName": "model-package",
    "CodeRepositoryName": "code-repository",
}
_NAMED_ONLY = {("CreateTransformJob", "ModelName")}
"""What a call names and IAM does not ask about."""
_SAGEMAKER_ARNS = ("PipelineExecutionArn", "ModelPackageArn", "ResourceArn")


def _sagemaker(operation: str, parameter: Parameter) -> list[str]:
    """The thing itself first, then what else the call names (an endpoint's config)."""
    if operation == "DescribeImageVersion":
        version = parameter("Version") or parameter("Alias") or "latest"
        return [_arn("sagemaker", f"image-version/{parameter('ImageName')}/{version}".lower())]
    names = sorted(_SAGEMAKER_NAMES, key=lambda name: name != operation.removeprefix("Create") + "Name")
    arns = [
        # SageMaker's ARNs are in lower case whatever the name is.
        value if value.startswith("arn:") else _arn("sagemaker", f"{_SAGEMAKER_NAMES[name]}/{value}".lower())
        for name in names
        if (value := parameter(name)) and (operation, name) not in _NAMED_ONLY
    ]
    arns += [value for name in _SAGEMAKER_ARNS if (value := parameter(name))]
    group = parameter("ModelPackageGroupName")
    if operation == "CreateModelPackage" and group:
        arns.append(_arn("sagemaker", f"model-package/{group.rpartition('/')[2]}/next".lower()))
    if operation == "ListModelPackages":
        return [_arn("sagemaker", f"model-package/{group.rpartition('/')[2]}/any".lower())] if group else []
    if operation == "CreateModel":
        # From a model package: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-deploy.html
        containers = parameter("Containers") or [parameter("PrimaryContainer") or {}]
        arns += [each["ModelPackageName"] for each in containers if "ModelPackageName" in each]
    return arns


class Stack(Protocol):
    """What of a stack tells which one a call is about."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def change_sets(self) -> Container[str]: ...


list_stacks: Callable[[], Iterable[Stack]] = list
"""CloudFormation's stacks, those of today before those that were; set by cloudformation.api, which knows them."""


def _cloudformation(operation: str, parameter: Parameter) -> list[str]:
    name, change_set = parameter("StackName"), parameter("ChangeSetName")
    if operation == "DescribeEvents" and change_set and change_set.startswith("arn:"):
        return [change_set]  # the one action that a change set is a resource of
    for stack in list_stacks():
        if name in (stack.id, stack.name) or change_set in stack.change_sets:
            return [stack.id]
    if name:
        return [name if name.startswith("arn:") else _arn("cloudformation", f"stack/{name}/*")]
    return []


def _secretsmanager(operation: str, parameter: Parameter) -> list[str]:
    name = parameter("SecretId") or parameter("Name")
    if not name or name.startswith("arn:"):
        return [name] if name else []
    for secret in list(secretsmanager_backends[ACCOUNT][REGION].secrets.values()):
        if secret.name == name:
            return [secret.arn]
    return [_arn("secretsmanager", f"secret:{name}-??????")]


def _tags_of_hosting(arns: list[str]) -> dict[str, Any]:
    """The tags of a model or an endpoint configuration, by which a role may be limited to those of one stage."""
    backend = sagemaker_backends[ACCOUNT][REGION]
    names = {arn.rpartition("/")[2] for arn in arns}  # in lower case, as SageMaker writes ARNs
    present = {**backend.endpoint_configs, **backend._models}
    tags = [tag for name, each in present.items() if name.lower() in names for tag in each.tags or []]
    return {f"{prefix}/{tag['Key']}".lower(): tag["Value"] for tag in tags for prefix in _TAG_KEYS}


_TAG_KEYS = ("aws:resourcetag", "sagemaker:resourcetag")


def _tags_of_secret(arns: list[str]) -> dict[str, Any]:
    """A secret that does not exist has no tags: who may read tagged ones only is not told that it is missing."""
    secrets = list(secretsmanager_backends[ACCOUNT][REGION].secrets.values())
    tags = [tag for secret in secrets if secret.arn in arns for tag in secret.tags or []]
    prefixes = ("secretsmanager:resourcetag", "aws:resourcetag")
    return {f"{prefix}/{tag['Key']}".lower(): tag["Value"] for tag in tags for prefix in prefixes}


def _tags_of_repository(arns: list[str]) -> dict[str, Any]:
    tagger = ecr_backends[ACCOUNT][REGION].tagger
    held = {key: value for arn in arns for key, value in tagger.get_tag_dict_for_resource(arn).items()}
    return {f"aws:resourcetag/{key}".lower(): value for key, value in held.items()}


def _tags_given(tags: Any) -> dict[str, Any]:
    """The tags that a call sets, where it says them as a list."""
    rows = tags if isinstance(tags, list) else []
    return {f"aws:requesttag/{row['Key']}".lower(): row["Value"] for row in rows if "Key" in row}


def _logs(operation: str, parameter: Parameter) -> list[str]:
    if operation in ("DescribeLogGroups", "DescribeIndexPolicies"):
        return []  # they have no resource type
    group = parameter("logGroupName") or parameter("logGroupNamePrefix")
    return [_arn("logs", f"log-group:{group}:log-stream:{parameter('logStreamName') or ''}")] if group else []


def _lambda(operation: str, parameter: Parameter) -> list[str]:
    if "EventSourceMapping" in operation:
        uuid = parameter("UUID")
        return [_arn("lambda", f"event-source-mapping:{uuid}")] if uuid else []  # its creation has no resource
    name = parameter("FunctionName")
    return [name if name.startswith("arn:") else _arn("lambda", f"function:{name}")] if name else []


def _function_of_mapping(parameter: Parameter) -> dict[str, Any]:
    mapping = lambda_backends[ACCOUNT][REGION].get_event_source_mapping(parameter("UUID") or "")
    name = mapping.function_arn if mapping else parameter("FunctionName")
    if not name:
        return {}
    return {"lambda:functionarn": name if name.startswith("arn:") else _arn("lambda", f"function:{name}")}


def _tags_of_object(arn: str) -> dict[str, Any]:
    bucket, _, key = arn.removeprefix("arn:aws:s3:::").partition("/")
    backend = s3_backends[ACCOUNT]["aws"]
    s3_object = backend.get_object(bucket, unquote(key)) if bucket in backend.buckets else None
    tags = backend.tagger.get_tag_dict_for_resource(s3_object.arn) if s3_object else {}
    return {f"s3:existingobjecttag/{name}".lower(): value for name, value in tags.items()}


def _named(service: str, name: str, prefix: str) -> Callable[[str, Parameter], list[str]]:
    def find(operation: str, parameter: Parameter) -> list[str]:
        value = parameter(name)
        return [value if str(value).startswith("arn:") else _arn(service, prefix + str(value))] if value else []

    return find


def _events(operation: str, parameter: Parameter) -> list[str]:
    if operation == "PutEvents":
        buses = {entry.get("EventBusName") or "default" for entry in parameter("Entries") or []}
        return [_arn("events", f"event-bus/{bus.rpartition('/')[2]}") for bus in sorted(buses)]
    if "EventBus" in operation:
        return [_arn("events", f"event-bus/{parameter('Name') or 'default'}")]
    rule = parameter("Rule") or parameter("Name")
    return [_arn("events", f"rule/{rule}")] if rule and operation != "ListRules" else []


def _cloudwatch(operation: str, parameter: Parameter) -> list[str]:
    names = parameter("AlarmNames") or [parameter("AlarmName") or ("*" if operation == "DescribeAlarms" else None)]
    return [_arn("cloudwatch", f"alarm:{name}") for name in names if name]


def _iam(operation: str, parameter: Parameter) -> list[str]:
    for kind in ("Role", "User", "Group"):
        if name := parameter(f"{kind}Name"):
            return [f"arn:aws:iam::{ACCOUNT}:{kind.lower()}/{name}"]
    if arn := parameter("PolicyArn") or parameter("OpenIDConnectProviderArn"):
        return [arn]
    if operation == "CreateOpenIDConnectProvider":
        return [f"arn:aws:iam::{ACCOUNT}:oidc-provider/{str(parameter('Url')).partition('://')[2].rstrip('/')}"]
    return [f"arn:aws:iam::{ACCOUNT}:policy/{parameter('PolicyName')}"] if operation == "CreatePolicy" else []


def _sns(operation: str, parameter: Parameter) -> list[str]:
    arn = parameter("TopicArn") or parameter("ResourceArn")
    return [arn or _arn("sns", str(parameter("Name")))] if arn or parameter("Name") else []


def _scheduler(operation: str, parameter: Parameter) -> list[str]:
    name = parameter("Name")
    if "ScheduleGroup" in operation:
        return [_arn("scheduler", f"schedule-group/{name}")] if name else []
    return [_arn("scheduler", f"schedule/{parameter('GroupName') or 'default'}/{name}")] if name else []


def _autoscaling(operation: str, parameter: Parameter) -> list[str]:
    if operation.startswith("Describe"):
        return []
    # A target's id is random, and one that is new has none.
    return [parameter("ResourceARN") or _arn("application-autoscaling", "scalable-target/any")]


def _ecr(operation: str, parameter: Parameter) -> list[str]:
    names = parameter("repositoryNames") or [parameter("repositoryName")]
    return [_arn("ecr", f"repository/{name}") for name in names if name]


def _ssm(operation: str, parameter: Parameter) -> list[str]:
    names = parameter("Names") or [parameter("Name") or parameter("Path")]
    return [_arn("ssm", f"parameter/{name.removeprefix('/')}") for name in names if name]


def _sts(operation: str, parameter: Parameter) -> list[str]:
    return [parameter("RoleArn")] if parameter("RoleArn") else []


def _sqs(operation: str, parameter: Parameter) -> list[str]:
    name = parameter("QueueName") or str(parameter("QueueUrl") or "").rpartition("/")[2]
    return [_arn("sqs", name)] if name else []


_RESOURCES: dict[str, Callable[[str, Parameter], list[str]]] = {
    "sagemaker": _sagemaker,
    "cloudformation": _cloudformation,
    "secretsmanager": _secretsmanager,
    "logs": _logs,
    "lambda": _lambda,
    "iam": _iam,
    "ecr": _ecr,
    "ssm": _ssm,
    "sns": _sns,
    "scheduler": _scheduler,
    "application-autoscaling": _autoscaling,
    "sqs": _sqs,
    "sts": _sts,
    "dynamodb": _named("dynamodb", "TableName", "table/"),
    "kms": _named("kms", "KeyId", "key/"),
    "events": _events,
    "cloudwatch": _cloudwatch,
}
