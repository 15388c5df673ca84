"""How a command ends: its exit code, and what it says on the way out."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path

import pytest

from ci_scripts import errors

ROOT = Path(__file__).parents[2]
ROLE = "arn:aws:iam::123456789012:role/model"
PROJECT = {
    "AWS_REGION": "eu-west-1",
    "SAGEMAKER_PROJECT_NAME": "abalone",
    "SAGEMAKER_PROJECT_ID": "p-1",
    "ARTIFACT_BUCKET": "a-bucket",
    "MODEL_EXECUTION_ROLE_ARN": ROLE,
}
OIDC = {"CI_JOB_ID": "7", "AWS_ROLE_ARN": ROLE, "AWS_ID_TOKEN": "a-token"}


def start(*arguments: str, cwd: Path, **environ: str) -> subprocess.Popen[str]:
    """`sagemaker-ci` in a process of its own, with no variables but these."""
    return subprocess.Popen(
        [sys.executable, "-m", "ci_scripts.cli", *arguments],
        cwd=cwd,
        env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C must reach it: programs started in the background are told to ignore it, and so are their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.fixture
def silence() -> Iterator[socket.socket]:
    """Something that takes calls for AWS and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


@pytest.mark.parametrize("command", ["build", "doctor"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["cancelled in GitLab", "interrupted"])
def test_a_command_that_is_interrupted_ends_in_one_line_and_leaves_no_id_token(
    silence: socket.socket, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    folder, temporary = tmp_path / "model-deploy", tmp_path / "tmp"
    shutil.copytree(ROOT / "seed-deploy", folder)
    temporary.mkdir()
    url = f"http://127.0.0.1:{silence.getsockname()[1]}"
    process = start(command, cwd=folder, **PROJECT, **OIDC, AWS_ENDPOINT_URL=url, TMPDIR=str(temporary), NO_COLOR="1")
    connection, _ = silence.accept()
    with connection:
        assert [path.read_text() for path in temporary.iterdir()] == ["a-token"]
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert stderr.startswith(f"error SMCI-103: cancelled by {number.name}\nhint: ")
    assert process.returncode == 1
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "environ", "shown"),
    [
        (["build"], {}, False),
        (["build"], {"SMCI_DEBUG": "false"}, False),
        (["build"], {"SMCI_DEBUG": "true"}, True),
        (["--debug", "build"], {}, True),
    ],
)
def test_debugging_adds_the_traceback_to_code_and_hint(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], shown: bool
) -> None:
    process = start(*arguments, cwd=tmp_path, **environ)
    _, stderr = process.communicate(timeout=60)
    assert ("Traceback" in stderr) is shown
    assert "\nerror SMCI-101: AWS_REGION is not set" in f"\n{stderr}"
    assert stderr.splitlines()[-2].startswith("hint: ")
    assert stderr.splitlines()[-1] == f"docs: {errors.PAGE}#smci-101"
    assert process.returncode == 1


def test_the_address_of_the_errors_is_that_of_the_package() -> None:
    [address] = [each for each in metadata("sagemaker-ci").get_all("Project-URL", []) if each.startswith("Errors, ")]
    assert address == f"Errors, {errors.PAGE}"
