"""What a job leaves behind for GitLab keeps to GitLab's rules."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from ci_scripts import errors, job
from ci_scripts.aws import Aws


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "variables",
    [
        {"A": "x" * (5 * 1024 - len("A=\n") - 1)},
        {f"V{number}": "" for number in range(20)},
    ],
)
def test_a_dotenv_report_of_the_size_that_gitlab_takes_is_written(variables: dict[str, str]) -> None:
    text = job.write_dotenv(variables).read_text(encoding="utf-8")
    assert dict(line.split("=", 1) for line in text.splitlines()) == variables


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"A": "x" * (5 * 1024 - len("A=\n"))}, "in 5120 bytes exceed GitLab's limits"),
        ({"A": "ü" * 2559}, "in 5121 bytes exceed GitLab's limits"),
        ({f"V{number}": "" for number in range(21)}, "21 dotenv variables in"),
        ({"A": "1\nPATH=/elsewhere"}, "more than one line"),
    ],
)
def test_a_dotenv_report_that_gitlab_would_refuse_is_not_written(
    folder: Path, variables: dict[str, str], message: str
) -> None:
    with pytest.raises(errors.InvalidReport, match=message):
        job.write_dotenv(variables)
    assert list(folder.iterdir()) == []


# --- cancellation ----------------------------------------------------------------------------------------------------


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def swallowed() -> None:
    with suppress(job.Cancelled):
        terminate()


def swallowed_by_a_library() -> None:
    with suppress(Exception):  # as botocore does
        terminate()


def wrapped() -> None:
    try:
        terminate()
    except job.Cancelled as error:
        raise ValueError("something else") from error


def explained() -> None:
    try:
        terminate()
    except job.Cancelled as cancelled:
        raise errors.JobCancelled(f"{cancelled}; the stack") from None


def waiting() -> None:
    swallowed()
    job.pause(600)


def run(act: Callable[[], None]) -> None:
    with job.cancellation():
        act()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (terminate, "cancelled by SIGTERM"),
        (swallowed, "cancelled by SIGTERM"),
        (swallowed_by_a_library, "cancelled by SIGTERM"),
        (wrapped, "cancelled by SIGTERM"),
        (waiting, "cancelled by SIGTERM"),
        (explained, "cancelled by SIGTERM; the stack"),
    ],
)
def test_what_a_signal_has_come_to_is_never_a_success_and_says_cancelled(act: Callable[[], None], message: str) -> None:
    with pytest.raises(errors.JobCancelled) as raised:
        run(act)
    assert raised.value.message == message


def test_a_second_signal_does_not_interrupt_the_cleaning_up() -> None:
    cleaned = []

    def twice() -> None:
        try:
            terminate()
        finally:
            terminate()
            cleaned.append("up")

    with pytest.raises(errors.JobCancelled):
        run(twice)
    assert cleaned == ["up"]


def test_an_error_without_a_signal_stays_what_it_is() -> None:
    def missing() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(missing)
    run(lambda: None)


def test_a_client_sends_nothing_after_a_signal_but_what_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # nobody answers there
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    runtime, sent = Aws("eu-west-2").runtime, []
    runtime.meta.events.register_last("before-send", lambda request, **_: sent.append(request.url))

    def asks() -> None:
        swallowed()
        with job.after_cancellation(), suppress(EndpointConnectionError):
            runtime.invoke_endpoint(EndpointName="e", Body=b"")
        assert len(sent) == 1
        runtime.invoke_endpoint(EndpointName="e", Body=b"")

    with pytest.raises(errors.JobCancelled):
        run(asks)
    assert len(sent) == 1
