"""The work of `sagemaker-ci build`: check every stage configuration, choose the model package, write the exports."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Sized
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ci_scripts import approval_claim, errors, export, hosting, job, list_prices, merge_request, quality, registry, text
from ci_scripts.aws import Aws
from ci_scripts.build import before, guardrails, preview, stage_config, template
from ci_scripts.build.template import Problem
from ci_scripts.export import Export
from ci_scripts.list_prices import Prices
from ci_scripts.registry import ModelPackage
from ci_scripts.settings import STAGES, Project

_MOST_LINES = 200  # of problems in the job log


def run(
    project: Project,
    model_role: str,
    model_package_arn: str | None,
    folder: Path,
    thresholds: str = quality.FILE,
    *,
    approval_number: str | None = None,
    price_file: str = list_prices.FILE,
    only_preview: bool = False,
) -> None:
    """Export both stages into `folder`, pinned to one model package; None: the newest approved one.

    `thresholds` names quality.yml, which is checked, too. Writes both files or none. Exports nothing when the approval
    that started the pipeline belongs to another one (see approval_claim.py), or with `only_preview`, which says what
    would be deployed. `price_file` holds list prices.
    Raises InvalidOption for an ARN that GitLab has not put in, InvalidStageConfig after naming every problem,
    InvalidPrices, or what registry raises.
    """
    export.discard(folder)
    if model_package_arn and model_package_arn.startswith("$[["):
        raise errors.InvalidOption(
            f"the model package to deploy is {model_package_arn!r}: GitLab has not put the pipeline's input in",
            hint="Begin .gitlab-ci.yml with its header: `spec:` that declares the input, then a line `---`. "
            "templates/model-deploy/README.md shows it.",
        )
    aws = Aws(project.region)
    with job.section("Stage configurations"):
        prices = list_prices.load(price_file, folder)
        if prices and (old := list_prices.outdated(prices, datetime.now(UTC).date())):
            job.say(f"warning: {old}")
        drafts = _drafts(folder, project, model_role, thresholds, aws, prices)
    with job.section("Model package"):
        package = _model_package(aws, model_package_arn, project)
        if (
            package
            and approval_number
            and not only_preview
            and (owner := _owner(aws, project, package, approval_number))
        ):
            _report_owner(package, owner)
            return
    previewed = _preview(aws, project, drafts, package, only=only_preview)
    if package is None or only_preview:
        job.write_summary(previewed)
        return
    with job.section("Exports"):
        contents = {draft.stage: export.to_bytes(_pinned(draft, package)) for draft in drafts}
        export.write_all(contents, folder)
        for stage in contents:
            job.say(f"{export.file_name(stage)}: {package} to the endpoint {project.endpoint(stage)}")
    _report(package, contents, previewed)


# --- the stage configurations --------------------------------------------------------------------------------------


def stage_tags(project: Project, stage: str) -> dict[str, str]:
    """Tags by which SageMaker Studio shows the endpoint on the project's page."""
    return project.tags() | {"sagemaker:deployment-stage": stage}


def _drafts(
    folder: Path, project: Project, role: str, thresholds: str, aws: Aws, prices: Prices | None
) -> list[Export]:
    """Every stage's export, without the model package. Raises InvalidStageConfig after naming every problem."""
    drafts: dict[str, Export] = {}
    problems: list[Problem] = []
    for stage in STAGES:
        file, draft, stage_problems = _draft(folder, project, stage, role, prices)
        problems += stage_problems
        if draft is not None:
            drafts[file] = draft
    problems += _quality_problems(folder, thresholds, list(drafts.values()))
    problems += _package_problems(aws, project, drafts, certain=not problems)
    if problems:
        lines = list(dict.fromkeys(str(problem) for problem in problems))  # both stages may find the same one
        for line in lines[:_MOST_LINES]:
            job.say(line)
        if len(lines) > _MOST_LINES:
            job.say(f"... and {len(lines) - _MOST_LINES:,} more")
        merge_request.comment(preview.problems(lines))
        raise errors.InvalidStageConfig(
            f"{len(lines)} problem{'s' if len(lines) > 1 else ''} in the configuration files, nothing is exported"
        )
    return list(drafts.values())


