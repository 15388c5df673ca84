"""The custom resources of a project's stack as CloudFormation sends them, and a GitLab with faults."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from ci_scripts.settings import STAGES
from tests.support.gitlab_client import GitLab
from tests.support.servers import ACCOUNT, REGION, ROOT, Aws, Project

MUTATING = ("POST", "PUT", "DELETE")
PROJECTS, CHECKIN = "Custom::GitLabProjects", "Custom::SeedCheckin"
GITLAB = {"ServiceToken", "GitLabServerUrl", "GitLabSecretName", "GitLabCaSecretName"}
OWN_PROPERTIES = {
    PROJECTS: GITLAB | {"GitLabGroupId", "GitLabBaseUrl", "ModelBuildRepositoryName", "ModelDeployRepositoryName"},
    CHECKIN: GITLAB | {
        "ModelBuildProjectId", "ModelDeployProjectId", "SeedBucket", "ModelBuildSeedKey", "ModelDeploySeedKey",
        "ComponentProjectPath", "ComponentVersion", "TriggerTokenSecretArn", "KmsKeyArn", "Variables",
    },
}  # fmt: skip
PROGRAM = """
import json, sys, time
from seed_checkin import handler

class Context:
    function_name, memory_limit_in_mb, aws_request_id = "seed-checkin", 512, "request"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:seed-checkin"
    end = time.monotonic() + float(sys.argv[1])
    def get_remaining_time_in_millis(self):
        return int(1000 * (self.end - time.monotonic()))

handler.handle(json.load(sys.stdin), Context())
"""
JOB = """\
show:
  script:
    - test "$AWS_REGION" = eu-west-1
    - test "$AWS_SECRET_ACCESS_KEY" = 'secret$access/key'
    - test "$CI_COMMIT_REF_PROTECTED" = true
