"""The model card of a registered version, from what is known of it: its training, its evaluation, where it comes from.

Pure; called by records.py. The layout is SageMaker's schema of cards of model packages, which has no
model_package_details, and in model_overview the creator and the artifacts alone:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-details.html#model-card-schema
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ci_scripts import text
from ci_scripts.run_pipeline.condition import Bound

_LONGEST = 100_000  # characters of ModelCardContent
_SHOWN = 300  # characters of a value in the summary
_TEXT, _VALUE = 1024, 255  # characters, as the schema has them
_ARTIFACTS, _DATASETS, _IMAGES, _HYPERPARAMETERS, _METRICS = 15, 10, 15, 100, 50  # entries


class Facts(NamedTuple):
    """What there is to write."""

    package: Mapping[str, Any]
    """The answer of DescribeModelPackage."""
    training: Mapping[str, Any]
    """The answer of DescribeTrainingJob; empty where there was no training job, or it cannot be seen."""
    measured: Mapping[str, float]
    """By the path in the evaluation's report."""
    standard_errors: Mapping[str, float]
    bounds: Sequence[Bound]
    data: Mapping[str, str]
    """The versions of the data, by input."""
    lineage: Mapping[str, str]
    thresholds: Sequence[str]
    """What quality.yml will ask of the deployed model, in words."""


def content(facts: Facts) -> str:
    """The card as JSON text, within the schema's limits."""
    card = {
        "model_overview": _overview(facts),
        "training_details": _training(facts),
        "evaluation_details": _evaluation(facts),
        "additional_information": {"custom_details": _details(facts)},
    }
    whole = json.dumps({key: part for key, part in card.items() if part}, ensure_ascii=False)
    return whole if len(whole) <= _LONGEST else json.dumps({"model_overview": _overview(facts)})


def _overview(facts: Facts) -> dict[str, Any]:
    containers = (facts.package.get("InferenceSpecification") or {}).get("Containers") or []
    artifacts = [_cut(each["ModelDataUrl"]) for each in containers if each.get("ModelDataUrl")]
    creator = facts.lineage.get("GitLabProject", "")
    return _filled(model_creator=_cut(creator), model_artifact=artifacts[:_ARTIFACTS])


def _training(facts: Facts) -> dict[str, Any]:
    job = facts.training
    channels = [
        ((each.get("DataSource") or {}).get("S3DataSource") or {}).get("S3Uri", "")
        for each in job.get("InputDataConfig") or []
    ]
    image = (job.get("AlgorithmSpecification") or {}).get("TrainingImage", "")
    values = list((job.get("HyperParameters") or {}).items())[:_HYPERPARAMETERS]
    metrics = (job.get("FinalMetricDataList") or [])[:_METRICS]
    details = _filled(
        training_arn=_cut(job.get("TrainingJobArn", "")),
        training_datasets=[_cut(uri) for uri in channels if uri][:_DATASETS],
        training_environment=_filled(container_image=[_cut(image)] if image else []),
        training_metrics=[{"name": _cut(each["MetricName"], _VALUE), "value": each["Value"]} for each in metrics],
        hyper_parameters=[
            {"name": _cut(name, _VALUE), "value": _cut(str(value), _VALUE)} for name, value in values if str(value)
        ],
    )
    return _filled(training_job_details=details)


def _evaluation(facts: Facts) -> list[dict[str, Any]]:
    if not facts.measured:
        return []
    by_path = {bound.path: bound for bound in facts.bounds}
    metrics = []
    for path, value in list(facts.measured.items())[:_METRICS]:
        bound, error = by_path.get(path), facts.standard_errors.get(path)
        notes = [f"must be {bound.sign} {bound.limit}"] if bound else []
        notes += [f"standard error {error:.4g}"] if error is not None else []
        metrics.append(_filled(name=_cut(path, _VALUE), type="number", value=value, notes="; ".join(notes)))
    statistics = ((facts.package.get("ModelMetrics") or {}).get("ModelQuality") or {}).get("Statistics") or {}
    held_out = (facts.package.get("CustomerMetadataProperties") or {}).get("HeldOutDataUri", "")
    more = {"report": _cut(statistics.get("S3Uri", ""))}
    more |= {f"deployed_model_{number}": _cut(each) for number, each in enumerate(facts.thresholds[:_METRICS], 1)}
    return [
        _filled(
            name="Evaluation of the pipeline",
            datasets=[_cut(held_out)] if held_out else [],
            metadata={key: value for key, value in more.items() if value},
            metric_groups=[{"name": "Conditions of the pipeline", "metric_data": metrics}],
        )
    ]


def _details(facts: Facts) -> dict[str, str]:
    data = {f"Data_{name}": version for name, version in facts.data.items()}
    named = {"".join(letter if letter.isalnum() else "_" for letter in key): each for key, each in data.items()}
    return {key: _cut(each) for key, each in {**facts.lineage, **named}.items() if each}


def is_of(card: str, execution_arn: str) -> bool:
    """Whether a card is one of these, of this execution; people's own are not."""
    try:
        read = json.loads(card)
        return bool(read["additional_information"]["custom_details"]["PipelineExecutionArn"] == execution_arn)
    except (ValueError, KeyError, TypeError):
        return False


def in_markdown(name: str, card: str) -> list[str]:
    """The card for people, in short."""
    rows = [f"| {text.cell(key)} | {text.cell(text.short(value, _SHOWN))} |" for key, value in _rows(card).items()]
    return [f"### Model card of {text.cell(name)}", "", "| | |", "|---|---|", *rows]


def _rows(card: str) -> dict[str, str]:
    read = json.loads(card)
    job = (read.get("training_details") or {}).get("training_job_details") or {}
    rows = {
        "Artifact": ", ".join(read.get("model_overview", {}).get("model_artifact", [])),
        "Training job": job.get("training_arn", "").rpartition("/")[2],
        "Training image": ", ".join(job.get("training_environment", {}).get("container_image", [])),
        "Hyperparameters": ", ".join(f"{each['name']} {each['value']}" for each in job.get("hyper_parameters", [])),
    }
    for evaluation in read.get("evaluation_details", []):
        rows["Held-out data"] = ", ".join(evaluation.get("datasets", []))
        for group in evaluation.get("metric_groups", []):
            for each in group["metric_data"]:
                notes = f" ({each['notes']})" if each.get("notes") else ""
                rows[each["name"]] = f"{each['value']:.6g}{notes}"
    details = (read.get("additional_information") or {}).get("custom_details") or {}
    rows |= {key.replace("_", " ", 1): each for key, each in details.items() if key.startswith("Data_")}
    return {name: value for name, value in rows.items() if value}


def _filled(**members: Any) -> dict[str, Any]:
    return {key: value for key, value in members.items() if value not in ("", [], {})}


def _cut(content: object, most: int = _TEXT) -> str:
    return str(content)[:most]
