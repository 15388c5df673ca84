"""Thresholds by segment, under load, of text labels, and by functions of the repository."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
from pathlib import Path

from tests.support.answering import ACCURATE, THROTTLED, container, lines, per_row, quality
from tests.support.tested_stage import REPORTS, Run, cases, properties_aside, run_test, stage  # noqa: F401 - the fixtures

# --- richer quality ------------------------------------------------------------------------------------------------

RICH = """
data: {from_model_package: HeldOutDataUri}
request: {content_type: text/csv, rows_per_request: 50}
load: {requests_per_second: 8, duration_seconds: 3, concurrency: 4}
checks:
  - {metric: mape, max: 0.5}
  - {metric: pinball, quantile: 0.5, max: 2}
  - {metric: mae, max: 3, by: 1}
  - {metric: mae, max: 0.1, by: 3, min_rows: 5}
  - {metric: latency_p99_ms, max: 60000}
  - {metric: error_rate, max: 0}
"""


def test_a_real_model_is_measured_by_segment_and_under_load(run_test: Run, tmp_path: Path) -> None:
    done = run_test(RICH)
    assert done.returncode == 1, done.stdout + done.stderr
    outcomes = properties_aside(cases(tmp_path))
    assert [name for name, outcome in outcomes.items() if outcome != "passed"] == ["quality: mae by column 3 <= 0.1"]
    assert len(outcomes) == 6
    assert "load: 24 requests, 8 a second for 3 s, at most 4 at once" in done.stdout
    summary = (tmp_path / REPORTS / "summary.md").read_text()
    assert "error rate 0" in summary
    assert "| mae by column 3 | Rows | Measured |" in summary
    assert ", failed |" in summary
    measured = (tmp_path / REPORTS / "metrics.txt").read_text()
    assert "staging_error_rate 0\n" in measured
    assert "staging_pinball_0_5 " in measured
    assert "staging_mae_by_column_1_highest " in measured
    assert "mae by column 1" in (tmp_path / REPORTS / "report.html").read_text()


def test_segments_are_known_to_workers_too(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -n 2\n")
    done = run_test(RICH, "def test_it(endpoint, held_out):\n    assert endpoint.predict(held_out.features[:2])\n")
    assert "mae by column 3 is " in done.stdout
    assert ", the threshold is mae by column 3 <= 0.1" in done.stdout
    assert "error SMCI-708: 1 of 7 tests failed" in done.stderr


TEXT = "setosa,1\nversicolor,2\nvirginica,3\n"


def test_text_labels_are_measured(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_text(TEXT * 4)
    words = {"1": "setosa", "2": "versicolor", "3": "setosa"}
    with container(per_row(lambda line: words[line], lambda each: "\n".join(map(str, each)))) as model:
        done = run_test(quality("", "{metric: f1_macro, min: 0.5}, {metric: accuracy, min: 0.9}"), **model.environ)
    assert "accuracy is 0.666667, the threshold is accuracy >= 0.9" in done.stdout
    assert "1 of 2 tests failed" in done.stderr
    assert "actual virginica" in (tmp_path / REPORTS / "report.html").read_text()


def test_a_metric_without_sense_is_refused_before_the_endpoint_is_asked(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_text(TEXT * 4)
    with container(per_row(lambda line: line, lines)) as model:
        done = run_test(quality("", "{metric: mse, max: 1}, {metric: f1, min: 1}"), **model.environ)
    assert model.bodies == []
    assert "error SMCI-706: 2 problems of checks with the held-out data: mse measures numbers" in done.stderr
    assert "f1 is of one class: `data.positive` says which" in done.stdout


def test_throttled_requests_of_a_load_are_errors_and_not_sent_again(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_text("9,1\n")
    bodies: list[bytes] = []

    def answer(body: bytes, _: str) -> tuple[int, bytes]:
        bodies.append(body)
        return (400, THROTTLED) if len(bodies) > 1 and len(bodies) % 2 else (200, b"9\n")

    load = "load: {requests_per_second: 20, duration_seconds: 1}\n"
    with container(answer) as model:
        done = run_test(quality("", "{metric: error_rate, max: 0.4}, {metric: mse, max: 1}", load), **model.environ)
    assert len(model.bodies) == 1 + 20
    assert "error_rate is 0.5, the threshold is error_rate <= 0.4" in done.stdout
    assert "warning: 10 of 20 requests failed: " in done.stdout
    assert "Rate exceeded" in done.stdout


PHOTOS = """
import json
from pathlib import Path
def to_request(rows):
    [[path]] = rows
    return Path(path).read_bytes(), "image/png"
def to_predictions(answer, rows):
    return [json.loads(answer)["animal"]]
def broken(rows):
    return rows[0][7], "image/png"
def nothing(rows):
    return None
"""


def test_pictures_are_sent_by_a_function_of_the_repository(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "photos.py").write_text(PHOTOS)
    (tmp_path / "held.csv").write_text("cat,1.png\ndog,2.png\n")
    (tmp_path / "1.png").write_bytes(b"\x89PNG cat")
    (tmp_path / "2.png").write_bytes(b"\x89PNG dog")

    def animal(body: bytes, content_type: str) -> tuple[int, bytes]:
        assert content_type == "image/png"
        return 200, json.dumps({"animal": body.split()[1].decode()}).encode()

    def request(name: str) -> str:
        return (
            f"request: {{transform: 'tests.photos:{name}', transform_answer: 'tests.photos:to_predictions', "
            "rows_per_request: 1}\n"
        )

    test = "def test_it(endpoint):\n    assert endpoint.predict([['2.png']]) == ['dog']\n"
    with container(animal) as model:
        done = run_test(quality("", ACCURATE, request("to_request")), test, **model.environ)
        broken = run_test(quality("", ACCURATE, request("broken")), **model.environ)
        nothing = run_test(quality("", ACCURATE, request("nothing")), **model.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "SMCI-709: tests.photos:broken: photos.py, line 10: IndexError" in broken.stdout + broken.stderr
    assert "SMCI-709: tests.photos:nothing returned a NoneType, not a pair" in nothing.stdout + nothing.stderr
