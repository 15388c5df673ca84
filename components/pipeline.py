"""A component that is a whole pipeline: what its inputs are, and what each of its jobs receives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from components import table
from components.table import ComponentError

Sections = dict[str, dict[str, str]]
"""Heading → input → its lines in the template's header."""

_OF_EACH_JOB = ("stage", "rules", "timeout")
_NAMES_OF_JOBS = ("job_name", "build_job_name")


class Part(NamedTuple):
    """A job of a pipeline, as its own template declares it."""

    name: str
    sections: Sections
    inputs: dict[str, dict[str, Any]]


class Pipeline:
    """A component of several jobs: their inputs as its own, and how each job receives them.

    What is the same for all jobs is one input. Names begin with `prefix`. Stage, rules and time limit are a job's own:
    `build_stage`. Jobs of the same environment share its input: `staging_environment`.
    """

    def __init__(self, parts: Iterable[Part], optional: Iterable[Part] = ()) -> None:
        """`optional` are the jobs that it has when an input has a value."""
        self.optional = list(optional)
        self.parts = [*parts, *self.optional]

    def sections(self, heading: str = "") -> Sections:
        """The header; `heading` is what stands above the inputs that only some jobs have."""
        if len(self.parts) == 1:
            return self.parts[0].sections
        absent = {name for names in table.OPTIONAL.values() for name in names} - {part.name for part in self.optional}
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
        if len(self.parts) == 1:
            return {name: f"$[[ inputs.{name} ]]" for name in part.inputs}
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
                first, known = specs.setdefault(name, (part.name, spec))
                if spec != known:
                    raise ComponentError(f"{first} and {part.name} differ in the input {name}: {known} and {spec}")
                shared.setdefault(name, lines)
        return shared


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
