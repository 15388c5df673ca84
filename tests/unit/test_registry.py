"""Rules for model package ARNs and metadata that need no registry."""

from __future__ import annotations

import pytest

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
    with pytest.raises(errors.ModelPackageNotFound, match="is not the ARN"):
        registry.describe(None, arn)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0a1b2c", "0a1b2c"),
        ("https://gitlab.example.com/a/b/-/jobs/1", "https://gitlab.example.com/a/b/-/jobs/1"),
        ("feature/grün #7", "feature/grün _7"),
        ("a,b;c", "a_b_c"),
        ("x" * 300, "x" * 256),
    ],
)
def test_metadata_values_are_made_to_fit(text: str, expected: str) -> None:
    assert registry.metadata_value(text) == expected
