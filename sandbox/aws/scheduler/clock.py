"""The scheduler's clock: looks which schedules are due, and starts what they name as their role.

It reads the machine's time, or the one that somebody has told it (`tell`), which never goes back.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.scheduler.models import Schedule, scheduler_backends

from sandbox.aws.access import identity
from sandbox.aws.ground import ACCOUNT, REGION, state
from sandbox.aws.scheduler import expressions

UNIVERSAL = "arn:aws:scheduler:::aws-sdk:sagemaker:startPipelineExecution"
SERVICE = "scheduler.amazonaws.com"
_FILE = "scheduler-time"
_LOOK_SECONDS = 0.5
_log = logging.getLogger(__name__)


def tell(folder: Path, moment: datetime) -> None:
    """Let the scheduler of the sandbox that keeps its state in `folder` believe that it is `moment`."""
    (folder / _FILE).write_text(moment.astimezone(UTC).isoformat(), encoding="utf-8")


def start() -> None:
    threading.Thread(target=_watch, name="scheduler", daemon=True).start()


def now() -> datetime:
    """The machine's time, moved forward to the one that was told and running on from there."""
    global _last_text, _ahead
    file = state() / _FILE
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if text and text != _last_text:
        _last_text, _ahead = text, datetime.fromisoformat(text) - datetime.now(UTC)
    return datetime.now(UTC) + _ahead


_last_text, _ahead = "", timedelta()


def _watch() -> None:
    before = now()
    while True:
        time.sleep(_LOOK_SECONDS)
        moment = now()
        for group in list(scheduler_backends[ACCOUNT][REGION].schedule_groups.values()):
            for schedule in list(group.schedules.values()):
                if _is_due(schedule, before, moment):
                    _fire(schedule)
                    if schedule.action_after_completion == "DELETE" and _next(schedule, moment) is None:
                        group.schedules.pop(schedule.name, None)
        before = moment


def _is_due(schedule: Schedule, before: datetime, moment: datetime) -> bool:
    """A schedule that was due several times while the clock was moved is due once."""
    if schedule.state != "ENABLED":
        return False
    due = _next(schedule, before)
    return due is not None and due <= moment


def _next(schedule: Schedule, moment: datetime) -> datetime | None:
    since = _moment(schedule.start_date) or datetime.fromtimestamp(float(schedule.creation_date), UTC)
    due = expressions.first_after(schedule.schedule_expression, schedule.schedule_expression_timezone, moment, since)
    end = _moment(schedule.end_date)
    return None if due is None or (end and due > end) else due


def _moment(value: Any) -> datetime | None:
    """A date of the API, which is seconds, or text."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    moment = datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _fire(schedule: Schedule) -> None:
    """Start the pipeline. What is refused is told in the log; the service would try again for a day."""
    target = schedule.target
    try:
        credentials = identity.service_credentials(target["RoleArn"], SERVICE, schedule.name)
        client = identity.client("sagemaker", credentials)
        client.start_pipeline_execution(**_request(target))
    except (ClientError, BotoCoreError, identity.CannotAssume, ValueError) as error:
        _log.warning("schedule %s could not start %s: %s", schedule.name, target["Arn"], error)


def _request(target: dict[str, Any]) -> dict[str, Any]:
    if target["Arn"] == UNIVERSAL:
        request: dict[str, Any] = json.loads(target.get("Input") or "{}")
        return request
    parameters = (target.get("SageMakerPipelineParameters") or {}).get("PipelineParameterList") or []
    return {"PipelineName": target["Arn"], "PipelineParameters": parameters}
