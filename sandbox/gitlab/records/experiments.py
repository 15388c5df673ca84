"""Model experiments and their candidates, which MLflow calls runs.

https://docs.gitlab.com/user/project/ml/experiment_tracking/; the columns are those of GitLab's `app/models/ml`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Candidate:
    """One run; `metrics` keep every value in the order it came."""

    iid: int
    user_id: int
    name: str | None
    start_time: int
    eid: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "running"
    end_time: int | None = None
    job_id: int | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Experiment:
    iid: int
    name: str
    metadata: dict[str, str] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
