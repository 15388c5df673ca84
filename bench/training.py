"""What a training costs beside itself: bytes that an unchanged commit uploads, and calls of AWS while it is followed.

`make bench` measures it; `python -m bench.training` alone takes a minute.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from bench import faults
from bench.fault_proxy import FaultProxy
from bench.fault_scenarios.base import gitlab_job
from sandbox import job_images
from tests.support.servers import Aws, create_project

POLL = 0.5  # seconds
DEFAULT_POLL = 15  # seconds, without the input poll_seconds
_FOLLOWING = ("sagemaker.DescribePipelineExecution", "sagemaker.ListPipelineExecutionSteps")


class Cost(NamedTuple):
    """Of the seed, twice from the same commit."""

    first_bytes: int
    unchanged_bytes: int
    calls_a_minute: float
    """While an execution is followed, at the default of `poll_seconds`."""
    looks: int


def measure() -> Cost:
    """Train the seed twice. Raises RuntimeError when a job fails."""
    with tempfile.TemporaryDirectory() as name, faults.cloud(Path(name)) as aws, FaultProxy(aws.url) as proxy:
        job = _Job(aws, proxy, Path(name))
        first = job.run(1)
        calls = Counter(call.operation for call in proxy.calls)
        unchanged = job.run(2)
    looks = calls[_FOLLOWING[0]]
    return Cost(first, unchanged, sum(calls[each] for each in _FOLLOWING) / looks * 60 / DEFAULT_POLL, looks)


class _Job:
    def __init__(self, aws: Aws, proxy: FaultProxy, folder: Path) -> None:
        self._proxy, self._folder = proxy, folder
        self._project = create_project(aws)
        self._s3 = aws.client("s3")
        self._s3.put_bucket_versioning(Bucket=self._project.bucket, VersioningConfiguration={"Status": "Enabled"})
        archive = zipfile.ZipFile(io.BytesIO((files("sklego") / "data" / "abalone.zip").read_bytes()))
        rows = archive.read(archive.namelist()[0]).partition(b"\n")[2]
        self._data = f"{self._project.group}/abalone.csv"
        self._s3.put_object(Bucket=self._project.bucket, Key=self._data, Body=rows)

    def run(self, number: int) -> int:
        """The bytes that the job itself has uploaded: what its steps wrote is not its own."""
        before = self._uploaded_sizes()
        environ = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
        environ |= {"POLL_SECONDS": str(POLL), "NO_COLOR": "1", "CI_PIPELINE_SOURCE": "push"}
        environ |= self._project.environ | gitlab_job(number, 1, "training") | {"AWS_ENDPOINT_URL": self._proxy.url}
        folder = shutil.copytree(job_images.ROOT / "seed-build", self._folder / f"checkout-{number}")
        program = job_images.FOLDER / "training-sdk-v3" / "bin" / "sagemaker-ci"
        data = f"InputDataUrl=s3://{self._project.bucket}/{self._data}"
        self._proxy.watch(None)
        done = subprocess.run(
            [program, "run-pipeline", "--parameter", data],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return sum(size for key, size in self._uploaded_sizes().items() if key not in before)

    def _uploaded_sizes(self) -> dict[str, int]:
        """The size of every version that is no output of a step."""
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self._project.bucket)
        outputs = tuple(f"{self._project.group}/{folder}/" for folder in ("executions", "models"))
        return {
            f"{each['Key']} {each['VersionId']}": each["Size"]
            for page in pages
            for each in page.get("Versions", [])
            if not each["Key"].startswith(outputs)
        }


if __name__ == "__main__":
    job_images.build(print)
    print(measure())
