"""checkov on everything that users deploy: no finding that is not suppressed with a reason beside it.

checkov pins libraries that clash with ours, so it has an environment of its own below `.sandbox/`, built on demand.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".sandbox" / "checkov"
PINS = ROOT / "requirements" / "checkov.txt"
pytestmark = pytest.mark.timeout(300, func_only=True)  # not for the environment's download


@pytest.fixture(scope="module")
def checkov() -> str:
    """The program, of the pinned version."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    stamp, venv = FOLDER / "stamp", FOLDER / "venv"
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != PINS.read_text():
            uv = str(Path(sys.executable).with_name("uv"))
            pins = ["--require-hashes", str(PINS)]
            subprocess.run([uv, "--quiet", "venv", "--clear", "--python", sys.executable, str(venv)], check=True)
            subprocess.run([uv, "--quiet", "pip", "sync", "--python", str(venv / "bin" / "python"), *pins], check=True)
            stamp.write_text(PINS.read_text())
    return str(venv / "bin" / "checkov")


def test_checkov_finds_nothing_that_has_no_reason(checkov: str) -> None:
    packaged = sorted((ROOT / "ci_scripts" / "hosting" / "templates").glob("*.yml"))
    files = [*sorted((ROOT / "infra").glob("*.yml")), *packaged, ROOT / "seed-deploy" / "endpoint-config-template.yml"]
    command = [
        checkov,
        "--framework",
        "cloudformation",
        "--output",
        "json",
        "--skip-download",
        "--file",
        *map(str, files),
    ]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    report: dict[str, Any] = json.loads(done.stdout)

    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 100
    failures = [f"{row['check_id']} {row['file_path']} {row['resource']}" for row in report["results"]["failed_checks"]]
    assert failures == []
    assert all(row["check_result"]["suppress_comment"] for row in report["results"]["skipped_checks"])
