"""What is kept of a registered version, with the version: where it comes from, its data, its numbers, its model card.

Called by run.py when an execution has succeeded. What cannot be seen is said in the log and left out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import __version__, aws_errors, job, registry
from ci_scripts.run_pipeline import condition, data_versions, definition, model_card, progress, report
from ci_scripts.run_pipeline.condition import Condition
from ci_scripts.run_pipeline.execution import Result
from ci_scripts.run_pipeline.job_facts import Facts

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeModelPackageOutputTypeDef

    from ci_scripts.aws import Aws

_PARAMETERS, _METRICS = 18, 6  # at most, among the 50 properties of a model package
DATA = "Data."
"""How the customer metadata properties begin that hold the version of an input."""


class Run(NamedTuple):
    """An execution that has succeeded, and what is known of it."""

    where: job.Job
    result: Result
    definition: Mapping[str, Any]
    parameters: Mapping[str, Any]
    conditions: Mapping[str, Sequence[Condition]]
    facts: Facts
    built_image: str = ""
    """The image that a job `image-build` has built and a step has used; empty if there is none."""


def keep(aws: Aws, run: Run, packages: Sequence[str]) -> list[str]:
    """Stamp each package and give it a model card, unless it has one; the cards for people, in Markdown."""
    uris = data_versions.inputs(run.definition, run.parameters)
    data: dict[str, str] = {}
    if uris and run.result.began:
        data, unseen = data_versions.versions(aws.s3, uris, run.result.began)
        for line in unseen:
            job.say(line)
    lines: list[str] = []
    for arn in packages:
        package = registry.describe(aws.sagemaker, arn)
        training = _training(aws, run, package)
        stamps = (
            lineage(run.where, run.result.arn, run.parameters, report.measured(run.conditions))
            | _taken_from(run)
            | {f"{DATA}{name}": version for name, version in data.items()}
            | _tools(training)
            | ({"BuiltImage": run.built_image} if run.built_image else {})
        )
        earlier = str(package.get("ModelCard", {}).get("ModelCardContent", ""))
        # An earlier attempt of this job may have written it.
        is_own = not earlier or model_card.is_of(earlier, run.result.arn)
        card = _card(run, package, training, data) if is_own else ""
        lines += _shown(arn, card, stamped=_stamped(aws, package, stamps, card))
    return lines


def _stamped(aws: Aws, package: DescribeModelPackageOutputTypeDef, stamps: Mapping[str, str], card: str) -> bool:
    """Whether SageMaker took the card, too; the stamps it has to take. A card is no reason for a training to fail."""
    from botocore.exceptions import ClientError

    try:
        registry.stamp(aws.sagemaker, package, stamps, card)
    except ClientError as error:
        if not card or aws_errors.code(error) != "ValidationException":
            raise
        job.say(f"SageMaker did not take the model card: {aws_errors.text(error)}")
        registry.stamp(aws.sagemaker, package, stamps)
        return False
    return True


def lineage(
    where: job.Job, execution_arn: str, parameters: Mapping[str, Any], measured: Mapping[str, float]
) -> dict[str, str]:
    """What a registered model package is stamped with: the way back from a model to its commit, job, data and
    parameters, and what it was measured to be; as many as leave room for properties of the pipeline's own.
    """
    properties = _origin(where, execution_arn)
    properties |= {
        f"{registry.PARAMETER}{name}": str(content) for name, content in islice(parameters.items(), _PARAMETERS)
    }
    properties |= {f"{registry.METRIC}{path}": f"{value:.6g}" for path, value in islice(measured.items(), _METRICS)}
    return {key: content for key, content in properties.items() if content}


def _origin(where: job.Job, execution_arn: str) -> dict[str, str]:
    properties = {
        "GitLabProject": where.project_path,
        "GitLabCommit": where.commit,
        "GitLabRef": where.ref,
        "GitLabPipeline": f"{where.project_url}/-/pipelines/{where.pipeline_id}" if where.in_gitlab else "",
        "GitLabJob": where.url,
        "PipelineExecutionArn": execution_arn,
    }
    return {key: content for key, content in properties.items() if content}


def _taken_from(run: Run) -> dict[str, str]:
    """Beside the execution that registered a package, the one that trained it, if that is another."""
    sources = progress.sources(run.result.steps.values())
    return {"TakenFromExecution": sources[-1]} if sources else {}


def _tools(training: Mapping[str, Any]) -> dict[str, str]:
    """The programs that made it: of this project, the SageMaker SDK if the module loaded it, the training's image."""
    tools = {"SagemakerCi": __version__}
    if "sagemaker" in sys.modules:
        tools["SageMakerSdk"] = metadata.version("sagemaker")
    if image := (training.get("AlgorithmSpecification") or {}).get("TrainingImage"):
        tools["TrainingImage"] = str(image)
    return tools


def _training(aws: Aws, run: Run, package: Mapping[str, Any]) -> Mapping[str, Any]:
    """The training job that made the package's model; else the last one of the execution; empty if there is none."""
    answers = [
        answer
        for step in run.result.steps.values()
        if isinstance(answer := run.facts.training_of(aws.sagemaker, step), Mapping) and answer
    ]
    containers = (package.get("InferenceSpecification") or {}).get("Containers") or []
    models = {each.get("ModelDataUrl") for each in containers}
    matching = [each for each in answers if (each.get("ModelArtifacts") or {}).get("S3ModelArtifacts") in models]
    return (matching or answers or [{}])[-1]


def _card(run: Run, package: Mapping[str, Any], training: Mapping[str, Any], data: Mapping[str, str]) -> str:
    bounds = [
        bound
        for step in definition.steps(run.definition).values()
        if step.get("Type") == "Condition"
        for bound in condition.bounds(step, run.parameters)
    ]
    facts = model_card.Facts(
        package=package,
        training=training,
        measured=report.measured(run.conditions),
        standard_errors=report.standard_errors(run.conditions),
        bounds=bounds,
        data=data,
        lineage=_origin(run.where, run.result.arn),
        thresholds=_thresholds(),
    )
    return model_card.content(facts)


def _thresholds() -> list[str]:
    """What a quality.yml beside the pipeline asks of the deployed model; most are in model-deploy alone."""
    from ci_scripts import errors, quality

    path = Path(quality.FILE)
    if not path.is_file():
        return []
    try:
        return [str(each) for each in quality.load(path.absolute()).thresholds]
    except errors.SagemakerCiError as error:
        job.say(f"{path} is not in the model card: {error.message}")
        return []


def _shown(arn: str, card: str, *, stamped: bool) -> list[str]:
    if not stamped:
        return []
    if not card:
        return ["", f"{arn.rpartition(':model-package/')[2]} has a model card of its own, which stays as it is."]
    return ["", *model_card.in_markdown(arn.rpartition(":model-package/")[2], card)]
