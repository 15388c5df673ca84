"""AWS and GitLab on loopback with the product installed in them, the way a platform team and a data scientist would.

Everything here goes through public doors: boto3, python-gitlab, git push, CloudFormation. `demo.py` plays in this
world; `python -m sandbox up` leaves it to a person.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import gitlab
from botocore.config import Config
from botocore.exceptions import WaiterError

from sandbox.processes import Server

ROOT = Path(__file__).resolve().parents[1]
REGION, ACCOUNT = "eu-west-1", "123456789012"
PROJECT_NAME, PROJECT_ID = "abalone", "p-sandbox01"
ARTIFACT_BUCKET = f"sagemaker-{REGION}-{ACCOUNT}-abalone"
PLATFORM_BUCKET = f"mlops-platform-{ACCOUNT}"
COMPONENTS = "mlops/sagemaker-components"
BUILD_REPOSITORY, DEPLOY_REPOSITORY = "data-science/abalone-model-build", "data-science/abalone-model-deploy"
ENDPOINTS = {stage: f"{PROJECT_NAME}-{stage}" for stage in ("staging", "prod")}
VERSION = (ROOT / "ci_scripts" / "__init__.py").read_text().split('__version__ = "')[1].split('"')[0]

Say = Callable[[str], None]


class World(NamedTuple):
    """A running sandbox: where its two servers answer and with which token a person enters GitLab."""

    folder: Path
    aws_url: str
    gitlab_url: str
    gitlab_token: str

    def aws(self, service: str) -> Any:
        """A boto3 client with the sandbox's administrator keys."""
        return boto3.client(
            service,
            endpoint_url=self.aws_url,
            region_name=REGION,
            aws_access_key_id="sandbox-admin",
            aws_secret_access_key="sandbox-admin",  # noqa: S106 - opens nothing but this sandbox
            config=Config(retries={"total_max_attempts": 3}, read_timeout=70),
        )

    def gitlab(self) -> gitlab.Gitlab:
        return gitlab.Gitlab(self.gitlab_url, private_token=self.gitlab_token)


@contextmanager
def running(folder: Path, images: Path, ports: tuple[int, int] = (0, 0)) -> Iterator[World]:
    """Start both servers, their state new and below `folder`; end them, whatever happens."""
    for name in ("aws", "gitlab"):
        shutil.rmtree(folder / name, ignore_errors=True)
    with ExitStack() as stack:
        aws = stack.enter_context(Server("sandbox.aws", folder / "aws", "--port", str(ports[0])))
        gitlab_state = folder / "gitlab"
        server = stack.enter_context(
            Server("sandbox.gitlab", gitlab_state, "--port", str(ports[1]), "--images", str(images))
        )
        token = (gitlab_state / "root-token").read_text().strip()
        yield World(folder, aws.url, server.url, token)


def set_up(world: World, say: Say) -> None:
    """Act 1: the component project, the data, the AWS side and the two repositories' settings."""
    publish_components(world)
    say(f"component project {COMPONENTS} published at {VERSION}")
    upload_abalone(world)
    say("4,177 rows of Abalone data in s3://sagemaker-sample-files")
    build, deploy = create_repositories(world)
    say(f"repositories {BUILD_REPOSITORY} and {DEPLOY_REPOSITORY} created")
    roles = deploy_roles(world)
    say("roles for GitLab's jobs deployed: OIDC, no long-lived key anywhere")
    deploy_trigger(world, deploy)
    say("approval trigger deployed: rule, queue, Lambda, dead-letter queue, alarms")
    set_variables(world, build, deploy, roles)
    say("CI/CD variables set")


