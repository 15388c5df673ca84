"""From a commit's `.gitlab-ci.yml` to one merged document: inputs filled in, includes and components resolved.

Called by `pipelines.py`; the result goes to gitlab-ci-local (`compiler.py`), which knows `extends`, `!reference` and
rules. Includes are ours because gitlab-ci-local would clone them, races itself doing so, and is lax about inputs.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from sandbox.gitlab import catalog
from sandbox.gitlab.expansion import expand
from sandbox.gitlab.inputs import InvalidInput, interpolate, resolve
from sandbox.gitlab.repositories import Repository

_MAXIMUM = 150
_SPEC_KEYS = {"inputs", "component", "description"}
_COMPONENT_KEYS = {"name", "reference", "sha", "version"}


class InvalidConfiguration(Exception):
    """The CI/CD configuration is invalid; the message is what GitLab shows as `yaml_errors`."""


class Reference(list[str]):
    """`!reference [job, keyword]`, carried through to gitlab-ci-local."""


class _Loader(yaml.CSafeLoader):
    pass


class Dumper(yaml.CSafeDumper):
    """Writes what `load` read, `!reference` included, and spells repeated values out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _reference(loader: _Loader, node: yaml.SequenceNode) -> Reference:
    return Reference(loader.construct_sequence(node))


# A date stays the text it is written as; GitLab has no use for dates either.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor("!reference", _reference)
Dumper.add_representer(
    Reference, lambda dumper, data: dumper.represent_sequence("!reference", list(data), flow_style=True)
)


class Source(NamedTuple):
    """Where a file comes from: a repository at a commit; local includes look there."""

    project_path: str
    repository: Repository
    sha: str


class Surroundings(NamedTuple):
    """What resolving includes needs from the server."""

    server_fqdn: str
    variables: Mapping[str, str]
    find_project: Callable[[str], Repository | None]
    rules_match: Callable[[Sequence[Any]], bool]
    # Published version → commit; None for a project that is not in the catalog.
    catalog_versions: Callable[[str], Mapping[str, str] | None]


