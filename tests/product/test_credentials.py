"""A job's credentials, good and bad: which code a refusal of AWS gets, and that it is one line with what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support.identity import EXACT, Issuer, role
from tests.support.servers import ROOT, Aws, Project, create_role, register, sagemaker_ci


class Job:
    """A job `build` in GitLab, in a new model-deploy repository, with credentials of its own."""

    def __init__(self, project: Project, folder: Path) -> None:
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        self._environ = {name: text for name, text in project.environ.items() if name not in keys} | {"CI_JOB_ID": "7"}
        self._folder = Path(shutil.copytree(ROOT / "seed-deploy", folder / "model-deploy"))

    def run(self, **credentials: str) -> CompletedProcess[str]:
        return sagemaker_ci("build", environ=self._environ | credentials, cwd=self._folder)

    def python(self, program: str, **credentials: str) -> CompletedProcess[str]:
        """A program of the repository, in the same surroundings."""
        environ = {"PATH": os.environ["PATH"]} | self._environ | credentials
        return subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)


@pytest.fixture
def job(project: Project, tmp_path: Path) -> Job:
    return Job(project, tmp_path)


def refused(done: CompletedProcess[str], code: str) -> None:
    error, hint, _ = done.stderr.splitlines()
    assert error.startswith(f"error SMCI-{code}: ")
    assert hint.startswith("hint: ")
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": int(time.time()) - 1}, "202"),
        ({"aud": "https://vault.example.com"}, "203"),
        ({"sub": "project_path:somebody/model-deploy:ref_type:branch:ref:main"}, "203"),
        ({}, "204"),
    ],
    ids=["expired", "for another audience", "of another project", "good, but the role may do nothing"],
)
def test_an_id_token_that_opens_nothing_is_told_apart_by_its_fault(
    aws: Aws, issuer: Issuer, job: Job, claims: dict[str, str | int], code: str
) -> None:
    refused(job.run(AWS_ROLE_ARN=role(aws, issuer, EXACT), AWS_ID_TOKEN=issuer.token(**claims)), code)


def test_a_role_that_does_not_exist_is_refused(issuer: Issuer, job: Job) -> None:
    refused(job.run(AWS_ROLE_ARN="arn:aws:iam::123456789012:role/nobody", AWS_ID_TOKEN=issuer.token()), "203")


def test_static_keys_that_nobody_has_are_unknown(job: Job) -> None:
    refused(job.run(AWS_ACCESS_KEY_ID="AKIANOBODY", AWS_SECRET_ACCESS_KEY="x"), "207")


def test_a_role_without_an_id_token_is_missing_credentials(aws: Aws, issuer: Issuer, job: Job) -> None:
    refused(job.run(AWS_ROLE_ARN=role(aws, issuer, EXACT)), "201")


# --- what the machine brings of its own -----------------------------------------------------------------------------


class Machine:
    """A runner whose own AWS configuration leads to a role that may do everything: what a job must not become."""

    def __init__(self, aws: Aws, folder: Path) -> None:
        self.role = create_role(aws, f"runner-{folder.name}"[:64], "ec2.amazonaws.com")
        self.keys = {name: aws.environ[f"AWS_{name}".upper()] for name in ("access_key_id", "secret_access_key")}
        self.home = folder / "home"
        (self.home / ".aws").mkdir(parents=True)
        assumed = f"role_arn = {self.role}\nsource_profile = base\n"
        self.config = f"[default]\n{assumed}\n[profile other]\n{assumed}\n[profile base]\n"
        self.credentials = "".join(
            f"[{profile}]\naws_access_key_id = {self.keys['access_key_id']}\n"
            f"aws_secret_access_key = {self.keys['secret_access_key']}\n"
            for profile in ("default", "base")
        )
        (self.home / ".aws" / "config").write_text(self.config)
        (self.home / ".aws" / "credentials").write_text(self.credentials)

    @property
    def elsewhere(self) -> dict[str, str]:
        """The same files, named by variables."""
        folder = self.home / ".aws"
        return {"AWS_CONFIG_FILE": str(folder / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials")}


@pytest.fixture
def machine(aws: Aws, tmp_path: Path) -> Machine:
    return Machine(aws, tmp_path)


@pytest.fixture
def metadata(aws: Aws) -> Iterator[str]:
    """A container's own credentials, as ECS and EKS Pod Identity hand them out."""
    keys = {"AccessKeyId": aws.environ["AWS_ACCESS_KEY_ID"], "SecretAccessKey": aws.environ["AWS_SECRET_ACCESS_KEY"]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(keys | {"Token": "x", "Expiration": "2099-01-01T00:00:00Z"}).encode())

        def log_message(self, *_: object) -> None:
            """Nothing to tell."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/credentials"
        server.shutdown()


MACHINES = ["default profile", "AWS_PROFILE", "AWS_PROFILE that does not exist", "files elsewhere", "metadata"]


def brings(kind: str, machine: Machine, metadata: str) -> dict[str, str]:
    """The variables under which a machine offers credentials of its own."""
    return {
        "default profile": {"HOME": str(machine.home)},
        "AWS_PROFILE": {"HOME": str(machine.home), "AWS_PROFILE": "other"},
        "AWS_PROFILE that does not exist": {"HOME": str(machine.home), "AWS_PROFILE": "gone"},
        "files elsewhere": {"HOME": "/nonexistent", **machine.elsewhere},
        "metadata": {"HOME": "/nonexistent", "AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata},
    }[kind]


def reader(aws: Aws, issuer: Issuer) -> str:
    """A role that the job's token opens and that may read the registry."""
    arn = role(aws, issuer, EXACT)
    statement = {"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    aws.client("iam").put_role_policy(RoleName=arn.rpartition("/")[2], PolicyName="read", PolicyDocument=policy)
    return arn


@pytest.mark.parametrize("kind", MACHINES)
def test_a_job_acts_as_its_role_whatever_the_machine_brings(
    aws: Aws, project: Project, issuer: Issuer, job: Job, machine: Machine, metadata: str, kind: str
) -> None:
    register(aws, project.group)
    arn = reader(aws, issuer)
    done = job.run(AWS_ROLE_ARN=arn, AWS_ID_TOKEN=issuer.token(), **brings(kind, machine, metadata))
    assert done.returncode == 0, done.stderr
    assumed = f"assumed-role/{arn.rpartition('/')[2]}/gitlab-job-7"
    assert f"credentials: OIDC, role {arn} (arn:aws:sts::123456789012:{assumed})" in done.stdout
    lines = [json.loads(line) for line in (aws.state / "requests.jsonl").read_text().splitlines()]
    operations = [line["operation"] for line in lines if line["principal"].endswith(assumed)]
    assert "DescribeModelPackage" in operations
    assert operations.count("GetCallerIdentity") == 1  # asked once, and no more


@pytest.mark.parametrize("kind", MACHINES)
def test_a_token_that_opens_nothing_stays_refused_whatever_the_machine_brings(
    aws: Aws, issuer: Issuer, job: Job, machine: Machine, metadata: str, kind: str
) -> None:
    arn = role(aws, issuer, EXACT)
    refused(job.run(AWS_ROLE_ARN=arn, AWS_ID_TOKEN="not.a.token", **brings(kind, machine, metadata)), "203")


@pytest.mark.parametrize("kind", MACHINES)
def test_static_keys_are_used_whatever_the_machine_brings(
    aws: Aws, project: Project, job: Job, machine: Machine, metadata: str, kind: str
) -> None:
    register(aws, project.group)
    nobody = {"AWS_ACCESS_KEY_ID": "AKIANOBODY", "AWS_SECRET_ACCESS_KEY": "x"}
    refused(job.run(**nobody, **brings(kind, machine, metadata)), "207")
    keys = {f"AWS_{name}".upper(): text for name, text in machine.keys.items()}
    done = job.run(**keys, **brings(kind, machine, metadata))
    assert done.returncode == 0, done.stderr
    assert "credentials: static access keys (warning: " in done.stdout


@pytest.mark.parametrize("kind", MACHINES)
def test_a_web_identity_of_the_runner_is_for_the_announced_role(
    aws: Aws, project: Project, issuer: Issuer, job: Job, machine: Machine, metadata: str, kind: str, tmp_path: Path
) -> None:
    register(aws, project.group)
    (tmp_path / "token").write_text(issuer.token())
    arn = reader(aws, issuer)
    environ = {"AWS_ROLE_ARN": arn, "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token")}
    done = job.run(**environ, **brings(kind, machine, metadata))
    assert done.returncode == 0, done.stderr
    assert f"credentials: the environment's web identity, role {arn} (arn:aws:sts::123456789012:assumed-role/" in (
        done.stdout
    )


