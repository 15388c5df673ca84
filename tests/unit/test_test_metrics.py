"""Every metric is scikit-learn's number, and its edge cases are scikit-learn's too."""

from __future__ import annotations

import math
import random
from functools import partial

import pytest
from sklearn import metrics as sklearn_metrics

from ci_scripts import quality_rules
from ci_scripts.errors import MetricUndefined
from ci_scripts.predictions.answers import Answers
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.test import class_metrics, metrics
from ci_scripts.test.measurement import Measurement
from ci_scripts.test.metrics import CLASSIFICATION, REGRESSION

SKLEARN = {
    "mse": sklearn_metrics.mean_squared_error,
    "rmse": sklearn_metrics.root_mean_squared_error,
    "mae": sklearn_metrics.mean_absolute_error,
    "r2": sklearn_metrics.r2_score,
    "max_error": sklearn_metrics.max_error,
    "accuracy": sklearn_metrics.accuracy_score,
    "precision": lambda a, p: sklearn_metrics.precision_score(a, p, zero_division=0),
    "recall": lambda a, p: sklearn_metrics.recall_score(a, p, zero_division=0),
    "f1": lambda a, p: sklearn_metrics.f1_score(a, p, zero_division=0),
    "log_loss": lambda a, p: sklearn_metrics.log_loss(a, p, labels=[0, 1]),
    "mape": sklearn_metrics.mean_absolute_percentage_error,
    "pinball": sklearn_metrics.mean_pinball_loss,
    "auc": sklearn_metrics.roc_auc_score,
} | {
    f"{name}_{average}": partial(function, average=average, zero_division=0)
    for name, function in {
        "precision": sklearn_metrics.precision_score,
        "recall": sklearn_metrics.recall_score,
        "f1": sklearn_metrics.f1_score,
    }.items()
    for average in ("macro", "weighted")
}

chance = random.Random(7)  # noqa: S311 - test data, always the same
NOISY = [chance.uniform(1, 29) for _ in range(500)]
REGRESSIONS = {
    "noisy": (NOISY, [value + chance.gauss(0, 2) for value in NOISY]),
    "perfect": (NOISY, NOISY),
    "worse than the mean": ([1.0, 2.0, 3.0], [30.0, -20.0, 10.0]),
    "constant labels, all right": ([4.0, 4.0, 4.0], [4.0, 4.0, 4.0]),
    "constant labels, one wrong": ([4.0, 4.0, 4.0], [4.0, 4.0, 5.0]),
    "constant predictions": ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]),
    "large numbers": ([1e9, 2e9, 4e9], [1.1e9, 2e9, 3.9e9]),
    "two rows": ([1.0, 2.0], [1.5, 2.5]),
}
SCORES = [chance.random() for _ in range(500)]
CLASSIFICATIONS = {
    "noisy": ([float(score + chance.gauss(0, 0.3) >= 0.5) for score in SCORES], SCORES),
    "perfect": ([0.0, 1.0, 1.0], [0.0, 1.0, 1.0]),
    "all wrong": ([0.0, 1.0], [1.0, 0.0]),
    "only class 0": ([0.0, 0.0], [0.1, 0.2]),
    "only class 0, called 1": ([0.0, 0.0], [0.9, 0.8]),
    "only class 1": ([1.0, 1.0], [0.9, 0.2]),
    "none called 1": ([0.0, 1.0], [0.1, 0.2]),
}


@pytest.mark.parametrize("case", REGRESSIONS)
@pytest.mark.parametrize("metric", REGRESSION)
def test_a_regression_metric_is_the_one_of_scikit_learn(metric: str, case: str) -> None:
    actual, predicted = REGRESSIONS[case]
    assert REGRESSION[metric](actual, predicted) == pytest.approx(SKLEARN[metric](actual, predicted), rel=1e-12)


@pytest.mark.parametrize("case", CLASSIFICATIONS)
@pytest.mark.parametrize("metric", CLASSIFICATION)
def test_a_classification_metric_is_the_one_of_scikit_learn(metric: str, case: str) -> None:
    actual, scores = CLASSIFICATIONS[case]
    if metric == "auc" and len(set(actual)) == 1:
        with pytest.raises(MetricUndefined, match="all rows of held-out data are of one"):
            metrics.CLASSIFICATION[metric](actual, scores)
        return
    predicted = scores if metric in quality_rules.SCORES else metrics.called(metric, scores, any_number=False)
    assert predicted == scores or predicted == [float(score >= 0.5) for score in scores]
    expected = SKLEARN[metric](actual, predicted)
    assert CLASSIFICATION[metric](actual, predicted) == pytest.approx(expected, rel=1e-12)


def held_out(labels: list[float], classes: tuple[float, ...] | None) -> HeldOut:
    return HeldOut([[0.1]] * len(labels), labels, "held_out.csv", 3000, classes)


def answered(name: str, values: list[float], probabilities: list[float] | None = None) -> Measurement:
    return Measurement(values, [1.0], Answers(name, values, probabilities))


def test_a_third_class_of_the_file_is_no_score_although_no_sampled_row_is_of_it() -> None:
    measured = answered("number", [2.0, 2.0], [2.0, 2.0])
    assert measured.value("accuracy", held_out([0.0, 1.0], (0.0, 1.0, 2.0))) == 0


