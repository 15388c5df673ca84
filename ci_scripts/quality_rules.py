"""Which metrics quality.yml knows, of which kind each is, and which of them a file cannot mean: decided without data.

Called by quality.py for `build` and `test`, and by the test command, which then knows the labels, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

REGRESSION = ("mse", "rmse", "mae", "r2", "max_error", "mape", "pinball")
"""Metrics of numbers."""
POSITIVE_CLASS = ("precision", "recall", "f1")
"""Metrics of one class against the others."""
AVERAGES = tuple(f"{metric}_{average}" for metric in POSITIVE_CLASS for average in ("macro", "weighted"))
"""Means over all classes, of any number and as text, too."""
SCORES = ("log_loss", "auc")
"""Metrics of probabilities or scores of classes."""
CLASSIFICATION = ("accuracy", *POSITIVE_CLASS, *AVERAGES, *SCORES)
LATENCY = {"latency_p50_ms": 50, "latency_p95_ms": 95, "latency_p99_ms": 99}
"""Percentiles of the requests' durations, in milliseconds."""
ERROR_RATE = "error_rate"
"""Share of the requests of a load that were not answered."""
REQUESTS = (*LATENCY, ERROR_RATE)
"""Metrics of requests, whatever was answered."""
METRICS = (*REGRESSION, *CLASSIFICATION, *REQUESTS)

HIGHER_IS_BETTER = ("r2", *(metric for metric in CLASSIFICATION if metric != "log_loss"))
"""Of all others, lower."""

_SHARES = (*(metric for metric in CLASSIFICATION if metric != "log_loss"), ERROR_RATE)

_CLASS_ANSWERS = ("scores", "label", "class")
_WITHOUT_SCORES = ("class",)


def is_text(classes: Sequence[object]) -> bool:
    """Whether classes are text, not numbers."""
    return any(isinstance(each, str) for each in classes)


def of_classes(metric: str, classes: Sequence[Any], positive: object = None) -> str:
    """Why a metric makes no sense where the labels are of these classes, all that there are; empty when it does."""
    words = [each for each in classes if isinstance(each, str)]
    if metric in REGRESSION and words:
        return f"{metric} measures numbers, and the labels are text such as {words[0]!r}: see accuracy or f1_macro"
    binary = bool(classes) and set(classes) <= {0, 1}
    if positive is not None or binary:
        return ""
    if words and metric in POSITIVE_CLASS:
        return f"{metric} is of one class: `data.positive` says which, or take {metric}_macro"
    if words and metric in SCORES and len(classes) == 2:
        return f"{metric} of two classes that are text needs `data.positive`, the class that a score is for"
    if metric in POSITIVE_CLASS:
        stranger = next((f"{each:g}" for each in classes if each not in (0, 1)), "other numbers")
        way = f": `data.positive` says which class it is of, or take {metric}_macro" if classes else ""
        return f"{metric} needs labels 0 and 1, the held-out data has {stranger}{way}"
    if metric in SCORES and not classes:
        return f"{metric} needs labels 0 and 1, the held-out data has other numbers"
    return ""


def of_answer(metric: str, answer: str) -> str:
    """Why a metric makes no sense for answers of a format; empty when it does."""
    if metric in REGRESSION and answer in _CLASS_ANSWERS:
        return f"{metric} needs numbers, the endpoint answers classes ({answer})"
    if metric in CLASSIFICATION and answer == "numbers":
        return f"{metric} needs classes or scores, the endpoint answers several numbers for each row ({answer})"
    if metric in SCORES and answer in _WITHOUT_SCORES:
        return f"{metric} needs the scores of classes, which {answer} does not hold"
    return ""


