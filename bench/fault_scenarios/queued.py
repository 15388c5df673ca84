"""A Lambda function that works off a queue and starts pipelines in the sandbox's GitLab: what its scenarios share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.fault_proxy import Fault, FaultProxy
from bench.fault_scenarios.base import FunctionScenario, Played
from sandbox.processes import ROOT
from tests.support.gitlab_client import commit
from tests.support.servers import Aws, create_project

_PROGRAM = """
import importlib, json, sys, time
handler = importlib.import_module(sys.argv[1])

class Context:
    function_name, memory_limit_in_mb, aws_request_id = "function", 256, "request"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    end = time.monotonic() + float(sys.argv[2])
    def get_remaining_time_in_millis(self):
        return int(1000 * (self.end - time.monotonic()))

sys.exit(bool(handler.handle(json.load(sys.stdin), Context())["batchItemFailures"]))
"""
_SECONDS = 30
"""What an invocation has. The record of a started pipeline may be tried again for the first ten of them."""


class QueuedFunction(FunctionScenario):
    """One message: a first attempt, and a second one as SQS sends the message again."""

    module = ""
    """The function's module; its `handle` is called."""
    pipeline = ""
    """The .gitlab-ci.yml of the repository whose pipelines are started."""
    red = False
    """Whether the first attempt fails even without a fault."""

    def __init__(self, aws: Aws, folder: Path, proxy: FaultProxy) -> None:
        super().__init__(aws, folder, proxy)
        self.project = create_project(aws)
        self.dynamodb, self.secrets = aws.client("dynamodb"), aws.client("secretsmanager")
        self.repository = self.server.client.projects.create(
            {
                "name": "repository",
                "namespace_id": self.group.id,
                "ci_pipeline_variables_minimum_override_role": "maintainer",  # as the seed check-in sets it
            }
        )
        commit(self.repository, {".gitlab-ci.yml": self.pipeline}, commit_message="Start [skip ci]")
        self.token = str(self.repository.triggers.create({"description": "function"}).token)
        self.secret = self.secrets.create_secret(Name=f"{self.project.name}/token", SecretString=self.token)["ARN"]

    def create_table(self, name: str) -> None:
        self.table = name
        self.dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )

    @abstractmethod
    def message(self) -> dict[str, Any]:
        """The event of a new case."""

    @abstractmethod
    def environ(self) -> dict[str, str]:
        """What the function's template sets beside what all of them have."""

    @abstractmethod
    def wrong(self) -> list[str]:
        """What is not as it should be when the message has been worked off."""

    def begin(self) -> None:
        """Before the first attempt."""

    def between(self) -> None:
        """Before the second."""

    def play(self, fault: Fault | None, follow_up: str = "retry") -> Played:
        message = self.message()
        self.earlier_ids = {pipeline.id for pipeline in self._pipelines()}
        self.begin()
        self.proxy.watch(None, fault)
        first, log = self.invoke(message)
        calls, hit = list(self.proxy.calls), self.proxy.hit
        self.proxy.watch(None)
        problems = []
        if first == 0:
            problems += [f"reported success, but {each}" for each in self.wrong()]
        self._let_time_pass()
        self.between()
        second, more = self.invoke(message)
        if second:
            problems.append(f"the next try failed: {more.strip().splitlines()[-1][:300]}")
        problems += [f"after the next try {each}" for each in self.wrong()]
        if self.token in log + more:
            problems.append("the trigger token stands in the log")
        if fault is None and (first != 0) != self.red:
            problems.append(f"without a fault it ended with {first}: {log}")
        return Played(calls, hit, first != 0, problems)

    def invoke(self, message: Mapping[str, Any]) -> tuple[int, str]:
        """One invocation with the message: its exit code, 0 when the message is done, and its log."""
        body = json.dumps(message)
        record = {"messageId": "1", "body": body, "eventSource": "aws:sqs", "attributes": {}, "messageAttributes": {}}
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        common = {
            "AWS_ENDPOINT_URL": self.proxy.url,
            "PYTHONPATH": str(ROOT / "infra" / "functions"),
            "GITLAB_URL": self.gitlab_url,
            "GITLAB_PROJECT_ID": str(self.repository.id),
            "GITLAB_REF": "main",
            "TRIGGER_TOKEN_SECRET_ARN": self.secret,
            "GITLAB_CA_SECRET": "",
            "TABLE_NAME": self.table,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, f"pipeline_trigger.{self.module}", str(_SECONDS)],
            env=clean | self.aws.environ | common | self.environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.proxy.follow(process)
        output, _ = process.communicate(json.dumps({"Records": [record]}), timeout=120)
        return process.returncode, output

    def started(self) -> list[Any]:
        """This case's pipelines, the oldest first."""
        return sorted(
            (each for each in self._pipelines() if each.id not in self.earlier_ids), key=lambda pipeline: pipeline.id
        )

    def job_names(self) -> list[str]:
        """Of all jobs of this case's pipelines, sorted."""
        return sorted(each.name for pipeline in self.started() for each in pipeline.jobs.list(get_all=True))

    def records(self) -> dict[str, dict[str, Any]]:
        """The table's rows by their id."""
        rows = self.dynamodb.scan(TableName=self.table, ConsistentRead=True)["Items"]
        return {row["id"]["S"]: row for row in rows}

    def _pipelines(self) -> list[Any]:
        return list(self.repository.pipelines.list(source="trigger", get_all=True))

    def _let_time_pass(self) -> None:
        """A message comes back after the queue's visibility timeout, when an invocation's locks have expired."""
        for row in self.records().values():
            if row.get("status", {}).get("S") == "INPROGRESS":
                self.dynamodb.update_item(
                    TableName=self.table,
                    Key={"id": row["id"]},
                    UpdateExpression="SET in_progress_expiration = :past",
                    ExpressionAttributeValues={":past": {"N": "1"}},
                )