def test_a_number_that_is_no_score_is_not_cut() -> None:
    measured = answered("number", [2.0, 0.2], [2.0, 0.2])
    with pytest.raises(
        MetricUndefined, match=r"accuracy cuts scores from 0 to 1 at 0\.5, the endpoint answered 2"
    ) as caught:
        measured.value("accuracy", held_out([1.0, 0.0], (0.0, 1.0)))
    assert "classes: [0, 1, 2]" in caught.value.hint
    assert measured.value("accuracy", held_out([1.0, 0.0], (0.0, 1.0)), declared=True) == 1


@pytest.mark.parametrize("name", ["predicted_label", "label", "scores"])
def test_a_class_that_the_container_names_is_compared_as_it_is(name: str) -> None:
    data = held_out([1.0, 0.0, 1.0], (0.0, 1.0))
    assert answered(name, [1.0, 0.0, 2.0], [0.3, 0.1, 0.4]).value("accuracy", data) == pytest.approx(2 / 3)
    assert answered(name, [1.0, 0.0, 2.0], [0.3, 0.1, 0.4]).value("recall", data) == 0.5
    expected = sklearn_metrics.log_loss([1, 0, 1], [0.3, 0.1, 0.4], labels=[0, 1])
    assert answered(name, [1.0, 0.0, 1.0], [0.3, 0.1, 0.4]).value("log_loss", data) == pytest.approx(expected)
    with pytest.raises(MetricUndefined, match="log_loss needs the probability of class 1"):
        answered(name, [1.0, 0.0, 1.0]).value("log_loss", data)


def test_classes_have_no_error_and_predicted_numbers_have() -> None:
    data = held_out([1.0, 3.0], (1.0, 3.0))
    with pytest.raises(MetricUndefined, match=r"mse needs numbers, the endpoint answers classes \(label\)"):
        answered("label", [1.0, 3.0]).value("mse", data)
    assert answered("predicted_label", [1.5, 3.0]).value("mse", data) == 0.125  # a regression by nearest neighbours


@pytest.mark.parametrize(
    ("metric", "limit", "comparison", "classes", "message"),
    [
        ("mse", 6.0, "<=", (0.0, 1.0), "as no error is larger than 1, mse <= 6.0 cannot fail"),
        ("mse", 0.2, "<=", (0.0, 1.0), "mse measures numbers, and the labels are the classes 0 and 1: see accuracy"),
        ("r2", 0.2, ">=", (0.0, 1.0), "r2 measures numbers"),
        ("accuracy", 0.9, ">=", (), "the labels are too many different numbers"),
        ("mse", 6.0, "<=", (1.0, 2.0, 3.0), ""),
        ("mse", 6.0, "<=", (), ""),
        ("accuracy", 0.9, ">=", (0.0, 1.0), ""),
        ("latency_p95_ms", 9, "<=", (0.0, 1.0), ""),
    ],
)
def test_a_threshold_that_does_not_fit_the_labels_is_doubted(
    metric: str, limit: float, comparison: str, classes: tuple[float, ...], message: str
) -> None:
    doubt = metrics.doubts(metric, limit, comparison, classes)
    assert message in doubt
    assert bool(message) == bool(doubt)


def test_accuracy_of_more_than_two_classes_compares_the_class_itself() -> None:
    actual, predicted = [0.0, 1.0, 2.0, 2.0], [0.0, 2.0, 2.0, 2.0]
    assert class_metrics.accuracy(actual, predicted) == sklearn_metrics.accuracy_score(actual, predicted) == 0.75


@pytest.mark.parametrize("metric", REGRESSION | CLASSIFICATION)
def test_no_rows_give_no_value(metric: str) -> None:
    with pytest.raises(MetricUndefined, match="no held-out data"):
        (REGRESSION | CLASSIFICATION)[metric]([], [])


@pytest.mark.parametrize("metric", REGRESSION | CLASSIFICATION)
def test_predictions_that_do_not_match_the_labels_are_never_cut_to_length(metric: str) -> None:
    with pytest.raises(ValueError, match="zip"):
        (REGRESSION | CLASSIFICATION)[metric]([1.0, 0.0], [1.0])


def test_r2_of_one_row_is_undefined() -> None:
    with pytest.raises(MetricUndefined, match="at least 2 rows"):
        metrics.r2([1.0], [1.0])


@pytest.mark.parametrize("metric", quality_rules.POSITIVE_CLASS)
@pytest.mark.parametrize(("classes", "stranger"), [((0.0, 1.0, 2.0), "2"), ((), "other numbers"), (None, "2")])
def test_labels_other_than_0_and_1_are_refused_and_named(
    metric: str, classes: tuple[float, ...] | None, stranger: str
) -> None:
    labels = [0.0, 1.0] if classes is not None else [0.0, 2.0]  # whichever of them were sampled
    with pytest.raises(MetricUndefined, match=f"{metric} needs labels 0 and 1, the held-out data has {stranger}"):
        answered("number", [0.5, 0.5], [0.5, 0.5]).value(metric, held_out(labels, classes))


def test_log_loss_refuses_what_is_not_a_probability() -> None:
    with pytest.raises(MetricUndefined, match=r"the endpoint answered 1\.2"):
        class_metrics.log_loss([1.0], [1.2])


def test_an_overflow_is_an_infinite_error_and_no_crash() -> None:
    assert metrics.mse([0.0], [1e200]) == math.inf


@pytest.mark.parametrize(
    ("values", "rank", "expected"),
    [([3.0], 50, 3.0), ([4.0, 1.0, 3.0, 2.0], 50, 2.0), ([4.0, 1.0, 3.0, 2.0], 95, 4.0), (list(range(1, 101)), 95, 95)],
)
def test_a_percentile_is_a_measured_value(values: list[float], rank: float, expected: float) -> None:
    assert metrics.percentile(values, rank) == expected
