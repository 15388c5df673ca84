"""`infra/trigger.yml`, deployed before a GitLab that answers triggers as it is told to."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.servers import ROOT, Aws, Project, register
from tests.support.stacks import infra_stack
from tests.support.waiting import wait_for

TOKEN, DEPLOY_PROJECT = "glptt-0123456789", "4711"
POLL_SECONDS = 1.2  # a little more than one long poll of Lambda's poller
QUIET_SECONDS = 1.5  # long enough for a pipeline that must not start to start


class GitLab:
    """Answers the trigger API on one port for as long as it is up; `requests` is what it was asked to start."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.refused: list[int] = []
        self.token = TOKEN
        self.busy = False
        self.inputs = {"model_package_arn", "approval_number", "rollback_from"}  # what .gitlab-ci.yml declares
        self.refusal = ""  # the message of a 400 to everything
        self.spoil: Callable[[bytes], tuple[int, bytes]] | None = None  # what becomes of an answer's length and body
        self._server = self._listen(0)
        self.port = self._server.server_port

    def down(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def up(self) -> None:
        self._server = self._listen(self.port)

    def _listen(self, port: int) -> ThreadingHTTPServer:
        gitlab = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = gitlab.answer(self.path, body)
                content = json.dumps(answer).encode()
                length = len(content)
                if status == 201 and gitlab.spoil:
                    length, content = gitlab.spoil(content)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(length))
                if status == 429:
                    self.send_header("Retry-After", "60")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Nothing: pytest's output is for failures."""

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.busy:
            self.refused.append(429)
            return 429, {"message": "Too Many Requests"}
        if path != f"/api/v4/projects/{DEPLOY_PROJECT}/trigger/pipeline" or body["token"] != self.token:
            self.refused.append(404)
            return 404, {"message": "404 Not Found"}
        if self.refusal:
            self.refused.append(400)
            return 400, {"message": {"base": [self.refusal]}}
        if unknown := set(body["inputs"]) - self.inputs:  # GitLab keeps a failed pipeline of it
            self.refused.append(422)
            return 422, {"message": {"base": [f"`inputs`: unknown input arguments: {', '.join(sorted(unknown))}"]}}
        self.requests.append(body)
        number = len(self.requests)
        url = f"http://127.0.0.1:{self.port}/pipelines/{number}"
        return 201, {"id": number, "ref": body["ref"], "status": "created", "web_url": url}


