"""Service Quotas of SageMaker, which moto lacks: the account is a new one until somebody asks for more.

Jobs and endpoints are held to them where HELD says so; else whoever looks sees what a new account would tell. The codes
are made up, and a request for more is granted at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import wraps
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.utils import get_service_model
from moto.sagemaker.exceptions import SagemakerClientError
from moto.sagemaker.models import SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse
from moto.servicequotas.responses import ServiceQuotasResponse

from sandbox.aws.ground import ACCOUNT, HELD, REGION
from sandbox.aws.sagemaker import jobs

# What several people measured in new accounts in 2026; everything else is 0.
_NEW_ACCOUNT = {
    "ml.t3.medium for processing job usage": 4,
    "ml.t3.large for processing job usage": 4,
    "ml.t3.xlarge for processing job usage": 2,
    "ml.t2.medium for endpoint usage": 2,
    "ml.m6g.large for endpoint usage": 2,
    "ml.m6g.xlarge for endpoint usage": 1,
}
_USAGES = {
    "ProcessingInstanceType": "processing job",
    "TrainingInstanceType": "training job",
    "TransformInstanceType": "transform job",
    "ProductionVariantInstanceType": "endpoint",
}
_granted: dict[str, float] = {}
_sizes: dict[str, Counter[str]] = {}  # of endpoint configs that were asked for, which may be deleted under an endpoint


def install() -> None:
    ServiceQuotasResponse.list_service_quotas = list_service_quotas
    ServiceQuotasResponse.request_service_quota_increase = request_service_quota_increase
    if os.environ.get(HELD):
        _hold()


def names() -> list[str]:
    """The quotas of every instance type that SageMaker's API knows."""
    model = get_service_model("sagemaker")
    return sorted(
        f"{instance} for {usage} usage" for shape, usage in _USAGES.items() for instance in model.shape_for(shape).enum
    )


def code(name: str) -> str:
    return f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"


def _quota(name: str) -> dict[str, Any]:
    return {
        "ServiceCode": "sagemaker",
        "ServiceName": "Amazon SageMaker",
        "QuotaArn": f"arn:aws:servicequotas:{REGION}:{ACCOUNT}:sagemaker/{code(name)}",
        "QuotaCode": code(name),
        "QuotaName": name,
        "Value": float(_granted.get(name, _NEW_ACCOUNT.get(name, 0))),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


def list_service_quotas(self: Any) -> str:
    request = json.loads(self.body)
    _require_sagemaker(request)
    start, size = int(request.get("NextToken") or 0), int(request.get("MaxResults") or 100)
    everything = names()
    answer: dict[str, Any] = {"Quotas": [_quota(name) for name in everything[start : start + size]]}
    if start + size < len(everything):
        answer["NextToken"] = str(start + size)
    return json.dumps(answer)


def request_service_quota_increase(self: Any) -> str:
    request = json.loads(self.body)
    _require_sagemaker(request)
    name = next((each for each in names() if code(each) == request["QuotaCode"]), None)
    if name is None:
        raise JsonRESTError("NoSuchResourceException", "The request failed because the quota does not exist.")
    _granted[name] = request["DesiredValue"]
    quota = {key: value for key, value in _quota(name).items() if key not in ("Value", "Adjustable")}
    return json.dumps({"RequestedQuota": quota | {"DesiredValue": request["DesiredValue"], "Status": "APPROVED"}})


def _require_sagemaker(request: dict[str, Any]) -> None:
    if request.get("ServiceCode") != "sagemaker":
        raise JsonRESTError("NoSuchResourceException", "The sandbox does not have quotas of other services.")


# --- held to it ----------------------------------------------------------------------------------------------------


class ResourceLimitExceeded(SagemakerClientError):
    code = "ResourceLimitExceeded"


def require(usage: str, requested: Mapping[str, int], used: Mapping[str, int]) -> None:
    """Refuse instances beyond the quota, in the service's words.

    `requested` and `used` are numbers of instances by type: https://docs.aws.amazon.com/general/latest/gr/sagemaker.html.
    """
    for instance, number in requested.items():
        quota = f"{instance} for {usage} usage"
        value = _granted.get(quota, _NEW_ACCOUNT.get(quota, 0))
        if used.get(instance, 0) + number > value:
            raise ResourceLimitExceeded(
                f"The account-level service limit '{quota}' is {value:g} Instances, with current utilization of "
                f"{used.get(instance, 0)} Instances and a request delta of {number} Instances. Please use AWS Service "
                "Quotas to request an increase for this quota. If AWS Service Quotas is not available, contact AWS "
                "support to request an increase for this quota."
            )


def _instances(resources: Iterable[Mapping[str, Any]], count: str) -> Counter[str]:
    numbers: Counter[str] = Counter()
    for each in resources:
        if each.get("InstanceType"):  # a serverless variant has none
            numbers[each["InstanceType"]] += int(each.get(count) or 1)
    return numbers


def _hold() -> None:
    """Put the check before what takes instances: jobs of each kind, and endpoints when they are made or updated."""
    job: Any = jobs.Job
    job.check = _checked(job.check)
    backend: Any = SageMakerModelBackend
    backend.create_endpoint = _before_creating(backend.create_endpoint)
    responses: Any = SageMakerResponse
    responses.update_endpoint = _before_updating(responses.update_endpoint)


def _of_job(job: jobs.Job) -> Counter[str]:
    resources = [
        (job.request.get("ProcessingResources") or {}).get("ClusterConfig"),
        job.request.get("ResourceConfig"),
        job.request.get("TransformResources"),
    ]
    return _instances([each for each in resources if each], "InstanceCount")


def _checked(check: Any) -> Any:
    @wraps(check)
    def checking(self: jobs.Job) -> None:
        check(self)
        running = [each for each in jobs.running() if each.kind == self.kind]
        require(f"{self.kind.lower()} job", _of_job(self), sum(map(_of_job, running), Counter()))

    return checking


def _require_room(backend: Any, config: str) -> None:
    """An update starts its instances before the old ones end, so what serves counts beside it."""
    _sizes[config] = _instances(backend.describe_endpoint_config(config)["ProductionVariants"], "InitialInstanceCount")
    used: Counter[str] = Counter()
    for endpoint in backend.endpoints.values():
        if endpoint.endpoint_status != "Failed":
            used += _sizes.get(endpoint.endpoint_config_name, Counter())
            used += _sizes.get((endpoint.pending or {}).get("EndpointConfigName", ""), Counter())
    require("endpoint", _sizes[config], used)


def _before_creating(create: Any) -> Any:
    @wraps(create)
    def create_endpoint(self: Any, endpoint_name: str, endpoint_config_name: str, tags: Any) -> Any:
        _require_room(self, endpoint_config_name)
        return create(self, endpoint_name, endpoint_config_name, tags)

    return create_endpoint


def _before_updating(update: Any) -> Any:
    @wraps(update)
    def update_endpoint(self: Any) -> Any:
        _require_room(self.sagemaker_backend, self._get_param("EndpointConfigName"))
        return update(self)

    return update_endpoint
