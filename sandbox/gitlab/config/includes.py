"""From a configuration file to one merged document: inputs filled in, includes and components resolved.

See lib/gitlab/ci/config/external and lib/gitlab/ci/components of GitLab.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sandbox.gitlab.config import catalog, checks, documents, globs, header, ruby, rule_keywords, rules
from sandbox.gitlab.config.errors import InvalidConfiguration, NotInSandbox
from sandbox.gitlab.config.inheritance import deep_merge
from sandbox.gitlab.config.inputs import refused, resolve
from sandbox.gitlab.config.interpolation import Context, interpolate
from sandbox.gitlab.config.substitution import expanded
from sandbox.gitlab.config.surroundings import Source, Surroundings

_MAXIMUM, _BYTES = 150, 157_286_400  # GitLab's ci_max_includes and ci_max_total_yaml_size_bytes
_KINDS = ("local", "file", "remote", "template", "artifact", "component")
_YAML = re.compile(r".+\.(yml|yaml)$", re.IGNORECASE)
_ADDRESS = re.compile(r"(https?|ssh|git)://[^/\s]+\S*")


class _File(NamedTuple):
    """An included file: how messages name it, where it is, and the component that it belongs to."""

    name: str
    source: Source
    path: str
    component: Mapping[str, Any]


def merged(
    source: Source,
    path: str,
    inputs: Mapping[str, Any],
    around: Surroundings,
    included: list[tuple[str, str, Source]] | None = None,
) -> dict[Any, Any]:
    """The merged configuration of the file `path` with these inputs. Raises InvalidConfiguration.

    `included` gets every included file: the kind of `include`, the path, and where it is.
    """
    text = (source.repository.read(source.sha, path) or b"").decode(errors="replace")
    if ruby.blank(text):
        raise InvalidConfiguration("Please provide content of .gitlab-ci.yml", category="yaml")
    resolver = _Resolver(around)
    resolver.included = [] if included is None else included
    return resolver.with_includes(resolver.content(text, inputs, {}), source, {})


class _Resolver:
    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.scope = around.scope()
        self.included: list[tuple[str, str, Source]] = []
        self.count = 0
        self.bytes = 0
        self.wildcards: set[tuple[str, str]] = set()

    def content(self, text: str, inputs: Any, component: Mapping[str, Any]) -> dict[Any, Any]:
        """A file's content with its inputs filled in."""
        head, content = documents.load(text)
        inputs = {} if inputs is None else inputs
        if not isinstance(inputs, dict):
            raise refused("Given inputs must be a hash")
        if head is None:
            if inputs:
                raise refused("Given inputs not defined in the `spec` section of the included configuration file")
            return content
        if problems := list(header.problems(head)):
            raise refused(*problems)
        spec = head["spec"] or {}
        if spec.get("include"):
            raise NotInSandbox("`spec:include`")
        component_values = {name: component[name] for name in spec.get("component") or () if name in component}
        values = {"inputs": resolve(spec.get("inputs") or {}, inputs), "component": component_values}
        return interpolate(content, Context(values, self.scope.values, self.around.masked))

    def with_includes(self, content: dict[Any, Any], source: Source, component: Mapping[str, Any]) -> dict[Any, Any]:
        """The content put over the files that it includes."""
        written = content.get("include")
        entries = written if isinstance(written, list) else [] if written is None else [written]
        files = list(self.files([entry for entry in entries if entry is not None], source, component))
        if not files:
            return content
        result: dict[Any, Any] = {}
        for file, inputs in files:
            result = deep_merge(result, self.file(file, inputs))
        result = deep_merge(result, content)
        result.pop("include", None)
        return result

    # --- which files --------------------------------------------------------------------------------------------------

    def files(self, entries: list[Any], source: Source, component: Mapping[str, Any]) -> Iterator[tuple[_File, Any]]:
        located = []
        for entry in entries:
            location = self.location(entry)
            if self.passes(location.get("rules")):
                located += self.spread(location, source)
        for location in located:
            expanded = {key: self.expanded(value) for key, value in location.items()}
            self.count += 1
            if self.count > _MAXIMUM:
                raise _refused(f"Maximum of {_MAXIMUM} nested includes are allowed!")
            file = self.located(expanded, source, component)
            kind = "component" if "component" in expanded else "file" if "project" in expanded else "local"
            self.included.append((kind, file.path, file.source))
            yield file, expanded.get("inputs")

    def location(self, entry: Any) -> dict[str, Any]:
        if isinstance(entry, str):
            address = expanded(entry, self.scope.values)
            return {"remote" if _ADDRESS.fullmatch(address) else "local": address}
        if not isinstance(entry, dict):
            raise _refused("Each include must be a hash or a string")
        return entry

    def passes(self, written: Any) -> bool:
        if written is None:
            return True
        if problems := list(rule_keywords.of_include(written)):
            raise _refused(f"include:{problems[0]}")
        try:
            rule = rules.first(checks.flattened(written), self.scope)
        except rules.InvalidRule as error:
            raise _refused(f"include:{error}") from error
        return rule is not None and rule.get("when") != "never"

    def spread(self, location: dict[str, Any], source: Source) -> list[dict[str, Any]]:
        """One location per file."""
        if location.get("project"):
            files = location.get("file")
            return [{**location, "file": file} for file in (files if isinstance(files, list) else [files])]
        local = location.get("local")
        if not isinstance(local, str) or "*" not in local:
            return [location]
        paths = [path for path in globs.wildcard(local, source.paths()) if (source.sha, path) not in self.wildcards]
        self.wildcards.update((source.sha, path) for path in paths)
        return [{**location, "local": path} for path in paths]

    def expanded(self, value: Any) -> Any:
        if isinstance(value, list):
            return [expanded(item, self.scope.values) if isinstance(item, str) else item for item in value]
        return expanded(value, self.scope.values) if isinstance(value, str) else value

    def located(self, location: Mapping[str, Any], source: Source, component: Mapping[str, Any]) -> _File:
        kinds = [kind for kind in _KINDS if not ruby.blank(location.get(kind))]
        if "project" not in location:
            kinds = [kind for kind in kinds if kind != "file"]
        if not kinds:
            shown = json.dumps(location, default=str, separators=(",", ":"))
            names = "`, `".join("project" if kind == "file" else kind for kind in _KINDS)
            raise _refused(f"`{shown}` does not have a valid subkey for include. Valid subkeys are: `{names}`")
        if len(kinds) > 1:
            names = "`, `".join("project" if kind == "file" else kind for kind in _KINDS)
            raise _refused(f"Each include must use only one of: `{names}`")
        (kind,) = kinds
        if kind in ("remote", "template", "artifact"):
            raise NotInSandbox(f"`include:{kind}`")
        name = location[kind]
        if not isinstance(name, str):
            shown = name.written if isinstance(name, documents.Reference) else ruby.text(name)
            raise _refused(f"Included file `{shown}` needs to be a string")
        if kind == "component":
            return self.component(name)
        path = name.lstrip("/")
        if not _YAML.search(path.rpartition("/")[2]):
            raise _refused(f"Included file `{path}` does not have YAML extension!")
        if kind == "local":
            # A file that a component includes sees that component's context.
            return _File(path, source, path, component)
        return _File(path, self.project(location), path, {})

    def project(self, location: Mapping[str, Any]) -> Source:
        written = location["project"]
        path, ref = ruby.text(written[0] if isinstance(written, list) else written).lower(), location.get("ref")
        repository = self.around.find_project(path)
        if repository is None:
            raise _refused(
                f"Project `{path}` not found or access denied! "
                "Make sure any includes in the pipeline configuration are correctly defined."
            )
        ref = "HEAD" if ref is None else ruby.text(ref)
        sha = repository.resolve(ref)
        if sha is None:
            raise _refused(f"Project `{path}` reference `{ref}` does not exist!")
        return Source(path, repository, sha)

    def component(self, address: str) -> _File:
        """`host/group/project/name@version` → where it is, which file, and its `component` context."""
        full_path, at, reference = address.partition("@")
        prefix = f"{self.scope.values['CI_SERVER_FQDN']}/"
        project_path, _, name = full_path.removeprefix(prefix).rpartition("/")
        repository = self.around.find_project(project_path) if at and full_path.startswith(prefix) else None
        if repository is None:
            raise _refused(f"Component '{address}' - content not found")
        # As lib/gitlab/ci/components/instance_path.rb: a version of the catalog, else any tag, branch or commit.
        versions = self.around.catalog_versions(project_path)
        version = None if versions is None else catalog.find(reference, versions)
        sha = versions[version] if versions and version else repository.resolve(reference)
        if sha is None and versions is None and catalog.is_short(reference):
            kind = reference if reference == catalog.LATEST else "partial semantic version"
            raise _refused(
                f"Component '{address}' - The {kind} reference is not supported for non-catalog resources. "
                "Use a tag, branch, or commit SHA instead."
            )
        for path in (f"templates/{name}/template.yml", f"templates/{name}.yml"):
            if sha and repository.read(sha, path):
                context = {"name": name, "reference": reference, "sha": sha, "version": version}
                return _File(address, Source(project_path, repository, sha), path, context)
        raise _refused(f"Component '{address}' - content not found")

    # --- one of them --------------------------------------------------------------------------------------------------

    def file(self, file: _File, inputs: Any) -> dict[Any, Any]:
        source = file.source
        content = source.repository.read(source.sha, file.path)
        where = f"Local file `{file.name}`"
        if source.project_path != self.around.source.project_path:
            where = f"Project `{source.project_path}` file `{file.name}`"
        if content is None:
            raise _refused(f"{where} does not exist!")
        text = content.decode(errors="replace")
        if ruby.blank(text):
            raise _refused(f"{where} is empty!")
        self.bytes += len(content)
        if self.bytes > _BYTES:
            raise _refused("Total size of combined CI/CD configuration is too big")
        try:
            inner = self.content(text, inputs, file.component)
        except NotInSandbox:
            raise
        except InvalidConfiguration as error:
            raise InvalidConfiguration(f"`{file.name}`: {error}", category=error.category) from error
        if not inner:
            raise _refused(f"Included file `{file.name}` does not have valid YAML syntax!")
        return self.with_includes(inner, source, file.component)


def _refused(message: str) -> InvalidConfiguration:
    return InvalidConfiguration(message, category="include")
