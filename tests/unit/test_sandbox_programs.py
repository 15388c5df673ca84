"""What the sandbox needs of the machine, told before anything is started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.processes import missing_program


def demo(path: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": path, "HOME": os.environ["HOME"]}
    command = [sys.executable, "-m", "sandbox", "demo"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_a_machine_without_git_is_told_in_one_line(tmp_path: Path) -> None:
    done = demo(str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: there is no program git on PATH (GitLab's repositories are git's): install it\n"


def test_a_git_that_serves_nothing_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "git").write_text(f"#!/bin/sh\necho {tmp_path}\n")
    (tmp_path / "git").chmod(0o755)
    done = demo(f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert f"there is no git-http-backend in {tmp_path}" in done.stderr


@pytest.mark.parametrize("option", ["--aws-port", "--gitlab-port", "--page-port"])
def test_a_port_that_another_program_has_is_named_with_the_option_for_another(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = {"--aws-port": "0", "--gitlab-port": "0", "--page-port": "0", option: str(port)}
        command = [sys.executable, "-m", "sandbox", "up", *(word for pair in ports.items() for word in pair)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: port {port} of 127.0.0.1 is another program's: end it, or name another port: "
        f".venv/bin/python -m sandbox up {option} {port + 1}\n"
    )


def test_this_machine_has_all_of_it() -> None:
    assert missing_program() == ""
