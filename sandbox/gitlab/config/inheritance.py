"""`extends` and `!reference` filled in, on the merged configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.gitlab.config import ruby
from sandbox.gitlab.config.documents import Reference
from sandbox.gitlab.config.errors import InvalidConfiguration

_MAX_LEVELS = 10
EDGES = (".pre", ".post")


def deep_merge(base: Mapping[Any, Any], over: Mapping[Any, Any]) -> dict[Any, Any]:
    """Mappings merge, everything else is replaced."""
    result = ruby.Symbols(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = deep_merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def extended(configuration: Mapping[Any, Any]) -> dict[Any, Any]:
    """Every `extends` replaced by what it names. Raises InvalidConfiguration."""
    result = ruby.Symbols(configuration)
    for key in configuration:
        _extend(key, result, ())
    return result


def _extend(key: Any, configuration: dict[Any, Any], ancestors: tuple[Any, ...]) -> dict[Any, Any]:
    value = configuration[key]
    if not isinstance(value, dict) or "extends" not in value:
        return value
    written = value["extends"]
    bases = [] if written is None else list(map(ruby.text, written if isinstance(written, list) else [written]))
    if unknown := [base for base in bases if base not in configuration]:
        raise _refused(f"{key}: unknown keys in `extends` ({', '.join(unknown)})")
    if wrong := [base for base in bases if not isinstance(configuration[base], dict)]:
        raise _refused(f"{key}: invalid base hashes in `extends` ({', '.join(wrong)})")
    if len(ancestors) > _MAX_LEVELS:
        raise _refused(f"{key}: nesting too deep in `extends`")
    if key in ancestors:
        raise _refused(f"{key}: circular dependency detected in `extends`")
    merged: dict[Any, Any] = {}
    for base in bases:
        merged = deep_merge(merged, _extend(base, configuration, (*ancestors, key)))
    configuration[key] = deep_merge(merged, value)
    return configuration[key]  # type: ignore[no-any-return]


def _refused(message: str) -> InvalidConfiguration:
    return InvalidConfiguration(message, category="extends")


def with_references(configuration: Mapping[Any, Any]) -> dict[Any, Any]:
    """Every `!reference` replaced by what it names. Raises InvalidConfiguration."""
    return _References(configuration).resolved(configuration)  # type: ignore[no-any-return]


class _References:
    def __init__(self, configuration: Mapping[Any, Any]) -> None:
        self._configuration = configuration
        self._open: set[tuple[str, ...]] = set()
        self._done: dict[tuple[str, ...], Any] = {}

    def resolved(self, value: Any) -> Any:
        if isinstance(value, dict):
            return ruby.Symbols((key, self.resolved(inner)) for key, inner in value.items())
        if isinstance(value, list):
            return [self.resolved(item) for item in value]
        return self._resolved(value) if isinstance(value, Reference) else value

    def _resolved(self, reference: Reference) -> Any:
        if reference.path is None:
            raise self._refused(f"!reference {reference.written} is not valid")
        path = tuple(reference.path)
        if path in self._open:
            raise self._refused(f"!reference {reference.written} is part of a circular chain")
        if path not in self._done:
            self._open.add(path)
            value = self.resolved(self._at(path))
            if value is None or value is False:
                raise self._refused(f"!reference {reference.written} could not be found")
            self._open.remove(path)
            self._done[path] = value
        return self._done[path]

    def _at(self, path: tuple[str, ...]) -> Any:
        value: Any = self._configuration
        for key in path:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    @staticmethod
    def _refused(message: str) -> InvalidConfiguration:
        return InvalidConfiguration(message, category="reference")


def with_edge_stages(configuration: Mapping[Any, Any]) -> dict[Any, Any]:
    """`.pre` before and `.post` after the stages that are listed."""
    result = ruby.Symbols(configuration)
    stages = result.get("stages")
    if isinstance(stages, list) and stages:
        result["stages"] = wrapped(stages)
    return result


def wrapped(stages: list[Any]) -> list[Any]:
    return [EDGES[0], *(stage for stage in stages if stage not in EDGES), EDGES[1]]
