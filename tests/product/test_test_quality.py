"""Thresholds in quality.yml, against containers that answer in every way there is."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.answering import ACCURATE, THROTTLED, Answer, container, lines, per_row, quality
from tests.support.tested_stage import QUALITY, REPORTS, Run, cases, properties_aside, run_test, stage  # noqa: F401 - the fixtures


def test_rows_reach_the_endpoint_as_they_stand_in_the_file(run_test: Run, tmp_path: Path) -> None:
    # As UCI's Adult data is written; the second feature is a product code, the third a time zone.
    rows = ["1, Private,12E4,+2", '0,"Self, emp",7E1,-3', "1, Private,90210,+2"]
    (tmp_path / "held.csv").write_text("\n".join(rows) + "\n")
    answer = per_row(lambda line: int(line.startswith(" Private,")), lambda each: "\n".join(map(str, each)))
    with container(answer) as model:
        done = run_test(quality("", ACCURATE), **model.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"".join(model.bodies).decode().splitlines() == [row.partition(",")[2] for row in rows]


def predictions(rows: list[object]) -> str:
    return json.dumps({"predictions": rows})


def of_class(line: str) -> int:
    return int(float(line.partition(",")[0]))


FORMATS: dict[str, tuple[Answer, str]] = {
    "linear learner, binary, with its own threshold": (
        per_row(lambda line: {"score": 0.3 if of_class(line) else 0.1, "predicted_label": of_class(line)}, predictions),
        "0,1",
    ),
    "linear learner, three classes": (
        per_row(lambda line: {"score": [0.1, 0.2, 0.7], "predicted_label": of_class(line)}, predictions),
        "0,1,2",
    ),
    "nearest neighbours": (per_row(lambda line: {"predicted_label": float(of_class(line))}, predictions), "0,1,2"),
    "scores as JSON lines": (per_row(lambda line: {"score": float(of_class(line))}, lines), "0,1"),
    "probabilities of classes in CSV": (
        per_row(
            lambda line: ",".join("0.8" if of_class(line) == each else "0.1" for each in range(3)),
            lambda each: "\n".join(map(str, each)) + "\n",
        ),
        "0,1,2",
    ),
    "labels with their score": (
        per_row(lambda line: {"label": f"LABEL_{of_class(line)}", "score": 0.97}, json.dumps),
        "0,1",
    ),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_a_prediction_is_read_in_the_format_of_its_container(
    run_test: Run, tmp_path: Path, name: str, right: bool
) -> None:
    answer, classes = FORMATS[name]
    declared = classes.split(",")
    labels = declared if right else [*declared[1:], declared[0]]
    rows = [f"{label},{number},0.5" for label, number in zip(labels, declared, strict=True)]
    (tmp_path / "held.csv").write_text("\n".join(rows * 4) + "\n")
    with container(answer) as model:
        done = run_test(quality("", ACCURATE), **model.environ)
    assert done.returncode == (0 if right else 1), done.stdout + done.stderr
    if not right:
        assert "accuracy is 0, the threshold is accuracy >= 0.99" in done.stdout


def test_an_answer_of_no_known_format_is_refused_with_what_to_do(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_text("1,1\n0,0\n")
    with container(per_row(lambda _: {"closest_cluster": 1}, predictions)) as model:
        done = run_test(quality("", ACCURATE), **model.environ)
    assert "error SMCI-704: the endpoint answered" in done.stderr
    assert "`request.answer` in quality.yml names one" in done.stderr


def test_a_format_and_names_of_classes_can_be_given(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_text("1,1\n0,0\n")
    answer = per_row(
        lambda line: f"{'bad,0.4' if of_class(line) else 'good,0.9'}", lambda each: "\n".join(map(str, each))
    )
    request = "request: {answer: predicted_label, labels: {good: 0, bad: 1}}\n"
    with container(answer) as model:
        done = run_test(quality("", ACCURATE, request), **model.environ)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_class_is_wrong_whichever_rows_were_sampled(run_test: Run, tmp_path: Path) -> None:
    rows = ["1,5" if number % 2 else "0,5" for number in range(3000)]
    rows[1500] = "2,5"  # not among the 500 sampled ones
    (tmp_path / "held.csv").write_text("\n".join(rows) + "\n")
    with container(per_row(lambda _: 2, lines)) as model:
        done = run_test(quality("", "{metric: accuracy, min: 0.4}"), **model.environ)
    assert done.returncode == 1
    assert "accuracy is 0, " in done.stdout


def test_a_class_that_the_file_lacks_is_no_score(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_text("1,5\n0,5\n" * 10)
    with container(per_row(lambda _: 2, lines)) as model:
        undefined = run_test(quality("", "{metric: accuracy, min: 0.4}"), **model.environ)
        declared = run_test(quality(", classes: [0, 1, 2]", "{metric: accuracy, min: 0.4}"), **model.environ)
    assert "error SMCI-706: accuracy cuts scores from 0 to 1 at 0.5, the endpoint answered 2" in undefined.stderr
    assert "classes: [0, 1, 2]" in undefined.stderr
    assert "accuracy is 0, " in declared.stdout


def test_a_threshold_of_another_kind_than_the_labels_is_warned_of(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_text("1,5\n0,5\n" * 10)
    with container(per_row(lambda _: 0.4, lines)) as model:
        done = run_test(quality("", "{metric: mse, max: 6.0}"), **model.environ)
    assert done.returncode == 0, done.stderr
    warning = "warning: mse measures numbers, and the labels are the classes 0 and 1; as no error is larger than 1, mse"
    assert warning in done.stdout
    assert "mse measures numbers" in (tmp_path / REPORTS / "summary.md").read_text()
    assert "mse measures numbers" in (tmp_path / REPORTS / "report.html").read_text()


def failing_first(status: int, content: bytes = b"") -> Answer:
    """The first request fails, the others are answered with a number for each row."""
    bodies: list[bytes] = []

    def answer(body: bytes, _: str) -> tuple[int, bytes]:
        bodies.append(body)
        return (status, content) if len(bodies) == 1 else (200, b"9\n" * len(body.splitlines()))

    return answer


LOST = {"reset": (0, b""), "throttled": (400, THROTTLED), "5xx": (503, b"")}


@pytest.mark.parametrize("lost", LOST)
def test_one_lost_request_does_not_fail_the_quality(run_test: Run, tmp_path: Path, lost: str) -> None:
    (tmp_path / "held.csv").write_text("9,1\n" * 40)
    request = "request: {rows_per_request: 10}\n"
    with container(failing_first(*LOST[lost])) as model:
        done = run_test(
            quality("", "{metric: mse, max: 0.1}, {metric: latency_p95_ms, max: 60000}", request), **model.environ
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(model.bodies) == 5
    assert "warning: 1 requests were throttled, reset or answered 5xx and sent a second time" in done.stdout


def test_a_lost_prediction_of_a_test_is_asked_for_again_and_a_raw_request_is_not(run_test: Run) -> None:
    with container(failing_first(*LOST["throttled"])) as model:
        done = run_test(test="def test_it(endpoint):\n    assert endpoint.predict([[1]]) == [9]\n", **model.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    with container(failing_first(*LOST["throttled"])) as model:
        done = run_test(test="def test_it(endpoint):\n    endpoint.invoke('1')\n", **model.environ)
    assert done.returncode == 1
    assert len(model.bodies) == 1


def test_where_latency_alone_is_measured_nothing_is_asked_again(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_text("9,1\n" * 4)
    with container(failing_first(503)) as model:
        done = run_test(quality("", "{metric: latency_p95_ms, max: 60000}"), **model.environ)
    assert "error SMCI-606: " in done.stderr
    assert len(model.bodies) == 1


def test_an_error_of_the_container_is_told_without_control_sequences(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_text("9,1\n" * 4)
    words = "no model\r\x1b[0K\x1b[31msection_end:1:x\r\x1b[0K" + "x" * 100_000
    refusal = json.dumps({"__type": "ModelError", "Message": words, "OriginalMessage": words}).encode()
    with container(lambda *_: (424, refusal)) as model:
        done = run_test(
            quality("", "{metric: mse, max: 1}"),
            "def test_it(endpoint):\n    endpoint.predict([[1]])\n",
            **model.environ,
        )
    assert "no model" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    assert len(done.stdout) < 50_000


def test_an_asynchronous_endpoint_is_said_to_be_one(run_test: Run) -> None:
    words = "Endpoint is of type asynchronous, which InvokeEndpoint does not serve."
    refusal = json.dumps({"__type": "ValidationError", "Message": words}).encode()
    with container(lambda *_: (400, refusal)) as model:
        done = run_test(QUALITY + "  - {metric: mse, max: 9}\n", **model.environ)
    assert "error SMCI-606: " in done.stderr
    assert "asynchronous" in done.stderr.partition("hint:")[2]


# --- the repository's own pytest settings --------------------------------------------------------------------------

TEST = """
import os
def test_prediction(endpoint, held_out, thresholds, quality):
    assert len(endpoint.predict(held_out.features[:3])) == len(held_out.labels[:3]) == 3
    assert thresholds["latency_p95_ms"] == {"max": 60000}
    assert quality["data"]["from_model_package"] == "HeldOutDataUri"
