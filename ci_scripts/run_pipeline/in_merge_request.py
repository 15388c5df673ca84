"""What a training in a merge request tells in its comment: the numbers beside those of the default branch.

Called by run.py when the execution has ended.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ci_scripts import job, merge_request, settings, text
from ci_scripts.run_pipeline import condition, definition, report
from ci_scripts.run_pipeline.condition import Bound, Condition
from ci_scripts.settings import Project

_MOST = 50  # rows, and parameters
TRAINING_JOB = "TRAINING_JOB_NAME"
"""The variable with the name of the job that trains the default branch."""


_CONFIDENCE, _QUANTILE = 0.95, 1.959964  # of the normal distribution, of two sides

_INTERVALS = (
    f"The interval ({_CONFIDENCE:g}) is that of two independent samples of rows, by the standard errors of both "
    "evaluations; versions that saw the same rows differ less by chance."
)
_NO_INTERVALS = (
    "There is no interval of the difference: a training leaves one number, which says nothing of its chance. With "
    f"`{condition.STANDARD_ERROR}` beside `value` in the report of the evaluation there is one; "
    "`compare` in quality.yml measures two versions on the same rows."
)


class Errors(NamedTuple):
    """Standard errors of metrics."""

    before: Mapping[str, float]
    """By the names of report.error_name."""
    here: Mapping[str, float]
    """By path."""

    def of_difference(self, path: str) -> float | None:
        """The standard error of new minus old, of independent samples; None where one of both is not known."""
        one, other = self.before.get(report.error_name(path)), self.here.get(path)
        return None if one is None or other is None else math.hypot(one, other)


def comment(
    project: Project,
    defined: Mapping[str, Any],
    overrides: Mapping[str, str],
    conditions: Mapping[str, Sequence[Condition]],
    verdict: str,
) -> list[str]:
    """The comment in Markdown; `overrides` are the parameters it trained with instead of the defaults."""
    name = settings.value(os.environ, TRAINING_JOB) or "training"
    file = merge_request.of_default_branch(f"{job.REPORTS}/metrics.txt", job_name=name)
    before = report.measured_by(file) if file else {}
    errors = Errors(report.errors_by(file) if file else {}, report.standard_errors(conditions))
    parameters = definition.parameter_values(defined, overrides)
    bounds = [
        bound
        for step in definition.steps(defined).values()
        if step.get("Type") == "Condition"
        for bound in condition.bounds(step, parameters)
    ]
    lines = [
        "## Trained in this merge request",
        "",
        f"{text.cell(verdict)}",
        "",
        *table(report.measured(conditions), before, bounds, os.environ.get("CI_DEFAULT_BRANCH", ""), errors),
        "",
        f"In the pipeline and model package group {text.code(project.pipeline)}. An approval there deploys nothing, "
        "and all of it is removed when the merge request closes.",
    ]
    if overrides:
        values = ", ".join(
            f"{text.code(key)} {merge_request.shown(key, each)}" for key, each in list(overrides.items())[:_MOST]
        )
        lines += ["", f"With {values}: the default branch may have trained with other values."]
    return lines


def table(
    values: Mapping[str, float],
    before: Mapping[str, str],
    bounds: Iterable[Bound],
    branch: str,
    errors: Errors | None = None,
) -> list[str]:
    """Each measured value beside the default branch's, with what changed, whether that is better, and the threshold.

    Where both have a standard error, with the interval of the difference; else a sentence says why there is none.
    """
    if not values:
        return ["Nothing was measured: no condition of the pipeline was reached."]
    by_path, told_apart = {bound.path: bound for bound in bounds}, 0
    lines = [f"| Metric | {text.cell(branch or 'before')} | here | Change | Threshold |", "|---|---:|---:|---|---|"]
    for path, value in list(values.items())[:_MOST]:
        bound, old = by_path.get(path), before.get(report.metric_name(path))
        limit = f"{bound.sign} {bound.limit}" if bound else ""
        error = errors.of_difference(path) if errors and old else None
        told_apart += error is not None
        change = difference(float(old), value, bound.better if bound else 0, error) if old else ""
        cells = (text.cell(path), old or "(not measured)", f"{value:.6g}", change, text.cell(limit))
        lines.append(f"| {' | '.join(cells)} |")
    if before:
        lines += ["", _INTERVALS if told_apart else _NO_INTERVALS]
    return lines


def difference(old: float, new: float, better: int, error: float | None = None) -> str:
    """`-0.5 (-11.1 %), better, interval -0.8 to -0.2`; `better` is 1 if more is, -1 if less is.

    `error` is the standard error of the difference. A difference whose interval holds 0 is called neither.
    """
    change = new - old
    if change == 0:
        return "none"
    low, high = (change + sign * _QUANTILE * (error or 0) for sign in (-1, 1))
    interval = f", interval {low:+.4g} to {high:+.4g}" if error else ""
    if low <= 0 <= high:
        better, interval = 0, f"{interval}: may be chance"
    share = f" ({change / abs(old):+.1%})".replace("%", " %") if old else ""
    word = {1: ", better", -1: ", worse"}.get((1 if change > 0 else -1) * better, "")
    return f"{change:+.6g}{share}{word}{interval}"
