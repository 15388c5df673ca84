"""Configurations of GitLab as tests compile them in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sandbox.gitlab.config.compiler import Compiled, compile_pipeline
from sandbox.gitlab.config.includes import merged
from sandbox.gitlab.config.substitution import Variable
from sandbox.gitlab.config.surroundings import Source, Surroundings
from sandbox.gitlab.records.jobspec import CompiledJob


class Entry(NamedTuple):
    path: str
    type: str = "blob"


class Texts:
    """A repository of these files."""

    def __init__(self, files: Mapping[str, str], refs: Mapping[str, str] | None = None) -> None:
        self.files, self.refs = files, refs or {}

    def read(self, ref: str, path: str) -> bytes | None:
        return self.files[path].encode() if path in self.files else None

    def resolve(self, ref: str) -> str | None:
        return self.refs.get(ref)

    def tree(self, ref: str, path: str = "", *, recursive: bool = False) -> Sequence[Entry]:
        return [Entry(name) for name in sorted(self.files)]


PUSH = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF_NAME": "main", "CI_SERVER_FQDN": "h"}


def compiled(
    text: str,
    predefined: Mapping[str, str] = PUSH,
    stronger_variables: Sequence[Variable] = (),
    inputs: Mapping[str, Any] | None = None,
    **more: Any,
) -> Compiled:
    files = {".gitlab-ci.yml": text, **more.pop("files", {})}
    source = Source("group/project", Texts(files), "0" * 40)
    around = Surroundings(predefined, source, stronger_variables=lambda environment: stronger_variables, **more)
    return compile_pipeline(merged(source, ".gitlab-ci.yml", inputs or {}, around), around)


def jobs(text: str, *arguments: Any, **more: Any) -> dict[str, CompiledJob]:
    return {job.name: job for job in compiled(text, *arguments, **more).jobs}
