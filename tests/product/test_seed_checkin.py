"""The seed check-in creates a project's two repositories, once and whole."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gitlab
import pytest

from tests.support.gitlab_client import pipeline_of, settled
from tests.support.private_gitlab import private_gitlab
from tests.support.seed_checkin import (  # noqa: F401 - the fixtures
    CHECKIN,
    JOB,
    MUTATING,
    PROJECTS,
    Fault,
    Proxy,
    Stack,
    assert_complete,
    at,
    behind,
    commits_of,
    stack,
    token,
)
from tests.support.servers import ROOT, create_role

pytest_plugins = ["tests.support.gitlab_fixtures"]

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
    checked_out = {str(path.relative_to(clone)): path for path in clone.rglob("*") if path.is_file()}
    checked_out = {name: path for name, path in checked_out.items() if not name.startswith(".git/")}
    assert {name: path.read_bytes() for name, path in checked_out.items()} == expected
    assert [name for name, path in checked_out.items() if path.stat().st_mode & 0o100] == ["run.sh"]
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
