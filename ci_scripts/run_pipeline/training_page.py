"""training.html: what came of a pipeline execution, as a page of its own, also of one that failed.

Called by run.py when an execution has ended. What cannot be read is said on the page, and hides nothing else.
training.template.html is the HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ci_scripts import console, errors, job, merge_request, page, registry, text
from ci_scripts.aws import Aws
from ci_scripts.page import plots
from ci_scripts.page.plots import Plot
from ci_scripts.run_pipeline import condition, definition, importance, jobs, learning, report
from ci_scripts.run_pipeline.condition import Bound, Condition
from ci_scripts.run_pipeline.execution import Result
from ci_scripts.run_pipeline.importance import Feature
from ci_scripts.run_pipeline.in_merge_request import difference
from ci_scripts.run_pipeline.progress import Step, clock, duration, origin
from ci_scripts.s3_location import Location
from ci_scripts.settings import Project

FILE = "training.html"
_MOST_FEATURES, _MOST_TRAININGS, _MOST_PARAMETERS, _LONGEST_VALUE = 20, 3, 50, 200
T = TypeVar("T")


class Metric(NamedTuple):
    """A measured value, what was asked of it, and what the last approved version was measured to be."""

    path: str
    value: float
    bound: Bound | None
    before: float | None

    @property
    def change(self) -> str:
        """`-0.5 (-11.1 %), better` than the approved version; empty without one."""
        return (
            "" if self.before is None else difference(self.before, self.value, self.bound.better if self.bound else 0)
        )


class Curve(NamedTuple):
    """A plot of one metric over the rounds of a training step, and what its colours mean."""

    title: str
    plot: Plot
    series: Sequence[str]


class Page(NamedTuple):
    """What the page shows."""

    project: Project
    result: Result
    verdict: str
    remarks: Mapping[str, str]
    """What is to be said of each step."""
    metrics: Sequence[Metric]
    approved: str
    """The last approved version in words; why there is none to compare with, if there is none."""
    curves: Sequence[Curve]
    features: Sequence[Feature]
    packages: Mapping[str, str]
    """Registered versions and their addresses."""
    parameters: Mapping[str, str]
    notes: Sequence[str]
    """What could not be read."""


def write(
    aws: Aws,
    project: Project,
    defined: Mapping[str, Any],
    overrides: Mapping[str, str],
    result: Result,
    packages: Sequence[str],
    conditions: Mapping[str, Sequence[Condition]],
    verdict: str,
    remarks: Mapping[str, str],
) -> None:
    """Write the page into the reports folder; `overrides` are the parameters that the execution was started with,
    `remarks` what is to be said of steps."""
    notes: list[str] = []
    parameters = definition.parameter_values(defined, overrides)
    bounds = {
        bound.path: bound
        for step in definition.steps(defined).values()
        if step.get("Type") == "Condition"
        for bound in condition.bounds(step, parameters)
    }
    approved, before = _approved(aws, project, notes)
    page = Page(
        project,
        result,
        verdict,
        {name: _remark_of(name, step, remarks, conditions) for name, step in result.steps.items()},
        [
            Metric(path, value, bounds.get(path), before.get(path))
            for path, value in report.measured(conditions).items()
        ],
        approved,
        _curves(aws, result.steps, notes),
        _features(aws, packages, notes),
        {arn.rpartition(":model-package/")[2]: _package_url(project.region, arn) for arn in packages},
        {
            name: "(not shown)" if merge_request.is_secret(name) else text.short(str(value), _LONGEST_VALUE)
            for name, value in list(parameters.items())[:_MOST_PARAMETERS]
        },
        notes,
    )
    job.write_page(FILE, html(page))


def _remark_of(name: str, step: Step, remarks: Mapping[str, str], conditions: Mapping[str, Sequence[Condition]]) -> str:
    if name in conditions:
        return f"{step.outcome}: {condition.words(conditions[name])}"
    return step.reason or origin(step) or remarks.get(name, "")


def html(shown: Page) -> str:
    """The page."""
    return page.render(
        __package__,
        "training.template.html",
        shown=shown,
        job=job.current(),
        now=datetime.now(UTC),
        duration=duration,
        clock=clock,
        features=shown.features[:_MOST_FEATURES],
        total=sum(step.seconds or 0 for step in shown.result.steps.values() if not step.source),
    )


def _package_url(region: str, arn: str) -> str:
    name = arn.rpartition(":model-package/")[2]
    return console.url(region, f"sagemaker/home?region={region}#/model-packages/{name}")


# --- what is read ----------------------------------------------------------------------------------------------------


def _read(what: str, notes: list[str], read: Callable[[], T]) -> T | None:
    """What `read` returns; None, with a note that says why, if it cannot be read."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return read()
    except (BotoCoreError, ClientError, errors.SagemakerCiError) as error:
        notes.append(f"{what} cannot be read: {error}")
        return None


def _approved(aws: Aws, project: Project, notes: list[str]) -> tuple[str, Mapping[str, float]]:
    """The last approved version in words, and what it was measured to be."""
    if project.merge_request:
        return "a merge request has no approved version of its own", {}

    def read() -> tuple[str, Mapping[str, float]]:
        try:
            package = registry.latest_approved(aws.sagemaker, project.model_package_group)
        except errors.NoApprovedModelPackage:
            return "no version is approved yet", {}
        stamped = registry.stamped(package.description.get("CustomerMetadataProperties", {}), registry.METRIC)
        numbers = {path: _number(each) for path, each in stamped.items()}
        return f"against version {package.version}, the last that was approved", {
            path: each for path, each in numbers.items() if each is not None
        }

    return _read("The last approved version", notes, read) or ("", {})


def _number(content: str) -> float | None:
    try:
        return float(content)
    except ValueError:
        return None


def _curves(aws: Aws, steps: Mapping[str, Step], notes: list[str]) -> list[Curve]:
    trained = [step for step in steps.values() if ":training-job/" in step.job_arn and not step.source]
    curves = []
    for step in trained[:_MOST_TRAININGS]:
        place = jobs.log_place(step.job_arn)
        if place is None:
            continue
        lines = _read(f"The log of step {step.name}", notes, partial(_log, aws, *place)) or []
        for metric, series in learning.curves(lines).items():
            title = metric if len(trained) == 1 else f"{metric} of {step.name}"
            curves.append(Curve(title, plots.curves(series, "round", metric), list(series)))
    return curves


def _log(aws: Aws, group: str, prefix: str) -> list[str]:
    return list(learning.read(aws.logs, group, prefix))


def _features(aws: Aws, packages: Sequence[str], notes: list[str]) -> list[Feature]:
    """What the newest registered model decides by."""
    if not packages:
        return []
    package = _read("The model package", notes, partial(registry.read, aws.sagemaker, packages[-1]))
    containers = (package.description if package else {}).get("InferenceSpecification", {}).get("Containers", [])
    addresses = [address for each in containers if str(address := each.get("ModelDataUrl", "")).endswith(".tar.gz")]
    for address in addresses:
        content = _read(f"The model {address}", notes, partial(_archive, aws, address)) or b""
        if features := importance.of_archive(content):
            return features
    return []


def _archive(aws: Aws, address: str) -> bytes:
    place = Location.of(address)
    answer = aws.s3.get_object(Bucket=place.bucket, Key=place.key)
    return answer["Body"].read() if answer["ContentLength"] <= importance.LARGEST else b""
