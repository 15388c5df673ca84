"""What can be known of a pipeline definition before AWS sees it: is it sound, do the parameters fit, what changed.

Pure; called by command.py and run.py. The rules are those of the published schema and of CreatePipeline:
https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ci_scripts import documents
from ci_scripts.errors import InvalidDefinition, InvalidPipelineParameter
from ci_scripts.job import Job

Definition = Mapping[str, Any]

CACHE_KEY = "CacheKey"

BRANCHES = ("IfSteps", "ElseSteps", "ForEachBody")
"""Arguments of a step that hold steps."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_LARGEST = 1024 * 1024  # bytes of a definition
_LONGEST_VALUE = 1024  # characters of a parameter's value in StartPipelineExecution
_PARAMETER_TYPES: Mapping[str, tuple[type, ...]] = {
    "String": (str,),
    "Integer": (int,),
    "Float": (int, float),
    "Boolean": (bool,),
}


def parse(text: str) -> dict[str, Any]:
    """The definition as an object. Raises InvalidDefinition with every problem that can be seen from here."""
    try:
        definition = documents.parse_json(text, most_values=_LARGEST)
    except documents.Malformed as error:
        raise InvalidDefinition(documents.about("the definition", error)) from error
    if not isinstance(definition, dict):
        raise InvalidDefinition("the definition is not a JSON object")
    problems = [*_document_problems(definition, len(text.encode())), *_step_problems(definition)]
    if problems:
        raise InvalidDefinition("; ".join(problems))
    return definition


def steps(definition: Definition) -> dict[str, Mapping[str, Any]]:
    """All steps by name, those in the branches of a condition and in loops included, in the definition's order."""
    return {each["Name"]: each for each in _walk_steps(definition.get("Steps"))}


