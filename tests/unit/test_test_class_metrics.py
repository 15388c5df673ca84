"""Metrics of any number of classes, numbers or text, are scikit-learn's on random data and at its edges."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest
from sklearn import metrics as sklearn_metrics

from ci_scripts.errors import MetricUndefined
from ci_scripts.quality_rules import AVERAGES
from ci_scripts.test import class_metrics, metrics

CLASSES: dict[str, list[Any]] = {
    "two": [0.0, 1.0],
    "three": [0.0, 1.0, 2.0],
    "sparse": [-3.0, 7.0, 1e6],
    "text": ["setosa", "versicolor", "virginica"],
    "two, as text": ["ham", "spam"],
}


def drawn(seed: int, classes: list[Any], rows: int = 200) -> tuple[list[Any], list[Any]]:
    """Labels and predictions; one class is never predicted, and another is never a label."""
    chance = random.Random(seed)  # noqa: S311 - test data, always the same
    actual = chance.choices(classes[: max(2, len(classes) - 1)], k=rows)
    return actual, [each if chance.random() < 0.6 else chance.choice(classes[-2:]) for each in actual]


@pytest.mark.parametrize("metric", AVERAGES)
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("seed", range(5))
def test_a_mean_over_classes_is_the_one_of_scikit_learn(metric: str, name: str, seed: int) -> None:
    actual, predicted = drawn(seed, CLASSES[name])
    kind, _, average = metric.rpartition("_")
    function = getattr(sklearn_metrics, f"{kind}_score")
    expected = function(actual, predicted, average=average, zero_division=0)
    assert metrics.CLASSIFICATION[metric](actual, predicted) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", ["precision", "recall", "f1"])
@pytest.mark.parametrize("positive", ["setosa", "versicolor", "virginica"])
def test_a_metric_of_one_class_of_many_is_the_one_of_scikit_learn(metric: str, positive: str) -> None:
    actual, predicted = drawn(3, CLASSES["text"])
    function = getattr(sklearn_metrics, f"{metric}_score")
    [expected] = function(actual, predicted, average=None, labels=[positive], zero_division=0)
    assert metrics.CLASSIFICATION[metric](actual, predicted, positive) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("digits", [1, 2, 17])
@pytest.mark.parametrize("scale", [1.0, 1e300])
def test_auc_is_the_one_of_scikit_learn_with_ties_and_huge_scores(digits: int, scale: float) -> None:
    chance = random.Random(digits)  # noqa: S311
    labels = [float(chance.random() < 0.2) for _ in range(400)]
    scores = [round(chance.random() * 0.7 + 0.3 * label, digits) * scale for label in labels]
    assert class_metrics.auc(labels, scores) == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores), rel=1e-12)


def test_scores_that_are_all_alike_have_an_auc_of_one_half() -> None:
    assert class_metrics.auc([0.0, 1.0, 1.0], [0.3, 0.3, 0.3]) == 0.5


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_auc_of_a_single_class_is_undefined(label: float) -> None:
    with pytest.raises(MetricUndefined, match="all rows of held-out data are of one"):
        class_metrics.auc([label, label], [0.1, 0.2])


def scored(seed: int, classes: list[Any], *, certain: bool = False) -> tuple[list[Any], list[dict[Any, float]]]:
    chance = random.Random(seed)  # noqa: S311
    actual = [*classes, *chance.choices(classes, k=200)]
    scores = []
    for _ in actual:
        weights = [float(chance.random() < 0.5) if certain else chance.random() for _ in classes]
        if not sum(weights):
            weights[0] = 1.0
        total = sum(weights)
        scores.append({each: weight / total for each, weight in zip(classes, weights, strict=True)})
    return actual, scores


@pytest.mark.parametrize("name", ["three", "text", "sparse"])
@pytest.mark.parametrize("certain", [True, False])
def test_log_loss_of_several_classes_is_the_one_of_scikit_learn(name: str, certain: bool) -> None:
    actual, scores = scored(1, CLASSES[name], certain=certain)
    order = sorted(CLASSES[name])
    expected = sklearn_metrics.log_loss(actual, [[row[each] for each in order] for row in scores], labels=order)
    assert class_metrics.log_loss_of_classes(actual, scores) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["three", "text", "sparse"])
def test_auc_of_several_classes_is_the_one_of_scikit_learn(name: str) -> None:
    actual, scores = scored(2, CLASSES[name])
    order = sorted(CLASSES[name])
    table = [[row[each] for each in order] for row in scores]
    expected = sklearn_metrics.roc_auc_score(actual, table, multi_class="ovr", average="macro", labels=order)
    assert class_metrics.auc_of_classes(actual, scores) == pytest.approx(expected, rel=1e-12)


def test_auc_of_several_classes_needs_rows_and_scores_of_each() -> None:
    with pytest.raises(MetricUndefined, match="the held-out data has none of 'c'"):
        class_metrics.auc_of_classes(["a", "b"], [{"a": 0.5, "b": 0.3, "c": 0.2}] * 2)
    with pytest.raises(MetricUndefined, match="the endpoint has none of 'b'"):
        class_metrics.auc_of_classes(["a", "b"], [{"a": 1.0}] * 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"a": 1.2, "b": -0.2}, "probabilities from 0 to 1, the endpoint answered 1.2"),
        ({"a": 0.9, "b": 0.9}, "those of a row add up to 1.8"),
        ({"b": 1.0}, "the endpoint has none of 'a'"),
    ],
)
def test_log_loss_refuses_what_is_no_distribution(row: dict[Any, float], message: str) -> None:
    with pytest.raises(MetricUndefined, match=message):
        class_metrics.log_loss_of_classes(["a"], [row])


@pytest.mark.parametrize("quantile", [0.01, 0.1, 0.5, 0.9])
def test_pinball_and_mape_are_those_of_scikit_learn(quantile: float) -> None:
    chance = random.Random(4)  # noqa: S311
    actual = [chance.uniform(-1e3, 1e3) for _ in range(300)]
    predicted = [each + chance.gauss(0, 50) for each in actual]
    expected = sklearn_metrics.mean_pinball_loss(actual, predicted, alpha=quantile)
    assert metrics.pinball(actual, predicted, quantile) == pytest.approx(expected, rel=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = sklearn_metrics.mean_absolute_percentage_error([*actual, 0.0], [*predicted, 1e-300])
    assert metrics.mape([*actual, 0.0], [*predicted, 1e-300]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "labels", "classes", "positive", "message"),
    [
        ("mse", ["a", "b"], ("a", "b"), None, "mse measures numbers, and the labels are text such as 'a'"),
        ("mape", ["a"], (), None, "mape measures numbers"),
        ("f1", ["a", "b"], ("a", "b"), None, "f1 is of one class: `data.positive` says which, or take f1_macro"),
        ("f1", ["a", "b"], ("a", "b"), "a", ""),
        ("recall", [0.0, 2.0], (0.0, 1.0, 2.0), 2.0, ""),
        ("auc", ["a", "b"], ("a", "b"), None, "auc of two classes that are text needs `data.positive`"),
        ("auc", ["a", "b", "c"], ("a", "b", "c"), None, ""),
        ("auc", [1.0, 1.0], (0.0, 1.0), None, "all rows of held-out data are of one"),
        ("auc", [1.5, 2.5], (), None, "auc needs labels 0 and 1, the held-out data has other numbers"),
        ("log_loss", [0.0, 2.0], (0.0, 1.0, 2.0), None, ""),
        ("mape", [0.0, 3.0], (), None, "mape divides by the label, and the held-out data has labels of 0"),
        ("mape", [1.0, 3.0], (), None, ""),
        ("f1_macro", ["a"], ("a", "b"), None, ""),
        ("accuracy", ["free text"], (), None, ""),
    ],
)
def test_a_metric_without_sense_is_objected_to_from_the_labels_alone(
    metric: str, labels: list[Any], classes: tuple[Any, ...], positive: Any, message: str
) -> None:
    objection = metrics.objection(metric, labels, classes, positive)
    assert message in objection
    assert bool(message) == bool(objection)


CURVES = [
    pytest.param([0.0, 1.0, 1.0, 0.0, 1.0], [0.1, 0.4, 0.35, 0.8, 0.8], id="ties"),
    pytest.param([1.0, 0.0], [0.5, 0.5], id="all the same"),
    pytest.param([1.0, 1.0, 0.0], [0.9, 0.8, 0.1], id="perfect"),
]


@pytest.mark.parametrize(("labels", "scores"), CURVES)
def test_the_curves_of_scores_are_scikit_learns(labels: list[float], scores: list[float]) -> None:
    false, true, _ = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    assert class_metrics.roc(labels, scores) == list(zip(false, true, strict=True))
    precision, recall, _ = sklearn_metrics.precision_recall_curve(labels, scores)
    points = list(zip(recall, precision, strict=True))[:-1]  # its last point is added, not measured
    assert class_metrics.precision_recall(labels, scores) == points[::-1]


def test_scores_of_one_class_have_no_curves() -> None:
    with pytest.raises(MetricUndefined):
        class_metrics.roc([1.0, 1.0], [0.1, 0.2])
