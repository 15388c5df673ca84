"""Asynchronous hosting: requests wait in a queue, answers come to S3, and idle there may be no instance at all."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from ci_scripts import aws_errors, endpoint, errors, job, text
from ci_scripts.aws import Aws
from ci_scripts.hosting.foreign import BATCH, CAPTURE, INVOCATIONS, ON_DEMAND, POOL, SECOND_MODEL, reasons
from ci_scripts.hosting.kind import Objection, Predictor
from ci_scripts.hosting.on_endpoint import OnEndpoint
from ci_scripts.hosting.real_time import missing_in_vpc, scaling_objections
from ci_scripts.s3_location import Location
from ci_scripts.settings import Project

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

LONGEST_WAIT = 15 * 60.0
"""Seconds until an answer must be there; an endpoint without instances takes minutes to get one."""

_LARGEST_ANSWER = 100_000_000  # bytes
_MOST_SECONDS_BETWEEN_LOOKS = 5.0


class Asynchronous(OnEndpoint):
    """See `Hosting`."""

    name = "asynchronous"
    template_file = "asynchronous-template.yml"
    usage_type = "AsyncInf"
    # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html
    foreign: Mapping[str, str] = reasons(
        (ON_DEMAND, "is a serverless endpoint's: an asynchronous one has instances"),
        (POOL, "the packaged asynchronous template has one instance type"),
        (INVOCATIONS, "an asynchronous endpoint scales by its queue: TargetBacklogPerInstance"),
        (CAPTURE, "requests and answers of an asynchronous endpoint are in S3 already"),
        (SECOND_MODEL, "an asynchronous endpoint has one production variant, and no shadow variant"),
        (BATCH, "is a batch transform's: an endpoint gets its rows from callers"),
    )

    def parameters(self, project: Project, stage: str, role: str) -> dict[str, str | None]:
        path = f"s3://{project.artifact_bucket}/{project.name}-{project.id}/asynchronous/{stage}"
        return {**super().parameters(project, stage, role), "OutputPath": path, "FailurePath": f"{path}/failures"}

    def objections(self, parameters: Mapping[str, str]) -> Iterator[Objection]:
        yield from missing_in_vpc(parameters)
        yield from scaling_objections(parameters)

    def predictor(self, aws: Aws, endpoint_name: str) -> Predictor:
        queue = _Queue(aws, endpoint_name)
        return Predictor(once=queue.ask, patient=queue.ask, concurrent=lambda _: queue.ask)


class _Queue:
    """An asynchronous endpoint, asked as if it were none: a request goes to S3, and its answer is waited for there."""

    def __init__(self, aws: Aws, endpoint_name: str) -> None:
        self._aws, self._name = aws, endpoint_name
        self._lock = threading.Lock()  # botocore's clients may be used by all threads, and made by one

    @cached_property
    def _inputs(self) -> Location:
        """The folder for requests: beside the answers, where the endpoint's configuration says they go."""
        description = endpoint.describe(self._aws.sagemaker, self._name)
        config = (
            endpoint.describe_config(self._aws.sagemaker, description["EndpointConfigName"]) if description else None
        )
        if config is None or not config.get("AsyncInferenceConfig"):
            raise errors.InvocationFailed(f"endpoint {self._name} is not asynchronous any more")
        path = config["AsyncInferenceConfig"]["OutputConfig"].get("S3OutputPath", "")
        return Location.of(f"{path.rstrip('/')}/input")

    @cached_property
    def _runtime(self) -> SageMakerRuntimeClient:
        return self._aws.patient_runtime

    def ask(self, body: bytes, content_type: str) -> tuple[bytes, int]:
        """The answer to one request; it was sent once. Raises InvocationFailed, also when none comes in time."""
        from botocore.exceptions import ClientError

        with self._lock:
            place = self._inputs._replace(key=f"{self._inputs.key}/{uuid.uuid4()}")
            s3, runtime = self._aws.s3, self._runtime
        s3.put_object(Bucket=place.bucket, Key=place.key, Body=body, ContentType=content_type)
        try:
            accepted = runtime.invoke_endpoint_async(
                EndpointName=self._name, InputLocation=str(place), ContentType=content_type
            )
        except ClientError as error:
            if aws_errors.code(error) in aws_errors.DENIED:
                raise
            raise errors.InvocationFailed(
                f"endpoint {self._name} did not take a request: {text.short(aws_errors.text(error), 2000)}"
            ) from error
        failure = accepted.get("FailureLocation", "")
        return self._answer(Location.of(accepted["OutputLocation"]), failure and Location.of(failure)), 0

    def _answer(self, output: Location, failure: Location | str) -> bytes:
        deadline = time.monotonic() + LONGEST_WAIT
        wait = 0.2
        while time.monotonic() < deadline:
            job.pause(wait)
            wait = min(wait * 1.5, _MOST_SECONDS_BETWEEN_LOOKS)
            if self._is_there(output):
                return self._read(output)
            if isinstance(failure, Location) and self._is_there(failure):
                message = self._read(failure).decode(errors="replace")
                raise errors.InvocationFailed(
                    f"endpoint {self._name} answered with an error: {text.short(message, 2000)}",
                    hint=f"It is in {failure}; the container's own log is in /aws/sagemaker/Endpoints/{self._name}.",
                )
        raise errors.InvocationFailed(
            f"endpoint {self._name} has not answered within {LONGEST_WAIT / 60:.0f} minutes: {output} is not there",
            hint="An endpoint that was scaled to zero gets an instance when its queue is not empty: see its scaling "
            "activities, and without a FailurePath its log, for requests that failed.",
        )

    def _is_there(self, place: Location) -> bool:
        # Not by GetObject: S3 answers 403 for what is not there to those who may list a part of the bucket alone.
        page = self._aws.s3.list_objects_v2(Bucket=place.bucket, Prefix=place.key, MaxKeys=1)
        return any(each["Key"] == place.key for each in page.get("Contents", []))

    def _read(self, place: Location) -> bytes:
        return self._aws.s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read(_LARGEST_ANSWER)
