"""A burst of approvals: every one starts its pipeline once, though events come in copies and GitLab often fails.

The stacks are infra/trigger.yml and the functions run from their archive, in the sandbox's AWS. GitLab's double is a
server that writes down what it started: the sandbox's own would spend its time on compiling pipelines. It fails
before it starts a pipeline; with `lossy` also after it has, and the function is killed at random moments. Both make
second pipelines: then what counts is which of them `build` lets claim the approval.
`make bench` measures the large burst, tests/product/test_burst.py proves a small one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import boto3

from ci_scripts import approval_claim, job
from ci_scripts.settings import Project
from sandbox.aws.ground import REGION, ROOT_KEYS
from sandbox.processes import Server

ROOT = Path(__file__).resolve().parents[1]
COPIES = 3
FAILING = 0.3
_RETRY_SECONDS = 3  # between two attempts; the stack's own six minutes would take all day
_LONG_POLL_SECONDS = 1.2
_BUCKET = "burst-code"
_SERVICES = ("s3", "sqs", "secretsmanager", "cloudformation", "dynamodb")
_BATCH = 10  # messages that SQS takes at once
_EVENT = json.loads((ROOT / "tests" / "unit" / "events" / "created_approved.json").read_text())


class Burst(NamedTuple):
    """What came of it."""

    approvals: int
    started: int
    lost: int
    double: int
    """Approvals that more than one pipeline deploys."""
    wrong: int
    """Pipelines in another project than the model package's group belongs to."""
    failures: int
    """Requests that GitLab did not answer as they deserved."""
    calls: int
    seconds: float
    kills: int = 0


class GitLab:
    """Answers the trigger API for every project; a part of the requests fails before anything is started."""

    def __init__(self, tokens: dict[str, str], *, lossy: bool) -> None:
        self.tokens = tokens  # project id: its trigger token
        self.lossy = lossy  # whether an answer may be lost after a pipeline was started
        self.started: list[tuple[str, str, str]] = []  # project id, model package, number of the approval
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
            inputs = body["inputs"]
            self.started.append((project, inputs["model_package_arn"], inputs["approval_number"]))
            if self.lossy and self._random.random() < FAILING:
                self.failures += 1
                return self._random.choice([0, 500, 504]), {"message": "GitLab is not responding"}
            return 201, {"id": len(self.started), "web_url": f"{self.url}/pipelines/{len(self.started)}"}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def run(approvals: int, groups: int, limit: float = 600, *, lossy: bool = False) -> Burst:
    """Deploy a trigger for each group, send every event in three copies and any order, wait until all is quiet.

    `limit`: seconds after which whatever has not started counts as lost. `lossy`: answers get lost after a pipeline was
    started, and functions are killed.
    """
    kills: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        archive = _build(Path(folder))
        tokens = {str(1000 + number): f"glptt-{number}" for number in range(groups)}
        with (
            closing(GitLab(tokens, lossy=lossy)) as gitlab,
            Server("sandbox.aws", Path(folder) / "aws", "--port", "0") as aws,
        ):
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
            with _killing(aws.pid, kills, on=lossy):
                _wait(_clients(aws.url)["sqs"], list(queues.values()), began + limit / 2)
            _wait(_clients(aws.url)["sqs"], list(queues.values()), began + limit)
            seconds = time.monotonic() - began
            deployed = _claimed(_clients(aws.url)["dynamodb"], gitlab.started)
    expected = {(project, event["detail"]["ModelPackageArn"], "1") for project, event in events}
    started = Counter(deployed)
    return Burst(
        approvals=len(expected),
        started=len(gitlab.started),
        lost=len(expected - set(started)),
        double=sum(times - 1 for times in started.values()),
        wrong=len(set(started) - expected),
        failures=gitlab.failures,
        calls=gitlab.calls,
        seconds=seconds,
        kills=len(kills),
    )


@contextmanager
def _killing(server: int, kills: list[int], *, on: bool) -> Iterator[None]:
    """Kill a process of a function of this server every now and then, at a moment that nobody chose."""
    over, chance = threading.Event(), random.Random(3)  # noqa: S311 - the same burst every time

    def kill() -> None:
        while not over.wait(chance.uniform(0.2, 1.5)):
            if functions := _functions(server):
                victim = chance.choice(functions)
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # it ended by itself
                kills.append(victim)

    killer = threading.Thread(target=kill)
    if on:
        killer.start()
    try:
        yield
    finally:
        over.set()
        if on:
            killer.join()


def _functions(server: int) -> list[int]:
    """The processes of functions below the server's."""
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    parents = {int(pid): int(parent) for pid, parent, _ in rows}

    def is_below(pid: int) -> bool:
        while pid in parents:
            pid = parents[pid]
            if pid == server:
                return True
        return False

    return [int(pid) for pid, _, command in rows if "functions/runner.py" in command and is_below(int(pid))]


def _claimed(dynamodb: Any, started: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Those of the started pipelines that deploy: each one's `build` claims its approval, many at once."""

    def deploys(pipeline: tuple[int, tuple[str, str, str]]) -> bool:
        number, (project, arn, approval) = pipeline
        settings = Project(REGION, "burst", project, None, "unused")
        return not approval_claim.claim(dynamodb, settings, arn, approval, job.current({"CI_PIPELINE_ID": str(number)}))

    with ThreadPoolExecutor(8) as pool:
        return [each for each, wins in zip(started, pool.map(deploys, enumerate(started, 1)), strict=True) if wins]


def _build(folder: Path) -> Path:
    command = [sys.executable, str(ROOT / "infra" / "archive.py"), "pipeline_trigger", "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"building the archive failed:\n{done.stderr}")
    return Path(done.stdout.split()[0])


def _clients(url: str) -> dict[str, Any]:
    session: Any = boto3.Session(ROOT_KEYS["AWS_ACCESS_KEY_ID"], ROOT_KEYS["AWS_SECRET_ACCESS_KEY"], region_name=REGION)
    return {name: session.client(name, endpoint_url=url) for name in _SERVICES}


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
            counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            if not any(int(number) for number in counts.values()):
                break
            time.sleep(0.5)
