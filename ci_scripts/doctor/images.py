"""What a repository needs that builds the image of its own container: a place in ECR. Called by aws_side.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ci_scripts.aws import Aws
from ci_scripts.doctor import verdicts
from ci_scripts.doctor.verdicts import Verdict
from ci_scripts.settings import Project

CHECK = "image repository"
POLICY = " (ImageDoctorPolicy of infra/images.yml)"
"""What lets a person look at it: DoctorPolicy is of another stack."""

_STACK = "infra/images.yml, in the project template the parameter BuildImages"
_COMPONENT = "image-build"
_INPUT = re.compile(r"""^\s*["']?image_build["']?\s*:\s*["']?(true|yes|on)\b""", re.MULTILINE | re.IGNORECASE)


def builds(text: str) -> bool:
    """Whether a `.gitlab-ci.yml` has an image built, by the input or by the component itself."""
    return bool(_INPUT.search(text)) or any(each.name == _COMPONENT for each in verdicts.components(text))


def examine(aws: Aws, project: Project) -> Iterator[Verdict]:
    """The repository of the project's images."""
    try:
        [description] = aws.ecr.describe_repositories(repositoryNames=[project.image_repository])["repositories"]
    except aws.ecr.exceptions.RepositoryNotFoundException:
        yield verdicts.failed(CHECK, f"{project.image_repository} is not there: create the stack of {_STACK}")
        return
    yield repository(description)


def repository(description: Mapping[str, Any]) -> Verdict:
    """Whether its tags stay what they are and its images are scanned; `description`: as DescribeRepositories has it."""
    lacks = []
    if not str(description.get("imageTagMutability", "")).startswith("IMMUTABLE"):
        lacks.append("its tags can be written again, so that one may come to name another content")
    if not (description.get("imageScanningConfiguration") or {}).get("scanOnPush"):
        lacks.append("it does not scan on push; without a rule of the registry there is no scan")
    if lacks:
        return verdicts.hint(CHECK, f"{description['repositoryName']}: {'; '.join(lacks)} ({_STACK})")
    return verdicts.ok(CHECK, f"{description['repositoryName']}, scanned on push, tags written once")
