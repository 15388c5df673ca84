"""Renders what people read about the components: a README each, the reference page, the table of the front page."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ci_scripts import __version__
from components import table
from components.pipeline import Part
from components.templates import ENVIRONMENT, parsed, rendered

PAGE = Path("docs/reference/components.md")
FRONT_PAGE = Path("README.md")
INDEX = Path("docs/README.md")
_PAGE = """\
# Components

Two components are whole pipelines, the others one job each. Every input is optional.
Each component's own page says what it leaves behind and how to change it.
"""
_COMPONENTS = re.compile(r"(^\| component \|.*\n\|---.*\n)(?:\|.*\n)+", re.MULTILINE)
_LIST = re.compile(r"(^## Components\b.*\n\n)(?:- .*\n)+", re.MULTILINE)
_TABLE = "| input | default | meaning |\n|---|---|---|\n"


def readme(name: str) -> str:
    """`templates/<name>/README.md`: the component's own source, or the page that every component has."""
    part = parsed(name)
    source = f"{name}/README.md.j2"
    if not (table.FOLDER / source).is_file():
        source = "shared/page.md.j2"
    return ENVIRONMENT.get_template(source).render(
        name=name,
        purpose="\n".join(_purpose(name)),
        inputs=_folded(part),
        own=part.inputs.keys() - table.COMMON,
    )


def components_page() -> str:
    """`docs/reference/components.md`."""
    return _PAGE + "".join(f"\n{_section(name)}" for name in table.NAMES)


def front_page() -> str:
    """`README.md` as it is, with the table of the components. Raises ComponentError."""
    page = (table.ROOT / FRONT_PAGE).read_text(encoding="utf-8")
    links = {name: f"[`{name}`]({table.template(name).with_name('README.md')})" for name in table.NAMES}
    rows = {links[name]: does for name, does in table.JOBS.items()}
    rows[", ".join(links[name] for name in table.PIPELINES)] = "the whole pipeline of a repository"
    lines = "".join(f"| {link} | {does} |\n" for link, does in rows.items())
    text, tables = _COMPONENTS.subn(lambda match: match[1] + lines, page)
    if tables != 1:
        raise table.ComponentError(f"{FRONT_PAGE} has {tables} tables with the column `component`, not one")
    return text


def index() -> str:
    """`docs/README.md` as it is, with the list of the components. Raises ComponentError."""
    page = (table.ROOT / INDEX).read_text(encoding="utf-8")
    does = dict.fromkeys(table.PIPELINES, "the whole pipeline of a repository") | table.JOBS
    links = {name: os.path.relpath(table.template(name).with_name("README.md"), INDEX.parent) for name in does}
    lines = "".join(f"- [{name}]({links[name]}): {text}.\n" for name, text in does.items())
    text, lists = _LIST.subn(lambda match: match[1] + lines, page)
    if lists != 1:
        raise table.ComponentError(f"{INDEX} has {lists} lists under a heading `Components`, not one")
    return text


def _purpose(name: str) -> list[str]:
    """What the comment at the top of a template says, line by line."""
    return [line.removeprefix("# ") for line in rendered(name).partition("spec:")[0].splitlines()]


def _section(name: str) -> str:
    part = parsed(name)
    page = os.path.relpath(table.template(name).with_name("README.md"), PAGE.parent)
    included = "".join(
        f"  - component: $CI_SERVER_FQDN/mlops/sagemaker-components/{each}@{__version__}\n"
        "    inputs:\n"
        "      image_registry: $CI_REGISTRY/mlops/sagemaker-components\n"
        for each in (part.completes, name)
        if each
    )
    return (
        f"## {name}\n\n{' '.join(_purpose(name))}\nMore: [{name}]({page}).\n\n"
        f"```yaml\ninclude:\n{included}```\n\n{_rows(part.inputs, rules='below')}"
        + "".join(
            f"\nDefault of `{key}`:\n\n```yaml\n{_default_of_rules(lines)}```\n"
            for inputs in part.sections.values()
            for key, lines in inputs.items()
            if part.inputs[key].get("type") == "array" and part.inputs[key]["default"]
        )
    )


def _folded(part: Part) -> str:
    """The inputs for a component's own page: those of every job are folded away."""
    own = {key: spec for key, spec in part.inputs.items() if key not in table.COMMON}
    common = {key: spec for key, spec in part.inputs.items() if key in table.COMMON}
    rules = f"[rules]({os.path.relpath(PAGE, table.template(part.name).parent)}#{part.name})"
    return (f"{_rows(own, rules)}\n" if own else "") + (
        f"<details>\n<summary>And those of every component: image, runner, access to AWS, "
        f"SageMaker project</summary>\n\n{_rows(common, rules)}\n</details>"
    )


def _rows(inputs: Mapping[str, Mapping[str, Any]], rules: str) -> str:
    """`rules` is where the reader finds a default that is too long for a cell."""
    rows = (f"| `{key}` | {_default(spec, rules)} | {_meaning(spec)} |\n" for key, spec in inputs.items())
    return _TABLE + "".join(rows)


def _default(spec: Mapping[str, Any], rules: str) -> str:
    if "default" not in spec:
        return "required"
    default = spec["default"]
    if isinstance(default, list) and default:
        return rules
    return f"`{json.dumps(default) if isinstance(default, list | bool) else default}`" if default != "" else ""


def _meaning(spec: Mapping[str, Any]) -> str:
    text = str(spec["description"])
    if kind := {"array": "A list.", "boolean": "`true` or `false`.", "number": "A number."}.get(spec.get("type", "")):
        text += f" {kind}"
    if options := spec.get("options"):
        text += f" One of {', '.join(f'`{option}`' for option in options if option != '')}."
    if regex := spec.get("regex"):
        text += f" Matches `{regex}`."
    return text.replace("|", "\\|")


def _default_of_rules(lines: str) -> str:
    """A list that is a default, as the template writes it, comments included."""
    return textwrap.dedent(lines.partition("      default:\n")[2])