"""

Answer = dict[str, Any]
Fault = Callable[[str, str, int], "int | str | None"]


class CloudFormation:
    """The address behind ResponseURL: keeps what is put there."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.refusals = 0
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if recorder.refusals:
                    recorder.refusals -= 1
                    self.send_error(503)
                    return
                assert self.headers["Content-Type"] == ""
                recorder.answers.append(json.loads(content))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing: pytest's output is for failures."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/bucket/key?X-Amz-Signature=presigned"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Proxy:
    """Stands in front of GitLab and gets in the way: `fault(method, path, count)` says how, `count` is how often this
    very request came. A number is answered instead of asking GitLab; "lost" asks it and answers 502; "crash" asks it
    and calls `crash`; "forget" answers like a server that does not know the settings; None does as it should."""

    def __init__(self, target: str, fault: Fault) -> None:
        self.requests: list[str] = []
        self.crash: Callable[[], None] = lambda: None
        self.elsewhere = self
        counts: dict[tuple[str, str, bytes], int] = {}
        host, proxy = urlsplit(target).netloc, self

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                key = (self.command, self.path, body)
                counts[key] = counts.get(key, 0) + 1
                proxy.requests.append(f"{self.command} {self.path}")
                what = fault(self.command, self.path, counts[key])
                if isinstance(what, int):
                    self.answer(what, b"<html>busy</html>", "text/html")
                    return
                connection = HTTPConnection(host)
                method = "GET" if what == "forget" else self.command
                connection.request(method, self.path, body, dict(self.headers))
                response = connection.getresponse()
                content = response.read()
                if what == "crash":
                    proxy.crash()
                elif what == "lost":
                    self.answer(502, b"<html>bad gateway</html>", "text/html")
                else:
                    self.answer(response.status, content, response.headers.get("Content-Type", ""))

            def answer(self, status: int, content: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if status == 429:
                    self.send_header("Retry-After", "0")
                if status == 301:
                    self.send_header("Location", f"{proxy.elsewhere.url}{self.path}")
                if status != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = forward  # noqa: N815 - the names http.server calls

            def log_message(self, *_: Any) -> None:
                """Nothing: pytest's output is for failures."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Stack:
    """Both custom resources over their life: sends requests as CloudFormation does, each with what is needed to answer.

    One that has failed is not followed by another; what has not changed is not updated; deletions go backwards.
    """

    def __init__(self, aws: Aws, project: Project, server: GitLab, group: Any) -> None:
        self.aws, self.bucket, self.server, self.group = aws, project.bucket, server, group
        self.cloudformation = CloudFormation()
        self.id = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{project.name}/{uuid.uuid4()}"
        self.name = project.name
        self.physical_ids: dict[str, str] = {}
        self.properties_of: dict[str, dict[str, Any]] = {}
        self.data: dict[str, str] = {}
        self.log = ""
        self.put_seed("build.zip", {".gitlab-ci.yml": JOB.encode(), "README.md": b"Build\n"})
        self.put_seed("deploy.zip", {".gitlab-ci.yml": JOB.encode(), "README.md": b"Deploy\n"})
        self.token = self.secret("token", server.token)
        self.trigger = self.secret("trigger", "none yet")
        keys = json.dumps({"AccessKeyId": "AKIASANDBOX", "SecretAccessKey": "secret$access/key"})
        secret_key = {"secret": self.secret("keys", keys), "secret_key": "SecretAccessKey"}
        common = {"AWS_REGION": REGION, "AWS_SECRET_ACCESS_KEY": secret_key}
        roles = [{"value": f"role-{scope}", "environment_scope": scope} for scope in STAGES]
        self.properties: dict[str, Any] = {
            "ServiceToken": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:seed-checkin",
            "GitLabServerUrl": server.url,
            "GitLabGroupId": str(group.id),
            "GitLabBaseUrl": f"{server.url}/{group.full_path}",
            "ModelBuildRepositoryName": "abalone-build",
            "ModelDeployRepositoryName": "abalone-deploy",
            "GitLabSecretName": self.token,
            "GitLabCaSecretName": "",
            "SeedBucket": self.bucket,
            "ModelBuildSeedKey": "build.zip",
            "ModelDeploySeedKey": "deploy.zip",
            "ComponentProjectPath": "mlops/sagemaker-components",
            "ComponentVersion": "1.0.0",
            "TriggerTokenSecretArn": self.trigger,
            "KmsKeyArn": "",
            "Variables": {"Build": common, "Deploy": common | {"AWS_ROLE_ARN": roles}},
        }

    def secret(self, name: str, value: str) -> str:
        secret = self.aws.client("secretsmanager").create_secret(Name=f"{self.name}/{name}", SecretString=value)
        return str(secret["ARN"])

    def secret_value(self, arn: str) -> str:
        return str(self.aws.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])

    def put_seed(self, key: str, files: Mapping[Any, bytes]) -> None:
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        self.aws.client("s3").put_object(Bucket=self.bucket, Key=key, Body=memory.getvalue())

    def event(self, resource: str, kind: str) -> dict[str, Any]:
        """The request."""
        everything = self.properties | self.data
        properties = {name: value for name, value in everything.items() if name in OWN_PROPERTIES[resource]}
        event = {
            "RequestType": kind,
            "ResponseURL": self.cloudformation.url,
            "StackId": self.id,
            "RequestId": str(uuid.uuid4()),
            "ResourceType": resource,
            "LogicalResourceId": resource.removeprefix("Custom::"),
            "ResourceProperties": properties,
        }
        if kind != "Create":
            event["PhysicalResourceId"] = self.physical_ids[resource]
        if kind == "Update":
            event["OldResourceProperties"] = self.properties_of[resource]
        self.properties_of[resource] = properties
        return event

    def start(self, event: dict[str, Any], seconds: float = 120) -> subprocess.Popen[str]:
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(seconds)],
            env=clean | self.aws.environ | {"PYTHONPATH": str(ROOT / "infra" / "functions")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin
        process.stdin.write(json.dumps(event))
        process.stdin.close()
        process.stdin = None
        return process

    def request(self, kind: str, seconds: float = 120, **changes: Any) -> Answer:
        """Have an operation of the stack carried out; the last answer to it. `changes` become properties."""
        self.properties = self.properties | changes
        answer: Answer = {}
        for resource in (CHECKIN, PROJECTS) if kind == "Delete" else (PROJECTS, CHECKIN):
            if kind == "Delete" and resource not in self.physical_ids:
                continue
            earlier = self.properties_of.get(resource)
            event = self.event(resource, kind)
            if kind == "Update" and event["ResourceProperties"] == earlier:
                continue
            answer = self.ask(event, seconds)
            if answer["Status"] == "FAILED":
                break
        return answer | {"Data": self.data}

    def ask(self, event: dict[str, Any], seconds: float = 120) -> Answer:
        """Have a request carried out; the one answer to it."""
        process = self.start(event, seconds)
        output, _ = process.communicate(timeout=200)
        self.log += output
        assert process.returncode == 0, output
        return self.answered(event)

    def answered(self, event: dict[str, Any]) -> Answer:
        answer = self.cloudformation.answers.pop()
        assert not self.cloudformation.answers, "answered more than once"
        assert answer["StackId"] == self.id
        resource = event["ResourceType"]
        if event["RequestType"] != "Create":
            assert answer["PhysicalResourceId"] == self.physical_ids[resource]
        self.physical_ids[resource] = answer["PhysicalResourceId"]
        if resource == PROJECTS and event["RequestType"] != "Delete" and answer["Status"] == "SUCCESS":
            self.data = answer["Data"]
        self.check_secrecy(answer)
        return answer

    def start_over(self) -> None:
        """As a person does who creates the project again: another stack."""
        self.id = f"{self.id}-again"
        self.physical_ids, self.properties_of, self.data = {}, {}, {}

    def check_secrecy(self, answer: Answer) -> None:
        output = self.log + json.dumps(answer)
        secrets = {self.server.token, "secret$access/key", "X-Amz-Signature", self.secret_value(self.trigger)}
        assert not [secret for secret in secrets if secret in output]
        assert "glpat-" not in output
        assert "glptt-" not in output

    def project(self, name: str) -> Any:
        return self.server.client.projects.get(f"{self.group.full_path}/{name}")

    def names(self) -> list[str]:
        """The projects in the group."""
        return sorted(project.path for project in self.group.projects.list(get_all=True))


@pytest.fixture
def stack(aws: Aws, project: Project, gitlab_server: GitLab, group: Any) -> Iterator[Stack]:
    checkin_stack = Stack(aws, project, gitlab_server, group)
    yield checkin_stack
    checkin_stack.cloudformation.close()


def at(url: str, group: Any) -> dict[str, Any]:
    """The properties that say where GitLab is."""
    return {"GitLabServerUrl": url, "GitLabBaseUrl": f"{url}/{group.full_path}"}


@pytest.fixture
def behind(stack: Stack) -> Iterator[Callable[[Fault], Proxy]]:
    """Puts a proxy in front of GitLab."""
    proxies: list[Proxy] = []

    def make(fault: Fault) -> Proxy:
        proxies.append(Proxy(stack.server.url, fault))
        stack.properties |= at(proxies[-1].url, stack.group)
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


def variables_of(project: Any) -> dict[tuple[str, str], tuple[str, bool, bool]]:
    return {
        (each.key, each.environment_scope): (each.value, each.protected, each.masked)
        for each in project.variables.list(get_all=True)
    }


def commits_of(project: Any) -> list[str]:
    return [each.message for each in project.commits.list(get_all=True)]


def assert_complete(stack: Stack) -> None:
    """Both projects are there, each with one commit, their variables once, and one trigger token, which is stored."""
    assert stack.names() == ["abalone-build", "abalone-deploy"]
    build, deploy = stack.project("abalone-build"), stack.project("abalone-deploy")
    assert commits_of(build) == ["Start from the model build seed"]
    assert commits_of(deploy) == ["Start from the model deploy seed [skip ci]"]
    secret = ("secret$access/key", True, True)
    common = {("AWS_REGION", "*"): (REGION, False, False), ("AWS_SECRET_ACCESS_KEY", "*"): secret}
    roles = {("AWS_ROLE_ARN", scope): (f"role-{scope}", False, False) for scope in STAGES}
    assert variables_of(build) == common
    assert variables_of(deploy) == common | roles
    (token,) = [trigger.token for trigger in deploy.triggers.list(get_all=True)]
    assert stack.secret_value(stack.trigger).startswith(token)  # whole for its owner alone
    assert not build.triggers.list(get_all=True)


def token(stack: Stack, level: int = 50, **settings: Any) -> dict[str, Any]:
    client = stack.server.client
    user = client.users.create(
        {"username": f"u-{uuid.uuid4().hex[:8]}", "name": "U", "email": "u@example.com", "reset_password": True}
    )
    stack.group.members.create({"user_id": user.id, "access_level": level})
    access_token = user.personal_access_tokens.create({"name": "t", "scopes": ["api"]} | settings)
    return {"GitLabSecretName": stack.secret("other", access_token.token)}
