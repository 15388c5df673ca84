"""Batch transform of the sandbox's AWS: rows through a model, filtered and joined; pipelines that schedules start."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.aws import scheduler
from sandbox.aws.sagemaker.association import Association, Unusable, read, select, written
from sandbox.aws.scheduler import expressions
from tests.support.hosting import Hosting, archive, refusal
from tests.support.servers import ACCOUNT, REGION, create_role
from tests.support.waiting import wait_for

# --- filters and joins: values --------------------------------------------------------------------------------------

ROW = ["id-7", "1", "2", "3"]
RECORD = {"id": 7, "features": [1, 2], "more": {"team": "risk"}}


@pytest.mark.parametrize(
    ("value", "path", "selected"),
    [
        (ROW, "$", ROW),
        (ROW, "$[1:]", ["1", "2", "3"]),
        (ROW, "$[0,2:]", ["id-7", "2", "3"]),
        (ROW, "$[-1]", ["3"]),
        (ROW, "$[:2]", ["id-7", "1"]),
        (RECORD, "$.features", [1, 2]),
        (RECORD, "$['id','features']", {"id": 7, "features": [1, 2]}),
        (RECORD, "$.more.team", "risk"),
    ],
)
def test_a_filter_selects_by_the_documented_operators(value: Any, path: str, selected: Any) -> None:
    assert select(value, path) == selected


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        (ROW, "[1]", "no JSONPath"),
        (ROW, "$..id", "an operator that batch transform does not have"),
        (ROW, "$[?(@.a)]", "an operator that batch transform does not have"),
        (ROW, "$[4]", "out of range: there are 4"),
        (ROW, "$.id", "an attribute that the data does not have"),
        (RECORD, "$['nothing']", "an attribute that the data does not have"),
        (RECORD, "$[0]", "items of what is no list"),
    ],
)
def test_a_filter_that_does_not_fit_says_why(value: Any, path: str, words: str) -> None:
    with pytest.raises(Unusable, match=words.replace("(", r"\(")):
        select(value, path)


def test_input_and_answer_are_joined_as_the_guide_shows() -> None:
    join = Association("$", "$", joins=True)
    assert written(join.stored(read('a,"b,c"', "text/csv"), read("0.5", "text/csv"))) == 'a,"b,c",0.5'
    assert join.stored(RECORD, [0.5]) == {**RECORD, "SageMakerOutput": [0.5]}
    assert join.stored([1, 2], {"score": 1}) == {"SageMakerInput": [1, 2], "SageMakerOutput": {"score": 1}}
    narrowed = Association("$.features", "$['id','SageMakerOutput']", joins=True)
    assert narrowed.sent(RECORD) == [1, 2]
    assert narrowed.stored(RECORD, 0.5) == {"id": 7, "SageMakerOutput": 0.5}


# --- jobs -----------------------------------------------------------------------------------------------------------

# Answers each line with its number of fields and tells how many lines came at once.
COUNTING = b"""
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    lines = body.splitlines()
    if "broken" in body: raise ValueError("this row cannot be scored")
    print("asked for", len(lines), "lines", content_type, accept, flush=True)
    return "\\n".join(str(len(line.split(","))) for line in lines), "text/csv"
