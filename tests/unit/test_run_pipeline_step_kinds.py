"""What is said of a step of each kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ci_scripts.run_pipeline import job_facts, step_kinds
from ci_scripts.run_pipeline.progress import Step, view

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:"


def step(kind: str, status: str = "Failed", **metadata: Any) -> Step:
    return view([{"StepName": "S", "StepStatus": status, "Metadata": {kind: metadata}}], {})["S"]


@pytest.mark.parametrize(
    ("kind", "metadata", "what", "place"),
    [
        (
            "TrainingJob",
            {"Arn": f"{ARN}training-job/pipelines-x1-Train-abc"},
            "training job pipelines-x1-Train-abc",
            "CloudWatch Logs, /aws/sagemaker/TrainingJobs, streams that begin with pipelines-x1-Train-abc",
        ),
        (
            "Lambda",
            {"Arn": "arn:aws:lambda:eu-west-1:123456789012:function:notify:7"},
            "Lambda function notify",
            "CloudWatch Logs, /aws/lambda/notify",
        ),
        (
            "EMR",
            {"ClusterId": "j-1", "StepId": "s-2", "LogFilePath": "s3://logs/j-1/steps/s-2"},
            "EMR step s-2 of j-1",
            "s3://logs/j-1/steps/s-2",
        ),
        ("EMR", {"ClusterId": "j-1", "StepId": "s-2"}, "EMR step s-2 of j-1", ""),
        (
            "Callback",
            {"CallbackToken": "secret", "SqsQueueUrl": "https://sqs/questions"},
            "message to the queue https://sqs/questions",
            "that of whoever takes messages from the queue",
        ),
        (
            "AutoMLJob",
            {"Arn": f"{ARN}automl-job/a1"},
            "AutoML job a1",
            "those of the jobs that it started, which are named after a1",
        ),
        ("Model", {"Arn": f"{ARN}model/m1"}, "model m1", ""),
        ("Endpoint", {"Arn": f"{ARN}endpoint/e1"}, "endpoint e1", "CloudWatch Logs, /aws/sagemaker/Endpoints/e1"),
        ("Condition", {"Outcome": "True"}, "", ""),
        ("KindOfTheFuture", {"Arn": "x"}, "", ""),
    ],
)  # fmt: skip
def test_a_step_is_named_by_what_it_ran_as_and_by_where_its_log_is(
    kind: str, metadata: dict[str, Any], what: str, place: str
) -> None:
    ended = step(kind, **metadata)
    assert (step_kinds.ran_as(ended), step_kinds.log_place(ended)) == (what, place)
    assert "secret" not in step_kinds.ran_as(ended) + step_kinds.remark(ended)


@pytest.mark.parametrize(
    ("kind", "metadata", "words"),
    [
        ("Lambda", {"OutputParameters": [{"Name": "a", "Value": "1"}, {"Name": "b", "Value": "2"}]}, "a 1, b 2"),
        ("Callback", {"SqsQueueUrl": "https://sqs/q"}, "asked by a message to https://sqs/q"),
        ("QualityCheck", {"ViolationReport": "s3://b/v.json"}, "violations, if there are any: s3://b/v.json"),
        ("ClarifyCheck", {"SkipCheck": True, "ViolationReport": "s3://b/v.json"}, "check skipped"),
        ("ForEach", {"TotalStepCount": 4, "SucceededStepCount": 4}, "4 of 4 steps succeeded"),
        ("ForEach", {"TotalStepCount": 4, "FailedStepCount": 1}, "0 of 4 steps succeeded, 1 failed"),
        ("Cleanup", {"FailedSteps": ["Deploy"]}, "could not clean up after Deploy"),
        ("TrainingJob", {"Arn": "x"}, ""),
    ],
)  # fmt: skip
def test_what_a_steps_metadata_say_is_told(kind: str, metadata: dict[str, Any], words: str) -> None:
    assert step_kinds.remark(step(kind, **metadata)) == words


def test_a_failure_names_what_failed_where_the_job_cannot_show_its_log() -> None:
    assert step_kinds.failed(step("TrainingJob", Arn=f"{ARN}training-job/t")) == ""
    assert step_kinds.failed(step("Model", Arn=f"{ARN}model/m1")) == " (model m1)"
    assert step_kinds.failed(step("Fail", ErrorMessage="too bad")) == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {
                "TrainingJobStatusCounters": {"Completed": 2, "NonRetryableError": 1},
                "BestTrainingJob": {
                    "TrainingJobName": "x-002",
                    "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "rmse", "Value": 1.25},
                    "TunedHyperParameters": {"eta": "0.1", "max_depth": "3"},
                },
            },
            "best of 3 jobs, 1 failed: x-002, rmse 1.25 with eta 0.1, max_depth 3",
        ),
        ({"TrainingJobStatusCounters": {"NonRetryableError": 2}}, "no best job among 2 jobs, 2 failed"),
    ],
)
def test_the_best_job_of_a_tuning_is_told_with_its_metric(answer: dict[str, Any], words: str) -> None:
    assert job_facts.best(answer) == words


BEGAN = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"TrainingTimeInSeconds": 120, "BillableTimeInSeconds": 120}, "trained 2:00, paid 2:00"),
        (
            {"TrainingTimeInSeconds": 120, "BillableTimeInSeconds": 36, "EnableManagedSpotTraining": True},
            "trained 2:00, paid 0:36: spot instances saved 70 %",
        ),
        (
            {
                "TrainingTimeInSeconds": 60,
                "BillableTimeInSeconds": 60,
                "WarmPoolStatus": {"Status": "Reused", "ResourceRetainedBillableTimeInSeconds": 90},
                "ResourceConfig": {"KeepAlivePeriodInSeconds": 600},
                "CreationTime": BEGAN,
                "TrainingStartTime": BEGAN + timedelta(seconds=4),
            },
            "trained 1:00, paid 1:00; warm pool reused, kept for 1:30, which is paid, too; started after 0:04",
        ),
        ({}, ""),
    ],
)
def test_what_training_took_and_cost_is_told_with_what_spot_instances_saved(answer: dict[str, Any], words: str) -> None:
    assert job_facts.paid(answer) == words
