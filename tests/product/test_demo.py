"""The whole loop as `make demo` runs it: what the README promises, end to end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(600)


class Demo(NamedTuple):
    result: dict[str, Any]
    output: str
    folder: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "sandbox", "demo", "--verbose", "--folder", str(folder)]
    temporary = folder / "tmp"  # where jobs and containers run, so that none can hide from the look for survivors
    temporary.mkdir()
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(temporary), "COLUMNS": "200"}
    environ |= dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")  # leads nowhere
    done = subprocess.run(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return Demo(json.loads((folder / "demo.json").read_text()), done.stdout, folder)


def test_a_commit_trains_and_registers_a_model_good_enough(demo: Demo) -> None:
    training = demo.result["training"]
    assert training["job"] == "success"
    assert training["status"] == "Succeeded"
    assert 2.0 < training["mse"] <= 6.0  # a model that knew nothing would be above 10


def test_three_events_of_one_approval_start_one_pipeline(demo: Demo) -> None:
    assert demo.result["approval"]["events_sent"] == 3
    assert demo.result["approval"]["pipelines_started"] == 1


def test_every_deploy_job_passes_in_order(demo: Demo) -> None:
    jobs = demo.result["deploy"]["jobs"]
    assert [job["name"] for job in jobs] == ["build", "staging-deploy", "test-staging", "prod-deploy"]
    assert {job["status"] for job in jobs} == {"success"}


def test_both_endpoints_serve_exactly_the_approved_version(demo: Demo) -> None:
    approved = demo.result["training"]["model_package_arn"]
    for stage, endpoint in demo.result["endpoints"].items():
        assert endpoint["name"] == f"abalone-{stage}"
        assert endpoint["status"] == "InService"
        assert endpoint["model_package_arn"] == approved
        assert all(3 < each < 25 for each in endpoint["predictions"])
        assert endpoint["mean_absolute_error"] < 3  # to guess the mean is off by 2.4 on average, on a few rows by more
    assert re.search(r"not seen:\n  (\d+\.\d \(has \d+\)(, )?){8}\n  on average off by \d\.\d rings\n", demo.output)


def test_the_staging_tests_measure_the_quality_on_held_out_rows(demo: Demo) -> None:
    assert re.search(r"mse \d+\.\d+, at most 6\.0: passed", demo.output)


def test_what_is_shown_can_be_followed_and_does_not_repeat_the_installation(demo: Demo) -> None:
    assert "job 1 of data-science/abalone-model-build" in demo.output
    assert "SMCI_INSTALL_FROM" not in demo.output


def test_it_ends_with_the_report_and_a_page_of_the_whole_run_that_need_nothing(demo: Demo) -> None:
    for name, content in (("report.html", "Test of abalone-staging"), ("demo.html", "Registered model package")):
        assert f"{demo.folder / name}\n" in demo.output
        html = (demo.folder / name).read_text()
        assert content in html
        assert not re.search(r"""<(script|link|img|iframe)[^>]+(src|href)=["'](?!data:)""", html)
        assert not re.search(r"""@import|url\((?!["']?(?:data:|#))""", html)


def test_nothing_of_the_sandbox_runs_on(demo: Demo) -> None:
    processes = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout
    assert str(demo.folder) not in processes
