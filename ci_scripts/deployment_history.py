"""The records of a stage's deployments in S3: read, and added to, never changed. Called by all that deploys or tells.

One object for each record, `sagemaker-NAME-ID-history/STAGE/00000001.json` and so on. Its number is claimed by a
conditional write, so that of two deployments at once each has its own place, in the order in which they ended:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ci_scripts import aws_errors, deployment_record, errors, job
from ci_scripts.aws import Aws
from ci_scripts.deployment_record import Record
from ci_scripts.job import Job
from ci_scripts.settings import Project

_KEY = re.compile(r"([0-9]{8,})\.json", re.ASCII)
_ATTEMPTS = 5  # at a write that S3 refuses because another one of the same key is under way


class History:
    """The records of one stage."""

    def __init__(self, aws: Aws, project: Project, stage: str) -> None:
        self._aws, self._project, self._stage = aws, project, stage
        self._prefix = project.history_prefix(stage)

    @property
    def place(self) -> str:
        return f"s3://{self._project.artifact_bucket}/{self._prefix}"

    def place_of(self, number: int) -> str:
        """The address of one record."""
        return f"s3://{self._project.artifact_bucket}/{self._key(number)}"

    def numbers(self) -> list[int]:
        """The numbers of all records, oldest first. Raises HistoryUnreachable."""
        with self._reading("s3:ListBucket"):
            pages = self._aws.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._project.artifact_bucket, Prefix=self._prefix
            )
            keys = [each["Key"].removeprefix(self._prefix) for page in pages for each in page.get("Contents", [])]
        return sorted(int(match[1]) for match in map(_KEY.fullmatch, keys) if match)

    def read(self, number: int) -> Record:
        """One record. Raises HistoryUnreachable, NewerRecord or InvalidRecord."""
        key = self._key(number)
        with self._reading("s3:GetObject"):
            answer = self._aws.s3.get_object(Bucket=self._project.artifact_bucket, Key=key)
            content = answer["Body"].read()
        place = self.place_of(number)
        record = deployment_record.parse(content, place, self._stage, self._project)
        if record.number != number:
            raise errors.InvalidRecord(f"{place} is record {record.number}")
        return record

    def latest(self) -> Record | None:
        """The newest record; None when there is none. Raises what `read` raises."""
        numbers = self.numbers()
        return self.read(numbers[-1]) if numbers else None

    def newest_first(self, before: int | None = None) -> Iterator[Record]:
        """The records, each read when it is asked for; `before`: only those with a lower number."""
        return (self.read(number) for number in reversed(self.numbers()) if before is None or number < before)

    def has_served(self, at: Job, digest: str) -> bool:
        """Whether a pipeline, that of the job `at`, has deployed the export with this SHA-256."""
        return any(record.is_of(at, digest) for record in self.newest_first())

    def append(self, record: Record) -> bool:
        """Write the record; whether it has the place of its number, which another one may have taken.

        Raises RecordNotWritten.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        content, key = deployment_record.to_bytes(record), self._key(record.number)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._aws.s3.put_object(
                    Bucket=self._project.artifact_bucket,
                    Key=key,
                    Body=content,
                    ContentType="application/json",
                    IfNoneMatch="*",
                )
            except ClientError as error:
                if aws_errors.code(error) == "ConditionalRequestConflict" and attempt < _ATTEMPTS:
                    job.pause(1)
                    continue
                if aws_errors.code(error) != "PreconditionFailed":
                    raise self._not_written(record, error) from error
                # It may be this very request that was carried out before, and whose answer was lost.
                return self.read(record.number) == record
            except BotoCoreError as error:
                raise self._not_written(record, error) from error
            return True
        return False

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:08}.json"

    def _not_written(self, record: Record, error: Exception) -> errors.RecordNotWritten:
        hint = aws_errors.denied_by_policy(str(error))
        done = "deployed and proven" if record.serves else record.event
        return errors.RecordNotWritten(
            f"{self._stage} is {done}, but {self.place_of(record.number)} could not be written: {error}",
            hint=f"{hint} {errors.RecordNotWritten.hint}" if hint else None,
        )

    @contextmanager
    def _reading(self, action: str) -> Iterator[None]:
        from botocore.exceptions import ClientError

        try:
            yield
        except ClientError as error:
            if aws_errors.code(error) not in (*aws_errors.DENIED, "NoSuchBucket"):
                raise
            hint = "Correct ARTIFACT_BUCKET." if aws_errors.code(error) == "NoSuchBucket" else None
            raise errors.HistoryUnreachable(
                f"the records below {self.place} cannot be read ({action}): {aws_errors.text(error)}", hint=hint
            ) from error
