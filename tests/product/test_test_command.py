"""`sagemaker-ci test`: the seed's tests and thresholds, and everything that makes the job red."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.documented_commands import blocks
from tests.support.servers import ROOT, Aws, create_role, sagemaker_ci
from tests.support.tested_stage import (  # noqa: F401 - the fixtures
    QUALITY,
    REPORTS,
    SEED,
    Run,
    Stage,
    cases,
    export,
    properties_aside,
    run_test,
    stage,
)


def test_the_seed_is_green_and_reports_what_it_measured(stage: Stage, tmp_path: Path) -> None:
    shutil.copytree(SEED / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SEED / "quality.yml", tmp_path)
    export(tmp_path, stage.project, stage.package)

    done = sagemaker_ci("test", "--stage", "staging", environ=stage.project.environ, cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "quality: mse <= 6.0" in properties_aside(cases(tmp_path))
    assert set(properties_aside(cases(tmp_path)).values()) == {"passed"}
    metrics = dict(line.split() for line in (tmp_path / REPORTS / "metrics.txt").read_text().splitlines())
    assert 3 < float(metrics["staging_mse"]) < 6
    assert float(metrics["staging_latency_p95_ms"]) >= float(metrics["staging_latency_p50_ms"]) > 0
    assert f"Test of {stage.project.name}-staging: passed" in (tmp_path / REPORTS / "summary.md").read_text()
    page = (tmp_path / REPORTS / "report.html").read_text()
    assert page.count("<svg") == 3  # predictions, residuals, durations
    assert page.count('class="point"') == 500
    links = json.loads((tmp_path / REPORTS / "annotations.json").read_text())["sagemaker-ci"]
    assert links[0]["external_link"]["url"].endswith(f"#/endpoints/{stage.project.name}-staging")


def test_quality_below_the_threshold_is_red_and_still_reported(run_test: Run, tmp_path: Path) -> None:
    done = run_test(QUALITY + "  - {metric: mse, max: 1.0}\n  - {metric: r2, min: 0.2}\n")

    assert done.returncode == 1
    assert "error SMCI-708: 1 of 2 tests failed: quality: mse <= 1.0" in done.stderr
    assert "the threshold is mse <= 1.0" in done.stdout
    assert properties_aside(cases(tmp_path)) == {"quality: mse <= 1.0": "failure", "quality: r2 >= 0.2": "passed"}
    assert "| mse |" in (tmp_path / REPORTS / "summary.md").read_text()
    assert (tmp_path / REPORTS / "report.html").exists()


def test_a_failing_test_of_the_consumer_is_red(run_test: Run, tmp_path: Path) -> None:
    done = run_test(test="def test_age(endpoint):\n    assert endpoint.predict([[0] * 10]) == [-1.0]\n")

    assert done.returncode == 1
    assert "error SMCI-708: 1 of 1 tests failed: tests/test_endpoint.py::test_age" in done.stderr
    assert "hint: " in done.stderr
    assert cases(tmp_path) == {"test_age": "failure"}


def test_a_cancelled_job_stops_its_tests_and_reports_those_that_ran(stage: Stage, tmp_path: Path) -> None:
    export(tmp_path, stage.project, stage.package)
    (tmp_path / "tests").mkdir()
    slow = "import pathlib, time\ndef test_slow():\n    pathlib.Path('started').touch()\n    time.sleep(60)\n"
    (tmp_path / "tests" / "test_endpoint.py").write_text("def test_quick():\n    pass\n" + slow)
    command = [sys.executable, "-m", "ci_scripts.cli", "test", "--stage", "staging"]
    environ = {"PATH": os.environ["PATH"]} | stage.project.environ
    process = subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "started").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert errors.startswith("error SMCI-103: the tests were interrupted\n")
    assert process.returncode == 1
    assert 'name="test_quick"' in (tmp_path / REPORTS / "junit.xml").read_text()
    assert "staging: failed" in (tmp_path / REPORTS / "summary.md").read_text()


def test_a_test_that_cannot_be_imported_is_red(run_test: Run) -> None:
    done = run_test(test="import nothing_of_this_name\n")
    assert done.returncode == 1
    assert "error SMCI-708: 1 of 1 tests failed: tests/test_endpoint.py" in done.stderr


def test_an_endpoint_that_serves_another_package_is_refused_before_any_test(
    run_test: Run, stage: Stage, tmp_path: Path
) -> None:
    done = run_test(QUALITY + "  - {metric: mse, max: 6.0}\n", package=stage.other)
    assert done.returncode == 1
    assert f"error SMCI-604: endpoint {stage.project.name}-staging serves {stage.package}" in done.stderr
    assert not (tmp_path / REPORTS / "junit.xml").exists()


def test_a_pipeline_that_was_overtaken_is_not_sent_to_its_template(run_test: Run, stage: Stage) -> None:
    done = run_test(QUALITY + "  - {metric: mse, max: 6.0}\n", package=stage.other)
    assert "hint: Another pipeline has deployed to staging since: go on there." in done.stderr


def test_tests_alone_are_enough_and_see_the_endpoint(run_test: Run, stage: Stage) -> None:
    test = f"""
