"""Service Quotas of SageMaker, which moto lacks: the account is a new one until somebody asks for more.

Nothing here is held to its quota: whoever looks sees what a new account would tell. The codes are made up, and a
request for more is granted at once.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import botocore.session
from moto.core.exceptions import JsonRESTError
from moto.servicequotas.responses import ServiceQuotasResponse

from sandbox.aws.ground import ACCOUNT, REGION

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


def install() -> None:
    ServiceQuotasResponse.list_service_quotas = list_service_quotas
    ServiceQuotasResponse.request_service_quota_increase = request_service_quota_increase


def names() -> list[str]:
    """The quotas of every instance type that SageMaker's API knows."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    return sorted(
        f"{instance} for {usage} usage"
        for shape, usage in _USAGES.items()
        for instance in model.shape_for(shape).enum  # type: ignore[attr-defined]
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
