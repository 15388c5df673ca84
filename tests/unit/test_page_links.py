"""Links that the product prints, for a person with AWS and GitLab, lead to their places on the page of the sandbox."""

from __future__ import annotations

import pytest

from ci_scripts import console
from sandbox.console import links

_SAGEMAKER = "sagemaker/home?region=eu-west-1#"


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("https://gitlab.sandbox.test/group/project/-/pipelines/4", "/group/project/-/pipelines/4"),
        ("https://gitlab.sandbox.test", "/"),
        (console.endpoint_url("eu-west-1", "abalone-prod"), "/aws/endpoints/abalone-prod"),
        (console.endpoint_url("cn-north-1", "abalone-prod"), "/aws/endpoints/abalone-prod"),
        (console.url("eu-west-1", f"{_SAGEMAKER}/model-packages/group/7"), "/aws/models/group/7"),
        (console.url("eu-west-1", f"{_SAGEMAKER}/jobs/train"), "/aws/jobs/training/train"),
        (console.url("eu-west-1", f"{_SAGEMAKER}/processing-jobs/evaluate"), "/aws/jobs/processing/evaluate"),
        (console.url("eu-west-1", f"{_SAGEMAKER}/transform-jobs/score"), "/aws/jobs/transform/score"),
        (console.url("eu-west-1", f"{_SAGEMAKER}/studio-landing"), "/aws/pipelines"),
        (console.url("eu-west-1", "cloudformation/home?region=eu-west-1#/stacks?filteringText=a-b"), "/aws/stacks/a-b"),
        (console.url("eu-west-1", "servicequotas/home/services/sagemaker/quotas/L-1"), "/aws/quotas"),
        ("https://example.com/group/project/-/pipelines/4", None),
        ("https://console.aws.amazon.com.example.com/sagemaker/home#/endpoints/x", None),
    ],
)
def test_a_link_leads_to_its_place(address: str, path: str | None) -> None:
    assert links.on_page(address) == path


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("pipeline/abalone/execution/abc", "/aws/pipelines/abalone/abc"),
        ("pipeline/abalone", "/aws/pipelines/abalone"),
        ("model-package/group/3", "/aws/models/group/3"),
        ("training-job/train", "/aws/jobs/training/train"),
        ("endpoint/prod", "/aws/endpoints/prod"),
        ("flow-definition/none", ""),
    ],
)
def test_an_arn_leads_to_its_place(resource: str, path: str) -> None:
    assert links.of_arn(f"arn:aws:sagemaker:eu-west-1:123456789012:{resource}") == path
