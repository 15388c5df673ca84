"""`compare` in quality.yml: the version of production answers the same rows, and the tested one must keep up."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.gateway import Gateway
from tests.support.roles import DEPLOY, deployed
from tests.support.servers import Aws, register, sagemaker_ci
from tests.support.tested_stage import (  # noqa: F401 - the fixtures
    REPORTS,
    Run,
    Stage,
    abalone,
    cases,
    export,
    properties_aside,
    run_test,
    stage,
    trained,
)
from tests.support.waiting import wait_for

COMPARE = """\
data: {from_model_package: HeldOutDataUri}
compare: {with: prod, metrics: {mse: {worse_by_at_most: 0.1}, r2: {worse_by_at_most: 0.01}}}
"""
TESTS = ["quality: mse at most 0.1 worse than prod", "quality: r2 at most 0.01 worse than prod"]

Serve = Callable[..., None]


@pytest.fixture
def serve(aws: Aws, stage: Stage) -> Iterator[Serve]:
    """Lets production serve a model package, until the test is over."""
    sagemaker: Any = aws.client("sagemaker")
    endpoint = f"{stage.project.name}-prod"

    def serving(package: str, **settings: Any) -> None:
        name = f"prod-{uuid.uuid4().hex[:8]}"
        role = stage.project.model_role
        sagemaker.create_model(ModelName=name, Containers=[{"ModelPackageName": package}], ExecutionRoleArn=role)
        variant = {"VariantName": "A", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **settings)
        sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=name)
        wait_for(lambda: sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService")

    yield serving
    if sagemaker.list_endpoints(NameContains=endpoint)["Endpoints"]:
        sagemaker.delete_endpoint(EndpointName=endpoint)
        wait_for(lambda: not sagemaker.list_endpoints(NameContains=endpoint)["Endpoints"])


def version(aws: Aws, stage: Stage, model: bytes) -> str:
    key = f"champion-{uuid.uuid4().hex[:8]}/model.tar.gz"
    aws.client("s3").put_object(Bucket=stage.project.bucket, Key=key, Body=model)
    return register(aws, stage.project.group, model=f"s3://{stage.project.bucket}/{key}")


def test_without_a_version_in_production_the_comparison_says_so_and_passes(run_test: Run, tmp_path: Path) -> None:
    done = run_test(COMPARE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"nothing to compare with: prod has no endpoint \S+-prod yet", done.stdout)
    assert properties_aside(cases(tmp_path)) == dict.fromkeys(TESTS, "passed")
    assert "prod has no endpoint" in (tmp_path / REPORTS / "summary.md").read_text()
    assert "prod has no endpoint" in (tmp_path / REPORTS / "report.html").read_text()


def test_a_version_that_serves_in_production_already_is_not_compared_with_itself(
    run_test: Run, stage: Stage, serve: Serve
) -> None:
    serve(stage.package)
    done = run_test(COMPARE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"nothing to compare with: endpoint \S+-prod serves this very version", done.stdout)


def test_a_version_that_is_better_than_production_s_passes(
    aws: Aws, run_test: Run, tmp_path: Path, stage: Stage, serve: Serve
) -> None:
    serve(version(aws, stage, trained(abalone()[0][:60])))
    done = run_test(COMPARE)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = metrics(tmp_path)
    assert measured["staging_mse"] < measured["staging_mse_of_prod"]
    assert measured["staging_mse_worse_than_prod_by_low"] < measured["staging_mse_worse_than_prod_by"] < 0
    assert measured["staging_r2_worse_than_prod_by"] < 0
    assert properties_aside(cases(tmp_path)) == dict.fromkeys(TESTS, "passed")


@pytest.mark.parametrize("options", ["", "-n 2"], ids=["in one process", "in two workers"])
def test_a_version_that_is_worse_than_production_s_fails_with_the_numbers(
    aws: Aws, run_test: Run, tmp_path: Path, stage: Stage, serve: Serve, options: str
) -> None:
    serve(version(aws, stage, trained(abalone()[1])))  # it has seen the held-out rows
    done = run_test(COMPARE, PYTEST_ADDOPTS=options)
    assert done.returncode == 1
    assert "error SMCI-708: 2 of 2 tests failed" in done.stderr
    pattern = (
        r"mse is [\d.]+, that of prod is [\d.]+: worse by [\d.]+ \(0.95 interval [\d.]+ to [\d.]+\), and it may be by"
    )
    assert re.search(f"{pattern} at most 0.1", done.stdout)
    measured = metrics(tmp_path)
    worse_by = measured["staging_mse_worse_than_prod_by"]
    assert worse_by == pytest.approx(measured["staging_mse"] - measured["staging_mse_of_prod"], abs=0.001)
    assert 0.1 < measured["staging_mse_worse_than_prod_by_low"] < worse_by
    summary = (tmp_path / REPORTS / "summary.md").read_text()
    assert re.search(r"\| mse with prod \| [\d.]+ \| [\d.]+ \| [\d.]+ \(0\.95 .*\) \| 0\.1 \| failed \|", summary)
    assert "Compared with the version of another stage" in (tmp_path / REPORTS / "report.html").read_text()


def test_a_version_may_be_worse_by_as_much_as_the_file_says(
    aws: Aws, run_test: Run, stage: Stage, serve: Serve
) -> None:
    serve(version(aws, stage, trained(abalone()[1])))
    done = run_test(COMPARE.replace("0.1}", "30}").replace("0.01}", "1}"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_comparison_that_pytest_leaves_out_fails_the_job(run_test: Run) -> None:
    done = run_test(COMPARE, "def test_one():\n    pass\n", PYTEST_ADDOPTS="-k test_one")
    assert done.returncode == 1
    assert "error SMCI-708: 2 of 2 thresholds not met: mse at most 0.1 worse than prod" in done.stderr


def test_a_version_in_production_that_cannot_take_the_rows_is_told_with_what_to_do(
    aws: Aws, run_test: Run, stage: Stage, serve: Serve
) -> None:
    rows = abalone()[0][:60]
    serve(version(aws, stage, trained(rows.iloc[:, :5])))  # of a time with fewer features
    done = run_test(COMPARE)
    assert done.returncode == 1
    assert re.search(r"error SMCI-710: endpoint \S+-prod did not predict the held-out rows", done.stderr)
    assert "because features have changed, leave `compare` out of quality.yml" in done.stderr


def test_too_few_rows_tell_no_two_versions_apart(aws: Aws, run_test: Run, stage: Stage, serve: Serve) -> None:
    serve(version(aws, stage, trained(abalone()[0][:60])))
    done = run_test(COMPARE.replace("HeldOutDataUri}", "HeldOutDataUri, rows: 10}"))
    assert done.returncode == 1
    assert "error SMCI-706: a comparison needs at least 30 rows of held-out data, there are 10" in done.stderr


def hosted_as(folder: Path, stage: Stage, name: str, kind: str) -> None:
    """What build has exported for a stage that is hosted in another way."""
    project = stage.project
    content = {
        "SchemaVersion": 1,
        "Stage": name,
        "Hosting": kind,
        "StackName": f"sagemaker-{project.name}-{project.id}-deploy-{name}",
        "EndpointName": f"{project.name}-{name}",
        "ModelPackageArn": stage.package,
        "Template": "{}",
        "Parameters": {},
        "Tags": {},
    }
    (folder / f"{name}-config-export.json").write_text(json.dumps(content))


def test_a_batch_transform_in_production_is_refused(run_test: Run, tmp_path: Path, stage: Stage) -> None:
    hosted_as(tmp_path, stage, "prod", "batch-transform")
    done = run_test(COMPARE)
    assert done.returncode == 1
    assert "error SMCI-710: prod is hosted as batch-transform, which answers no requests to compare with" in done.stderr


def test_an_asynchronous_endpoint_in_production_is_refused(run_test: Run, stage: Stage, serve: Serve) -> None:
    path = f"s3://{stage.project.bucket}/asynchronous/prod"
    serve(stage.other, AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": path}})
    done = run_test(COMPARE)
    assert done.returncode == 1
    assert re.search(
        r"error SMCI-710: endpoint \S+-prod is asynchronous: it puts its answers beside those", done.stderr
    )


@pytest.mark.parametrize("allowed", ["true", "false"])
def test_the_role_of_the_job_asks_production_only_where_the_platform_team_allows_it(
    aws: Aws, gateway: Gateway, tmp_path: Path, stage: Stage, serve: Serve, allowed: str
) -> None:
    serve(version(aws, stage, trained(abalone()[0][:60])))
    project = stage.project
    export(tmp_path, project, stage.package)
    (tmp_path / "held.csv").write_text(abalone()[1].to_csv(header=False, index=False))
    (tmp_path / "quality.yml").write_text(COMPARE.replace("from_model_package: HeldOutDataUri", "path: held.csv"))
    more = {"CompareWithProd": allowed}
    with deployed(aws, gateway, project.name, project.id, project.bucket, more) as roles:
        own = {name: value for name, value in project.environ.items() if "KEY" not in name and "TOKEN" not in name}
        role = {"AWS_ROLE_ARN": roles.outputs["StagingRoleArn"], "AWS_ID_TOKEN": roles.token("Staging", DEPLOY)}
        done = sagemaker_ci("test", "--stage", "staging", environ=own | role, cwd=tmp_path)
    assert done.returncode == (0 if allowed == "true" else 1), done.stdout + done.stderr
    if allowed == "false":
        assert "error SMCI-710: this job may not ask endpoint" in done.stderr
        assert "with the parameter CompareWithProd set to true" in done.stderr


def metrics(folder: Path) -> dict[str, float]:
    lines = (folder / REPORTS / "metrics.txt").read_text().splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines if not line.startswith("#"))}
