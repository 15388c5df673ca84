"""`sagemaker-ci drift`: is a stage still what was deployed, and do its callers send what its version has learnt from?

Called by a schedule. configuration.py looks at the stack and the endpoint, data.py at captured requests.
"""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ci_scripts import settings
from ci_scripts.errors import InvalidOption

if TYPE_CHECKING:
    from ci_scripts.aws import Aws
    from ci_scripts.deployment_record import Record
    from ci_scripts.drift.report import Report
    from ci_scripts.drift.retraining import Wish
    from ci_scripts.drift.statistics import Limits
    from ci_scripts.quality import Quality
    from ci_scripts.settings import Project

_QUALITY = "quality.yml"
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}
_LONGEST_WINDOW = timedelta(days=90)


# Flag, variable, help, default, metavar.
_OPTIONS = (
    ("--window", "SMCI_WINDOW", "how far back captured requests count, in hours or days: 36h, 7d", "24h", "TIME"),
    ("--minimum-rows", "SMCI_MINIMUM_ROWS", "fewer captured rows are not judged", "200", "N"),
    (
        *("--confidence", "SMCI_CONFIDENCE"),
        "share of looks that find nothing where nothing has drifted, all columns together",
        *("0.95", "SHARE"),
    ),
    (
        *("--psi-threshold", "SMCI_PSI_THRESHOLD"),
        "population stability index below which a significant difference does not matter",
        *("0.2", "PSI"),
    ),
    (
        *("--retrain-project", "SMCI_RETRAIN_PROJECT"),
        "the GitLab project, by number or path, whose pipeline is started when data has drifted",
        *("", "PROJECT"),
    ),
    ("--retrain-ref", "SMCI_RETRAIN_REF", "the branch of that project", "main", "BRANCH"),
    (
        *("--retrain-quiet", "SMCI_RETRAIN_QUIET"),
        "how long to wait before the same deployment starts another retraining",
        *("7d", "TIME"),
    ),
    (
        *("--quality", "SMCI_QUALITY"),
        f"file that says what the held-out data is, which may be missing if it is {_QUALITY}",
        *(_QUALITY, "PATH"),
    ),
)


def add_arguments(parser: ArgumentParser) -> None:
    settings.add_option(
        parser,
        "--stage",
        "SMCI_WATCH",
        "the deployed stage to look at (default: prod)",
        choices=settings.STAGES,
        default="prod",
    )
    for flag, variable, meaning, default, metavar in _OPTIONS:
        help_text = f"{meaning} (default: {default or 'none'})"
        settings.add_option(parser, flag, variable, help_text, default=default, metavar=metavar)


def run(arguments: Namespace) -> None:
    project = settings.load_project()
    poll_seconds = settings.poll_seconds()
    span, limits, retrain = _checked(arguments)
    quality = _quality(arguments.quality)

    # Imported when the settings are known to be right: a missing variable is answered at once.
    from ci_scripts import job
    from ci_scripts.aws import Aws
    from ci_scripts.deployment_history import History
    from ci_scripts.drift import report, retraining

    aws = Aws(project.region)
    job.say(str(aws.log_in()))
    record = History(aws, project, arguments.stage).latest()
    if record is None or not record.serves:
        _require_nothing(aws, project, arguments.stage)
        return
    job.say(f"{arguments.stage}: version {record.version}, {record.event} on {record.time} (record {record.number})")
    drift_report = _look(aws, project, record, quality, span, limits, poll_seconds)
    report.write(drift_report)
    # Whatever else was changed by hand is no reason to train, and the data of another version none to judge by.
    if retrain and drift_report.data.findings and not drift_report.configuration.differences:
        with job.section("Retraining"):
            job.say(retraining.start(aws, project, record, retrain))
    report.judge(drift_report)


