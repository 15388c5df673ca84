"""A model-deploy repository that the job `build` works in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.servers import ROOT

EXPORTS = ("staging-config-export.json", "prod-config-export.json")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model-deploy repository as it is seeded."""
    return Path(shutil.copytree(ROOT / "seed-deploy", tmp_path / "model-deploy"))
