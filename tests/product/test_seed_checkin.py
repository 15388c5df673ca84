"""The seed check-in against the sandbox's AWS and GitLab: what CloudFormation is told, and what is in GitLab then.

The handler runs in a process of its own, as in Lambda; CloudFormation is a server that writes down its answers.
"""

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
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import gitlab
import pytest

from ci_scripts.settings import STAGES
from tests.support.gitlab_client import GitLab, commit, pipeline_of, settled
from tests.support.private_gitlab import private_gitlab
from tests.support.servers import ACCOUNT, REGION, ROOT, Aws, Project, create_role

pytest_plugins = ["tests.support.gitlab_fixtures"]

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
        self.known: dict[str, dict[str, Any]] = {}
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
        made = self.aws.client("secretsmanager").create_secret(Name=f"{self.name}/{name}", SecretString=value)
        return str(made["ARN"])

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
            event["OldResourceProperties"] = self.known[resource]
        self.known[resource] = properties
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
            known = self.known.get(resource)
            event = self.event(resource, kind)
            if kind == "Update" and event["ResourceProperties"] == known:
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
        self.physical_ids, self.known, self.data = {}, {}, {}

    def check_secrecy(self, answer: Answer) -> None:
        told = self.log + json.dumps(answer)
        secrets = {self.server.token, "secret$access/key", "X-Amz-Signature", self.secret_value(self.trigger)}
        assert not [secret for secret in secrets if secret in told]
        assert "glpat-" not in told
        assert "glptt-" not in told

    def project(self, name: str) -> Any:
        return self.server.client.projects.get(f"{self.group.full_path}/{name}")

    def names(self) -> list[str]:
        """The projects in the group."""
        return sorted(project.path for project in self.group.projects.list(get_all=True))


@pytest.fixture
def stack(aws: Aws, project: Project, gitlab_server: GitLab, group: Any) -> Iterator[Stack]:
    made = Stack(aws, project, gitlab_server, group)
    yield made
    made.cloudformation.close()


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


# --- create -----------------------------------------------------------------------------------------------------------


def test_both_repositories_are_made_and_the_first_pipeline_succeeds(stack: Stack) -> None:
    answer = stack.request("Create")

    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert_complete(stack)
    build, deploy = stack.project("abalone-build"), stack.project("abalone-deploy")
    assert stack.physical_ids[PROJECTS] == f"build-{build.id}-deploy-{deploy.id}"
    assert answer["Data"] == {
        "ModelBuildProjectId": str(build.id),
        "ModelBuildProjectUrl": build.web_url,
        "ModelBuildCloneUrl": build.http_url_to_repo,
        "ModelBuildSubject": f"project_id:{build.id}",
        "ModelDeployProjectId": str(deploy.id),
        "ModelDeployProjectUrl": deploy.web_url,
        "ModelDeployCloneUrl": deploy.http_url_to_repo,
        "ModelDeploySubject": f"project_id:{deploy.id}",
        "SubjectComponents": "ref_type,ref,ref_protected,deployment_tier",
    }
    components = ["project_id", "ref_type", "ref", "ref_protected"]
    assert build.ci_id_token_sub_claim_components == components
    assert deploy.ci_id_token_sub_claim_components == [*components, "deployment_tier"]
    for project in (build, deploy):
        assert (project.visibility, project.default_branch) == ("private", "main")
        (protected,) = project.protectedbranches.list(get_all=True)
        assert protected.name == "main"
    for project, status in ((build, "success"), (deploy, "skipped")):
        (head,) = project.commits.list(get_all=True)
        assert settled(project, pipeline_of(project, head.id)).status == status