def test_fixtures(endpoint, thresholds, quality):
    assert endpoint.name == "{stage.project.name}-staging"
    assert endpoint.stage == "staging"
    assert endpoint.model_package_arn == "{stage.package}"
    assert len(endpoint.predict([[0.5] * 10] * 250)) == 250
    assert len(endpoint.invoke(b"1,0,0,1,1,1,1,1,1,1\\n1,0,0,1,1,1,1,1,1,1").splitlines()) == 2
    assert (thresholds, quality) == ({{}}, {{}})
"""
    done = run_test(test=test)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_of_the_page_is_green(run_test: Run, tmp_path: Path) -> None:
    [example] = [
        block.text
        for block in blocks(ROOT / "templates" / "test-staging" / "README.md")
        if "ci_scripts.testing" in block.text
    ]
    done = run_test("data: {from_model_package: HeldOutDataUri, rows: 20}\nchecks: []\n", example)
    assert done.returncode == 0, done.stdout + done.stderr
    assert cases(tmp_path) == {"test_words_are_refused": "passed"}


def test_thresholds_alone_are_enough(run_test: Run) -> None:
    done = run_test(QUALITY + "  - {metric: latency_p95_ms, max: 60000}\n")
    assert done.returncode == 0, done.stdout + done.stderr


def test_tests_see_the_data_and_thresholds_of_quality_yml(run_test: Run) -> None:
    test = """
def test_fixtures(held_out, thresholds, quality):
    assert len(held_out.features) == len(held_out.labels) == 20
    assert held_out.total == 677
    assert len(held_out.features[0]) == 10
    assert thresholds == {"mse": {"max": 9}}
    assert quality["data"]["rows"] == 20
