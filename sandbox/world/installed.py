"""AWS and GitLab on loopback with the product installed in them, the way a platform team and a data scientist would.

Everything here goes through public doors: boto3, python-gitlab, git push, `sagemaker-ci bootstrap`, CloudFormation.
`demo.py` runs the loop in this world; `python -m sandbox up` leaves it to a person.
"""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import gitlab
from botocore.config import Config
from botocore.exceptions import WaiterError

from sandbox import job_images
from sandbox.aws.ground import ACCOUNT, REGION, ROOT_KEYS
from sandbox.loopback import GITLAB_URL
from sandbox.processes import Server
from sandbox.world import people, saved
from sandbox.world.people import Place, Say, failures
from sandbox.world.people import outputs as outputs_of

ROOT = Path(__file__).resolve().parents[2]
PROJECT_NAME, PROJECT_ID = "abalone", "p-sandbox01"
PROJECT_STACK = f"SP-{PROJECT_NAME}-{PROJECT_ID}"  # SP- is how SageMaker begins the names of such stacks
PLATFORM_BUCKET = f"mlops-platform-{ACCOUNT}"
TOKEN_SECRET = "gitlab/access-token"  # noqa: S105 - the secret's name
AUTHORITIES_SECRET = "gitlab/authorities"  # noqa: S105 - the secret's name
COMPONENTS = job_images.COMPONENTS
SAMPLE_DATA = f"sagemaker-servicecatalog-seedcode-{REGION}"
GROUP = "data-science"
BUILD_REPOSITORY, DEPLOY_REPOSITORY = "data-science/abalone-model-build", "data-science/abalone-model-deploy"
VERSION = (ROOT / "ci_scripts" / "__init__.py").read_text().split('__version__ = "')[1].split('"')[0]


@dataclass(frozen=True)
class World(Place):
    """A running sandbox: where its two servers answer, and the folder of its state.

    `gitlab_url` is GitLab's own idea of its address, which jobs and functions reach by `network`, the environment of
    a program behind the gateway; people ask it at `local_gitlab_url`.
    """

    folder: Path
    aws_url: str
    local_gitlab_url: str
    network: dict[str, str]

    def gitlab(self) -> gitlab.Gitlab:
        return gitlab.Gitlab(self.local_gitlab_url, private_token=self.gitlab_token)

    def aws(self, service: str) -> Any:
        """A boto3 client with the sandbox's administrator keys."""
        return _client(service, self.aws_url, self.region)

    def environ(self) -> dict[str, str]:
        """What leads a program to the sandbox's AWS; of this process's environment hardly more than PATH."""
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return (
            inherited
            | ROOT_KEYS
            | {
                "AWS_ENDPOINT_URL": self.aws_url,
                "AWS_REGION": self.region,
                "AWS_DEFAULT_REGION": self.region,
                "POLL_SECONDS": "0.3",
            }
        )


@lru_cache(maxsize=32)  # making a client costs more than most calls do
def _client(service: str, url: str, region: str) -> Any:
    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=ROOT_KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ROOT_KEYS["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 3}, read_timeout=70),
    )


W = TypeVar("W", bound=World)


def world_in(folder: Path, aws_url: str, local_gitlab_url: str, kind: type[W]) -> W:
    """The world whose two servers keep their state in `folder`."""
    state = folder / "gitlab"
    return kind(
        account=ACCOUNT,
        region=REGION,
        gitlab_url=GITLAB_URL,
        gitlab_token=(state / "root-token").read_text().strip(),
        group=GROUP,
        components=COMPONENTS,
        version=VERSION,
        project=PROJECT_NAME,
        platform_stack="sagemaker-ci",
        platform_bucket=PLATFORM_BUCKET,
        token_secret=TOKEN_SECRET,
        authorities_secret=AUTHORITIES_SECRET,
        look_seconds=0.25,
        patience_seconds=60,
        job_seconds=600,
        folder=folder,
        aws_url=aws_url,
        local_gitlab_url=local_gitlab_url,
        network=_network(state),
    )


def _network(state: Path) -> dict[str, str]:
    network: dict[str, str] = json.loads((state / "network.json").read_text())
    return network


@contextmanager
def running(
    folder: Path, images: Path, ports: tuple[int, int] = (0, 0), take_up: Callable[[Path], bool] | None = None
) -> Iterator[World]:
    """Start both servers, their state below `folder`; end them, whatever happens.

    The state is new, unless `take_up` is there to say whether it can be gone on with: then it is kept at the end, too.

    Raises SystemExit when another sandbox runs in that folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        lock = stack.enter_context((folder / ".lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"a sandbox is running in {folder}: end it, or give this one another --folder") from None
        resumed = take_up is not None and take_up(folder)
        keep = ("--keep",) if take_up else ()
        if take_up:
            stack.callback(saved.seal, folder)
        if not resumed:
            for name in saved.SERVERS:
                shutil.rmtree(folder / name, ignore_errors=True)
        state = folder / "gitlab"
        own = ("--port", str(ports[1]), "--images", str(images), *keep)
        server = stack.enter_context(Server("sandbox.gitlab", state, *own))
        network = _network(state)
        way = ("--gateway", network["HTTPS_PROXY"], "--authorities", network["SSL_CERT_FILE"])
        aws = stack.enter_context(Server("sandbox.aws", folder / "aws", "--port", str(ports[0]), *way, *keep))
        world = world_in(folder, aws.url, server.url, World)
        if resumed:
            _reconnect(world)
        yield world


def _reconnect(world: World) -> None:
    """Tell what is installed where AWS is now, and which authority has signed GitLab's new certificate."""
    world.aws("secretsmanager").put_secret_value(SecretId=AUTHORITIES_SECRET, SecretString=authority(world))
    group = world.gitlab().groups.get(GROUP)
    group.variables.update("AWS_ENDPOINT_URL", {"value": world.aws_url})


