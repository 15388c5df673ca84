"""Application Auto Scaling of endpoints' variants: targets and policies, checked, with the alarms of target tracking.

Nothing scales by itself here: a test, or a person, sets a count by UpdateEndpointWeightsAndCapacities, as the service
would. https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling.html
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import sagemaker_backends

from sandbox.aws.access import identity
from sandbox.aws.ground import ACCOUNT, REGION, ROOT_KEYS
from sandbox.aws.lacking import Lacking
from sandbox.aws.sagemaker import endpoints
from sandbox.aws.sagemaker.endpoint_record import Endpoint

_VARIANT = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
COUNT, CONCURRENCY = "sagemaker:variant:DesiredInstanceCount", "sagemaker:variant:DesiredProvisionedConcurrency"
_METRICS = {
    COUNT: {"SageMakerVariantInvocationsPerInstance", "SageMakerVariantConcurrentRequestsPerModelHighResolution"},
    CONCURRENCY: {"SageMakerVariantProvisionedConcurrencyUtilization"},
}
"""What target tracking may follow, by dimension."""
_ROLE = (
    f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
_KEY = ("ServiceNamespace", "ResourceId", "ScalableDimension")
_CONFIGURATIONS = {
    "StepScaling": "StepScalingPolicyConfiguration",
    "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
}
_lock = threading.RLock()
_targets: dict[tuple[str, ...], dict[str, Any]] = {}
_policies: dict[tuple[str, ...], dict[str, Any]] = {}
_tags: dict[str, dict[str, str]] = {}


class Invalid(ServiceException):
    code = "ValidationException"


class NotFound(ServiceException):
    code = "ObjectNotFoundException"


def install() -> None:
    """Put this module's functions in place of moto's."""
    responses: Any = ApplicationAutoScalingResponse
    for operation in (
        _register_scalable_target,
        _deregister_scalable_target,
        _describe_scalable_targets,
        _put_scaling_policy,
        _delete_scaling_policy,
        _describe_scaling_policies,
        _put_scheduled_action,
        _list_tags_for_resource,
        _tag_resource,
        _untag_resource,
    ):
        setattr(responses, operation.__name__[1:], operation)
    endpoints.may_update.append(_refuse_other_instance_type)
    endpoints.when_removed.append(_forget)


def _request(response: Any) -> dict[str, Any]:
    request: dict[str, Any] = json.loads(response.body)
    if request.get("ServiceNamespace", "sagemaker") != "sagemaker":
        raise Lacking(f"Application Auto Scaling of {request['ServiceNamespace']}")
    return request


def _key(request: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(request[name] for name in _KEY)


def _spelled(request: Mapping[str, Any]) -> str:
    return (
        f"service namespace: {request['ServiceNamespace']}, resource ID: {request['ResourceId']}, scalable dimension: "
        f"{request['ScalableDimension']}"
    )


# --- targets --------------------------------------------------------------------------------------------------------


def _register_scalable_target(self: Any) -> ActionResult:
    request = _request(self)
    with _lock:
        existing = _targets.get(_key(request))
        target = {**(existing or {"CreationTime": utcnow(), "RoleARN": _ROLE}), **request}
        tags, target["RoleARN"] = (
            target.pop("Tags", {}),
            _ROLE,
        )  # SageMaker's variants have a role linked to the service
        _check_target(target)
        target.setdefault("ScalableTargetARN", _arn(f"scalable-target/{uuid.uuid4().hex}"))
        none: dict[str, bool] = {
            f"{each}Suspended": False for each in ("DynamicScalingIn", "DynamicScalingOut", "ScheduledScaling")
        }
        target["SuspendedState"] = none | target.get("SuspendedState", {})
        _targets[_key(request)] = target
        _tags.setdefault(target["ScalableTargetARN"], {}).update(tags)
    return ActionResult({"ScalableTargetARN": target["ScalableTargetARN"]})


def _check_target(target: Mapping[str, Any]) -> None:
    match, dimension = _VARIANT.fullmatch(target["ResourceId"]), target["ScalableDimension"]
    if dimension == "sagemaker:inference-component:DesiredCopyCount":
        raise Lacking("Application Auto Scaling of inference components")
    if match is None or dimension not in _METRICS:
        raise Invalid("Unsupported service namespace, resource type or scalable dimension")
    endpoint, variant = _variant(*match.groups())
    if variant is None or endpoint is None:
        raise Invalid(f"SageMaker endpoint or production variant doesn't exist: {target['ResourceId']}")
    low, high = target.get("MinCapacity"), target.get("MaxCapacity")
    if low is None or high is None:
        raise Invalid("MinCapacity and MaxCapacity are required to register a new scalable target.")
    if high < low:
        raise Invalid("Maximum capacity cannot be less than minimum capacity.")
    may_be_none = dimension == COUNT and bool(endpoint.config.get("AsyncInferenceConfig"))
    if low < (0 if may_be_none else 1):
        raise Invalid(
            f"MinCapacity of {target['ResourceId']} must be at least {0 if may_be_none else 1}: only variants of "
            "asynchronous endpoints can be scaled to zero instances."
        )
    serverless = variant.get("CurrentServerlessConfig")
    if (dimension == COUNT) != (serverless is None):
        raise Invalid(f"{dimension} does not apply to {target['ResourceId']}.")
    if serverless is not None and "ProvisionedConcurrency" not in serverless:
        raise Invalid(f"{target['ResourceId']} has no provisioned concurrency, which alone can be scaled.")


def _variant(endpoint_name: str, variant_name: str) -> tuple[Endpoint | None, dict[str, Any] | None]:
    endpoint = sagemaker_backends[ACCOUNT][REGION].endpoints.get(endpoint_name)
    if not isinstance(endpoint, Endpoint):
        return None, None
    matching = (each for each in endpoint.production_variants if each["VariantName"] == variant_name)
    return endpoint, next(matching, None)


def _deregister_scalable_target(self: Any) -> ActionResult:
    request = _request(self)
    with _lock:
        if _key(request) not in _targets:
            raise NotFound(f"No scalable target found for {_spelled(request)}")
        _drop(_key(request))
    return ActionResult({})


def _drop(key: tuple[str, ...]) -> None:
    """A target goes with its policies, and their alarms."""
    for policy_key in [each for each in _policies if each[: len(key)] == key]:
        _delete_alarms(_policies.pop(policy_key))
    _tags.pop(_targets.pop(key)["ScalableTargetARN"], None)


def _describe_scalable_targets(self: Any) -> ActionResult:
    request = _request(self)
    resource_ids = request.get("ResourceIds")
    targets = [
        each
        for each in _targets.values()
        if (not resource_ids or each["ResourceId"] in resource_ids)
        and request.get("ScalableDimension") in (None, each["ScalableDimension"])
    ]
    return ActionResult(_page(request, "ScalableTargets", targets))


def _page(request: Mapping[str, Any], name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    start = int(request.get("NextToken", 0))
    end = start + request.get("MaxResults", 50)
    return {name: items[start:end]} | ({"NextToken": str(end)} if end < len(items) else {})


# --- policies -------------------------------------------------------------------------------------------------------


def _put_scaling_policy(self: Any) -> ActionResult:
    request = _request(self)
    with _lock:
        if _key(request) not in _targets:
            raise NotFound(f"No scalable target registered for {_spelled(request)}")
        key = (*_key(request), request["PolicyName"])
        existing = _policies.get(key, {})
        policy = {"PolicyType": "StepScaling"} | existing | request
        _check_policy(policy)
        if existing:
            _delete_alarms(existing)
        resource = f"scalingPolicy:{uuid.uuid4()}:resource/sagemaker/{request['ResourceId']}"
        policy.setdefault("PolicyARN", f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:{resource}:policyName/{key[-1]}")
        policy.setdefault("CreationTime", utcnow())
        policy["Alarms"] = list(_made_alarms(policy))
        _policies[key] = policy
    return ActionResult({"PolicyARN": policy["PolicyARN"], "Alarms": policy["Alarms"]})


def _check_policy(policy: Mapping[str, Any]) -> None:
    kind = policy["PolicyType"]
    if kind not in _CONFIGURATIONS:
        raise Lacking(f"{kind} of Application Auto Scaling")
    if [each for each in _CONFIGURATIONS.values() if each in policy] != [_CONFIGURATIONS[kind]]:
        raise Invalid(f"A {kind} policy must have a {_CONFIGURATIONS[kind]}, and no other.")
    if kind != "TargetTrackingScaling":
        return
    tracking = policy[_CONFIGURATIONS[kind]]
    predefined, customized = (tracking.get(f"{each}MetricSpecification") for each in ("Predefined", "Customized"))
    if bool(predefined) == bool(customized):
        raise Invalid("Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be given.")
    if predefined and predefined["PredefinedMetricType"] not in _METRICS[policy["ScalableDimension"]]:
        raise Invalid(
            f"PredefinedMetricType {predefined['PredefinedMetricType']} does not apply to "
            f"{policy['ScalableDimension']}."
        )


def _made_alarms(policy: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The two alarms by which target tracking scales out and in; they watch, and nobody feeds their metric."""
    tracking = policy.get("TargetTrackingScalingPolicyConfiguration")
    if tracking is None:
        return
    cloudwatch = identity.client("cloudwatch", ROOT_KEYS)
    predefined = tracking.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType", "")
    customized = tracking.get("CustomizedMetricSpecification", {})
    match = _VARIANT.fullmatch(policy["ResourceId"])
    dimensions = zip(("EndpointName", "VariantName"), match.groups() if match else (), strict=False)
    for side, comparison, periods in (("High", "GreaterThanThreshold", 3), ("Low", "LessThanThreshold", 15)):
        name = f"TargetTracking-{policy['ResourceId']}-Alarm{side}-{uuid.uuid4()}"
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace=customized.get("Namespace", "AWS/SageMaker"),
            MetricName=customized.get("MetricName") or predefined.removeprefix("SageMakerVariant"),
            Dimensions=customized.get("Dimensions") or [{"Name": key, "Value": value} for key, value in dimensions],
            Statistic=customized.get("Statistic", "Sum"),
            ComparisonOperator=comparison,
            EvaluationPeriods=periods,
            Period=60,
            Threshold=tracking["TargetValue"] * (1 if side == "High" else 0.9),
            AlarmDescription=f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}.",
            AlarmActions=[policy["PolicyARN"]],
        )
        yield {"AlarmName": name, "AlarmARN": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"}


def _delete_alarms(policy: Mapping[str, Any]) -> None:
    if alarms := [each["AlarmName"] for each in policy["Alarms"]]:
        identity.client("cloudwatch", ROOT_KEYS).delete_alarms(AlarmNames=alarms)


def _delete_scaling_policy(self: Any) -> ActionResult:
    request = _request(self)
    with _lock:
        policy = _policies.pop((*_key(request), request["PolicyName"]), None)
        if policy is None:
            raise NotFound(f"No scaling policy found for {_spelled(request)}, policy name: {request['PolicyName']}")
        _delete_alarms(policy)
    return ActionResult({})


def _describe_scaling_policies(self: Any) -> ActionResult:
    request = _request(self)
    names = request.get("PolicyNames")
    policies = [
        each
        for each in _policies.values()
        if (not names or each["PolicyName"] in names)
        and all(request.get(name) in (None, each[name]) for name in ("ResourceId", "ScalableDimension"))
    ]
    return ActionResult(_page(request, "ScalingPolicies", policies))


def _put_scheduled_action(self: Any) -> ActionResult:
    raise Lacking("scheduled actions of Application Auto Scaling")


# --- tags -----------------------------------------------------------------------------------------------------------


def _arn(rest: str) -> str:
    return f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:{rest}"


def _tagged(response: Any) -> tuple[dict[str, str], dict[str, Any]]:
    request = json.loads(response.body)
    if request["ResourceARN"] not in _tags:
        raise ServiceException("ResourceNotFoundException", f"{request['ResourceARN']} could not be found.")
    return _tags[request["ResourceARN"]], request


def _list_tags_for_resource(self: Any) -> ActionResult:
    return ActionResult({"Tags": _tagged(self)[0]})


def _tag_resource(self: Any) -> ActionResult:
    tags, request = _tagged(self)
    tags.update(request["Tags"])
    return ActionResult({})


def _untag_resource(self: Any) -> ActionResult:
    tags, request = _tagged(self)
    for key in request["TagKeys"]:
        tags.pop(key, None)
    return ActionResult({})


# --- what endpoints ask ---------------------------------------------------------------------------------------------


def _targets_of(endpoint: Endpoint) -> dict[str, tuple[str, ...]]:
    """Its variants that are registered, with their key."""
    matches = ((_VARIANT.fullmatch(key[1]), key) for key in list(_targets))
    return {match[2]: key for match, key in matches if match and match[1] == endpoint.endpoint_name}


def _refuse_other_instance_type(endpoint: Endpoint, config: Mapping[str, Any]) -> None:
    """An update that takes a registered variant away, or gives it other instances.

    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
    """
    registered = set(_targets_of(endpoint))
    before, after = (
        {each["VariantName"]: _instances(each) for each in each_config["ProductionVariants"]}
        for each_config in (endpoint.config, config)
    )
    if names := sorted(name for name in registered if before.get(name) != after.get(name)):
        raise ValidationError(
            f'The variant(s) "[{", ".join(names)}]" must be deregistered as scalable target with AWS Auto Scaling '
            "before they can be removed or have their instance type updated."
        )


def _instances(variant: Mapping[str, Any]) -> Any:
    pools = [(pool["InstanceType"], pool["Priority"]) for pool in variant.get("InstancePools", [])]
    return variant.get("InstanceType"), pools, "ServerlessConfig" in variant


def _forget(endpoint: Endpoint) -> None:
    """An endpoint that is deleted takes its targets along.

    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-delete-with-scaling.html
    """
    with _lock:
        for key in _targets_of(endpoint).values():
            _drop(key)
