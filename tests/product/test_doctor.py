"""`sagemaker-ci doctor` against a project that is well, and against everything that can be wrong with one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ci_scripts import __version__
from sandbox.aws.sagemaker.quotas import code
from sandbox.gateway import Gateway
from tests.support.gitlab_client import GitLab, commit
from tests.support.identity import EXACT, Issuer, role
from tests.support.roles import deployed
from tests.support.servers import ACCOUNT, REGION, ROOT, Aws, Project, create_role, register, sagemaker_ci
from tests.support.stacks import infra_stack

pytest_plugins = ["tests.support.gitlab_fixtures"]
COMPONENT = "$CI_SERVER_FQDN/mlops/sagemaker-components/model-deploy"


class Trigger(NamedTuple):
    """What `infra/trigger.yml` makes, as far as doctor sees it."""

    rule: str
    queue_url: str
    dead_letter_url: str


def create_trigger(aws: Aws, project: Project) -> Trigger:
    sqs, events = aws.client("sqs"), aws.client("events")
    dead = sqs.create_queue(QueueName=f"{project.name}-dead")["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{project.name}"
    redrive = json.dumps({"deadLetterTargetArn": f"{arn}-dead", "maxReceiveCount": 120})
    queue = sqs.create_queue(QueueName=project.name, Attributes={"RedrivePolicy": redrive})["QueueUrl"]
    pattern = {"source": ["aws.sagemaker"], "detail": {"ModelPackageGroupName": [project.group]}}
    rule = f"{project.name}-rule"
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
    return Trigger(rule, queue, dead)


def lines_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Check → status of every line; fails on a traceback or on anything that is not a verdict."""
    assert "Traceback" not in done.stderr
    statuses = {}
    *lines, tally = done.stdout.splitlines()
    assert tally.startswith(f"{len(lines)} checks: "), tally
    for line in lines:
        status, check = line[:8].strip(), line[9:37].strip()
        assert status in ("ok", "hint", "FAILED", "skipped"), line
        statuses[check] = status
    return statuses


def fill_with_seeds(folder: Path) -> None:
    """Both seeds' files, as far as doctor reads them: it looks at one repository, which is enough of both."""
    for name in ("seed-build", "seed-deploy"):
        shutil.copytree(ROOT / name, folder, dirs_exist_ok=True)


def doctor(environ: Mapping[str, str], folder: Path, *arguments: str) -> tuple[dict[str, str], Any]:
    done = sagemaker_ci("doctor", *arguments, environ=environ, cwd=folder)
    return lines_of(done), done


@pytest.fixture
def granted_quotas(aws: Aws) -> Iterator[None]:
    """The quotas that the seeds need beside a new account's; the account is a new one again afterwards."""
    quotas = aws.client("service-quotas")
    of_new_accounts = {"ml.m5.large for training job usage": 0, "ml.t2.medium for endpoint usage": 2}
    for name in of_new_accounts:
        quotas.request_service_quota_increase(ServiceCode="sagemaker", QuotaCode=code(name), DesiredValue=4)
    yield
    for name, value in of_new_accounts.items():
        quotas.request_service_quota_increase(ServiceCode="sagemaker", QuotaCode=code(name), DesiredValue=value)


