"""Model packages of the SageMaker Model Registry: the exact one, the newest approved one, and the lineage stamp.

Called by `run-pipeline` (stamp), `build` (which version?) and `deploy` (still approved?). Nothing here approves one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import aws_errors, errors

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DescribeModelPackageOutputTypeDef

PARAMETER = "Parameter."
"""How the customer metadata properties begin that hold a parameter of the pipeline which registered a package."""

METRIC = "Metric."
"""And those that hold what a condition of that pipeline measured, by the path in the evaluation's report."""

_VERSION_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:model-package/[a-zA-Z0-9-]+/\d+", re.ASCII)

# Limits of CustomerMetadataProperties:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateModelPackage.html
_MOST_PROPERTIES, _LONGEST_KEY, _LONGEST_VALUE = 50, 128, 256
_LARGEST_PAGE = 100  # MaxResults: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListModelPackages.html
_REFUSED_CHARACTERS = re.compile(r"[^\w\s.:/=+@-]")


class ModelPackage(NamedTuple):
    """One version in a model package group, as DescribeModelPackage tells it."""

    arn: str
    group: str
    version: int
    approval_status: str
    description: Mapping[str, Any]
    """The whole answer of DescribeModelPackage."""

    def __str__(self) -> str:
        return f"{self.group} version {self.version}"


def describe(sagemaker: SageMakerClient, arn: str) -> DescribeModelPackageOutputTypeDef:
    """The answer of DescribeModelPackage for `arn`. Raises ModelPackageNotFound, also for a malformed ARN."""
    from botocore.exceptions import ClientError

    if not _VERSION_ARN.fullmatch(arn):
        raise errors.ModelPackageNotFound(
            f"{arn!r} is not the ARN of a model package version",
            hint="It looks like arn:aws:sagemaker:eu-west-1:123456789012:model-package/abalone-p-abc123/7.",
        )
    try:
        return sagemaker.describe_model_package(ModelPackageName=arn)
    except ClientError as error:
        if _says_missing(error):
            raise errors.ModelPackageNotFound(f"model package {arn} does not exist") from error
        raise


def read(sagemaker: SageMakerClient, arn: str) -> ModelPackage:
    """The model package `arn`, approved or not. Raises ModelPackageNotFound."""
    return _model_package(describe(sagemaker, arn))


def require_approved(sagemaker: SageMakerClient, arn: str, group: str) -> ModelPackage:
    """The model package `arn`, which must belong to `group` and be Approved now.

    Raises ModelPackageNotFound, ModelPackageOfOtherGroup or ModelPackageNotApproved.
    """
    package = read(sagemaker, arn)
    if package.group != group:
        raise errors.ModelPackageOfOtherGroup(
            f"model package {arn} belongs to the group {package.group or '(none)'}, this project deploys from {group}"
        )
    if package.approval_status != "Approved":
        raise errors.ModelPackageNotApproved(f"model package {arn} is {package.approval_status}, not Approved")
    return package


def latest_approved(sagemaker: SageMakerClient, group: str) -> ModelPackage:
    """The newest Approved version in `group`. Raises NoApprovedModelPackage, also when the group does not exist.

    Newest first must be asked for (ListModelPackages sorts Ascending by default), and a page may be empty although
    a next one is not: filters are applied after paging.
    """
    from botocore.exceptions import ClientError

    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group,
        ModelApprovalStatus="Approved",
        SortBy="CreationTime",
        SortOrder="Descending",
        PaginationConfig={"PageSize": _LARGEST_PAGE},
    )
    try:
        arn = next((each["ModelPackageArn"] for page in pages for each in page["ModelPackageSummaryList"]), None)
    except ClientError as error:
        if not _says_missing(error):
            raise
        arn = None
    if arn is None:
        raise errors.NoApprovedModelPackage(f"no model package of the group {group} is Approved yet")
    return require_approved(sagemaker, arn, group)


def created_between(sagemaker: SageMakerClient, group: str, began: datetime, ended: datetime) -> list[str]:
    """The ARNs of the versions that came to `group` in that time, oldest first; none when there is no such group."""
    from botocore.exceptions import ClientError

    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, CreationTimeAfter=began, CreationTimeBefore=ended, SortBy="CreationTime"
    )
    try:
        return [str(each["ModelPackageArn"]) for page in pages for each in page["ModelPackageSummaryList"]]
    except ClientError as error:
        if not _says_missing(error):
            raise
        return []


def versions(sagemaker: SageMakerClient, group: str) -> list[str]:
    """The ARNs of all versions in `group`; none when there is no such group."""
    from botocore.exceptions import ClientError

    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, PaginationConfig={"PageSize": _LARGEST_PAGE}
    )
    try:
        return [str(each["ModelPackageArn"]) for page in pages for each in page["ModelPackageSummaryList"]]
    except ClientError as error:
        if not _says_missing(error):
            raise
        return []


