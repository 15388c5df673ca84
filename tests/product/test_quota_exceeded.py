"""A new account's quotas: what `deploy` and `run-pipeline` say when one is too low, and that what they say helps."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.aws.ground import REGION, ROOT_KEYS
from sandbox.processes import Server
from tests.support.deployment import Deployment, succeeded
from tests.support.hosting import model_predicting
from tests.support.run_pipeline import PIPELINE, Repository
from tests.support.servers import ROOT, Aws, create_project

CONSOLE = "https://eu-west-1.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """An AWS of its own, whose jobs and endpoints are held to a new account's quotas."""
    state = tmp_path_factory.mktemp("account")
    server = Server("sandbox.aws", state, "--quotas")
    region = {"AWS_ENDPOINT_URL": server.url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
    yield Aws(server.url, region | ROOT_KEYS, state)
    assert server.stop() == 0


def run_command_of(hint: str, aws: Aws) -> None:
    """Do as the hint says, as a person pastes it."""
    [command] = re.findall(r"`(aws .*)`", hint)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["sh", "-c", command], env=aws.environ | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def refusal(result: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """The two lines of SMCI-317."""
    assert result.returncode == 1, result.stdout + result.stderr
    error, hint, _ = result.stderr.splitlines()
    assert error.startswith("error SMCI-317: "), result.stderr
    return error, hint


def test_a_deployment_beyond_the_quota_names_it_and_the_command_that_raises_it(account: Aws, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ROOT / "seed-deploy", tmp_path / "model-deploy"))
    deployment = Deployment(account, create_project(account), folder)
    config = folder / "staging-config.json"
    config.write_text(config.read_text().replace("ml.t2.medium", "ml.m5.large"))
    deployment.register(model_predicting(9.0))
    deployment.build()
    error, hint = refusal(deployment.deploy())
    assert "'ml.m5.large for endpoint usage' is 0 Instances" in error
    assert "The account's quota 'ml.m5.large for endpoint usage' is 0 instances in eu-west-1: 0 in use, 1 more" in hint
    assert f"Ask for 1 or more at {CONSOLE} or with `aws service-quotas request-service-quota-increase " in hint
    run_command_of(hint, account)
    succeeded(deployment.deploy())
    assert deployment.prediction() == 9.0


def test_an_update_needs_the_instances_of_both_versions(account: Aws, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ROOT / "seed-deploy", tmp_path / "model-deploy"))
    deployment = Deployment(account, create_project(account), folder)
    deployment.register(model_predicting(1.0))
    deployment.build()
    for stage in ("staging", "prod"):
        succeeded(deployment.deploy(stage))
    deployment.register(model_predicting(2.0))
    deployment.build()
    _, hint = refusal(deployment.deploy())
    assert (
        "'ml.t2.medium for endpoint usage' is 2 instances in eu-west-1: 2 in use, 1 more requested. Ask for 3" in hint
    )
    assert "CloudFormation restored the previous deployment" in hint
    assert deployment.prediction() == 1.0
    run_command_of(hint, account)
    succeeded(deployment.deploy())
    assert deployment.prediction() == 2.0


def test_a_step_beyond_the_quota_is_told_the_same_way_and_its_job_is_resumed(account: Aws, tmp_path: Path) -> None:
    project = create_project(account)
    path = tmp_path / "pipelines" / "abalone" / "pipeline.py"
    path.parent.mkdir(parents=True)
    path.write_text(PIPELINE)
    s3 = account.client("s3")
    for key in ("data/rows.csv", "model.tar.gz"):
        s3.put_object(Bucket=project.bucket, Key=key, Body=b"1,2\n")
    repository = Repository(tmp_path, account, project)
    error, hint = refusal(repository.run())
    assert "step Prepare: ClientError: Failed to invoke sagemaker:CreateProcessingJob" in error
    assert "'ml.m5.large for processing job usage' is 0 instances in eu-west-1" in hint
    run_command_of(hint, account)
    done = repository.run(job=2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(repository.report("annotations.json"))
