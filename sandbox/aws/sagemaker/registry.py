"""The model registry as SageMaker has it: updates that merge, refusals in its words, and an event for every change.

moto keeps groups and packages and lists them; `install()` replaces creation and update, which moto gets wrong, and
adds the deletion of a group.
"""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.events.models import events_backends
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import ModelPackage, ModelPackageGroup, SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse
from moto.sts.models import AssumedRole

from sandbox.aws.access import identity
from sandbox.aws.ground import ACCOUNT, state
from sandbox.aws.lacking import Lacking

COPIES = 3
"""Events sent for one change: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
says that more than one is normal."""

_DETAIL = (
    "ModelPackageName ModelPackageGroupName ModelPackageVersion ModelPackageArn ModelPackageDescription CreationTime "
    "InferenceSpecification ModelPackageStatus ModelPackageStatusDetails CertifyForMarketplace ModelApprovalStatus "
    "ApprovalDescription MetadataProperties ModelMetrics CustomerMetadataProperties ModelLifeCycle SourceUri "
    "LastModifiedTime"
).split()
_EXTRA_FIELDS = {"ModelLifeCycle": "ModelLifeCycle", "SourceUri": "sourceUri", "ModelCard": "ModelCard"}
"""What moto drops of a request, by the name that an event has for its update."""
_REFUSED = ("ManagedStorageType", "ModelPackageRegistrationType", "SecurityConfig")
_extra_fields: ContextVar[dict[str, Any]] = ContextVar("_extra_fields")
_caller: ContextVar[dict[str, Any]] = ContextVar("_caller")
_MOST_PROPERTIES = 50
_KEY, _VALUE = re.compile(r"[\w\s.:/=+@-]{1,128}"), re.compile(r"[\w\s.:/=+@-]{1,256}")
_CARD = {
    *("model_overview", "intended_uses", "business_details", "training_details", "evaluation_details"),
    "additional_information",
}
_lock = threading.Lock()  # two packages must not get one version or one creation time


def install() -> None:
    """Put this module's functions in place of moto's."""
    backend: Any = SageMakerModelBackend
    backend.create_model_package_group = _refusing_a_second(backend.create_model_package_group)
    backend.create_model_package = _announced(backend.create_model_package)
    backend.describe_model_package = _find
    backend.update_model_package = _update
    responses: Any = SageMakerResponse
    responses.create_model_package = _keeping(responses.create_model_package, *_REFUSED)
    responses.update_model_package = _keeping(responses.update_model_package, *_REFUSED, "InferenceSpecification")
    responses.delete_model_package = _delete
    responses.delete_model_package_group = _delete_group
    describe = ModelPackage.gen_response_object
    package: Any = ModelPackage
    package.gen_response_object = lambda self: describe(self) | getattr(self, "extra_fields", {})
    describe_group = ModelPackageGroup.gen_response_object
    group: Any = ModelPackageGroup
    group.gen_response_object = lambda self: describe_group(self) | {"CreatedBy": {}}  # nobody of Studio


def _identity(access_key: str) -> dict[str, Any]:
    """UserContext of a caller: by its IAM identity, for nobody comes from a Studio domain.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_IamIdentity.html
    """
    holder = identity.holder(access_key)
    if holder is None:
        return {"IamIdentity": {"Arn": f"arn:aws:iam::{ACCOUNT}:root", "PrincipalId": ACCOUNT}}
    principal = holder.user_id if isinstance(holder, AssumedRole) else holder.id
    return {"IamIdentity": {"Arn": holder.arn, "PrincipalId": principal}}


def _keeping(method: Callable[..., ActionResult], *refused: str) -> Callable[..., ActionResult]:
    """Hand on to the backend what moto drops of a request, and refuse what the sandbox would drop."""

    @wraps(method)
    def keeping(self: SageMakerResponse) -> ActionResult:
        for name in refused:
            if self._get_param(name) is not None:
                raise Lacking(f"{name} of model packages")
        if card := self._get_param("ModelCard"):
            _check_card(str(card.get("ModelCardContent", "{}")))
        _caller.set(_identity(self.get_access_key()))
        _extra_fields.set({name: self._get_param(name) for name in _EXTRA_FIELDS if self._get_param(name) is not None})
        return method(self)

    return keeping


def _refusing_a_second(create: Callable[..., str]) -> Callable[..., str]:
    @wraps(create)
    def create_model_package_group(self: SageMakerModelBackend, model_package_group_name: str, **settings: Any) -> str:
        if existing := self.model_package_groups.get(model_package_group_name):
            raise ValidationError(f"Model Package Group already exists: {existing.arn}")
        return create(self, model_package_group_name=model_package_group_name, **settings)

    return create_model_package_group


def _announced(create: Callable[..., str]) -> Callable[..., str]:
    @wraps(create)
    def create_model_package(
        self: SageMakerModelBackend,
        model_package_group_name: str | None,
        model_approval_status: str | None,
        customer_metadata_properties: dict[str, str] | None,
        **settings: Any,
    ) -> str:
        _check_properties(customer_metadata_properties or {})
        # The ARN of a group is as good as its name.
        group = model_package_group_name and model_package_group_name.split("/")[-1]
        if group:
            _require_group(self, group)
            model_approval_status = model_approval_status or "PendingManualApproval"
        with _lock:
            newest = max((each.creation_time for each in self.model_packages.values()), default=None)
            arn = create(
                self,
                model_package_group_name=group,
                model_approval_status=model_approval_status,
                customer_metadata_properties=customer_metadata_properties,
                **settings,
            )
            package: Any = self.model_packages[arn]
            package.extra_fields = _extra_fields.get({})
            package.created_by = _caller.get({})  # in place of a person whom moto makes up
            # Nothing is validated or scanned unless it goes to AWS Marketplace: the lists are empty.
            package.model_package_status_details = {"ValidationStatuses": [], "ImageScanStatuses": []}
            if newest:  # the wire has milliseconds; sorting by time must tell any two packages apart
                package.creation_time = max(package.creation_time, newest + timedelta(milliseconds=1))
        _send(self, package, [])
        return arn

    return create_model_package