"""
ECHO = b"""
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    return body, content_type
"""


def scripted(hosting: Hosting, program: bytes) -> str:
    settings = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    return hosting.model(archive({"code/inference.py": program}), Environment=settings)


class Batch:
    """Transform jobs of one project: rows in, the output file's text out."""

    def __init__(self, hosting: Hosting) -> None:
        self.hosting, self.bucket = hosting, hosting.project.bucket
        self.s3, self.sagemaker = hosting.aws.client("s3"), hosting.sagemaker

    def request(self, model: str, rows: str, **settings: Any) -> dict[str, Any]:
        folder = uuid.uuid4().hex[:8]
        self.s3.put_object(Bucket=self.bucket, Key=f"{folder}/in/rows.csv", Body=rows.encode())
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{self.bucket}/{folder}/in/"}
        reading = {"ContentType": "text/csv", "SplitType": "Line", **settings.pop("reading", {})}
        writing = {"AssembleWith": "Line", "Accept": "text/csv", **settings.pop("writing", {})}
        return {
            "ModelName": model,
            "TransformInput": {"DataSource": {"S3DataSource": source}, **reading},
            "TransformOutput": {"S3OutputPath": f"s3://{self.bucket}/{folder}/out", **writing},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            **settings,
        }

    def run(self, model: str, rows: str, **settings: Any) -> dict[str, Any]:
        """DescribeTransformJob of a job that has ended; `Output` is the text of its file, None without one."""
        name, request = f"job-{uuid.uuid4().hex[:8]}", self.request(model, rows, **settings)
        self.sagemaker.create_transform_job(TransformJobName=name, **request)
        ended: dict[str, Any] = wait_for(lambda: self._ended(name), "the end of the job")
        return ended | {"Output": self.output(request["TransformOutput"]["S3OutputPath"])}

    def _ended(self, name: str) -> dict[str, Any] | None:
        job: dict[str, Any] = self.sagemaker.describe_transform_job(TransformJobName=name)
        return None if job["TransformJobStatus"] == "InProgress" else job

    def output(self, uri: str) -> str | None:
        prefix = uri.removeprefix(f"s3://{self.bucket}/")
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        assert [each["Key"] for each in listed] in ([], [f"{prefix}/rows.csv.out"])
        return self.s3.get_object(Bucket=self.bucket, Key=listed[0]["Key"])["Body"].read().decode() if listed else None

    def log(self, job: Mapping[str, Any]) -> str:
        logs, group = self.hosting.aws.client("logs"), "/aws/sagemaker/TransformJobs"
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=job["TransformJobName"])
        stream = streams["logStreams"][0]["logStreamName"]
        events = logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
        return "\n".join(event["message"] for event in events)


@pytest.fixture
def batch(hosting: Hosting) -> Batch:
    return Batch(hosting)


ROWS = "a,1,2,3\nb,4,5,6\nc,7,8,9\n"


def test_a_strategy_says_how_many_rows_are_asked_for_at_once(batch: Batch) -> None:
    model = scripted(batch.hosting, COUNTING)
    together = batch.run(model, ROWS)
    alone = batch.run(model, ROWS, BatchStrategy="SingleRecord")
    unassembled = batch.run(model, ROWS, BatchStrategy="SingleRecord", writing={"AssembleWith": "None"})
    assert (together["Output"], alone["Output"], unassembled["Output"]) == ("4\n4\n4\n", "4\n4\n4\n", "444")
    assert "asked for 3 lines text/csv text/csv" in batch.log(together)
    assert batch.log(alone).count("asked for 1 lines") == 3


@pytest.mark.parametrize("strategy", ["MultiRecord", "SingleRecord"])
def test_an_id_is_left_out_for_the_model_and_stands_in_the_output(batch: Batch, strategy: str) -> None:
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    job = batch.run(scripted(batch.hosting, COUNTING), ROWS, DataProcessing=processing, BatchStrategy=strategy)
    assert (job["TransformJobStatus"], job["Output"]) == ("Completed", "a,3\nb,3\nc,3\n")
    assert job["DataProcessing"] == processing


def test_json_lines_get_their_answer_as_an_attribute(batch: Batch) -> None:
    rows = '{"id": 1, "features": [1, 2]}\n{"id": 2, "features": [3, 4]}\n'
    json_lines = {"ContentType": "application/jsonlines"}
    processing = {"InputFilter": "$.features", "JoinSource": "Input"}
    job = batch.run(
        scripted(batch.hosting, ECHO),
        rows,
        DataProcessing=processing,
        reading=json_lines,
        writing={"Accept": "application/jsonlines"},
    )
    assert [json.loads(line) for line in job["Output"].splitlines()] == [
        {"id": 1, "features": [1, 2], "SageMakerOutput": [1, 2]},
        {"id": 2, "features": [3, 4], "SageMakerOutput": [3, 4]},
    ]


def test_a_row_that_the_model_refuses_fails_the_job_and_leaves_no_output(batch: Batch) -> None:
    job = batch.run(scripted(batch.hosting, COUNTING), ROWS + "broken\n")
    assert (job["TransformJobStatus"], job["Output"]) == ("Failed", None)
    assert job["FailureReason"] == "ClientError: See job logs for more information"
    assert "this row cannot be scored" in batch.log(job)


def test_a_filter_that_does_not_fit_the_rows_fails_the_job(batch: Batch) -> None:
    job = batch.run(scripted(batch.hosting, COUNTING), ROWS, DataProcessing={"InputFilter": "$[9]"})
    assert job["TransformJobStatus"] == "Failed"
    assert "out of range: there are 4" in batch.log(job)


