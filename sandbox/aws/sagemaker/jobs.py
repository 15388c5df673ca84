"""SageMaker jobs that really run: inputs from S3, a container, outputs to S3, logs in CloudWatch.

Kinds: jobkinds.py, transform.py, tuning.py. What a job is told and how it fails follows
https://docs.aws.amazon.com/sagemaker/latest/dg/{build-your-own-processing-container,your-algorithms-training-algo}.html.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from moto.core.utils import utcnow
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import SageMakerModelBackend
from moto.sagemaker.utils import arn_formatter

from sandbox.aws.access import identity
from sandbox.aws.containers import container, images
from sandbox.aws.ground import state
from sandbox.aws.logs import streams
from sandbox.aws.sagemaker import jobfiles

_REASON_CHARACTERS = 1024  # the API's limit for FailureReason and ExitMessage
_jobs: dict[str, Job] = {}  # by ARN


class JobFailed(Exception):
    """The job ends as Failed; the message is its FailureReason."""


class Job:
    """One job, from Create to its end. Subclasses know their contract with the container."""

    kind = ""  # "Processing", "Training" …, as in the names of the operations

    def __init__(self, backend: SageMakerModelBackend, request: dict[str, Any]) -> None:
        self.request, self.region, self.role_arn = request, backend.region_name, request["RoleArn"]
        self.name = request[f"{self.kind}JobName"]
        kind = xform_name(self.kind, "-")
        self.arn = arn_formatter(f"{kind}-job", self.name, backend.account_id, backend.region_name)
        self.tags = request.pop("Tags", None) or []  # moto's ListTags reads them here
        self.creation_time = self.last_modified_time = utcnow()
        self.status = "InProgress"
        self.facts: dict[str, Any] = {}
        self.finished = threading.Event()
        self._stop_reason = ""
        self._process: container.Process | None = None
        self._lock = threading.Lock()
        self._log = streams.writer(
            f"/aws/sagemaker/{self.kind}Jobs",
            f"{self.name}/algo-1-{int(time.time())}",
            self.role_arn,
            account_id=backend.account_id,
            region=backend.region_name,
        )

    def __getstate__(self) -> dict[str, Any]:
        """What outlasts the server: not what belongs to the run."""
        return self.__dict__ | dict.fromkeys(("_process", "_log", "_s3"))

    # What moto's List* operations read of a job.
    @property
    def end_time(self) -> Any:
        return self.facts.get(f"{self.kind}EndTime")

    def describe(self) -> dict[str, Any]:
        state = {
            f"{self.kind}JobArn": self.arn,
            f"{self.kind}JobStatus": self.status,
            "CreationTime": self.creation_time,
            "LastModifiedTime": self.last_modified_time,
        }
        return self.request | state | self.facts

    def check(self) -> None:
        """What Create* verifies before the job exists. Raises ValidationError."""
        self._credentials = identity.sagemaker_credentials(self.role_arn)
        self._s3 = identity.client("s3", self._credentials)
        for uri in self.input_uris():
            jobfiles.require(self._s3, uri, self.role_arn, self.region)

    def start(self) -> None:
        _jobs[self.arn] = self
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def stop(self, reason: str = "Stopped") -> None:
        """Ask a running job to stop; `reason` becomes the secondary status of a training job."""
        with self._lock:
            if self.finished.is_set():
                return
            self._stop_reason = self._stop_reason or reason
            self.change("Stopping")
            process = self._process
        if process:
            threading.Thread(target=process.end, daemon=True).start()

    def change(self, status: str, **facts: Any) -> None:
        self.facts |= facts
        self.status, self.last_modified_time = status, utcnow()

    # --- what the kinds differ in ---

    def input_uris(self) -> list[str]:
        raise NotImplementedError

    def launch(self, opt_ml: Path) -> container.Container:
        """Fill /opt/ml as the container expects it and say how to run it."""
        raise NotImplementedError

    def collect(self, opt_ml: Path) -> None:
        """Store the outputs of a container that succeeded."""
        raise NotImplementedError

    def keep(self, opt_ml: Path) -> None:
        """Store what a container that was stopped has left."""

    def failure(self, opt_ml: Path, code: int) -> str:
        raise NotImplementedError

    # --- the run ---

    def _run(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"{self.kind.lower()}-", dir=state()))
        status, facts = "Completed", {}
        try:
            self._execute(folder)
            if self._stop_reason:
                status = "Stopped"
        except (JobFailed, ValidationError, images.UnknownImage) as error:
            status, facts = "Failed", {"FailureReason": str(error)}
        except (ClientError, BotoCoreError) as error:
            status, facts = "Failed", {"FailureReason": f"ClientError: {error}"}
        except Exception:  # noqa: BLE001 - a defect of the sandbox must not leave the job InProgress
            traceback.print_exc(file=sys.stderr)
            status, facts = "Failed", {"FailureReason": "InternalServerError: We encountered an internal error."}
        shutil.rmtree(folder, ignore_errors=True)
        self._finish(status, facts)

    def _finish(self, status: str, facts: dict[str, Any]) -> None:
        if "FailureReason" in facts:
            facts["FailureReason"] = facts["FailureReason"][:_REASON_CHARACTERS]
        with self._lock:
            self.change(status, **facts, **self.ending(status))
            self.finished.set()

    def ending(self, status: str) -> dict[str, Any]:
        """What else a job of this kind tells of its end."""
        return {f"{self.kind}EndTime": utcnow()}

    def _execute(self, opt_ml: Path) -> None:
        self.change(self.status, **{f"{self.kind}StartTime": utcnow()})
        task = self.launch(opt_ml)
        with self._lock:
            if self._stop_reason:
                return
            self._process = process = container.start(task, self._log)
        limit = (self.request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", 86400)
        timer = threading.Timer(limit, self.stop, ["MaxRuntimeExceeded"])
        timer.daemon = True
        timer.start()
        code = process.wait()
        timer.cancel()
        if self._stop_reason:
            self.keep(opt_ml)
            return
        if code:
            raise JobFailed(self.failure(opt_ml, code))
        self.collect(opt_ml)

    def environment(self, extra: dict[str, str] | None) -> dict[str, str]:
        """The container's variables: SageMaker's own, then the job's."""
        of_job = {
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
            f"{self.kind.upper()}_JOB_NAME": self.name,
            f"{self.kind.upper()}_JOB_ARN": self.arn,
        }
        return of_job | self._credentials | (extra or {})

    def download(self, uri: str, target: Path) -> None:
        jobfiles.download(self._s3, uri, target)

    def upload(self, source: Path, uri: str) -> None:
        jobfiles.upload(self._s3, source, uri)


def resume() -> None:
    """What ran when the server ended has failed."""
    for job in running():
        job._finish("Failed", {"FailureReason": "InternalServerError: The sandbox ended while the job ran."})


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")


def message(opt_ml: Path, name: str) -> str:
    """What the container left in /opt/ml/output/<name> for people to read; empty when it left nothing."""
    path = opt_ml / "output" / name
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def running() -> list[Job]:
    """The jobs of all kinds that have not ended."""
    return [each for each in list(_jobs.values()) if not each.finished.is_set()]


def finished(arn: str) -> threading.Event:
    """Set when the job has ended; pipelines wait for it instead of asking again and again."""
    return _jobs[arn].finished
