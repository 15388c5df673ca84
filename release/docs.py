"""Write the pages, and parts of pages, that come from the code: `make generate`. A test checks that they are current.

Sources: the error classes, the JSON Schemas, the parsers of the subcommands. Pages of components: `components.pages`.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from ci_scripts import errors, export
from ci_scripts.build import stage_config
from ci_scripts.cli import COMMANDS
from ci_scripts.settings import STAGES
from components import table, templates
from release import hosting

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = {
    "stage-config": "ci_scripts/build/stage-config.schema.json",
    "quality": "ci_scripts/quality.schema.json",
    "prices": "ci_scripts/prices.schema.json",
    "export": "ci_scripts/export.schema.json",
    "deployment-record": "ci_scripts/deployment-record.schema.json",
    "drift": "ci_scripts/drift/drift.schema.json",
}
_REFERENCE = Path("docs/reference")
_IN_SEED = ("stage-config", "quality")  # files that people edit, and editors complete

# --- errors.md -----------------------------------------------------------------------------------------------------

_ERRORS = """\
# Errors

Every expected failure of `sagemaker-ci` ends with one line of what happened, one of what to do, the address of its
section here, and exit code 1:

    error SMCI-101: AWS_REGION is not set
    hint: Set them in GitLab under Settings > CI/CD > Variables, or as inputs of the component.
    docs: https://gitlab.com/mlops/sagemaker-components/-/blob/HEAD/docs/reference/errors.md#smci-101

No code, but something is odd? [By what you see](../guides/when-something-is-wrong.md).

Codes are stable: they are never renumbered and never reused. With the CI/CD variable `SMCI_DEBUG`
set to `true`, or at a terminal with `sagemaker-ci --debug COMMAND`, the traceback comes first.
"""
_CHAPTERS = {
    "1": "Settings and usage",
    "2": "AWS access",
    "3": "Pipelines and training",
    "4": "Model registry and stage configurations",
    "5": "CloudFormation",
    "6": "Endpoints",
    "7": "Tests against an endpoint",
    "8": "Installing the AWS side",
    "9": "GitLab's API",
}


def error_page() -> str:
    """`docs/reference/errors.md`, from the classes in `ci_scripts.errors`."""
    classes = sorted(errors.SagemakerCiError.__subclasses__(), key=lambda each: each.code)
    page = _ERRORS
    chapter = ""
    for each in classes:
        number = each.code.removeprefix("SMCI-")
        if number[0] != chapter:
            chapter = number[0]
            page += f"\n## {chapter}xx: {_CHAPTERS[chapter]}\n"
        meaning = " ".join((inspect.getdoc(each) or "").split())
        page += f"\n### {each.code}\n\n{meaning}\n"
        if each.hint:
            page += f"\n**What to do:** {each.hint}\n"
    return page


# --- configuration.md ----------------------------------------------------------------------------------------------

_CONFIGURATION = """\
# Configuration files

The files of a model-deploy repository that `sagemaker-ci` reads. `build` checks all of them, in a merge request too: a
mistake fails the job before anything is deployed, and every mistake is named at once.

Values reach CloudFormation as they are written: `0471`, `1.10` and `22:30` stay what they are, in YAML as in JSON. What
readers of YAML take for different things (`yes`, `NO`, `True`; in `quality.yml` numbers like `0500`) is refused: write
`true` or `false`, quote text, leave out leading zeros. A file is UTF-8 and has at most 1 MB; what it names, and links
in its place, must not lead out of the repository.

Editors complete and check them with the schemas that each section names. `seed-deploy/` brings a copy in `.schemas/`
and refers to it: JSON files by `"$schema"`, YAML files by a comment in their first line.

```yaml
# yaml-language-server: $schema=./.schemas/quality.schema.json
```
"""
_FILES = {
    "stage-config": (
        ", ".join(f"{stage}-config.json" for stage in STAGES),
        "What differs between the stages. YAML is fine, too: `staging-config.yml`. `Hosting` says how the stage\n"
        "is hosted, and with it which [CloudFormation template](hosting.md) is filled in. The template declares which\n"
        "parameters there are; its types, patterns and limits are checked as CloudFormation would. `build` itself\n"
        "sets `SageMakerProjectName`, `SageMakerProjectId`, `StageName`, `EndpointName`, `ModelPackageName`,\n"
        "`ModelExecutionRoleArn` and what the reference of the kinds does not list, where the template declares them.",
        "seed-deploy/prod-config.json",
    ),
    "quality": (
        "quality.yml",
        "The thresholds of `test-staging`.",
        "seed-deploy/quality.yml",
    ),
    "prices": (
        "prices.json",
        "List prices, by which `build` [tells what a stage costs](../guides/host-a-stage.md#what-it-costs). Made by\n"
        "`sagemaker-ci prices`; it may be missing.",
        "",
    ),
    "export": (
        ", ".join(map(export.file_name, STAGES)),
        "Written by `build`, read by the deploy and test jobs, nothing to edit. Listed for those who check a\n"
        "deployment before it happens.",
        "",
    ),
}


def configuration_page() -> str:
    """`docs/reference/configuration.md`, from the JSON Schemas; the examples are the seed's own files."""
    page = _CONFIGURATION
    for name, (title, text, example) in _FILES.items():
        schema = json.loads((ROOT / SCHEMAS[name]).read_text(encoding="utf-8"))
        if name == "stage-config":
            schema = stage_config.schema()
        page += f"\n## {title}\n\n{text}\nSchema: [{name}.schema.json](schemas/{name}.schema.json).\n\n"
        if example:
            source = (ROOT / example).read_text(encoding="utf-8").rstrip()
            page += f"```{'json' if example.endswith('.json') else 'yaml'}\n{source}\n```\n\n"
        page += "| field | type | default | meaning |\n|---|---|---|---|\n"
        page += "".join(f"| `{path}` | {' | '.join(cells)} |\n" for path, cells in _fields(schema, schema, ""))
    return page