def test_what_data_processing_cannot_be_is_refused_at_once(batch: Batch) -> None:
    model = scripted(batch.hosting, COUNTING)

    def refused(**settings: Any) -> str:
        request = batch.request(model, ROWS, **settings)
        return refusal(batch.sagemaker.create_transform_job, TransformJobName="job", **request)

    assert "ValidationException: Invalid DataProcessing" in refused(DataProcessing={"InputFilter": "$..a"})
    join = {"DataProcessing": {"JoinSource": "Input"}, "writing": {"AssembleWith": "None"}}
    assert "SplitType and AssembleWith must be the same" in refused(**join)


# --- a pipeline of one step, and its schedule -----------------------------------------------------------------------


def pipeline(batch: Batch, rows: str = ROWS) -> tuple[str, str]:
    """Name of a pipeline with one transform step on a model that exists, and where it writes."""
    arguments = batch.request(scripted(batch.hosting, COUNTING), rows)
    arguments["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"] = {"Get": "Parameters.InputUri"}
    source = arguments["TransformOutput"]["S3OutputPath"].replace("/out", "/in/")
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "InputUri", "Type": "String", "DefaultValue": source}],
        "Steps": [{"Name": "Score", "Type": "Transform", "Arguments": arguments}],
    }
    name = f"{batch.hosting.project.name}-batch"
    batch.sagemaker.create_pipeline(
        PipelineName=name,
        PipelineDefinition=json.dumps(definition),
        RoleArn=batch.hosting.project.pipeline_role,
        ClientRequestToken=uuid.uuid4().hex + uuid.uuid4().hex[:4],
    )
    return name, arguments["TransformOutput"]["S3OutputPath"]


def executions(batch: Batch, name: str) -> list[dict[str, Any]]:
    summaries: list[dict[str, Any]] = batch.sagemaker.list_pipeline_executions(PipelineName=name)[
        "PipelineExecutionSummaries"
    ]
    return summaries


def ended(batch: Batch, name: str, count: int = 1) -> list[str] | None:
    statuses = [each["PipelineExecutionStatus"] for each in executions(batch, name)]
    return statuses if len(statuses) == count and "Executing" not in statuses else None


def test_a_pipeline_of_one_transform_step_scores_rows_with_an_existing_model(batch: Batch) -> None:
    name, output = pipeline(batch)
    batch.sagemaker.start_pipeline_execution(PipelineName=name)
    assert wait_for(lambda: ended(batch, name), "the execution's end") == ["Succeeded"]
    assert batch.output(output) == "4\n4\n4\n"


def test_a_pipeline_whose_transform_step_fails_fails_with_the_jobs_reason(batch: Batch) -> None:
    name, _ = pipeline(batch, "broken\n")
    arn = batch.sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    assert wait_for(lambda: ended(batch, name), "the execution's end") == ["Failed"]
    [step] = batch.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    assert step["FailureReason"] == "ClientError: ClientError: See job logs for more information"


def schedule(batch: Batch, pipeline_name: str, expression: str, role: str, **settings: Any) -> str:
    name = f"schedule-{uuid.uuid4().hex[:8]}"
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{pipeline_name}"
    target = {"Arn": arn, "RoleArn": role, **settings.pop("target", {})}
    request = {"ScheduleExpression": expression, "Target": target, "FlexibleTimeWindow": {"Mode": "OFF"}} | settings
    batch.hosting.aws.client("scheduler").create_schedule(Name=name, **request)
    return name


