"""Configuration files that are missing, are none, or are wrong in several places: one problem each, all at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ci_scripts import cli, documents
from ci_scripts.documents import Unquoted, parse_yaml
from tests.support.configuration_files import timed

# --- files that are none -------------------------------------------------------------------------------------------

FILES = {
    "staging-config.json": "SMCI-406",
    "endpoint-config-template.yml": "SMCI-406",
    "quality.yml": "SMCI-406",
}


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_out(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("gone.yml")


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100_000_000)


def no_utf_8(path: Path) -> None:
    path.write_bytes(b"\xff\xd8\xff")


def utf_16(path: Path) -> None:
    path.write_text("Tags: {}", encoding="utf-16")


def unreadable(path: Path) -> None:
    path.write_text("a: [")


WRONG: dict[Callable[[Path], None], str] = {
    a_folder: "is a folder",
    a_pipe: "is not a regular file",
    a_link_to_itself: "cannot be read: Too many levels of symbolic links",
    a_link_to_a_device: "leads out of the repository",
    a_link_out: "leads out of the repository",
    a_dangling_link: "is a link to a file that is missing",
    too_large: "is larger than 1,000,000 bytes",
    no_utf_8: "is not UTF-8 text",
    utf_16: "is not UTF-8 text but UTF-16",
    unreadable: "line ",
}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model-deploy repository, and the variables of its build job."""
    seed = Path(__file__).parents[2] / "seed-deploy"
    for name in ("staging-config.json", "prod-config.json", "endpoint-config-template.yml", "quality.yml"):
        (tmp_path / name).write_bytes((seed / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("CI_", "SMCI_")):
            monkeypatch.delenv(name)
    for name, value in {
        "AWS_REGION": "eu-west-1",
        "SAGEMAKER_PROJECT_NAME": "abalone",
        "SAGEMAKER_PROJECT_ID": "p-1",
        "ARTIFACT_BUCKET": "my-bucket",
        "MODEL_EXECUTION_ROLE_ARN": "arn:aws:iam::123456789012:role/model",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.parametrize("wrong", WRONG, ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_readable_file_of_the_repository_is_one_problem(
    repository: Path, capsys: pytest.CaptureFixture[str], name: str, wrong: Callable[[Path], None]
) -> None:
    (repository / name).unlink()
    wrong(repository / name)
    assert timed(lambda: cli.main(["build"])) == 1
    output = capsys.readouterr()
    assert f"error {FILES[name]}: 1 problem in the configuration files, nothing is exported\n" in output.err
    assert f"{name}: {WRONG[wrong]}" in output.out


@pytest.mark.parametrize("wrong", WRONG, ids=lambda each: each.__name__)
def test_an_export_that_is_no_readable_file_is_one_error(
    repository: Path, capsys: pytest.CaptureFixture[str], wrong: Callable[[Path], None]
) -> None:
    wrong(repository / "staging-config-export.json")
    assert timed(lambda: cli.main(["deploy", "--stage", "staging"])) == 1
    assert capsys.readouterr().err.startswith("error SMCI-407: staging-config-export.json")


def test_problems_of_shape_of_the_template_and_of_the_thresholds_are_named_together(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "tags": {"team": None},
        "Parameters": {"EndpointInstanceCount": 0, "SamplingPercent": 20, "EndpointInstanceType": None},
    }
    (repository / "staging-config.json").write_text(json.dumps(config))
    thresholds = "data: {path: ../../etc/passwd, rows: many}\nchecks: [{metric: mse, min: 2, max: 1}, {metric: mce}]\n"
    (repository / "quality.yml").write_text(thresholds)
    assert cli.main(["build"]) == 1
    output = capsys.readouterr()
    for problem in (
        "staging-config.json: there is no field 'tags' (did you mean Tags?)",
        "staging-config.json: Parameters.EndpointInstanceType: null is not text, a number, true or false",
        "staging-config.json: Parameters.EndpointInstanceCount: 0 is less than the MinValue 1",
        "staging-config.json: Parameters.SamplingPercent: the template declares no such parameter "
        "(did you mean SamplingPercentage?)",
        "quality.yml: data.rows: many is not of type 'integer'",
        "quality.yml: data.path: '../../etc/passwd' leads out of the repository",
        "quality.yml: checks.0: min is greater than max",
        "quality.yml: checks.1.metric: mce is not one of mse, rmse",
        "quality.yml: checks.1: needs min or max",
    ):
        assert problem in output.out, output.out
    assert "error SMCI-406: " in output.err


def test_a_million_parameters_and_long_texts_are_a_short_log(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "staging-config.json").write_text(
        '{"Parameters": {' + ", ".join(f'"P{number}": 1' for number in range(1_000_000)) + "}}"
    )
    (repository / "prod-config.json").write_text(
        json.dumps({"Parameters": {f"P{number}": "x" * 5 for number in range(9_000)} | {"Long": "y" * 500_000}})
    )
    assert timed(lambda: cli.main(["build"]), seconds=20) == 1
    output = capsys.readouterr()
    assert "staging-config.json: is larger than 1,000,000 bytes" in output.out
    assert "prod-config.json: Parameters: has 9,001 entries, at most 200 are possible" in output.out
    assert len(output.out) < 100_000
    assert len(output.err) < 1_000


def test_an_unquoted_value_is_text_to_whoever_does_not_ask() -> None:
    assert isinstance(parse_yaml("1"), Unquoted)
    assert documents.parse_json('{"a": 1.5, "b": 2}') == {"a": 1.5, "b": 2}


def test_build_checks_the_file_of_thresholds_that_the_test_job_will_read(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMCI_QUALITY", "strict.yml")
    assert cli.main(["build"]) == 1
    assert "strict.yml: is missing" in capsys.readouterr().out
    (repository / "strict.yml").write_text("data: {path: a}\nchecks: [{metric: mse, min: 0.9, max: 0.5}]\n")
    assert cli.main(["build"]) == 1
    assert "strict.yml: checks.0: min is greater than max" in capsys.readouterr().out
