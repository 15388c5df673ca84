"""`sagemaker-ci test`: prove that a stage's endpoint answers well enough, before a person may promote it.

Runs the consumer's pytest folder and the thresholds of quality.yml in one pytest session of this process.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ci_scripts import errors, job, repository, settings
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from ci_scripts.aws import Aws
    from ci_scripts.export import Export
    from ci_scripts.predictions.held_out import HeldOut
    from ci_scripts.predictions.target import Endpoint
    from ci_scripts.quality import Load, Quality
    from ci_scripts.registry import ModelPackage
    from ci_scripts.test.load import Loaded
    from ci_scripts.test.measurement import Measurement
    from ci_scripts.test.plugin import Run
    from ci_scripts.test.report import Report
    from ci_scripts.test.shared import Measured, Work

_TESTS, _QUALITY = "tests", "quality.yml"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--stage", required=True, choices=settings.STAGES, help="the deployed stage to test")
    settings.add_option(
        parser,
        "--tests",
        "SMCI_TESTS",
        f"folder or file of pytest tests (default: {_TESTS}, which may be missing)",
        default=_TESTS,
        metavar="PATH",
    )
    settings.add_option(
        parser,
        "--quality",
        "SMCI_QUALITY",
        f"file of quality thresholds (default: {_QUALITY}, which may be missing)",
        default=_QUALITY,
        metavar="PATH",
    )


def run(arguments: Namespace) -> None:
    from ci_scripts import approval_claim

    if approval_claim.is_anothers(os.environ):
        return
    project = settings.load_project()
    poll_seconds = settings.poll_seconds()

    from ci_scripts import export
    from ci_scripts.aws import Aws

    exported = export.load(arguments.stage, project, os.environ, Path.cwd())
    tests, quality_path = _tests(arguments.tests), Path(arguments.quality).absolute()
    quality = _quality(arguments.quality)
    if tests is None and not (quality and quality.checks_anything):
        raise errors.NothingTested(f"there are neither tests in {arguments.tests} nor checks in {arguments.quality}")

    os.environ["AWS_DEFAULT_REGION"] = project.region  # the only name that clients of the consumer's tests read
    aws = Aws(project.region)
    with job.section(f"Endpoint {exported.endpoint_name}"):
        job.say(str(aws.log_in()))
        package = _verify(aws, exported, poll_seconds)
    prepared = _prepare(aws, exported, quality, quality_path, package, project)
    with job.section(f"Tests against {exported.endpoint_name}"):
        paths = [*([tests] if tests else []), *([quality_path] if quality and quality.checks_anything else [])]
        run, exit_code = _pytest(prepared.work, paths)
    report = _report(prepared, run, exit_code, exported, package, project)
    _say(report)
    _judge(report, exit_code, prepared)


def _tests(path: str) -> Path | None:
    """The consumer's tests; None when the default folder is not there. Raises OutsideRepository."""
    repository.require(path)
    if Path(path).exists():
        return Path(path).absolute()
    if path != _TESTS:
        raise errors.NothingTested(f"there are no tests at {path}")
    return None


def _quality(path: str) -> Quality | None:
    """The thresholds; None when the default file is not there."""
    from ci_scripts import quality

    if path == _QUALITY and not os.path.lexists(path):
        return None
    return quality.load(Path(path), Path.cwd())


def _verify(aws: Aws, exported: Export, poll_seconds: float) -> ModelPackage:
    """The model package that the stage is proven to serve: the exported one."""
    from ci_scripts import hosting, registry

    host = hosting.of(exported.hosting)
    package = registry.read(aws.sagemaker, exported.model_package_arn)
    try:
        # Not of the stack: whether its newest configuration is in service was the deploy job's to prove.
        host.prove(aws, exported, package, poll_seconds, of_stack=False)
    except errors.EndpointServesOtherModel as error:
        # The deploy job of this pipeline has proven the opposite: the resource group was free in between.
        raise errors.EndpointServesOtherModel(
            error.message,
            hint=f"Another pipeline has deployed to {exported.stage} since: go on there. To test this version after "
            f"all, run this pipeline's deployment to {exported.stage} again, then this job.",
        ) from None
    job.say(host.proven(exported, exported.model_package_arn))
    return package


class Prepared(NamedTuple):
    """What the tests work on, and what its making came to."""

    work: Work
    measurement: Measurement | None
    failure: errors.SagemakerCiError | None
    """Why there is no measurement."""
    incomparable: errors.SagemakerCiError | None = None
    """Why there is no comparison."""