@pytest.mark.usefixtures("granted_quotas")
def test_a_healthy_project_is_ok_line_by_line(
    aws: Aws, project: Project, gitlab_server: GitLab, repository: Any, tmp_path: Path
) -> None:
    s3 = aws.client("s3")
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=project.bucket, PublicAccessBlockConfiguration=closed)
    s3.put_bucket_versioning(Bucket=project.bucket, VersioningConfiguration={"Status": "Enabled"})
    register(aws, project.group)
    create_trigger(aws, project)
    commit(repository, {"README.md": "# Demo\n"})
    fill_with_seeds(tmp_path)
    repository.ci_pipeline_variables_minimum_override_role = "maintainer"
    repository.save()
    pinned = f"include:\n  - component: {COMPONENT}@{__version__}\n"
    (tmp_path / ".gitlab-ci.yml").write_text(pinned)
    environ = project.environ | {"GITLAB_TOKEN": gitlab_server.token}
    options = ["--gitlab-api", f"{gitlab_server.url}/api/v4", "--gitlab-project", repository.path_with_namespace]
    checks, done = doctor(environ, tmp_path, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert checks.pop("credentials") == "hint"  # the test's own keys are static
    assert set(checks.values()) == {"ok"}, done.stdout
    assert {"quota processing job", "quota training job", "quota endpoint", "trigger's variables"} <= set(checks)
    assert {"region", "bucket", "model package group", "approved version", "trigger rule", "trigger queue"} <= set(
        checks
    )
    assert {"dead-letter queue", "GitLab project", "default branch", "CI/CD variables", "outdated deployments"} <= set(
        checks
    )
    assert {"SAGEMAKER_PIPELINE_ROLE_ARN", "MODEL_EXECUTION_ROLE_ARN", "component model-deploy"} <= set(checks)


def test_a_new_account_is_told_which_quota_to_ask_for(project: Project, tmp_path: Path) -> None:
    fill_with_seeds(tmp_path)
    for path in (tmp_path / "staging-config.json", tmp_path / "prod-config.json"):
        path.write_text(path.read_text().replace("ml.t2.medium", "ml.c5.9xlarge"))
    checks, done = doctor(project.environ, tmp_path)
    assert (checks["quota endpoint"], checks["quota processing job"]) == ("FAILED", "ok")
    name = "ml.c5.9xlarge for endpoint usage"
    assert f"{name} ({code(name)}) is 0, needed: 2; ask for 3: https://eu-west-1.console.aws.amazon.com" in done.stdout
    assert done.returncode == 1


def test_a_project_in_which_nobody_sets_pipeline_variables_is_told(
    project: Project, gitlab_server: GitLab, repository: Any, tmp_path: Path
) -> None:
    assert repository.ci_pipeline_variables_minimum_override_role == "no_one_allowed"
    options = ["--gitlab-api", f"{gitlab_server.url}/api/v4", "--gitlab-project", str(repository.id)]
    checks, done = doctor(project.environ | {"GITLAB_TOKEN": gitlab_server.token}, tmp_path, *options)
    assert checks["trigger's variables"] == "hint"
    assert "Minimum role to use pipeline variables > Maintainer" in done.stdout


def test_who_may_not_deploy_to_a_protected_environment_is_told_before_a_job_fails(
    project: Project, gitlab_server: GitLab, repository: Any, tmp_path: Path
) -> None:
    """The pipeline of an approval runs as the owner of the trigger token."""
    maintainer = gitlab_server.user(repository, 40)
    somebody = gitlab_server.client.users.create(
        {
            "username": f"ada-{repository.id}",
            "name": "Ada",
            "email": f"ada-{repository.id}@example.com",
            "reset_password": True,
        }
    )
    maintainer.projects.get(repository.id).triggers.create({"description": "approvals"})
    for name, level in (("staging", {"user_id": somebody.id}), ("prod", {"access_level": 40})):
        repository.protected_environments.create({"name": name, "deploy_access_levels": [level]})
    options = ["--gitlab-api", f"{gitlab_server.url}/api/v4", "--gitlab-project", str(repository.id)]
    checks, done = doctor(project.environ | {"GITLAB_TOKEN": gitlab_server.token}, tmp_path, *options)
    assert (checks["environment staging"], checks["environment prod"]) == ("FAILED", "ok")
    assert re.search(
        r"user-\w+, who owns the trigger token, may not deploy to it: the job of an approval's", done.stdout
    )
    assert "may deploy to it: Maintainers" in done.stdout


def test_a_project_without_trigger_group_and_approval_is_told_what_to_do(project: Project, tmp_path: Path) -> None:
    checks, done = doctor(project.environ | {"SAGEMAKER_PROJECT_ID": "p-another1"}, tmp_path)
    assert done.returncode == 1
    assert "error SMCI-110" in done.stderr
    assert checks["trigger rule"] == "FAILED"
    assert checks["model package group"] == checks["approved version"] == "hint"
    assert checks["bucket public access"] == checks["bucket versioning"] == "hint"
    assert checks["GitLab project"] == checks["component"] == "skipped"


def test_a_disabled_rule_and_dead_letters_fail(aws: Aws, project: Project, tmp_path: Path) -> None:
    trigger = create_trigger(aws, project)
    aws.client("events").disable_rule(Name=trigger.rule)
    aws.client("sqs").send_message(QueueUrl=trigger.dead_letter_url, MessageBody="{}")
    aws.client("sqs").send_message(QueueUrl=trigger.queue_url, MessageBody="{}")
    checks, done = doctor(project.environ, tmp_path)
    assert checks["trigger rule"] == checks["dead-letter queue"] == "FAILED"
    assert checks["trigger queue"] == "hint"
    assert f"aws events enable-rule --name {trigger.rule}" in done.stdout


def test_roles_and_buckets_that_do_not_fit_fail(aws: Aws, project: Project, tmp_path: Path) -> None:
    wrong = create_role(aws, f"wrong-{project.name}", "ec2.amazonaws.com")
    environ = project.environ | {
        "SAGEMAKER_PIPELINE_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/nobody",
        "MODEL_EXECUTION_ROLE_ARN": wrong,
        "CLOUDFORMATION_ROLE_ARN": "my-role",
        "ARTIFACT_BUCKET": f"no-such-{project.bucket}",
    }
    checks, done = doctor(environ, tmp_path)
    for check in ("SAGEMAKER_PIPELINE_ROLE_ARN", "MODEL_EXECUTION_ROLE_ARN", "CLOUDFORMATION_ROLE_ARN", "bucket"):
        assert checks[check] == "FAILED", done.stdout


def test_missing_variables_and_refused_credentials_end_the_examination_of_aws(project: Project, tmp_path: Path) -> None:
    checks, done = doctor({}, tmp_path)
    assert (checks["variables"], checks["AWS"], done.returncode) == ("FAILED", "skipped", 1)
    environ = {key: text for key, text in project.environ.items() if "KEY" not in key}
    checks, done = doctor(environ | {"AWS_EC2_METADATA_DISABLED": "true"}, tmp_path)
    assert (checks["credentials"], checks["AWS"], done.returncode) == ("FAILED", "skipped", 1)


def test_a_job_without_an_id_token_for_its_role_is_told_so(project: Project, tmp_path: Path) -> None:
    environ = {key: text for key, text in project.environ.items() if "KEY" not in key}
    checks, done = doctor(environ | {"CI_JOB_ID": "7", "AWS_ROLE_ARN": project.pipeline_role}, tmp_path)
    assert (checks["credentials"], done.returncode) == ("FAILED", 1)
    assert "no AWS_ID_TOKEN to assume the role" in done.stdout


def test_a_job_that_may_not_look_says_so_check_by_check_and_at_the_end(
    aws: Aws, issuer: Issuer, project: Project, tmp_path: Path
) -> None:
    environ = {key: text for key, text in project.environ.items() if "KEY" not in key}
    token = {"CI_JOB_ID": "7", "AWS_ROLE_ARN": role(aws, issuer, EXACT), "AWS_ID_TOKEN": issuer.token()}
    checks, done = doctor(environ | token, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {check for check, status in checks.items() if status == "ok"} == {"variables", "region", "credentials"}
    assert f"{project.bucket} is another account's, or we are not allowed to look" in done.stdout
    assert re.search(r"^\d+ checks: 3 ok, \d+ skipped: the lines say what looking takes", done.stdout, re.MULTILINE)


def test_the_doctor_policy_shows_everything_of_aws(
    aws: Aws, gateway: Gateway, project: Project, tmp_path: Path
) -> None:
    iam, name = aws.client("iam"), f"doctor-{project.name}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    create_trigger(aws, project)
    register(aws, project.group)
    fill_with_seeds(tmp_path)
    apart = {
        "SageMakerProjectName": project.name,
        "SageMakerProjectId": project.id,
        "ArtifactBucket": project.bucket,
        "OidcProviderArn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/gitlab.com",
        "ModelBuildSubject": "project_id:4711",
    }
    with (
        deployed(aws, gateway, project.name, project.id, project.bucket) as roles,
        infra_stack(aws, "merge-requests.yml", apart) as stack,
    ):
        iam.attach_user_policy(UserName=name, PolicyArn=roles.outputs["DoctorPolicyArn"])
        environ = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "SAGEMAKER_PIPELINE_ROLE_ARN": roles.outputs["PipelineRoleArn"],
            "MODEL_EXECUTION_ROLE_ARN": roles.outputs["ModelExecutionRoleArn"],
            "CLOUDFORMATION_ROLE_ARN": roles.outputs["StagingCloudFormationRoleArn"],
            "AWS_MERGE_REQUEST_ROLE_ARN": stack.outputs["MergeRequestRoleArn"],
            "MERGE_REQUEST_PIPELINE_ROLE_ARN": stack.outputs["MergeRequestPipelineRoleArn"],
        }
        checks, done = doctor(project.environ | environ, tmp_path)
        assert {check for check, status in checks.items() if status == "skipped"} == {
            *(name[:28] for name in list(environ)[-2:]),  # as far as the column is wide
            "GitLab project",
        }
        assert "iam:GetRole (MergeRequestDoctorPolicy of infra/merge-requests.yml)" in done.stdout
        iam.attach_user_policy(UserName=name, PolicyArn=stack.outputs["MergeRequestDoctorPolicyArn"])
        checks, _ = doctor(project.environ | environ, tmp_path)
        iam.detach_user_policy(UserName=name, PolicyArn=stack.outputs["MergeRequestDoctorPolicyArn"])
        iam.detach_user_policy(UserName=name, PolicyArn=roles.outputs["DoctorPolicyArn"])
    assert {check for check, status in checks.items() if status == "skipped"} == {"GitLab project"}
    assert {check for check, status in checks.items() if status == "FAILED"} <= {"quota training job"}  # a new account
    assert checks["dead-letter queue"] == checks["approved version"] == checks["CLOUDFORMATION_ROLE_ARN"] == "ok"


def test_a_project_that_lets_outdated_deployments_run_is_told_where_to_stop_them(
    project: Project, gitlab_server: GitLab, repository: Any, tmp_path: Path
) -> None:
    repository.ci_forward_deployment_enabled = False
    repository.save()
    (tmp_path / ".gitlab-ci.yml").write_text(f"include:\n  - component: {COMPONENT}@{__version__}\n")
    options = ["--gitlab-api", f"{gitlab_server.url}/api/v4", "--gitlab-project", str(repository.id)]
    checks, done = doctor(project.environ | {"GITLAB_TOKEN": gitlab_server.token}, tmp_path, *options)
    assert checks["outdated deployments"] == "hint"
    assert "not prevented: Settings > CI/CD > General pipelines" in done.stdout


def test_an_unprotected_branch_an_open_secret_and_a_wrong_token_are_seen(
    project: Project, gitlab_server: GitLab, repository: Any, tmp_path: Path
) -> None:
    commit(repository, {"README.md": "# Demo\n"})
    for branch in repository.protectedbranches.list():
        branch.delete()
    repository.variables.create({"key": "AWS_SECRET_ACCESS_KEY", "value": "wJalrXUtnFEMIK7MDENG"})
    options = ["--gitlab-api", f"{gitlab_server.url}/api/v4", "--gitlab-project", str(repository.id)]
    checks, done = doctor(project.environ | {"GITLAB_TOKEN": gitlab_server.token}, tmp_path, *options)
    assert checks["default branch"] == checks["CI/CD variables"] == "FAILED", done.stdout
    assert "wJalr" not in done.stdout
    checks, _ = doctor(project.environ | {"GITLAB_TOKEN": "glpat-wrong"}, tmp_path, *options)
    assert checks["GitLab project"] == "skipped"
