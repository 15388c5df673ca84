"""Renders release/self-test.yml: every component in this project's own pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from components import table
from components.templates import ENVIRONMENT, Part, parsed, rendered

FILE = Path("release/self-test.yml")
_MANUAL = {"first_manual": True}


class Include(NamedTuple):
    """A component in the pipeline, with its inputs as they are written; `jobs` are the components of its jobs."""

    component: str
    inputs: dict[str, str]
    jobs: dict[str, str]
    runs: bool


def includes() -> list[Include]:
    """Every component; one whose job waits for a person a first time with a rule by which it runs."""
    found: list[Include] = []
    for name in table.JOBS:
        if is_manual(name):
            found.append(_of_one_job(name, name, {"rules": "[{when: on_success}]"}))
        found.append(_of_one_job(name, f"manual-{name}" if is_manual(name) else name, {}))
    return found + [_of_pipeline(name) for name in table.PIPELINES]
