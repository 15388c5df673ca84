"""Which keyword may stand where: in a job, in `default`, at the top. Gives every message about a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sandbox.gitlab.config import checks, file_keywords, header, image_keywords, keywords, rule_keywords
from sandbox.gitlab.config.errors import InvalidConfiguration
from sandbox.gitlab.config.inputs import resolve
from sandbox.gitlab.config.ruby import blank, text

Keyword = Callable[[Any, str], Iterator[str]]

# What `default` may hold, and therefore reaches jobs.
INHERITED: dict[str, Keyword] = {
    "before_script": keywords.commands, "after_script": keywords.commands, "hooks": keywords.hooks,
    "cache": file_keywords.cache, "image": image_keywords.image, "services": image_keywords.services,
    "interruptible": keywords.boolean, "timeout": keywords.timeout, "retry": keywords.retry, "tags": keywords.tags,
    "artifacts": file_keywords.artifacts, "id_tokens": keywords.id_tokens,
}  # fmt: skip
# Of these, the ones that may also stand at the top of the file.
AT_TOP = ("before_script", "after_script", "cache", "image", "services")
_NOT_JOBS = ("include", "variables", "stages", *AT_TOP)
ROOT = ("default", "workflow", *_NOT_JOBS)
_WHEN = ("on_success", "on_failure", "always", "manual", "delayed")
_WEEK = 7 * 86_400
_OWN: dict[str, Keyword] = {
    **INHERITED, "script": keywords.commands, "stage": keywords.stage, "coverage": keywords.coverage,
    "release": file_keywords.release, "parallel": keywords.parallel, "allow_failure": keywords.allow_failure,
    "publish": file_keywords.publish, "pages": file_keywords.pages, "environment": keywords.environment,
    "only": rule_keywords.policy, "except": rule_keywords.policy, "rules": rule_keywords.of_job,
    "needs": lambda value, at: rule_keywords.needs(value, at, ("job", "cross_dependency")),
    "variables": lambda value, at: keywords.variables(value, at, data=("value", "expand")),
}  # fmt: skip
PAID = ("dast_configuration", "identity", "secrets")
"""Keywords of GitLab's paid editions: https://docs.gitlab.com/ci/yaml/."""
_ALLOWED = (
    *_OWN, *PAID, "start_in", "dependencies", "inputs", "manual_confirmation", "run", "extends", "inherit", "when",
    "resource_group",
)  # fmt: skip
_INPUTS, _INPUT = 50, ("default", "description", "options", "regex", "type")


def problems(configuration: Mapping[Any, Any]) -> Iterator[str]:
    """What is wrong with a merged configuration whose `extends` and `!reference` are filled in."""
    by_name = jobs(configuration)
    for name, check in INHERITED.items():
        if name in AT_TOP and configuration.get(name) is not None:
            yield from check(configuration[name], name)
    yield from _top(configuration, by_name)
    visible = 0
    for name, job in by_name.items():
        if text(name).startswith("."):
            if blank(job):
                yield f"jobs:{name} config can't be blank"
        elif not isinstance(job, dict) or not {"script", "run", "trigger", "needs"} & job.keys():
            yield f"jobs {text(name)} config should implement the script:, run:, or trigger: keyword"
        else:
            visible += 1
            yield from _job(name, job)
    if not visible:
        yield "jobs config should contain at least one visible job"


def jobs(configuration: Mapping[Any, Any]) -> dict[Any, Any]:
    """What is a job by its name, hidden ones included."""

    def is_job(name: Any, value: Any) -> bool:
        if name not in ROOT:
            return True
        return name not in _NOT_JOBS and isinstance(value, dict) and bool({"script", "run", "trigger"} & value.keys())

    return {name: value for name, value in configuration.items() if is_job(name, value)}


def _top(configuration: Mapping[Any, Any], named: Mapping[Any, Any]) -> Iterator[str]:
    default = configuration.get("default") if "default" not in named else None
    if default is not None:
        yield from checks.mapping(default, INHERITED, "default")
        for name, check in INHERITED.items():
            if isinstance(default, dict) and default.get(name) is not None:
                yield from check(default[name], f"default:{name}")
                if name in AT_TOP and configuration.get(name) is not None:
                    yield f"{name} is defined in top-level and `default:` entry"
    if configuration.get("workflow") is not None and "workflow" not in named:
        yield from rule_keywords.of_workflow(configuration["workflow"])
    if configuration.get("variables") is not None:
        data = ("value", "description", "expand", "options")
        yield from keywords.variables(configuration["variables"], "variables", data)
    stages = configuration.get("stages")
    if stages is not None and not (isinstance(stages, list) and checks.is_nested(stages, checks.is_text)):
        yield (
            "stages config should be an array of strings or a nested array of strings up to "
            f"{checks.NESTING} levels deep"
        )
    include = configuration.get("include")
    if include is not None and not isinstance(include, list | str):
        yield "include config should be an array or a string"