def _checked(arguments: Namespace) -> tuple[timedelta, Limits, Wish | None]:
    """The options as values. Raises InvalidOption with everything that is wrong with them."""
    from ci_scripts.drift import retraining
    from ci_scripts.drift.statistics import Limits

    problems = []
    if arguments.stage not in settings.STAGES:  # argparse does not look at what a variable holds
        problems.append(f"--stage is {arguments.stage!r}, expected {' or '.join(settings.STAGES)}")
    spans = {name: _span(getattr(arguments, name)) for name in ("window", "retrain_quiet")}
    for name, span in spans.items():
        if not timedelta(0) < span <= _LONGEST_WINDOW:
            option = getattr(arguments, name)
            problems.append(f"--{name.replace('_', '-')} is {option!r}, expected hours or days, at most 90d: 36h, 7d")
    token = os.environ.get(retraining.TOKEN, "")
    if arguments.retrain_project and not token:
        problems.append(f"--retrain-project is given, and the CI/CD variable {retraining.TOKEN} is not set")
    numbers = {}
    for name, low, high in (("minimum_rows", 30, 1e9), ("confidence", 0.5, 0.9999), ("psi_threshold", 0, 100)):
        option = str(getattr(arguments, name))
        is_number = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", option) is not None
        numbers[name] = float(option) if is_number else -1.0
        if not low <= numbers[name] <= high:
            problems.append(f"--{name.replace('_', '-')} is {option!r}, expected a number from {low:g} to {high:g}")
    if problems:
        raise InvalidOption("; ".join(problems), hint="Correct the inputs of the component.")
    limits = Limits(int(numbers["minimum_rows"]), numbers["confidence"], numbers["psi_threshold"])
    retrain = None
    if arguments.retrain_project:
        retrain = retraining.Wish(arguments.retrain_project, arguments.retrain_ref, token, spans["retrain_quiet"])
    return spans["window"], limits, retrain


def _span(option: str) -> timedelta:
    """`36h` or `7d`; nothing for what is neither."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([hd])", option)
    return int(match[1]) * _UNITS[match[2]] if match else timedelta(0)


def _quality(path: str) -> Quality | None:
    """What says where the held-out data is; None when the default file is not there."""
    from ci_scripts import quality

    if path == _QUALITY and not os.path.lexists(path):
        return None
    return quality.load(Path(path), Path.cwd())


def _require_nothing(aws: Aws, project: Project, stage: str) -> None:
    """Say that nothing is deployed. Raises StageUnrecorded when something is."""
    from ci_scripts import errors, job, stack

    name = project.stack(stage)
    if stack.describe(aws.cloudformation, name) is not None:
        raise errors.StageUnrecorded(f"there is the stack {name}, and no record of what was deployed to {stage}")
    job.say(f"nothing is deployed to {stage}: there is nothing to look at")


def _look(
    aws: Aws,
    project: Project,
    record: Record,
    quality: Quality | None,
    span: timedelta,
    limits: Limits,
    poll_seconds: float,
) -> Report:
    from ci_scripts import hosting, job
    from ci_scripts.drift import configuration, data
    from ci_scripts.drift.capture import Window
    from ci_scripts.drift.report import Report

    with job.section("Configuration"):
        changed = configuration.look(aws, record, poll_seconds)
        for difference in changed.differences:
            job.say(str(difference))
        for each in changed.unchecked:
            job.say(f"CloudFormation did not look at {each}")
        if not changed.differences:
            job.say(f"as it was deployed; CloudFormation looked at {changed.checked} resources")
    with job.section("Data"):
        now = datetime.now(UTC)
        host = hosting.of(record.deployed.hosting)
        looked = data.look(aws, record, host, quality, Window(now - span, now), limits)
        for line in [*map(str, looked.findings), *looked.remarks, looked.note]:
            if line:
                job.say(line)
        if looked.judged and not looked.findings:
            job.say(f"no drift in {len(looked.features)} columns")
    return Report(project, record, limits, changed, looked, job.current(), now)