def of_bound(metric: str, bound: float) -> str:
    """Why no value of a metric is on one side of a bound, which then always fails or never; empty where both can be."""
    if metric in _SHARES and not 0 <= bound <= 1:
        percent = f": {bound:g} percent are {bound / 100:g}" if 1 < bound <= 100 else ""
        return f"{metric} is from 0 to 1, {bound:g} is not{percent}"
    if metric == "r2" and bound > 1:
        return f"r2 is at most 1, {bound:g} is more"
    if metric != "r2" and bound < 0:
        return f"{metric} is never negative, {bound:g} is"
    return ""


def contradictions(content: Mapping[str, Any]) -> Iterator[str]:
    """What a file, whose parts may have any shape, cannot mean: each as `path: problem`."""
    data, request = _mapping(content.get("data")), _mapping(content.get("request"))
    classes = data["classes"] if isinstance(data.get("classes"), list) else []
    classes = [each for each in classes if isinstance(each, int | float | str)]
    positive = data.get("positive")
    if len({isinstance(each, str) for each in classes}) > 1:
        yield "data.classes: holds numbers and text; where labels are text, put all of them in quotes"
        return
    if classes and positive is not None and positive not in classes:
        yield f"data.positive: {positive!r} is none of data.classes"
    checks = content["checks"] if isinstance(content.get("checks"), list) else []
    for index, check in enumerate(checks):
        if not isinstance(check, dict) or not isinstance(metric := check.get("metric"), str):
            continue
        problems = [*_of_check(check, metric, content), of_answer(metric, str(request.get("answer", "")))]
        if classes:
            problems.append(of_classes(metric, classes, positive))
        yield from (f"checks.{index}: {problem}" for problem in problems if problem)
    yield from _of_compare(content, classes, positive)


def _of_compare(content: Mapping[str, Any], classes: Sequence[Any], positive: object) -> Iterator[str]:
    compare, request = _mapping(content.get("compare")), _mapping(content.get("request"))
    for metric, rule in _mapping(compare.get("metrics")).items():
        if not isinstance(rule, dict) or metric not in METRICS:
            continue
        if problem := not_compared(metric):
            yield f"compare.metrics.{metric}: {problem}"
            continue
        problems = [*_of_check(rule, metric, content), of_answer(metric, str(request.get("answer", "")))]
        bound = rule.get("worse_by_at_most")
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            if not math.isfinite(bound):
                problems.append("worse_by_at_most must be a finite number")
            elif metric in _SHARES:
                problems.append(of_bound(metric, bound))
        if classes:
            problems.append(of_classes(metric, classes, positive))
        yield from (f"compare.metrics.{metric}: {problem}" for problem in problems if problem)


def not_compared(metric: str) -> str:
    """Why two versions cannot be compared by a metric; empty where they can."""
    if metric in REQUESTS:
        return f"{metric} is of requests, which say more of the endpoints' instances than of the versions: see checks"
    if metric == "max_error":
        return "max_error is of a single row, so that no resampling of the rows tells how certain it is: see mae or mse"
    return ""


def _of_check(check: Mapping[str, Any], metric: str, content: Mapping[str, Any]) -> Iterator[str]:
    data, request = _mapping(content.get("data")), _mapping(content.get("request"))
    if metric == "pinball" and "quantile" not in check:
        yield "pinball needs quantile, such as 0.9"
    if metric != "pinball" and "quantile" in check:
        yield f"quantile goes with pinball, not with {metric}"
    if "output" in check and request.get("answer") != "numbers":
        yield "output takes `request: {answer: numbers}`, several numbers for each row"
    if metric == ERROR_RATE and "load" not in content:
        yield "error_rate takes `load`: the rate and duration of the requests"
    by = check.get("by")
    if by is not None and metric in REQUESTS:
        yield f"by goes with metrics of predictions, not with {metric}"
    if isinstance(by, str) and not data.get("header", False):
        yield "a name as by needs `header: true`; without a header it is a number"
    for bound in (check.get("min"), check.get("max")):
        if isinstance(bound, int | float) and not isinstance(bound, bool) and metric in METRICS:
            yield of_bound(metric, bound)
    if "min_rows" in check and by is None:
        yield "min_rows goes with by"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
