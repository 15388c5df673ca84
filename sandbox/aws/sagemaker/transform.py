"""Batch transform: a model's containers, asked for everything that lies under a prefix, its answers next to each other.

https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from moto.core.utils import utcnow
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import SageMakerModelBackend

from sandbox.aws.access import identity
from sandbox.aws.containers import container
from sandbox.aws.ground import state
from sandbox.aws.lacking import Lacking
from sandbox.aws.sagemaker.association import Association, Unusable, is_json, read, written
from sandbox.aws.sagemaker.fleet import Fleet
from sandbox.aws.sagemaker.jobkinds import install_kind
from sandbox.aws.sagemaker.jobs import Job, JobFailed
from sandbox.aws.sagemaker.models import resolved_containers
from sandbox.aws.sagemaker.serving import Answer, DeploymentFailed, Variant

_HEALTH_CHECK_SECONDS = 60.0
_MEGABYTE = 1024 * 1024
_LARGEST = 6  # megabytes of a request, where the job does not say


class TransformJob(Job):
    """One batch transform. It runs as the role of its model."""

    kind = "Transform"

    # moto's ListTransformJobs reads these names.
    transform_job_name = property(lambda self: self.name)
    transform_job_status = property(lambda self: self.status)
    transform_end_time = property(lambda self: self.end_time)

    def __init__(self, backend: SageMakerModelBackend, request: dict[str, Any]) -> None:
        model = backend.describe_model(request["ModelName"])
        super().__init__(backend, {**request, "RoleArn": model.execution_role_arn})
        del self.request["RoleArn"]
        self._containers = resolved_containers(backend, model.containers or [model.primary_container])
        self._source = self.request["TransformInput"]
        self._target = self.request["TransformOutput"]
        self._ending = threading.Event()

    def input_uris(self) -> list[str]:
        return [self._source["DataSource"]["S3DataSource"]["S3Uri"]]

    def check(self) -> None:
        source = self._source
        if source["DataSource"]["S3DataSource"]["S3DataType"] != "S3Prefix":
            raise Lacking("batch transform of a manifest file")
        if source.get("SplitType", "None") not in ("None", "Line"):
            raise Lacking(f"batch transform of {source['SplitType']} records")
        if source.get("CompressionType", "None") != "None":
            raise Lacking("batch transform of compressed data")
        if self.request.get("DataCaptureConfig"):
            raise Lacking("data capture of batch transform")
        self._check_association()
        super().check()

    def _check_association(self) -> None:
        try:
            self._association = Association.of(self.request.get("DataProcessing"))
        except Unusable as error:
            raise ValidationError(f"Invalid DataProcessing: {error}.") from error
        if self._association.joins and self._source.get("SplitType", "None") != self._target.get(
            "AssembleWith", "None"
        ):
            raise ValidationError("To join input with output, SplitType and AssembleWith must be the same.")

    def stop(self, reason: str = "Stopped") -> None:
        super().stop(reason)
        self._ending.set()

    def launch(self, opt_ml: Path) -> container.Container:
        raise NotImplementedError("a transform job starts the containers of its model")

    def _execute(self, opt_ml: Path) -> None:
        self.change(self.status, TransformStartTime=utcnow())
        source, answers = opt_ml / "source", opt_ml / "answers"
        self.download(self.input_uris()[0], source)
        variant = Variant(
            name="transform",
            role_arn=self.role_arn,
            credentials=identity.sagemaker_credentials(self.role_arn),
            containers=[
                {**each, "Environment": {**each.get("Environment", {}), **self._environment()}}
                for each in self._containers
            ],
            health_check_seconds=_HEALTH_CHECK_SECONDS,
        )
        fleet = Fleet(state() / "transforms" / uuid.uuid4().hex)
        try:
            fleet.start([variant], lambda _: self._log)
        except DeploymentFailed as error:
            raise JobFailed(f"AlgorithmError: See job logs for more information: {error}") from error
        try:
            for file in sorted(path for path in source.rglob("*") if path.is_file()):
                if self._ending.is_set():
                    return
                answer = answers / f"{file.relative_to(source).as_posix()}.out"
                answer.parent.mkdir(parents=True, exist_ok=True)
                answer.write_bytes(b"".join(self._answers(fleet, file)))
        finally:
            fleet.stop()
        self.upload(answers, self._target["S3OutputPath"])

    def _environment(self) -> dict[str, str]:
        return {"SAGEMAKER_BATCH": "true", **(self.request.get("Environment") or {})}

    def _answers(self, fleet: Fleet, file: Path) -> Iterator[bytes]:
        """The content of one output file, piece by piece."""
        by_line = self._target.get("AssembleWith", "None") == "Line"
        for body in self._bodies(file.read_bytes()):
            try:
                answer = self._associated(fleet, file, body)
            except (Unusable, UnicodeDecodeError) as error:
                self._log(f"{file.name}: ClientError: {error}")
                raise JobFailed("ClientError: See job logs for more information") from error
            yield answer
            if by_line and not answer.endswith(b"\n"):
                yield b"\n"

    def _associated(self, fleet: Fleet, file: Path, body: bytes) -> bytes:
        """What is stored for one request's body. Raises Unusable."""
        if self._association.is_plain:
            return self._predicted(fleet, file, body)[0]
        by_line = self._source.get("SplitType", "None") == "Line"
        content_type = self._source.get("ContentType") or "text/csv"
        texts = body.decode().splitlines() if by_line or not is_json(content_type) else [body.decode()]
        records = [read(text, content_type) for text in texts]
        sent = "\n".join(written(self._association.sent(record)) for record in records)
        answer, answer_type = self._predicted(fleet, file, f"{sent}\n".encode() if len(records) > 1 else sent.encode())
        answers = answer.decode().splitlines() if len(records) > 1 else [answer.decode().rstrip("\n")]
        if len(answers) != len(records):
            raise Unusable(f"{len(answers)} records of output do not fit {len(records)} records of input")
        stored = [
            self._association.stored(record, read(text, answer_type))
            for record, text in zip(records, answers, strict=True)
        ]
        return "\n".join(map(written, stored)).encode()

    def _predicted(self, fleet: Fleet, file: Path, body: bytes) -> tuple[bytes, str]:
        """The model's answer and its content type."""
        answer = self._ask(fleet, body)
        if answer.status != 200:
            text = answer.body.decode(errors="replace")
            self._log(f"{file.name}: ClientError: {answer.status}\n{text}")
            raise JobFailed("ClientError: See job logs for more information")
        return answer.body, answer.headers.get("Content-Type", "")

    def _ask(self, fleet: Fleet, body: bytes) -> Answer:
        headers = {"Content-Type": self._source.get("ContentType"), "Accept": self._target.get("Accept")}
        sent = {name: value for name, value in headers.items() if value}
        try:
            return fleet.invoke("transform", body, sent)
        except requests.RequestException as error:
            raise JobFailed("AlgorithmError: See job logs for more information: no answer") from error

    def _bodies(self, content: bytes) -> Iterator[bytes]:
        """The requests for one file: the whole of it, its lines, or as many lines as fit into one."""
        if self._source.get("SplitType", "None") == "None":
            yield content
            return
        largest = (self.request.get("MaxPayloadInMB") or _LARGEST) * _MEGABYTE
        single = self.request.get("BatchStrategy") == "SingleRecord"
        body = b""
        for line in content.splitlines(keepends=True):
            if body and (single or len(body) + len(line) > largest):
                yield body
                body = b""
            body += line
        if body:
            yield body


def install() -> None:
    """Put real batch transforms in place of moto's, which are Completed at once."""
    install_kind(TransformJob)
