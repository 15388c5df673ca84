"""The GitLab job we are in: its predefined variables, log sections, reports and cancellation.

Outside GitLab everything still works: sections become plain headings and links stay empty.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple, TextIO

from ci_scripts import errors, repository, text
from ci_scripts.errors import InvalidReport, JobCancelled, OutsideRepository

if TYPE_CHECKING:
    from pathlib import Path  # loads urllib, which no quick answer should wait for; imported again where it is used

REPORTS = "sagemaker-ci-reports"
"""Folder for everything a job leaves behind; the components publish it as artifacts."""

_DOTENV_BYTES, _DOTENV_VARIABLES = 5 * 1024, 20  # of GitLab: a dotenv report is smaller, and holds no more


RED, GREEN, YELLOW = "\x1b[31;1m", "\x1b[32m", "\x1b[33m"
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


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
    person: str = ""
    """Who started the job, by login name."""
    pipeline_created_at: str = ""
    """ISO 8601."""

    @property
    def in_gitlab(self) -> bool:
        return bool(self.id)


def current(environ: Mapping[str, str] = os.environ) -> Job:
    """The job described by GitLab's predefined variables: https://docs.gitlab.com/ci/variables/predefined_variables/."""
    names = (
        "CI_JOB_ID CI_JOB_NAME CI_JOB_URL CI_PIPELINE_ID CI_PIPELINE_SOURCE CI_PROJECT_ID CI_PROJECT_PATH "
        "CI_PROJECT_URL CI_COMMIT_REF_NAME CI_COMMIT_SHA GITLAB_USER_LOGIN CI_PIPELINE_CREATED_AT"
    ).split()
    return Job(*(environ.get(name, "") for name in names))


def say(content: str = "", colour: str = "") -> None:
    """Print a line, or several, at once: a job log is read while it grows.

    Everything that a command tells goes through here, so that no name, reason or log line of others acts on the log.
    `colour`, GREEN and so on, is that of the first word, where colours show.
    """
    line = text.lines(content)
    if colour and shows_colours(sys.stdout):
        word, space, rest = line.partition(" ")
        line = f"{colour}{word}{_PLAIN}{space}{rest}"
    _print(line)


def say_error(code: str, message: str, hint: str) -> None:
    """Print what a failed command ends with, one line each: what happened, what to do, where more is written."""
    line = f"error {code}: {text.line(message)}"
    print(f"{RED}{line}{_PLAIN}" if shows_colours(sys.stderr) else line, file=sys.stderr)
    print(f"hint: {text.line(hint)}", file=sys.stderr)
    print(f"docs: {errors.address(code)}", file=sys.stderr)


def shows_colours(stream: TextIO) -> bool:
    """Whether who reads this sees colours: GitLab shows them, a terminal does, and NO_COLOR forbids them.

    https://no-color.org
    """
    return not os.environ.get("NO_COLOR") and (current().in_gitlab or stream.isatty())


def say_debug(content: str) -> None:
    """Print what only who asks for it wants to see, such as a traceback, before the error."""
    print(text.lines(content.rstrip()), file=sys.stderr)


def _print(line: str) -> None:
    print(line, flush=True)


@contextmanager
def section(title: str, *, collapsed: bool = False) -> Iterator[None]:
    """A section of the job log, collapsible in GitLab: https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections.

    GitLab shows the section's duration. A section that ends with an error stays open.
    """
    title = text.line(title, 200)
    if not current().in_gitlab:
        say(f"\n== {title}")
        yield
        return
    name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") or "section"
    option = "[collapsed=true]" if collapsed else ""
    heading = f"{_BOLD}{title}{_PLAIN}" if shows_colours(sys.stdout) else title
    _print(f"\x1b[0Ksection_start:{int(time.time())}:{name}{option}\r\x1b[0K{heading}")
    yield
    _print(f"\x1b[0Ksection_end:{int(time.time())}:{name}\r\x1b[0K")


# --- cancellation --------------------------------------------------------------------------------------------------

_cancelled_by: str | None = None  # the signal's name, once one has come


class Cancelled(KeyboardInterrupt):
    """A signal has come. No `except Exception` swallows it: neither botocore's, which would repeat the request, nor
    that of a consumer's code.
    """


