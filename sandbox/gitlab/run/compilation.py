"""From a pipeline's record to its jobs: what the engine in `config/` needs of the server, and what the runner lacks.

Called by `pipelines.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sandbox.gitlab.config.compiler import compile_pipeline
from sandbox.gitlab.config.errors import NoPipeline, NotInSandbox
from sandbox.gitlab.config.includes import merged
from sandbox.gitlab.config.substitution import Variable
from sandbox.gitlab.config.surroundings import Source, Surroundings
from sandbox.gitlab.records.git import NO_COMMIT, Repository
from sandbox.gitlab.records.jobspec import CompiledJob
from sandbox.gitlab.records.store import Pipeline, Store
from sandbox.gitlab.run import variables

CONFIGURATION = ".gitlab-ci.yml"


def jobs_of(pipeline: Pipeline, store: Store) -> list[CompiledJob]:
    """The jobs; the record learns what `auto_cancel` says. Raises InvalidConfiguration and NoPipeline."""
    around = _surroundings(pipeline, store)
    compiled = compile_pipeline(merged(around.source, CONFIGURATION, pipeline.inputs, around), around)
    pipeline.on_new_commit = compiled.auto_cancel.get("on_new_commit") or pipeline.on_new_commit
    for job in compiled.jobs:
        _refuse_lacking(job)
    return compiled.jobs


class Linted(NamedTuple):
    """A configuration that GitLab takes: merged, with the files that it includes (kind, path, where)."""

    merged: dict[Any, Any]
    included: list[tuple[str, str, Source]]
    jobs: list[CompiledJob]
    no_pipeline: str | None  # why these rules make none


def linted(pipeline: Pipeline, store: Store, content: str | None) -> Linted:
    """Compile for a pipeline that is not to be; `content` stands for the file. Raises InvalidConfiguration."""
    around = _surroundings(pipeline, store)
    source = around.source
    if content is not None:
        source = source._replace(repository=_Edited(pipeline.project.repository, content))
    included: list[tuple[str, str, Source]] = []
    configuration = merged(source, CONFIGURATION, {}, around, included)
    try:
        return Linted(configuration, included, compile_pipeline(configuration, around).jobs, None)
    except NoPipeline as error:
        return Linted(configuration, included, [], str(error))


class _Edited:
    """A repository with another configuration."""

    def __init__(self, repository: Repository, content: str) -> None:
        self._repository, self._content = repository, content
        self.resolve, self.tree = repository.resolve, repository.tree

    def read(self, ref: str, path: str) -> bytes | None:
        return self._content.encode() if path == CONFIGURATION else self._repository.read(ref, path)


def _surroundings(pipeline: Pipeline, store: Store) -> Surroundings:
    project = pipeline.project

    def stronger_variables(environment: str | None) -> list[Variable]:
        settings = variables.of_settings(project, protected=pipeline.protected, environment=environment)
        return [
            *(Variable(each.key, each.value, each.raw) for each in settings),
            *(Variable(key, value) for key, value in pipeline.variables.items()),
        ]

    def find_project(path: str) -> Repository | None:
        other = store.find_project(path)
        visible = other and (other.visibility != "private" or store.access_level(pipeline.user, other))
        return other.repository if other and visible else None

    def catalog_versions(path: str) -> dict[str, str] | None:
        other = store.find_project(path)
        return other.catalog_versions if other and other.catalog else None

    settings = variables.of_settings(project, protected=pipeline.protected, environment=None)
    return Surroundings(
        pipeline.commit_variables,
        Source(project.full_path, project.repository, pipeline.sha),
        stronger_variables=stronger_variables,
        masked=frozenset(each.key for each in settings if each.masked) - pipeline.variables.keys(),
        changed=lambda compare_to: _changed(pipeline, compare_to),
        find_project=find_project,
        catalog_versions=catalog_versions,
    )


def _changed(pipeline: Pipeline, compare_to: str | None) -> list[str] | None:
    """The paths that `changes` looks at: https://docs.gitlab.com/ci/yaml/#ruleschanges.

    Those since a ref, of a merge request or of a push; None for anything else. Raises LookupError for no ref.
    """
    repository = pipeline.project.repository
    base = _base(pipeline)
    if compare_to is not None:
        sha = repository.resolve(compare_to)
        if sha is None:
            raise LookupError(compare_to)
        base = repository.git("merge-base", sha, pipeline.sha).decode().strip()
    if base is None:
        return None
    names = repository.git("diff", "--name-only", "--no-renames", "-z", base, pipeline.sha)
    return [name for name in names.decode(errors="replace").split("\0") if name]


def _base(pipeline: Pipeline) -> str | None:
    """The commit that `changes` compares with if the configuration names none."""
    if pipeline.merge_request:
        target = pipeline.merge_request.target_branch
        return pipeline.project.repository.git("merge-base", target, pipeline.sha).decode().strip()
    pushed = pipeline.source == "push" and not pipeline.tag and pipeline.before_sha != NO_COMMIT
    return pipeline.before_sha if pushed else None


def _refuse_lacking(job: CompiledJob) -> None:
    """What GitLab takes and this runner would pass over."""
    lacking = {
        "when: delayed": job.when == "delayed",
        "inputs": "inputs" in job.config,
        "hooks": "hooks" in job.config,
    }
    for keyword, used in lacking.items():
        if used:
            raise NotInSandbox(f"`{keyword}` (job {job.name})")
