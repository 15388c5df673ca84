"""The image that `image-build` hands on: who takes it, and what is no such image."""

from __future__ import annotations

import pytest

from ci_scripts import errors, settings
from ci_scripts.run_pipeline.compile import base_arguments
from ci_scripts.run_pipeline.options import require_pushed
from ci_scripts.run_pipeline.run import Compiled
from ci_scripts.settings import Project

PROJECT = Project("eu-west-1", "abalone", "p-1", None, "artifacts")
NAME = "IMAGE_URI_ABALONE_P_1"
REPOSITORY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/abalone-p-1"
PUSHED, CHECKED = f"{REPOSITORY}@sha256:{'0' * 64}", f"{REPOSITORY}:content-{'0' * 40}"


@pytest.mark.parametrize(
    "uri",
    [
        PUSHED,
        CHECKED,
        PUSHED.replace(".com/", ".com.cn/"),
        PUSHED.replace("dkr.ecr.eu-west-1.amazonaws.com", "dkr-ecr.eu-west-1.on.aws"),
    ],
)
def test_a_project_takes_the_image_that_was_built_for_it_and_no_others(uri: str) -> None:
    assert settings.image_variable(PROJECT) == NAME
    assert settings.image_uri(PROJECT, {NAME: uri, "IMAGE_URI": "another"}) == uri
    assert settings.image_uri(PROJECT._replace(id="p-2"), {NAME: uri}) == ""


@pytest.mark.parametrize(
    "uri", ["python:3.12", f"{PUSHED}0", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/", f"{PUSHED} x"]
)
def test_what_is_no_image_in_ecr_is_refused(uri: str) -> None:
    with pytest.raises(errors.InvalidSettings, match=NAME):
        settings.image_uri(PROJECT, {NAME: uri})


def test_get_pipeline_is_offered_the_image_where_there_is_one() -> None:
    assert base_arguments(PROJECT, "role", PUSHED)["image_uri"] == PUSHED
    assert "image_uri" not in base_arguments(PROJECT, "role")


def test_a_run_takes_an_image_that_was_pushed_and_a_check_any() -> None:
    require_pushed(CHECKED, check=True)
    require_pushed(PUSHED, check=False)
    require_pushed("", check=False)
    with pytest.raises(errors.InvalidSettings, match="was not pushed"):
        require_pushed(CHECKED, check=False)


@pytest.mark.parametrize(("text", "image"), [(f'{{"TrainingImage": "{PUSHED}"}}', PUSHED), ("{}", "")])
def test_a_version_tells_the_image_that_a_step_has_used(text: str, image: str) -> None:
    assert Compiled(text, {}, {}, image=PUSHED).built_image == image