def pause(seconds: float) -> None:
    """Wait between two looks at AWS; the jitter keeps parallel jobs from asking in step."""
    raise_if_cancelled()
    import random  # loads hashlib, which no quick answer should wait for

    time.sleep(seconds * random.uniform(0.85, 1.15))  # noqa: S311 - spreads load, guards nothing


def raise_if_cancelled(**_: object) -> None:
    """Raise Cancelled if a signal has come. Every request to AWS asks here before it is sent: see Aws.session."""
    if _cancelled_by:
        raise Cancelled(f"cancelled by {_cancelled_by}")


@contextmanager
def after_cancellation() -> Iterator[None]:
    """For what is still to be asked of AWS after Cancelled was raised: to stop what was begun, to see what is left."""
    global _cancelled_by

    by, _cancelled_by = _cancelled_by, None
    try:
        yield
    finally:
        _cancelled_by = by


@contextmanager
def cancellation() -> Iterator[None]:
    """SIGTERM (GitLab's "cancel job") and SIGINT end what runs in here: at once, and never as a success.

    Raises JobCancelled, whatever the signal has come to in between.
    """
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
        raise_if_cancelled()
    except JobCancelled:
        raise
    except (Exception, KeyboardInterrupt) as error:
        if _cancelled_by is None:
            raise
        raise JobCancelled(f"cancelled by {_cancelled_by}") from error
    finally:
        _cancelled_by = None
        for each, handler in previous.items():
            signal.signal(each, handler)


# --- reports -------------------------------------------------------------------------------------------------------


def reports_folder() -> Path:
    """The folder for reports, created when needed. Raises OutsideRepository when something else has its name."""
    from pathlib import Path

    folder = Path(REPORTS)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise OutsideRepository(
            f"{REPORTS} is a link or a file, not a folder of the repository",
            hint="Remove it from the repository: commands empty this folder and write their reports there.",
        )
    folder.mkdir(exist_ok=True)
    return folder


def clear_reports() -> None:
    """Remove the reports of an earlier command: a job that fails early must not publish another job's results."""
    if not os.path.lexists(REPORTS):  # answered without pathlib
        return
    for path in reports_folder().iterdir():
        if path.is_symlink() or not path.is_dir():
            repository.remove(path)


def write_dotenv(variables: Mapping[str, str]) -> Path:
    """Write `job.env`, whose variables later jobs of the pipeline receive.

    Raises InvalidReport when GitLab would refuse it. Never pass a secret: dotenv reports are readable by developers.
    """
    content = "".join(f"{name}={value}\n" for name, value in variables.items())
    if any(len(f"{value}.".splitlines()) > 1 for value in variables.values()):
        raise InvalidReport("a dotenv variable holds more than one line")
    size = len(content.encode(errors="surrogatepass"))
    if size >= _DOTENV_BYTES or len(variables) > _DOTENV_VARIABLES:
        raise InvalidReport(f"{len(variables)} dotenv variables in {size} bytes exceed GitLab's limits")
    return _write("job.env", content)


def write_annotations(links: Mapping[str, str]) -> Path:
    """Write `annotations.json`: links that GitLab shows on the job's page, as label → URL."""
    import json

    rows = [{"external_link": {"label": text.line(label, 200), "url": url}} for label, url in links.items()]
    return _write("annotations.json", json.dumps({"sagemaker-ci": rows}, indent=2) + "\n")


def write_metrics(metrics: Mapping[str, float]) -> Path:
    """Write `metrics.txt` in the OpenMetrics text format, which GitLab compares in merge requests."""
    return _write("metrics.txt", "".join(f"{name} {number:.6g}\n" for name, number in metrics.items()))


def write_summary(lines: Sequence[str]) -> Path:
    """Write `summary.md`, the job's result for people; others' words in it went through text.cell or text.code."""
    return _write("summary.md", text.lines("\n".join(lines)) + "\n")


def write_page(name: str, content: str) -> Path:
    """Write a report of another kind, such as `report.html`."""
    return _write(name, content)


def pages() -> list[str]:
    """The names of the pages that were written."""
    from pathlib import Path

    return sorted(path.name for path in Path(REPORTS).glob("*.html"))


def _write(name: str, content: str) -> Path:
    path = reports_folder() / name
    repository.write(path, content.encode(errors="backslashreplace"))
    return path
