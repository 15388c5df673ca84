"""What the engine needs to know besides the configuration: files, variables, other projects, the kind of pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from sandbox.gitlab.config.substitution import Variable, all_expanded, values


class Entry(Protocol):
    """A file or folder of a commit."""

    @property
    def path(self) -> str: ...

    @property
    def type(self) -> str: ...


class Files(Protocol):
    """A Git repository, as far as the engine looks into one."""

    def read(self, ref: str, path: str) -> bytes | None: ...

    def resolve(self, ref: str) -> str | None: ...

    def tree(self, ref: str, path: str = "", *, recursive: bool = False) -> Sequence[Entry]: ...


class Source(NamedTuple):
    """Where a file comes from: a project's repository at a commit; local includes look there."""

    project_path: str
    repository: Files
    sha: str

    def paths(self) -> list[str]:
        """Every file of the commit."""
        return [entry.path for entry in self.repository.tree(self.sha, recursive=True) if entry.type == "blob"]


def nothing_known(compare_to: str | None) -> list[str] | None:
    """No commit to compare with: then `changes` counts everything as changed."""
    return None


class Surroundings:
    """One pipeline that is to be created.

    `predefined` are GitLab's own variables, weaker than those of the configuration; `stronger_variables` gives those of
    the settings and the pipeline, for a job of an environment or of none. `changed` gives the paths that a push
    changed, None if GitLab cannot tell, or those since a ref; it raises LookupError for a ref that is none.
    `catalog_versions` gives published version → commit, None for a project that is not in the catalog.
    """

    def __init__(
        self,
        predefined: Mapping[str, str],
        source: Source,
        *,
        stronger_variables: Callable[[str | None], Sequence[Variable]] = lambda environment: (),
        masked: frozenset[str] = frozenset(),
        changed: Callable[[str | None], list[str] | None] = nothing_known,
        find_project: Callable[[str], Files | None] = lambda path: None,
        catalog_versions: Callable[[str], Mapping[str, str] | None] = lambda path: None,
    ) -> None:
        self.predefined = predefined
        self.source = source
        self.stronger_variables = stronger_variables
        self.masked = masked
        self.changed = changed
        self.find_project = find_project
        self.catalog_versions = catalog_versions

    def scope(self, *configured: Mapping[str, Any], environment: str | None = None) -> Scope:
        """The variables of a job, or without arguments of an `include`; later mappings of `configured` win."""
        merged = {key: data for layer in configured for key, data in layer.items()}
        variables = [Variable(key, data["value"], data.get("raw", False)) for key, data in merged.items()]
        predefined = [Variable(key, value) for key, value in self.predefined.items()]
        return Scope(self, [*predefined, *variables, *self.stronger_variables(environment)])


class Scope:
    """The variables that one job's rules see."""

    def __init__(self, around: Surroundings, variables: Sequence[Variable]) -> None:
        self.around = around
        self.variables = variables

    @cached_property
    def values(self) -> dict[str, str]:
        """As written: `if` compares these."""
        return values(self.variables)

    @cached_property
    def expanded(self) -> dict[str, str]:
        """With mentions of others replaced: patterns of files may name these."""
        return all_expanded(self.variables)
