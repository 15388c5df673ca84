"""CI/CD variables → typed settings. Every command reads its surroundings here and nowhere else.

Kept free of heavy imports: a missing variable is answered before boto3 (or even dataclasses) would have loaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import __version__, repository
from ci_scripts.errors import InvalidSettings, NoMergeRequest, VersionMismatch

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

# SageMaker's own rule for project names, without its capitals: SageMaker writes ARNs in lower case, and IAM policies
# compare them letter by letter. infra/gitlab-oidc.yml, trigger.yml and project.yml have the same two.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateProject.html
# Plain text, compiled when there is something to check: compiling takes longer than saying that a variable is missing.
PROJECT_NAME = r"[a-z0-9](-*[a-z0-9]){0,31}"
PROJECT_ID = r"[a-z0-9](-*[a-z0-9]){0,19}"
REGION = r"[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}"
BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
ROLE_ARN = r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[a-zA-Z0-9_+=,.@/-]+"


MERGE_REQUEST_ROLE = "AWS_MERGE_REQUEST_ROLE_ARN"
"""The CI/CD variable with the role of jobs that train in merge requests, and clean up after them."""

MERGE_REQUEST_PIPELINE_ROLE = "MERGE_REQUEST_PIPELINE_ROLE_ARN"
"""And that with the role of their SageMaker pipelines: where it is set, merge requests train."""

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackageGroup.html
_LONGEST_GROUP = 63

STAGES = ("staging", "prod")
"""The stages of a model, in the order in which it passes them."""


class Project(NamedTuple):
    """The SageMaker project a job works for, and the names that follow from it."""

    region: str
    name: str
    id: str
    arn: str | None
    artifact_bucket: str
    merge_request: str = ""
    """The number of the merge request that trains apart from the project; empty for the project itself."""

    @property
    def model_package_group(self) -> str:
        return self.pipeline

    @property
    def pipeline(self) -> str:
        """Name of the pipeline, of the model package group, and of the folder of the bucket that holds their files."""
        return f"{self.name}-{self.id}" + (f"-mr-{self.merge_request}" if self.merge_request else "")

    def stack(self, stage: str) -> str:
        """Name of the CloudFormation stack of a stage; the id keeps `abalone` and `abalone-2` apart in IAM prefixes."""
        return f"sagemaker-{self.name}-{self.id}-deploy-{stage}"

    def history_prefix(self, stage: str) -> str:
        """Where the records of a stage's deployments are in the artifact bucket; its roles may add to them alone."""
        return f"sagemaker-{self.name}-{self.id}-history/{stage}/"

    @property
    def image_repository(self) -> str:
        """Name of the repository in ECR with the images of the project's own containers."""
        return f"{self.name}-{self.id}"

    @property
    def merge_request_image_repository(self) -> str:
        """Of that with the images of merge requests that train."""
        return f"{self.name}-{self.id}-mr"

    @property
    def approvals_table(self) -> str:
        """The DynamoDB table in which infra/trigger.yml keeps what became of each approval."""
        return f"sagemaker-{self.name}-{self.id}-approvals"

    def endpoint(self, stage: str) -> str:
        return f"{self.name}-{stage}"

    def tags(self) -> dict[str, str]:
        """Tags by which SageMaker Studio finds what belongs to a project."""
        tags = {"sagemaker:project-name": self.name, "sagemaker:project-id": self.id}
        return tags | ({"sagemaker:project-arn": self.arn} if self.arn else {})


def value(environ: Mapping[str, str], name: str) -> str:
    """A variable, `SMCI_<name>` (a component's input) before `<name>` (a CI/CD variable); empty means unset."""
    return (environ.get(f"SMCI_{name}") or environ.get(name) or "").strip()


