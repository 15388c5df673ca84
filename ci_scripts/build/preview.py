"""What would be deployed, in Markdown: the model package beside the one before it, and each stage against what it was.

Pure; called by exporter.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from ci_scripts import merge_request, registry, text
from ci_scripts.build import template
from ci_scripts.export import Export
from ci_scripts.registry import ModelPackage

_MOST = 60  # lines of one stage

# What build itself sets: the model package is told above all stages.
_PACKAGE_NAME = "ModelPackageName"

_HELD_OUT = "HeldOutDataUri"
"""The property of a model package that names its held-out rows."""


class Before(NamedTuple):
    """What a stage was before."""

    export: Export
    where: str
    """Where it is known from, as Markdown: `the newest successful pipeline of main`."""
    properties: Mapping[str, str] = {}
    """CustomerMetadataProperties of its model package, as far as they can be read."""


def lines(
    package: ModelPackage | None, group: str, drafts: Sequence[Export], earlier: Mapping[str, Before]
) -> list[str]:
    """The preview of a deployment. `drafts` are the stages' exports, `earlier` what they were before, by stage."""
    markdown = [f"## Deployment preview: {text.cell(str(package)) if package else 'no model package yet'}", ""]
    if package is None:
        markdown.append(f"No version of {text.code(group)} is approved yet: the first approval will deploy this.")
    elif earlier:
        markdown += _versions(package, list(earlier.values()))
    for draft in drafts:
        markdown += ["", f"### {draft.stage}: {text.code(draft.endpoint_name)}, {text.code(draft.hosting)}", ""]
        before = earlier.get(draft.stage)
        if before is None:
            hidden = _hidden(draft)
            bullets = [f"- shift of the requests: {_shift(draft)}"] if draft.shift else []
            bullets += [f"- {_name(key)}: {_shown(key, value, hidden)}" for key, value in _parameters(draft).items()]
        else:
            bullets = [f"- {each}" for each in _changes(before.export, draft)]
            markdown += [f"Against {before.where}:" if bullets else f"As in {before.where}.", ""]
        more = len(bullets) - _MOST
        markdown += bullets[:_MOST] + ([f"- ... and {more:,} more"] if more > 0 else [])
        markdown += [f"- price: {text.cell(draft.price)}"] if draft.price else []
    return markdown


def _versions(package: ModelPackage, earlier: Sequence[Before]) -> Iterator[str]:
    """From which version to which, and what each was measured to be in its training."""
    packages = {each.export.model_package_arn: each.properties for each in earlier}
    before = ", ".join(text.code(arn.rpartition("/")[2]) for arn in sorted(packages))
    yield f"- version {before} → {text.code(str(package.version))}"
    properties = package.description.get("CustomerMetadataProperties", {})
    packages.pop(package.arn, None)
    columns = [*(packages[arn] for arn in sorted(packages)), properties]
    measured = [registry.stamped(each, registry.METRIC) for each in columns]
    if not (names := list(dict.fromkeys(name for each in (measured[-1], *measured) for name in each))):
        return
    versions = [*(arn.rpartition("/")[2] for arn in sorted(packages)), str(package.version)]
    yield from ("", f"| metric | {' | '.join(f'version {text.cell(each)}' for each in versions)} |")
    yield f"|---|{'---|' * len(versions)}"
    for name in names:
        cells = (text.cell(each.get(name, "not measured")) for each in measured)
        yield f"| {text.cell(name)} | {' | '.join(cells)} |"
    rows = {each.get(_HELD_OUT, "") for each in columns}
    if len(versions) > 1:
        same = len(rows) == 1 and rows != {""}
        yield from (
            "",
            "Measured in training, on the same rows." if same else "Measured in training, each on its own rows.",
        )


def problems(messages: Sequence[str]) -> list[str]:
    """In place of a preview: what is wrong with the configuration files."""
    lines = [f"- {text.code(text.short(each, 500))}" for each in messages[:_MOST]]
    more = len(messages) - _MOST
    lines += [f"- ... and {more:,} more: the job's log has them"] if more > 0 else []
    return ["## Deployment preview: nothing can be deployed", "", *lines]


def _changes(before: Export, after: Export) -> Iterator[str]:
    if before.hosting != after.hosting:
        yield f"hosting {text.code(before.hosting)} → {text.code(after.hosting)}"
    if before.shift != after.shift:
        yield f"shift of the requests: {_shift(before)} → {_shift(after)}"
    if before.template != after.template:
        yield "the CloudFormation template has changed"
    yield from _differences("parameter", _parameters(before), _parameters(after), _hidden(before) | _hidden(after))
    yield from _differences("tag", before.tags, after.tags, set())


def _differences(kind: str, old: Mapping[str, str], new: Mapping[str, str], hidden: Set[str]) -> Iterator[str]:
    for key in [*new, *(key for key in old if key not in new)]:
        label = f"{kind} {_name(key)}"
        if key not in old:
            yield f"{label} added: {_shown(key, new[key], hidden)}"
        elif key not in new:
            yield f"{label} removed, which was {_shown(key, old[key], hidden)}"
        elif old[key] != new[key]:
            yield f"{label}: {_shown(key, old[key], hidden)} → {_shown(key, new[key], hidden)}"


def _parameters(export: Export) -> Mapping[str, str]:
    return {key: value for key, value in export.parameters.items() if key != _PACKAGE_NAME}


def _hidden(export: Export) -> Set[str]:
    """The parameters that the template declares with NoEcho, which CloudFormation does not show either."""
    declared = template.read(export.template, "the template")[0].parameters
    return {key for key, each in declared.items() if str(each.get("NoEcho", "")).lower() == "true"}


def _shift(export: Export) -> str:
    """How requests move to the new version, with what takes it back."""
    if export.shift is None:
        return "all at once"
    return f"{text.code(export.shift.strategy)}, watched by {', '.join(map(text.code, export.shift.alarms))}"


def _name(key: str) -> str:
    return text.code(text.short(key, 100))


def _shown(key: str, value: str, hidden: Set[str]) -> str:
    return "(not shown)" if key in hidden else merge_request.shown(key, value)