def test_without_anything_announced_the_machines_profile_is_used_and_named(
    aws: Aws, project: Project, job: Job, machine: Machine
) -> None:
    register(aws, project.group)
    done = job.run(HOME=str(machine.home), AWS_PROFILE="other")
    assert done.returncode == 0, done.stderr
    assert "credentials: the environment's default (arn:aws:sts::123456789012:assumed-role/runner-" in done.stdout


@pytest.mark.parametrize(
    ("file", "text", "variables"),
    [("config", "", {"AWS_PROFILE": "gone"}), ("config", "[default\nregion", {}), ("credentials", "no section", {})],
    ids=["a profile that does not exist", "a broken config", "broken credentials"],
)
def test_an_aws_configuration_that_cannot_be_used_is_named(
    job: Job, machine: Machine, file: str, text: str, variables: dict[str, str]
) -> None:
    (machine.home / ".aws" / file).write_text(text)
    done = job.run(HOME=str(machine.home), **variables)
    refused(done, "209")
    assert "AWS_PROFILE" in done.stderr.splitlines()[1]


def test_a_profile_that_a_step_asks_for_by_its_name_is_still_there(machine: Machine, job: Job, tmp_path: Path) -> None:
    program = (
        "import boto3, os; from ci_scripts import aws; aws._shield(aws.announce())\n"
        "print(boto3.Session(profile_name='other').client('sts').get_caller_identity()['Arn'])"
    )
    keys = {f"AWS_{name}".upper(): text for name, text in machine.keys.items()}
    done = job.python(program, HOME=str(machine.home), **keys)
    assert f"assumed-role/{machine.role.rpartition('/')[2]}/" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"])
def test_an_address_without_a_scheme_is_a_mistake_in_the_settings(job: Job, name: str) -> None:
    done = job.run(**{name: "localhost:4566"})
    refused(done, "101")
    assert f"{name} is 'localhost:4566'" in done.stderr