def _quality_problems(folder: Path, name: str, drafts: Sequence[Export]) -> list[Problem]:
    """What is wrong with the thresholds, which `test` would find only after staging was deployed."""
    if name == quality.FILE and not os.path.lexists(folder / name):  # it may be missing
        return []
    if problems := quality.problems_of(folder / name, folder):
        return [Problem(name, "", problem) for problem in problems]
    compared = {each.stage for each in quality.load(folder / name, folder).comparisons}
    kinds = {draft.stage: hosting.of(draft.hosting) for draft in drafts if draft.stage in compared}
    return [
        Problem(name, "compare.with", f"{stage} is hosted as {kind.name}, which answers no requests to compare with")
        for stage, kind in kinds.items()
        if not kind.has_endpoint
    ]


def _package_problems(aws: Aws, project: Project, drafts: Mapping[str, Export], *, certain: bool) -> list[Problem]:
    """What is wrong with the model packages that configurations, by their files, name beside the deployed one.

    Where AWS cannot be asked, that is an error only when nothing else is wrong (`certain`).
    """
    from botocore.exceptions import BotoCoreError, ClientError

    references = [
        (file, parameter, arn)
        for file, draft in drafts.items()
        for parameter, arn in hosting.of(draft.hosting).other_packages(draft.parameters).items()
    ]
    problems = []
    try:
        if references:
            aws.log_in()
        for file, parameter, arn in references:
            try:
                registry.require_approved(aws.sagemaker, arn, project.model_package_group)
            except (errors.ModelPackageNotFound, errors.ModelPackageOfOtherGroup, errors.ModelPackageNotApproved) as no:
                problems.append(Problem(file, f"Parameters.{parameter}", no.message))
    except (errors.SagemakerCiError, BotoCoreError, ClientError):
        if certain:
            raise
    return problems


def _draft(
    folder: Path, project: Project, stage: str, role: str, prices: Prices | None
) -> tuple[str, Export | None, list[Problem]]:
    """The file that configures a stage, what is exported of it, and everything that is wrong with it."""
    path, problems = stage_config.find(folder, stage)
    content: Mapping[str, Any] = {}
    if path is not None:
        content, problems = stage_config.load(path)
    kind, named = stage_config.hosting_of(content)
    filled, template_problems = template.of_stage(folder, kind, named=named)
    problems = template_problems + problems
    if path is None:
        return "", None, problems
    problems += stage_config.hosting_problems(path.name, kind)
    supplied = kind.parameters(project, stage, role)
    parameters = {key: stage_config.as_text(value) for key, value in content.get("Parameters", {}).items()}
    tags = {key: stage_config.as_text(value) for key, value in content.get("Tags", {}).items()}
    tags |= stage_tags(project, stage)
    if filled is not None and (content or not problems):  # a file that cannot be read lacks nothing else
        problems += stage_config.problems(path.name, content, kind, filled.parameters, supplied)
        problems += stage_config.supply_problems(filled.file, filled.parameters, supplied)
    problems += template.region_problems(filled, project.region) if filled else []
    problems += stage_config.tag_problems(path.name, tags)
    body, shift = filled.text if filled else "", None
    settled = stage_config.settled(content, filled.parameters, supplied) if filled else {}
    if filled is not None and (deployment := content.get("Deployment")):
        problems += guardrails.problems(path.name, deployment, kind, settled)
        if not kind.unguarded:
            place = (project.stack(stage), project.endpoint(stage))
            body, shift, unfit = guardrails.applied(filled, deployment, settled, *place)
            problems += unfit
    hosted = f"{kind.name}, " if named else ""
    hosted += f"{shift.strategy}, " if shift else ""
    counts = f"{_count(parameters, 'parameter')}, {_count(tags, 'tag')}, {_count(problems, 'problem')}"
    job.say(f"{path.name}: {hosted}{counts}")
    if filled is None:
        return path.name, None, problems
    supplied_values = {key: value for key, value in supplied.items() if value is not None and key in filled.parameters}
    draft = export.Export(
        stage=stage,
        stack_name=project.stack(stage),
        endpoint_name=project.endpoint(stage),
        model_package_arn="",
        hosting=kind.name,
        template=body,
        parameters=parameters | supplied_values,
        tags=tags,
        shift=shift,
        price=list_prices.in_words(kind.usages(settled), prices, project.region),
    )
    if prices:
        job.say(f"{path.name}: {draft.price}")
    return path.name, draft, problems


