"""The table: which components there are, and which inputs. Everything that lists them reads it here."""

from __future__ import annotations

from collections.abc import Mapping
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

OPTIONAL: dict[str, dict[str, dict[str, str | bool]]] = _TABLE["optional"]
"""By pipeline: the jobs that it has when an input has a value, as input → value."""

SWITCHES = {job: list(needed) for jobs in OPTIONAL.values() for job, needed in jobs.items()}
"""By such a job: the inputs."""

NAMES = [*PIPELINES, *JOBS]

_HEADINGS: dict[str, dict[str, dict[str, Any]]] = _TABLE["common"]
INPUTS: dict[str, dict[str, Any]] = {
    name: spec for inputs in (*_HEADINGS.values(), _TABLE["own"], _TABLE["pipeline"]) for name, spec in inputs.items()
}
"""Every input, as the table describes it."""

HEADINGS = {heading: list(inputs) for heading, inputs in _HEADINGS.items()}
"""The inputs that every job has, under their headings and in their order."""

_FOR_THE_GENERATOR = ("becomes", "later")

COMMON = [name for names in HEADINGS.values() for name in names]
OWN = list(_TABLE["own"])
OF_A_PIPELINE = list(_TABLE["pipeline"])
KEYWORDS = [name for name, spec in INPUTS.items() if spec.get("becomes") == "keyword"]
"""The inputs that stand in the job itself; the others are variables of it."""


class ComponentError(Exception):
    """A source that cannot become a component; the message says why."""


def lines(name: str, spec: Mapping[str, Any]) -> str:
    """An input as the header of a template declares it."""
    keys = [key for key in spec if key not in _FOR_THE_GENERATOR]
    return f"    {name}:\n" + "".join(f"      {key}: {_written(spec[key])}\n" for key in keys)


def _written(value: Any) -> str:
    if value == "":
        return '""'
    return yaml.dump(value, default_flow_style=True, width=float("inf")).removesuffix("\n").removesuffix("\n...")


def template(name: str) -> Path:
    """The generated template of a component, relative to the project's root."""
    return Path("templates", name, "template.yml")
