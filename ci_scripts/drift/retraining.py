"""Start the pipeline of model-build when data has drifted: once for a deployment, and again after a quiet time.

What was started is kept beside the records of the stage's deployments, one object for each event, its number claimed by
a conditional write: of two jobs at once one starts a pipeline, and one that is killed in between starts none twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ci_scripts import aws_errors, errors, job
from ci_scripts.aws import Aws
from ci_scripts.deployment_record import Record
from ci_scripts.settings import Project

TOKEN = "RETRAIN_TRIGGER_TOKEN"  # noqa: S105 - a name
"""The CI/CD variable with the trigger token of the model-build project: masked, protected."""

# GitLab counts what comes with a trigger as variables: `TRIGGER_PAYLOAD`.
_VARIABLES = (
    "Let the owner of the trigger token set variables: in that project, Settings > CI/CD > Variables > Minimum role to "
    "use pipeline variables."
)
_BEGUN, _STARTED, _FAILED = "begun", "started", "failed"


class Wish(NamedTuple):
    """What to start."""

    project: str
    """The GitLab project of model-build: its number, or its path."""
    ref: str
    token: str
    quiet: timedelta
    """How long to wait before the same deployment starts another one."""


def start(aws: Aws, project: Project, record: Record, wish: Wish, environ: Mapping[str, str] = os.environ) -> str:
    """Start a pipeline, unless one was started; what became of it, as a sentence. A failure is told, not raised."""
    events = _Events(aws, project, record.deployed.stage)
    number, newest = events.latest()
    now = datetime.now(UTC)
    if newest and newest["Record"] == record.number and newest["Event"] != _FAILED:
        since = datetime.fromisoformat(newest["Time"])
        if now - since < wish.quiet:
            return f"no retraining: one was started on {newest['Time']} ({newest['Pipeline'] or newest['Job']})"
    event = {
        "Record": record.number,
        "Time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "Job": job.current(environ).url,
        "Pipeline": "",
    }
    if not events.append(number + 1, event | {"Event": _BEGUN}):
        return "no retraining: another job starts one at this moment"
    try:
        url = _trigger(wish, environ)
    except errors.SagemakerCiError as error:
        events.append(number + 2, event | {"Event": _FAILED})
        hint = _VARIABLES if "pipeline variables" in error.message else error.hint
        return f"no retraining, as GitLab starts none: error {error.code}: {error.message}. {hint}"
    events.append(number + 2, event | {"Event": _STARTED, "Pipeline": url})
    return f"retraining: {url}"


def _trigger(wish: Wish, environ: Mapping[str, str]) -> str:
    """The address of the pipeline. Raises what asking GitLab raises."""
    from ci_scripts import gitlab

    client = gitlab.connect(environ.get("CI_API_V4_URL", ""), environ=environ)
    with gitlab.asking():
        pipeline = client.projects.get(wish.project, lazy=True).trigger_pipeline(wish.ref, wish.token.strip())
    return str(pipeline.web_url)


class _Events:
    """What was started for a stage."""

    def __init__(self, aws: Aws, project: Project, stage: str) -> None:
        self._s3, self._bucket = aws.s3, project.artifact_bucket
        self._prefix = f"{project.history_prefix(stage)}retraining/"

    def latest(self) -> tuple[int, dict[str, Any] | None]:
        """The newest event and its number, 0 where there is none."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        if not keys:
            return 0, None
        newest = max(keys)
        content = json.loads(self._s3.get_object(Bucket=self._bucket, Key=newest)["Body"].read())
        return int(newest.removeprefix(self._prefix).removesuffix(".json")), content

    def append(self, number: int, event: Mapping[str, Any]) -> bool:
        """Whether the event has the place of its number, which another job may have taken."""
        from botocore.exceptions import ClientError

        try:
            self._s3.put_object(
                Bucket=self._bucket,
                Key=f"{self._prefix}{number:08}.json",
                Body=json.dumps(event, indent=2).encode(),
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except ClientError as error:
            if aws_errors.code(error) not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            return False
        return True
