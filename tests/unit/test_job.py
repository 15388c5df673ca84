"""What a job leaves behind for GitLab keeps to GitLab's rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci_scripts import errors, job


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
