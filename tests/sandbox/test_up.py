"""`make sandbox`, as a person meets it: the guide's commands work, and nothing outlives a closed terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from sandbox.processes import ROOT
from sandbox.up import STATE
from sandbox.world import people
from sandbox.world.installed import World, world_in
from tests.support.documented_commands import Shell
from tests.support.loop import finished, statuses

pytestmark = pytest.mark.timeout(240)
ANY_PORTS = ("--aws-port", "0", "--gitlab-port", "0", "--page-port", "0")


class Up(NamedTuple):
    """A running `python -m sandbox up` and the guide that it printed."""

    process: subprocess.Popen[str]
    guide: str
    folder: Path


def hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(folder: Path) -> Iterator[Up]:
    command = [sys.executable, "-m", "sandbox", "up", *ANY_PORTS, "--folder", str(folder)]
    # A shell lets what it starts in the background ignore Ctrl-C, tests as well: this one hears it.
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=hear_interrupts)
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            break
    try:
        yield Up(process, "".join(lines), folder)
    finally:
        process.terminate()
        process.wait(timeout=40)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with started(tmp_path_factory.mktemp("up")) as first:
        yield first


def test_the_guides_commands_reach_both_servers(up: Up, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    environ |= {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com"}
    environ |= {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com"}
    with Shell(tmp_path, environ) as shell:
        shell.run(block(up.guide, "export PATH").replace("$PWD", str(ROOT)))
        assert "abalone-p-sandbox01" in shell.run("aws sagemaker list-model-package-groups")
        clone_and_push, find_the_job, _ = block(up.guide, "git clone").rsplit("\n", 2)
        shell.run(clone_and_push)
        while '"name": "training"' not in shell.run(find_the_job):
            time.sleep(0.2)  # GitLab makes the pipeline once it has answered the push


def test_a_second_sandbox_in_the_same_folder_leaves_the_first_alone(up: Up) -> None:
    command = [sys.executable, "-m", "sandbox", "up", *ANY_PORTS, "--folder", str(up.folder)]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 1
    assert f"a sandbox is running in {up.folder}" in second.stderr
    assert (up.folder / STATE / "gitlab" / "root-token").exists()


def test_it_tells_what_happens_while_it_runs(up: Up) -> None:
    assert up.process.stdout
    for line in up.process.stdout:
        if "training (job 1): passed" in line:
            break


def test_closing_the_terminal_ends_it_all(up: Up) -> None:
    up.process.send_signal(signal.SIGHUP)
    assert up.process.wait(timeout=40) == 129
    left = subprocess.run(["pgrep", "-f", str(up.folder)], capture_output=True, text=True, check=False).stdout
    assert left == ""


def test_the_next_start_goes_on_where_it_ended(up: Up) -> None:
    """The version that was trained before is there, its approval starts the pipeline, and staging predicts."""
    with started(up.folder) as again:
        assert "It goes on where it ended." in again.guide
        assert "component project" not in again.guide  # nothing is installed once more
        aws, gitlab = re.findall(r"^(?:AWS|GitLab) +(http://\S+)", again.guide, re.MULTILINE)
        world = world_in(again.folder / STATE, aws, gitlab, World)
        [version] = world.aws("sagemaker").list_model_packages(ModelPackageGroupName="abalone-p-sandbox01")[
            "ModelPackageSummaryList"
        ]
        people.approve(world, version["ModelPackageArn"])
        deploy = world.gitlab().projects.get(world.deploy_repository)
        pipeline = finished(deploy, lambda each: each.source == "trigger")
        assert statuses(pipeline)["test-staging"] == "success"
        assert people.predict(world, "staging")
        again.process.send_signal(signal.SIGINT)
        assert again.process.wait(timeout=40) == 130
    with started(up.folder) as third:
        aws, gitlab = re.findall(r"^(?:AWS|GitLab) +(http://\S+)", third.guide, re.MULTILINE)
        world = world_in(third.folder / STATE, aws, gitlab, World)
        assert people.predict(world, "staging")  # endpoints serve again


def block(guide: str, beginning: str) -> str:
    """The commands of the guide that begin so, up to the next empty line."""
    [text] = re.findall(rf"^{beginning}.*?(?=\n\n)", guide, re.MULTILINE | re.DOTALL)
    return str(text)
