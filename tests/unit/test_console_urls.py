"""Links lead to the console of the partition that a region is in."""

from __future__ import annotations

import pytest

from ci_scripts import console


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "eu-west-1.console.aws.amazon.com"),
        ("us-east-1", "us-east-1.console.aws.amazon.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ("eusc-de-east-1", "eusc-de-east-1.console.amazonaws-eusc.eu"),
    ],
)
def test_every_partition_has_a_console_of_its_own(region: str, host: str) -> None:
    assert console.endpoint_url(region, "abalone-prod") == (
        f"https://{host}/sagemaker/home?region={region}#/endpoints/abalone-prod"
    )
