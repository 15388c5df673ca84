"""The Lambda function `pipeline_trigger` with one approval, in front of the sandbox's GitLab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.fault_proxy import Call, FaultProxy
from bench.fault_scenarios.queued import QueuedFunction
from ci_scripts import approval_claim, job, settings
from sandbox.processes import ROOT
from tests.support.servers import Aws

_EVENT = json.loads((ROOT / "tests" / "unit" / "events" / "created_approved.json").read_text())


class Trigger(QueuedFunction):
    title = "trigger"
    module = "handler"
    pipeline = """\
spec:
  inputs:
    model_package_arn: {default: ""}
    approval_number: {default: ""}
---
hold $[[ inputs.approval_number ]]:
  script: ["true"]
  when: manual
"""

    def __init__(self, aws: Aws, folder: Path, proxy: FaultProxy) -> None:
        super().__init__(aws, folder, proxy)
        self.settings = settings.load_project(self.project.environ)
        self.create_table(self.settings.approvals_table)
        self.version = 0

    def message(self) -> dict[str, Any]:
        self.version += 1
        group = self.project.group
        self.arn = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{group}/{self.version}"
        detail = _EVENT["detail"] | {"ModelPackageArn": self.arn, "ModelPackageGroupName": group}
        return {**_EVENT, "resources": [self.arn], "detail": detail}

    def environ(self) -> dict[str, str]:
        return {
            "MODEL_PACKAGE_GROUP": self.project.group,
            "ROLLBACK_ON_REJECTION": "false",
            "ANNOUNCEMENT_TOPIC_ARN": "",
        }

    def wrong(self) -> list[str]:
        """Pipelines started for the approval, those that deploy, the record."""
        started = self.started()
        owners = [
            approval_claim.claim(
                self.dynamodb, self.settings, self.arn, "1", job.current({"CI_PIPELINE_ID": str(pipeline.id)})
            )
            for pipeline in started
        ]
        problems = [] if owners.count("") == 1 else [f"{owners.count('')} of {len(started)} pipelines deploy it"]
        names = set(self.job_names())
        if names != {"hold 1"}:
            problems.append(f"the pipelines' jobs are {sorted(names)}")
        rows = [row for key, row in self.records().items() if key.startswith("approval#") and "status" in row]
        unfinished = [row["status"]["S"] for row in rows if row["status"]["S"] != "COMPLETED"]
        return problems + ([f"records are {unfinished}"] if unfinished else [])


class RotatedToken(Trigger):
    """The trigger token is another one by the time GitLab refuses the old: it is read again."""

    title = "trigger, rotated token"

    def begin(self) -> None:
        self.secrets.put_secret_value(SecretId=self.secret, SecretString="glptt-old")

        def rotate(call: Call) -> None:
            if call.operation.startswith("gitlab.POST"):
                self.secrets.put_secret_value(SecretId=self.secret, SecretString=self.token)

        self.proxy.before = rotate


class RefusedApproval(Trigger):
    """GitLab refuses the first attempt: what says that it is under way is taken back."""

    title = "trigger, refused at first"
    red = True

    def begin(self) -> None:
        self.secrets.put_secret_value(SecretId=self.secret, SecretString="glptt-wrong")

    def between(self) -> None:
        self.secrets.put_secret_value(SecretId=self.secret, SecretString=self.token)
