"""The GitLab job we are in: its predefined variables, log sections, reports and cancellation.

Outside GitLab everything still works: sections become plain headings and links stay empty.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from ci_scripts.errors import InvalidReport, JobCancelled

if TYPE_CHECKING:
    from pathlib import Path  # loads urllib, which no quick answer should wait for; imported again where it is used

REPORTS = "sagemaker-ci-reports"
"""Folder for everything a job leaves behind; the components publish it as artifacts."""

_DOTENV_BYTES, _DOTENV_VARIABLES = 5 * 1024, 20  # GitLab's limits for a dotenv report


class Job(NamedTuple):
    """Where this command runs, from GitLab's predefined variables; empty strings outside GitLab."""

    id: str
    name: str
    url: str
    pipeline_id: str
    pipeline_source: str
    project_id: str
    project_path: str
    project_url: str
    ref: str
    commit: str

    @property
    def in_gitlab(self) -> bool:
        return bool(self.id)


def current(environ: Mapping[str, str] = os.environ) -> Job:
    """The job described by GitLab's predefined variables: https://docs.gitlab.com/ci/variables/predefined_variables/."""
    names = (
        "CI_JOB_ID CI_JOB_NAME CI_JOB_URL CI_PIPELINE_ID CI_PIPELINE_SOURCE CI_PROJECT_ID CI_PROJECT_PATH "
        "CI_PROJECT_URL CI_COMMIT_REF_NAME CI_COMMIT_SHA"
    ).split()
    return Job(*(environ.get(name, "") for name in names))


def say(text: str = "") -> None:
    """Print a line at once: a job log is read while it grows."""
    print(text, flush=True)


@contextmanager
def section(title: str, *, collapsed: bool = False) -> Iterator[None]:
    """A section of the job log, collapsible in GitLab: https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections.

    GitLab shows the section's duration. A section that ends with an error stays open.
    """
    if not current().in_gitlab:
        say(f"\n== {title}")
        yield
        return
    name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") or "section"
    option = "[collapsed=true]" if collapsed else ""
    say(f"\x1b[0Ksection_start:{int(time.time())}:{name}{option}\r\x1b[0K\x1b[1m{title}\x1b[0m")
    yield
    say(f"\x1b[0Ksection_end:{int(time.time())}:{name}\r\x1b[0K")


_cancelled_by: str | None = None  # the signal's name, once one has come


def pause(seconds: float) -> None:
    """Wait between two looks at AWS; the jitter keeps parallel jobs from asking in step."""
    raise_if_cancelled()
    import random  # loads hashlib, which no quick answer should wait for

    time.sleep(seconds * random.uniform(0.85, 1.15))  # noqa: S311 - spreads load, guards nothing


def raise_if_cancelled() -> None:
    """Raise JobCancelled if a signal has come whose exception somebody else swallowed.

    botocore does: an exception raised inside an HTTP request counts as a transient fault there, and is retried.
    """
    if _cancelled_by:
        raise JobCancelled(f"cancelled by {_cancelled_by}")


@contextmanager
def cancellation() -> Iterator[None]:
    """Turn SIGTERM (GitLab's "cancel job") and SIGINT into JobCancelled, raised at once or at the next pause."""

    global _cancelled_by

    def cancel(number: int, frame: FrameType | None) -> None:
        global _cancelled_by
        # One signal is enough: whoever cleans up after it must not be interrupted by the next.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        _cancelled_by = signal.Signals(number).name
        raise_if_cancelled()

    previous = {each: signal.signal(each, cancel) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        _cancelled_by = None
        for each, handler in previous.items():
            signal.signal(each, handler)


# --- reports -------------------------------------------------------------------------------------------------------


def reports_folder() -> Path:
    """The folder for reports, created when needed."""
    from pathlib import Path

    folder = Path(REPORTS)
    folder.mkdir(exist_ok=True)
    return folder


def clear_reports() -> None:
    """Remove the reports of an earlier command: a job that fails early must not publish another job's results."""
    if not os.path.isdir(REPORTS):  # noqa: PTH112 - answered without pathlib
        return
    for path in reports_folder().iterdir():
        if path.is_file():
            path.unlink()


def write_dotenv(variables: Mapping[str, str]) -> Path:
    """Write `job.env`, whose variables later jobs of the pipeline receive.

    Raises InvalidReport when GitLab would refuse it. Never pass a secret: dotenv reports are readable by developers.
    """
    text = "".join(f"{name}={content}\n" for name, content in variables.items())
    if any("\n" in content for content in variables.values()):
        raise InvalidReport("a dotenv variable holds more than one line")
    if len(text.encode()) > _DOTENV_BYTES or len(variables) > _DOTENV_VARIABLES:
        raise InvalidReport(f"{len(variables)} dotenv variables in {len(text.encode())} bytes exceed GitLab's limits")
    return _write("job.env", text)


def write_annotations(links: Mapping[str, str]) -> Path:
    """Write `annotations.json`: links that GitLab shows on the job's page, as label → URL."""
    import json

    rows = [{"external_link": {"label": label, "url": url}} for label, url in links.items()]
    return _write("annotations.json", json.dumps({"sagemaker-ci": rows}, indent=2) + "\n")


def write_metrics(metrics: Mapping[str, float]) -> Path:
    """Write `metrics.txt` in the OpenMetrics text format, which GitLab compares in merge requests."""
    return _write("metrics.txt", "".join(f"{name} {number:.6g}\n" for name, number in metrics.items()))


def write_summary(lines: Sequence[str]) -> Path:
    """Write `summary.md`, the job's result for people."""
    return _write("summary.md", "\n".join(lines) + "\n")


def _write(name: str, text: str) -> Path:
    path = reports_folder() / name
    path.write_text(text, encoding="utf-8")
    return path
