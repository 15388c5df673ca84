"""Step caching: which earlier run of a step stands for the next one.

Pure; executions.py asks before it runs a step. The rules are those of
https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html; which attributes make the key, by type of step:
https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-default-keys.html. A type that is not there is never cached.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

Json = dict[str, Any]

_ATTRIBUTES = {
    "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
    "Training": (
        "AlgorithmSpecification",
        "CheckpointConfig",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "Environment",
        "HyperParameters",
        "InputDataConfig",
    ),
    "Tuning": ("HyperParameterTuningJobConfig", "TrainingJobDefinition", "TrainingJobDefinitions"),
    "Transform": ("DataProcessing", "Environment", "ModelName", "TransformInput"),
}
_OF_A_TRAINING_JOB = (
    "AlgorithmSpecification",
    "HyperParameterRanges",
    "InputDataConfig",
    "StaticHyperParameters",
    "TuningObjective",
)
_DURATION = re.compile(
    r"p?(?:(\d+)y)?(?:(\d+)m)?(?:(\d+)w)?(?:(\d+)d)?(?:t(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?)?", re.IGNORECASE
)
_DAYS = (365, 30, 7, 1)


def is_on(step: Json) -> bool:
    """Whether the step asks for it, and is of a type that has it."""
    return step["Type"] in _ATTRIBUTES and bool((step.get("CacheConfig") or {}).get("Enabled"))


def key(step: Json, arguments: Json) -> str | None:
    """What an earlier run must have had in common with this one; None for a type that is never cached.

    `arguments` are those of the step with all functions filled in.
    """
    names = _ATTRIBUTES.get(step["Type"])
    if names is None:
        return None
    chosen = {name: arguments[name] for name in names if name in arguments}
    if "TrainingJobDefinition" in chosen:
        whole = chosen["TrainingJobDefinition"]
        chosen["TrainingJobDefinition"] = {name: whole[name] for name in _OF_A_TRAINING_JOB if name in whole}
    return json.dumps([step["Name"], step["Type"], chosen], sort_keys=True, default=str)


def oldest(step: Json, now: datetime) -> datetime:
    """When a run that still counts may have ended at the earliest. Raises ValueError for what is no duration."""
    text = str((step.get("CacheConfig") or {}).get("ExpireAfter") or "")
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError(f"ExpireAfter {text!r} is not a duration of ISO 8601, such as P30D or PT1H")
    numbers = [int(number or 0) for number in match.groups()]
    days = sum(number * length for number, length in zip(numbers, _DAYS, strict=False))
    return now - timedelta(days=days, hours=numbers[4], minutes=numbers[5], seconds=numbers[6])
