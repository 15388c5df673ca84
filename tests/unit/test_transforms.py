"""Functions of the repository that turn rows into requests and answers into predictions."""

import os
import sys
from pathlib import Path

import pytest

from ci_scripts import transforms


def test_a_change_within_a_second_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "shape.py"
    for answer in (1, 2):
        path.write_text(f"def to_body(rows):\n    return {answer}\n")
        os.utime(path, (1_800_000_000, 1_800_000_000))
        assert transforms.load("shape:to_body", tmp_path)([]) == answer
    assert [each.name for each in tmp_path.iterdir()] == ["shape.py"]
