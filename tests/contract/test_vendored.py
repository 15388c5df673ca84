"""The scripts of the page are the packages' own, and the page stays small beside what it shows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from release import vendored
from tests.support.checkout import ROOT


@pytest.mark.parametrize("row", vendored.rows(), ids=lambda row: row["file"])
def test_a_vendored_script_is_the_one_of_its_package(row: dict[str, str]) -> None:
    assert vendored.sha256(vendored.FOLDER / row["file"]) == row["sha256"]
    assert row["integrity"].startswith("sha512-")


def test_every_vendored_script_is_listed() -> None:
    assert {path.name for path in vendored.FOLDER.iterdir()} == {row["file"] for row in vendored.rows()}


def test_the_page_is_smaller_than_a_tenth_of_the_sandbox() -> None:
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "sandbox"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    own = [ROOT / name for name in names if name.startswith("sandbox/console/") and "/vendor/" not in name]
    rest = [ROOT / name for name in names if name.endswith(".py") and not name.startswith("sandbox/console/")]
    assert _lines(own) * 10 < _lines(rest)


def _lines(paths: list[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