def publish_components(world: World) -> None:
    """Push this checkout, as it stands, to the sandbox's GitLab as a tagged component project."""
    server = world.gitlab()
    group = server.groups.create({"name": "MLOps", "path": COMPONENTS.split("/")[0], "visibility": "internal"})
    project = server.projects.create(
        {
            "name": COMPONENTS.split("/")[1],
            "namespace_id": group.id,
            "visibility": "internal",
            "description": "SageMaker MLOps components",
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        snapshot = Path(folder)
        for name in _files_of_this_project():
            target = snapshot / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
        _git(snapshot, "init", "--quiet", "--initial-branch", "main")
        _git(snapshot, "add", "--all", "--force")
        # The project's own pipeline is not part of the demonstration.
        _git(snapshot, "commit", "--quiet", "--message", f"Release {VERSION} [skip ci]")
        _git(snapshot, "tag", VERSION)
        address = urlsplit(project.http_url_to_repo)
        remote = f"{address.scheme}://oauth2:{world.gitlab_token}@{address.netloc}{address.path}"
        _git(snapshot, "push", "--quiet", remote, "main", VERSION)


def _files_of_this_project() -> list[str]:
    if not (ROOT / ".git").exists():  # an unpacked source archive
        return [str(path.relative_to(ROOT)) for path in ROOT.glob("templates/**/*") if path.is_file()] + ["README.md"]
    listing = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Platform team", "-c", "user.email=platform@example.com"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def upload_abalone(world: World) -> None:
    """Put the UCI Abalone data where Amazon publishes it, in Amazon's form: the sex first, rings last, no header."""
    archive = zipfile.ZipFile(io.BytesIO((files("sklego") / "data" / "abalone.zip").read_bytes()))
    _header, *rows = archive.read(archive.namelist()[0]).decode().splitlines()
    s3 = world.aws("s3")
    for bucket in ("sagemaker-sample-files", ARTIFACT_BUCKET, PLATFORM_BUCKET):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    body = ("\n".join(rows) + "\n").encode()
    s3.put_object(Bucket="sagemaker-sample-files", Key="datasets/tabular/uci_abalone/abalone.csv", Body=body)


def create_repositories(world: World) -> tuple[Any, Any]:
    """The two GitLab projects, empty as yet: their variables must be there before their first commit is."""
    server = world.gitlab()
    group = server.groups.create({"name": "Data science", "path": BUILD_REPOSITORY.split("/")[0]})
    build, deploy = (
        server.projects.create({"name": path.split("/")[1], "namespace_id": group.id, "default_branch": "main"})
        for path in (BUILD_REPOSITORY, DEPLOY_REPOSITORY)
    )
    return build, deploy


def deploy_roles(world: World) -> dict[str, str]:
    """Deploy `infra/gitlab-oidc.yml`; the stack's outputs are the roles' ARNs."""
    return _deploy_stack(
        world,
        "abalone-gitlab-oidc",
        "gitlab-oidc.yml",
        {
            "SageMakerProjectName": PROJECT_NAME,
            "SageMakerProjectId": PROJECT_ID,
            "GitLabServerUrl": world.gitlab_url,
            "ModelBuildProjectPath": BUILD_REPOSITORY,
            "ModelDeployProjectPath": DEPLOY_REPOSITORY,
            "ArtifactBucket": ARTIFACT_BUCKET,
        },
    )


def deploy_trigger(world: World, deploy: Any) -> dict[str, str]:
    """Build the Lambda's archive, keep the trigger token in Secrets Manager, deploy `infra/trigger.yml`."""
    world.aws("sagemaker").create_model_package_group(ModelPackageGroupName=f"{PROJECT_NAME}-{PROJECT_ID}")
    archive = _build_archive("pipeline_trigger", world.folder / "lambda")
    key = f"functions/{archive.name}"
    world.aws("s3").upload_file(str(archive), PLATFORM_BUCKET, key)
    token = deploy.triggers.create({"description": "Model approvals"}).token
    secret = world.aws("secretsmanager").create_secret(Name=f"{PROJECT_NAME}/trigger-token", SecretString=token)
    return _deploy_stack(
        world,
        "abalone-trigger",
        "trigger.yml",
        {
            "SageMakerProjectName": PROJECT_NAME,
            "SageMakerProjectId": PROJECT_ID,
            "GitLabServerUrl": world.gitlab_url,
            "GitLabProjectId": str(deploy.id),
            "TriggerTokenSecretArn": secret["ARN"],
            "CodeBucket": PLATFORM_BUCKET,
            "CodeKey": key,
        },
    )


def _build_archive(function: str, output: Path) -> Path:
    command = [sys.executable, str(ROOT / "infra" / "archive.py"), function, "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"building the archive of {function} failed:\n{done.stderr}")
    return Path(done.stdout.split()[0])


def _deploy_stack(world: World, name: str, template: str, parameters: dict[str, str]) -> dict[str, str]:
    cloudformation = world.aws("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=(ROOT / "infra" / template).read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    try:
        waiter = cloudformation.get_waiter("stack_create_complete")
        waiter.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    except WaiterError as error:
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events
            if "ResourceStatusReason" in event
        ]
        raise SystemExit(f"stack {name} was not created:\n" + "\n".join(reasons)) from error
    outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def set_variables(world: World, build: Any, deploy: Any, roles: dict[str, str]) -> None:
    """The CI/CD variables of both repositories, as a person would type them under Settings > CI/CD."""
    common = {
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": world.aws_url,
        "SAGEMAKER_PROJECT_NAME": PROJECT_NAME,
        "SAGEMAKER_PROJECT_ID": PROJECT_ID,
        "ARTIFACT_BUCKET": ARTIFACT_BUCKET,
        "POLL_SECONDS": "0.5",  # the sandbox throttles nobody
    }
    only_build = {
        "SAGEMAKER_PIPELINE_ROLE_ARN": roles["PipelineRoleArn"],
        "AWS_ROLE_ARN": roles["TrainingRoleArn"],
        "AWS_CHECK_ROLE_ARN": roles["CheckRoleArn"],
    }
    only_deploy = {
        "MODEL_EXECUTION_ROLE_ARN": roles["ModelExecutionRoleArn"],
        "CLOUDFORMATION_ROLE_ARN": roles["CloudFormationRoleArn"],
    }
    for project, variables in ((build, common | only_build), (deploy, common | only_deploy)):
        for key, value in variables.items():
            project.variables.create({"key": key, "value": value})
    for scope, output in (("*", "BuildRoleArn"), ("staging", "StagingRoleArn"), ("prod", "ProdRoleArn")):
        deploy.variables.create({"key": "AWS_ROLE_ARN", "value": roles[output], "environment_scope": scope})


def commit_seed(project: Any, seed: str, message: str) -> Any:
    """One commit with every file of a seed folder, executable bits kept."""
    folder = ROOT / seed
    names = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", seed).split("\0")
    actions = [
        {
            "action": "create",
            "file_path": str((ROOT / name).relative_to(folder)),
            "content": base64.b64encode((ROOT / name).read_bytes()).decode(),
            "encoding": "base64",
            "execute_filemode": bool((ROOT / name).stat().st_mode & 0o100),
        }
        for name in names
        if name and (ROOT / name).is_file()
    ]
    return project.commits.create({"branch": "main", "commit_message": message, "actions": actions})


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
