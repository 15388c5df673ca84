"""A deployed stage with a real model, and the job `test` as tests run it."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pandas
import pytest
import sklego
import xgboost

from tests.support.servers import ROOT, Aws, Project, create_project, register, sagemaker_ci
from tests.support.waiting import wait_for

SEED = ROOT / "seed-deploy"
REPORTS = Path("sagemaker-ci-reports")

QUALITY = "data: {from_model_package: HeldOutDataUri}\nchecks:\n"


class Stage(NamedTuple):
    """A project whose staging endpoint serves `package`; `other` is a version that nothing serves."""

    project: Project
    package: str
    other: str


@pytest.fixture(scope="module")
def stage(aws: Aws) -> Stage:
    project = create_project(aws)
    sagemaker, s3 = aws.client("sagemaker"), aws.client("s3")
    train, test = abalone()
    s3.put_object(Bucket=project.bucket, Key="test.csv", Body=test.to_csv(header=False, index=False).encode())
    s3.put_object(Bucket=project.bucket, Key="model.tar.gz", Body=trained(train))

    model = f"s3://{project.bucket}/model.tar.gz"
    properties = {"HeldOutDataUri": f"s3://{project.bucket}/test.csv", "Gone": f"s3://{project.bucket}/gone.csv"}
    package = register(aws, project.group, model=model, CustomerMetadataProperties=properties)
    other = register(aws, project.group, model=model, CustomerMetadataProperties={"Some": "thing"})
    stage = Stage(project, package, other)
    name = f"{project.name}-staging"
    sagemaker.create_model(
        ModelName=name, Containers=[{"ModelPackageName": package}], ExecutionRoleArn=project.model_role
    )
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    wait_for(lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] != "Creating", "the endpoint")
    return stage


def abalone() -> tuple[Any, Any]:
    """The Abalone data as the model-build seed prepares it, label first: for training and for testing."""
    with zipfile.ZipFile(Path(sklego.__file__).parent / "data" / "abalone.zip") as archive:
        table = pandas.read_csv(archive.open(archive.namelist()[0]))
    sexes = pandas.get_dummies(table.pop("sex"), prefix="sex", dtype=int)
    rows = pandas.concat([table.pop("rings"), sexes, table], axis=1).sample(frac=1, random_state=1)
    return rows[:3500], rows[3500:]


def trained(rows: Any) -> bytes:
    """A model archive as the XGBoost container leaves it."""
    parameters = {"objective": "reg:squarederror", "eta": 0.2, "max_depth": 5, "min_child_weight": 6, "nthread": 1}
    data = xgboost.DMatrix(rows.iloc[:, 1:].to_numpy(), label=rows.iloc[:, 0])
    model = bytes(xgboost.train(parameters, data, 50).save_raw("ubj"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("xgboost-model")
        member.size = len(model)
        tar.addfile(member, io.BytesIO(model))
    return buffer.getvalue()


@pytest.fixture
def run_test(stage: Stage, tmp_path: Path) -> Callable[..., CompletedProcess[str]]:
    """Runs the command in a repository (`tmp_path`) that holds the given files."""

    def run(
        quality: str = "",
        test: str = "",
        package: str = stage.package,
        options: tuple[str, ...] = (),
        **environ: str,
    ) -> CompletedProcess[str]:
        export(tmp_path, stage.project, package)
        if quality:
            (tmp_path / "quality.yml").write_text(quality)
        if test:
            (tmp_path / "tests").mkdir(exist_ok=True)
            (tmp_path / "tests" / "test_endpoint.py").write_text(test)
        environ = stage.project.environ | environ
        return sagemaker_ci("test", "--stage", "staging", *options, environ=environ, cwd=tmp_path)

    return run


def export(folder: Path, project: Project, package: str) -> None:
    """The file that build would have written."""
    content = {
        "SchemaVersion": 1,
        "Stage": "staging",
        "StackName": f"sagemaker-{project.name}-{project.id}-deploy-staging",
        "EndpointName": f"{project.name}-staging",
        "ModelPackageArn": package,
        "Template": "{}",
        "Parameters": {},
        "Tags": {},
    }
    (folder / "staging-config-export.json").write_text(json.dumps(content))


def cases(folder: Path) -> dict[str, str]:
    """The tests in junit.xml: passed, failure, error or skipped, by name."""
    root = ElementTree.parse(folder / REPORTS / "junit.xml")  # noqa: S314 - our own file
    return {case.attrib["name"]: case[-1].tag if len(case) else "passed" for case in root.iter("testcase")}


def properties_aside(outcomes: dict[str, str]) -> dict[str, str]:
    return {name: "passed" if outcome == "properties" else outcome for name, outcome in outcomes.items()}


Run = Callable[..., CompletedProcess[str]]