def _fields(schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[tuple[str, list[str]]]:
    """Every field below `schema`, as its path and the cells type, default and meaning."""
    required = schema.get("required", [])
    for key, value in schema.get("properties", {}).items():
        if key == "$schema":
            continue
        field = _resolved(value, root)
        yield from _field(field, root, f"{path}{key}", required=key in required)
    if isinstance(schema.get("additionalProperties"), Mapping):
        field = _resolved(schema["additionalProperties"], root)
        yield from _field(field, root, f"{path}<name>", required=False)


def _field(
    field: Mapping[str, Any], root: Mapping[str, Any], path: str, *, required: bool
) -> Iterator[tuple[str, list[str]]]:
    default = f"`{json.dumps(field['default'])}`" if "default" in field else ("required" if required else "")
    yield path, [_type(field), default, _sentence(field)]
    yield from _fields(field, root, f"{path}.")
    if "items" in field:
        yield from _fields(_resolved(field["items"], root), root, f"{path}[].")


def _resolved(field: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in field:
        return field
    definition: Any = root
    for part in field["$ref"].removeprefix("#/").split("/"):
        definition = definition[part]
    return definition | {key: value for key, value in field.items() if key != "$ref"}  # type: ignore[no-any-return]


def _type(field: Mapping[str, Any]) -> str:
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = field.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _sentence(field: Mapping[str, Any]) -> str:
    words = [str(field.get("description", ""))]
    words += [f"({each['description']})" for each in field.get("allOf", []) if "description" in each]
    bounds = [("minimum", "at least"), ("maximum", "at most"), ("maxProperties", "at most")]
    if limits := [f"{text} {field[key]}" for key, text in bounds if key in field]:
        words.append(f"({', '.join(limits)})")
    if "pattern" in field:
        words.append(f"Matches `{field['pattern']}`.")
    text = " ".join(word for word in words if word).replace("|", "\\|")
    return text if "/" in text.split(" ")[0] else text[:1].upper() + text[1:]


# --- commands.md ---------------------------------------------------------------------------------------------------

_COMMANDS = """\
# Commands

Every job is one command. They run on a laptop, too, with the [variables](variables.md) of the job:

<!-- runs in: shell -->
```sh
sagemaker-ci --help
sagemaker-ci doctor --help
```

An option wins over the variable beside it. Exit codes: 0 done, 1 an expected failure with its [code](errors.md),
2 wrong usage. `sagemaker-ci --debug COMMAND` shows the traceback of a failure, too; in a job, set the variable
`SMCI_DEBUG` to `true`.
"""


def commands_page() -> str:
    """`docs/reference/commands.md`, from the subcommands' own parsers."""
    page = _COMMANDS
    for name, (module, summary) in COMMANDS.items():
        page += f"\n## sagemaker-ci {name}\n\n{summary[:1].upper()}{summary[1:]}.\n"
        components = [each for each in table.JOBS if templates.command(each).split()[0] == name]
        if components:
            page += f"Run by {', '.join(f'[{each}](components.md#{each})' for each in components)}.\n"
        rows = "".join(_option(action) for action in _options(module))
        if rows:
            page += f"\n| option | variable | meaning |\n|---|---|---|\n{rows}"
    return page


def _options(module: str) -> list[argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    with mock.patch.dict(os.environ, clear=True):  # an option's default is its variable's content, where that is set
        importlib.import_module(module).add_arguments(parser)
    return parser._actions


def _option(action: argparse.Action) -> str:
    text, variable = str(action.help), ""
    if match := re.fullmatch(r"(.*) \[(\w+)\]", text):
        text, variable = match[1], f"`{match[2]}`"
    flags = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    value = f" {action.metavar or action.dest.upper()}" if action.option_strings and action.nargs != 0 else ""
    text = text.replace("%(default)s", str(action.default)).replace("%%", "%").replace("|", "\\|")
    return f"| `{flags}{value}` | {variable} | {text[:1].upper()}{text[1:]} |\n"


# --- all of it -----------------------------------------------------------------------------------------------------


def pages() -> dict[Path, str]:
    """Every generated file, relative to the project's root."""
    schemas = {name: (ROOT / path).read_text(encoding="utf-8") for name, path in SCHEMAS.items()}
    schemas["stage-config"] = json.dumps(hosting.schema(), indent=2, ensure_ascii=False) + "\n"
    return {
        _REFERENCE / "hosting.md": hosting.page(),
        _REFERENCE / "errors.md": error_page(),
        _REFERENCE / "configuration.md": configuration_page(),
        _REFERENCE / "commands.md": commands_page(),
        **{_REFERENCE / "schemas" / f"{name}.schema.json": text for name, text in schemas.items()},
        **{Path(f"seed-deploy/.schemas/{name}.schema.json"): schemas[name] for name in _IN_SEED},
    }


def main() -> None:
    for path, text in pages().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