def _prepare(
    aws: Aws, exported: Export, quality: Quality | None, quality_path: Path, package: ModelPackage, project: Project
) -> Prepared:
    from ci_scripts.predictions import held_out, target
    from ci_scripts.quality import Request
    from ci_scripts.test import comparison
    from ci_scripts.test.shared import Compared, Work

    endpoint = target.endpoint(
        aws,
        exported.hosting,
        exported.endpoint_name,
        exported.stage,
        exported.model_package_arn,
        quality.request if quality else Request(),
    )
    if quality is None:
        return Prepared(Work(endpoint, None, quality_path, None, {}), None, None)
    _require_latencies(quality, endpoint)
    with job.section("Held-out data"):
        data = held_out.load(quality.data, exported.model_package_arn, aws.sagemaker, aws.s3)
        job.say(f"{len(data.labels)} of {data.total} rows of {data.source}")
        _require_sense(quality, data)
        endpoint.classes = target.classes_of(data, quality.request.classes)
        measured, result, failure = _measured(endpoint, quality, data)
    work = Work(endpoint, quality, quality_path, data, measured)
    if not quality.comparisons:
        return Prepared(work, result, failure)
    if result is None:
        problem = f"error {failure.code}: {failure.message}" if failure else ""
        failed = {each.key: Compared(problem=problem) for each in quality.comparisons}
        return Prepared(work._replace(compared=failed), result, failure)
    with job.section(f"Comparison with {quality.comparisons[0].stage}"):
        compared, incomparable = comparison.compare(aws, project, exported, package, quality, data, result)
    return Prepared(work._replace(compared=compared), result, failure, incomparable)


def _require_latencies(quality: Quality, endpoint: Endpoint) -> None:
    """Raise MetricUndefined for checks of a batch transform that only an endpoint can be measured by."""
    from ci_scripts.quality_rules import LATENCY, REQUESTS

    odd = [threshold.key for threshold in quality.thresholds if threshold.metric in {*LATENCY, *REQUESTS}]
    odd += ["load"] if quality.load else []
    odd += ["compare"] if quality.comparisons else []
    if not endpoint.has_endpoint and odd:
        names = ", ".join(odd)
        raise errors.MetricUndefined(
            f"{names}: {endpoint.name} is a batch transform, which answers no single requests",
            hint="Leave these out of quality.yml, or name another file for this stage by `--quality`.",
        )


def _require_sense(quality: Quality, data: HeldOut) -> None:
    """Raise MetricUndefined, before the endpoint is asked, for checks that have no value for such labels."""
    from ci_scripts.test import measurement

    compared = [each.threshold for each in quality.comparisons]
    problems = measurement.objections([*quality.thresholds, *compared], data)
    if len(problems) > 1:
        for problem in problems:
            job.say(problem)
        raise errors.MetricUndefined(f"{len(problems)} problems of checks with the held-out data: {problems[0]}")
    if problems:
        raise errors.MetricUndefined(problems[0])


def _measured(
    endpoint: Endpoint, quality: Quality, data: HeldOut
) -> tuple[dict[str, Measured], Measurement | None, errors.SagemakerCiError | None]:
    """What each metric comes to; asked for once and before the tests, which may run in parallel."""
    from ci_scripts.quality_rules import LATENCY, REQUESTS
    from ci_scripts.test.measurement import measure
    from ci_scripts.test.shared import Measured

    thresholds = {threshold.key: threshold for threshold in quality.thresholds}
    if not quality.checks_anything:
        return {}, None, None
    by_predictions = quality.load or quality.comparisons
    once = not by_predictions and all(threshold.metric in LATENCY for threshold in thresholds.values())
    try:
        measurement = measure(endpoint, data, once=once)
    except errors.SagemakerCiError as error:
        return dict.fromkeys(thresholds, Measured(None, f"error {error.code}: {error.message}")), None, error
    if measurement.answers:
        job.say(f"the endpoint answered {len(data.labels)} rows in the format {measurement.answers.format}")
    if measurement.repeated:
        job.say(
            f"warning: {measurement.repeated} requests were throttled, reset or answered 5xx and sent a second time; "
            "they do not count as latencies"
        )
    if quality.load and any(threshold.metric in REQUESTS for threshold in thresholds.values()):
        measurement = measurement._replace(loaded=_loaded(endpoint, quality.load, data))
    measured: dict[str, Measured] = {}
    undefined: list[errors.SagemakerCiError] = []
    for key, threshold in thresholds.items():
        try:
            measured[key] = Measured.of(measurement, threshold, data, declared=bool(quality.data.classes))
        except errors.SagemakerCiError as error:
            measured[key] = Measured(None, f"error {error.code}: {error.message}")
            undefined.append(error)
    return measured, measurement, undefined[0] if undefined and len(undefined) == len(thresholds) else None


