"""The champion gate: the version that serves another stage answers the same held-out rows as the tested one.

Called by the test command, after the tested endpoint was measured and before the first test runs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import aws_errors, endpoint, errors, export, hosting, job
from ci_scripts.hosting import on_endpoint
from ci_scripts.predictions import target as predictions
from ci_scripts.predictions.held_out import HeldOut
from ci_scripts.quality import MIN_ROWS, Comparison, Quality
from ci_scripts.test import bootstrap
from ci_scripts.test.measurement import Measurement, measure
from ci_scripts.test.shared import Compared

if TYPE_CHECKING:
    from ci_scripts.aws import Aws
    from ci_scripts.export import Export
    from ci_scripts.registry import ModelPackage
    from ci_scripts.settings import Project

# Of these nobody gets an answer: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
_SERVES_NOBODY = ("Creating", "Failed", "Deleting", "OutOfService")
_DENIED = (
    "Reading production is opt-in: deploy the stack of infra/gitlab-oidc.yml with the parameter CompareWithProd set to "
    "true (of a project of SageMaker Studio, its field Compare with Production), or leave `compare` out of quality.yml."
)
_OTHER_ROWS = (
    "If it cannot take the rows that this version takes, because features have changed, leave `compare` out of "
    "quality.yml until this version serves there."
)


class Champion(NamedTuple):
    """What another stage serves."""

    endpoint_name: str
    kind: str
    """Of hosting."""
    packages: str
    """What it is, for people."""


def compare(
    aws: Aws,
    project: Project,
    exported: Export,
    package: ModelPackage,
    quality: Quality,
    data: HeldOut,
    measured: Measurement,
) -> tuple[dict[str, Compared], errors.SagemakerCiError | None]:
    """What every comparison of quality.yml comes to; and why there is none, where the champion could not be asked."""
    comparisons = quality.comparisons
    try:
        champion = _champion(aws, project, exported, package, comparisons[0].stage)
        if isinstance(champion, str):
            job.say(f"nothing to compare with: {champion}")
            return {each.key: Compared(note=champion) for each in comparisons}, None
        job.say(f"endpoint {champion.endpoint_name} serves {champion.packages}")
        of_champion = _measured(aws, champion, quality, data, comparisons[0].stage)
    except errors.SagemakerCiError as error:
        problem = f"error {error.code}: {error.message}"
        return {each.key: Compared(problem=problem) for each in comparisons}, error
    results: dict[str, Compared] = {}
    undefined: list[errors.SagemakerCiError] = []
    for each in comparisons:
        try:
            results[each.key] = _compared(each, measured, of_champion, data, declared=bool(quality.data.classes))
        except errors.SagemakerCiError as error:
            results[each.key] = Compared(problem=f"error {error.code}: {error.message}")
            undefined.append(error)
    return results, undefined[0] if len(undefined) == len(comparisons) else None


def _champion(aws: Aws, project: Project, exported: Export, package: ModelPackage, stage: str) -> Champion | str:
    """The champion; or why there is none to compare with. Raises ChampionNotAsked."""
    from botocore.exceptions import ClientError

    name = project.endpoint(stage)
    if name == exported.endpoint_name:
        return f"{stage} is the stage that is tested"
    _require_endpoint(project, stage)
    try:
        description = endpoint.describe(aws.sagemaker, name)
    except ClientError as error:
        raise _refused(error, name) from error
    if description is None:
        return f"{stage} has no endpoint {name} yet"
    if description["EndpointStatus"] in _SERVES_NOBODY:
        return f"endpoint {name} is {description['EndpointStatus']} and serves nobody"
    _, kind = on_endpoint.configured(aws, name)
    if kind == "asynchronous":
        raise errors.ChampionNotAsked(
            f"endpoint {name} is asynchronous: it puts its answers beside those to its callers, which this job may not "
            "read",
            hint="Leave `compare` out of quality.yml, or host the stage in another way.",
        )
    serving = list(endpoint.served(aws.sagemaker, name, description["EndpointConfigName"]))
    if serving and all(_is_same(each.containers, package) for each in serving):
        return f"endpoint {name} serves this very version"
    packages = ", ".join(dict.fromkeys(str(each) for each in serving if each.containers))
    return Champion(name, kind or hosting.DEFAULT.name, packages or "a model that no longer exists")


def _is_same(containers: Sequence[Mapping[str, Any]], package: ModelPackage) -> bool:
    return any(endpoint.serves(container, package.description) for container in containers)


def _require_endpoint(project: Project, stage: str) -> None:
    """Refuse a stage that is deployed as something else than an endpoint, as far as this pipeline's exports tell."""
    folder = Path.cwd()
    if not os.path.lexists(folder / export.file_name(stage)):
        return
    kind = hosting.of(export.load(stage, project, os.environ, folder).hosting)
    if not kind.has_endpoint:
        raise errors.ChampionNotAsked(
            f"{stage} is hosted as {kind.name}, which answers no requests to compare with",
            hint="Leave `compare` out of quality.yml, or host the stage by an endpoint.",
        )


def _measured(aws: Aws, champion: Champion, quality: Quality, data: HeldOut, stage: str) -> Measurement:
    """What the champion makes of the held-out data. Raises ChampionNotAsked."""
    from botocore.exceptions import ClientError

    target = predictions.endpoint(aws, champion.kind, champion.endpoint_name, stage, champion.packages, quality.request)
    target.classes = predictions.classes_of(data, quality.request.classes)
    try:
        measurement = measure(target, data)
    except ClientError as error:
        raise _refused(error, champion.endpoint_name) from error
    except errors.SagemakerCiError as error:
        raise errors.ChampionNotAsked(
            f"endpoint {champion.endpoint_name} did not predict the held-out rows: {error.message}", hint=_OTHER_ROWS
        ) from error
    job.say(f"it answered {len(data.labels)} rows, too")
    return measurement


def _refused(error: Any, name: str) -> Exception:
    if aws_errors.code(error) not in aws_errors.DENIED:
        return error  # type: ignore[no-any-return]
    return errors.ChampionNotAsked(f"this job may not ask endpoint {name}: {aws_errors.text(error)}", hint=_DENIED)


def _compared(
    comparison: Comparison, measured: Measurement, of_champion: Measurement, data: HeldOut, *, declared: bool
) -> Compared:
    """One metric of both. Raises MetricUndefined."""
    if len(data.labels) < MIN_ROWS:
        raise errors.MetricUndefined(
            f"a comparison needs at least {MIN_ROWS} rows of held-out data, there are {len(data.labels)}",
            hint="Fewer tell no two versions apart: hold more rows out, or leave `compare` out of quality.yml.",
        )
    candidate = measured.scoring(comparison.threshold, data, declared=declared)
    champion = of_champion.scoring(comparison.threshold, data, declared=declared)
    if not (math.isfinite(candidate.value) and math.isfinite(champion.value)):
        raise errors.MetricUndefined(f"{comparison.subject} is {candidate.value:g} and {champion.value:g}")
    difference = bootstrap.interval(comparison.metric, candidate, champion, comparison.confidence)
    return Compared(candidate.value, champion.value, difference.worse_by, difference.low, difference.high)
