"""ci_scripts/regions.json says what cfn-lint's lists and the SageMaker SDK say."""

from __future__ import annotations

import json

import pytest

from ci_scripts import regions
from release import regions as generator
from sandbox import job_images


def test_the_list_of_regions_is_current() -> None:
    text = generator.FILE.read_text()
    assert text == generator.content(json.loads(text)["missing"]["images"]), "run: make regions"


def test_the_list_of_images_is_current() -> None:
    sdk = sorted((job_images.FOLDER / "training-sdk-v3").glob("lib/python*/site-packages/sagemaker/core"))
    if not sdk:
        pytest.skip("the images of the sandbox are not built here; make test builds them")
    images = json.loads(generator.FILE.read_text())["missing"]["images"]
    assert images == generator.without_images(sdk[0] / "image_uri_config"), "run: make regions"


@pytest.mark.parametrize(
    ("region", "parts"),
    [
        ("eu-west-1", []),
        ("us-east-1", []),
        ("us-gov-east-1", ["project", "endpoint"]),
        ("ap-east-2", ["project", "offer", "images"]),
        ("eusc-de-east-1", ["images"]),
        ("mars-north-1", []),  # nothing is known of it
    ],
)
def test_a_region_lacks_what_the_lists_say(region: str, parts: list[str]) -> None:
    assert regions.lacking(region) == parts


def test_every_part_is_explained() -> None:
    assert set(json.loads(generator.FILE.read_text())["missing"]) == set(regions.PARTS)
