"""The job `run-pipeline` for a module of either SDK."""

from __future__ import annotations

import os
import subprocess

from sandbox import job_images
from tests.support.run_pipeline import Repository


def run(
    repository: Repository, sdk: str, module: str, *options: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run the module's text as the pipeline of the repository, in the image of a version of the SDK."""
    (repository.path / "pipelines" / "abalone" / "pipeline.py").write_text(module)
    program = job_images.FOLDER / f"training-sdk-{sdk}" / "bin" / "sagemaker-ci"
    surroundings = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "POLL_SECONDS": "0.3", "NO_COLOR": "1"}
    return subprocess.run(
        [program, "run-pipeline", *options],
        cwd=repository.path,
        env=surroundings | repository.environ() | environ,
        capture_output=True,
        text=True,
        check=False,
    )