def _count(things: Sized, noun: str) -> str:
    return f"{len(things) or 'no'} {noun}{'' if len(things) == 1 else 's'}"


# --- the model package ---------------------------------------------------------------------------------------------


def _model_package(aws: Aws, arn: str | None, project: Project) -> ModelPackage | None:
    """The version to deploy; None for a merge request in a project that has no approved version yet."""
    job.say(str(aws.log_in()))
    group = project.model_package_group
    try:
        if arn:
            package = registry.require_approved(aws.sagemaker, arn, group)
        else:
            package = registry.latest_approved(aws.sagemaker, group)
    except errors.NoApprovedModelPackage as error:
        if job.current().pipeline_source != "merge_request_event":
            raise
        # A merge request deploys nothing: its configurations are right, and that is all it asks.
        job.say(f"{error.message}: the stage configurations are valid, nothing is exported")
        return None
    job.say(f"{package}{'' if arn else ', the newest approved one'}: {package.arn}")
    if person := registry.approver(package.description):
        job.say(f"approved by {person}")
    return package


def _owner(aws: Aws, project: Project, package: ModelPackage, approval_number: str) -> str:
    """The pipeline that the approval belongs to, empty when it is this one."""
    owner = approval_claim.claim(aws.dynamodb, project, package.arn, approval_number, job.current())
    whose = f"belongs to {owner}: this pipeline deploys nothing" if owner else "is this pipeline's"
    job.say(f"approval {approval_number} of {package} {whose}")
    return owner


def _pinned(draft: Export, package: ModelPackage) -> Export:
    parameters = {**draft.parameters, "ModelPackageName": package.arn}
    approved_by = registry.approver(package.description)
    return draft._replace(model_package_arn=package.arn, parameters=parameters, approved_by=approved_by)


def _report_owner(package: ModelPackage, owner: str) -> None:
    job.write_dotenv({approval_claim.OWNER: owner})
    job.write_summary([f"## Build: {package}", "", f"Nothing is exported: its approval belongs to {owner}."])


def _preview(
    aws: Aws, project: Project, drafts: Sequence[Export], package: ModelPackage | None, *, only: bool
) -> list[str]:
    """What would be deployed, for the comment of a merge request, the summary and, with `only`, the log."""
    in_merge_request = job.current().pipeline_source == "merge_request_event"
    if not (in_merge_request or only):
        return []
    earlier = before.look(aws, project)
    lines = merge_request.masked(preview.lines(package, project.model_package_group, drafts, earlier))
    if only:
        with job.section("Preview"):
            for line in lines:
                job.say(line)
    merge_request.comment(lines)
    return lines


def _report(package: ModelPackage, contents: Mapping[str, bytes], previewed: Sequence[str]) -> None:
    digests = {export.digest_variable(stage): export.digest(content) for stage, content in contents.items()}
    job.write_dotenv(
        {"MODEL_PACKAGE_ARN": package.arn, "MODEL_PACKAGE_VERSION": str(package.version), **digests},
    )
    job.write_summary(
        [
            f"## Build: {package}",
            "",
            f"- model package: {text.code(package.arn)}",
            *([f"- approved by: {text.cell(person)}"] if (person := registry.approver(package.description)) else []),
            *(f"- {export.file_name(stage)}: sha256 `{export.digest(content)}`" for stage, content in contents.items()),
            *(["", *previewed] if previewed else []),
        ]
    )
