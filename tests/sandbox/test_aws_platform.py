"""The sandbox's servers: they answer programs of this machine, log calls, and end with everything they started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from sandbox.aws.ground import ROOT_KEYS
from sandbox.processes import ROOT, Server
from tests.support.functions import archive
from tests.support.gitlab_client import GitLab
from tests.support.servers import Aws, Project, create_role
from tests.support.waiting import wait_for

pytest_plugins = ["tests.support.gitlab_fixtures"]


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


def test_a_server_that_is_stopped_leaves_no_process_behind(tmp_path: Path) -> None:
    server = Server("sandbox.aws", tmp_path)
    aws = Aws(server.url, ROOT_KEYS, tmp_path)
    role = create_role(aws, "function", "lambda.amazonaws.com")
    functions = aws.client("lambda")
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
    assert server.stop() == 0
    wait_for(lambda: not alive(warm))


@pytest.mark.parametrize("module", ["sandbox.aws", "sandbox.gitlab"])
def test_a_server_ends_with_the_program_that_started_it(tmp_path: Path, module: str) -> None:
    (tmp_path / "images.json").write_text("[]")
    images = ["--images", str(tmp_path / "images.json")] if module == "sandbox.gitlab" else []
    command = [sys.executable, "-m", module, "--state", str(tmp_path), *images]
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
    wait_for(lambda: not alive(server))


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    first = Server("sandbox.aws", tmp_path / "first")
    with pytest.raises(SystemExit, match=f"Port {first.url.rpartition(':')[2]} is in use"):
        Server("sandbox.aws", tmp_path / "second", "--port", first.url.rpartition(":")[2])
    first.stop()


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://example.com"}, {"Host": "example.com:4566"}], ids=["a form", "a name of its own"]
)
def test_a_page_in_the_browser_is_not_answered(aws: Aws, gitlab_server: GitLab, headers: dict[str, str]) -> None:
    answers = [
        requests.post(f"{url}/moto-api/reset", headers=headers, timeout=10) for url in (aws.url, gitlab_server.url)
    ]
    assert [answer.status_code for answer in answers] == [403, 403]
