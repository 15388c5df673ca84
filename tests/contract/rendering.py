"""Renders a consumer's `.gitlab-ci.yml` with the components of this checkout: no server, no clone, milliseconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import yaml

from ci_scripts import __version__
from components.templates import parsed
from sandbox.gitlab.config.compiler import compile_pipeline
from sandbox.gitlab.config.errors import NoPipeline
from sandbox.gitlab.config.includes import merged
from sandbox.gitlab.config.substitution import Variable
from sandbox.gitlab.config.surroundings import Entry, Source, Surroundings
from sandbox.gitlab.records.jobspec import CompiledJob

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = "mlops/sagemaker-components"
HOST = "gitlab.example.com"
SERVER = {"CI_SERVER_FQDN": HOST, "CI_SERVER_URL": f"https://{HOST}", "CI_DEFAULT_BRANCH": "main"}
SHA = "0" * 40

Config = dict[str, Any]
Include = tuple[str, Config]


class _File(NamedTuple):
    path: str
    type: str = "blob"


class _Files:
    """What the renderer asks of a repository: the consumer's one file, or this checkout when there is none."""

    def __init__(self, configuration: str | None = None, paths: Sequence[str] = ()) -> None:
        self.configuration, self.paths = configuration, paths

    def read(self, sha: str, path: str) -> bytes | None:
        if self.configuration is not None:
            return self.configuration.encode() if path == ".gitlab-ci.yml" else None
        return (ROOT / path).read_bytes() if (ROOT / path).is_file() else None

    def tree(self, sha: str, path: str = "", *, recursive: bool = False) -> Sequence[Entry]:
        return [_File(path) for path in self.paths]

    def resolve(self, ref: str) -> str | None:
        return SHA if ref == __version__ else None


def configuration(*components: Include, stages: Sequence[str] = ("test",), complete: bool = True) -> str:
    """A `.gitlab-ci.yml` that includes these components, each with its inputs, and those whose jobs they complete."""
    included = [
        {"component": f"$CI_SERVER_FQDN/{COMPONENTS}/{name}@{__version__}", "inputs": inputs}
        for component in components
        for name, inputs in [*(_completed(*component) if complete else ()), component]
    ]
    return yaml.safe_dump({"stages": list(stages), "include": included}, sort_keys=False)


def _completed(component: str, inputs: Config) -> Sequence[Include]:
    """The component whose job this one completes, if it does that to one."""
    completed = parsed(component).completes
    if completed is None:
        return ()
    same = {name: inputs[name] for name in ("environment", "stage") if name in inputs}
    return [(completed, same | {"job_name": inputs.get("deploy_job_name", completed)})]


def render(
    text: str, settings: Mapping[str, str] | None = None, *, masked: frozenset[str] = frozenset(), **inputs: Any
) -> Config:
    """The merged configuration. Raises InvalidConfiguration with GitLab's message.

    `settings` are CI/CD variables of the project, `masked` the names of those that are.
    """
    around = _around(SERVER, settings or {}, text, masked)
    return merged(around.source, ".gitlab-ci.yml", inputs, around)


def _around(
    predefined: Mapping[str, str],
    settings: Mapping[str, str],
    text: str = "",
    masked: frozenset[str] = frozenset(),
    changed: Sequence[str] | None = None,
    paths: Sequence[str] = (),
) -> Surroundings:
    return Surroundings(
        predefined,
        Source("data-science/abalone", _Files(text, paths), SHA),
        changed=lambda compare_to: None if changed is None else list(changed),
        stronger_variables=lambda environment: [Variable(key, value) for key, value in settings.items()],
        masked=masked,
        find_project=lambda path: _Files() if path == COMPONENTS else None,
    )


def jobs_of(rendered: Config) -> dict[str, Config]:
    return {name: job for name, job in rendered.items() if isinstance(job, dict) and "script" in job}


def pipeline(
    rendered: Config,
    settings: Mapping[str, str] | None = None,
    *,
    changed: Sequence[str] | None = None,
    paths: Sequence[str] = (),
    **variables: str,
) -> dict[str, CompiledJob]:
    """The jobs of a pipeline with these predefined variables, in order: those whose rules let them in.

    `given` are CI/CD variables of the settings. `changed` are the paths that differ, None where GitLab cannot tell,
    `paths` those of the repository.
    """
    around = _around(SERVER | variables, settings or {}, changed=changed, paths=paths)
    try:
        return {job.name: job for job in compile_pipeline(rendered, around).jobs}
    except NoPipeline:
        return {}


@cache
def _schema() -> Config:
    text = files("check_jsonschema").joinpath("builtin_schemas/vendor/gitlab-ci.json").read_text()
    schema: Config = json.loads(text)
    return schema


def check(document: Config) -> Config:
    """The document, which follows GitLab's schema."""
    jsonschema.validate(document, _schema())
    return document


def header(component: str) -> Config:
    """The document before `---` of a component's template."""
    text = (ROOT / "templates" / component / "template.yml").read_text()
    document: Config = next(iter(yaml.load_all(text, yaml.CSafeLoader)))
    return document


def inputs_of(component: str) -> dict[str, Config]:
    inputs: dict[str, Config] = header(component)["spec"]["inputs"]
    return inputs
