"""The SageMaker jobs behind the steps: their last log lines and the property files they wrote.

Called by run.py. What cannot be read is said in the job log and never hides why the pipeline failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ci_scripts import job
from ci_scripts.run_pipeline import step_kinds
from ci_scripts.run_pipeline.progress import Step
from ci_scripts.s3_location import Location

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

LOG_LINES = 20
_READ_LINES = 100  # in which the error is looked for: what a program prints while it ends comes after it
_LONGEST_CAUSE = 500  # characters
_TRACEBACK = "Traceback (most recent call last)"
_ERROR = re.compile(r"(\w+\.)*\w*(Error|Exception|Exit|Interrupt)\b ?:")

# https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
_LOG_GROUPS = {
    "processing-job": "/aws/sagemaker/ProcessingJobs",
    "training-job": "/aws/sagemaker/TrainingJobs",
    "transform-job": "/aws/sagemaker/TransformJobs",
}
_TUNING_JOB = "hyper-parameter-tuning-job"


def log_place(job_arn: str) -> tuple[str, str] | None:
    """Log group of a SageMaker job and the prefix of its streams (one for each instance); None if it has no log."""
    kind, _, name = job_arn.rpartition(":")[2].partition("/")
    if kind == _TUNING_JOB:  # its training jobs are named after it
        return _LOG_GROUPS["training-job"], f"{name}-"
    return (_LOG_GROUPS[kind], f"{name}/") if kind in _LOG_GROUPS else None


def last_log_lines(logs: CloudWatchLogsClient, group: str, prefix: str) -> list[str]:
    """The last lines of a job (see `log_place`), of the instance that wrote last; one that wrote nothing has none."""
    try:
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
    except logs.exceptions.ResourceNotFoundException:  # the group comes with the account's first log line
        return []
    if not streams:
        return []
    latest = max(streams, key=lambda stream: stream.get("lastEventTimestamp", 0))
    events = logs.get_log_events(
        logGroupName=group, logStreamName=latest["logStreamName"], limit=_READ_LINES, startFromHead=False
    )
    return [each["message"].rstrip() for each in events["events"]]


def last_error(lines: Sequence[str]) -> str:
    """The error that a log ends with: the line after the last traceback, else the last line that looks like one."""
    for index in range(len(lines) - 1, -1, -1):
        if _TRACEBACK in lines[index]:
            after = [line for line in lines[index + 1 :] if line and not line[0].isspace()]
            if after:
                return " ".join(after[0].split())[:_LONGEST_CAUSE]
    errors = [line for line in lines if _ERROR.match(line)]
    return " ".join(errors[-1].split())[:_LONGEST_CAUSE] if errors else ""


def show_log(logs: CloudWatchLogsClient, step: Step) -> list[str]:
    """Print the last log lines of a failed step's job, in a section of their own; returns them, none if it has none."""
    from botocore.exceptions import BotoCoreError, ClientError

    place = log_place(step.job_arn)
    if place is None:
        if what := step_kinds.ran_as(step):
            where = step_kinds.log_place(step)
            job.say(f"step {step.name} failed as {what}; " + (f"its log: {where}" if where else "it has no log"))
        return []
    lines, instead = [], "(the job wrote no log)"
    try:
        lines = last_log_lines(logs, *place)
    except (BotoCoreError, ClientError) as error:
        instead = f"(the log cannot be read: {error})"
    with job.section(f"Last log lines of step {step.name}"):
        for line in lines[-LOG_LINES:] or [instead]:
            job.say(line)
    return lines


def read_property_file(
    sagemaker: SageMakerClient,
    s3: S3Client,
    defined: Mapping[str, Mapping[str, Any]],
    steps: Mapping[str, Step],
    name: str,
    file: str,
) -> Any:
    """The parsed JSON of a processing step's property file; None, with a line that says why, if it cannot be read."""
    from botocore.exceptions import BotoCoreError, ClientError

    property_files = [each for each in defined[name].get("PropertyFiles", []) if each["PropertyFileName"] == file]
    arn = steps[name].job_arn if name in steps else ""
    if not property_files or not arn:
        return None
    try:
        # The job knows where the output went; the definition may hold an expression there.
        answer = sagemaker.describe_processing_job(ProcessingJobName=arn.rpartition("/")[2])
        outputs = {
            each["OutputName"]: each["S3Output"]["S3Uri"] for each in answer["ProcessingOutputConfig"]["Outputs"]
        }
        place = Location.of(f"{outputs[property_files[0]['OutputName']].rstrip('/')}/{property_files[0]['FilePath']}")
        return json.loads(s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read())
    except (BotoCoreError, ClientError, KeyError, ValueError, RecursionError) as error:
        job.say(f"property file {file} of step {name} cannot be read: {error}")
        return None
