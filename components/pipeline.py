"""A component that is a whole pipeline: what its inputs are, and what each of its jobs receives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from components import table
from components.table import ComponentError

Sections = dict[str, dict[str, str]]
"""Heading → input → its lines in the template's header."""

_OF_EACH_JOB = ("stage", "rules", "timeout")
_NAMES_OF_JOBS = ("job_name", "build_job_name", "deploy_job_name")
NAMES_BESIDE = {
    "merge-request-training": {
        "stage": "$[[ inputs.stage ]]",
        "job_name": "$[[ inputs.job_name ]]-in-merge-request",
        "environment": "$[[ inputs.job_name ]]/merge-request-$CI_MERGE_REQUEST_IID",
        "training_job_name": "$[[ inputs.job_name ]]",
    },
    # GitLab has the stage in every pipeline, before all others.
    "image-build": {"stage": ".pre", "job_name": "$[[ inputs.job_name ]]-image"},
}
"""Of a job beside a single one, which may be there once for each model of a repository."""
LEFT_OUT_BESIDE = {"merge-request-training": ("rules", "timeout"), "image-build": ("timeout", "image")}
"""What such a job does not share: an image that it brings along holds what the others do not."""


class Part(NamedTuple):
    """A job of a pipeline, as its own template declares it."""

    name: str
    sections: Sections
    inputs: dict[str, dict[str, Any]]

    @property
    def completes(self) -> str | None:
        """The component whose job it adds something to, and without which it is no pipeline."""
        return str(self.inputs["deploy_job_name"]["default"]) if "deploy_job_name" in self.inputs else None


class Pipeline:
    """A component of several jobs: their inputs as its own, and how each job receives them.

    What is the same for all jobs is one input. Names begin with `prefix`. Stage, rules and time limit are a job's own:
    `build_stage`. Jobs of the same environment share its input: `staging_environment`.
    """

    def __init__(self, parts: Iterable[Part], optional: Iterable[Part] = ()) -> None:
        """`optional` are the jobs that it has when an input has a value. Beside a single job they share its inputs."""
        self.optional = list(optional)
        self.parts = [*parts, *self.optional]
        self._single = len(self.parts) - len(self.optional) == 1

    def sections(self, heading: str = "") -> Sections:
        """The header; `heading` is what stands above the inputs that only some jobs have."""
        switches = [name for part in self.optional for name in table.SWITCHES[part.name]]
        if self._single:
            of_the_first = _flat(self.parts[0])
            more = {name: table.lines(name, table.INPUTS[name]) for name in switches}
            for part in self.optional:
                standard = (*of_the_first, *NAMES_BESIDE[part.name])
                more |= {name: lines for name, lines in _flat(part).items() if name not in standard}
            return self.parts[0].sections | ({heading: more} if more else {})
        absent = {name for names in table.SWITCHES.values() for name in names} - set(switches)
        own = {name: table.lines(name, table.INPUTS[name]) for name in table.OF_A_PIPELINE if name not in absent}
        shared = own | self._shared()
        (_, of_the_job), *others = table.HEADINGS.items()
        headings = {"all jobs": table.OF_A_PIPELINE + of_the_job, **dict(others), heading: table.OWN}
        sections = {
            title: {name: shared[name] for name in names if name in shared}
            for title, names in headings.items()
            if not shared.keys().isdisjoint(names)
        }
        declared: set[str] = set()
        for part in self.parts:
            of_part = {_name(part, name): (name, lines) for name, lines in _flat(part).items() if _is_own(name)}
            sections[part.name] = {
                new: lines.replace(f"    {old}:", f"    {new}:", 1)
                for new, (old, lines) in of_part.items()
                if new not in declared
            }
            declared |= of_part.keys()
        return sections

    def passed_on(self, part: Part) -> dict[str, str]:
        """The inputs of a job, each with the value that the pipeline gives it."""
        if self._single:
            inputs = {name: f"$[[ inputs.{name} ]]" for name in part.inputs}
            return _beside(part.name, inputs) if part in self.optional else inputs
        return {name: _value(part, name) for name in part.inputs}

    def _shared(self) -> dict[str, str]:
        """Raises ComponentError when an input of all jobs is not the same in two of them."""
        shared: dict[str, str] = {}
        specs: dict[str, tuple[str, dict[str, Any]]] = {}
        for part in self.parts:
            for name, lines in _flat(part).items():
                if _is_own(name) or name in _NAMES_OF_JOBS:
                    continue
                spec = {key: value for key, value in part.inputs[name].items() if key != "description"}
                first, first_spec = specs.setdefault(name, (part.name, spec))
                if spec != first_spec:
                    raise ComponentError(f"{first} and {part.name} differ in the input {name}: {first_spec} and {spec}")
                shared.setdefault(name, lines)
        return shared


def _beside(name: str, inputs: dict[str, str]) -> dict[str, str]:
    """What a job beside a single one receives: the same but for what is its own, and names made of that one's."""
    remaining = {each: value for each, value in inputs.items() if each not in LEFT_OUT_BESIDE[name]}
    return remaining | {each: value for each, value in NAMES_BESIDE[name].items() if each in remaining}


def _is_own(name: str) -> bool:
    return name in _OF_EACH_JOB or name == "environment"


def _name(part: Part, name: str) -> str:
    owner = part.inputs[name]["default"] if name == "environment" else part.name
    return f"{owner.replace('-', '_')}_{name}"


def _value(part: Part, name: str) -> str:
    if name in _NAMES_OF_JOBS:
        return f"$[[ inputs.prefix ]]{part.inputs[name]['default']}"
    if name == "environment":
        return f"$[[ inputs.prefix ]]$[[ inputs.{_name(part, name)} ]]"
    return f"$[[ inputs.{_name(part, name) if _is_own(name) else name} ]]"


def _flat(part: Part) -> dict[str, str]:
    return {name: lines for inputs in part.sections.values() for name, lines in inputs.items()}
