"""Renders release/self-test.yml: every component in this project's own pipeline, as a consumer includes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from components import table
from components.pipeline import Part
from components.templates import ENVIRONMENT, job, parsed

FILE = Path("release/self-test.yml")
PREFIX = "self-test-"
_ONE_KIND = re.compile(r'\$CI_PIPELINE_SOURCE == "(schedule|merge_request_event)"')
_WAITS = "*production"


class Include(NamedTuple):
    """A component with its inputs as they are written. `jobs` are the names of its jobs and what each extends."""

    component: str
    inputs: dict[str, str]
    jobs: dict[str, str]

    @property
    def replaces_rules(self) -> bool:
        return "rules" in self.inputs


def includes() -> list[Include]:
    """Every component once, and one whose job waits for a person a second time, with a rule by which it runs.

    One for schedules has such a rule, too.
    """
    jobs = [include for name in table.JOBS for include in _of_one_job(name)]
    return jobs + [_of_pipeline(name, parts) for name, parts in table.PIPELINES.items()]


def jobs() -> dict[str, str]:
    """The names of all jobs in the pipeline and what each extends."""
    return {name: extends for include in includes() for name, extends in include.jobs.items()}


def waiting() -> set[str]:
    """The names of the jobs that wait for a person: the release does not wait for them."""
    return {name for name, extends in jobs().items() if extends == _WAITS}


def is_manual(name: str) -> bool:
    """Whether the job of this component waits for a person."""
    return any(rule.get("when") == "manual" for rule in parsed(name).inputs["rules"]["default"])


def is_of_one_kind(name: str) -> bool:
    """Whether the job of this component is one of scheduled pipelines, or of merge requests, alone."""
    rules = [rule for rule in parsed(name).inputs["rules"]["default"] if rule.get("when") != "never"]
    return all(_ONE_KIND.search(rule.get("if", "")) for rule in rules)


def text() -> str:
    """`release/self-test.yml`."""
    return ENVIRONMENT.get_template("shared/self-test.yml.j2").render(includes=includes(), jobs=jobs())


def _of_one_job(name: str) -> Iterator[Include]:
    if is_manual(name) or is_of_one_kind(name):
        yield _include(name, PREFIX + name, parsed(name), rules="[{when: on_success}]")
    if is_manual(name):
        yield _include(name, f"{PREFIX}manual-{name}", parsed(name))
    elif not is_of_one_kind(name):
        yield _include(name, PREFIX + name, parsed(name))


def _include(name: str, job_name: str, part: Part, rules: str = "") -> Include:
    follows: dict[str, str] = {
        other: PREFIX + part.inputs[other]["default"]
        for other in ("build_job_name", "deploy_job_name")
        if other in part.inputs
    }
    environment = name if name in table.PIPELINES else part.inputs["environment"]["default"].partition("/$")[0]
    inputs = {
        "job_name": job_name,
        "stage": _stage(part),
        "image": _image(part),
        **({"rules": rules} if rules else {}),
        "aws_region": "eu-west-1",
        "environment": f"self-test/{environment}",
        **follows,
    }
    return Include(name, inputs, {job_name: _extends(part.name, runs=bool(rules) or not is_manual(part.name))})


def _of_pipeline(name: str, parts: list[str]) -> Include:
    if len(parts) == 1:
        return _include(name, PREFIX + name, parsed(parts[0]))
    prefix = f"{PREFIX}{name}-"
    stages = {f"{part.replace('-', '_')}_stage": _stage(parsed(part)) for part in parts}
    inputs = {"prefix": prefix, "image": _image(parsed(parts[0])), "aws_region": "eu-west-1", **stages}
    return Include(name, inputs, {prefix + part: _extends(part, runs=not is_manual(part)) for part in parts})


def _stage(part: Part) -> str:
    return "deploy-components" if "build_job_name" in part.inputs else "components"


def _image(part: Part) -> str:
    """The image that the component takes by itself, but that of this pipeline."""
    name = str(part.inputs["image"]["default"]).removeprefix("$SMCI_IMAGE_REGISTRY/").partition(":")[0]
    for key, spec in part.inputs.items():
        name = name.replace(f"$SMCI_{key.upper()}", str(spec["default"]))
    return f"$CI_REGISTRY_IMAGE/{name}:$CI_PIPELINE_ID"


def _extends(name: str, *, runs: bool) -> str:
    if not runs:
        return _WAITS
    return "*deployment" if job(name)["variables"]["GIT_STRATEGY"] == "empty" else "{extends: .self-test}"
