"""`bootstrap` by a platform team."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from bench.fault_scenarios.base import Scenario, run_undisturbed, unexecuted
from sandbox.processes import ROOT
from tests.support.servers import REGION, Aws

_ARCHIVE_ONCE = """
import pathlib, shutil, subprocess, sys
name, output = sys.argv[1], pathlib.Path(sys.argv[3])
here = pathlib.Path(__file__).resolve()
kept = here.parents[1] / "kept" / name
if not kept.exists():
    command = [sys.executable, str(here.with_name("archive_original.py")), name, "--output", str(kept)]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
[archive] = kept.iterdir()
print(shutil.copy(archive, output))
"""


class Bootstrap(Scenario):
    """A platform team's bucket and clone. Its archives are built once: no fault comes to that here."""

    def __init__(self, aws: Aws, folder: Path) -> None:
        super().__init__(aws, folder)
        for name in ("infra", "seed-build", "seed-deploy"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        infra = folder / "infra"
        (infra / "archive.py").rename(infra / "archive_original.py")
        (infra / "archive.py").write_text(_ARCHIVE_ONCE)
        self.number = 0
        self._new_platform()

    def _new_platform(self) -> None:
        self.number += 1
        self.bucket, self.stack = f"platform-{self.number}-{time.time_ns()}", f"sagemaker-ci-{self.number}"
        self.aws.client("s3").create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.command = ("bootstrap", "--bucket", self.bucket, "--stack-name", self.stack)

    def environ(self, number: int, attempt: int) -> dict[str, str]:
        return self.aws.environ

    def problems(self) -> list[str]:
        cloudformation, s3 = self.aws.client("cloudformation"), self.aws.client("s3")
        stacks = [each for each in cloudformation.describe_stacks()["Stacks"] if each["StackName"] == self.stack]
        statuses = [each["StackStatus"] for each in stacks]
        if statuses not in (["CREATE_COMPLETE"], ["UPDATE_COMPLETE"]):
            return [f"the stack is {statuses}"]
        objects = s3.list_objects_v2(Bucket=self.bucket, Prefix="sagemaker-ci/studio/")["Contents"]
        shown = [
            each["Key"] for each in objects if s3.get_object_tagging(Bucket=self.bucket, Key=each["Key"])["TagSet"]
        ]
        texts = [s3.get_object(Bucket=self.bucket, Key=key)["Body"].read().decode() for key in shown]
        problems = [] if len(texts) == 1 and f"version {self.number}." in texts[0] else [f"Studio shows {shown}"]
        if len(s3.get_bucket_cors(Bucket=self.bucket)["CORSRules"]) != 1:
            problems.append("the bucket's CORS rules are not one")
        return problems

    def leftovers(self) -> list[str]:
        return unexecuted(self.aws.client("cloudformation"), self.stack)

    def _new_version(self) -> None:
        """Change the template, as a new version of the clone does."""
        template = self.folder / "infra" / "project.yml"
        text = (ROOT / "infra" / "project.yml").read_text()
        template.write_text(text.replace("Description: ", f"Description: version {self.number}. ", 1))


class BootstrapCreate(Bootstrap):
    title = "bootstrap, first run"

    def reset(self) -> None:
        self._new_platform()
        self._new_version()


class BootstrapUpdate(Bootstrap):
    title = "bootstrap, new version"

    def reset(self) -> None:
        if self.number == 1:
            self._new_version()
            run_undisturbed(self, *self.command)
        self.number += 1
        self._new_version()


class BootstrapUnchanged(Bootstrap):
    title = "bootstrap, nothing new"

    def reset(self) -> None:
        if not (self.folder / "kept").exists():
            self._new_version()
            run_undisturbed(self, *self.command)
