"""Exports: their bytes, and what deploy refuses of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci_scripts import errors
from ci_scripts.deployment import export
from ci_scripts.settings import Project

PROJECT = Project("eu-west-1", "abalone", "p-1", None, "bucket")
EXPORT = export.Export(
    stage="prod",
    stack_name=PROJECT.stack("prod"),
    endpoint_name=PROJECT.endpoint("prod"),
    model_package_arn="arn:aws:sagemaker:eu-west-1:123456789012:model-package/abalone-p-1/2",
    template="Resources: {}\n",
    parameters={"b": "2", "a": "ü"},
    tags={"k": "v"},
)


def test_equal_exports_give_equal_bytes() -> None:
    other_order = EXPORT._replace(parameters={"a": "ü", "b": "2"})
    assert export.to_bytes(EXPORT) == export.to_bytes(other_order)


def test_an_export_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    content = export.to_bytes(EXPORT)
    export.write_all({"prod": content}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["prod-config-export.json"]
    announced = {"PROD_EXPORT_SHA256": export.digest(content)}
    assert export.load("prod", PROJECT, announced, tmp_path) == EXPORT


def test_an_export_that_build_did_not_announce_is_refused(tmp_path: Path) -> None:
    export.write_all({"prod": export.to_bytes(EXPORT)}, tmp_path)
    with pytest.raises(errors.ExportChanged):
        export.load("prod", PROJECT, {"PROD_EXPORT_SHA256": "0" * 64}, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Stage": "staging"}, "Stage is 'staging', this job deploys 'prod'"),
        ({"StackName": "another"}, "StackName is 'another'"),
        ({"EndpointName": "another"}, "EndpointName is 'another'"),
        ({"SchemaVersion": 2}, r"SchemaVersion: 1 was expected"),
        ({"Parameters": {"a": 1}}, r"Parameters.a: 1 is not of type 'string'"),
        ({"Extra": 1}, "Additional properties"),
    ],
)
def test_an_export_of_another_kind_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    content = json.loads(export.to_bytes(EXPORT)) | change
    (tmp_path / "prod-config-export.json").write_text(json.dumps(content))
    with pytest.raises(errors.InvalidExport, match=message):
        export.load("prod", PROJECT, {}, tmp_path)


def test_a_missing_or_broken_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidExport, match="is missing"):
        export.load("prod", PROJECT, {}, tmp_path)
    (tmp_path / "prod-config-export.json").write_text("{")
    with pytest.raises(errors.InvalidExport, match="is not JSON"):
        export.load("prod", PROJECT, {}, tmp_path)