def test_the_archive_runs_as_a_lambda_function_with_three_permissions(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    output = tmp_path_factory.mktemp("dist")
    archives = {name: build_archive(name, output) for name in ("seed_checkin", "seed-build", "seed-deploy")}
    s3 = stack.aws.client("s3")
    for name, path in archives.items():
        s3.upload_file(str(path), stack.bucket, f"{name}.zip")
    readable = [stack.token, stack.properties["Variables"]["Build"]["AWS_SECRET_ACCESS_KEY"]["secret"]]
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": readable},
        {"Effect": "Allow", "Action": "secretsmanager:PutSecretValue", "Resource": stack.trigger},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{stack.bucket}/seed-*"},
    ]
    functions, name = stack.aws.client("lambda"), f"seed-checkin-{uuid.uuid4().hex[:8]}"
    functions.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="seed_checkin.handler.handle",
        Code={"S3Bucket": stack.bucket, "S3Key": "seed_checkin.zip"},
        Role=create_role(stack.aws, name, "lambda.amazonaws.com", statements),
        Timeout=120,
    )
    keys = {"ModelBuildSeedKey": "seed-build.zip", "ModelDeploySeedKey": "seed-deploy.zip"}
    stack.properties |= keys | {"ComponentProjectPath": "platform/sagemaker", "ComponentVersion": "2.3.4"}

    for resource in (PROJECTS, CHECKIN):
        event = stack.event(resource, "Create")
        functions.invoke(FunctionName=name, Payload=json.dumps(event))
        answer = stack.answered(event)
        assert answer["Status"] == "SUCCESS", answer["Reason"]
    for repository, component in (("abalone-build", "model-build"), ("abalone-deploy", "model-deploy")):
        content = stack.project(repository).files.get(".gitlab-ci.yml", ref="main").decode().decode()
        assert f"component: $CI_SERVER_FQDN/platform/sagemaker/{component}@2.3.4\n" in content


