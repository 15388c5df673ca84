"""What a training in a merge request tells in its comment: the numbers beside those of the default branch.

Called by run.py when the execution has ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ci_scripts import job, merge_request, settings, text
from ci_scripts.run_pipeline import condition, definition, report
from ci_scripts.run_pipeline.condition import Bound, Condition
from ci_scripts.settings import Project

_MOST = 50  # rows, and parameters
TRAINING_JOB = "TRAINING_JOB_NAME"
"""The variable with the name of the job that trains the default branch."""


def told(
    project: Project,
    defined: Mapping[str, Any],
    given: Mapping[str, str],
    conditions: Mapping[str, Sequence[Condition]],
    verdict: str,
) -> list[str]:
    """The comment in Markdown; `given` are the parameters that this merge request trained with, beside the defaults."""
    name = settings.value(os.environ, TRAINING_JOB) or "training"
    file = merge_request.of_default_branch(f"{job.REPORTS}/metrics.txt", job_name=name)
    before = report.measured_by(file) if file else {}
    parameters = definition.parameter_values(defined, given)
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
        *table(report.measured(conditions), before, bounds, os.environ.get("CI_DEFAULT_BRANCH", "")),
        "",
        f"In the pipeline and model package group {text.code(project.pipeline)}. An approval there deploys nothing, "
        "and all of it is removed when the merge request closes.",
    ]
    if given:
        shown = ", ".join(
            f"{text.code(key)} {merge_request.shown(key, each)}" for key, each in list(given.items())[:_MOST]
        )
        lines += ["", f"With {shown}: the default branch may have trained with other values."]
    return lines


def table(values: Mapping[str, float], before: Mapping[str, str], bounds: Iterable[Bound], branch: str) -> list[str]:
    """Each measured value beside the default branch's, with what changed, whether that is better, and the threshold."""
    if not values:
        return ["Nothing was measured: no condition of the pipeline was reached."]
    by_path = {bound.path: bound for bound in bounds}
    lines = [f"| Metric | {text.cell(branch or 'before')} | here | Change | Threshold |", "|---|---:|---:|---|---|"]
    for path, value in list(values.items())[:_MOST]:
        bound, old = by_path.get(path), before.get(report.metric_name(path))
        limit = f"{bound.sign} {bound.limit}" if bound else ""
        change = difference(float(old), value, bound.better if bound else 0) if old else ""
        cells = (text.cell(path), old or "(not measured)", f"{value:.6g}", change, text.cell(limit))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def difference(old: float, new: float, better: int) -> str:
    """`-0.5 (-11.1 %), better`; `better` is 1 if more is, -1 if less is."""
    change = new - old
    if change == 0:
        return "none"
    share = f" ({change / abs(old):+.1%})".replace("%", " %") if old else ""
    word = {1: ", better", -1: ", worse"}.get((1 if change > 0 else -1) * better, "")
    return f"{change:+.6g}{share}{word}"
