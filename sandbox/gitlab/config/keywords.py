"""What the keywords of a job, and of `default`, may be. Each function gets a value that is there and not null.

One function per keyword, named like it, as in lib/gitlab/ci/config/entry of GitLab; `job_keywords.py` knows which
keyword may stand where.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from sandbox.gitlab.config import checks, durations
from sandbox.gitlab.config.ruby import Symbol, blank, text

NAME, PARALLEL, _TAGS, _URL = 255, 200, 50, 255
_ENVIRONMENT = re.compile(r"[a-zA-Z0-9_${}. -]([a-zA-Z0-9_/${}. -]*[a-zA-Z0-9_${}. -])?")
_ENVIRONMENT_MESSAGE = (
    "name can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', and spaces, "
    "but it cannot start or end with '/'"
)
FAILURE_REASONS = (
    "unknown_failure script_failure api_failure stuck_or_timeout_failure runner_system_failure "
    "missing_dependency_failure runner_unsupported stale_schedule job_execution_timeout archived_failure "
    "unmet_prerequisites scheduler_failure data_integrity_failure forward_deployment_failure user_blocked "
    "project_deleted ci_quota_exceeded pipeline_loop_detected no_matching_runner trace_size_exceeded builds_disabled "
    "environment_creation_failure deployment_rejected failed_outdated_deployment_job job_execution_server_timeout "
    "protected_environment_failure insufficient_bridge_permissions downstream_bridge_project_not_found "
    "invalid_bridge_trigger upstream_bridge_project_not_found insufficient_upstream_permissions "
    "bridge_pipeline_is_child_pipeline downstream_pipeline_creation_failed secrets_provider_not_found "
    "reached_max_descendant_pipelines_depth ip_restriction_failure reached_max_pipeline_hierarchy_size "
    "reached_downstream_pipeline_trigger_rate_limit duo_workflow_not_allowed job_router_failure job_token_expired"
).split()


def commands(value: Any, at: str) -> Iterator[str]:
    """`script` and its neighbours."""
    if not checks.is_commands(value):
        yield f"{at} config should be a string or a nested array of strings up to {checks.NESTING} levels deep"


def hooks(value: Any, at: str) -> Iterator[str]:
    yield from checks.mapping(value, ("pre_get_sources_script",), at)
    if isinstance(value, dict) and value.get("pre_get_sources_script") is not None:
        yield from commands(value["pre_get_sources_script"], f"{at}:pre_get_sources_script")


def boolean(value: Any, at: str) -> Iterator[str]:
    if not checks.is_boolean(value):
        yield f"{at} config should be a boolean value"


def stage(value: Any, at: str) -> Iterator[str]:
    if not checks.is_text(value):
        yield f"{at} config should be a string"


def timeout(value: Any, at: str) -> Iterator[str]:
    yield from checks.duration(value, f"{at} config", durations.MONTH)


def tags(value: Any, at: str) -> Iterator[str]:
    if not checks.is_texts(value):
        yield f"{at} config should be an array of strings"
    elif len({tag.strip() for each in value for tag in each.split(",") if tag.strip()}) >= _TAGS:
        yield f"{at} config must be less than the limit of {_TAGS} tags"


def coverage(value: Any, at: str) -> Iterator[str]:
    if not checks.is_pattern(value):
        yield f"{at} config must be a regular expression with re2 syntax"


def retry(value: Any, at: str) -> Iterator[str]:
    at = at.rpartition(":")[0] + ":retry" if ":" in at else "retry"
    if checks.is_integer(value):
        yield from _retries(value, f"{at} config")
    elif not isinstance(value, dict):
        yield f"{at} config has to be either an integer or a hash"
    else:
        yield from checks.keys(value, ("max", "when", "exit_codes"), at)
        if value.get("max") is not None:
            yield from _retries(value["max"], f"{at} max")
        when = value.get("when")
        if when is not None and not checks.is_texts_or_text(when):
            yield f"{at} when should be an array of strings or a string"
        elif unknown := [each for each in checks.flattened(when) if each not in (*FAILURE_REASONS, "always", None)]:
            yield f"{at} when contains unknown values: {', '.join(map(text, unknown))}"
        message = "should be an array of integers or an integer"
        yield from checks.member(value, "exit_codes", checks.is_integers_or_integer, message, at)


def _retries(value: Any, at: str) -> Iterator[str]:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value) else value
    if not checks.is_integer(number):
        yield f"{at} must be an integer"
    elif not 0 <= number <= 2:
        yield f"{at} must be {'greater than or equal to 0' if number < 0 else 'less than or equal to 2'}"


def allow_failure(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict | bool):
        yield f"{at} config should be a hash or a boolean value"
    elif isinstance(value, dict):
        yield from checks.keys(value, ("exit_codes",), at)
        message = "should be an array of integers or an integer"
        yield from checks.member(value, "exit_codes", checks.is_integers_or_integer, message, at)


def parallel(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from checks.keys(value, ("matrix",), at)
        yield from checks.required(value, ("matrix",), at)
        if value.get("matrix") is not None:
            yield from _matrix(value["matrix"], f"{at}:matrix")
    elif not isinstance(value, int | float) or isinstance(value, bool):
        yield f"{at} should be an integer or a hash"
    elif not checks.is_integer(value):
        yield f"{at} config must be an integer"
    elif not 1 <= value <= PARALLEL:
        limit = "greater than or equal to 1" if value < 1 else f"less than or equal to {PARALLEL}"
        yield f"{at} config must be {limit}"


def _matrix(value: Any, at: str) -> Iterator[str]:
    if not checks.is_hashes(value):
        yield f"{at} config should be an array of hashes"
        return
    count = 0
    for variables in value:
        lists = [each if isinstance(each, list) else [each] for each in variables.values()]
        if not all(map(checks.is_alphanumeric, [*variables, *(item for each in lists for item in each)])):
            yield f"{at} config should be a hash of key value pairs, value can be an array"
        if not variables:
            yield f"{at} config requires at least 1 items"
        product = 1
        for each in lists:
            product *= len(each)
        count += product
    if count > PARALLEL:
        yield f"{at} config generates too many jobs (maximum is {PARALLEL})"


def id_tokens(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at} config should be a hash"
        return
    for name, token in value.items():
        token = {} if token is None else token
        if isinstance(token, dict):
            yield from checks.required(token, ("aud",), f"{at}:{text(name)}")
            yield from checks.keys(token, ("aud",), f"{at}:{text(name)}")
        if not isinstance(token, dict) or not checks.is_texts_or_text(token.get("aud")):
            yield f"{at}:{text(name)} aud should be an array of strings or a string"


def variables(value: Any, at: str, data: Collection[str]) -> Iterator[str]:
    """`data`: what a variable that is a mapping may say; none may be one if it is empty."""
    if not isinstance(value, dict):
        yield f"{at} config should be a hash"
        return
    for name, variable in value.items():
        where = f"{at}:{text(name).lower()}"
        if not checks.is_alphanumeric(name):
            yield f"{where} key must be an alphanumeric string"
        if variable is not None and not isinstance(variable, dict):
            if not checks.is_scalar(variable):
                yield "variable definition must be either a string or a hash"
            continue
        yield from _variable(variable or {}, where, data)


def _variable(variable: dict[Any, Any], at: str, data: Collection[str]) -> Iterator[str]:
    yield from checks.member(variable, "value", checks.is_scalar, "must be a scalar", f"{at} config")
    yield from checks.member(
        variable, "description", checks.is_alphanumeric, "must be an alphanumeric string", f"{at} config"
    )
    yield from checks.member(variable, "expand", checks.is_boolean, "should be a boolean value", f"{at} config")
    yield from checks.member(variable, "options", checks.is_texts, "should be an array of strings", f"{at} config")
    if not data:
        yield f"{at} config must be a string"
    elif extra := [text(key) for key in variable if key not in data]:
        yield f"{at} config uses invalid data keys: {', '.join(extra)}"
    options = variable.get("options")
    if isinstance(options, list) and options and variable.get("value") not in options:
        yield f"{at} config value must be present in options"


def environment(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict | str) or isinstance(value, Symbol):
        yield f"{at} config should be a hash or a string"
    details = value if isinstance(value, dict) else {"name": value}
    name = details.get("name")
    if blank(name):
        yield f"{at} name can't be blank"
    if not isinstance(name, str) or isinstance(name, Symbol) or not _ENVIRONMENT.fullmatch(name):
        yield f"{at} {_ENVIRONMENT_MESSAGE}"
    if not isinstance(value, dict):
        return
    yield from checks.keys(value, "name url action on_stop auto_stop_in kubernetes deployment_tier".split(), at)
    for key in ("url", "deployment_tier", "on_stop", "auto_stop_in"):
        yield from checks.member(value, key, checks.is_text, "should be a string", at)
    if checks.is_text(value.get("url")) and len(value["url"]) > _URL:
        yield f"{at} url is too long (maximum is {_URL} characters)"
    actions = ("start", "stop", "prepare", "verify", "access")
    message = "should be start, stop, prepare, verify, or access"
    yield from checks.member(value, "action", lambda action: action in actions, message, at)
    if value.get("kubernetes") is not None:
        yield from _kubernetes(value["kubernetes"], f"{at}:kubernetes")


def _kubernetes(value: Any, at: str) -> Iterator[str]:
    names = ("namespace", "agent", "flux_resource_path", "managed_resources", "dashboard")
    yield from checks.mapping(value, names, at)
    if blank(value):
        yield f"{at} config can't be blank"
    if not isinstance(value, dict):
        return
    for key in ("namespace", "agent"):
        yield from checks.member(value, key, checks.is_text, "should be a string", at)
    dashboard, managed = value.get("dashboard"), value.get("managed_resources")
    if not blank(value.get("flux_resource_path")):
        yield from checks.present(value, "namespace", at)
    if not blank(value.get("flux_resource_path")) or dashboard or (managed or {}).get("enabled") is True:
        yield from checks.present(value, "agent", at)
    if managed is not None and not (
        isinstance(managed, dict) and set(managed) <= {"enabled"} and all(map(checks.is_boolean, managed.values()))
    ):
        yield f"{at} managed resources must be a valid json schema"
    if dashboard and not (
        isinstance(dashboard, dict)
        and set(dashboard) <= {"namespace", "flux_resource_path"}
        and not blank(dashboard.get("namespace"))
        and all(map(checks.is_text, dashboard.values()))
    ):
        yield f"{at} dashboard must be a valid json schema"
