"""What is kept of a version that the seed registers: versions of its data, what made it, a model card, its cost."""

# ruff: noqa: F811 - the fixtures are used under the names they are imported by

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

from ci_scripts import __version__
from ci_scripts.run_pipeline import model_card
from sandbox import job_images
from tests.support.run_pipeline import Race, Repository, one_line, race, repository  # noqa: F401 - the fixtures
from tests.support.servers import ROOT


def train(repository: Repository, folder: Path, pipeline: int, *options: str) -> subprocess.CompletedProcess[str]:
    program = job_images.FOLDER / "training-sdk-v3" / "bin" / "sagemaker-ci"
    project = repository.project
    data = f"InputDataUrl=s3://{project.bucket}/{project.group}/abalone.csv"
    surroundings = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "POLL_SECONDS": "0.3", "NO_COLOR": "1"}
    return subprocess.run(
        [program, "run-pipeline", "--parameter", data, *options],
        cwd=folder,
        env=surroundings | repository.environ(pipeline, pipeline) | {"CI_PIPELINE_SOURCE": "push"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(repository: Repository, tmp_path: Path) -> Path:
    """The seed, and its data in a bucket that keeps versions."""
    job_images.build(print)
    archive = zipfile.ZipFile(io.BytesIO((files("sklego") / "data" / "abalone.zip").read_bytes()))
    rows = archive.read(archive.namelist()[0]).partition(b"\n")[2]  # without the header, as in SageMaker's sample
    s3, project = repository.aws.client("s3"), repository.project
    s3.put_bucket_versioning(Bucket=project.bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (rows[:1000], rows):
        s3.put_object(Bucket=project.bucket, Key=f"{project.group}/abalone.csv", Body=body)
    return Path(shutil.copytree(ROOT / "seed-build", tmp_path / "checkout"))


def test_a_version_tells_its_data_its_tools_its_numbers_and_its_cost(repository: Repository, checkout: Path) -> None:
    done = train(repository, checkout, 100, "--parameter", "WarmPoolSeconds=60")
    assert done.returncode == 0, done.stdout + done.stderr
    cost = r"trained \d:\d\d, paid \d:\d\d; started after \d:\d\d\n"
    assert re.search(rf"TrainAbaloneModel .* Succeeded .* {cost}", done.stdout)

    project = repository.project
    key = f"{project.group}/abalone.csv"
    [newest, _] = repository.aws.client("s3").list_object_versions(Bucket=project.bucket, Prefix=key)["Versions"]
    [package] = repository.packages()
    stamps = package["CustomerMetadataProperties"]
    assert stamps["Data.data"] == f"version {newest['VersionId']} of s3://{project.bucket}/{key}"
    assert stamps["SagemakerCi"] == __version__
    assert stamps["SageMakerSdk"].startswith("3.")
    assert "sagemaker-xgboost" in stamps["TrainingImage"]
    assert stamps["Parameter.WarmPoolSeconds"] == "60"

    card = json.loads(package["ModelCard"]["ModelCardContent"])
    assert package["ModelCard"]["ModelCardStatus"] == "Draft"
    details = card["training_details"]["training_job_details"]
    assert {"name": "max_depth", "value": "5"} in details["hyper_parameters"]
    [artifact] = card["model_overview"]["model_artifact"]
    assert artifact == package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    [evaluation] = card["evaluation_details"]
    [metric] = evaluation["metric_groups"][0]["metric_data"]
    assert metric["name"] == "regression_metrics.mse.value"
    assert re.fullmatch(r"must be <= 6; standard error [\d.]+", metric["notes"])
    assert evaluation["datasets"] == [stamps["HeldOutDataUri"]]
    custom = card["additional_information"]["custom_details"]
    assert custom["Data_data"] == stamps["Data.data"]
    assert custom["GitLabCommit"] == stamps["GitLabCommit"]
    summary = (checkout / "sagemaker-ci-reports" / "summary.md").read_text()
    assert f"### Model card of {project.group}/1" in summary
    assert "| Hyperparameters | " in summary


def test_spot_instances_are_asked_for_by_an_argument_and_what_they_saved_is_told(
    repository: Repository, checkout: Path
) -> None:
    """The sandbox bills every second: what is told is SageMaker's own arithmetic."""
    done = train(repository, checkout, 100, "--kwargs", '{"spot": true}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert "spot instances saved 0 %" in done.stdout
    unfit = train(repository, checkout, 101, "--kwargs", '{"spot": true}', "--parameter", "WarmPoolSeconds=60")
    assert "the pipeline has no parameter WarmPoolSeconds" in one_line(unfit, "308")


def test_a_card_that_the_pipeline_brings_along_and_packages_of_another_group_stay_as_they_are(
    repository: Repository,
) -> None:
    sagemaker, group = repository.aws.client("sagemaker"), repository.project.group
    path = repository.path / "pipelines" / "abalone" / "pipeline.py"
    own = json.dumps({"intended_uses": {"purpose_of_model": "ages of abalones"}})
    text = path.read_text()
    card = f'"ModelCard": {{"ModelCardContent": {own!r}, "ModelCardStatus": "PendingReview"}},'
    status = '"ModelApprovalStatus": "PendingManualApproval",'
    path.write_text(text.replace(status, f"{status} {card}"))
    first = repository.run()
    assert first.returncode == 0, first.stderr
    [package] = repository.packages()
    assert package["ModelCard"] == {"ModelCardContent": own, "ModelCardStatus": "PendingReview"}
    assert package["CustomerMetadataProperties"]["PipelineExecutionArn"]
    assert "has a model card of its own, which stays as it is" in repository.report("summary.md")

    named = '"ModelPackageGroupName": '
    path.write_text(text.replace(f"{named}model_package_group_name", f'{named}"{group}-else"'))
    other = repository.run(pipeline=101, job=2)
    assert other.returncode == 0, other.stderr
    assert f"is in the group {group}-else, approvals are watched in {group} alone: it is not stamped" in other.stdout
    [summary] = sagemaker.list_model_packages(ModelPackageGroupName=f"{group}-else")["ModelPackageSummaryList"]
    described = sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
    assert "GitLabCommit" not in described["CustomerMetadataProperties"]
    assert len(repository.packages()) == 1


def test_a_card_that_sagemaker_refuses_is_no_reason_for_a_training_to_fail(
    race: Race, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_card, "content", lambda _: '{"of_another_schema": {}}')
    race.run()
    assert (
        "SageMaker did not take the model card: Model card content does not follow the schema"
        in capsys.readouterr().out
    )
    [package] = race.repository.packages()
    assert "ModelCard" not in package
    assert package["CustomerMetadataProperties"]["GitLabProject"] == "ds/model-build"
