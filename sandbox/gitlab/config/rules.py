"""Which rule of a list matches: `if`, `changes` and `exists`, all that a rule has. For jobs, workflows and includes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.gitlab.config import expressions, globs
from sandbox.gitlab.config.substitution import expanded_existing
from sandbox.gitlab.config.surroundings import Scope, Source


class InvalidRule(Exception):
    """A rule that names a project or ref that is not there."""


def first(rules: Sequence[Mapping[str, Any]], scope: Scope) -> Mapping[str, Any] | None:
    """The first rule that matches. Raises InvalidRule."""
    return next((rule for rule in rules if matches(rule, scope)), None)


def matches(rule: Mapping[str, Any], scope: Scope) -> bool:
    """Whether every condition of the rule holds. Raises InvalidRule."""
    condition = rule.get("if")
    if condition is not None and not expressions.holds(condition, scope.values):
        return False
    changes, existing = rule.get("changes"), rule.get("exists")
    return (changes is None or _changed(changes, scope)) and (existing is None or _exists(existing, scope))


def _changed(written: Any, scope: Scope) -> bool:
    paths: Any = written.get("paths") if isinstance(written, dict) else written
    compare_to = written.get("compare_to") if isinstance(written, dict) else None
    try:
        changed = scope.around.changed(None if compare_to is None else expanded_existing(compare_to, scope.expanded))
    except LookupError as error:
        raise InvalidRule("rules:changes:compare_to is not a valid ref") from error
    if changed is None:
        return True
    patterns = [expanded_existing(path, scope.expanded) for path in paths or ()]
    return any(globs.matches(pattern, path) for pattern in patterns for path in changed)


def _exists(written: Any, scope: Scope) -> bool:
    details = written if isinstance(written, dict) else {"paths": written}
    paths = details.get("paths") or []
    patterns = [expanded_existing(path, scope.expanded) for path in (paths if isinstance(paths, list) else [paths])]
    if not patterns:
        return False
    return globs.exists(patterns, _source(details, scope).paths())


def _source(details: Mapping[str, Any], scope: Scope) -> Source:
    """Where to look: this commit, or another project."""
    if not details.get("project"):
        return scope.around.source
    project = expanded_existing(details["project"], scope.expanded)
    repository = scope.around.find_project(project)
    if repository is None:
        raise InvalidRule(f"rules:exists:project `{project}` not found or access denied")
    ref = "HEAD" if details.get("ref") is None else expanded_existing(details["ref"], scope.expanded)
    sha = repository.resolve(ref)
    if sha is None:
        raise InvalidRule(f"rules:exists:ref `{ref}` is not a valid ref in project `{project}`")
    return Source(project, repository, sha)
