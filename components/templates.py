"""Renders the templates: a job from its body and the table, a pipeline from its rendered jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jinja2
import yaml

from ci_scripts import __version__
from components import table
from components.pipeline import Part, Pipeline
from components.table import ComponentError

_SECTION = re.compile(r"^    # --- (.+)\n((?:(?!    # ---).*\n)+)", re.MULTILINE)
_INPUT = re.compile(r"^    (\w+):\n(?:      .*\n)+", re.MULTILINE)


@cache
def parsed(name: str) -> Part:
    """A component as its template declares it: the text of every input, comments included, and what it says."""
    text = rendered(name).partition("\n---\n")[0] + "\n"
    sections = {
        heading: {match[1]: match[0] for match in _INPUT.finditer(lines)} for heading, lines in _SECTION.findall(text)
    }
    return Part(name, sections, yaml.load(text, yaml.CSafeLoader)["spec"]["inputs"])


def job(name: str) -> dict[str, Any]:
    """The job of a component of one; what it adds, its own or to that of another, comes after it."""
    jobs: dict[str, dict[str, Any]] = list(yaml.load_all(rendered(name), yaml.CSafeLoader))[1]
    return next(iter(jobs.values()))


def command(name: str) -> str:
    """What the component calls `sagemaker-ci` with, such as `deploy --stage prod`."""
    return str(job(name)["script"][-1]).removeprefix("sagemaker-ci ")


# --- what the bodies call ------------------------------------------------------------------------------------------


def _sections(heading: str, inputs: Sequence[str]) -> dict[str, list[str]]:
    """The headings of a job's inputs and what stands under them; `inputs` are its own. Raises ComponentError."""
    if unknown := [name for name in inputs if name not in table.OWN]:
        raise ComponentError(f"the body names inputs that inputs.yml does not have under `own`: {', '.join(unknown)}")
    return table.HEADINGS | ({heading: [name for name in table.OWN if name in inputs]} if inputs else {})


def _declared(name: str, inputs: Sequence[str], defaults: Mapping[str, str]) -> str:
    """The lines of an input of a job with these own inputs, but for the default of `rules`. Raises ComponentError."""
    spec = dict(table.INPUTS[name])
    if "build_job_name" in inputs:
        spec["description"] = spec.get("later", spec["description"])
    if name in defaults:
        spec["default"] = defaults[name]
    if "default" not in spec and name != "rules":
        raise ComponentError(f"the body has no default for {name}")
    return table.lines(name, spec)


def _variables(inputs: Sequence[str]) -> list[tuple[str, str]]:
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
    "conditions": lambda pipeline, job: table.OPTIONAL[pipeline][job].items(),
    "sections": _sections,
    "declared": _declared,
    "variables": _variables,
}


@cache
def rendered(name: str) -> str:
    """The text of `templates/<name>/template.yml`. Raises ComponentError."""
    parts, optional = table.PIPELINES.get(name, []), table.OPTIONAL.get(name, {})
    pipeline = Pipeline(map(parsed, parts), map(parsed, optional))
    try:
        return ENVIRONMENT.get_template(f"{name}/template.yml.j2").render(name=name, pipeline=pipeline)
    except jinja2.TemplateNotFound as error:
        raise ComponentError(f"components/{error.name} does not exist") from error
    except jinja2.TemplateError as error:
        raise ComponentError(f"components/{name}/template.yml.j2: {error.message}") from error
    except ComponentError as error:
        raise ComponentError(f"components/{name}/template.yml.j2: {error}") from error