def scheduling_role(batch: Batch, *pipelines: str) -> str:
    statement = {
        "Effect": "Allow",
        "Action": "sagemaker:StartPipelineExecution",
        "Resource": [f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{name}" for name in pipelines],
    }
    name = f"schedules-{uuid.uuid4().hex[:8]}"
    return create_role(batch.hosting.aws, name, "scheduler.amazonaws.com", [statement])


def test_a_schedule_starts_the_pipeline_as_its_role_and_a_single_one_goes_away(batch: Batch) -> None:
    name, output = pipeline(batch)
    batch.s3.put_object(Bucket=batch.bucket, Key="held-out/rows.csv", Body=b"z,1\n")
    values = {"PipelineParameterList": [{"Name": "InputUri", "Value": f"s3://{batch.bucket}/held-out/"}]}
    role, soon = scheduling_role(batch, name), datetime.now(UTC) + timedelta(seconds=2)
    scheduled = schedule(
        batch,
        name,
        f"at({soon:%Y-%m-%dT%H:%M:%S})",
        role,
        target={"SageMakerPipelineParameters": values},
        ActionAfterCompletion="DELETE",
    )
    assert wait_for(lambda: ended(batch, name), "the scheduled execution") == ["Succeeded"]
    assert batch.output(output) == "2\n"
    client = batch.hosting.aws.client("scheduler")
    assert "ResourceNotFoundException" in refusal(client.get_schedule, Name=scheduled)


def test_a_nightly_schedule_is_due_when_the_scheduler_is_told_that_it_is_night(batch: Batch) -> None:
    name, _ = pipeline(batch)
    may_not = scheduling_role(batch, "another-pipeline")
    scheduled = schedule(batch, name, "cron(0 2 * * ? *)", scheduling_role(batch, name))
    refused = schedule(batch, name, "cron(0 2 * * ? *)", may_not)
    off = schedule(batch, name, "cron(0 2 * * ? *)", scheduling_role(batch, name), State="DISABLED")
    assert executions(batch, name) == []

    scheduler.tell(batch.hosting.aws.state, datetime.now(UTC) + timedelta(days=1, minutes=1))

    assert wait_for(lambda: ended(batch, name), "the nightly execution") == ["Succeeded"]
    assert len(executions(batch, name)) == 1  # neither of the one without the right nor of the one that is off
    client = batch.hosting.aws.client("scheduler")
    assert client.get_schedule(Name=off)["State"] == "DISABLED"
    for each in (scheduled, refused, off):
        client.delete_schedule(Name=each)


@pytest.mark.parametrize(
    ("expression", "settings", "words"),
    [
        ("cron(0 2 * * *)", {}, "Invalid Schedule Expression cron(0 2 * * *)."),
        ("every day", {}, "Invalid Schedule Expression every day."),
        ("rate(0 days)", {}, "Invalid Schedule Expression rate(0 days)."),
        ("at(2026-13-01T00:00:00)", {}, "Invalid Schedule Expression at(2026-13-01T00:00:00)."),
        ("rate(1 day)", {"ScheduleExpressionTimezone": "Europe/Nowhere"}, "Invalid Schedule Expression Timezone"),
        ("rate(1 day)", {"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "MaximumWindowInMinutes must be provided"),
        ("rate(1 day)", {"GroupName": "nothing"}, "Schedule group nothing does not exist."),
        ("rate(1 day)", {"target": {"Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"}}, "no SageMaker pipelines"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    batch: Batch, expression: str, settings: dict[str, Any], words: str
) -> None:
    assert words in refusal(schedule, batch, "p", expression, scheduling_role(batch, "p"), **settings)


def test_a_role_that_the_scheduler_may_not_assume_is_refused(batch: Batch) -> None:
    role = batch.hosting.project.model_role
    assert refusal(schedule, batch, "p", "rate(1 day)", role) == (
        "ValidationException: The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
    )


@pytest.mark.parametrize(
    ("expression", "zone", "due"),
    [
        ("cron(0 2 * * ? *)", "UTC", "2026-03-10T02:00:00+00:00"),
        ("cron(30 1 ? * MON-FRI *)", "UTC", "2026-03-10T01:30:00+00:00"),
        ("cron(0 2 ? * 2 *)", "UTC", "2026-03-16T02:00:00+00:00"),  # 1 is Sunday
        ("cron(0 2 1 * ? *)", "Europe/Berlin", "2026-04-01T00:00:00+00:00"),
        ("cron(0 2 L * ? *)", "UTC", "2026-03-31T02:00:00+00:00"),
        ("cron(0 2 * * ? 2028)", "UTC", "2028-01-01T02:00:00+00:00"),
        ("rate(6 hours)", "UTC", "2026-03-10T00:00:00+00:00"),
        ("at(2026-03-09T23:00:00)", "Europe/Berlin", None),
        ("at(2026-03-10T01:00:00)", "Europe/Berlin", "2026-03-10T00:00:00+00:00"),
    ],
)
def test_expressions_are_due_when_they_say(expression: str, zone: str, due: str | None) -> None:
    start, moment = datetime(2026, 3, 9, tzinfo=UTC), datetime(2026, 3, 9, 22, 30, tzinfo=UTC)
    expressions.check(expression, zone)
    first = expressions.first_after(expression, zone, moment, start)
    assert first == (datetime.fromisoformat(due) if due else None)
