"""What `rules` may be, of a job, a workflow or an include; `only`, `except`, `needs` and `auto_cancel` with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sandbox.gitlab.config import checks, expressions, keywords
from sandbox.gitlab.config.ruby import blank, text

_WEEK = 7 * 86_400
_PATHS = 50
_JOB_KEYS = ("if", "changes", "exists", "when", "start_in", "allow_failure", "variables", "needs", "interruptible")
_JOB_WHEN = ("on_success", "on_failure", "always", "never", "manual", "delayed")
_WORKFLOW_KEYS = (
    "if", "changes", "exists", "when", "start_in", "allow_failure", "variables", "needs", "auto_cancel",
)  # fmt: skip
ON_NEW_COMMIT, ON_JOB_FAILURE = ("conservative", "interruptible", "none"), ("none", "all")


def of_job(rules: Any, at: str) -> Iterator[str]:
    if not checks.is_nested(rules, lambda value: isinstance(value, dict)) or not isinstance(rules, list):
        yield f"{at} rules should be an array containing hashes and arrays of hashes"
        return
    yield from _rules(rules, _JOB_KEYS, _JOB_WHEN, f"{at}:rules")


def of_workflow(workflow: Any) -> Iterator[str]:
    """The whole of `workflow`."""
    at = "workflow"
    yield from checks.mapping(workflow, ("rules", "name", "auto_cancel"), at)
    if not isinstance(workflow, dict):
        return
    if workflow.get("name") == "":
        yield f"{at} name is too short (minimum is 1 character)"
    if checks.is_text(workflow.get("name")) and len(workflow["name"]) > keywords.NAME:
        yield f"{at} name is too long (maximum is {keywords.NAME} characters)"
    if workflow.get("rules") is not None:
        yield from _rules(workflow["rules"], _WORKFLOW_KEYS, ("always", "never"), f"{at}:rules")
    if workflow.get("auto_cancel") is not None:
        yield from auto_cancel(workflow["auto_cancel"], f"{at}:auto_cancel")


def of_include(rules: Any) -> Iterator[str]:
    yield from _rules(rules, ("if", "exists", "when", "changes"), ("never", "always"), "rules", paths_of_exists=None)


def auto_cancel(value: Any, at: str) -> Iterator[str]:
    yield from checks.mapping(value, ("on_new_commit", "on_job_failure"), at)
    if isinstance(value, dict):
        for name, allowed in (("on_new_commit", ON_NEW_COMMIT), ("on_job_failure", ON_JOB_FAILURE)):
            message = f"must be one of: {', '.join(allowed)}"
            yield from checks.member(value, name, lambda item, among=allowed: item in among, message, at)  # type: ignore[misc]


def _rules(
    rules: Any, allowed: Collection[str], whens: Collection[str], at: str, paths_of_exists: int | None = _PATHS
) -> Iterator[str]:
    if blank(rules):
        yield f"{at} config can't be blank"
    elif not isinstance(rules, list):
        yield f"{at} config should be an array"
    else:
        for rule in checks.flattened(rules):
            yield from _rule(rule, allowed, whens, f"{at}:rule", paths_of_exists)


def _rule(
    rule: Any, allowed: Collection[str], whens: Collection[str], at: str, paths_of_exists: int | None
) -> Iterator[str]:
    if blank(rule):
        yield f"{at} config can't be blank"
    if not isinstance(rule, dict):
        yield f"{at} config should be a hash"
        return
    yield from checks.keys(rule, allowed, at)
    if rule.get("when") is not None and text(rule["when"]) not in whens:
        yield f"{at} when unknown value: {text(rule['when'])}"
    if rule.get("when") == "delayed":
        yield from checks.present(rule, "start_in", at)
        yield from checks.duration(rule.get("start_in"), f"{at} start in", _WEEK)
    elif "start_in" in rule:
        yield f"{at} config contains disallowed keys: start_in"
    yield from checks.expression(rule.get("if"), at)
    for name in ("allow_failure", "interruptible"):
        yield from checks.member(rule, name, checks.is_boolean, "should be a boolean value", at)
    if rule.get("changes") is not None:
        yield from _changes(rule["changes"], f"{at}:changes")
    if rule.get("exists") is not None:
        yield from _exists(rule["exists"], f"{at}:exists", paths_of_exists)
    if rule.get("variables") is not None:
        yield from keywords.variables(rule["variables"], f"{at}:variables", data=())
    if rule.get("needs") is not None:
        yield from needs(rule["needs"], f"{at}:needs", ("job",))
    if rule.get("auto_cancel") is not None:
        yield from auto_cancel(rule["auto_cancel"], f"{at}:auto_cancel")


def _changes(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, list | dict):
        yield f"{at} should be an array or a hash"
        return
    if isinstance(value, dict):
        yield from checks.keys(value, ("paths", "compare_to"), at)
        yield from checks.required(value, ("paths",), at)
        yield from checks.member(value, "compare_to", checks.is_text, "should be a string", at)
        value = value.get("paths")
    yield from _paths(value, at, _PATHS)


def _exists(value: Any, at: str, maximum: int | None) -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield from checks.keys(value, ("paths", "project", "ref"), at)
        yield from checks.required(value, ("paths", *(["project"] if value.get("ref") is not None else [])), at)
        for name in ("project", "ref"):
            yield from checks.member(value, name, checks.is_text, "should be a string", at)
        if value.get("paths") is not None:
            yield from _paths(value["paths"], at, _PATHS)
    elif isinstance(value, list):
        yield from _paths(value, at, maximum)
    elif not (checks.is_text(value) or blank(value)):
        yield f"{at} should be a string, an array of strings, or a hash"


def _paths(value: Any, at: str, maximum: int | None) -> Iterator[str]:
    if not checks.is_texts(value):
        yield f"{at} config should be an array of strings"
    elif maximum is not None and len(value) > maximum:
        yield f"{at} config has too many entries (maximum {maximum})"


# --- needs, only, except ----------------------------------------------------------------------------------------------


def needs(value: Any, at: str, kinds: Collection[str]) -> Iterator[str]:
    if not isinstance(value, list | dict):
        yield f"{at} config can only be a hash or an array"
        return
    if value == {}:
        yield f"{at} config can not be an empty hash"
    for need in checks.flattened(value):
        if need is not None:
            yield from _need(need, f"{at}:need", kinds)


def _need(need: Any, at: str, kinds: Collection[str]) -> Iterator[str]:
    if checks.is_text(need):
        if blank(need):
            yield f"{at} config can't be blank"
    elif (
        not isinstance(need, dict)
        or "job" not in need
        or "project" in need
        or ("ref" in need and "pipeline" not in need)
    ):
        yield f"{at} has an unsupported type"
    elif "pipeline" in need:
        yield from checks.keys(need, ("pipeline", "job", "artifacts"), at)
        for name in ("pipeline", "job"):
            if blank(need[name]) or not checks.is_text(need[name]):
                yield f"{at} {name} should be a string"
        yield from checks.member(need, "artifacts", checks.is_boolean, "should be a boolean value", at)
        if "cross_dependency" not in kinds:
            yield f"{at} config uses invalid types: cross_dependency"
    else:
        yield from checks.keys(need, ("job", "artifacts", "optional", "parallel"), at)
        if blank(need["job"]) or not checks.is_text(need["job"]):
            yield f"{at} job should be a string"
        for name in ("artifacts", "optional"):
            yield from checks.member(need, name, checks.is_boolean, "should be a boolean value", at)
        if isinstance(need.get("parallel"), int | float):
            yield f'{at} config cannot use "parallel: <number>".'
        elif need.get("parallel") is not None:
            yield from keywords.parallel(need["parallel"], f"{at}:parallel")


def policy(value: Any, at: str) -> Iterator[str]:
    """`only` or `except`."""
    message = "should be an array of strings or regular expressions using re2 syntax"
    if isinstance(value, list):
        if not checks.is_texts_or_patterns(value):
            yield f"{at} config {message}"
    elif not isinstance(value, dict):
        yield f"{at} has to be either an array of conditions or a hash"
    else:
        if not value:
            yield f"{at} config can't be blank"
        yield from checks.keys(value, ("refs", "kubernetes", "variables", "changes"), at)
        yield from checks.member(value, "refs", checks.is_texts_or_patterns, message, at)
        yield from checks.member(value, "kubernetes", lambda item: item == "active", "unknown value", at)
        for name in ("variables", "changes"):
            yield from checks.member(value, name, checks.is_texts, "should be an array of strings", at)
        statements = value.get("variables")
        if isinstance(statements, list) and not all(map(expressions.is_valid, statements)):
            yield f"{at} variables invalid expression syntax"
