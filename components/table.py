"""The table: which components there are, and which inputs. Everything that lists them reads it here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent

_TABLE: dict[str, Any] = yaml.safe_load((FOLDER / "inputs.yml").read_text(encoding="utf-8"))

JOBS: dict[str, str] = _TABLE["jobs"]
"""The components of one job, and what it does."""

PIPELINES: dict[str, list[str]] = _TABLE["pipelines"]
"""The components that are a whole pipeline, and their jobs."""

NAMES = [*PIPELINES, *JOBS]

_HEADINGS: dict[str, dict[str, dict[str, Any]]] = _TABLE["common"]
INPUTS: dict[str, dict[str, Any]] = {
    name: spec for inputs in (*_HEADINGS.values(), _TABLE["own"], _TABLE["pipeline"]) for name, spec in inputs.items()
}
"""Every input, as the table describes it."""

HEADINGS = {heading: list(inputs) for heading, inputs in _HEADINGS.items()}
"""The inputs that every job has, under their headings and in their order."""

COMMON = [name for names in HEADINGS.values() for name in names]
OWN = list(_TABLE["own"])
OF_A_PIPELINE = list(_TABLE["pipeline"])
KEYWORDS = [name for name, spec in INPUTS.items() if spec.get("becomes") == "keyword"]
"""The inputs that stand in the job itself; the others are variables of it."""


def template(name: str) -> Path:
    """The generated template of a component, relative to the project's root."""
    return Path("templates", name, "template.yml")
