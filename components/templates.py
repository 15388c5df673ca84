"""Renders the templates: a job from its body and the table, a pipeline from its rendered jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import jinja2
import yaml

from ci_scripts import __version__
from components import table

Sections = dict[str, dict[str, str]]
"""Heading → input → its lines in the template's header."""

_SECTION = re.compile(r"^    # --- (.+)\n((?:(?!    # ---).*\n)+)", re.MULTILINE)
_INPUT = re.compile(r"^    (\w+):\n(?:      .*\n)+", re.MULTILINE)
_OF_EACH_JOB = ("stage", "rules", "timeout")
_NAMES_OF_JOBS = ("job_name", "build_job_name")


class ComponentError(Exception):
    """A body that cannot become a component; the message says why."""


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

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = list(parts)

    def sections(self, heading: str = "") -> Sections:
        """The header; `heading` is what stands above the inputs that only some jobs have."""
        if len(self.parts) == 1:
            return self.parts[0].sections
        shared = {name: _lines(name, table.INPUTS[name]) for name in table.OF_A_PIPELINE} | self._shared()
        (_, of_the_job), *others = table.HEADINGS.items()
        headings = {"all jobs": table.OF_A_PIPELINE + of_the_job, **dict(others), heading: table.OWN}
        sections = {
            title: {name: shared[name] for name in names if name in shared} for title, names in headings.items()
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


def parsed(name: str) -> Part:
    """A component as its template declares it: the text of every input, comments included, and what it says."""
    text = rendered(name).partition("\n---\n")[0] + "\n"
    sections = {
        heading: {match[1]: match[0] for match in _INPUT.finditer(lines)} for heading, lines in _SECTION.findall(text)
    }
    return Part(name, sections, yaml.safe_load(text)["spec"]["inputs"])


def job(name: str) -> dict[str, Any]:
    """The job of a component of one."""
    (keywords,) = list(yaml.safe_load_all(rendered(name)))[1].values()
    return keywords  # type: ignore[no-any-return]


def command(name: str) -> str:
    """What the component calls `sagemaker-ci` with, such as `deploy --stage prod`."""
    return str(job(name)["script"][-1]).removeprefix("sagemaker-ci ")


# --- what the bodies call ------------------------------------------------------------------------------------------


def _sections(heading: str, inputs: Iterable[str]) -> dict[str, list[str]]:
    """The headings of a job's inputs and what stands under them; `inputs` are its own."""
    return table.HEADINGS | {heading: [name for name in table.OWN if name in inputs]}


def _declared(name: str, inputs: Iterable[str], defaults: Mapping[str, str]) -> str:
    """The lines of an input of a job with these own inputs; those of `rules` end before its default."""
    spec = dict(table.INPUTS[name])
    if "build_job_name" in inputs:
        spec["description"] = spec.get("later", spec["description"])
    return _lines(name, spec | ({"default": defaults[name]} if name in defaults else {}))


def _lines(name: str, spec: Mapping[str, Any]) -> str:
    keys = [key for key in spec if key not in ("becomes", "later")]
    return f"    {name}:\n" + "".join(f"      {key}: {_written(spec[key])}\n" for key in keys)


def _written(value: Any) -> str:
    if value == "":
        return '""'
    return yaml.dump(value, default_flow_style=True, width=float("inf")).removesuffix("\n").removesuffix("\n...")


def _variables(inputs: Iterable[str]) -> list[tuple[str, str]]:
    """The inputs that become variables, and how."""
    names = table.COMMON + [name for name in table.OWN if name in inputs]
    return [(name, table.INPUTS[name].get("becomes", "")) for name in names if name not in table.KEYWORDS]


ENVIRONMENT = jinja2.Environment(  # noqa: S701 - YAML and Markdown, no HTML
    loader=jinja2.FileSystemLoader(table.FOLDER),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
)
ENVIRONMENT.globals |= {
    "version": __version__,
    "pipelines": table.PIPELINES,
    "sections": _sections,
    "declared": _declared,
    "variables": _variables,
}


@cache
def rendered(name: str) -> str:
    """The text of `templates/<name>/template.yml`."""
    pipeline = Pipeline(parsed(part) for part in table.PIPELINES.get(name, []))
    return ENVIRONMENT.get_template(f"{name}/template.yml.j2").render(name=name, pipeline=pipeline)
