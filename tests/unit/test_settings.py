"""CI variables and component inputs → settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci_scripts import __version__, settings
from ci_scripts.errors import InvalidSettings, VersionMismatch

ROOT = Path(__file__).parents[2]
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


@pytest.mark.parametrize(("suffix", "missing"), [("NAME", "ID"), ("ID", "NAME"), ("ARN", "NAME")])
def test_half_a_project_from_inputs_is_not_completed_from_variables(suffix: str, missing: str) -> None:
    with pytest.raises(InvalidSettings, match=f"SAGEMAKER_PROJECT_{missing} is not set"):
        settings.load_project(VARIABLES | {f"SMCI_SAGEMAKER_PROJECT_{suffix}": "wine"})


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


@pytest.mark.parametrize("name", ["Abalone", "abaLone", "-abalone", "a" * 33, "abalone_1"])
def test_a_project_name_that_no_policy_could_match_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidSettings, match=f"SAGEMAKER_PROJECT_NAME is '{name}', expected .*lower-case letters"):
        settings.load_project(VARIABLES | {"SAGEMAKER_PROJECT_NAME": name})


@pytest.mark.parametrize("parameter", ["SageMakerProjectName", "SageMakerProjectId"])
def test_settings_and_every_template_take_the_same_project_names(parameter: str) -> None:
    rule = {"SageMakerProjectName": settings.PROJECT_NAME, "SageMakerProjectId": settings.PROJECT_ID}[parameter]
    for template in ("gitlab-oidc.yml", "project.yml", "trigger.yml"):
        text = (ROOT / "infra" / template).read_text().partition(f"\n  {parameter}:\n")[2]
        assert f'AllowedPattern: "{rule}"' in text.partition("ConstraintDescription")[0], template


@pytest.mark.parametrize(
    "address", ["localhost:4566", "127.0.0.1", "vpce-1.sts.eu-west-1.vpce.amazonaws.com", "http://"]
)
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_address_of_aws_without_a_scheme_is_refused(name: str, address: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{name} is '{address}', expected something like https://"):
        settings.load_project(VARIABLES | {name: address})


def test_an_address_of_aws_may_be_any_url_or_nothing() -> None:
    addresses = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_ENDPOINT_URL_S3": "https://s3.example",
        "AWS_ENDPOINT_URL_STS": "",
    }
    assert settings.load_project(VARIABLES | addresses)