def set_up(world: World, say: Say) -> None:
    """The product installed and one project created with it; its first training pipeline has been started."""
    install(world, say)
    create_project(world, say)


def install(world: World, say: Say, *options: str) -> None:
    """What a platform team does once: the component project, an access token, `sagemaker-ci bootstrap` with options."""
    publish_components(world)
    say(f"component project {COMPONENTS} published at {VERSION}")
    upload_abalone(world)
    say(f"4,177 rows of Abalone data in s3://{SAMPLE_DATA}")
    create_group(world)
    say(f"GitLab group {GROUP}, its access token in Secrets Manager")
    bootstrap(world, *options)
    say("sagemaker-ci bootstrap: the project template is offered in SageMaker Studio")


def create_project(world: World, say: Say) -> dict[str, Any]:
    """What a person does in Studio; the project, as SageMaker describes it."""
    project = people.create_project(world)
    say(f"project {world.project} created: roles, bucket, registry, trigger; no long-lived key anywhere")
    say(f"repositories {world.build_repository} and {world.deploy_repository} created by the seed check-in")
    return project


def publish_components(world: World, path: str = COMPONENTS) -> None:
    """Push this checkout, as it stands, to the sandbox's GitLab as a tagged component project."""
    server = world.gitlab()
    group = server.groups.create({"name": "MLOps", "path": path.split("/")[0], "visibility": "internal"})
    project = server.projects.create(
        {
            "name": path.split("/")[1],
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
    """Put the UCI Abalone data where Amazon has it in each region, in its form: sex first, rings last, no header."""
    archive = zipfile.ZipFile(io.BytesIO((files("sklego") / "data" / "abalone.zip").read_bytes()))
    _header, *rows = archive.read(archive.namelist()[0]).decode().splitlines()
    s3 = world.aws("s3")
    s3.create_bucket(Bucket=SAMPLE_DATA, CreateBucketConfiguration={"LocationConstraint": REGION})
    body = ("\n".join(rows) + "\n").encode()
    s3.put_object(Bucket=SAMPLE_DATA, Key="dataset/abalone-dataset.csv", Body=body)


def create_group(world: World) -> None:
    """The group of the data scientists, and a token for it that the seed check-in finds in Secrets Manager."""
    group = world.gitlab().groups.create({"name": "Data science", "path": GROUP})
    # Where this AWS is, and that it throttles nobody: all that the jobs have to be told about the sandbox.
    for key, value in (("AWS_ENDPOINT_URL", world.aws_url), ("POLL_SECONDS", "0.5")):
        group.variables.create({"key": key, "value": value})
    create_secret(world, TOKEN_SECRET, world.gitlab_token)
    create_secret(world, AUTHORITIES_SECRET, authority(world))


def authority(world: World) -> str:
    """The certificate of the authority that has signed GitLab's, in PEM form."""
    return (world.folder / "gitlab" / "authority.pem").read_text()


def create_secret(place: Place, name: str, text: str, gitlab_url: str = "") -> None:
    """A secret for creating projects, tagged with the GitLab that may get it."""
    tags = [{"Key": "sagemaker-ci:gitlab", "Value": gitlab_url or place.gitlab_url}]
    place.aws("secretsmanager").create_secret(Name=name, SecretString=text, Tags=tags)


def bootstrap(place: Place, *options: str) -> str:
    """Run `sagemaker-ci bootstrap` as a platform engineer does, in this checkout; what it prints."""
    s3 = place.aws("s3")
    if place.platform_bucket not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=place.platform_bucket, CreateBucketConfiguration={"LocationConstraint": place.region})
    program = str(Path(sys.executable).with_name("sagemaker-ci"))
    own = ["--bucket", place.platform_bucket, "--gitlab-url", place.gitlab_url, "--stack-name", place.platform_stack]
    done = subprocess.run(
        [program, "bootstrap", *own, *options],
        cwd=ROOT,
        env=place.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"sagemaker-ci bootstrap failed:\n{done.stdout}")
    return done.stdout


def project_parameters(world: World) -> dict[str, str]:
    """The form in Studio, filled in, and what SageMaker adds to it."""
    return {"SageMakerProjectName": PROJECT_NAME, "SageMakerProjectId": PROJECT_ID} | people.project_form(world)


def create_stack(world: World, name: str, parameters: dict[str, str]) -> dict[str, str]:
    """Create a project's stack the way SageMaker does, from the template that Studio shows; its outputs."""
    cloudformation = world.aws("cloudformation")
    cloudformation.create_stack(StackName=name, **stack_request(world, parameters))
    try:
        waiter = cloudformation.get_waiter("stack_create_complete")
        waiter.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 180})
    except WaiterError as error:
        raise SystemExit(f"stack {name} was not created:\n" + "\n".join(failures(world, name))) from error
    return outputs_of(world, name)


def stack_request(world: World, parameters: dict[str, str]) -> dict[str, Any]:
    """CreateStack's and UpdateStack's arguments but for the name: template, launch role, parameters, tags."""
    tags = {"project-name": parameters["SageMakerProjectName"], "project-id": parameters["SageMakerProjectId"]}
    return {
        "TemplateURL": people.project_template(world),
        "RoleARN": outputs_of(world, world.platform_stack)["LaunchRoleArn"],
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Tags": [{"Key": f"sagemaker:{key}", "Value": value} for key, value in tags.items()],
        "Capabilities": ["CAPABILITY_IAM"],
    }


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
