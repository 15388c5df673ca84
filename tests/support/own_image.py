"""A repository with the image of a container of its own, its ECR repository, and the BuildKit of the sandbox."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.aws import ecr
from sandbox.aws.containers import buildkit
from tests.support.servers import REGION, Aws, Project, sagemaker_ci

DOCKERFILE = 'FROM python:3.12-slim\nCOPY program.py /opt/program.py\nENTRYPOINT ["python", "/opt/program.py"]\n'


class OwnImage(NamedTuple):
    """A repository; `path` is its working tree, `builder` the folder in which BuildKit is."""

    aws: Aws
    project: Project
    path: Path
    builder: Path

    @property
    def uri(self) -> str:
        return f"123456789012.dkr.ecr.{REGION}.amazonaws.com/{self.project.group}"

    def environ(self, **variables: str) -> dict[str, str]:
        path = f"{self.builder}{os.pathsep}{os.environ['PATH']}"
        return self.project.environ | {"PATH": path, "POLL_SECONDS": "0.2"} | variables

    def build(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return sagemaker_ci("image-build", *arguments, environ=self.environ(**variables), cwd=self.path)

    def write(self, name: str, content: str) -> None:
        path = self.path / "image" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def variables(self) -> dict[str, str]:
        """What later jobs get."""
        lines = (self.path / "sagemaker-ci-reports" / "job.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def handed_on(self) -> str:
        """The image of these."""
        variables = self.variables()
        name = f"IMAGE_URI_{self.project.group}".replace("-", "_").upper()
        assert set(variables) == {"IMAGE_URI", name}
        assert variables["IMAGE_URI"] == variables[name]
        return variables[name]

    def images(self) -> dict[str, str]:
        """What ECR holds: digest by tag."""
        rows = self.aws.client("ecr").list_images(repositoryName=self.project.group)["imageIds"]
        return {row["imageTag"]: row["imageDigest"] for row in rows if "imageTag" in row}

    def runs(self) -> list[dict[str, Any]]:
        return buildkit.runs(self.builder)

    def once(self, **how: str) -> None:
        buildkit.once(self.builder, **how)

    def scans(self, status: str = "COMPLETE", *findings: tuple[str, str, str]) -> None:
        ecr.scans(self.aws.state, self.project.group, status, findings)


def create(aws: Aws, project: Project, folder: Path, *, repository: bool = True) -> OwnImage:
    """A repository with a program; with `repository`, ECR has one for its images, as infra/images.yml makes it."""
    image = in_repository(aws, project, folder / "repository", repository=repository)
    image.write("Dockerfile", DOCKERFILE)
    image.write("program.py", "print('hello')\n")
    return image


def in_repository(aws: Aws, project: Project, path: Path, *, repository: bool = True) -> OwnImage:
    """The same of a repository that has an image in its folder `image`, or will have."""
    if repository:
        aws.client("ecr").create_repository(
            repositoryName=project.group,
            imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "cache-*"}],
            imageScanningConfiguration={"scanOnPush": True},
        )
    return OwnImage(aws, project, path, buildkit.install(path.with_name("builder"), aws.state, aws.url))
