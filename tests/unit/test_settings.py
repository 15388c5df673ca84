"""CI variables and component inputs → settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci_scripts import __version__, settings
from ci_scripts.errors import InvalidSettings, VersionMismatch

VARIABLES = {
    "AWS_REGION": "eu-west-1",
    "SAGEMAKER_PROJECT_NAME": "abalone",
    "SAGEMAKER_PROJECT_ID": "p-1",
    "SAGEMAKER_PROJECT_ARN": "arn:aws:sagemaker:eu-west-1:123456789012:project/abalone",
    "ARTIFACT_BUCKET": "a-bucket",
}


def test_an_input_wins_over_the_variable_of_the_same_name() -> None:
    project = settings.load_project(VARIABLES | {"SMCI_AWS_REGION": "us-east-1", "SMCI_ARTIFACT_BUCKET": "another"})
    assert (project.region, project.artifact_bucket) == ("us-east-1", "another")
    assert project.model_package_group == "abalone-p-1"


def test_inputs_that_name_a_project_name_all_of_it() -> None:
    inputs = {"SMCI_SAGEMAKER_PROJECT_NAME": "wine", "SMCI_SAGEMAKER_PROJECT_ID": "p-2"}
    project = settings.load_project(VARIABLES | inputs)
    assert (project.name, project.id, project.arn) == ("wine", "p-2", None)


@pytest.mark.parametrize(("given", "missing"), [("NAME", "ID"), ("ID", "NAME"), ("ARN", "NAME")])
def test_half_a_project_from_inputs_is_not_completed_from_variables(given: str, missing: str) -> None:
    with pytest.raises(InvalidSettings, match=f"SAGEMAKER_PROJECT_{missing} is not set"):
        settings.load_project(VARIABLES | {f"SMCI_SAGEMAKER_PROJECT_{given}": "wine"})


def test_a_package_of_another_version_than_its_component_is_refused() -> None:
    settings.require_version({})
    settings.require_version({"SMCI_COMPONENT_VERSION": __version__})
    for other in ("0.9.0", ""):
        with pytest.raises(VersionMismatch, match=f"this is sagemaker-ci {__version__}, the component is {other}"):
            settings.require_version({"SMCI_COMPONENT_VERSION": other})


def test_the_folder_of_a_model_becomes_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "wine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    settings.enter_folder({})
    assert Path.cwd() == tmp_path
    settings.enter_folder({"SMCI_FOLDER": "models/wine"})
    assert Path.cwd() == tmp_path / "models" / "wine"
    with pytest.raises(InvalidSettings, match="no folder 'nowhere'"):
        settings.enter_folder({"SMCI_FOLDER": "nowhere"})
