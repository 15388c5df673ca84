"""The sandbox's AWS for tests: one server per test process, one fresh project per test.

tests/conftest.py makes its fixtures known.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest

from sandbox.aws.authorities import violations
from sandbox.aws.ground import ACCOUNT, REGION, ROOT_KEYS
from sandbox.gateway import Gateway
from sandbox.processes import ROOT, Server

__all__ = ["ACCOUNT", "REGION", "ROOT"]
IMAGE = f"141502667606.dkr.ecr.{REGION}.amazonaws.com/sagemaker-xgboost:1.7-1"


class Aws(NamedTuple):
    """A running sandbox.aws: its URL, the environment that leads any AWS program to it, its state folder."""

    url: str
    environ: dict[str, str]
    state: Path

    def client(self, service: str, **credentials: str) -> Any:
        keys = credentials or {
            "aws_access_key_id": self.environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self.environ["AWS_SECRET_ACCESS_KEY"],
        }
        return _client(service, self.url, **keys)

    def own_client(self, service: str) -> Any:
        """One that nobody else has, for a test that changes it."""
        return _client.__wrapped__(
            service,
            self.url,
            aws_access_key_id=self.environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environ["AWS_SECRET_ACCESS_KEY"],
        )


@lru_cache(maxsize=64)  # making a client costs more than most calls do
def _client(service: str, url: str, **keys: str) -> Any:
    connect: Any = boto3.client  # its overloads want the service's name as a literal
    return connect(service, region_name=REGION, endpoint_url=url, **keys)


class Project(NamedTuple):
    """A SageMaker project of its own: nothing of another test is in its bucket, group or names."""

    name: str
    id: str
    bucket: str
    group: str
    pipeline_role: str
    model_role: str
    environ: dict[str, str]


@pytest.fixture(scope="session", autouse=True)
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file to which every sandbox that a test starts writes where an authority contradicts it."""
    path = tmp_path_factory.mktemp("authorities") / "violations.jsonl"
    os.environ[violations.VARIABLE] = str(path)
    yield path
    del os.environ[violations.VARIABLE]


@pytest.fixture(autouse=True)
def no_violation(authorities: Path) -> Iterator[None]:
    """Neither botocore's models nor the IAM definition contradict what the sandbox did in a test."""
    yield
    if authorities.exists():
        text = authorities.read_text()
        authorities.unlink()  # the next test starts anew
        pytest.fail(f"the sandbox contradicts what AWS publishes:\n{text}", pytrace=False)


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    """By which AWS reaches the https servers of tests: give one a name there, and a certificate."""
    gateway = Gateway()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory, gateway: Gateway) -> Iterator[Aws]:
    state = tmp_path_factory.mktemp("aws")
    trusted = gateway.write_authority(state)["SSL_CERT_FILE"]
    server = Server("sandbox.aws", state, "--gateway", gateway.url, "--authorities", trusted)
    environ = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    } | ROOT_KEYS
    yield Aws(server.url, environ, state)
    assert server.stop() == 0


@pytest.fixture
def as_server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process stand for the server's own: with a place to write, and no image that somebody pushed."""
    monkeypatch.setenv("SANDBOX_AWS_STATE", str(tmp_path_factory.mktemp("state")))


def create_role(aws: Aws, name: str, service: str, statements: Sequence[Mapping[str, Any]] = ()) -> str:
    """An IAM role that `service` (`lambda.amazonaws.com`) may assume; without statements it may do everything."""
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    allowed = list(statements) or [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    iam = aws.client("iam")
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy)
    return str(role["Role"]["Arn"])


def create_project(aws: Aws) -> Project:
    """A SageMaker project with its bucket, model package group and roles."""
    unique = uuid.uuid4().hex[:10]
    name, project_id = f"abalone-{unique}", "p-sandbox01"
    group, bucket = f"{name}-{project_id}", f"artifacts-{unique}"
    aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=group)
    pipeline_role = create_role(aws, f"pipeline-{unique}", "sagemaker.amazonaws.com")
    model_role = create_role(aws, f"model-{unique}", "sagemaker.amazonaws.com")
    environ = aws.environ | {
        "SAGEMAKER_PROJECT_NAME": name,
        "SAGEMAKER_PROJECT_ID": project_id,
        "SAGEMAKER_PROJECT_ARN": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:project/{name}",
        "ARTIFACT_BUCKET": bucket,
        "SAGEMAKER_PIPELINE_ROLE_ARN": pipeline_role,
        "MODEL_EXECUTION_ROLE_ARN": model_role,
    }
    return Project(name, project_id, bucket, group, pipeline_role, model_role, environ)


def register(
    aws: Aws, group: str, status: str = "Approved", model: str = "", program: str = "", **settings: Any
) -> str:
    """Register a version of a model of XGBoost: CSV in, CSV out.

    `model` is its archive in S3, and `program` the script in it that serves, where these matter.
    """
    container: dict[str, Any] = {"Image": IMAGE} | ({"ModelDataUrl": model} if model else {})
    if program:
        container["Environment"] = {"SAGEMAKER_PROGRAM": program}
    answer = aws.client("sagemaker").create_model_package(
        ModelPackageGroupName=group,
        ModelApprovalStatus=status,
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        **settings,
    )
    return str(answer["ModelPackageArn"])


@pytest.fixture
def project(aws: Aws) -> Project:
    return create_project(aws)


def sagemaker_ci(
    *arguments: str, environ: Mapping[str, str], cwd: Path, timeout: float = 120, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `sagemaker-ci` as a job does: its own process, nothing of our environment but PATH and HOME, no colours.

    `stdin`: its standard input.
    """
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "ci_scripts.cli", *arguments],
        cwd=cwd,
        env=clean | {"POLL_SECONDS": "0.3", "NO_COLOR": "1"} | dict(environ),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
