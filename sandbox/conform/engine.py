"""Judge of configurations: a repository's files and an event → the jobs that GitLab makes of them, or its refusal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.conform.verdicts import Verdict
from sandbox.gitlab.config import documents
from sandbox.gitlab.config.compiler import compile_pipeline
from sandbox.gitlab.config.errors import InvalidConfiguration, NoPipeline
from sandbox.gitlab.config.includes import merged
from sandbox.gitlab.config.substitution import Variable
from sandbox.gitlab.config.surroundings import Files, Source, Surroundings
from sandbox.gitlab.records.jobspec import CompiledJob

_ROOT = Path(__file__).parents[2]
_FILE = ".gitlab-ci.yml"
_HOST = "gitlab.example.com"
_OURS, _THEIRS = "mlops/sagemaker-components", "group/components"
_RELEASE, _BRANCH = "a" * 40, "b" * 40  # commits of the components of a case
_HEAD = "c" * 40


def recognises(document: Any) -> bool:
    """A list of cases with an event and either files or a seed."""
    return (
        isinstance(document, list)
        and bool(document)
        and all({"id", "event", "expect"} <= case.keys() and {"files", "seed"} & case.keys() for case in document)
    )


def verdicts(document: Any) -> Iterator[Verdict]:
    for case in document:
        yield Verdict(case["id"], _difference(case))


class _Entry(NamedTuple):
    path: str
    type: str = "blob"


class _Texts:
    """The files of a case as a repository."""

    def __init__(self, files: Mapping[str, str], commits: Mapping[str, str]) -> None:
        self.files, self.commits = files, commits

    def read(self, ref: str, path: str) -> bytes | None:
        return self.files[path].encode() if path in self.files else None

    def resolve(self, ref: str) -> str | None:
        return self.commits.get(ref)

    def tree(self, ref: str, path: str = "", *, recursive: bool = False) -> Sequence[_Entry]:
        return [_Entry(name) for name in sorted(self.files)]


class _Checkout:
    """This checkout's components: what a case of them is judged by."""

    def read(self, ref: str, path: str) -> bytes | None:
        file = _ROOT / path
        return file.read_bytes() if file.is_file() else None

    def resolve(self, ref: str) -> str | None:
        return _RELEASE

    def tree(self, ref: str, path: str = "", *, recursive: bool = False) -> Sequence[_Entry]:
        return []


def _difference(case: Mapping[str, Any]) -> str | None:
    expect = case["expect"]
    job_names: set[str] = set()
    files = dict(case.get("files") or {_FILE: (_ROOT / case["seed"]).read_text(encoding="utf-8")})
    if "component" in case:  # the job that a component depends on is no part of the answer
        written = documents.load(files[_FILE]).content
        job_names = {name for name, job in written.items() if isinstance(job, dict) and "script" in job}
    refused = expect.get("refused")
    try:
        jobs = {job.name: job for job in _jobs(files, case)}
    except NoPipeline:
        jobs = {}
    except InvalidConfiguration as error:
        reason = f"{error.category}: {'; '.join(error.errors)}"
        if refused is None or error.category != refused.partition(":")[0]:
            return f"refused, {reason}; GitLab: {refused or json.dumps(expect['jobs'])}"
        return None
    if refused is not None:
        return f"accepted with {sorted(jobs)}; GitLab refuses, {refused}"
    return _different_jobs({name: job for name, job in jobs.items() if name not in job_names}, expect["jobs"])


def _jobs(files: Mapping[str, str], case: Mapping[str, Any]) -> list[CompiledJob]:
    event = case["event"]
    repository = _Texts(files, {"main": _HEAD, event["ref"]: _HEAD})
    components: dict[str, Files] = {
        _OURS: _Checkout(),
        _THEIRS: _Texts(files, {"1.0.0": _RELEASE, "main": _BRANCH, _RELEASE: _RELEASE, _BRANCH: _BRANCH}),
    }
    source = Source("group/project", repository, _HEAD)
    around = Surroundings(
        _predefined(event),
        source,
        stronger_variables=lambda environment: [Variable(key, value) for key, value in event["variables"].items()],
        changed=lambda compare_to: event.get("changed"),
        find_project=components.get,
        catalog_versions=lambda path: {"1.0.0": _RELEASE} if path == _THEIRS else None,
    )
    return compile_pipeline(merged(source, _FILE, case["inputs"], around), around).jobs


def _predefined(event: Mapping[str, Any]) -> dict[str, str]:
    variables = {
        "CI_PIPELINE_SOURCE": "push" if event["source"] == "tag" else event["source"],
        "CI_COMMIT_REF_NAME": event["ref"],
        "CI_DEFAULT_BRANCH": event["default_branch"],
        "CI_SERVER_FQDN": _HOST,
        "CI_SERVER_URL": f"https://{_HOST}",
    }
    if event["source"] == "tag":
        return {**variables, "CI_COMMIT_TAG": event["ref"]}
    if event["source"] == "merge_request_event":
        return {**variables, "CI_MERGE_REQUEST_IID": "1"}
    return {**variables, "CI_COMMIT_BRANCH": event["ref"]}


def _different_jobs(jobs: Mapping[str, CompiledJob], expected: Mapping[str, Mapping[str, Any]]) -> str | None:
    if jobs.keys() != expected.keys():
        return f"jobs {sorted(jobs)}; GitLab: {sorted(expected)}"
    differences = []
    for name, fields in expected.items():
        actual = _fields(jobs[name])
        for field, written in fields.items():
            value = _environment(written) if field == "environment" else written
            # Null is absent or empty, and so is an empty list of codes.
            if actual.get(field) != value and (value or actual.get(field) or isinstance(value, bool)):
                differences.append(f"{name}: {field}: {json.dumps(actual.get(field))}, GitLab: {json.dumps(value)}")
    return "; ".join(differences) or None


def _fields(job: CompiledJob) -> dict[str, Any]:
    config = job.config
    image = config.get("image")
    fields = {
        **config,
        "stage": job.stage,
        "when": job.when,
        "allow_failure": job.allow_failure,
        "allow_failure_exit_codes": list(job.allow_failure_codes) or None,
        "variables": job.variables,
        "image": image and image["name"],
        "image_options": image and {key: value for key, value in image.items() if key != "name"},
        "confirm": config.get("manual_confirmation"),
        "needs": None if job.needs is None else [need.job for need in job.needs],
        "environment": _environment(job.environment),
    }
    return {field: value for field, value in fields.items() if value is not None}


def _environment(written: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Without what is null, and without an action that says what none would say."""
    details = {key: value for key, value in (written or {}).items() if value is not None}
    return {key: value for key, value in details.items() if (key, value) != ("action", "start")} or None