def _document_problems(definition: Definition, size: int) -> Iterator[str]:
    if definition.get("Version") != "2020-12-01":
        yield f"Version is {definition.get('Version')!r}, expected '2020-12-01'"
    if not definition.get("Steps"):
        yield "there are no Steps"
    elif _objects(definition["Steps"]) != definition["Steps"]:
        yield "Steps is not a list of objects"
    if size > _LARGEST:
        yield f"it has {size} bytes, SageMaker takes {_LARGEST}"
    declared = _objects(definition.get("Parameters"))
    if declared != (definition.get("Parameters") or []):
        yield "Parameters is not a list of objects"
    for repeated in _repeated(str(each.get("Name")) for each in declared):
        yield f"parameter {repeated} is declared twice"
    for each in declared:
        types = _PARAMETER_TYPES.get(str(each.get("Type")))
        name = each.get("Name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield f"{name!r} is no name for a parameter"
        elif types is None:
            yield f"parameter {name} has the unknown type {each.get('Type')!r}"
        elif "DefaultValue" in each and not _is(each["DefaultValue"], types):
            yield f"parameter {name} is {each['Type']}, its default is {each['DefaultValue']!r}"


def _step_problems(definition: Definition) -> Iterator[str]:
    every = list(_walk_steps(definition.get("Steps")))
    names = [each.get("Name") for each in every]
    for repeated in _repeated(str(name) for name in names):
        yield f"two steps are named {repeated}"
    parameters = set(declared_parameters(definition))
    steps_by_name = {each["Name"]: each for each in every if isinstance(each.get("Name"), str)}
    needs: dict[str, set[str]] = {}
    for each in every:
        name = each.get("Name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield f"{name!r} is no name for a step"
            continue
        if not isinstance(each.get("Type"), str):
            yield f"step {name} has no Type"
        depends = each.get("DependsOn") or []
        if not isinstance(depends, list) or not all(isinstance(other, str) for other in depends):
            yield f"DependsOn of step {name} is not a list of names"
            depends = []
        yield from (
            f"step {name} depends on {other}, which does not exist" for other in depends if other not in steps_by_name
        )
        references = list(dict.fromkeys(references_in(each)))
        for reference in references:
            problem = _reference_problem(reference, parameters, steps_by_name)
            if problem:
                yield f"step {name} refers to {reference}: {problem}"
        needs[name] = {*depends, *(_step_of(reference) for reference in references)} & steps_by_name.keys()
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        yield "steps wait for each other: " + " -> ".join(reversed(error.args[1]))


def _reference_problem(reference: str, parameters: set[str], steps_by_name: Mapping[str, Mapping[str, Any]]) -> str:
    root, _, rest = reference.partition(".")
    if root == "Parameters" and rest not in parameters:
        return "no such parameter"
    if root == "Steps":
        step, _, path = rest.partition(".")
        if step not in steps_by_name:
            return "no such step"
        if path.startswith("PropertyFiles."):
            files = {each.get("PropertyFileName") for each in _objects(steps_by_name[step].get("PropertyFiles"))}
            if path.removeprefix("PropertyFiles.") not in files:
                return "no such property file"
    return ""


def _walk_steps(node: Any) -> Iterator[Mapping[str, Any]]:
    for each in _objects(node):
        yield each
        arguments = each.get("Arguments")
        if isinstance(arguments, dict):
            for branch in BRANCHES:
                yield from _walk_steps(arguments.get(branch))


def references_in(node: Any) -> Iterator[str]:
    """What every `{"Get": "..."}` of a step names, those of the steps inside it left to them."""
    if isinstance(node, dict):
        if set(node) == {"Get"} and isinstance(node["Get"], str):
            yield node["Get"]
        for key, child in node.items():
            if key not in BRANCHES:
                yield from references_in(child)
    elif isinstance(node, list):
        for child in node:
            yield from references_in(child)


def _objects(node: Any) -> list[Mapping[str, Any]]:
    return [each for each in node if isinstance(each, dict)] if isinstance(node, list) else []


def _step_of(reference: str) -> str:
    return reference.removeprefix("Steps.").partition(".")[0] if reference.startswith("Steps.") else ""


def _repeated(names: Iterator[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _is(content: Any, types: tuple[type, ...]) -> bool:
    # JSON's true is an int to Python and not to SageMaker.
    return isinstance(content, types) and (bool in types or not isinstance(content, bool))


# --- parameters ----------------------------------------------------------------------------------------------------


def declared_parameters(definition: Definition) -> dict[str, Mapping[str, Any]]:
    """The pipeline's parameters by name."""
    return {str(each.get("Name")): each for each in _objects(definition.get("Parameters"))}


def parameter_values(definition: Definition, overrides: Mapping[str, str]) -> dict[str, Any]:
    """The values that an execution runs with: the given ones, else the defaults."""
    declared = declared_parameters(definition)
    return {name: each["DefaultValue"] for name, each in declared.items() if "DefaultValue" in each} | dict(overrides)


def without_cache(definition: Definition, overrides: Mapping[str, str], where: Job) -> dict[str, str]:
    """An execution's `overrides` of parameters, and a new CacheKey where a schedule or a person wants a training.

    Step caching compares addresses of data and not data: who starts a pipeline without a commit wants it run all the
    same. CacheKey is a parameter by which a pipeline says that this is possible; one that is given is left alone.
    """
    started_by_commit = where.pipeline_source in ("push", "merge_request_event") or not where.in_gitlab
    if started_by_commit or CACHE_KEY in overrides or CACHE_KEY not in declared_parameters(definition):
        return dict(overrides)
    return {**overrides, CACHE_KEY: where.pipeline_id}


def check_parameters(definition: Definition, overrides: Mapping[str, str]) -> None:
    """Compare an execution's `overrides` of parameters with what the pipeline declares.

    Raises InvalidPipelineParameter with every unknown, missing or unfitting one.
    """
    declared = declared_parameters(definition)
    names = ", ".join(declared) or "none"
    problems = [f"the pipeline has no parameter {name} (it has: {names})" for name in overrides if name not in declared]
    for name, parameter in declared.items():
        if name in overrides:
            problem = _value_problem(parameter, overrides[name])
            problems += [f"{name}={overrides[name]}: {problem}"] if problem else []
        elif "DefaultValue" not in parameter:
            problems.append(f"{name} has no default and is not given")
    if problems:
        raise InvalidPipelineParameter("; ".join(problems))


def _value_problem(parameter: Mapping[str, Any], text: str) -> str:
    kind, choices = parameter.get("Type"), parameter.get("EnumValues")
    if kind == "Integer" and not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        return "not an integer"
    if kind == "Float" and not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        return "not a number"
    if kind == "Boolean" and text.lower() not in ("true", "false"):
        return "neither true nor false"
    if choices and text not in choices:
        return f"not one of {', '.join(map(str, choices))}"
    if len(text) > _LONGEST_VALUE:
        return f"longer than {_LONGEST_VALUE} characters"
    return ""


# --- registration --------------------------------------------------------------------------------------------------


def registers(definition: Definition) -> bool:
    """Whether a step of the pipeline itself registers a model package."""
    return any(each.get("Type") == "RegisterModel" for each in steps(definition).values())


def registered_elsewhere(definition: Definition, parameters: Mapping[str, Any], group: str) -> list[str]:
    """A sentence for each step that registers to another model package group than the watched one.

    A group that only SageMaker knows (another step's output) is left alone.
    """
    problems = []
    for name, step in steps(definition).items():
        arguments = step.get("Arguments")
        other = arguments.get("ModelPackageGroupName") if isinstance(arguments, dict) else None
        if isinstance(other, dict) and isinstance(other.get("Get"), str):
            other = parameters.get(other["Get"].removeprefix("Parameters."))
        if step.get("Type") == "RegisterModel" and isinstance(other, str) and not _same_group(other, group):
            problems.append(
                f"step {name} registers to the model package group {other}; approvals are watched in {group} alone, so "
                "none will deploy what it registers: use `model_package_group_name` of get_pipeline"
            )
    return problems


def _same_group(other: str, group: str) -> bool:
    """A group may be named by its ARN, too."""
    return other.rpartition("model-package-group/")[2].lower() == group.lower()


# --- difference ----------------------------------------------------------------------------------------------------


def same(one: str, other: str) -> bool:
    """Whether two definitions mean the same."""
    return bool(json.loads(one) == json.loads(other))


def difference(deployed: str, compiled: str) -> list[str]:
    """A unified diff from the deployed to the compiled definition, both as JSON with sorted keys."""
    before, after = (
        json.dumps(json.loads(text), indent=2, sort_keys=True).splitlines() for text in (deployed, compiled)
    )
    return list(difflib.unified_diff(before, after, "deployed", "this commit", lineterm="", n=3))