def test_where(record_property):
    record_property("worker", os.environ.get("PYTEST_XDIST_WORKER"))
"""

SETTINGS = {
    "two workers": "addopts = -n 2",
    "two workers, by file": "addopts = -n 2 --dist loadfile",
    "failed first": "addopts = --ff",
    "strict, with a cache": "addopts = --strict-config --strict-markers\nfilterwarnings = error\ncache_dir = .cache",
    "quiet, short tracebacks, in another mode": "addopts = -q --tb=line --import-mode=importlib --durations=3",
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_repositorys_own_settings_of_pytest_work(run_test: Run, tmp_path: Path, settings: str) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{SETTINGS[settings]}\n")
    done = run_test(QUALITY + "  - {metric: latency_p95_ms, max: 60000}\n  - {metric: mse, max: 6}\n", TEST)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = properties_aside(cases(tmp_path))
    assert set(outcomes) >= {"quality: latency_p95_ms <= 60000", "quality: mse <= 6", "test_prediction", "test_where"}
    assert "4 passed" in done.stdout
    if "-n 2" in SETTINGS[settings]:
        assert 'value="gw' in (tmp_path / REPORTS / "junit.xml").read_text()


def test_a_package_of_the_repository_with_the_name_of_ours_can_be_imported(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "ci_scripts").mkdir()
    (tmp_path / "ci_scripts" / "ours.py").write_text("def to_body(rows):\n    return '1\\n' * len(rows), 'text/csv'\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -n 1\n")
    (tmp_path / "held.csv").write_text("9,1\n9,2\n")
    test = "from ci_scripts.ours import to_body\ndef test_it():\n    assert to_body([1])[0] == '1\\n'\n"
    (tmp_path / "bodies.py").write_text("from ci_scripts.ours import to_body\n")
    with container(lambda body, _: (200, b"9\n" * body.count(b"\n"))) as model:
        request = "request: {transform: 'bodies:to_body'}\n"
        done = run_test(quality("", "{metric: mse, max: 0.1}", request), test, **model.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_thresholds_fail_in_workers_as_they_do_without(run_test: Run, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -n 2\n")
    done = run_test(
        QUALITY + "  - {metric: mse, max: 1}\n  - {metric: r2, min: 0.2}\n", TEST.partition("def test_w")[0]
    )
    assert done.returncode == 1
    assert "the threshold is mse <= 1" in done.stdout
    assert "r2 0." in done.stdout
    assert "error SMCI-708: 2 of 3 tests failed: " in done.stderr
