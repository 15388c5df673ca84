"""Selective execution: what StartPipelineExecution refuses, and which steps come from the execution that it names.

The rules: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-selective-ex.html and
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_SelectiveExecutionConfig.html.
Of the refusals only that of a missing source is published, in https://github.com/aws/sagemaker-python-sdk/issues/4444.
"""

from __future__ import annotations

from typing import Any

from moto.sagemaker.exceptions import ValidationError

from sandbox.aws.sagemaker import definition
from sandbox.aws.sagemaker.definition import Json


def selected(config: Json | None) -> set[str]:
    """The names of the selected steps; empty when the whole pipeline runs."""
    return {each["StepName"] for each in (config or {}).get("SelectedSteps", [])}


def before(document: Json, chosen: set[str]) -> list[str]:
    """The steps that are not selected and that selected ones need, directly or by what those need."""
    needs = definition.dependencies(document)
    ancestors: set[str] = set()
    waiting = set(chosen)
    while waiting:
        more = {each for name in waiting for each in needs[name]} - chosen - ancestors
        ancestors |= more
        waiting = more
    return [name for name in needs if name in ancestors]


def check(document: Json, config: Json | None, pipeline: Any) -> Any:
    """The execution that the configuration names, if it names one. Raises ValidationError for what cannot run."""
    chosen = selected(config)
    if not chosen or config is None:
        return None
    needs = definition.dependencies(document)
    if unknown := sorted(chosen - set(needs)):
        raise ValidationError(f"Invalid SelectedSteps: the pipeline has no steps [{', '.join(unknown)}].")
    _require_connected(needs, chosen)
    direct = sorted({each for name in chosen for each in needs[name]} - chosen)
    arn = config.get("SourcePipelineExecutionArn")
    if not arn:
        if direct:
            names = ", ".join(sorted(chosen))
            raise ValidationError(
                f"Invalid SourcePipelineExecutionArn: null. The selected steps [{names}] have dependencies on "
                f"[{', '.join(direct)}]"
            )
        return None
    source = pipeline.pipeline_executions.get(arn)
    if source is None:
        raise ValidationError(f"Invalid SourcePipelineExecutionArn: {arn} is no execution of this pipeline.")
    if source.status not in ("Succeeded", "Failed", "Stopped"):
        raise ValidationError(f"Invalid SourcePipelineExecutionArn: {arn} is {source.status}.")
    ended = {name for name, step in source.steps.items() if step.status == "Succeeded"}
    if lacking := [name for name in before(document, chosen) if name not in ended]:
        raise ValidationError(f"Invalid SourcePipelineExecutionArn: {arn} has no outputs of [{', '.join(lacking)}].")
    return source


def _require_connected(needs: dict[str, set[str]], chosen: set[str]) -> None:
    """All steps of all paths between two selected steps are selected."""
    above = {name: _closure(needs, name) for name in needs}
    between = {
        name for name in set(needs) - chosen if above[name] & chosen and any(name in above[each] for each in chosen)
    }
    if between:
        raise ValidationError(
            f"Invalid SelectedSteps: [{', '.join(sorted(between))}] are between selected steps and are not selected."
        )


def _closure(needs: dict[str, set[str]], name: str) -> set[str]:
    ancestors: set[str] = set()
    waiting = set(needs[name])
    while waiting:
        ancestors |= waiting
        waiting = {each for step in waiting for each in needs[step]} - ancestors
    return ancestors