class Trigger(NamedTuple):
    """A deployed trigger stack, and what its tests do with it."""

    aws: Aws
    project: Project
    gitlab: GitLab
    secret: str
    stack: str
    outputs: dict[str, str]

    def register(self, status: str, group: str = "") -> str:
        return register(self.aws, group or self.project.group, status)

    def set(self, arn: str, status: str) -> None:
        time.sleep(0.1)  # a person takes longer than the copies of an event lie apart
        self.aws.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)

    def update(self, **parameters: str) -> None:
        """Update the stack with other values of some parameters."""
        cloudformation = self.aws.client("cloudformation")
        stack = cloudformation.describe_stacks(StackName=self.stack)["Stacks"][0]
        unchanged = [each["ParameterKey"] for each in stack["Parameters"] if each["ParameterKey"] not in parameters]
        cloudformation.update_stack(
            StackName=self.stack,
            UsePreviousTemplate=True,
            Parameters=[{"ParameterKey": name, "UsePreviousValue": True} for name in unchanged]
            + [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        cloudformation.get_waiter("stack_update_complete").wait(
            StackName=self.stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )

    def retry_every(self, seconds: int) -> None:
        attributes = {"VisibilityTimeout": str(seconds)}
        self.aws.client("sqs").set_queue_attributes(QueueUrl=self.outputs["QueueUrl"], Attributes=attributes)
        time.sleep(POLL_SECONDS)  # whoever waits for messages at this moment still has the old value

    def is_quiet(self) -> bool:
        """Whether no event is waiting or being worked on."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        queue = {"QueueUrl": self.outputs["QueueUrl"], "AttributeNames": names}
        counts = self.aws.client("sqs").get_queue_attributes(**queue)["Attributes"]
        return sum(int(number) for number in counts.values()) == 0

    def metric(self, name: str, namespace: str = "SageMakerCI", dimensions: dict[str, str] | None = None) -> float:
        """The sum of a metric as CloudWatch reads it from the function's log; of all dimensions if none are given."""
        rows = [json.loads(line) for line in log_lines(self) if line.startswith("{") and '"_aws"' in line]
        return sum(
            sum(row.get(name, []))
            for row in rows
            for metrics in row["_aws"]["CloudWatchMetrics"]
            if metrics["Namespace"] == namespace
            if dimensions is None or dimensions in [{key: row[key] for key in names} for names in metrics["Dimensions"]]
        )

    def alarmed(self, alarm: str) -> float:
        """The sum of what an alarm of the stack looks at."""
        rows = self.aws.client("cloudformation").list_stack_resources(StackName=self.stack)["StackResourceSummaries"]
        [name] = [row["PhysicalResourceId"] for row in rows if row["LogicalResourceId"] == alarm]
        [description] = self.aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
        dimensions = {each["Name"]: each["Value"] for each in description["Dimensions"]}
        return self.metric(description["MetricName"], description["Namespace"], dimensions)

    def pipelines(self) -> list[str]:
        """The model packages for which pipelines were started, once every event has been worked off."""
        return self._started("model_package_arn")

    def rollbacks(self) -> list[str]:
        """The model packages that pipelines were started to take back, once every event has been worked off."""
        return self._started("rollback_from")

    def _started(self, name: str) -> list[str]:
        wait_for(self.is_quiet)
        time.sleep(QUIET_SECONDS)
        wait_for(self.is_quiet)
        return [request["inputs"][name] for request in self.gitlab.requests if name in request["inputs"]]


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    command = [sys.executable, "infra/archive.py", "pipeline_trigger", "--output", str(tmp_path_factory.mktemp("dist"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.split()[0])


@contextmanager
def trigger_stack(
    aws: Aws, project: Project, archive: Path, gitlab_url: str, gitlab_project: str, token: str, **more: str
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """The stack of infra/trigger.yml before a GitLab: the ARN of its token's secret, its name and outputs."""
    aws.client("s3").upload_file(str(archive), project.bucket, archive.name)
    secret = aws.client("secretsmanager").create_secret(Name=f"{project.name}/token", SecretString=token)["ARN"]
    parameters = {
        "SageMakerProjectName": project.name,
        "SageMakerProjectId": project.id,
        "GitLabServerUrl": gitlab_url,
        "GitLabProjectId": gitlab_project,
        "TriggerTokenSecretArn": secret,
        "CodeBucket": project.bucket,
        "CodeKey": archive.name,
        **more,
    }
    with infra_stack(aws, "trigger.yml", parameters) as stack:
        yield secret, stack.name, stack.outputs


@pytest.fixture
def trigger(aws: Aws, project: Project, archive: Path) -> Iterator[Trigger]:
    gitlab = GitLab()
    place = (f"http://127.0.0.1:{gitlab.port}", DEPLOY_PROJECT, TOKEN)
    with trigger_stack(aws, project, archive, *place) as (secret, stack, outputs):
        deployed = Trigger(aws, project, gitlab, secret, stack, outputs)
        # Copies of an event that meet one being worked on come back after this, not after the stack's six minutes.
        deployed.retry_every(3)
        yield deployed
    gitlab.down()


def log_lines(trigger: Trigger) -> list[str]:
    """What the function has written to CloudWatch Logs."""
    logs = trigger.aws.client("logs")
    groups = [f"/aws/lambda/{trigger.outputs['FunctionName']}", trigger.outputs["LogGroupName"]]
    existing = {each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]}
    return [
        event["message"]
        for group in groups
        if group in existing
        for event in logs.filter_log_events(logGroupName=group)["events"]
    ]
