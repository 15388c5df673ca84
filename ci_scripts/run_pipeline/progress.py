"""Pipeline steps as a person follows them: what changed between two looks, one table row per change.

Pure; called by execution.py, run.py and report.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# Steps that run as a SageMaker job, and the field of their metadata that names it.
_JOBS = {
    "ProcessingJob": "Arn",
    "TrainingJob": "Arn",
    "TransformJob": "Arn",
    "TuningJob": "Arn",
    "AutoMLJob": "Arn",
    "QualityCheck": "CheckJobArn",
    "ClarifyCheck": "CheckJobArn",
}


# Types whose definition names what they work with: the metadata, its member, and where the definition has it.
_DEFINED = {
    "Lambda": ("Lambda", "Arn", "FunctionArn"),
    "Callback": ("Callback", "SqsQueueUrl", "SqsQueueUrl"),
    "EMR": ("EMR", "ClusterId", "ClusterId"),
}


class Step(NamedTuple):
    """A step of a pipeline execution, as ListPipelineExecutionSteps tells it."""

    name: str
    kind: str
    status: str
    seconds: float | None
    """Duration; None while the step runs."""
    reason: str
    """Why it failed; one line, empty if it did not."""
    source: str
    """The ARN of the execution whose run of the step was taken, by step caching or because the step was not selected;
    empty if it ran."""
    metadata: Mapping[str, Any]
    selected: bool = True
    """Whether the execution was to run the step; what others need of it is taken from another execution if not."""

    @property
    def job_arn(self) -> str:
        """The ARN of the SageMaker job that the step ran as; empty for steps that are no job."""
        arns = [self.metadata[kind].get(field, "") for kind, field in _JOBS.items() if kind in self.metadata]
        return str(arns[0]) if arns else ""

    @property
    def model_package_arn(self) -> str:
        """The model package that the step registered; empty for other steps."""
        return str(self.metadata.get("RegisterModel", {}).get("Arn", ""))

    @property
    def outcome(self) -> str:
        """A condition's outcome, "true" or "false"; empty for other steps."""
        return str(self.metadata.get("Condition", {}).get("Outcome", "")).lower()


def view(rows: Iterable[Mapping[str, Any]], defined: Mapping[str, Mapping[str, Any]]) -> dict[str, Step]:
    """The answer of ListPipelineExecutionSteps, oldest first, by step name; a step's last attempt counts."""
    return {step.name: step for step in (_step(row, defined) for row in rows)}


def _step(row: Mapping[str, Any], defined: Mapping[str, Mapping[str, Any]]) -> Step:
    name, reused = row["StepName"], row.get("SelectiveExecutionResult", {})
    metadata = row.get("Metadata") or _of_definition(defined.get(name, {}))
    started, ended = row.get("StartTime"), row.get("EndTime")
    index = row.get("IterationContext", {}).get("Index")  # a step in a loop appears once for each turn
    return Step(
        name=name if index is None else f"{name}[{index}]",
        kind=defined.get(name, {}).get("Type") or next(iter(metadata), ""),
        status=row["StepStatus"],
        seconds=(ended - started).total_seconds() if started and ended else None,
        reason=" ".join((row.get("FailureReason") or metadata.get("Fail", {}).get("ErrorMessage", "")).split()),
        source=str((reused or row.get("CacheHitResult", {})).get("SourcePipelineExecutionArn", "")),
        metadata=metadata,
        selected=not reused,
    )


def _of_definition(step: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a step works with by its definition, as metadata, for one that failed before it had any of its own."""
    kind, member, key = _DEFINED.get(str(step.get("Type")), ("", "", ""))
    content = step.get(key)
    return {kind: {member: content}} if isinstance(content, str) else {}


def changes(before: Mapping[str, Step], after: Mapping[str, Step]) -> list[Step]:
    """The steps that are new or have another status than before."""
    return [step for name, step in after.items() if name not in before or before[name].status != step.status]


def row(elapsed: float, step: Step, width: int, remark: str = "") -> str:
    """One line of the table: elapsed time, step (padded to `width`), type, status, duration, remark."""
    line = f"{clock(elapsed):>8}  {step.name:<{width}}  {step.kind:<13}  {step.status:<9}  "
    return f"{line}{duration(step):>8}  {remark}".rstrip()


def duration(step: Step) -> str:
    """How long a step took, in a table; `cached` or `reused` for one that was taken from an earlier execution."""
    if not step.selected:
        return "reused"
    return "cached" if step.source else clock(step.seconds) if step.seconds is not None else ""


def origin(step: Step) -> str:
    """Where a cached step comes from, in words; empty for one that ran."""
    return f"taken from execution {step.source.rpartition('/')[2]}" if step.source else ""


def sources(steps: Iterable[Step]) -> list[str]:
    """The executions that made everything, where every step that is a job was taken from an earlier one; else none."""
    jobs = [step for step in steps if step.job_arn]
    return list(dict.fromkeys(step.source for step in jobs)) if jobs and all(step.source for step in jobs) else []


def heading(width: int) -> str:
    """The table's first line."""
    return f"{'elapsed':>8}  {'step':<{width}}  {'type':<13}  {'status':<9}  {'duration':>8}"


def clock(seconds: float) -> str:
    """`0:07`, `12:34`, `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def failed(steps: Sequence[Step]) -> list[Step]:
    """The steps that failed."""
    return [each for each in steps if each.status == "Failed"]
