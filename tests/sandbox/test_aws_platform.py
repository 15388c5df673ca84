"""The sandbox's AWS as a platform: it starts, answers, logs calls and ends with everything it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import boto3

from tests.sandbox.conftest import REGION, ROOT, Aws, Project, create_role, start_server, stop_server
from tests.sandbox.test_aws_functions import archive


def test_a_call_is_logged_with_operation_principal_and_status(aws: Aws, project: Project) -> None:
    aws.client("s3").put_object(Bucket=project.bucket, Key="a.txt", Body=b"text that must not be logged")
    keys = aws.client("sts").assume_role(RoleArn=project.pipeline_role, RoleSessionName="who")["Credentials"]
    aws.client(
        "sagemaker",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    ).list_endpoints()
    text = (aws.state / "requests.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    put = next(line for line in lines if line["operation"] == "PutObject" and project.bucket in line["resource"])
    assert (put["service"], put["principal"], put["status"]) == ("s3", "root", 200)
    session = f"assumed-role/{project.pipeline_role.rpartition('/')[2]}/who"
    assert [line["operation"] for line in lines if line["principal"].endswith(session)] == ["ListEndpoints"]
    assert "must not be logged" not in text
    assert keys["SecretAccessKey"] not in text


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_server_that_is_stopped_leaves_no_process_behind(tmp_path: Path) -> None:
    process, url = start_server("sandbox.aws", tmp_path)
    keys = {"aws_access_key_id": "AKIASANDBOXROOT00000", "aws_secret_access_key": "sandbox-root-secret"}
    server = Aws(url, {name.upper(): value for name, value in keys.items()}, tmp_path)
    role = create_role(server, "function", "lambda.amazonaws.com")
    functions = boto3.client("lambda", region_name=REGION, endpoint_url=url, **keys)
    functions.create_function(
        FunctionName="warm",
        Role=role,
        Runtime="python3.13",
        Handler="app.handler",
        Timeout=10,
        Code={"ZipFile": archive(app="import os\ndef handler(event, context): return os.getpid()")},
    )
    warm = json.loads(functions.invoke(FunctionName="warm")["Payload"].read())
    assert alive(warm)
    assert stop_server(process) == 0
    wait(lambda: not alive(warm))


def test_a_server_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox.aws", "--state", str(tmp_path)]
    starter = (
        "import subprocess, sys, time\n"
        f"server = subprocess.Popen({command!r}, stdout=subprocess.PIPE, text=True)\n"
        "server.stdout.readline()\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    server = int(parent.stdout.readline())
    assert alive(server)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait(lambda: not alive(server))
