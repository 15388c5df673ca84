"""Jobs in one form: keywords spelt out, `default` and `inherit` applied, `parallel` multiplied.

Expects a configuration that `job_keywords.py` found nothing wrong with.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from sandbox.gitlab.config import checks, durations, job_keywords
from sandbox.gitlab.config.errors import InvalidConfiguration, NotInSandbox
from sandbox.gitlab.config.inheritance import wrapped
from sandbox.gitlab.config.ruby import text

Config = dict[str, Any]
_DEFAULT_STAGES = ("build", "test", "deploy")
_DEFAULT_ONLY = {"refs": ["branches", "tags"]}
_MATRIX = re.compile(r"\$\[\[\s*matrix\.([a-zA-Z0-9_-]+)\s*\]\]", re.ASCII)


class Normal(NamedTuple):
    """The stages in order, the jobs by name, the variables at the top (name → `value`, `raw`), and `workflow`."""

    stages: list[str]
    jobs: dict[str, Config]
    variables: dict[str, Config]
    workflow: Config


def normalized(configuration: Mapping[Any, Any]) -> Normal:
    """Raises InvalidConfiguration."""
    written = configuration.get("stages")
    stages = wrapped(list(_DEFAULT_STAGES)) if written is None else checks.flattened(written)
    by_name = job_keywords.jobs(configuration)
    workflow: Config = (configuration.get("workflow") if "workflow" not in by_name else None) or {}
    defaults = configuration.get("default") if "default" not in by_name else None
    defaults = {key: configuration.get(key) for key in job_keywords.AT_TOP} | {
        key: value for key, value in (defaults or {}).items() if value is not None
    }
    by_default = "rules" not in workflow
    jobs = {name: _job(name, job, defaults, by_default) for name, job in by_name.items() if not name.startswith(".")}
    jobs = _multiplied(jobs)
    if workflow.get("rules") is not None:
        workflow = {**workflow, "rules": _rules(workflow["rules"])}
    normal = Normal(stages, jobs, variables(configuration.get("variables")), workflow)
    for name, job in jobs.items():
        if problem := next(_problems(name, job, normal), None):
            raise InvalidConfiguration(problem)
    _no_circle(jobs)
    return normal


def variables(written: Mapping[Any, Any] | None) -> dict[str, Config]:
    """Variables as text, and whether they are taken literally (`expand: false`)."""
    result = {}
    for key, value in (written or {}).items():
        if isinstance(value, dict):
            raw = {"raw": not value["expand"]} if "expand" in value else {}
            result[text(key)] = {"value": text(value.get("value")), **raw}
        else:
            result[text(key)] = {"value": text(value)}
    return result


def _job(name: str, job: Mapping[str, Any], defaults: Mapping[str, Any], by_default: bool) -> Config:
    for keyword in ("trigger", "run", *job_keywords.PAID):
        if keyword in job:
            raise NotInSandbox(f"`{keyword}` (job {name})")
    inherit = job.get("inherit") or {}
    inherited = inherit.get("default")
    chosen = {
        key: value
        for key, value in defaults.items()
        if value is not None and (inherited in (None, True) or (isinstance(inherited, list) and key in inherited))
    }
    keywords = {key: value for key, value in job.items() if value is not None}
    whole = chosen | keywords
    allow = keywords.get("allow_failure")
    config: Config = {
        "stage": keywords.get("stage", "test"),
        "when": keywords.get("when", "on_success"),
        # A manual job lets the pipeline pass, unless it is manual by a rule: then it blocks.
        "allow_failure": allow is True if allow is not None else keywords.get("when") == "manual",
        "allow_failure_codes": _codes(allow),
        "job_variables": variables(keywords.get("variables")),
        "inherit_variables": True if inherit.get("variables") is None else inherit["variables"],
        # An own timeout alone counts: GitLab does not hand on the one of `default`.
        "timeout": durations.seconds(keywords["timeout"]) if "timeout" in keywords else None,
        "rules": _rules(keywords["rules"]) if "rules" in keywords else None,
        "only": _policy(keywords.get("only"), _DEFAULT_ONLY if by_default and "rules" not in job else {}),
        "except": _policy(keywords.get("except"), {}),
        "needs": None if "needs" not in keywords else list(_needs(keywords["needs"])),
    }
    if any(checks.flattened(need) and "pipeline" in need for need in _mappings(keywords.get("needs"))):
        raise NotInSandbox(f"`needs:pipeline` (job {name})")
    for key in ("script", "before_script", "after_script"):
        if key in whole:
            config[key] = [each for each in checks.flattened(whole[key]) if each is not None]
    for key in ("dependencies", "resource_group", "release", "interruptible", "tags", "cache", "hooks", "pages"):
        if key in whole:
            config[key] = whole[key]
    for key in ("manual_confirmation", "start_in", "inputs", "publish"):
        if key in keywords:
            config[key] = keywords[key]
    return config | _spelt_out(whole, keywords, _published(name, keywords))


def _spelt_out(whole: Mapping[str, Any], own: Mapping[str, Any], pages: str | None) -> Config:
    """Keywords that may be written in a short form, in their long one."""
    config: Config = {}
    if "image" in whole:
        config["image"] = image(whole["image"])
    if services := [_service(each) for each in checks.flattened(whole.get("services")) if each is not None]:
        config["services"] = services
    if "retry" in whole:
        config["retry"] = retry(whole["retry"])
    if "artifacts" in whole or pages:
        config["artifacts"] = _artifacts(whole.get("artifacts", {}), pages)
    if "id_tokens" in whole:
        config["id_tokens"] = {text(name): dict(token) for name, token in whole["id_tokens"].items()}
    if "environment" in own:
        environment = own["environment"]
        by_name = {"name": environment, "action": "start"}
        config["environment"] = environment if isinstance(environment, dict) else by_name
    if "coverage" in own:
        config["coverage"] = own["coverage"][1:-1]
    if "parallel" in own:
        config["parallel"] = own["parallel"]
    return config


def image(written: str | Mapping[str, Any]) -> Config:
    """An image or service: its name, and options that are given."""
    if isinstance(written, str):
        return {"name": written}
    executors = {key: written[key] for key in ("docker", "kubernetes") if written.get(key) is not None}
    policy = written.get("pull_policy")
    options = {
        "entrypoint": written.get("entrypoint"),
        "executor_opts": executors or None,
        "pull_policy": None if policy is None else checks.flattened(policy),
    }
    return {"name": written["name"], **{key: value for key, value in options.items() if value is not None}}


def _service(written: str | Mapping[str, Any]) -> Config:
    service = image(written)
    if isinstance(written, dict):
        if written.get("command") is not None:
            service["command"] = checks.flattened(written["command"])
        if written.get("alias") is not None:
            service["alias"] = written["alias"]
        if written.get("variables") is not None:
            service["variables"] = {key: value["value"] for key, value in variables(written["variables"]).items()}
    return service


def _codes(allow: Any) -> list[int]:
    return checks.flattened(allow["exit_codes"]) if isinstance(allow, dict) and allow.get("exit_codes") else []


def retry(written: Any) -> Config:
    """`retry` in its long form."""
    if not isinstance(written, dict):
        return {"max": written}
    lists = {key: checks.flattened(value) for key, value in written.items() if key != "max" and value is not None}
    return ({"max": written["max"]} if "max" in written else {}) | lists


def _published(name: str, job: Mapping[str, Any]) -> str | None:
    """The folder that a job publishes by GitLab Pages; it is an artifact of the job."""
    pages = job.get("pages")
    if not pages and (name != "pages" or pages is False):
        return None
    folder = job.get("publish") or "public"
    return str((pages.get("publish") if isinstance(pages, dict) else None) or folder)


def _artifacts(written: Mapping[str, Any], pages: str | None) -> Config:
    artifacts = {key: value for key, value in written.items() if value is not None}
    if pages and pages not in artifacts.get("paths", []):
        artifacts["paths"] = [*artifacts.get("paths", []), pages]
    if "reports" in artifacts:
        artifacts["reports"] = {
            kind: value if isinstance(value, dict) else checks.flattened(value)
            for kind, value in artifacts["reports"].items()
            if value is not None
        }
    return artifacts


def _rules(written: Any) -> list[Config]:
    rules = []
    for rule in checks.flattened(written):
        config = {key: value for key, value in rule.items() if value is not None}
        if "variables" in config:
            config["variables"] = variables(config["variables"])
        if "needs" in config:
            config["needs"] = list(_needs(config["needs"]))
        rules.append(config)
    return rules


def _policy(written: Any, default: Mapping[str, Any]) -> Config | None:
    policy = {"refs": written} if isinstance(written, list) else written or {}
    return {key: value for key, value in {**default, **policy}.items() if value is not None} or None


def _mappings(needs: Any) -> list[Mapping[str, Any]]:
    return [need for need in checks.flattened(needs) if isinstance(need, dict)]


def _needs(written: Any) -> Iterator[Config]:
    for need in checks.flattened(written):
        if isinstance(need, str):
            yield {"job": need, "artifacts": True, "optional": False}
        elif need is not None:
            artifacts, optional = need.get("artifacts"), need.get("optional")
            normalized = {"job": need["job"], "artifacts": artifacts is not False, "optional": optional is True}
            yield normalized | ({"parallel": need["parallel"]} if need.get("parallel") is not None else {})


# --- parallel ---------------------------------------------------------------------------------------------------------


def _multiplied(jobs: dict[str, Config]) -> dict[str, Config]:
    copies = {name: list(_copies(name, job["parallel"])) for name, job in jobs.items() if "parallel" in job}
    if not copies:
        return jobs
    result: dict[str, Config] = {}
    for name, job in jobs.items():
        for copy in copies.get(name, [(name, {}, {})]):
            new_name, own, matrix = copy
            merged = {**job, **own, "job_variables": {**job["job_variables"], **variables(matrix)}}
            if job["needs"]:
                merged["needs"] = [
                    more for need in job["needs"] for more in _needed(_interpolated(name, need, merged), copies)
                ]
            if "dependencies" in job:
                names = ([copy[0] for copy in copies.get(each, [(each,)])] for each in job["dependencies"])
                merged["dependencies"] = list(itertools.chain(*names))
            result[new_name] = merged
    return result


def _copies(name: str, written: Any) -> Iterator[tuple[str, Config, Mapping[str, str]]]:
    """Name, what a copy has of its own, and its variables of the matrix."""
    if not isinstance(written, dict):
        for number in range(1, written + 1):
            yield f"{name} {number}/{written}", {"parallel": {"total": written}, "instance": number}, {}
        return
    rows = [row for variables_of in written["matrix"] for row in _combinations(variables_of)]
    for number, row in enumerate(rows, 1):
        parallel = {"parallel": {"total": len(rows)}, "instance": number}
        yield f"{name}: [{', '.join(row.values())}]", parallel, row


def _combinations(written: Mapping[Any, Any]) -> Iterator[dict[str, str]]:
    lists = [[text(each) for each in checks.flattened(value)] for value in written.values()]
    for values in itertools.product(*lists):
        yield dict(zip(map(text, written), values, strict=True))


def _needed(need: Config, copies: Mapping[str, list[tuple[str, Config, Mapping[str, str]]]]) -> Iterator[Config]:
    if need["job"] not in copies:
        yield need
        return
    chosen = list(_copies(need["job"], need["parallel"])) if "parallel" in need else copies[need["job"]]
    rest = {key: value for key, value in need.items() if key != "parallel"}
    yield from ({**rest, "job": copy[0]} for copy in chosen)


def _interpolated(name: str, need: Config, job: Config) -> Config:
    """`$[[ matrix.NAME ]]` in a need, by the variables of the job that needs."""

    def value(match: re.Match[str]) -> str:
        variable = job["job_variables"].get(match[1])
        if variable is None:
            raise InvalidConfiguration(f"{name} job: '{match[1]}' does not exist in matrix configuration")
        return text(variable["value"])

    def replaced(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: replaced(inner) for key, inner in node.items()}
        if isinstance(node, list):
            return [replaced(each) for each in node]
        return _MATRIX.sub(value, node) if isinstance(node, str) else node

    return replaced(need)  # type: ignore[no-any-return]


# --- what only the whole shows ----------------------------------------------------------------------------------------


def _problems(name: str, job: Config, normal: Normal) -> Iterator[str]:
    if job["stage"] not in normal.stages:
        stages = ", ".join(normal.stages)
        yield f"{name} job: chosen stage {job['stage']} does not exist; available stages are {stages}"
    for dependency in job.get("dependencies") or ():
        yield from _dependency(name, job, dependency, "dependency", normal)
    for needs in (job["needs"], *(rule.get("needs") for rule in job["rules"] or ())):
        for need in needs or ():
            if need["job"] in normal.jobs or not need["optional"]:
                yield from _dependency(name, job, need["job"], "need", normal)
        names = [need["job"] for need in needs or ()]
        if twice := sorted({each for each in names if names.count(each) > 1}):
            yield f"{name} has the following needs duplicated: {', '.join(twice)}."
    environment = job.get("environment") or {}
    if environment.get("on_stop"):
        yield from _on_stop(name, environment, normal)
    if isinstance(job.get("pages"), dict) and "publish" in job and "publish" in job["pages"]:
        yield f"{name} job: use either {name}:publish or {name}:pages:publish"


def _dependency(name: str, job: Config, other: str, kind: str, normal: Normal) -> Iterator[str]:
    if other not in normal.jobs:
        yield f"{name} job: undefined {kind}: {other}"
        return
    if kind == "need" and len(other) > 255:
        yield f"{name} job: need `{other}` name is too long (maximum is 255 characters)"
    stage = normal.jobs[other]["stage"]
    if stage not in normal.stages or normal.stages.index(stage) > normal.stages.index(job["stage"]):
        yield f"{name} job: {kind} {other} is not defined in current or prior stages"


def _on_stop(name: str, environment: Mapping[str, Any], normal: Normal) -> Iterator[str]:
    other = environment["on_stop"]
    stopping = normal.jobs.get(other)
    if stopping is None:
        yield f"{name} job: on_stop job {other} is not defined"
    elif not stopping.get("environment"):
        yield f"{name} job: on_stop job {other} does not have environment defined"
    elif stopping["environment"]["name"] != environment["name"]:
        yield f"{name} job: on_stop job {other} have different environment name"
    elif stopping["environment"].get("action") != "stop":
        yield f"{name} job: on_stop job {other} needs to have action stop defined"


def _no_circle(jobs: Mapping[str, Config]) -> None:
    try:
        TopologicalSorter({name: [need["job"] for need in job["needs"] or ()] for name, job in jobs.items()}).prepare()
    except CycleError as error:
        raise InvalidConfiguration(f"The pipeline has circular dependencies: {', '.join(error.args[1])}") from error
