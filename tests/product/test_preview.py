"""`build --preview` and the first lines of a deployment: from which version to which, with metrics and price."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
from pathlib import Path

from ci_scripts import registry as stamps
from tests.support.build import EXPORTS
from tests.support.deployment import Deployment, deployment, failed, succeeded  # noqa: F401 - the fixture
from tests.support.hosting import model_predicting
from tests.support.price_list import offer, product
from tests.support.servers import register, sagemaker_ci

WRITES = ("CreateChangeSet", "CreateModel", "CreateEndpoint", "PutObject", "UpdateModelPackage")


def version(deployment: Deployment, answer: float, mse: str) -> str:
    """Register a version whose training has measured `mse`."""
    key = f"models/{mse}/model.tar.gz"
    deployment.aws.client("s3").put_object(Bucket=deployment.project.bucket, Key=key, Body=model_predicting(answer))
    model = f"s3://{deployment.project.bucket}/{key}"
    stamped = {"HeldOutDataUri": "s3://rows/test.csv", f"{stamps.METRIC}mse": mse}
    return register(deployment.aws, deployment.project.group, model=model, CustomerMetadataProperties=stamped)


def prices(deployment: Deployment, folder: Path, *options: str) -> str:
    listed = json.dumps(offer(product("EU-Host:ml.t2.medium", "0.0600000000"), product("EU-Host:ml.m5.large", "0.1")))
    return succeeded(sagemaker_ci("prices", *options, environ={}, cwd=folder, stdin=listed))


def test_a_person_sees_what_a_deployment_would_change_and_cost_before_anything_is_made(
    deployment: Deployment,
) -> None:
    version(deployment, 1, "4.6")
    deployment.build()
    assert "price:         not known for 1 ml.t2.medium: there is no prices.json" in succeeded(deployment.deploy())
    version(deployment, 2, "4.4")
    assert "prices.json: prices of 2026-09-01, 2 of eu-west-1" in prices(deployment, deployment.folder)
    (deployment.folder / "prod-config.json").write_text('{"Parameters": {"EndpointInstanceCount": 2}}')
    before = {operation: deployment.calls(operation) for operation in WRITES}
    log = succeeded(deployment.run("build", "--preview"))
    assert {operation: deployment.calls(operation) for operation in WRITES} == before
    assert not [name for name in EXPORTS if (deployment.folder / name).exists()]
    lines = log.splitlines()
    assert "- version `1` → `2`" in lines
    assert "| metric | version 1 | version 2 |" in lines
    assert "| mse | 4.6 | 4.4 |" in lines
    assert "Measured in training, on the same rows." in lines
    assert any(line.startswith("As in record 1 of staging, deployed on ") for line in lines)
    cost = (
        "for {count} ml.t2.medium, by AWS's list prices of 2026-09-01; storage, data and your discounts are not in it"
    )
    assert f"- price: 43.80 USD a month {cost.format(count=1)}" in lines
    assert f"- price: 87.60 USD a month {cost.format(count=2)}" in lines
    deployment.build()
    log = succeeded(deployment.deploy())
    assert f"price:         43.80 USD a month {cost.format(count=1)}" in log
    assert log.index("mse: 4.6 → 4.4") < log.index("== Change set")
    report = (deployment.folder / "sagemaker-ci-reports" / "summary.md").read_text()
    assert "- in place of version 1, deployed on " in report
    assert "- mse: 4.6 → 4.4" in report


def test_a_price_list_that_is_none_is_told(tmp_path: Path) -> None:
    for content in ("<html>", "{}", "[]"):
        failed(sagemaker_ci("prices", environ={}, cwd=tmp_path, stdin=content), "SMCI-418")
    assert not (tmp_path / "prices.json").exists()