def _delete(self: SageMakerResponse) -> EmptyResult:
    backend = self.sagemaker_backend
    package = _find(backend, self._get_param("ModelPackageName"))
    del backend.model_packages[package.arn]
    return EmptyResult()


def _delete_group(self: SageMakerResponse) -> EmptyResult:
    backend, name = self.sagemaker_backend, self._get_param("ModelPackageGroupName")
    group = _require_group(backend, name)
    if any(package.model_package_group_name == name for package in backend.model_packages.values()):
        raise ValidationError(f"Model Package Group {group.arn} cannot be deleted: it has model packages.")
    del backend.model_package_groups[name]
    return EmptyResult()


def _require_group(backend: SageMakerModelBackend, name: str) -> ModelPackageGroup:
    return backend.describe_model_package_group(name)  # raises the service's own refusal


def _find(self: SageMakerModelBackend, model_package_name: str) -> ModelPackage:
    package = self.model_packages.get(self.model_package_name_mapping.get(model_package_name, model_package_name))
    if package is None:
        raise ValidationError(f"ModelPackage {model_package_name} does not exist.")
    return package


def _update(
    self: SageMakerModelBackend,
    model_package_arn: str,
    model_approval_status: str | None,
    approval_description: str | None,
    customer_metadata_properties: dict[str, str] | None,
    customer_metadata_properties_to_remove: list[str],
    additional_inference_specifications_to_add: list[Any] | None,
) -> str:
    with _lock:
        package: Any = _find(self, model_package_arn)
        remaining = {
            key: value
            for key, value in (package.customer_metadata_properties or {}).items()
            if key not in customer_metadata_properties_to_remove
        }
        properties = remaining | (customer_metadata_properties or {})
        _check_properties(properties)
        # Approved on an Approved package names the field too: nothing says that the service compares.
        updated = []
        if model_approval_status is not None:
            package.set_model_approval_status(model_approval_status)
            updated.append("ModelApprovalStatus")
        if approval_description is not None:
            package.approval_description = approval_description
            updated.append("ApprovalDescription")
        if customer_metadata_properties or customer_metadata_properties_to_remove:
            package.customer_metadata_properties = properties
            updated.append("CustomerMetadataProperties")
        if additional_inference_specifications_to_add:
            package.add_additional_inference_specifications(additional_inference_specifications_to_add)
            updated.append("AdditionalInferenceSpecifications")
        more = _extra_fields.get({})
        package.extra_fields = getattr(package, "extra_fields", {}) | more
        updated += [_EXTRA_FIELDS[name] for name in more]
        package.modifications_done()
        package.last_modified_by = _caller.get({})
    _send(self, package, updated)
    arn: str = package.arn
    return arn


def _check_card(content: str) -> None:
    """A card follows the schema of cards of model packages; its top level is looked at here.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-details.html#model-card-schema
    """
    try:
        card = json.loads(content)
        unknown = sorted(set(card) - _CARD) if isinstance(card, dict) else ["a value that is no object"]
    except ValueError:
        unknown = ["text that is no JSON"]
    if unknown:
        raise ValidationError(f"Model card content does not follow the schema: {', '.join(unknown)}")


def _check_properties(properties: dict[str, str]) -> None:
    wrong = [key for key, value in properties.items() if not (_KEY.fullmatch(key) and _VALUE.fullmatch(value))]
    if wrong or len(properties) > _MOST_PROPERTIES:
        raise ValidationError(
            f"1 validation error detected: Value at 'customerMetadataProperties' failed to satisfy constraint "
            f"(at most {_MOST_PROPERTIES} entries; keys up to 128 and values up to 256 characters matching "
            rf"^([\p{{L}}\p{{Z}}\p{{N}}_.:\/=+\-@]*)$): {', '.join(wrong) or len(properties)}"
        )


def _send(backend: SageMakerModelBackend, package: ModelPackage, updated: Sequence[str]) -> None:
    """Tell EventBridge of a change, the service's way: several events in no order, one a little later.

    What was sent is also written to `events.jsonl`: how often, only the sender knows.
    """
    modified = package.last_modified_time or package.creation_time
    times = [modified] * (COPIES - 1) + [modified + timedelta(milliseconds=20)]
    random.shuffle(times)
    events: list[dict[str, Any]] = [
        {
            "Source": "aws.sagemaker",
            "DetailType": "SageMaker Model Package State Change",
            "Resources": [package.arn],
            "Detail": json.dumps(_detail(package, time, updated), default=_iso),
        }
        for time in times
    ]
    with _lock, (state() / "events.jsonl").open("a", encoding="utf-8") as record:
        for event in events:
            record.write(json.dumps({"resources": event["Resources"], "detail": json.loads(event["Detail"])}) + "\n")
    events_backends[backend.account_id][backend.region_name].put_events(events)


def _detail(package: ModelPackage, modified: datetime, updated: Sequence[str]) -> dict[str, Any]:
    response = {**package.gen_response_object(), "LastModifiedTime": modified}
    detail = {key: response[key] for key in _DETAIL if response.get(key) is not None}
    return detail | ({"UpdatedModelPackageFields": list(updated)} if updated else {})


def _iso(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} has no place in an event")
    return f"{value.isoformat(timespec='milliseconds')}Z"
