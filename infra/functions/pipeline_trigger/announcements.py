"""What is said of a model package that waits for approval, from its events alone. Pure: handler.py publishes.

Where a version comes from, the job `training` writes into it after the pipeline of SageMaker has registered it: the
event of that update has both. One that something else registered never gets it; handler.py waits a while.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

WAITING = "PendingManualApproval"
_LONGEST_SUBJECT = 99  # "less than 100 characters": https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
# What `training` stamps into CustomerMetadataProperties, see ci_scripts/run_pipeline/run.py.
_STAMP = {
    "GitLabProject": "Repository",
    "GitLabCommit": "Commit",
    "GitLabRef": "Branch",
    "GitLabPipeline": "GitLab pipeline",
    "GitLabJob": "GitLab job",
    "PipelineExecutionArn": "SageMaker pipeline execution",
}
_METRIC = "Metric."  # how the properties begin that say what the model was measured to be
# The console outside the partition `aws`, by the regions' prefix.
_CONSOLES = {
    "cn-": "console.amazonaws.cn",
    "us-gov-": "console.amazonaws-us-gov.com",
    "eusc-": "console.amazonaws-eusc.eu",
}


class Announcement(NamedTuple):
    """A version that waits for approval, in words."""

    model_package_arn: str
    group: str
    subject: str
    """One line of ASCII."""
    message: str
    stamped: bool
    """Whether it tells where the version comes from."""


def read(event: Mapping[str, Any]) -> Announcement | None:
    """What to say because of an event; None when it tells of no version that has come to wait, or of its origin.

    The event must be one that approvals.read() accepts.
    """
    detail = event["detail"]
    if detail["ModelApprovalStatus"] != WAITING:
        return None
    properties = detail.get("CustomerMetadataProperties") or {}
    stamped = any(key in properties for key in _STAMP)
    updated = detail.get("UpdatedModelPackageFields")
    if updated is not None and not (stamped and "CustomerMetadataProperties" in updated):
        return None
    arn = detail.get("ModelPackageArn") or event["resources"][0]
    _, _, _, region, _, resource = arn.split(":", 5)
    _, group, version = resource.split("/")
    return Announcement(
        model_package_arn=arn,
        group=detail.get("ModelPackageGroupName") or group,
        subject=f"Version {version} of {group} waits for approval"[:_LONGEST_SUBJECT],
        message="\n".join(_lines(detail, region, group, version)),
        stamped=stamped,
    )


def _lines(detail: Mapping[str, Any], region: str, group: str, version: str) -> list[str]:
    properties = detail.get("CustomerMetadataProperties") or {}
    facts = {
        "Model package group": group,
        "Version": version,
        "Description": detail.get("ModelPackageDescription"),
        "Registered": detail.get("CreationTime"),
        **{label: properties.get(key) for key, label in _STAMP.items()},
        **{key.removeprefix(_METRIC): value for key, value in properties.items() if key.startswith(_METRIC)},
        **_reports(detail.get("ModelMetrics") or {}),
        "Look at it": _console(region, group, version),
    }
    if not any(properties.get(key) for key in _STAMP):
        generator = (detail.get("MetadataProperties") or {}).get("GeneratedBy")
        facts["Registered by"] = generator or "unknown: the version does not tell which job or pipeline it comes from"
    title = f"Version {version} of the model package group {group} waits for approval."
    return [title, "", *(f"{label}: {value}" for label, value in facts.items() if value)]


def _reports(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Where the metrics are: an event has their places in S3 and not their values."""
    return {
        f"Metrics ({kind}, {name})": report.get("S3Uri")
        for kind, reports in metrics.items()
        for name, report in (reports or {}).items()
        if isinstance(report, Mapping)
    }


def _console(region: str, group: str, version: str) -> str:
    host = next((host for prefix, host in _CONSOLES.items() if region.startswith(prefix)), "console.aws.amazon.com")
    return f"https://{region}.{host}/sagemaker/home?region={region}#/model-packages/{group}/{version}"
