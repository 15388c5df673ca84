"""Exports: their bytes, and that a job takes only the one that is meant for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci_scripts import errors, export, hosting
from ci_scripts.settings import Project

PROJECT = Project("eu-west-1", "abalone", "p-1", None, "bucket")
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/{}/2"
EXPORT = export.Export(
    stage="prod",
    stack_name=PROJECT.stack("prod"),
    endpoint_name=PROJECT.endpoint("prod"),
    model_package_arn=ARN.format("abalone-p-1"),
    template="Resources: {}\n",
    parameters={"b": "2", "a": "ü", "ModelPackageName": ARN.format("abalone-p-1"), "StageName": "prod"},
    tags={"k": "v"},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job's folder with the export that build wrote."""
    export.write_all({"prod": export.to_bytes(EXPORT)}, tmp_path)
    return tmp_path


def test_equal_exports_give_equal_bytes() -> None:
    other_order = EXPORT._replace(parameters=dict(reversed(list(EXPORT.parameters.items()))))
    assert export.to_bytes(EXPORT) == export.to_bytes(other_order)


def test_an_export_is_read_back_as_it_was_written(folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == ["prod-config-export.json"]
    announced = {"PROD_EXPORT_SHA256": export.digest(export.to_bytes(EXPORT))}
    assert export.load("prod", PROJECT, announced, folder) == EXPORT


def test_how_the_requests_shift_is_read_back_and_an_export_without_it_has_the_bytes_that_it_always_had(
    folder: Path,
) -> None:
    assert b"Deployment" not in export.to_bytes(EXPORT)
    shifted = EXPORT._replace(shift=export.Shift("canary", 2700, ["stack-Invocation5XXErrors", "sales"]))
    export.write_all({"prod": export.to_bytes(shifted)}, folder)
    assert export.load("prod", PROJECT, {}, folder) == shifted


def test_an_export_of_a_version_that_named_no_hosting_is_one_of_real_time(folder: Path) -> None:
    path = folder / "prod-config-export.json"
    content = json.loads(path.read_text())
    assert content.pop("Hosting") == "real-time"
    path.write_text(json.dumps(content))
    assert export.load("prod", PROJECT, {}, folder).hosting == "real-time"


def test_a_hosting_that_this_version_does_not_know_is_refused_by_its_name() -> None:
    assert hosting.of("real-time") is hosting.DEFAULT
    with pytest.raises(
        errors.InvalidExport, match="Hosting is 'pigeon', this version hosts asynchronous, batch-transform, real"
    ):
        hosting.of("pigeon")


def test_an_export_that_build_did_not_announce_is_refused(folder: Path) -> None:
    with pytest.raises(errors.ExportChanged):
        export.load("prod", PROJECT, {"PROD_EXPORT_SHA256": "0" * 64}, folder)


@pytest.mark.parametrize("variable", ["GITLAB_CI", "SMCI_COMPONENT_VERSION"])
@pytest.mark.parametrize("announced", [{}, {"PROD_EXPORT_SHA256": ""}], ids=["absent", "empty"])
@pytest.mark.parametrize("held", ["true", ""])  # whoever runs the job can empty a variable, not remove it
def test_a_job_that_was_told_no_hash_takes_no_export(
    folder: Path, variable: str, held: str, announced: dict[str, str]
) -> None:
    with pytest.raises(errors.ExportNotAnnounced, match="PROD_EXPORT_SHA256 is not set"):
        export.load("prod", PROJECT, {variable: held} | announced, folder)


def test_an_emptied_hash_is_refused_everywhere(folder: Path) -> None:
    with pytest.raises(errors.ExportNotAnnounced):
        export.load("prod", PROJECT, {"PROD_EXPORT_SHA256": ""}, folder)


@pytest.mark.parametrize("arn", ["", ARN.format("abalone-p-1")])
def test_an_export_of_the_asked_model_package_is_taken(folder: Path, arn: str) -> None:
    assert export.load("prod", PROJECT, {"SMCI_MODEL_PACKAGE_ARN": arn}, folder) == EXPORT


def test_an_export_of_another_model_package_than_the_pipelines_is_refused(folder: Path) -> None:
    with pytest.raises(
        errors.InvalidExport, match=r"ModelPackageArn is .*abalone-p-1/2', this job deploys .*wine-p-2/2'"
    ):
        export.load("prod", PROJECT, {"SMCI_MODEL_PACKAGE_ARN": ARN.format("wine-p-2")}, folder)


def test_an_export_of_another_model_of_the_repository_is_refused(folder: Path) -> None:
    with pytest.raises(errors.InvalidExport, match="StackName is"):
        export.load("prod", PROJECT._replace(name="wine", id="p-2"), {}, folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Stage": "staging"}, "Stage is 'staging', this job deploys 'prod'"),
        ({"StackName": "another"}, "StackName is 'another'"),
        ({"EndpointName": "another"}, "EndpointName is 'another'"),
        ({"SchemaVersion": 2}, r"SchemaVersion: 1 was expected"),
        ({"Parameters": {"a": 1}}, "Parameters.a: 1 is not of type 'string'"),
        ({"Extra": 1}, "there is no field 'Extra'"),
        (
            {"Parameters": {"ModelPackageName": ARN.format("abalone-p-1").replace("/2", "/1")}},
            r"Parameters.ModelPackageName is .*abalone-p-1/1', this job deploys .*abalone-p-1/2'",
        ),
        ({"Parameters": {"StageName": "staging"}}, "Parameters.StageName is 'staging', this job deploys 'prod'"),
        ({"Parameters": {"EndpointName": "another"}}, "Parameters.EndpointName is 'another'"),
        ({"Parameters": {"SageMakerProjectId": "p-2"}}, "Parameters.SageMakerProjectId is 'p-2'"),
    ],
)
def test_an_export_of_another_kind_is_refused(folder: Path, change: dict[str, object], message: str) -> None:
    content = json.loads(export.to_bytes(EXPORT)) | change
    (folder / "prod-config-export.json").write_text(json.dumps(content))
    with pytest.raises(errors.InvalidExport, match=message):
        export.load("prod", PROJECT, {}, folder)


def test_a_missing_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidExport, match="is missing"):
        export.load("prod", PROJECT, {}, tmp_path)


def test_a_broken_export_is_refused(folder: Path) -> None:
    (folder / "prod-config-export.json").write_text("{")
    with pytest.raises(errors.InvalidExport, match="is not JSON"):
        export.load("prod", PROJECT, {}, folder)
