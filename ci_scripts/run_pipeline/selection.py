"""Selective execution: which steps run when a pipeline is to run from one step on, and what the others are taken from.

Called by command.py and run.py. What is selected is connected, what it needs of other steps comes from an earlier
execution of the same pipeline, and what is not selected does not run:
https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-selective-ex.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ci_scripts import errors
from ci_scripts.run_pipeline import definition
from ci_scripts.run_pipeline.definition import BRANCHES, Definition

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

# SelectedSteps: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_SelectiveExecutionConfig.html
_MOST_STEPS = 50


def from_step(defined: Definition, name: str) -> list[str]:
    """The step and everything after it, in the definition's order: what depends on it and what is decided by it.

    Raises UnknownStep, with the names of the pipeline's steps.
    """
    steps = definition.steps(defined)
    if name not in steps:
        raise errors.UnknownStep(f"the pipeline has no step {name!r}; it has {', '.join(steps)}")
    needs = dependencies(defined)
    selected = {name}
    while more := {each for each, before in needs.items() if before & selected} - selected:
        selected |= more
    if len(selected) > _MOST_STEPS:
        raise errors.UnknownStep(
            f"{len(selected)} steps would run from {name} on, SageMaker selects at most {_MOST_STEPS}",
            hint="Choose a later step, or run the whole pipeline.",
        )
    return [each for each in steps if each in selected]


def needed(defined: Definition, selected: list[str]) -> list[str]:
    """The steps that are not selected and whose outcome or output the selected ones need."""
    needs = dependencies(defined)
    required = {each for name in selected for each in needs[name]} - set(selected)
    return [each for each in needs if each in required]


def dependencies(defined: Definition) -> dict[str, set[str]]:
    """For each step the steps that come directly before it: named, read, or the condition or loop that it is in."""
    needs: dict[str, set[str]] = {}
    for step, container in _contained(defined.get("Steps"), ""):
        reads = {each.split(".")[1] for each in definition.references_in(step) if each.startswith("Steps.")}
        needs[str(step["Name"])] = reads | set(step.get("DependsOn") or []) | ({container} if container else set())
    return needs


def _contained(steps: Any, container: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    for step in steps or []:
        yield step, container
        for branch in BRANCHES:
            yield from _contained((step.get("Arguments") or {}).get(branch), str(step["Name"]))


def last_succeeded(sagemaker: SageMakerClient, pipeline: str) -> str:
    """The ARN of the newest execution of the pipeline that has succeeded. Raises NoReferenceExecution."""
    pages = sagemaker.get_paginator("list_pipeline_executions").paginate(
        PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending"
    )
    try:
        for page in pages:
            for each in page["PipelineExecutionSummaries"]:
                if each["PipelineExecutionStatus"] == "Succeeded":
                    return str(each["PipelineExecutionArn"])
    except sagemaker.exceptions.ResourceNotFound:
        pass
    raise errors.NoReferenceExecution(f"no execution of pipeline {pipeline} has succeeded yet")


def configuration(
    sagemaker: SageMakerClient, pipeline: str, defined: Definition, selected: list[str]
) -> dict[str, Any]:
    """SelectiveExecutionConfig of StartPipelineExecution. Raises NoReferenceExecution where one is needed."""
    config: dict[str, Any] = {"SelectedSteps": [{"StepName": name} for name in selected]}
    if needed(defined, selected):
        config["SourcePipelineExecutionArn"] = last_succeeded(sagemaker, pipeline)
    return config
