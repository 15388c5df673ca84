"""Rules for model package ARNs and metadata that need no registry."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from ci_scripts import errors, registry


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "abalone/3",
        "arn:aws:sagemaker:eu-west-1:123456789012:model-package/unversioned",
        "arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/abalone",
        "arn:aws:sagemaker:eu-west-1:123456789012:model-package/abalone/3; rm -rf /",
    ],
)
def test_what_is_no_version_arn_is_refused_before_aws_is_asked(arn: str) -> None:
    nobody: Any = None
    with pytest.raises(errors.ModelPackageNotFound, match="is not the ARN"):
        registry.describe(nobody, arn)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0a1b2c", "0a1b2c"),
        ("https://gitlab.example.com/a/b/-/jobs/1", "https://gitlab.example.com/a/b/-/jobs/1"),
        ("feature/grün #7", "feature/grün _7"),
        ("a,b;c", "a_b_c"),
        ("模型/v1", "模型/v1"),
        ("fix/emoji-🙂 (draft)", "fix/emoji-_ _draft_"),
        ("x" * 300, "x" * 256),
    ],
)
def test_metadata_values_are_made_to_fit(text: str, expected: str) -> None:
    assert registry.metadata_value(text) == expected


PERSON = {"IamIdentity": {"Arn": "arn:aws:sts::123456789012:assumed-role/DataScience/ada", "PrincipalId": "AROA:ada"}}


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({"ModelApprovalStatus": "Approved", "LastModifiedBy": PERSON}, "assumed-role/DataScience/ada"),
        ({"ModelApprovalStatus": "Approved", "LastModifiedBy": PERSON | {"UserProfileName": "ada"}}, "ada"),
        ({"ModelApprovalStatus": "Approved"}, ""),  # registered as approved, and never changed
        ({"ModelApprovalStatus": "PendingManualApproval", "LastModifiedBy": PERSON}, ""),
        # Whoever set the stage of the life cycle has changed it last: the role of a deployment.
        ({"ModelApprovalStatus": "Approved", "ModelLifeCycle": {"Stage": "Staging"}, "LastModifiedBy": PERSON}, ""),
    ],
)
def test_the_approver_is_who_changed_the_version_last_while_that_was_the_approval(
    description: dict[str, Any], expected: str
) -> None:
    assert registry.approver(description) == expected


def test_the_newest_approved_version_of_ten_thousand_takes_a_hundred_pages() -> None:
    """By SageMaker's own shapes: ten thousand versions are too many to register in a test."""
    client = boto3.client("sagemaker", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    request = {
        "ModelPackageGroupName": "abalone-p-1",
        "ModelApprovalStatus": "Approved",
        "SortBy": "CreationTime",
        "SortOrder": "Descending",
        "MaxResults": 100,
    }
    with Stubber(client) as stub:
        for page in range(100):
            token = {"NextToken": str(page)} if page else {}
            more = {"NextToken": str(page + 1)} if page < 99 else {}
            stub.add_response("list_model_packages", {"ModelPackageSummaryList": [], **more}, request | token)
        with pytest.raises(errors.NoApprovedModelPackage):
            registry.latest_approved(client, "abalone-p-1")
        stub.assert_no_pending_responses()
