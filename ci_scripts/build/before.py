"""What the stages were before the export that `build` makes: for a preview to compare with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from ci_scripts import errors, export, job, merge_request, registry, text
from ci_scripts.aws import Aws
from ci_scripts.build.preview import Before
from ci_scripts.deployment_history import History
from ci_scripts.settings import STAGES, Project


def look(aws: Aws, project: Project) -> dict[str, Before]:
    """By stage, as far as it can be known.

    In a merge request, whose jobs may not read what was deployed, what the default branch's newest successful pipeline
    has built; elsewhere what the newest record says.
    """
    if job.current().pipeline_source == "merge_request_event":
        return _built(aws, project)
    return _deployed(aws, project)


def _built(aws: Aws, project: Project) -> dict[str, Before]:
    branch = text.code(os.environ.get("CI_DEFAULT_BRANCH", ""))
    by_stage: dict[str, Before] = {}
    properties: dict[str, Mapping[str, str]] = {}
    for stage in STAGES:
        name = export.file_name(stage)
        content = merge_request.of_default_branch(name)
        with suppress(errors.InvalidExport):  # of another version, or another project's by now
            if content is not None:
                built = export.parse(content, name, stage, project)
                arn = built.model_package_arn
                if arn not in properties:
                    properties[arn] = _properties(aws, arn)
                by_stage[stage] = Before(built, f"the newest successful pipeline of {branch}", properties[arn])
    return by_stage


def _properties(aws: Aws, arn: str) -> Mapping[str, str]:
    """What a model package is stamped with; nothing where it is gone."""
    from botocore.exceptions import ClientError

    with suppress(ClientError, errors.ModelPackageNotFound):
        properties: Mapping[str, str] = registry.describe(aws.sagemaker, arn).get("CustomerMetadataProperties", {})
        return properties
    return {}


def _deployed(aws: Aws, project: Project) -> dict[str, Before]:
    by_stage = {}
    for stage in STAGES:
        try:
            record = History(aws, project, stage).latest()
        except errors.HistoryUnreachable as error:
            job.say(f"what serves in {stage} is not known: {error.message}")
            continue
        if record is not None and record.serves:
            where = f"record {record.number} of {stage}, {text.cell(record.event)} on {record.time}"
            by_stage[stage] = Before(record.deployed, where, _properties(aws, record.model_package_arn))
    return by_stage
