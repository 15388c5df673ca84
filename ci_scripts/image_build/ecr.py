"""The project's repository in ECR: what it holds under a tag, how to log in to it, and what may be deployed of it.

Called by command.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ci_scripts import aws_errors, errors, job

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import ImageDetailTypeDef

# SageMaker takes Docker's manifests alone: https://github.com/aws/amazon-sagemaker-feedback/issues/180
_TAKEN_BY_SAGEMAKER = "application/vnd.docker.distribution.manifest.v2+json"


class Repository(NamedTuple):
    """A repository, and what concerns every image in it."""

    name: str
    uri: str
    """123456789012.dkr.ecr.eu-west-1.amazonaws.com/abalone-p-abc123"""

    @property
    def registry(self) -> str:
        return self.uri.partition("/")[0]


class Image(NamedTuple):
    """An image that ECR holds."""

    repository: Repository
    tag: str
    digest: str

    @property
    def uri(self) -> str:
        """The address that never means another image."""
        return f"{self.repository.uri}@{self.digest}"


def repository(ecr: ECRClient, name: str) -> Repository:
    """The repository of this name. Raises ImageRepositoryMissing."""
    try:
        [description] = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    except ecr.exceptions.RepositoryNotFoundException:
        raise errors.ImageRepositoryMissing(f"there is no repository {name} in ECR") from None
    return Repository(name, description["repositoryUri"])


def find(ecr: ECRClient, repository: Repository, tag: str) -> Image | None:
    """What the tag names now; None where it names nothing. Raises ImageNotUsable for what SageMaker does not run."""
    try:
        [detail] = ecr.describe_images(repositoryName=repository.name, imageIds=[{"imageTag": tag}])["imageDetails"]
    except ecr.exceptions.ImageNotFoundException:
        return None
    _require_usable(repository, tag, detail)
    return Image(repository, tag, detail["imageDigest"])


def _require_usable(repository: Repository, tag: str, detail: ImageDetailTypeDef) -> None:
    media_type = detail.get("imageManifestMediaType", _TAKEN_BY_SAGEMAKER)
    if media_type != _TAKEN_BY_SAGEMAKER:
        raise errors.ImageNotUsable(f"{repository.uri}:{tag} is of the type {media_type}, which SageMaker does not run")


@contextmanager
def logged_in(ecr: ECRClient, registries: Sequence[str], folder: Path) -> Iterator[Path]:
    """A folder with Docker's `config.json`, by which BuildKit gets into the registries; removed at the end.

    It lies in `folder`, which this process alone reads. What DOCKER_AUTH_CONFIG says, GitLab's variable for other
    registries, is in it, too. https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
    """
    [answer] = ecr.get_authorization_token()["authorizationData"]
    auths = _auths_of_job(os.environ) | {registry: {"auth": answer["authorizationToken"]} for registry in registries}
    place = folder / "docker"
    place.mkdir(mode=0o700)
    path = place / "config.json"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"auths": auths}, file)
        yield place
    finally:
        path.unlink(missing_ok=True)


def _auths_of_job(environ: Mapping[str, str]) -> dict[str, object]:
    """The registries of DOCKER_AUTH_CONFIG. Raises InvalidSettings, which shows nothing of it."""
    if not (text := environ.get("DOCKER_AUTH_CONFIG", "").strip()):
        return {}
    try:
        auths = json.loads(text)["auths"]
    except (ValueError, TypeError, KeyError):
        auths = None
    if not isinstance(auths, dict):
        raise errors.InvalidSettings("DOCKER_AUTH_CONFIG is not a JSON object with `auths`")
    return dict(auths)


def after_push(ecr: ECRClient, repository: Repository, tag: str, digest: str) -> Image:
    """What ECR holds under the tag that was pushed. Raises ImageNotAsBuilt when it is not `digest`."""
    image = find(ecr, repository, tag)
    if image is None:
        raise errors.ImageNotAsBuilt(f"{repository.uri}:{tag} was pushed as {digest}, and ECR has no such tag")
    if image.digest != digest:
        raise errors.ImageNotAsBuilt(f"{repository.uri}:{tag} was pushed as {digest}, and ECR has {image.digest}")
    return image


def after_failure(ecr: ECRClient, repository: Repository, tag: str, failure: errors.ImageBuildFailed) -> Image:
    """The image that another job has pushed meanwhile, from the same content. Raises the failure when there is none."""
    from botocore.exceptions import ClientError

    try:
        image = find(ecr, repository, tag)
    except ClientError as error:
        job.say(f"ECR could not be asked whether the image is there all the same: {aws_errors.text(error)}")
        image = None
    if image is None:
        raise failure
    job.say(f"{failure.message}; another job has pushed the same content meanwhile")
    return image