def load(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header (`spec:`) and the content of a configuration file. Raises InvalidConfiguration."""
    try:
        documents = [d for d in yaml.load_all(text, Loader=_Loader) if d is not None]
    except (yaml.YAMLError, TypeError) as error:
        raise InvalidConfiguration(f"Invalid configuration format: {' '.join(str(error).split())}") from error
    if not all(isinstance(document, dict) for document in documents):
        raise InvalidConfiguration("Invalid configuration format")
    has_header = bool(documents) and "spec" in documents[0]
    header = documents.pop(0) if has_header else {}
    return header, documents[0] if documents else {}


def merged(source: Source, path: str, given: Mapping[str, Any], surroundings: Surroundings) -> dict[str, Any]:
    """The merged configuration of the file `path`. Raises InvalidConfiguration."""
    return _Resolver(surroundings).file(source, path, given, component=None)


class _Resolver:
    def __init__(self, surroundings: Surroundings) -> None:
        self.around = surroundings
        self.count = 0

    def file(
        self, source: Source, path: str, given: Mapping[str, Any], component: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        self.count += 1
        if self.count > _MAXIMUM + 1:
            raise InvalidConfiguration(f"Maximum of {_MAXIMUM} nested includes are allowed!")
        content = source.repository.read(source.sha, path)
        if content is None:
            raise InvalidConfiguration(f"Local file `{path}` does not exist!")
        header, body = load(content.decode(errors="replace"))
        try:
            body = interpolate(body, _context(header, given, component), self.around.variables)
        except InvalidInput as error:
            raise InvalidConfiguration(f"`{path}`: {error}") from error
        result: dict[str, Any] = {}
        for entry in _entries(body.pop("include", [])):
            if "rules" in entry and not self.around.rules_match(entry["rules"]):
                continue
            for included in self.include(source, entry, component):
                result = deep_merge(result, included)
        return deep_merge(result, body)

    def include(
        self, source: Source, entry: Mapping[str, Any], component: Mapping[str, Any] | None
    ) -> list[dict[str, Any]]:
        where = {key: self.expanded(value) for key, value in entry.items() if key not in ("inputs", "rules")}
        given = entry.get("inputs") or {}
        if "local" in where:
            paths = _matching(source, where["local"].lstrip("/"))
            # A file that a component includes sees that component's context.
            return [self.file(source, path, given, component) for path in paths]
        if "component" in where:
            target, path, context = self.component(where["component"])
            return [self.file(target, path, given, context)]
        if "project" in where:
            files = where.get("file", [])
            target = self.project(where["project"], where.get("ref", "HEAD"))
            paths = [files] if isinstance(files, str) else files
            return [self.file(target, path.lstrip("/"), given, None) for path in paths]
        raise InvalidConfiguration(f"the sandbox does not resolve include: {', '.join(where) or entry}")

    def expanded(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.expanded(item) for item in value]
        return expand(value, self.around.variables) if isinstance(value, str) else value

    def project(self, path: str, ref: str) -> Source:
        repository = self.around.find_project(path)
        if repository is None:
            raise InvalidConfiguration(
                f"Project `{path}` not found or access denied! "
                "Make sure any includes in the pipeline configuration are correctly defined."
            )
        sha = repository.resolve(ref)
        if sha is None:
            raise InvalidConfiguration(f"Project `{path}` reference `{ref}` does not exist!")
        return Source(path, repository, sha)

    def component(self, address: str) -> tuple[Source, str, dict[str, Any]]:
        """`host/group/project/name@version` → where it is, which file, and its `component` context."""
        full_path, at, reference = address.partition("@")
        prefix = f"{self.around.server_fqdn}/"
        project_path, _, name = full_path.removeprefix(prefix).rpartition("/")
        repository = self.around.find_project(project_path) if at and full_path.startswith(prefix) else None
        if repository is None:
            raise InvalidConfiguration(f"Component '{address}' - content not found")
        # As lib/gitlab/ci/components/instance_path.rb: a version of the catalog, else any tag, branch or commit.
        versions = self.around.catalog_versions(project_path)
        version = None if versions is None else catalog.find(reference, versions)
        sha = versions[version] if versions and version else repository.resolve(reference)
        if sha is None and versions is None and catalog.is_short(reference):
            kind = reference if reference == catalog.LATEST else "partial semantic version"
            raise InvalidConfiguration(
                f"Component '{address}' - The {kind} reference is not supported for non-catalog resources. "
                "Use a tag, branch, or commit SHA instead."
            )
        for path in (f"templates/{name}/template.yml", f"templates/{name}.yml"):
            if sha and repository.entry(sha, path):
                context = {"name": name, "reference": reference, "sha": sha, "version": version}
                return Source(project_path, repository, sha), path, context
        raise InvalidConfiguration(f"Component '{address}' - content not found")


def _context(
    header: Mapping[str, Any], given: Mapping[str, Any], component: Mapping[str, Any] | None
) -> dict[str, Any]:
    if given and not header:
        raise InvalidInput("Given inputs not defined in the `spec` section of the included configuration file")
    spec = header.get("spec") or {}
    if unknown := set(spec) - _SPEC_KEYS:
        raise InvalidInput(f"header:spec config contains unknown keys: {', '.join(sorted(unknown))}")
    context: dict[str, Any] = {"inputs": resolve(spec.get("inputs") or {}, given)} if header else {}
    if wanted := spec.get("component"):
        if component is None:
            raise InvalidInput("header:spec:component can only be used in a component")
        if unknown := set(wanted) - _COMPONENT_KEYS:
            raise InvalidInput(f"header:spec:component config contains unknown values: {', '.join(sorted(unknown))}")
        context["component"] = {key: component[key] for key in wanted}
    return context


def _entries(include: Any) -> list[dict[str, Any]]:
    entries = include if isinstance(include, list) else [include]
    return [{"local": entry} if isinstance(entry, str) else entry for entry in entries]


def _matching(source: Source, pattern: str) -> list[str]:
    if "*" not in pattern:
        return [pattern]
    names = [entry.path for entry in source.repository.tree(source.sha, recursive=True) if entry.type == "blob"]
    found = [name for name in names if fnmatch.fnmatchcase(name, pattern.replace("**", "*"))]
    if not found:
        raise InvalidConfiguration(f"Local file `{pattern}` does not exist!")
    return found


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as `include` does: mappings merge, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = deep_merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
