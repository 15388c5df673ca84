"""A job's credentials, good and bad: which code a refusal of AWS gets, and that it is one line with what to do."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import shutil
import time
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.sandbox.conftest import ROOT, Aws, Project, sagemaker_ci
from tests.sandbox.test_aws_identity import EXACT, Issuer, issuer, role  # noqa: F401 - the fixture


class Job:
    """A job `build` in GitLab, in a new model-deploy repository, with credentials of its own."""

    def __init__(self, project: Project, folder: Path) -> None:
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        self._environ = {name: text for name, text in project.environ.items() if name not in keys} | {"CI_JOB_ID": "7"}
        self._folder = Path(shutil.copytree(ROOT / "seed-deploy", folder / "model-deploy"))

    def run(self, **credentials: str) -> CompletedProcess[str]:
        return sagemaker_ci("build", environ=self._environ | credentials, cwd=self._folder)


@pytest.fixture
def job(project: Project, tmp_path: Path) -> Job:
    return Job(project, tmp_path)


def refused(done: CompletedProcess[str], code: str) -> None:
    error, hint = done.stderr.splitlines()
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
