"""What a training job leaves behind: dotenv, links, metrics and a Markdown summary.

Called by run.py: `write_links` as soon as there is an execution, `write` when it has ended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ci_scripts import console, job, text
from ci_scripts.run_pipeline.condition import Condition, words
from ci_scripts.run_pipeline.execution import Result
from ci_scripts.run_pipeline.progress import Step, duration, origin

# Pages of the SageMaker console that need no Studio domain.
_JOB_PAGES = {"processing-job": "processing-jobs", "training-job": "jobs", "transform-job": "transform-jobs"}

_MOST_METRICS = 50  # in a merge request


def write_links(
    region: str,
    arn: str,
    steps: Mapping[str, Step],
    packages: Sequence[str],
    more: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Annotations and dotenv: the execution, its jobs and what it registered, and `more` addresses by their labels."""
    pages = f"sagemaker/home?region={region}#"
    # Executions have a page in Studio only, whose address depends on the domain.
    links = {f"Pipeline execution {arn.rpartition('/')[2]} (Studio)": console.url(region, f"{pages}/studio-landing")}
    for step in steps.values():
        kind, _, name = step.job_arn.rpartition(":")[2].partition("/")
        if kind in _JOB_PAGES:
            links[f"Step {step.name}"] = console.url(region, f"{pages}/{_JOB_PAGES[kind]}/{name}")
    for package in packages:
        name = package.rpartition(":model-package/")[2]
        links[f"Model package {name}"] = console.url(region, f"{pages}/model-packages/{name}")
    job.write_annotations({**links, **more})
    job.write_dotenv({"PIPELINE_EXECUTION_ARN": arn} | ({"MODEL_PACKAGE_ARN": packages[-1]} if packages else {}))


def write(
    region: str,
    result: Result,
    packages: Sequence[str],
    conditions: Mapping[str, Sequence[Condition]],
    verdict: str,
    remarks: Mapping[str, str] = MappingProxyType({}),
    links: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """All reports of an execution that has ended; `verdict` is the sentence that the job log ends with.

    `remarks`: by step name, what there is to say of a step that neither failed nor was taken from the cache.
    `links`: by their labels, more addresses for people.
    """
    write_links(region, result.arn, result.steps, packages, links)
    job.write_metrics(metrics(result.steps, conditions))
    job.write_summary(summary(result, conditions, verdict, remarks))


def metrics(steps: Mapping[str, Step], conditions: Mapping[str, Sequence[Condition]]) -> dict[str, float]:
    """Measured values by the path they were read from, and the seconds of each step, under OpenMetrics names."""
    values = {metric_name(path): value for path, value in measured(conditions).items()}
    seconds = {
        f'step_seconds{{step="{name}"}}': step.seconds for name, step in steps.items() if step.seconds is not None
    }
    return values | seconds | {error_name(path): error for path, error in standard_errors(conditions).items()}


def standard_errors(conditions: Mapping[str, Sequence[Condition]]) -> dict[str, float]:
    """The standard errors of the measured values, by their paths, of those whose report has one."""
    every = [each for held in conditions.values() for part in held for each in part.measured]
    return {each.path: each.standard_error for each in every if each.standard_error is not None}


def measured(conditions: Mapping[str, Sequence[Condition]]) -> dict[str, float]:
    """The numbers that conditions took from property files, by their paths."""
    every = [each for of_step in conditions.values() for part in of_step for each in part.measured]
    return {each.path: float(each.value) for each in every if isinstance(each.value, int | float)}


def metric_name(path: str) -> str:
    """The OpenMetrics name of what was read at a path."""
    return re.sub(r"\W+", "_", f"measured_{path}", flags=re.ASCII).strip("_")


def error_name(path: str) -> str:
    """The OpenMetrics name of the standard error of what was read at a path."""
    return metric_name(path).replace("measured_", "standard_error_", 1)


def summary(
    result: Result,
    conditions: Mapping[str, Sequence[Condition]],
    verdict: str,
    remarks: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """The result in Markdown."""
    lines = [f"## Pipeline execution: {result.status}", "", text.cell(verdict), "", text.code(result.arn), ""]
    lines += ["| Step | Type | Status | Duration | |", "|---|---|---|---:|---|"]
    for name, step in result.steps.items():
        remark = step.reason or origin(step) or remarks.get(name, "")
        if name in conditions:
            remark = f"{step.outcome}: {words(conditions[name])}"
        lines.append(f"| {text.cell(name)} | {step.kind} | {step.status} | {duration(step)} | {text.cell(remark)} |")
    return lines


# --- in a merge request --------------------------------------------------------------------------------------------


def checked(verdict: str, changes: Sequence[str], remarks: Sequence[str]) -> list[str]:
    """What a check found, in Markdown: what training would do with the pipeline, and what the commit changes in it."""
    lines = ["## SageMaker pipeline", "", f"{text.cell(verdict)}.", ""]
    lines += [f"- {each}" for each in changes]
    return [*lines, *(["", "```", *remarks, "```"] if remarks else [])]


def measured_by(metrics_file: bytes) -> dict[str, str]:
    """The measured values in a metrics.txt of a training's reports, by name; what is not in its form is left out."""
    pairs = re.findall(
        r"^(measured_\w+) (-?[\d.]+(?:e[+-]?\d+)?|nan|-?inf)$", metrics_file.decode(errors="replace"), re.M
    )
    return dict(pairs[:_MOST_METRICS])


def errors_by(metrics_file: bytes) -> dict[str, float]:
    """The standard errors in a metrics.txt, by name."""
    pairs = re.findall(r"^(standard_error_\w+) ([\d.]+(?:e[+-]?\d+)?)$", metrics_file.decode(errors="replace"), re.M)
    return {name: float(value) for name, value in pairs[:_MOST_METRICS]}


def last_measured(metrics_file: bytes, conditions: Mapping[str, Sequence[Condition]], branch: str) -> list[str]:
    """The metrics of the newest training of a branch, in Markdown, beside the conditions as this commit has them."""
    measured = measured_by(metrics_file)
    if not measured:
        return []
    lines = ["", f"### Measured by the newest training of {text.code(branch)}", "", "| Metric | Value |", "|---|---:|"]
    lines += [f"| {text.cell(name.removeprefix('measured_'))} | {value} |" for name, value in measured.items()]

    def value(unknown: re.Match[str]) -> str:
        return f"{unknown[1]} {measured.get(metric_name(unknown[1]), '(not measured)')}"

    for name, of_step in list(conditions.items())[:_MOST_METRICS]:
        put_in = re.sub(r"(\S+) \(value unknown\)", value, words(of_step))
        lines += ["", f"With these, condition {text.code(name)} compares: {text.code(put_in)}"]
    return lines
