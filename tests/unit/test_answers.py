"""Answers of containers: every format by its name, and what has none is refused, never guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ci_scripts import quality
from ci_scripts.errors import InvalidPredictions
from ci_scripts.predictions import answers
from ci_scripts.predictions.answers import FORMATS, Classes, decode

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "fixtures/golden/containers/xgboost-3.0-5.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    "body",
    [
        b"9.5,10",
        b"9.5\n10\n",
        b"9.5\r\n10\r\n",
        b"9.5,\n10",
        b"[9.5, 10]",
        b"[[9.5], [10]]",
        b"[9.5]\n[10]\n",
        b"9.5\n10",
        b'{"predictions": [9.5, 10]}',
        b'{"predictions": [[9.5], [10]]}',
        b'{"prediction": [9.5, 10]}',
    ],
)
def test_one_number_for_each_row(body: bytes) -> None:
    assert decode(body, 2)[:3] == ("number", [9.5, 10.0], [9.5, 10.0])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # XGBoost with Accept: application/json, linear learner's regression, factorization machines
        ('{"predictions": [{"score": 9.5}, {"score": 10}]}', ("score", [9.5, 10], [9.5, 10])),
        ('{"score": 9.5}\n{"score": 10}\n', ("score", [9.5, 10], [9.5, 10])),
        ('{"scores": [{"score": 0.02}, {"score": 0.25}]}', ("score", [0.02, 0.25], [0.02, 0.25])),  # Random Cut Forest
        # linear learner: binary by its tuned threshold, several classes; nearest neighbours
        (
            '{"predictions": [{"score": 0.3, "predicted_label": 1}, {"score": 0.1, "predicted_label": 0}]}',
            ("predicted_label", [1, 0], [0.3, 0.1]),
        ),
        (
            '{"predictions": [{"score": [0.1, 0.2, 0.7], "predicted_label": 2}, {"score": [0.5, 0.3, 0.2], '
            '"predicted_label": 0}]}',
            ("predicted_label", [2, 0], None),
        ),
        ('{"predictions": [{"predicted_label": 2.0}, {"predicted_label": 0.0}]}', ("predicted_label", [2, 0], None)),
        ('{"predicted_label": 2.0}\n{"predicted_label": 0.0}', ("predicted_label", [2, 0], None)),
        # LightGBM and CatBoost
        ('{"probabilities": [[0.2, 0.8], [0.9, 0.1]]}', ("scores", [1, 0], [0.8, 0.1])),
        (
            '{"probabilities": [[0.2, 0.8], [0.9, 0.1]], "labels": [0, 1], "predicted_label": [1, 0]}',
            ("predicted_label", [1, 0], None),
        ),
        ('{"probabilities": [[0.2, 0.8], [0.9, 0.1]], "labels": [1, 0]}', ("scores", [0, 1], [0.2, 0.9])),
        # Autopilot names the classes of its probabilities
        (
            '{"predictions": [{"predicted_label": "1", "probabilities": [0.9, 0.1], "labels": ["1", "0"]}, '
            '{"predicted_label": "0", "probabilities": [0.8, 0.2], "labels": ["0", "1"]}]}',
            ("predicted_label", [1, 0], [0.9, 0.2]),
        ),
        # probabilities of classes
        ("0.1,0.9\n0.8,0.2\n", ("scores", [1, 0], [0.9, 0.2])),
        ("[[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]]", ("scores", [2, 0], None)),
        ('{"predictions": [[0.1, 0.9], [0.8, 0.2]]}', ("scores", [1, 0], [0.9, 0.2])),
        ('{"predictions": [{"score": [0.1, 0.9]}, {"score": [0.8, 0.2]}]}', ("scores", [1, 0], [0.9, 0.2])),
        ('{"predictions": [{"scores": [0.1, 0.9]}, {"scores": [0.8, 0.2]}]}', ("scores", [1, 0], [0.9, 0.2])),
        # Hugging Face: the best label, or all of them; BlazingText
        (
            '[{"label": "LABEL_0", "score": 0.75}, {"label": "LABEL_1", "score": 0.5}]',
            ("label", [0, 1], [0.25, 0.5]),
        ),
        (
            '[[{"label": "LABEL_0", "score": 0.25}, {"label": "LABEL_1", "score": 0.75}], [{"label": "LABEL_0", '
            '"score": 1}, {"label": "LABEL_1", "score": 0}]]',
            ("label", [1, 0], [0.75, 0]),
        ),
        (
            '[{"label": ["__label__3"], "prob": [0.97]}, {"label": ["__label__0"], "prob": [0.5]}]',
            ("label", [3, 0], None),
        ),
    ],
)
def test_the_formats_of_sagemakers_own_containers(body: str, expected: tuple[str, list[float], Any]) -> None:
    assert decode(body.encode(), 2)[:3] == expected


def test_names_of_classes_are_numbers_by_quality_yml() -> None:
    body = b'[{"label": "POSITIVE", "score": 0.75}, {"label": "NEGATIVE", "score": 0.75}]'
    with pytest.raises(InvalidPredictions, match="the class 'POSITIVE' for row 1") as caught:
        decode(body, 2)
    assert "request: {labels: {NEGATIVE: 0, POSITIVE: 1}}" in caught.value.hint
    assert decode(body, 2, labels={"POSITIVE": 1, "NEGATIVE": 0})[:3] == ("label", [1, 0], [0.75, 0.25])


def test_scores_belong_to_the_labels_that_stand_beside_them() -> None:
    """Zero-shot classification of Hugging Face names the likeliest label first."""
    body = b"""[{"sequence": "x", "labels": ["spam", "ham"], "scores": [0.75, 0.25]},
               {"sequence": "y", "labels": ["ham", "spam"], "scores": [1, 0]}]"""
    answers = decode(body, 2, classes=Classes(["ham", "spam"], "spam", are_text=True))
    assert answers[:3] == ("scores", ["spam", "ham"], [0.75, 0])
    assert decode(body, 2, labels={"spam": 1, "ham": 0})[:3] == ("scores", [1, 0], [0.75, 0])


@pytest.mark.parametrize(
    "row",
    [
        '{"prediction": 1, "score": 0.97}',
        '{"class": "good", "score": 0.97}',
        '{"predicted_class": 1, "score": 0.97}',
        '[{"entity": "PERSON", "score": 0.97}]',
        '{"classes": 0, "probabilities": [0.1, 0.9]}',
    ],
)
def test_how_sure_a_model_is_does_not_pass_for_what_it_predicts(row: str) -> None:
    with pytest.raises(InvalidPredictions, match="for row 1 of a request, which is no format") as caught:
        decode(f"[{row}, {row}]".encode(), 2)
    assert "Beside its score stands something that may be the prediction" in caught.value.hint
    if not row.startswith("["):
        name = "scores" if "probabilities" in row else "score"
        assert decode(f"[{row}, {row}]".encode(), 2, name).values == [1 if name == "scores" else 0.97] * 2


def test_the_scores_of_a_single_row() -> None:
    scores = ("scores", [1], [0.9], [{0: 0.1, 1: 0.9}], None)
    assert decode(b"[0.1, 0.9]", 1) == decode(b"0.1,0.9\n", 1) == decode(b"[[0.1, 0.9]]", 1) == scores
    assert decode(b"[0.5]", 1)[:3] == decode(b"0.5\n", 1)[:3] == ("number", [0.5], [0.5])


@pytest.mark.parametrize(
    ("body", "name", "values"),
    [
        (b"-1.5,2.5\n3,-4\n", "scores", [1, 0]),
        (b"[[-1.5, 2.5], [3, -4]]", "scores", [1, 0]),
        (b"0,0.25\n1,0.75\n", "predicted_label", [0, 1]),
        (b'0,0.9,"[0.1, 0.9]"\n1,0.8,"[0.2, 0.8]"', "predicted_label", [0, 1]),
        (b"1\n0", "number", [1, 0]),
    ],
)
def test_a_format_that_its_shape_does_not_tell_is_named(body: bytes, name: str, values: list[float]) -> None:
    answers = decode(body, 2, name)
    assert (answers.format, answers.values) == (name, values)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"9.5", "answered 1 values for 2 rows: '9.5'"),
        (b"1,2,3", "answered 3 values for 2 rows"),
        (b"", "answered 0 values for 2 rows"),
        (b"9.5,nan", "answered 'nan' for row 2"),
        (b"9.5,inf", "answered 'inf' for row 2"),
        (b"[NaN, 1]", "answered 'NaN' for row 1"),
        (b"[true, 1]", "answered 'true' for row 1"),
        (b"[null, 1]", "answered 'null' for row 1"),
        (b"old,young", "answered 'old' for row 1"),
        (b"[[0.1, 0.8], [0.2, 0.8]]", r"answered '\[0.1, 0.8\]' for row 1"),  # no probabilities: nothing says what
        (b"0,0.25\n1,0.75\n", "several columns for each row, and nothing says what they are"),
        (b"0,1.0\n0,1.0\n", "several columns"),  # a class and its probability, or two scores
        (b'{"predictions": [{"label": 1}, {"label": 2}]}', "for row 1"),
        (b'{"predictions": [{"score": 1}, {"predicted_label": 2}]}', "no format"),
        (b'{"predictions": [{"closest_cluster": 5}, {"closest_cluster": 1}]}', "no format"),
        (b'{"projections": [{"projection": [1.0]}]}', "answered 1 values for 2 rows"),
        (b'{"error": "no model"}', "answered 1 values for 2 rows"),
        (b"[1, 2", "holds no predictions"),
        (b"[" * 100_000, "holds no predictions"),
        (b"\xff\xfe", "answered 1 values"),
        (b'[{"label": "LABEL_0", "score": NaN}, {"label": "LABEL_1", "score": 1}]', "answered 'NaN' for row 1"),
        (b"9" * 6_000_000, "answered 1 values"),
    ],
)
def test_anything_else_is_an_error_that_shows_its_beginning(body: bytes, message: str) -> None:
    with pytest.raises(InvalidPredictions, match=message) as caught:
        decode(body, 2)
    assert len(caught.value.message) < 300


def test_an_answer_in_another_format_than_the_named_one_is_refused() -> None:
    with pytest.raises(InvalidPredictions, match=r"in the format score, .* says label"):
        decode(b'{"score": 1}', 1, "label")


def test_the_schema_lists_exactly_the_formats_there_are() -> None:
    assert quality.schema()["properties"]["request"]["properties"]["answer"]["enum"] == list(FORMATS)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=60) | st.text('0123456789.,-e[]{}:"\n ascorelbpd_', max_size=60).map(str.encode))
def test_any_bytes_are_predictions_or_an_error_with_a_code(body: bytes) -> None:
    for name in ("", *FORMATS):
        try:
            answers = decode(body, 2, name)
        except InvalidPredictions:
            continue
        assert len(answers.values) == 2


# --- what the container's own code answered ------------------------------------------------------------------------

# Selected content in CSV: nothing says what the columns are, or a column holds nan.
NEED_A_NAME = {"select-logistic-csv", "select-softprob-csv", "select-softmax-csv", "select-batch-csv"}
NO_PREDICTIONS = {"select-wrong-json": "a label that is NaN"}


def golden() -> list[dict[str, Any]]:
    return [
        case
        for case in GOLDEN["cases"]
        if case["request"].get("path", "").startswith("/invocations")
        and case["answer"].get("status") == 200
        and case["answer"].get("body")
        and not case["answer"].get("body_repeat")
        and case["request"].get("body")
    ]


def rows_of(case: dict[str, Any]) -> int:
    return len([line for line in case["request"]["body"].splitlines() if line.strip()])


@pytest.mark.parametrize("case", golden(), ids=lambda case: case["id"])
def test_every_answer_of_the_real_xgboost_container_is_read(case: dict[str, Any]) -> None:
    body, rows = case["answer"]["body"].encode(), rows_of(case)
    if case["id"] in NO_PREDICTIONS:
        with pytest.raises(InvalidPredictions):
            decode(body, rows)
        return
    if case["id"] in NEED_A_NAME:
        with pytest.raises(InvalidPredictions) as caught:
            decode(body, rows)
        assert "request: {answer: scores}" in caught.value.hint
    answers = decode(body, rows, "predicted_label" if case["id"] in NEED_A_NAME else "")
    assert len(answers.values) == rows
    first = case["answer"]["body"].splitlines()[0]
    if answers.format == "number":
        assert answers.values[0] == float(first)
    elif answers.format == "scores" and first[0].isdigit():
        scores = [float(each) for each in first.split(",")]
        assert answers.values[0] == scores.index(max(scores))


def test_the_golden_answers_are_all_there() -> None:
    assert len(golden()) > 50
    assert NEED_A_NAME | NO_PREDICTIONS.keys() <= {case["id"] for case in golden()}
    assert {
        decode(case["answer"]["body"].encode(), rows_of(case)).format
        for case in golden()
        if "softprob" in case["id"] and "select" not in case["id"]
    } == {"scores"}
    assert answers.FORMATS.keys() >= {"number", "score", "scores", "predicted_label"}
