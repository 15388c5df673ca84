"""The Lambda function `pipeline_trigger` with one approval, in front of the sandbox's GitLab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.fault_proxy import Call, Fault, FaultProxy
from bench.fault_scenarios.base import FunctionScenario, Played
from ci_scripts import approval_claim, job, settings
from sandbox.processes import ROOT
from tests.support.gitlab_client import commit
from tests.support.servers import Aws, create_project

_PROGRAM = """
import json, sys, time
from pipeline_trigger import handler

class Context:
    function_name, memory_limit_in_mb, aws_request_id = "pipeline-trigger", 256, "request"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:pipeline-trigger"
    end = time.monotonic() + float(sys.argv[1])
    def get_remaining_time_in_millis(self):
        return int(1000 * (self.end - time.monotonic()))

sys.exit(bool(handler.handle(json.load(sys.stdin), Context())["batchItemFailures"]))
"""
_PIPELINE = """\
spec:
  inputs:
    model_package_arn: {default: ""}
    approval_number: {default: ""}
---
hold $[[ inputs.approval_number ]]:
  script: ["true"]
  when: manual
"""
SECONDS = 30
"""What an invocation has. The record of a started pipeline may be tried again for the first ten of them."""
_EVENT = json.loads((ROOT / "tests" / "unit" / "events" / "created_approved.json").read_text())


class Trigger(FunctionScenario):
    title = "trigger"
    red = False
    """Whether the first attempt fails even without a fault."""

    def __init__(self, aws: Aws, folder: Path, proxy: FaultProxy) -> None:
        super().__init__(aws, folder, proxy)
        self.project = create_project(aws)
        self.settings = settings.load_project(self.project.environ)
        self.dynamodb, self.secrets = aws.client("dynamodb"), aws.client("secretsmanager")
        self.dynamodb.create_table(
            TableName=self.settings.approvals_table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
        self.repository = self.server.client.projects.create(
            {
                "name": "deploy",
                "namespace_id": self.group.id,
                "ci_pipeline_variables_minimum_override_role": "maintainer",  # as the seed check-in sets it
            }
        )
        commit(self.repository, {".gitlab-ci.yml": _PIPELINE}, commit_message="Start [skip ci]")
        self.token = str(self.repository.triggers.create({"description": "approvals"}).token)
        self.secret = self.secrets.create_secret(Name=f"{self.project.name}/token", SecretString=self.token)["ARN"]
        self.versions = 0

    def play(self, fault: Fault | None, follow_up: str = "retry") -> Played:
        self.versions += 1
        arn = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{self.project.group}/{self.versions}"
        earlier_ids = {pipeline.id for pipeline in self._pipelines()}
        self.begin()
        self.proxy.watch(None, fault)
        first, log = self._invoke(arn)
        calls, hit = list(self.proxy.calls), self.proxy.hit
        self.proxy.watch(None)
        problems = []
        if first == 0:
            problems += [f"reported success, but {each}" for each in self._wrong(arn, earlier_ids)]
        self._let_time_pass()
        self.between()
        second, more = self._invoke(arn)
        if second:
            problems.append(f"the next try failed: {more.strip().splitlines()[-1][:300]}")
        problems += [f"after the next try {each}" for each in self._wrong(arn, earlier_ids)]
        if self.token in log + more:
            problems.append("the trigger token stands in the log")
        if fault is None and (first != 0) != self.red:
            problems.append(f"without a fault it ended with {first}: {log}")
        return Played(calls, hit, first != 0, problems)

    def begin(self) -> None:
        """Before the first attempt."""

    def between(self) -> None:
        """Before the second."""

    def _let_time_pass(self) -> None:
        """An event comes back after the queue's visibility timeout, when an invocation's locks have expired."""
        for row in self.dynamodb.scan(TableName=self.settings.approvals_table)["Items"]:
            if row.get("status", {}).get("S") == "INPROGRESS":
                self.dynamodb.update_item(
                    TableName=self.settings.approvals_table,
                    Key={"id": row["id"]},
                    UpdateExpression="SET in_progress_expiration = :past",
                    ExpressionAttributeValues={":past": {"N": "1"}},
                )

    def _invoke(self, arn: str) -> tuple[int, str]:
        """One invocation with the event of the approval: its exit code, 0 when the message is done, and its log."""
        detail = _EVENT["detail"] | {"ModelPackageArn": arn, "ModelPackageGroupName": self.project.group}
        body = json.dumps(_EVENT | {"resources": [arn], "detail": detail})
        record = {"messageId": "1", "body": body, "eventSource": "aws:sqs", "attributes": {}, "messageAttributes": {}}
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(SECONDS)],
            env=clean | self.aws.environ | self._environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.proxy.follow(process)
        output, _ = process.communicate(json.dumps({"Records": [record]}), timeout=120)
        return process.returncode, output

    def _environ(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.proxy.url,
            "PYTHONPATH": str(ROOT / "infra" / "functions"),
            "MODEL_PACKAGE_GROUP": self.project.group,
            "GITLAB_URL": self.gitlab_url,
            "GITLAB_PROJECT_ID": str(self.repository.id),
            "GITLAB_REF": "main",
            "TRIGGER_TOKEN_SECRET_ARN": self.secret,
            "GITLAB_CA_SECRET": "",
            "TABLE_NAME": self.settings.approvals_table,
            "ROLLBACK_ON_REJECTION": "false",
            "ANNOUNCEMENT_TOPIC_ARN": "",
        }

    def _pipelines(self) -> list[Any]:
        return list(self.repository.pipelines.list(source="trigger", get_all=True))

    def _wrong(self, arn: str, earlier_ids: set[int]) -> list[str]:
        """What is not as it should be: pipelines started for the approval, those that deploy, the record."""
        started = [pipeline for pipeline in self._pipelines() if pipeline.id not in earlier_ids]
        owners = [
            approval_claim.claim(
                self.dynamodb, self.settings, arn, "1", job.current({"CI_PIPELINE_ID": str(pipeline.id)})
            )
            for pipeline in started
        ]
        problems = [] if owners.count("") == 1 else [f"{owners.count('')} of {len(started)} pipelines deploy it"]
        names = {each.name for pipeline in started for each in pipeline.jobs.list(get_all=True)}
        if names != {"hold 1"}:
            problems.append(f"the pipelines' jobs are {sorted(names)}")
        rows = self.dynamodb.scan(TableName=self.settings.approvals_table, ConsistentRead=True)["Items"]
        records = [row["status"]["S"] for row in rows if row["id"]["S"].startswith("approval#") and "status" in row]
        unfinished = [status for status in records if status != "COMPLETED"]
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