def build_archive(name: str, output: Path) -> Path:
    command = [sys.executable, "infra/archive.py", name, "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.split()[0])


def test_an_approval_can_start_its_pipeline_where_nobody_might_set_variables(stack: Stack) -> None:
    assert stack.request("Create")["Status"] == "SUCCESS"
    deploy = stack.project("abalone-deploy")
    assert deploy.ci_pipeline_variables_minimum_override_role == "maintainer"
    assert stack.project("abalone-build").ci_pipeline_variables_minimum_override_role == "no_one_allowed"
    # Whom their owners let do it stays as it is.
    deploy.ci_pipeline_variables_minimum_override_role = "developer"
    deploy.save()
    stack.request("Update", GitLabSecretName=stack.secret("another", stack.server.token))
    assert stack.project("abalone-deploy").ci_pipeline_variables_minimum_override_role == "developer"


def test_an_access_token_that_may_not_let_approvals_in_leaves_a_word(
    stack: Stack, behind: Callable[[Fault], Proxy]
) -> None:
    changes: list[str] = []

    def refuse(method: str, path: str, count: int) -> int | None:
        if method != "PUT" or "/variables" in path:
            return None
        changes.append(path)
        return 400 if len(changes) == 3 else None  # after the subjects of both projects

    behind(refuse)
    assert stack.request("Create")["Status"] == "SUCCESS"
    assert_complete(stack)
    assert "nobody may set pipeline variables in" in stack.log
    assert stack.project("abalone-deploy").ci_pipeline_variables_minimum_override_role == "no_one_allowed"


def test_with_a_maintainers_token_an_owner_lets_approvals_in(stack: Stack) -> None:
    """As GitLab documents it: https://docs.gitlab.com/ci/variables/#restrict-pipeline-variables."""
    assert stack.request("Create", **token(stack, level=40))["Status"] == "SUCCESS"
    assert_complete(stack)
    deploy = stack.project("abalone-deploy")
    assert deploy.ci_pipeline_variables_minimum_override_role == "no_one_allowed"
    assert (
        f"nobody may set pipeline variables in {deploy.path_with_namespace}, and the access token may not" in stack.log
    )
    assert (
        "let an Owner set Settings > CI/CD > Variables > Minimum role to use pipeline variables to Maint" in stack.log
    )
    with pytest.raises(gitlab.GitlabCreateError, match="Insufficient permissions to set pipeline variables"):
        deploy.trigger_pipeline("main", stack.secret_value(stack.trigger))

    deploy.ci_pipeline_variables_minimum_override_role = "maintainer"
    deploy.save()  # the fixture's own client is an Owner
    assert deploy.trigger_pipeline("main", stack.secret_value(stack.trigger)).source == "trigger"


def test_a_gitlab_that_drops_settings_without_a_word_is_no_gitlab(
    stack: Stack, behind: Callable[[Fault], Proxy]
) -> None:
    def forget(method: str, path: str, count: int) -> str | None:
        return "forget" if method == "PUT" and "/variables" not in path else None

    behind(forget)
    answer = stack.request("Create")
    assert answer["Status"] == "FAILED"
    assert "GitLab refuses the subject's components; GitLab 18.7 or newer is needed" in answer["Reason"]


def test_a_gitlab_with_a_certificate_authority_of_its_own(stack: Stack, tmp_path: Path) -> None:
    with private_gitlab(stack.server.url, tmp_path) as (url, authority):
        stack.properties |= at(url, stack.group)
        answer = stack.request("Create")
        assert answer["Status"] == "FAILED"
        assert "GitLab's certificate is not trusted" in answer["Reason"]
        stack.start_over()
        nonsense = stack.request("Create", GitLabCaSecretName=stack.secret("no-authority", "my authority"))
        assert nonsense["Status"] == "FAILED"
        assert "holds no certificates in PEM form" in nonsense["Reason"]
        stack.start_over()
        assert stack.request("Create", GitLabCaSecretName=stack.secret("authority", authority))["Status"] == "SUCCESS"
    assert_complete(stack)


def test_a_token_in_a_json_secret_and_the_owners_own_namespace(stack: Stack) -> None:
    secret = stack.secret("json", json.dumps({"token": stack.server.token}))
    names: dict[str, Any] = {
        "ModelBuildRepositoryName": f"{stack.name}-build",
        "ModelDeployRepositoryName": f"{stack.name}-deploy",
    }
    own: dict[str, Any] = {"GitLabGroupId": "None", "GitLabBaseUrl": f"{stack.server.url}/root"}
    answer = stack.request("Create", GitLabSecretName=secret, **own, **names)
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert answer["Data"]["ModelBuildProjectUrl"] == f"{stack.server.url}/root/{stack.name}-build"


def test_a_large_seed_arrives_in_whole(stack: Stack, tmp_path: Path) -> None:
    def named(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, mode << 16
        return info

    binary = os.urandom(5_000_000)
    files = {named(f"data/part {number:03}/file.txt"): f"{number}\r\n".encode() for number in range(200)}
    files |= {named("model.bin"): binary, named("run.sh", 0o100755): b"#!/bin/sh\n", named("leer"): b""}
    files |= {named("日本/ünï.txt"): b"unicode", named(".gitlab-ci.yml"): JOB.encode()}
    stack.put_seed("build.zip", files)
    # A name in Latin-1, as a tool wrote it that knows no other encoding.
    s3 = stack.aws.client("s3")
    stack.put_seed("deploy.zip", {named("caf0.txt"): b"latin", ".gitlab-ci.yml": JOB.encode()})
    content = s3.get_object(Bucket=stack.bucket, Key="deploy.zip")["Body"].read()
    s3.put_object(Bucket=stack.bucket, Key="deploy.zip", Body=content.replace(b"caf0.txt", b"caf\xe9.txt"))

    answer = stack.request("Create")

    assert answer["Status"] == "SUCCESS", answer["Reason"]
    clone = tmp_path / "clone"
    address = answer["Data"]["ModelBuildCloneUrl"].replace("://", f"://oauth2:{stack.server.token}@")
    subprocess.run(["git", "clone", "--quiet", address, str(clone)], check=True, capture_output=True)
    expected = {info.filename: content for info, content in files.items()}
    found = {str(path.relative_to(clone)): path for path in clone.rglob("*") if path.is_file()}
    found = {name: path for name, path in found.items() if not name.startswith(".git/")}
    assert {name: path.read_bytes() for name, path in found.items()} == expected
    assert [name for name, path in found.items() if path.stat().st_mode & 0o100] == ["run.sh"]
    assert stack.project("abalone-deploy").files.get("café.txt", ref="main").decode() == b"latin"


def test_everything_is_set_up_before_the_first_commit(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    proxy = behind(lambda method, path, count: None)
    assert stack.request("Create")["Status"] == "SUCCESS"
    changes = [each.split()[1].rsplit("/")[-1] for each in proxy.requests if each.split()[0] in MUTATING]
    settings = [str(stack.project(f"abalone-{name}").id) for name in ("build", "deploy")]  # what their ID tokens say
    assert changes == [
        *["projects", "protected_branches"] * 2, *settings, *["variables"] * 6, settings[1], "triggers",
        *["commits"] * 2,
    ]  # fmt: skip


def test_a_create_that_is_delivered_again_commits_nothing_more(stack: Stack) -> None:
    assert stack.request("Create")["Status"] == "SUCCESS"
    build = stack.project("abalone-build")
    everything = [{"action": "delete", "file_path": name} for name in ("README.md", ".gitlab-ci.yml")]
    actions = [*everything, {"action": "create", "file_path": "hers.txt", "content": "hers"}]
    build.commits.create({"branch": "main", "commit_message": "Start over", "actions": actions})
    before = commits_of(build)

    assert stack.request("Create")["Status"] == "SUCCESS"
    assert commits_of(build) == before


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_crash_at_any_step_is_completed_by_the_next_attempt(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    """Lambda invokes a function again that has died: here it dies after every change it makes in GitLab."""
    proxy = behind(lambda method, path, count: "crash" if method in ("POST", "PUT") and count == 1 else None)
    crashes = 0
    for resource in (PROJECTS, CHECKIN):
        event = stack.event(resource, "Create")
        while not stack.cloudformation.answers:
            process = stack.start(event)
            proxy.crash = process.kill
            process.communicate(timeout=60)
            crashes += process.returncode != 0
            assert crashes < 30
        answer = stack.answered(event)
        assert answer["Status"] == "SUCCESS", answer["Reason"]

    assert crashes >= 14  # two projects, each protected and with its setting, six variables, a token, two commits
    assert_complete(stack)


def test_a_busy_gitlab_does_not_break_it(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    """Every request first meets 502, then 429; of every change that succeeds, the answer is lost once."""

    def fault(method: str, path: str, count: int) -> int | str | None:
        return {1: 502, 2: 429 if method in MUTATING else None, 3: "lost" if method in MUTATING else None}.get(count)

    proxy = behind(fault)
    answer = stack.request("Create", seconds=200)
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert len(proxy.requests) > 50
    assert_complete(stack)


def test_an_answer_that_cloudformation_did_not_take_is_sent_again(stack: Stack) -> None:
    stack.cloudformation.refusals = 2
    assert stack.request("Create")["Status"] == "SUCCESS"


def test_cloudformation_is_answered_before_the_time_is_over(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    behind(lambda method, path, count: 503 if path.endswith("/variables") and method == "POST" else None)
    answer = stack.request("Create", seconds=19)
    assert answer["Status"] == "FAILED"
    assert answer["Reason"] == (
        f"Could not set the CI/CD variables of {stack.group.full_path}/abalone-build: "
        "there was no time left; GitLab answered 503"
    )
    assert stack.request("Delete")["Status"] == "SUCCESS"


def test_gitlab_that_cannot_be_reached_fails_create_but_not_delete(stack: Stack) -> None:
    down = {"GitLabServerUrl": "http://127.0.0.1:9"}
    for kind, status in (("Create", "FAILED"), ("Delete", "SUCCESS")):
        answer = stack.request(kind, seconds=18, **down)
        assert answer["Status"] == status
        assert "find group" in answer["Reason"]
        assert "GitLab cannot be reached: " in answer["Reason"]
        assert "Connection refused" in answer["Reason"]


def test_the_token_follows_no_redirect(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    elsewhere = behind(lambda method, path, count: None)
    behind(lambda method, path, count: 301).elsewhere = elsewhere
    answer = stack.request("Create")
    assert answer["Status"] == "FAILED"
    assert "GitLab redirects to another address" in answer["Reason"]
    assert elsewhere.requests == []


class Refusal(NamedTuple):
    """A stack that cannot work: the properties that make it so, and what the reason must say."""

    changes: Callable[[Stack], dict[str, Any]]
    reason: str


def token(stack: Stack, level: int = 50, **settings: Any) -> dict[str, Any]:
    client = stack.server.client
    user = client.users.create({"username": f"u-{uuid.uuid4().hex[:8]}", "name": "U", "email": "u@example.com"})
    stack.group.members.create({"user_id": user.id, "access_level": level})
    made = user.personal_access_tokens.create({"name": "t", "scopes": ["api"]} | settings)
    return {"GitLabSecretName": stack.secret("other", made.token)}


def group_token(stack: Stack) -> dict[str, Any]:
    made = stack.group.access_tokens.create({"name": "t", "scopes": ["api"], "access_level": 40})
    return {"GitLabSecretName": stack.secret("other", made.token), "GitLabGroupId": "None"}


def seed(stack: Stack, files: dict[str | zipfile.ZipInfo, bytes]) -> dict[str, Any]:
    stack.put_seed("other.zip", files)
    return {"ModelDeploySeedKey": "other.zip"}


def variable(settings: Any) -> dict[str, Any]:
    return {"Variables": {"Build": {"A": settings}}}


REFUSALS = {
    "unknown group": Refusal(lambda stack: {"GitLabGroupId": "987654"}, "no such group"),
    "wrong token": Refusal(
        lambda stack: {"GitLabSecretName": stack.secret("other", "nonsense")}, "refused the access token"
    ),
    "expired token": Refusal(lambda stack: token(stack, expires_at="2020-01-01"), "Token is expired"),
    "token without scope": Refusal(lambda stack: token(stack, scopes=["read_api"]), "lacks the scope api"),
    "group token without its group": Refusal(lambda stack: group_token(stack), "needs the ID of its group"),
    "token with a line break": Refusal(
        lambda stack: {"GitLabSecretName": stack.secret("other", "glpat-1\nglpat-2")}, "does not hold an access token"
    ),
    "secret without token": Refusal(
        lambda stack: {"GitLabSecretName": stack.secret("other", '{"key": "x"}')}, "an entry 'token'"
    ),
    "no secret": Refusal(lambda stack: {"GitLabSecretName": "missing"}, "it does not exist"),
    "no seed": Refusal(lambda stack: {"ModelDeploySeedKey": "missing.zip"}, "it does not exist"),
    "no bucket": Refusal(lambda stack: {"SeedBucket": "no-such-bucket-here"}, "it does not exist"),
    "unsafe file": Refusal(lambda stack: seed(stack, {"../x": b""}), "'../x' is refused"),
    "no CI file": Refusal(lambda stack: seed(stack, {"README.md": b""}), "no .gitlab-ci.yml"),
    "malformed property": Refusal(lambda stack: {"ComponentVersion": "one two"}, "ComponentVersion is 'one two'"),
    "value that cannot be masked": Refusal(
        lambda stack: variable({"value": "short", "masked": "true"}), "variable A: GitLab answered 400"
    ),
    "name that is not allowed": Refusal(lambda stack: {"ModelBuildRepositoryName": "x.git"}, "GitLab answered 400"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_failure_names_its_cause_and_leaves_nothing(stack: Stack, case: str) -> None:
    answer = stack.request("Create", **REFUSALS[case].changes(stack))
    assert answer["Status"] == "FAILED"
    assert REFUSALS[case].reason in answer["Reason"]

    assert stack.request("Delete")["Status"] == "SUCCESS"  # CloudFormation's roll-back
    assert stack.names() == []


def test_a_name_that_is_taken_is_said_and_left_alone(stack: Stack) -> None:
    theirs = stack.server.client.projects.create({"name": "abalone-deploy", "namespace_id": stack.group.id})
    answer = stack.request("Create")
    assert answer["Status"] == "FAILED"
    assert f"{theirs.web_url} exists and was not created by this stack" in answer["Reason"]
    assert stack.names() == ["abalone-deploy"]  # nothing half-made

    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert stack.names() == ["abalone-deploy"]
    assert not variables_of(stack.project("abalone-deploy"))


def test_two_stacks_do_not_share_a_name(stack: Stack, aws: Aws, project: Project) -> None:
    assert stack.request("Create")["Status"] == "SUCCESS"
    stack.start_over()
    answer = stack.request("Create")
    assert answer["Status"] == "FAILED"
    assert "was not created by this stack" in answer["Reason"]
    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert_complete(stack)


def test_the_roll_back_of_a_failed_create_removes_what_nobody_has_touched(
    stack: Stack, behind: Callable[[Fault], Proxy]
) -> None:
    """The last step fails: one repository has its seed, the other is empty."""
    commits: list[str] = []

    def fault(method: str, path: str, count: int) -> int | None:
        if method == "POST" and path.endswith("/commits"):
            commits.append(path)
            return 400 if len(commits) > 1 else None
        return None

    behind(fault)
    assert stack.request("Create")["Status"] == "FAILED"
    assert stack.names() == ["abalone-build", "abalone-deploy"]
    assert commits_of(stack.project("abalone-deploy"))

    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert stack.names() == []


def test_the_roll_back_of_a_failed_create_keeps_peoples_work(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    behind(lambda method, path, count: 400 if method == "POST" and path.endswith("/commits") else None)
    assert stack.request("Create")["Status"] == "FAILED"
    commit(stack.project("abalone-build"), {"work.txt": "hers"})

    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert stack.names() == ["abalone-build"]


def test_the_same_names_work_after_a_failed_create(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    """A path that another project had gets ID tokens only when they name the project by its number."""
    stack.put_seed("build.zip", {".gitlab-ci.yml": b"show: {id_tokens: {TOKEN: {aud: aws}}, script: ['true']}\n"})
    assert stack.request("Create", ModelDeploySeedKey="missing.zip")["Status"] == "FAILED"
    assert stack.request("Delete")["Status"] == "SUCCESS"

    stack.start_over()
    assert stack.request("Create", ModelDeploySeedKey="deploy.zip")["Status"] == "SUCCESS"
    build = stack.project("abalone-build")
    [head] = build.commits.list(get_all=True)
    assert settled(build, pipeline_of(build, head.id)).status == "success"


def test_what_a_maintainer_cannot_delete_is_taken_by_the_next_attempt(stack: Stack) -> None:
    good = stack.properties
    maintainer = token(stack, level=40)
    assert stack.request("Create", **maintainer, ModelDeploySeedKey="missing.zip")["Status"] == "FAILED"
    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert stack.names() == ["abalone-build", "abalone-deploy"]
    left = {stack.project(name).id for name in stack.names()}
    assert not any(variables_of(stack.project(name)) for name in stack.names())

    stack.start_over()
    answer = stack.request("Create", **good | maintainer)
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert_complete(stack)
    assert {stack.project(name).id for name in stack.names()} == left


def test_a_name_is_free_when_its_project_was_renamed(stack: Stack) -> None:
    theirs = stack.server.client.projects.create({"name": "abalone-build", "namespace_id": stack.group.id})
    stack.server.client.projects.update(theirs.id, {"name": "old-build", "path": "old-build"})
    answer = stack.request("Create")
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert stack.names() == ["abalone-build", "abalone-deploy", "old-build"]


def test_a_gitlab_that_knows_no_numbers_in_subjects_gets_paths(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    """GitLab 18.7 to 19.0: the first change of the setting is refused."""
    changes: list[str] = []

    def fault(method: str, path: str, count: int) -> int | None:
        if method == "PUT":
            changes.append(path)
            return 400 if len(changes) == 1 else None
        return None

    behind(fault)
    data = stack.request("Create")["Data"]
    group = stack.group.full_path
    assert data["ModelBuildSubject"] == f"project_path:{group}/abalone-build"
    assert data["ModelDeploySubject"] == f"project_path:{group}/abalone-deploy"
    assert data["SubjectComponents"] == "ref_type,ref,deployment_tier"
    components = ["project_path", "ref_type", "ref"]
    assert stack.project("abalone-build").ci_id_token_sub_claim_components == components
    assert stack.project("abalone-deploy").ci_id_token_sub_claim_components == [*components, "deployment_tier"]

    data = stack.request("Update", ModelBuildRepositoryName="renamed")["Data"]
    assert data["ModelBuildSubject"] == f"project_path:{group}/renamed"


def test_what_is_asked_again_when_nobody_waits_any_more_is_not_done(stack: Stack) -> None:
    """Lambda repeats an invocation that has died minutes later; CloudFormation may have rolled back by then."""
    long_ago = datetime.now(UTC) - timedelta(minutes=10)
    stack.cloudformation.url += f"&X-Amz-Date={long_ago:%Y%m%dT%H%M%SZ}"
    answer = stack.request("Create")
    assert (answer["Status"], answer["Reason"]) == ("FAILED", "Could not read the request: there was no time left")
    assert stack.names() == []


# --- update and delete ------------------------------------------------------------------------------------------------


def test_an_update_follows_the_stack_and_keeps_the_work(stack: Stack) -> None:
    created = stack.request("Create")
    build = stack.project("abalone-build")
    commit(build, {"work.txt": "hers"})
    build.variables.create({"key": "HERS", "value": "kept"})
    before = commits_of(build)
    other = stack.server.client.groups.create({"name": f"new-{stack.name}", "path": f"new-{stack.name}"})
    old_token, trigger = stack.secret_value(stack.trigger), stack.secret("trigger-2", "none yet")
    stack.put_seed("new.zip", {".gitlab-ci.yml": JOB.encode(), "new.txt": b"not for existing repositories"})

    answer = stack.request(
        "Update",
        **at(url := stack.server.url.replace("127.0.0.1", "localhost"), other),
        GitLabGroupId=str(other.id),
        ModelBuildRepositoryName="renamed-build",
        ModelDeployRepositoryName="renamed-deploy",
        GitLabSecretName=stack.secret("json", json.dumps({"token": stack.server.token})),
        ModelBuildSeedKey="new.zip",
        ModelDeploySeedKey="new.zip",
        ComponentProjectPath="other/components",
        ComponentVersion="2.0.0",
        TriggerTokenSecretArn=trigger,
        Variables={"Build": {"AWS_REGION": "eu-central-1", "ADDED": "1"}, "Deploy": {}},
    )

    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert answer["Data"]["ModelBuildProjectId"] == created["Data"]["ModelBuildProjectId"]
    assert answer["Data"]["ModelBuildProjectUrl"] == f"{url}/{other.full_path}/renamed-build"
    assert answer["Data"]["ModelDeployCloneUrl"] == f"{url}/{other.full_path}/renamed-deploy.git"
    build = stack.server.client.projects.get(build.id)
    assert commits_of(build) == before
    plain = (False, False)
    assert variables_of(build) == {
        ("AWS_REGION", "*"): ("eu-central-1", *plain), ("ADDED", "*"): ("1", *plain), ("HERS", "*"): ("kept", *plain),
    }  # fmt: skip
    deploy = stack.server.client.projects.get(answer["Data"]["ModelDeployProjectId"])
    assert variables_of(deploy) == {}
    (token,) = deploy.triggers.list(get_all=True)
    assert token.token == stack.secret_value(trigger) != old_token


def test_an_update_that_changes_nothing_here_asks_nobody(stack: Stack, behind: Callable[[Fault], Proxy]) -> None:
    """A new version of the template, with new seeds: neither GitLab nor its token need to be there."""
    proxy = behind(lambda method, path, count: None)
    assert stack.request("Create")["Status"] == "SUCCESS"
    proxy.requests.clear()
    stack.aws.client("secretsmanager").put_secret_value(SecretId=stack.token, SecretString="glpat-expired")
    changes: dict[str, Any] = {"ComponentVersion": "1.1.0", "ModelBuildSeedKey": "new.zip", "SeedBucket": "another"}
    assert stack.request("Update", **changes)["Status"] == "SUCCESS"
    assert proxy.requests == []
    assert_complete(stack)


def test_approvals_start_pipelines_again_after_the_access_token_was_revoked(stack: Stack) -> None:
    """The bot of a group access token goes with it, and takes along its trigger token."""

    def start() -> int:
        token = stack.secret_value(stack.trigger)
        try:
            stack.server.client.projects.get(number, lazy=True).trigger_pipeline("main", token)
        except gitlab.GitlabError as error:
            return int(error.response_code or 0)
        return 201

    settings = {"name": "sagemaker", "scopes": ["api"], "access_level": 50}  # only Owners let variables in
    lost = stack.group.access_tokens.create(settings)
    answer = stack.request("Create", GitLabSecretName=stack.secret("lost", lost.token))
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    number = answer["Data"]["ModelDeployProjectId"]
    assert start() == 201

    stack.group.access_tokens.delete(lost.id)
    assert start() == 404

    new = stack.group.access_tokens.create(settings)
    answer = stack.request("Update", GitLabSecretName=stack.secret("new", new.token))
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert start() == 201


def test_with_another_key_the_trigger_token_is_stored_anew(stack: Stack) -> None:
    stack.request("Create")
    old = stack.secret_value(stack.trigger)
    for key in ("arn:aws:kms:eu-west-1:123456789012:key/1-2", ""):
        assert stack.request("Update", KmsKeyArn=key)["Status"] == "SUCCESS"
        [trigger] = stack.project("abalone-deploy").triggers.list(get_all=True)
        assert trigger.token == stack.secret_value(stack.trigger) != old
        old = trigger.token


def test_a_failed_update_is_rolled_back(stack: Stack) -> None:
    stack.request("Create")
    good = stack.properties
    stack.server.client.projects.create({"name": "theirs", "namespace_id": stack.group.id})
    changes: dict[str, Any] = {"ModelBuildRepositoryName": "mine", "ModelDeployRepositoryName": "theirs"}
    answer = stack.request("Update", **changes)
    assert answer["Status"] == "FAILED"
    assert "abalone-deploy to theirs: the name is taken" in answer["Reason"]

    assert stack.request("Update", **good)["Status"] == "SUCCESS"
    assert stack.names() == ["abalone-build", "abalone-deploy", "theirs"]

    assert stack.request("Update", TriggerTokenSecretArn="one two")["Status"] == "FAILED"
    assert stack.request("Update", **good)["Status"] == "SUCCESS"


def test_a_project_cannot_change_its_server(stack: Stack) -> None:
    stack.request("Create")
    for name in ("build", "deploy"):  # what a project of the same number on another server would look like
        project = stack.project(f"abalone-{name}")
        project.description = "something else"
        project.save()
    answer = stack.request("Update", **at(stack.server.url.replace("127.0.0.1", "localhost"), stack.group))
    assert answer["Status"] == "FAILED"
    assert "cannot change its server" in answer["Reason"]


def test_an_update_of_a_project_that_is_gone_says_so(stack: Stack) -> None:
    stack.request("Create")
    stack.project("abalone-build").delete()
    updates: tuple[dict[str, Any], ...] = ({"ModelBuildRepositoryName": "renamed"}, {"Variables": {}})
    for change in updates:
        answer = stack.request("Update", **change)
        assert answer["Status"] == "FAILED"
        assert "is gone" in answer["Reason"]
    assert stack.request("Delete")["Status"] == "SUCCESS"


def test_deleting_the_stack_leaves_the_repositories_and_revokes_the_token(stack: Stack) -> None:
    stack.request("Create")
    token = stack.secret_value(stack.trigger)
    assert stack.request("Delete")["Status"] == "SUCCESS"
    assert stack.names() == ["abalone-build", "abalone-deploy"]
    deploy = stack.project("abalone-deploy")
    assert commits_of(deploy) == ["Start from the model deploy seed [skip ci]"]
    with pytest.raises(gitlab.GitlabError):
        deploy.trigger_pipeline("main", token)


def test_a_stack_without_its_secret_can_be_deleted(stack: Stack) -> None:
    stack.request("Create")
    answer = stack.request("Delete", GitLabSecretName="missing")
    assert answer["Status"] == "SUCCESS"
    assert "Could not read the access token in secret missing" in answer["Reason"]