def _job(name: Any, job: Mapping[Any, Any]) -> Iterator[str]:
    at = f"jobs:{text(name)}" if name != "" else "jobs:job"
    if name == "":
        yield f"{at} name can't be blank"
    if not isinstance(name, str):
        yield f"{at} name should be a symbol"
    elif len(name) > keywords.NAME:
        yield f"{at} name is too long (maximum is {keywords.NAME} characters)"
    if "script" not in job and "run" not in job:  # a trigger, which is told apart later
        if "trigger" not in job:
            yield f"{at} config should contain either a trigger or a needs:pipeline"
        return
    for other in ("script", "before_script", "after_script"):
        yield from checks.exclusive(job, (other, "run"), at)
    for other in ("script", "run"):
        yield from checks.exclusive(job, (other, "trigger"), at)
    yield from checks.keys(job, (*_ALLOWED, "trigger"), at)
    if "run" not in job:
        yield from checks.present(job, "script", at)
    yield from _plain(job, at)
    yield from _delay(job, at)
    for keyword, check in _OWN.items():
        if job.get(keyword) is not None:
            yield from check(job[keyword], at if keyword == "rules" else f"{at}:{keyword}")
    if job.get("inherit") is not None:
        yield from _inherit(job["inherit"], f"{at}:inherit")
    if job.get("inputs") is not None:
        yield from _inputs(job["inputs"], f"{at}:inputs")


def _plain(job: Mapping[Any, Any], at: str) -> Iterator[str]:
    yield from checks.one_of(job, "when", _WHEN, at)
    for name in ("resource_group", "manual_confirmation"):
        yield from checks.member(job, name, checks.is_text, "should be a string", at)
    yield from checks.member(job, "extends", checks.is_texts_or_text, "should be an array of strings or a string", at)
    yield from checks.member(job, "dependencies", checks.is_texts, "should be an array of strings", at)
    if job.get("rules") is not None:
        names = [name for name in ("only", "except", "start_in") if job.get(name) is not None]
        if names:
            yield f"{at} config key may not be used with `rules`: {', '.join(names)}"
    is_pages = not blank(job.get("pages")) or (at == "jobs:pages" and job.get("pages") is not False)
    if not blank(job.get("publish")) and not is_pages:
        yield f"{at} publish can only be used within a `pages` job"
    needs, dependencies = job.get("needs"), job.get("dependencies")
    if dependencies and needs and checks.is_texts(dependencies):
        needed = [each.get("job") if isinstance(each, dict) else each for each in checks.flattened(needs)]
        if missing := [each for each in dependencies if each not in needed]:
            yield f"{at} dependencies the {', '.join(missing)} should be part of needs"


def _delay(job: Mapping[Any, Any], at: str) -> Iterator[str]:
    delayed = job.get("when") == "delayed"
    if delayed:
        yield from checks.duration(job.get("start_in"), f"{at} start in", _WEEK)
    if (not delayed or "rules" in job) and not blank(job.get("start_in")):
        yield f"{at} start in must be blank"


def _inherit(value: Any, at: str) -> Iterator[str]:
    yield from checks.mapping(value, ("default", "variables"), at)
    if not isinstance(value, dict):
        return
    for name in ("default", "variables"):
        names = value.get(name)
        if names is None or isinstance(names, bool):
            continue
        if not isinstance(names, list):
            yield f"{at}:{name} should be a bool or array of strings"
        elif not checks.is_texts(names):
            yield f"{at}:{name} config should be an array of strings"
        elif name == "default" and (unknown := [each for each in names if each not in INHERITED]):
            yield f"{at}:{name} config contains unknown values: {', '.join(unknown)}"


def _inputs(value: Any, at: str) -> Iterator[str]:
    """Inputs of a manual job: https://docs.gitlab.com/ci/jobs/job_inputs/."""
    if not isinstance(value, dict):
        yield f"{at} config should be a hash"
        return
    if len(value) > _INPUTS:
        yield f"{at} has too many entries (maximum {_INPUTS})"
    for name, details in value.items():
        if isinstance(details, dict) and "rules" in details:
            yield f"{at}:{text(name)} config contains unknown keys: rules"
        if isinstance(details, dict) and details.get("default") is None:
            yield f"{at}:{text(name)} must have a default value"
    problems = list(header.problems({"spec": {"inputs": value}}))
    yield from (problem.replace("header:spec:inputs", at) for problem in problems)
    if not problems:
        try:
            resolve(value, {})
        except InvalidConfiguration as error:
            yield f"{at} {error}"