"""
    quality = "data: {from_model_package: HeldOutDataUri, rows: 20}\nchecks: [{metric: mse, max: 9}]\n"
    done = run_test(quality, test)
    assert done.returncode == 0, done.stdout + done.stderr


def test_held_out_without_quality_yml_says_what_is_missing(run_test: Run) -> None:
    done = run_test(test="def test_data(held_out):\n    pass\n")
    assert done.returncode == 1
    assert "the fixture held_out needs a quality.yml" in done.stdout


@pytest.mark.parametrize(
    ("test", "quality", "message"),
    [
        ("", "", "there are neither tests in tests nor checks in quality.yml"),
        ("", "data: {path: a.csv}\n", "there are neither tests in tests nor checks in quality.yml"),
        ("helper = 1\n", "", "not one test ran"),
        ("import pytest\ndef test_later():\n    pytest.skip('later')\n", "", "not one test ran"),
    ],
    ids=["nothing", "no checks", "no tests", "all skipped"],
)
def test_a_run_that_tests_nothing_is_not_green(run_test: Run, test: str, quality: str, message: str) -> None:
    done = run_test(quality, test)
    assert done.returncode == 1
    assert "error SMCI-707: " in done.stderr
    assert message in done.stderr


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("pytest.ini", "[pytest]\naddopts = -m smoke\nmarkers = smoke\n"),
        ("conftest.py", "def pytest_collection_modifyitems(items):\n    items[:] = items[:1]\n"),
        ("conftest.py", "import pytest\ndef pytest_runtest_setup(item):\n    'mse' in item.name and pytest.skip()\n"),
    ],
    ids=["addopts", "collection hook", "skip"],
)
def test_a_threshold_that_pytest_leaves_out_is_red(run_test: Run, tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / file).write_text(content)
    smoke = "import pytest\n@pytest.mark.smoke\ndef test_smoke():\n    pass\n"
    done = run_test(QUALITY + "  - {metric: mse, max: 1.0}\n", smoke)
    assert done.returncode == 1, done.stdout
    assert "error SMCI-708: 1 of 1 thresholds not met: mse <= 1.0 (not measured)" in done.stderr
    assert "staging: failed" in (tmp_path / REPORTS / "summary.md").read_text()


def test_a_threshold_that_is_expected_to_fail_is_red(run_test: Run, tmp_path: Path) -> None:
    mark = "def pytest_collection_modifyitems(items):\n    for item in items:\n        item.add_marker('xfail')\n"
    (tmp_path / "conftest.py").write_text(mark)
    done = run_test(QUALITY + "  - {metric: mse, max: 1.0}\n", "def test_one():\n    pass\n")
    assert done.returncode == 1, done.stdout
    assert "error SMCI-708: 1 of 1 thresholds not met: mse <= 1.0 (" in done.stderr


@pytest.mark.parametrize(
    ("quality", "code", "message"),
    [
        ("data: {from_model_package: Typo}\n", "SMCI-702", "no S3 URI under Typo"),
        ("data: {from_model_package: Gone}\n", "SMCI-702", "there is no held-out data at s3://"),
        ("data: {path: gone.csv}\n", "SMCI-702", "gone.csv"),
        ("data: {from_model_package: HeldOutDataUri, label_column: 11}\n", "SMCI-703", "label_column 11"),
        ("data: {rows: 0}\n", "SMCI-701", "2 problems in quality.yml"),
    ],
    ids=["unknown key", "no object", "no file", "no such column", "invalid"],
)
def test_data_that_cannot_be_had_is_one_clear_error(run_test: Run, quality: str, code: str, message: str) -> None:
    done = run_test(quality + "checks: [{metric: mse, max: 6.0}]\n")
    assert done.returncode == 1
    assert f"error {code}: " in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_data_in_a_bucket_that_may_not_be_listed_is_missing_or_forbidden(aws: Aws, run_test: Run, stage: Stage) -> None:
    allowed = [{"Effect": "Allow", "Action": ["sagemaker:*", "s3:GetObject"], "Resource": "*"}]
    role = create_role(aws, f"reader-{stage.project.name}", "sagemaker.amazonaws.com", allowed)
    keys = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="job")["Credentials"]
    done = run_test(
        "data: {from_model_package: Gone}\nchecks: [{metric: mse, max: 6.0}]\n",
        AWS_ACCESS_KEY_ID=keys["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"],
        AWS_SESSION_TOKEN=keys["SessionToken"],
    )
    message = (
        f"error SMCI-702: the held-out data at s3://{stage.project.bucket}/gone.csv is not there, or may not be read"
    )
    assert message in done.stderr
    assert "s3:ListBucket" in done.stderr


def test_an_endpoint_that_fails_is_asked_twice_and_named_as_the_cause(run_test: Run) -> None:
    paths: list[str] = []

    class Unavailable(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.send_response(503)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing to tell."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Unavailable) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run_test(
            QUALITY + "  - {metric: mse, max: 6.0}\n  - {metric: latency_p95_ms, max: 1000}\n",
            AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=f"http://127.0.0.1:{server.server_port}",
        )
        server.shutdown()
    assert "error SMCI-606: " in done.stderr
    assert len(paths) == 2


def test_a_model_that_refuses_the_held_out_rows_is_asked_once_and_named_as_the_cause(
    run_test: Run, tmp_path: Path
) -> None:
    (tmp_path / "wide.csv").write_text("9,0,0,1,2,3,4,5,6,7,8,9\n10,0,0,1,2,3,4,5,6,7,8,9\n")
    done = run_test("data: {path: wide.csv}\nchecks: [{metric: mse, max: 6}, {metric: r2, min: 0}]\n")
    assert done.returncode == 1
    assert "error SMCI-606: " in done.stderr
    assert "Number of columns does not match number of features in booster" in done.stderr
    assert list(cases(tmp_path).values()) == ["failure", "failure"]
    assert "not measured" in (tmp_path / REPORTS / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tests", "checks"), "error SMCI-707: there are no tests at checks"),
        (("--quality", "strict.yml"), "error SMCI-701: strict.yml is missing"),
    ],
    ids=["tests", "quality"],
)
def test_a_path_that_was_asked_for_must_exist(run_test: Run, options: tuple[str, ...], message: str) -> None:
    done = run_test(test="def test_nothing():\n    pass\n", options=options)
    assert done.returncode == 1
    assert message in done.stderr


def test_a_missing_export_is_one_clear_error(stage: Stage, tmp_path: Path) -> None:
    done = sagemaker_ci("test", "--stage", "staging", environ=stage.project.environ, cwd=tmp_path)
    assert done.returncode == 1
    assert "staging-config-export.json is missing" in done.stderr
