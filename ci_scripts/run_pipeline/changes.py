"""What a commit changes in the deployed pipeline definition, in words. Pure; called by command.py.

A sentence names the step and the setting as the definition does: `HyperParameters.max_depth`. What only has another
name is told as renamed: a parameter that is read at the same places, a step whose settings are nearly the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ci_scripts.merge_request import shown
from ci_scripts.run_pipeline import definition
from ci_scripts.run_pipeline.definition import BRANCHES, Definition
from ci_scripts.text import code

_MOST = 60  # sentences
_ALIKE = 0.7  # of the settings of two steps, for one to be the other's new name
_NAMES = ("Name", "InputName", "OutputName", "ChannelName", "PropertyFileName", "MetricName", "Key")

Settings = Mapping[str, Any]
"""The leaves of a part of a definition: the path to each, and its value, which may be an expression."""


class Step(NamedTuple):
    place: str
    """The step and branch that it is in, `CheckMse.IfSteps`; empty at the top."""
    settings: Settings


def in_words(deployed: Definition, compiled: Definition) -> list[str]:
    """Sentences in Markdown, without a full stop; none where both mean the same."""
    before, after = _steps(deployed), _steps(compiled)
    old, new = definition.declared_parameters(deployed), definition.declared_parameters(compiled)
    parameters = _renamed_parameters(old, new, before, after)
    before = _steps(_renamed(deployed, parameters, {}))
    steps = _renamed_steps(before, after)
    before = {steps.get(name, name): step for name, step in _steps(_renamed(deployed, parameters, steps)).items()}
    former = {new_name: name for name, new_name in steps.items()}
    sentences = [
        *_parameter_words(old, new, parameters),
        *_step_words(before, after, former),
        *_setting_words("", _others(deployed), _others(compiled)),
    ]
    more = len(sentences) - _MOST
    return sentences[:_MOST] + ([f"... and {more:,} more: the job's log has the whole difference"] if more > 0 else [])


def text_change(before: str, after: str) -> str:
    """A text that changes, such as the role's ARN, in words."""
    return _change("", before, after)


# --- what is compared ----------------------------------------------------------------------------------------------


def _steps(document: Definition) -> dict[str, Step]:
    return {
        str(step.get("Name")): Step(place, dict(_leaves({key: each for key, each in step.items() if key != "Name"})))
        for place, step in _placed(document.get("Steps"), "")
    }