def _loaded(endpoint: Endpoint, load: Load, data: HeldOut) -> Loaded:
    """What comes of the load; says how it went, failures by what was said."""
    from ci_scripts.test.load import run

    ask = endpoint.concurrent(load.concurrency)
    bodies = endpoint.bodies(data.features, load.rows_per_request, load.requests)

    def send(number: int) -> None:
        body, content_type = bodies[number % len(bodies)]
        ask(body, content_type)

    job.say(f"load: {load}")
    loaded = run(load, send)
    for message, count in sorted(loaded.failures.items(), key=lambda pair: -pair[1])[:5]:
        job.say(f"warning: {count} of {load.requests} requests failed: {message}")
    if loaded.late:
        job.say(f"warning: this job sent {loaded.late} requests late itself: give its runner more CPU, or ask for less")
    return loaded


def _pytest(work: Work, paths: list[Path]) -> tuple[Run, int]:
    import pytest

    from ci_scripts.test.plugin import Run

    run = Run(work)
    exit_code = pytest.main(
        [
            *(str(path) for path in paths),
            f"--rootdir={Path.cwd()}",
            f"--junitxml={job.reports_folder() / 'junit.xml'}",
            # This family names each test's file, which GitLab links to.
            "--override-ini=junit_family=xunit1",
            f"--color={'yes' if job.shows_colours(sys.stdout) else 'no'}",
            "-p",
            "ci_scripts.test.plugin",
        ],
        plugins=[run],
    )
    return run, int(exit_code)


def _report(
    prepared: Prepared, run: Run, exit_code: int, exported: Export, package: ModelPackage, project: Project
) -> Report:
    import pytest

    from ci_scripts import console
    from ci_scripts.test import metrics, page
    from ci_scripts.test.report import Check, Report, Versus, write

    work = prepared.work
    thresholds = work.quality.thresholds if work.quality else ()
    classes = work.held_out.class_labels if work.held_out else ()
    passed = {each.name for each in run.outcomes if each.outcome == "passed"}
    report = Report(
        stage=exported.stage,
        endpoint=exported.endpoint_name,
        endpoint_url=console.endpoint_url(project.region, exported.endpoint_name),
        model_package=str(package),
        model_package_arn=exported.model_package_arn,
        package=package.description,
        approved_by=exported.approved_by,
        checks=[
            Check(threshold, run.values.get(threshold.key), work.measured[threshold.key].segments)
            for threshold in thresholds
        ],
        comparisons=[
            Versus(each, work.compared[each.key], f"quality: {each}" in passed)
            for each in (work.quality.comparisons if work.quality else ())
        ],
        outcomes=run.outcomes,
        complete=exit_code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED),
        held_out=work.held_out,
        measurement=prepared.measurement,
        job=job.current(),
        doubts=[
            doubt
            for threshold in thresholds
            if (doubt := metrics.doubts(threshold.metric, threshold.limit, threshold.comparison, classes))
        ],
    )
    write(report)
    page.write(report)
    return report


def _say(report: Report) -> None:
    from ci_scripts.test.report import bound, number

    for check in report.checks:
        job.say(f"{check.threshold.subject} {number(check.measured)}, {bound(check.threshold)}: {check.outcome}")
        for segment in check.segments:
            job.say(f"  {segment.name}: {number(segment.value)} ({segment.rows} rows)")
    for each in report.comparisons:
        job.say(f"{each.sentence}: {each.outcome}")
    for doubt in report.doubts:
        job.say(f"warning: {doubt}")
    job.say(f"{report.endpoint}: {report.tally}")


def _judge(report: Report, exit_code: int, prepared: Prepared) -> None:
    """Raise what the pytest session comes to, unless it is green and has tested something."""
    import pytest

    broken = report.broken
    if broken:
        # One cause, and its own hint is the better one.
        if prepared.failure and all(each.name.startswith("quality: ") for each in broken):
            raise prepared.failure
        if prepared.incomparable and {each.name for each in broken} <= {each.test for each in report.comparisons}:
            raise prepared.incomparable
        names = ", ".join(each.name for each in broken[:3]) + (
            f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        )
        raise errors.TestsFailed(f"{len(broken)} of {len(report.outcomes)} tests failed: {names}")
    if exit_code == pytest.ExitCode.INTERRUPTED:
        raise errors.JobCancelled("the tests were interrupted")
    if exit_code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise errors.TestsFailed(f"pytest ended with exit code {exit_code}", hint="Its own message is above.")
    if report.unmet:  # pytest is content all the same: it was told to deselect, to skip or to expect the failure
        raise errors.TestsFailed(
            f"{len(report.unmet)} of {len(report.checks) + len(report.comparisons)} thresholds not met: "
            + ", ".join(report.unmet),
            hint="Let your pytest configuration (addopts, PYTEST_ADDOPTS, conftest.py) run every test of quality.yml.",
        )
    if report.verdict != "passed":
        raise errors.NothingTested(f"not one test ran against {report.endpoint}: {report.tally}")
