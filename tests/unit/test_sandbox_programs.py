"""What the sandbox needs of the machine, told before anything is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_this_machine_has_all_of_it() -> None:
    assert missing_program() == ""
