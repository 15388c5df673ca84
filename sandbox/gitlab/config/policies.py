"""`only` and `except`, which say when a job without `rules` is part of a pipeline.

https://docs.gitlab.com/ci/yaml/deprecated_keywords/#only--except
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.gitlab.config import expressions, globs
from sandbox.gitlab.config.patterns import between_slashes, is_between_slashes
from sandbox.gitlab.config.surroundings import Scope


def includes(only: Mapping[str, Any] | None, without: Mapping[str, Any] | None, scope: Scope) -> bool:
    """Everything that `only` says has to hold, and nothing that `except` says."""
    return all(_answers(only or {}, scope)) and not any(_answers(without or {}, scope))


def _answers(policy: Mapping[str, Any], scope: Scope) -> Iterator[bool]:
    for kind, value in policy.items():
        if kind == "refs":
            yield any(_is_of(ref, scope.around.predefined) for ref in value)
        elif kind == "variables":
            yield any(expressions.holds(condition, scope.values) for condition in value)
        elif kind == "changes":
            changed = scope.around.changed(None)
            yield changed is None or any(globs.matches(glob, path) for glob in value for path in changed)
        else:
            yield False  # kubernetes: no cluster is connected


def _is_of(written: str, predefined: Mapping[str, str]) -> bool:
    pattern, _, path = written.partition("@")
    if path and predefined.get("CI_PROJECT_PATH") != path:
        return False
    source = predefined.get("CI_PIPELINE_SOURCE", "").removesuffix("_event")
    tag, branch = "CI_COMMIT_TAG" in predefined, "CI_COMMIT_BRANCH" in predefined
    if (tag and pattern == "tags") or (branch and pattern == "branches") or pattern in (source, _plural(source)):
        return True
    if not (tag or branch):
        return False  # names of refs count for branches and tags alone
    ref = predefined.get("CI_COMMIT_REF_NAME", "")
    return between_slashes(pattern).found_in(ref) if is_between_slashes(pattern) else pattern == ref


def _plural(source: str) -> str:
    return f"{source}es" if source.endswith("sh") else f"{source}s"