def is_on(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a variable switches something on."""
    return environ.get(name, "").strip().lower() in ("true", "1")


def require_version(environ: Mapping[str, str] = os.environ) -> None:
    """Raise VersionMismatch in a job of a component of another version; outside of a component's job all is well."""
    component = environ.get("SMCI_COMPONENT_VERSION", __version__)
    if component != __version__:
        raise VersionMismatch(f"this is sagemaker-ci {__version__}, the component is {component}")


def enter_folder(environ: Mapping[str, str] = os.environ) -> None:
    """Make the model's folder the working directory, when the component names one.

    Raises InvalidSettings, or OutsideRepository for a folder that is not the repository's.
    """
    folder = environ.get("SMCI_FOLDER") or "."
    repository.require(folder)
    try:
        os.chdir(folder)
    except (OSError, ValueError):
        raise InvalidSettings(
            f"there is no folder {folder!r} here", hint="Correct the input `folder` of the component."
        ) from None


def load_project(environ: Mapping[str, str] = os.environ) -> Project:
    """Read the project's variables.

    Raises InvalidSettings with every missing or malformed variable in one message.
    """
    problems: list[str] = []
    environ = _of_one_project(environ)

    def required(name: str, rule: str, example: str) -> str:
        content = value(environ, name)
        if not content:
            problems.append(f"{name} is not set")
        elif not re.fullmatch(rule, content):
            problems.append(f"{name} is {content!r}, expected something like {example}")
        return content

    project = Project(
        region=required("AWS_REGION", REGION, "eu-west-1"),
        name=required(
            "SAGEMAKER_PROJECT_NAME", PROJECT_NAME, "abalone (lower-case letters, digits, inner hyphens; at most 32)"
        ),
        id=required("SAGEMAKER_PROJECT_ID", PROJECT_ID, "p-abc123def456"),
        arn=value(environ, "SAGEMAKER_PROJECT_ARN") or None,
        artifact_bucket=required("ARTIFACT_BUCKET", BUCKET, "my-artifact-bucket"),
    )
    problems += endpoint_problems(environ)
    if problems:
        raise InvalidSettings("; ".join(problems))
    return project


def of_merge_request(project: Project, number: str) -> Project:
    """The names under which a merge request of the project trains. Raises NoMergeRequest, or InvalidSettings for names
    that would be too long.
    """
    if not re.fullmatch("[1-9][0-9]*", number):
        raise NoMergeRequest(
            f"the merge request is {number!r}, expected a number" if number else "there is no merge request"
        )
    apart = project._replace(merge_request=number)
    if len(apart.model_package_group) > _LONGEST_GROUP:
        raise InvalidSettings(
            f"{apart.model_package_group} is longer than {_LONGEST_GROUP} characters, no name for a group"
        )
    return apart


# Repositories of ECR, in every partition: https://docs.aws.amazon.com/AmazonECR/latest/userguide/Repositories.html
_IMAGE_URI = r"\d{12}\.dkr[.-]ecr\.[a-z0-9.-]+/[a-z0-9._/-]+(@sha256:[0-9a-f]{64}|:[\w.-]{1,128})"


def image_variable(project: Project) -> str:
    """The variable in which a job `image-build` hands its image on; each project of a pipeline has its own."""
    return f"IMAGE_URI_{project.name}_{project.id}".replace("-", "_").upper()


def image_uri(project: Project, environ: Mapping[str, str] = os.environ) -> str:
    """The image that a job `image-build` of this pipeline has built for the project; empty if there was none.

    In a merge request it is named by its tag until it has been pushed.

    Raises InvalidSettings for what is no address of an image in ECR.
    """
    name = image_variable(project)
    uri = environ.get(name, "").strip()
    if uri and not re.fullmatch(_IMAGE_URI, uri, re.ASCII):
        raise InvalidSettings(f"{name} is {uri!r}, no image in ECR")
    return uri


def load_region(environ: Mapping[str, str] = os.environ) -> str:
    """AWS_REGION alone, for commands that are told of which projects. Raises InvalidSettings."""
    problems = endpoint_problems(environ)
    region = value(environ, "AWS_REGION")
    if not re.fullmatch(REGION, region):
        problems.insert(
            0, f"AWS_REGION is {region!r}, expected something like eu-west-1" if region else "AWS_REGION is not set"
        )
    if problems:
        raise InvalidSettings("; ".join(problems))
    return region


def endpoint_problems(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What is wrong with the addresses of AWS services in AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_<SERVICE>."""
    return [
        f"{name} is {environ[name]!r}, expected something like https://vpce-0123-abcd.s3.eu-west-1.vpce.amazonaws.com"
        for name in sorted(environ)
        if re.match(r"AWS_ENDPOINT_URL(_|$)", name)
        and environ[name]
        and not re.match(r"https?://[^/\s]", environ[name])
    ]


def _of_one_project(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Without the CI/CD variables that name a project, when the component's inputs do: never half of each."""
    names = ("SAGEMAKER_PROJECT_NAME", "SAGEMAKER_PROJECT_ID", "SAGEMAKER_PROJECT_ARN")
    if not any(environ.get(f"SMCI_{name}") for name in names):
        return environ
    return {name: content for name, content in environ.items() if name not in names}


def issuer_problem(url: str) -> str | None:
    """Why GitLab at this address cannot be an identity provider of AWS; None when it can.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html
    """
    scheme, _, rest = url.partition("://")
    if scheme != "https":
        return f"{url} is not https"
    if ":" in rest.partition("/")[0]:
        return f"{url} has a port"
    return None


def role_arn(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """An IAM role's ARN from a variable. Raises InvalidSettings when it is missing or not the ARN of a role."""
    arn = value(environ, name)
    if not arn:
        raise InvalidSettings(f"{name} is not set")
    if not re.fullmatch(ROLE_ARN, arn):
        raise InvalidSettings(f"{name} is {arn!r}, expected something like arn:aws:iam::123456789012:role/name")
    return arn


def poll_seconds(environ: Mapping[str, str] = os.environ) -> float:
    """Seconds between two looks at something that takes long, from POLL_SECONDS; SageMaker throttles below ten."""
    text = value(environ, "POLL_SECONDS") or "15"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0.2 <= seconds <= 300:
        raise InvalidSettings(f"POLL_SECONDS is {text!r}, expected a number of seconds from 0.2 to 300")
    return seconds


def add_option(parser: ArgumentParser, flag: str, variable: str, help: str, **settings: Any) -> None:
    """An option that falls back to a variable, the way a component's input reaches its command.

    Precedence: command line, then the variable when it is not empty, then `default`.
    """
    default = settings.pop("default", None)
    parser.add_argument(flag, default=os.environ.get(variable) or default, help=f"{help} [{variable}]", **settings)


def add_cloudformation_role(parser: ArgumentParser) -> None:
    """The option of every command that deploys; `cloudformation_role` reads it."""
    add_option(
        parser,
        "--cloudformation-role-arn",
        "SMCI_CLOUDFORMATION_ROLE_ARN",
        "the role CloudFormation creates the resources with; default: CLOUDFORMATION_ROLE_ARN, else the job's own",
        metavar="ARN",
    )


def add_replace_endpoint(parser: ArgumentParser) -> None:
    """The other one; `replace_endpoint` reads it."""
    parser.add_argument(
        "--replace-endpoint",
        action="store_true",
        help="delete and make anew an endpoint that cannot become what is deployed while it serves [REPLACE_ENDPOINT]",
    )


def replace_endpoint(arguments: Namespace) -> bool:
    """Whether a person allowed it."""
    return bool(arguments.replace_endpoint) or is_on("REPLACE_ENDPOINT")


def cloudformation_role(arguments: Namespace, environ: Mapping[str, str] = os.environ) -> str | None:
    """The role that CloudFormation acts with; None: the job's own. Raises InvalidSettings for what is no role."""
    name = "CLOUDFORMATION_ROLE_ARN"
    arn = arguments.cloudformation_role_arn or value(environ, name)
    return role_arn(name, {name: arn}) if arn else None


KEEP_SUPERSEDED, LOG_RETENTION = "KEEP_SUPERSEDED", "LOG_RETENTION_DAYS"
"""CI/CD variables: what a proven deployment leaves, see superseded.py."""

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
_DAYS = (
    *(0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


def upkeep(environ: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """How many superseded deployments keep their models, and for how many days the endpoint's log is kept.

    Raises InvalidSettings.
    """
    keep, days = value(environ, KEEP_SUPERSEDED) or "3", value(environ, LOG_RETENTION) or "365"
    problems = []
    if not re.fullmatch("[1-9][0-9]?", keep):
        problems.append(f"{KEEP_SUPERSEDED} is {keep!r}, expected a number from 1 to 99")
    if not days.isdecimal() or int(days) not in _DAYS:
        problems.append(f"{LOG_RETENTION} is {days!r}, expected one of {', '.join(map(str, _DAYS))}")
    if problems:
        raise InvalidSettings("; ".join(problems))
    return int(keep), int(days)