def _placed(steps: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for step in steps if isinstance(steps, list) else ():
        if not isinstance(step, dict):
            continue
        yield place, step
        arguments = step.get("Arguments")
        if isinstance(arguments, dict):
            for branch in BRANCHES:
                yield from _placed(arguments.get(branch), f"{step.get('Name')}.{branch}")


def _others(document: Definition) -> Settings:
    return dict(_leaves({key: each for key, each in document.items() if key not in ("Parameters", "Steps")}))


def _leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node and not _is_expression(node):
        for key, child in node.items():
            if key not in BRANCHES:
                yield from _leaves(child, path if key == "Arguments" and not path else (*path, key))
    elif isinstance(node, list) and any(isinstance(each, dict) and not _is_expression(each) for each in node):
        labels = [_label(each, index) for index, each in enumerate(node)]
        for index, child in enumerate(node):
            unique = labels.count(labels[index]) == 1
            yield from _leaves(child, (*path, labels[index] if unique else str(index)))
    else:
        yield ".".join(path), node


def _label(node: Any, index: int) -> str:
    if not isinstance(node, dict):
        return str(index)
    return next((node[key] for key in _NAMES if isinstance(node.get(key), str)), str(index))


def _is_expression(node: Mapping[str, Any]) -> bool:
    return len(node) == 1 and all(key == "Get" or key.startswith("Std:") for key in node)


# --- renamed -------------------------------------------------------------------------------------------------------


def _renamed_parameters(
    old: Mapping[str, Mapping[str, Any]],
    new: Mapping[str, Mapping[str, Any]],
    before: Mapping[str, Step],
    after: Mapping[str, Step],
) -> dict[str, str]:
    """Old name → new name, of those that are read at the same places and nowhere else."""
    gone, come = [name for name in old if name not in new], [name for name in new if name not in old]
    read_before, read_after = _readers(before, gone), _readers(after, come)
    pairs: dict[str, str] = {}
    for name in gone:
        same = [
            each
            for each in come
            if read_before[name] and read_before[name] == read_after[each] and old[name]["Type"] == new[each]["Type"]
        ]
        if len(same) == 1 and same[0] not in pairs.values():
            pairs[name] = same[0]
    return pairs


def _readers(steps: Mapping[str, Step], names: Iterable[str]) -> dict[str, list[str]]:
    """Where each parameter is read: paths of settings, whatever their step is called."""
    readers: dict[str, list[str]] = {name: [] for name in names}
    for step in steps.values():
        for path, content in step.settings.items():
            for reference in definition.references_in(content):
                root, _, name = reference.partition(".")
                if root == "Parameters" and name in readers:
                    readers[name].append(f"{step.settings.get('Type')}: {path}")
    return {name: sorted(paths) for name, paths in readers.items()}


def _renamed_steps(before: Mapping[str, Step], after: Mapping[str, Step]) -> dict[str, str]:
    """Old name → new name, the most alike first."""
    gone = {name: _signature(name, before[name]) for name in before if name not in after}
    come = {name: _signature(name, after[name]) for name in after if name not in before}
    alike = sorted(
        (
            (-len(gone[one] & come[other]) / max(len(gone[one]), len(come[other])), one, other)
            for one in gone
            for other in come
            if before[one].settings.get("Type") == after[other].settings.get("Type")
        ),
    )
    pairs: dict[str, str] = {}
    for likeness, one, other in alike:
        if -likeness >= _ALIKE and one not in pairs and other not in pairs.values():
            pairs[one] = other
    return pairs


def _signature(name: str, step: Step) -> frozenset[tuple[str, str]]:
    """The settings of a step but for its own name, which the SDK writes into names of jobs and outputs."""
    return frozenset((path, _json(content).replace(name, "\0")) for path, content in step.settings.items())


def _renamed(node: Any, parameters: Mapping[str, str], steps: Mapping[str, str]) -> Any:
    """A definition with references that name what has another name now."""
    if isinstance(node, dict):
        if set(node) == {"Get"} and isinstance(node["Get"], str):
            root, _, rest = node["Get"].partition(".")
            name, dot, path = rest.partition(".")
            names = parameters if root == "Parameters" else steps if root == "Steps" else {}
            return {"Get": f"{root}.{names.get(name, name)}{dot}{path}"}
        copy = {key: _renamed(child, parameters, steps) for key, child in node.items()}
        if isinstance(node.get("DependsOn"), list):
            copy["DependsOn"] = [steps.get(each, each) for each in map(str, node["DependsOn"])]
        return copy
    return [_renamed(each, parameters, steps) for each in node] if isinstance(node, list) else node


# --- words ---------------------------------------------------------------------------------------------------------


def _parameter_words(
    old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]], renamed: Mapping[str, str]
) -> Iterator[str]:
    former = {name: each for each, name in renamed.items()}
    for name, parameter in new.items():
        before = old.get(former.get(name, name))
        if before is None:
            default = f", {_shown(name, parameter['DefaultValue'])}" if "DefaultValue" in parameter else ""
            yield f"added parameter {code(name)}: {parameter.get('Type')}{default}"
            continue
        label = f"parameter {code(name)}"
        if name in former:
            label = f"parameter {code(former[name])} renamed to {code(name)}"
        changes = []
        if _json(before.get("DefaultValue")) != _json(parameter.get("DefaultValue")):
            changes.append(_change(name, before.get("DefaultValue"), parameter.get("DefaultValue")))
        changes += [
            f"{key} {_change(key, before.get(key), parameter.get(key))}"
            for key in ("Type", "EnumValues")
            if _json(before.get(key)) != _json(parameter.get(key))
        ]
        if name in former or changes:
            yield ": ".join(filter(None, [label, ", ".join(changes)]))
    for name in old:
        if name not in new and name not in renamed:
            yield f"removed parameter {code(name)}"


def _step_words(before: Mapping[str, Step], after: Mapping[str, Step], former: Mapping[str, str]) -> Iterator[str]:
    for name, step in after.items():
        kind = step.settings.get("Type")
        if name not in before:
            where = f" in {code(step.place)}" if step.place else ""
            yield f"added step {code(name)}, {code(str(kind))}{where}"
        elif name in former:
            yield f"step {code(former[name])} renamed to {code(name)}"
    for name, step in before.items():
        if name not in after:
            yield f"removed step {code(name)}, {code(str(step.settings.get('Type')))}"
    places = {f"{old}.{branch}": f"{new}.{branch}" for new, old in former.items() for branch in BRANCHES}
    for name, step in after.items():
        if name in before:
            place = places.get(before[name].place, before[name].place)
            if place != step.place:
                yield f"step {code(name)} moved from {_place(place)} to {_place(step.place)}"
            yield from _setting_words(f"step {code(name)}: ", before[name].settings, step.settings)


def _place(place: str) -> str:
    return code(place) if place else "the top"


def _setting_words(label: str, before: Settings, after: Settings) -> Iterator[str]:
    for path, content in after.items():
        if path not in before:
            yield f"{label}{code(path)} added, {_shown(path, content)}"
        elif _json(before[path]) != _json(content):
            yield f"{label}{code(path)} {_change(path, before[path], content)}"
    for path, content in before.items():
        if path not in after:
            yield f"{label}{code(path)} removed, which was {_shown(path, content)}"


def _change(name: str, before: Any, after: Any) -> str:
    one, other = _shown(name, before), _shown(name, after)
    if one == other:  # too long to show where they differ, a secret, or the number 5 and the text "5"
        one, other = shown(name, _json(before)), shown(name, _json(after))
    return f"{one} → {other}" if one != other else f"changed: {one}"


def _shown(name: str, content: Any) -> str:
    if content is None:
        return "none"
    if isinstance(content, dict) and isinstance(content.get("Get"), str) and len(content) == 1:
        return shown(name, content["Get"])
    return shown(name, content if isinstance(content, str) else _json(content))


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False)
