"""The acceptance run, pointed at the sandbox: it passes, asks its questions, and leaves nothing, however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sandbox import job_images
from sandbox.acceptance import questions
from sandbox.aws.ground import ACCOUNT
from sandbox.processes import ROOT
from sandbox.world import installed
from sandbox.world.installed import World

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with installed.running(tmp_path_factory.mktemp("acceptance"), job_images.build(print)) as world:
        installed.publish_components(world)
        installed.upload_abalone(world)
        installed.create_group(world)
        yield world


def environ(world: World) -> dict[str, str]:
    """What a person sets for the run: four variables, and how AWS knows them."""
    return (
        world.environ()
        | world.network
        | {
            "GITLAB_URL": world.gitlab_url,
            "GITLAB_CA_SECRET": installed.AUTHORITIES_SECRET,
            "GITLAB_TOKEN": world.gitlab_token,
            "GITLAB_GROUP": installed.GROUP,
            "COMPONENTS": f"{installed.COMPONENTS}@{installed.VERSION}",
        }
    )


def start(settings: Mapping[str, str], folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sandbox", "acceptance", "--folder", str(folder), *options]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def assert_nothing_is_left(world: World) -> None:
    assert world.aws("cloudformation").describe_stacks()["Stacks"] == []
    buckets = {bucket["Name"] for bucket in world.aws("s3").list_buckets()["Buckets"]}
    own = {name for name in buckets if not name.startswith("cloudformation-custom-resource-response")}  # that is AWS's
    assert own == {installed.SAMPLE_DATA}
    sagemaker = world.aws("sagemaker")
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    assert sagemaker.list_pipelines()["PipelineSummaries"] == []
    secrets = {secret["Name"] for secret in world.aws("secretsmanager").list_secrets()["SecretList"]}
    assert secrets == {installed.TOKEN_SECRET, installed.AUTHORITIES_SECRET}
    assert world.aws("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"] == []
    paths = {project.path_with_namespace for project in world.gitlab().projects.list(get_all=True)}
    assert paths == {installed.COMPONENTS}


def test_the_loop_passes_the_questions_are_asked_and_everything_is_taken_away(world: World, tmp_path: Path) -> None:
    process = start(environ(world), tmp_path)
    output, _ = process.communicate(f"{ACCOUNT}\n")
    assert process.returncode == 0, output[-6000:]
    outcome = json.loads((tmp_path / "acceptance" / "acceptance.json").read_text())
    assert outcome["result"]["endpoints"]["prod"]["status"] == "InService"
    assert outcome["left_over"] == []
    answers = {answer["name"]: answer["answer"] for answer in outcome["answers"]}
    assert set(answers) == set(questions.questions())
    assert "one row: 200 text/csv" in answers["container-answers"]
    assert "the endpoint is on the old configuration" in answers["alarm-rollback"]
    assert answers["one-instance"].startswith("refused, ValidationException")
    assert answers["project-stack"].startswith("SP-acceptance-")
    page = (tmp_path / "acceptance" / "acceptance.md").read_text()
    assert all(question in page for question in questions.questions().values())
    assert world.gitlab_token not in output + page + json.dumps(outcome)
    assert_nothing_is_left(world)


def test_ctrl_c_takes_everything_away(world: World, tmp_path: Path) -> None:
    process = start(environ(world), tmp_path, "--yes")
    assert process.stdout
    for line in process.stdout:
        if re.search(r"│ \$ sagemaker-ci deploy --stage staging", line):
            process.send_signal(signal.SIGINT)
            break
    output = process.stdout.read()
    assert process.wait() == 1, output[-6000:]
    assert "stopped by hand" in output
    assert_nothing_is_left(world)


def test_a_killed_run_is_removed_by_its_name(world: World, tmp_path: Path) -> None:
    process = start(environ(world), tmp_path, "--yes")
    assert process.stdout
    for line in process.stdout:
        if "created, id p-" in line:
            process.kill()
            break
    process.wait()
    [state] = (tmp_path / "acceptance").glob("acceptance-*.json")
    removal = start(environ(world), tmp_path, "--remove", state.stem)
    output, _ = removal.communicate()
    assert removal.returncode == 0, output
    assert_nothing_is_left(world)


def test_nothing_starts_unless_the_account_is_confirmed(world: World, tmp_path: Path) -> None:
    process = start(environ(world), tmp_path)
    output, _ = process.communicate("y\n")
    assert process.returncode == 1
    assert "It costs about" in output
    assert "Nothing was started" in output
    assert_nothing_is_left(world)


def test_everything_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    process = start({"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, tmp_path)
    output, _ = process.communicate()
    assert process.returncode == 1
    for name in ("GITLAB_URL", "GITLAB_TOKEN", "GITLAB_GROUP", "COMPONENTS", "AWS_REGION"):
        assert name in output
