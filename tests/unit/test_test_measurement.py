"""What each check comes to: text labels, scores of classes, several numbers a row, segments; and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn import metrics as sklearn_metrics

from ci_scripts import quality
from ci_scripts.errors import HeldOutDataInvalid, InvalidPredictions, MetricUndefined
from ci_scripts.predictions import answers, held_out, target
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.quality import Data, Threshold
from ci_scripts.test import measurement
from ci_scripts.test.measurement import Measurement, Segment


def data(csv: str, **changes: Any) -> HeldOut:
    return held_out.parse(csv.splitlines(keepends=True), Data(None, None, None, 0, False, 500, **changes), "held.csv")


def answered(
    sample: HeldOut, body: Any, name: str = "", labels: dict[str, Any] | None = None, declared: Any = ()
) -> Measurement:
    content = body if isinstance(body, str) else json.dumps(body)
    classes = target.classes_of(sample, declared)
    result = answers.decode(content.encode(), len(sample.labels), name, labels, classes)
    return Measurement(result.values, [1.0], result)


FLOWERS = "setosa,1\nversicolor,2\nvirginica,3\nvirginica,4\n"


@pytest.mark.parametrize(
    ("body", "name", "labels"),
    [
        ("setosa\nversicolor\nvirginica\nsetosa\n", "", {}),
        (["setosa", "versicolor", "virginica", "setosa"], "", {}),
        ({"predictions": ["setosa", "versicolor", "virginica", "setosa"]}, "", {}),
        ("0.0\n1.0\n2.0\n0.0\n", "", {"0": "setosa", "1": "versicolor", "2": "virginica"}),
        ([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7], [0.9, 0.1, 0]], "", {}),
        ([{"label": each, "score": 0.9} for each in ("setosa", "versicolor", "virginica", "setosa")], "", {}),
        (
            [{"predicted_label": each} for each in (0, 1, 2, 0)],
            "",
            {"0": "setosa", "1": "versicolor", "2": "virginica"},
        ),
        (
            [{"label": f"LABEL_{each}", "score": 0.9} for each in "abca"],
            "",
            {"LABEL_a": "setosa", "LABEL_b": "versicolor", "LABEL_c": "virginica"},
        ),
    ],
)
def test_text_labels_are_compared_with_what_the_container_answers(body: Any, name: str, labels: dict[str, str]) -> None:
    sample = data(FLOWERS)
    measured = answered(sample, body, name, labels)
    predicted = ["setosa", "versicolor", "virginica", "setosa"]
    assert list(measured.predictions) == predicted
    assert measured.value("accuracy", sample) == 0.75
    expected = sklearn_metrics.f1_score(list(sample.labels), predicted, average="macro")
    assert measured.value("f1_macro", sample) == pytest.approx(expected)


def test_scores_belong_to_the_classes_in_the_order_that_is_stated() -> None:
    sample = data(FLOWERS)
    scores = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7], [0.8, 0.1, 0.1]]
    assert answered(sample, scores).value("accuracy", sample) == 0.75
    turned = answered(sample, scores, declared=("virginica", "versicolor", "setosa"))
    assert turned.value("accuracy", sample) == 0.5
    stated = data(FLOWERS, classes=("virginica", "versicolor", "setosa"))
    assert answered(stated, scores).value("accuracy", stated) == 0.5
    expected = sklearn_metrics.log_loss(list(sample.labels), scores, labels=["setosa", "versicolor", "virginica"])
    assert answered(sample, scores).value("log_loss", sample) == pytest.approx(expected)
    expected = sklearn_metrics.roc_auc_score(list(sample.labels), scores, multi_class="ovr")
    assert answered(sample, scores).value("auc", sample) == pytest.approx(expected)
    with pytest.raises(InvalidPredictions, match="2 scores for row 1 of a request, the classes are 3"):
        answered(sample, [[0.3, 0.7]] * 4)


def test_a_single_score_is_of_the_positive_class() -> None:
    sample = data("spam,1\nham,2\nspam,3\nham,4\n", positive="spam")
    measured = answered(sample, [0.9, 0.6, 0.8, 0.1])
    assert measured.value("accuracy", sample) == 0.75
    assert measured.value("precision", sample) == pytest.approx(2 / 3)
    assert measured.value("auc", sample) == 1
    expected = sklearn_metrics.log_loss([1, 0, 1, 0], [0.9, 0.6, 0.8, 0.1])
    assert measured.value("log_loss", sample) == pytest.approx(expected)
    ham = data("spam,1\nham,2\nspam,3\nham,4\n", positive="ham")
    assert answered(ham, [0.9, 0.6, 0.8, 0.1]).value("auc", ham) == 0


def test_a_label_with_its_score_gives_the_probability_of_the_positive_class() -> None:
    sample = data("spam,1\nham,2\nspam,3\nham,4\n", positive="spam")
    measured = answered(sample, [{"label": "spam", "score": 0.9}, {"label": "ham", "score": 0.4}] * 2)
    assert measured.answers is not None
    assert measured.answers.probabilities == [0.9, 0.6, 0.9, 0.6]


def test_numbers_or_other_names_for_text_labels_are_refused_with_what_to_do() -> None:
    sample = data(FLOWERS)
    with pytest.raises(MetricUndefined, match="accuracy needs classes, the endpoint answers numbers") as caught:
        answered(sample, "0\n1\n2\n0\n").value("accuracy", sample)
    assert "labels" in caught.value.hint
    other = answered(sample, [{"label": "LABEL_0", "score": 0.9}] * 4)
    with pytest.raises(MetricUndefined, match=r"classes like 'LABEL_0', the held-out data has setosa, versicolor"):
        other.value("accuracy", sample)


def test_labels_that_quality_yml_lists_as_text_are_text() -> None:
    sample = data("0,1\n1,2\n", classes=("0", "1"), positive="1")
    assert sample.labels == ["0", "1"]
    assert answered(sample, "0\n1\n", labels={"0": "0", "1": "1"}).value("f1", sample) == 1


def test_several_numbers_a_row_are_measured_each_by_its_position() -> None:
    sample = data("10,1\n20,1\n")
    measured = answered(sample, "8,10,13\n15,20,26\n", "numbers")
    assert measured.value("mae", sample) == 3.5
    assert measured.of_threshold(Threshold("mae", "<=", 1, output=1), sample) == 0
    ninety = Threshold("pinball", "<=", 1, quantile=0.9, output=2)
    expected = sklearn_metrics.mean_pinball_loss([10, 20], [13, 26], alpha=0.9)
    assert measured.of_threshold(ninety, sample) == pytest.approx(expected)
    assert ninety.subject == "pinball(0.9) of output 2"
    with pytest.raises(MetricUndefined, match="the endpoint answered 3 numbers for a row"):
        measured.of_threshold(Threshold("mae", "<=", 1, output=3), sample)
    with pytest.raises(MetricUndefined, match="accuracy needs classes or scores"):
        measured.value("accuracy", sample)


# --- segments ------------------------------------------------------------------------------------------------------

REGIONS = "".join(
    f"{label},{region}\n"
    for region, label, count in (("north", 1, 6), ("south", 2, 4), ("east", 3, 2))
    for _ in range(count)
)


def by(comparison: str, rows: int = 3, metric: str = "mae") -> Threshold:
    return Threshold(metric, comparison, 1.0, by=1, min_rows=rows)


def test_the_worst_segment_counts_and_a_small_one_does_not() -> None:
    sample = data(REGIONS, segments=(1,))
    measured = answered(sample, "\n".join(["1"] * 12))
    segments = measured.segments(by("<="), sample)
    assert segments == [Segment("north", 6, 0.0), Segment("south", 4, 1.0), Segment("east", 2, None)]
    assert measurement.worst(by("<="), segments) == 1
    assert measurement.worst(by(">="), segments) == 0
    assert by("<=").key == "mae by column 1, highest"


def test_no_number_is_the_worst_of_all() -> None:
    segments = [Segment("a", 9, 1.0), Segment("b", 9, math.nan)]
    assert math.isnan(measurement.worst(by("<="), segments))
    assert math.isnan(measurement.worst(by(">="), segments))


def test_segments_that_have_no_value_are_objected_to_before_anything_is_asked() -> None:
    sample = data("1,a\n0,a\n1,b\n1,b\n", segments=(1,))
    objections = measurement.objections([by(">=", 2, "auc")], sample)
    assert objections == ["auc needs rows of two classes, all rows of held-out data are of one (1: 'b')"]
    objections = measurement.objections([by(">=", 30, "accuracy")], sample)
    assert objections == ["accuracy by column 1: no segment has 30 rows of held-out data (min_rows)"]
    assert measurement.objections([by(">=", 2, "accuracy"), Threshold("error_rate", "<=", 0.1)], sample) == []


def test_all_objections_are_told_at_once() -> None:
    sample = data(FLOWERS, positive="rose")
    objections = measurement.objections(
        [Threshold("mse", "<=", 1), Threshold("mape", "<=", 1), Threshold("mse", ">=", 0)], sample
    )
    assert [each.partition(" ")[0] for each in objections] == ["mse", "mape", "data.positive"]


def test_an_empty_cell_is_a_segment_and_a_dropped_column_is_no_feature() -> None:
    csv = "rings,sex,length,region\n9,F,0.4,north\n10,M,0.5,\n"
    sample = held_out.parse(
        csv.splitlines(keepends=True),
        Data(None, None, None, "rings", True, 500, segments=("region", "sex"), drop_columns=("region",)),
        "held.csv",
    )
    assert sample.features == [["F", 0.4], ["M", 0.5]]
    assert sample.segments == {"region": ["north", ""], "sex": ["F", "M"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segments": (5,)}, "held.csv has 2 columns, column 5 is none of them"),
        ({"drop_columns": ("region",)}, r"held.csv has no column 'region', only an empty header \(drop_columns"),
    ],
)
def test_a_column_that_is_not_there_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HeldOutDataInvalid, match=message):
        data("1,2\n", **changes)


# --- the file alone ------------------------------------------------------------------------------------------------


def contradictions() -> Iterator[tuple[dict[str, Any], list[str]]]:
    def check(**changes: Any) -> dict[str, Any]:
        return {"checks": [{"max": 1} | changes]}

    yield check(metric="pinball"), ["checks.0: pinball needs quantile, such as 0.9"]
    yield check(metric="pinball", quantile=0.9), []
    yield check(metric="mse", quantile=0.9), ["checks.0: quantile goes with pinball, not with mse"]
    yield (
        check(metric="mse", output=1),
        ["checks.0: output takes `request: {answer: numbers}`, several numbers for each row"],
    )
    yield check(metric="mse", output=1) | {"request": {"answer": "numbers"}}, []
    yield check(metric="error_rate"), ["checks.0: error_rate takes `load`: the rate and duration of the requests"]
    yield check(metric="error_rate") | {"load": {"requests_per_second": 1, "duration_seconds": 2}}, []
    yield (
        check(metric="latency_p99_ms", by=1),
        ["checks.0: by goes with metrics of predictions, not with latency_p99_ms"],
    )
    yield (
        check(metric="mse", by="sex"),
        ["checks.0: a name as by needs `header: true`; without a header it is a number"],
    )
    yield check(metric="mse", min_rows=3), ["checks.0: min_rows goes with by"]
    yield (
        check(metric="mse") | {"request": {"answer": "class"}},
        ["checks.0: mse needs numbers, the endpoint answers classes (class)"],
    )
    yield (
        check(metric="auc") | {"request": {"answer": "class"}},
        ["checks.0: auc needs the scores of classes, which class does not hold"],
    )
    text = {"data": {"path": "a", "classes": ["ham", "spam"]}}
    yield (
        check(metric="mse") | text,
        ["checks.0: mse measures numbers, and the labels are text such as 'ham': see accuracy or f1_macro"],
    )
    yield check(metric="f1") | text, ["checks.0: f1 is of one class: `data.positive` says which, or take f1_macro"]
    yield check(metric="f1") | {"data": text["data"] | {"positive": "spam"}}, []
    yield {"data": text["data"] | {"positive": "eggs"}}, ["data.positive: 'eggs' is none of data.classes"]
    yield (
        {"data": {"path": "a", "classes": [0, "spam"]}},
        ["data.classes: holds numbers and text; where labels are text, put all of them in quotes"],
    )
    yield (
        check(metric="precision") | {"data": {"path": "a", "classes": [0, 1, 2]}},
        [
            "checks.0: precision needs labels 0 and 1, the held-out data has 2: `data.positive` says which class it is "
            "of, or take precision_macro"
        ],
    )


@pytest.mark.parametrize(("content", "problems"), list(contradictions()))
def test_what_the_file_alone_contradicts_is_found_at_build(content: dict[str, Any], problems: list[str]) -> None:
    assert quality.find_problems({"data": {"path": "a"}} | content) == problems


def test_a_transform_must_be_there_and_is_not_run_to_find_out(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "photos.py").write_text("raise RuntimeError('not at build')\ndef load(rows): ...\n")
    (folder / "broken.py").write_text("def load(\n")

    def problems_of(name: str) -> list[str]:
        content = {"data": {"path": "a"}, "request": {"transform": name}}
        return quality.find_problems(content, tmp_path)

    assert problems_of("tests.photos:load") == []
    assert problems_of("tests.photos:save") == ["request.transform: tests/photos.py has no function save"]
    assert problems_of("tests.images:load") == ["request.transform: there is no file tests/images.py"]
    assert problems_of("tests.broken:load")[0].startswith("request.transform: tests/broken.py is not Python")
    assert "does not match" in problems_of("../photos:load")[0]
