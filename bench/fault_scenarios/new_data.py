"""The Lambda function `new_data` with one object that came to S3, in front of the sandbox's GitLab."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.fault_proxy import FaultProxy
from bench.fault_scenarios.queued import QueuedFunction
from sandbox.processes import ROOT
from tests.support.servers import Aws

_EVENT = json.loads((ROOT / "tests" / "unit" / "events" / "object_created.json").read_text())
_BUCKET, _PREFIX = "incoming-data", "incoming/"
_QUIET = timedelta(seconds=10)
"""Between the object and the message: longer than the doubt about clocks in arrivals.py."""


class NewData(QueuedFunction):
    """Each case is the first object that this place has ever seen."""

    title = "new data"
    module = "new_data"
    pipeline = """\
spec:
  inputs:
    new_data: {default: "unknown"}
---
train for $[[ inputs.new_data ]]:
  script: ["true"]
  when: manual
"""

    def __init__(self, aws: Aws, folder: Path, proxy: FaultProxy) -> None:
        super().__init__(aws, folder, proxy)
        self.number = 0

    def message(self) -> dict[str, Any]:
        self.number += 1
        self.create_table(f"{self.project.name}-starts-{self.number}")
        self.came = datetime.now(UTC) - _QUIET
        return self._object("first.csv", self.came)

    def _object(self, name: str, came: datetime) -> dict[str, Any]:
        thing = _EVENT["detail"]["object"] | {"key": f"{_PREFIX}{name}", "size": 4}
        detail = _EVENT["detail"] | {"bucket": {"name": _BUCKET}, "object": thing}
        return {**_EVENT, "time": f"{came:%Y-%m-%dT%H:%M:%SZ}", "detail": detail}

    def environ(self) -> dict[str, str]:
        return {"SAGEMAKER_PROJECT": self.project.name, "DATA_BUCKET": _BUCKET, "DATA_PREFIX": _PREFIX}

    def wrong(self) -> list[str]:
        """Pipelines for the object; more than one is the same for the job `training` if its name is the same."""
        names = self.job_names()
        problems = [] if len(set(names)) == 1 else [f"the pipelines' jobs are {names}"]
        if self.covered() < self.came.replace(microsecond=0):
            problems.append(f"the object of {self.came} is not seen, only what came until {self.covered()}")
        return problems

    def covered(self) -> datetime:
        return datetime.fromisoformat(self.records()["covered"]["covered_until"]["S"])


class LaterData(NewData):
    """Another object comes after the first was seen: it has a start of its own, and the first is not started again."""

    title = "new data, a later object"

    def message(self) -> dict[str, Any]:
        self.earlier_ids = {pipeline.id for pipeline in self._pipelines()}
        code, log = self.invoke(super().message())
        [self.first] = self.job_names() or [log]
        if code:
            raise AssertionError(f"the first object started nothing: {log}")
        self._put_back(self.came - _QUIET)
        return self._object("second.csv", self.came)

    def _put_back(self, until: datetime) -> None:
        """As if the first start was that long ago."""
        self.dynamodb.update_item(
            TableName=self.table,
            Key={"id": {"S": "covered"}},
            UpdateExpression="SET covered_until = :until",
            ExpressionAttributeValues={":until": {"S": f"{until:%Y-%m-%dT%H:%M:%SZ}"}},
        )

    def wrong(self) -> list[str]:
        again = self.first in self.job_names()
        return [*super().wrong(), *(["the first object's pipeline is started again"] if again else [])]
