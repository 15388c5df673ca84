"""A burst of approvals: every one starts its pipeline once, though events come in copies and GitLab often fails.

The stacks are infra/trigger.yml and the functions run from their archive, in the sandbox's AWS. Only GitLab is played,
by a server that writes down what it started: the sandbox's own would spend its time on compiling pipelines. It fails
before it starts a pipeline, never after: an answer lost then makes a second pipeline, which is not measured here.
`make bench` measures the large burst, tests/sandbox/test_burst.py proves a small one.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import boto3

from sandbox.aws.server import REGION, ROOT_KEYS
from sandbox.processes import Server

ROOT = Path(__file__).resolve().parents[1]
COPIES = 3
FAILING = 0.3
_RETRY_SECONDS = 3  # between two attempts; the stack's own six minutes would take all day
_LONG_POLL_SECONDS = 1.2
_BUCKET = "burst-code"
_BATCH = 10  # messages that SQS takes at once
_EVENT = json.loads((ROOT / "tests" / "unit" / "events" / "created_approved.json").read_text())


class Burst(NamedTuple):
    """What came of it."""

    approvals: int
    started: int
    lost: int
    double: int
    wrong: int
    """Pipelines in another project than the model package's group belongs to."""
    failures: int
    """Requests that GitLab did not answer as they deserved."""
    calls: int
    seconds: float


class GitLab:
    """Answers the trigger API for every project; a part of the requests fails before anything is started."""

    def __init__(self, tokens: dict[str, str]) -> None:
        self.tokens = tokens  # project id: its trigger token
        self.started: list[tuple[str, str]] = []  # project id, model package
        self.calls = self.failures = 0
        self._random, self._lock = random.Random(1), threading.Lock()  # noqa: S311 - the same burst every time
        gitlab = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = gitlab.answer(self.path.split("/")[4], body)
                if status == 0:
                    return  # the connection breaks
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: Any) -> None:
                """Nothing: a table is printed at the end."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, project: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.calls += 1
            if self._random.random() < FAILING:
                self.failures += 1
                return self._random.choice([0, 500, 502, 503]), {"message": "GitLab is not responding"}
            if body["token"] != self.tokens[project]:
                return 404, {"message": "404 Not Found"}
            self.started.append((project, body["inputs"]["model_package_arn"]))
            return 201, {"id": len(self.started), "web_url": f"{self.url}/pipelines/{len(self.started)}"}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def run(approvals: int, groups: int, limit: float = 600) -> Burst:
    """Deploy a trigger for each group, send every event in three copies and any order, wait until all is quiet.

    `limit`: seconds after which whatever has not started counts as lost.
    """
    with tempfile.TemporaryDirectory() as folder:
        archive = _build(Path(folder))
        tokens = {str(1000 + number): f"glptt-{number}" for number in range(groups)}
        with closing(GitLab(tokens)) as gitlab, Server("sandbox.aws", Path(folder) / "aws", "--port", "0") as aws:
            queues = _deploy(_clients(aws.url), gitlab, archive)
            events = [
                (project, _event(f"burst-{project}", version))
                for version in range(1, approvals // groups + 1)
                for project in queues
            ]
            deliveries = events * COPIES
            random.Random(2).shuffle(deliveries)  # noqa: S311 - the same burst every time
            began = time.monotonic()
            _send(_clients(aws.url)["sqs"], queues, deliveries)
            _wait(_clients(aws.url)["sqs"], list(queues.values()), began + limit)
            seconds = time.monotonic() - began
    expected = {(project, event["detail"]["ModelPackageArn"]) for project, event in events}
    started = Counter(gitlab.started)
    return Burst(
        approvals=len(expected),
        started=len(gitlab.started),
        lost=len(expected - set(started)),
        double=sum(times - 1 for times in started.values()),
        wrong=len(set(started) - expected),
        failures=gitlab.failures,
        calls=gitlab.calls,
        seconds=seconds,
    )


def _build(folder: Path) -> Path:
    command = [sys.executable, str(ROOT / "infra" / "archive.py"), "pipeline_trigger", "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"building the archive failed:\n{done.stderr}")
    return Path(done.stdout.split()[0])


def _clients(url: str) -> dict[str, Any]:
    session = boto3.Session(ROOT_KEYS["AWS_ACCESS_KEY_ID"], ROOT_KEYS["AWS_SECRET_ACCESS_KEY"], region_name=REGION)
    return {name: session.client(name, endpoint_url=url) for name in ("s3", "sqs", "secretsmanager", "cloudformation")}


def _deploy(aws: dict[str, Any], gitlab: GitLab, archive: Path) -> dict[str, str]:
    """One trigger stack for each project; the URLs of their queues."""
    aws["s3"].create_bucket(Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    aws["s3"].upload_file(str(archive), _BUCKET, archive.name)
    for project, token in gitlab.tokens.items():
        parameters = {
            "SageMakerProjectName": "burst",
            "SageMakerProjectId": project,
            "GitLabServerUrl": gitlab.url,
            "GitLabProjectId": project,
            "TriggerTokenSecretArn": aws["secretsmanager"].create_secret(Name=project, SecretString=token)["ARN"],
            "CodeBucket": _BUCKET,
            "CodeKey": archive.name,
        }
        aws["cloudformation"].create_stack(
            StackName=f"burst-{project}",
            TemplateBody=(ROOT / "infra" / "trigger.yml").read_text(),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
    queues = {}
    for project in gitlab.tokens:
        waiter = aws["cloudformation"].get_waiter("stack_create_complete")
        waiter.wait(StackName=f"burst-{project}", WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        stack = aws["cloudformation"].describe_stacks(StackName=f"burst-{project}")["Stacks"][0]
        queues[project] = next(row["OutputValue"] for row in stack["Outputs"] if row["OutputKey"] == "QueueUrl")
        attributes = {"VisibilityTimeout": str(_RETRY_SECONDS)}
        aws["sqs"].set_queue_attributes(QueueUrl=queues[project], Attributes=attributes)
    time.sleep(_LONG_POLL_SECONDS)  # a poll under way still has the stack's own pause
    return queues


def _event(group: str, version: int) -> dict[str, Any]:
    arn = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/{group}/{version}"
    detail = _EVENT["detail"] | {"ModelPackageGroupName": group, "ModelPackageArn": arn, "ModelPackageVersion": version}
    return {**_EVENT, "resources": [arn], "detail": detail}


def _send(sqs: Any, queues: dict[str, str], deliveries: list[tuple[str, dict[str, Any]]]) -> None:
    for project, url in queues.items():
        bodies = [json.dumps(event) for owner, event in deliveries if owner == project]
        for start in range(0, len(bodies), _BATCH):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + _BATCH])]
            sqs.send_message_batch(QueueUrl=url, Entries=entries)


def _wait(sqs: Any, urls: list[str], deadline: float) -> None:
    """Until no event waits or is worked on."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    for url in urls:
        while time.monotonic() < deadline:
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            if not any(int(number) for number in found.values()):
                break
            time.sleep(0.5)