def create_group(sagemaker: SageMakerClient, group: str, description: str, tags: Mapping[str, str]) -> None:
    """Create a model package group, unless it is there."""
    from botocore.exceptions import ClientError

    try:
        sagemaker.create_model_package_group(
            ModelPackageGroupName=group,
            ModelPackageGroupDescription=description,
            Tags=[{"Key": key, "Value": content} for key, content in tags.items()],
        )
    except ClientError as error:
        if "already exist" not in aws_errors.text(error):
            raise


def delete_group(sagemaker: SageMakerClient, group: str, arns: Sequence[str]) -> bool:
    """Delete the versions and then their group, which must be empty; False when there is no such group."""
    for arn in arns:
        _delete(lambda arn=arn: sagemaker.delete_model_package(ModelPackageName=arn))  # type: ignore[misc]
    return _delete(lambda: sagemaker.delete_model_package_group(ModelPackageGroupName=group))


def _delete(call: Callable[[], object]) -> bool:
    """Whether there was something to delete."""
    from botocore.exceptions import ClientError

    try:
        call()
    except ClientError as error:
        if not _says_missing(error):
            raise
        return False
    return True


def group_of(arn: str) -> str:
    """The model package group in a package's ARN, in lower case as SageMaker writes it there."""
    return arn.rpartition(":model-package/")[2].partition("/")[0].lower()


def stamp(
    sagemaker: SageMakerClient, package: Mapping[str, Any], properties: Mapping[str, str], card: str = ""
) -> None:
    """Write `properties` (where the package comes from) into its CustomerMetadataProperties, beside those it has.

    `package` is the answer of DescribeModelPackage, `card` the content of a model card; it becomes a draft.

    Values are made to fit the service's rules: other characters become `_`, at most 256 remain, none is empty.
    Raises TooManyProperties when the package would have more than 50.
    """
    fitting = {metadata_value(key)[:_LONGEST_KEY]: metadata_value(each) for key, each in properties.items() if each}
    # All of them are sent: whether the service merges or replaces is not documented.
    arn = str(package["ModelPackageArn"])
    merged = {**package.get("CustomerMetadataProperties", {}), **fitting}
    if len(merged) > _MOST_PROPERTIES:
        raise errors.TooManyProperties(f"model package {arn} would have {len(merged)} customer metadata properties")
    more: dict[str, Any] = {"ModelCard": {"ModelCardContent": card, "ModelCardStatus": "Draft"}} if card else {}
    sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties=merged, **more)


def stamped(properties: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Of a package's CustomerMetadataProperties those under PARAMETER or METRIC, by their names without it."""
    return {key.removeprefix(prefix): each for key, each in properties.items() if key.startswith(prefix)}


def set_life_cycle(sagemaker: SageMakerClient, arn: str, stage: str, description: str) -> None:
    """Set the stage of the package's life cycle, which the registry shows; its approval stays as it is.

    The event that it sends names ModelLifeCycle as what was updated, so that it starts no pipeline.
    """
    sagemaker.update_model_package(
        ModelPackageArn=arn,
        ModelLifeCycle={"Stage": stage, "StageStatus": "Deployed", "StageDescription": description[:1024]},
    )


def approver(description: Mapping[str, Any]) -> str:
    """Who approved the version that DescribeModelPackage tells of: a Studio user, or the identity's part of an ARN.

    The registry knows who changed it last. That was the approval until a deployment has set the stage of its life
    cycle; from then on, and without approval: empty.
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UserContext.html
    """
    if description.get("ModelApprovalStatus") != "Approved" or description.get("ModelLifeCycle"):
        return ""
    person = description.get("LastModifiedBy", {})
    arn: str = person.get("IamIdentity", {}).get("Arn", "")
    return person.get("UserProfileName") or arn.rpartition(":")[2]


def metadata_value(text: str) -> str:
    """`text` as CustomerMetadataProperties take it."""
    return _REFUSED_CHARACTERS.sub("_", text)[:_LONGEST_VALUE]


def _model_package(answer: Mapping[str, Any]) -> ModelPackage:
    return ModelPackage(
        arn=answer["ModelPackageArn"],
        group=answer.get("ModelPackageGroupName", ""),
        version=answer.get("ModelPackageVersion", 0),
        approval_status=answer.get("ModelApprovalStatus", "without approval status"),
        description=answer,
    )


def _says_missing(error: Any) -> bool:
    # SageMaker has no code of its own for a missing model package or group: it answers ValidationException.
    text = aws_errors.text(error).lower()
    return aws_errors.code(error) == "ResourceNotFound" or "does not exist" in text or "not found" in text
