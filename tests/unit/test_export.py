"""An exported stage configuration is taken only by the job it is meant for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci_scripts.deployment import export
from ci_scripts.errors import InvalidExport
from ci_scripts.settings import Project

PROJECT = Project("eu-west-1", "abalone", "p-1", None, "a-bucket")
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/{}/7"


def load(folder: Path, project: Project = PROJECT, **environ: str) -> export.Export:
    content = export.Export(
        "staging", PROJECT.stack("staging"), "abalone-staging", ARN.format("abalone-p-1"), "{}", {}, {}
    )
    (folder / "staging-config-export.json").write_bytes(export.to_bytes(content))
    return export.load("staging", project, environ, folder)


def test_an_export_of_the_asked_model_package_is_taken(tmp_path: Path) -> None:
    for environ in ({}, {"SMCI_MODEL_PACKAGE_ARN": ""}, {"SMCI_MODEL_PACKAGE_ARN": ARN.format("abalone-p-1")}):
        assert load(tmp_path, **environ).model_package_arn == ARN.format("abalone-p-1")


def test_an_export_of_another_model_package_than_the_pipelines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidExport, match=r"ModelPackageArn is .*abalone-p-1/7', this job deploys .*wine-p-2/7'"):
        load(tmp_path, SMCI_MODEL_PACKAGE_ARN=ARN.format("wine-p-2"))


def test_an_export_of_another_model_of_the_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidExport, match="StackName is"):
        load(tmp_path, PROJECT._replace(name="wine", id="p-2"))
