"""`image-build` in a model-build repository with the image of a container of its own."""

from __future__ import annotations

import os
from pathlib import Path

from bench.fault_scenarios.base import Scenario, gitlab_job
from sandbox.aws.containers import buildkit
from tests.support import own_image
from tests.support.servers import Aws, create_project


class ImageBuild(Scenario):
    """Content that ECR does not have yet. What BuildKit itself asks of ECR meets no fault."""

    title = "image-build, new content"
    command: tuple[str, ...] = ("image-build", "--scan-seconds", "5", "--fail-on", "HIGH")

    def __init__(self, aws: Aws, folder: Path) -> None:
        super().__init__(aws, folder)
        self.contents = 0
        self.image = own_image.in_repository(aws, create_project(aws), folder)
        self.image.write("Dockerfile", own_image.DOCKERFILE)

    def reset(self) -> None:
        self.contents += 1
        self.image.write("program.py", f"print({self.contents})\n")
        self.before = set(self.image.images())

    def environ(self, number: int, attempt: int) -> dict[str, str]:
        path = f"{self.image.builder}{os.pathsep}{os.environ['PATH']}"
        return self.image.project.environ | gitlab_job(number, attempt, "training-image") | {"PATH": path}

    def problems(self) -> list[str]:
        images = self.image.images()
        pushed = [tag for tag in images if tag not in self.before and not tag.startswith("cache-")]
        if len(pushed) != 1:
            return [f"ECR has {pushed or 'no image'} of this content"]
        uri, expected = self.image.handed_on(), f"{self.image.uri}@{images[pushed[0]]}"
        return [] if uri == expected else [f"{uri} is handed on, and ECR has {expected}"]

    def leftovers(self) -> list[str]:
        running = [run for run in buildkit.runs(self.image.builder) if Path(f"/proc/{run['pid']}").exists()]
        return [f"BuildKit runs on as process {run['pid']}" for run in running]
