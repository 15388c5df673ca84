"""Commands delete, write and read nothing outside the repository, whatever links it holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ci_scripts import cli, repository
from ci_scripts.errors import OutsideRepository


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder outside the repository that holds a key."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "id_rsa").write_text("key")
    return folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository, in which the command runs."""
    folder = tmp_path / "checkout"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    for name in os.environ:
        if name.startswith(("CI_", "SMCI_", "AWS_", "SAGEMAKER_")):
            monkeypatch.delenv(name)
    return folder


def project(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_REGION": "eu-west-1",
        "SAGEMAKER_PROJECT_NAME": "abalone",
        "SAGEMAKER_PROJECT_ID": "p-1",
        "ARTIFACT_BUCKET": "my-bucket",
        "MODEL_EXECUTION_ROLE_ARN": "arn:aws:iam::123456789012:role/model",
        "SAGEMAKER_PIPELINE_ROLE_ARN": "arn:aws:iam::123456789012:role/pipeline",
    }.items():
        monkeypatch.setenv(name, value)


COMMANDS = (["deploy", "--stage", "staging"], ["test", "--stage", "staging"], ["build"], ["run-pipeline"])


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda each: each[0])
def test_a_folder_for_reports_that_is_a_link_is_refused_and_nothing_is_deleted(
    checkout: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    (checkout / "sagemaker-ci-reports").symlink_to(elsewhere)
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err.startswith("error SMCI-106: sagemaker-ci-reports is a link")
    assert [path.name for path in elsewhere.iterdir()] == ["id_rsa"]


def test_a_file_in_place_of_the_reports_is_one_error(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "sagemaker-ci-reports").write_text("mine")
    assert cli.main(["build"]) == 1
    assert "error SMCI-106: " in capsys.readouterr().err
    assert (checkout / "sagemaker-ci-reports").read_text() == "mine"


def test_reports_that_are_links_are_removed_and_never_written_through(checkout: Path, elsewhere: Path) -> None:
    from ci_scripts import job

    reports = checkout / "sagemaker-ci-reports"
    reports.mkdir()
    (reports / "kept").mkdir()
    (reports / "metrics.txt").symlink_to(elsewhere / "id_rsa")
    (reports / "gone.txt").symlink_to(elsewhere / "nothing")
    job.clear_reports()
    assert [path.name for path in reports.iterdir()] == ["kept"]
    (reports / "metrics.txt").symlink_to(elsewhere / "id_rsa")  # made by the tested code, while the command runs
    job.write_metrics({"mse": 1})
    assert (reports / "metrics.txt").read_text() == "mse 1\n"
    assert (elsewhere / "id_rsa").read_text() == "key"


def test_exports_that_are_links_are_replaced_and_never_written_through(
    checkout: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ci_scripts import export

    (checkout / "staging-config-export.json").symlink_to(elsewhere / "id_rsa")
    export.write_all({"staging": b"{}"}, checkout)
    assert not (checkout / "staging-config-export.json").is_symlink()
    assert (elsewhere / "id_rsa").read_text() == "key"
    (checkout / "prod-config-export.json").symlink_to(elsewhere / "id_rsa")
    export.discard(checkout)
    assert (elsewhere / "id_rsa").read_text() == "key"
    assert [path.name for path in checkout.iterdir()] == [".git"]


def test_a_folder_in_place_of_an_export_is_one_error(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project(monkeypatch)
    (checkout / "staging-config-export.json").mkdir()
    assert cli.main(["build"]) == 1
    assert "error SMCI-106: " in capsys.readouterr().err


def test_a_model_folder_that_leads_out_is_refused(
    checkout: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "models").symlink_to(elsewhere)
    for folder in ("models", "../elsewhere", str(elsewhere)):
        monkeypatch.setenv("SMCI_FOLDER", folder)
        assert cli.main(["build"]) == 1
        assert capsys.readouterr().err.startswith(f"error SMCI-106: {folder} leads out of the repository")
    assert Path.cwd() == checkout


@pytest.mark.parametrize("option", [["--tests"], ["--quality"]])
@pytest.mark.parametrize("path", ["linked", "../elsewhere/id_rsa", "/etc/passwd"])
def test_tests_and_thresholds_outside_are_refused(
    checkout: Path,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: list[str],
    path: str,
) -> None:
    from ci_scripts import export

    project(monkeypatch)
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/abalone-p-1/1"
    names = ("staging", "sagemaker-abalone-p-1-deploy-staging", "abalone-staging", arn)
    content = export.to_bytes(export.Export(*names, template="{}", parameters={}, tags={}))
    export.write_all({"staging": content}, checkout)
    (checkout / "linked").symlink_to(elsewhere / "id_rsa")
    assert cli.main(["test", "--stage", "staging", *option, path]) == 1
    assert capsys.readouterr().err.startswith(f"error SMCI-106: {path} leads out of the repository")


def test_the_repository_is_gitlabs_checkout_or_the_clone_around_the_folder(
    checkout: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = checkout / "models" / "wine"
    model.mkdir(parents=True)
    (checkout / "shared.csv").write_text("1,2\n")
    monkeypatch.chdir(model)
    assert repository.root() == str(checkout)
    assert repository.read("../../shared.csv", 100) == b"1,2\n"
    monkeypatch.setenv("CI_PROJECT_DIR", str(model))
    assert repository.root() == str(model)
    with pytest.raises(repository.Outside):
        repository.read("../../shared.csv", 100)
    monkeypatch.setenv("CI_PROJECT_DIR", str(elsewhere))  # not where we are
    assert repository.root() == str(checkout)


def test_a_link_inside_the_repository_is_followed(checkout: Path) -> None:
    (checkout / "a.yml").write_text("x")
    (checkout / "b.yml").symlink_to("a.yml")
    assert repository.read("b.yml", 1) == b"x"
    repository.require("b.yml")


def test_what_cannot_be_written_is_an_error_with_a_code(checkout: Path, elsewhere: Path) -> None:
    (checkout / "out").symlink_to(elsewhere)
    with pytest.raises(OutsideRepository):
        repository.write("out/file", b"")
    assert [path.name for path in elsewhere.iterdir()] == ["id_rsa"]
