"""Decisions of `run-pipeline` over values: requests, steps, how an execution ended, reports."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator

from ci_scripts import errors, job, settings
from ci_scripts.run_pipeline import advice, execution, jobs, progress, records, report, run
from ci_scripts.run_pipeline.condition import Condition, Measured
from ci_scripts.run_pipeline.execution import Result

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
JOB = job.Job(
    id="11",
    name="training",
    url="https://gitlab.example.com/ds/build/-/jobs/11",
    pipeline_id="5",
    pipeline_source="push",
    project_id="7",
    project_path="ds/build",
    project_url="https://gitlab.example.com/ds/build",
    ref="main",
    commit="3f786850e387550fdab836ed7e6dc881de23001b",
)
PROJECT = settings.Project("eu-west-1", "abalone", "p-1", None, "artifacts")
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/abalone-p-1/execution/x1"


# --- requests ------------------------------------------------------------------------------------------------------


def test_a_retried_job_makes_the_same_request() -> None:
    first = execution.start_request("abalone-p-1", {"Mse": "5"}, JOB)
    retried = execution.start_request("abalone-p-1", {"Mse": "5"}, JOB._replace(id="12", url="https://…/jobs/12"))
    assert first == retried


@pytest.mark.parametrize("change", [{"pipeline_id": "6"}, {"name": "training 2"}, {"project_id": "8"}])
def test_another_job_makes_another_request(change: dict[str, str]) -> None:
    first = execution.start_request("abalone-p-1", {}, JOB)
    other = execution.start_request("abalone-p-1", {}, JOB._replace(**change))
    assert first["ClientRequestToken"] != other["ClientRequestToken"]
    assert first["PipelineExecutionDisplayName"] != other["PipelineExecutionDisplayName"]


def test_outside_gitlab_every_run_is_a_new_execution() -> None:
    nowhere = job.current({})
    first, second = (execution.start_request("abalone-p-1", {}, nowhere) for _ in range(2))
    assert first["ClientRequestToken"] != second["ClientRequestToken"]
    assert first["PipelineExecutionDisplayName"] != second["PipelineExecutionDisplayName"]


@pytest.mark.parametrize("where", [JOB, job.current({}), JOB._replace(commit="")])
def test_requests_are_ones_that_sagemaker_takes(where: job.Job) -> None:
    request = execution.start_request("abalone-p-1", {"Mse": "5"}, where)
    model = get_session().get_service_model("sagemaker").operation_model("StartPipelineExecution")
    assert model.input_shape is not None
    assert not ParamValidator().validate(request, model.input_shape).has_errors()
    assert 32 <= len(request["ClientRequestToken"]) <= 128


# --- steps ---------------------------------------------------------------------------------------------------------


def row(name: str, status: str, **more: Any) -> dict[str, Any]:
    return {"StepName": name, "StepStatus": status, "StartTime": NOON, **more}


def view(*rows: dict[str, Any]) -> dict[str, progress.Step]:
    return progress.view(rows, {"Train": {"Type": "Training"}})


def test_a_step_is_told_with_type_duration_and_reason() -> None:
    job_arn = "arn:aws:sagemaker:eu-west-1:123456789012:training-job/t"
    step = view(
        row(
            "Train",
            "Failed",
            EndTime=NOON + timedelta(seconds=75),
            FailureReason="ClientError:\n no data",
            Metadata={"TrainingJob": {"Arn": job_arn}},
        )
    )["Train"]
    assert (step.kind, step.seconds, step.reason, step.job_arn) == ("Training", 75, "ClientError: no data", job_arn)


def test_only_changes_are_told() -> None:
    before = view(row("Train", "Executing"), row("Prepare", "Succeeded"))
    after = view(row("Train", "Succeeded"), row("Prepare", "Succeeded"), row("Check", "Executing"))
    assert [each.name for each in progress.changes(before, after)] == ["Train", "Check"]
    assert progress.changes(after, after) == []


def test_the_last_attempt_of_a_step_counts_and_turns_of_a_loop_are_kept_apart() -> None:
    by_name = view(
        row("Train", "Failed"),
        row("Train", "Executing"),
        row("Each", "Succeeded", IterationContext={"Index": 0}),
        row("Each", "Failed", IterationContext={"Index": 1}),
    )
    assert {name: step.status for name, step in by_name.items()} == {
        "Train": "Executing",
        "Each[0]": "Succeeded",
        "Each[1]": "Failed",
    }


def test_a_fail_step_gives_its_message_as_reason() -> None:
    assert view(row("No", "Failed", Metadata={"Fail": {"ErrorMessage": "mse too high"}}))["No"].reason == "mse too high"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03")]
)
def test_a_clock_reads_as_people_write_it(seconds: float, text: str) -> None:
    assert progress.clock(seconds) == text


# --- how it ended --------------------------------------------------------------------------------------------------

FAILED_STEP = view(row("Train", "Failed", FailureReason="ClientError: no data"))
ENDINGS = [
    ("Failed", FAILED_STEP, errors.PipelineExecutionFailed, "ended as Failed: step Train: ClientError: no data"),
    ("Failed", {}, errors.PipelineExecutionFailed, "ended as Failed: quota"),
    ("Stopped", {}, errors.PipelineExecutionStopped, "ended as Stopped: quota"),
    (
        "CompletedWithFailures",
        FAILED_STEP,
        errors.PipelineExecutionIncomplete,
        "ended as CompletedWithFailures: step Train: ClientError: no data",
    ),
]


@pytest.mark.parametrize(("status", "steps", "kind", "words"), ENDINGS)
def test_every_bad_ending_is_an_error_that_says_which(
    status: str, steps: dict[str, progress.Step], kind: type[errors.SagemakerCiError], words: str
) -> None:
    with pytest.raises(kind) as raised:
        execution.require_success(Result(ARN, status, "quota", steps), PROJECT, causes={}, log_shown=False)
    assert raised.value.message == f"pipeline execution {ARN} {words}"


@pytest.mark.parametrize("status", ["Failed", "CompletedWithFailures"])
def test_what_to_do_about_a_failed_step_depends_on_whose_fault_it_was(status: str) -> None:
    with pytest.raises(errors.SagemakerCiError) as raised:
        execution.require_success(Result(ARN, status, "", FAILED_STEP), PROJECT, causes={}, log_shown=False)
    assert raised.value.hint.startswith("If your code failed, push the correction")
    assert "retry the job" in raised.value.hint


TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "/opt/ml/code/train.py", line 7, in <module>',
    "    train()",
    "ValueError: column rings is missing",
    "2026-11-28 10:00:00 sagemaker-training-toolkit ERROR Reporting training FAILURE",
]


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (TRACEBACK, "ValueError: column rings is missing"),
        (["KeyError: 'a'", "", "During handling of the above ...", *TRACEBACK], "ValueError: column rings is missing"),
        (["xgboost.core.XGBoostError: [10:00:00] bad label", "bye"], "xgboost.core.XGBoostError: [10:00:00] bad label"),
        (["Traceback (most recent call last):", '  File "x"'], ""),
        (["epoch 1", "error rate: 0.5"], ""),
        ([], ""),
    ],
)
def test_the_error_that_a_log_ends_with_is_found(lines: list[str], cause: str) -> None:
    assert jobs.last_error(lines) == cause


def test_a_reason_that_is_cut_off_is_completed_from_the_log() -> None:
    reason = "AlgorithmError: ExecuteUserScriptError: " + "Traceback " * 100
    steps = view(row("Train", "Failed", FailureReason=reason[:1024]))
    with pytest.raises(errors.PipelineExecutionFailed) as raised:
        execution.require_success(
            Result(ARN, "Failed", "", steps), PROJECT, causes={"Train": "ValueError: no rings"}, log_shown=True
        )
    assert raised.value.message.endswith(" ... (its log ends with: ValueError: no rings)")
    assert len(raised.value.message) < 500


HINTS = {
    "ClientError: An error occurred (AccessDenied) when calling the GetObject operation: Access Denied": (
        "below s3://artifacts/abalone-p-1/, and read the bucket of its parameter InputDataBucket"
    ),
    "ClientError: Failed to download data. 403 Forbidden: HeadObject": "PipelineRole",
    'ClientError: Data download failed:No S3 objects found under S3 URL "s3://my-data/a.csv"': "Nothing lies there",
    "An error occurred (NoSuchKey) when calling the GetObject operation": "compare the address, letter by letter",
    "User: x is not authorized to perform: sagemaker:CreateHyperParameterTuningJob on resource: y": (
        "Set the parameter TuningSteps of the stack of infra/gitlab-oidc.yml: it grants "
        "sagemaker:CreateHyperParameterTuningJob to the role of the pipeline (PipelineRole)"
    ),
    "User: x is not authorized to perform: lambda:InvokeFunction on resource: y": "parameter LambdaFunctions",
    "User: x is not authorized to perform: sagemaker:CreateModel on resource: y": (
        "Grant sagemaker:CreateModel to the role of the pipeline (PipelineRole)"
    ),
    "User: x is not authorized to perform: iam:PassRole on resource: y": "take `role` of get_pipeline for every step",
    "CapacityError: Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity": "Retry the",
    "AlgorithmError: ValueError: bad split": "If your code failed, push the correction",
}


@pytest.mark.parametrize(("reason", "hint"), HINTS.items(), ids=[each[:40] for each in HINTS])
def test_what_to_do_about_a_failed_step_fits_its_reason(reason: str, hint: str) -> None:
    steps = view(row("Train", "Failed", FailureReason=reason))
    with pytest.raises(errors.PipelineExecutionFailed) as raised:
        execution.require_success(Result(ARN, "Failed", "", steps), PROJECT, causes={}, log_shown=False)
    assert hint in raised.value.hint


def test_a_quota_that_is_too_low_has_an_error_of_its_own() -> None:
    reason = "ResourceLimitExceeded: The account-level service limit 'ml.m5.xlarge for training job usage' is 0 Inst"
    steps = view(row("Train", "Failed", FailureReason=reason))
    with pytest.raises(errors.QuotaExceeded) as raised:
        execution.require_success(Result(ARN, "Failed", "", steps), PROJECT, causes={}, log_shown=False)
    assert "quota 'ml.m5.xlarge for training job usage' is used up in eu-west-1, or zero" in raised.value.hint


def test_every_parameter_that_a_hint_names_is_one_of_the_stack() -> None:
    template = (Path(__file__).parents[2] / "infra" / "gitlab-oidc.yml").read_text()
    named = {name for text in advice._PARAMETERS.values() for name in re.findall(r"[A-Z][a-z]+[A-Z]\w+", text)}
    assert len(named) > 3
    assert [name for name in sorted(named) if f"\n  {name}:\n" not in template] == []


def test_every_status_that_sagemaker_has_is_known() -> None:
    statuses = get_session().get_service_model("sagemaker").shape_for("PipelineExecutionStatus").metadata["enum"]
    endings = {status for status, *_ in ENDINGS} | {"Succeeded"}
    assert set(statuses) == endings | {"Executing", "Stopping"}


def test_nothing_registered_is_explained() -> None:
    held = {"Check": [Condition("mse 7 <= Max 6", [Measured("mse", 7)])], "Other": [Condition("1 == 1", [])]}
    steps = view(
        row("Check", "Succeeded", Metadata={"Condition": {"Outcome": "False"}}),
        row("Other", "Succeeded", Metadata={"Condition": {"Outcome": "True"}}),
    )
    sentence = run.conclusion(Result(ARN, "Succeeded", "", steps), [], held)
    assert sentence == "No model package was registered: condition Check is false: mse 7 <= Max 6."
    assert "no step of this pipeline" in run.conclusion(Result(ARN, "Succeeded", "", {}), [], {})


def test_lineage_leads_back_to_the_commit_and_leaves_out_what_is_unknown() -> None:
    assert records.lineage(JOB, ARN, {}, {})["GitLabPipeline"] == "https://gitlab.example.com/ds/build/-/pipelines/5"
    assert records.lineage(job.current({}), ARN, {}, {}) == {"PipelineExecutionArn": ARN}


def test_lineage_tells_parameters_and_metrics_as_many_as_leave_room_for_other_properties() -> None:
    parameters = {f"P{number}": number for number in range(100)}
    measured = {f"metrics.m{number}.value": number / 3 for number in range(100)}
    properties = records.lineage(job.current({}), ARN, parameters | {"Empty": ""}, measured)
    assert properties["Parameter.P7"] == "7"
    assert properties["Metric.metrics.m1.value"] == "0.333333"
    assert len(properties) == 25


# --- reports -------------------------------------------------------------------------------------------------------


def test_metrics_are_the_measured_values_and_the_seconds_of_each_step() -> None:
    held = {"Check": [Condition("", [Measured("metrics['f1-macro']", 0.5), Measured("name", "abalone")])]}
    steps = view(row("Train", "Succeeded", EndTime=NOON + timedelta(seconds=3)), row("Check", "Executing"))
    assert report.metrics(steps, held) == {"measured_metrics_f1_macro": 0.5, 'step_seconds{step="Train"}': 3}


@pytest.mark.parametrize(
    ("kind", "group"),
    [("processing-job", "ProcessingJobs"), ("training-job", "TrainingJobs"), ("transform-job", "TransformJobs")],
)
def test_a_jobs_log_is_where_sagemaker_writes_it(kind: str, group: str) -> None:
    arn = f"arn:aws:sagemaker:eu-west-1:123456789012:{kind}/pipelines-x1-Train-abc"
    assert jobs.log_place(arn) == (f"/aws/sagemaker/{group}", "pipelines-x1-Train-abc/")


@pytest.mark.parametrize("kind", ["QualityCheck", "ClarifyCheck"])
def test_the_log_of_a_check_is_that_of_its_processing_job(kind: str) -> None:
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:processing-job/pipelines-x1-Check-abc"
    step = view(row("Check", "Failed", Metadata={kind: {"CheckType": "DATA_QUALITY", "CheckJobArn": arn}}))["Check"]
    assert jobs.log_place(step.job_arn) == ("/aws/sagemaker/ProcessingJobs", "pipelines-x1-Check-abc/")


def test_the_log_of_a_tuning_job_is_that_of_its_training_jobs() -> None:
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:hyper-parameter-tuning-job/x"
    assert jobs.log_place(arn) == ("/aws/sagemaker/TrainingJobs", "x-")


def test_a_step_that_is_no_job_names_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:notify"
    step = view(row("Notify", "Failed", Metadata={"Lambda": {"Arn": arn}}))["Notify"]
    nobody: Any = None
    assert not jobs.show_log(nobody, step)
    line = "step Notify failed as Lambda function notify; its log: CloudWatch Logs, /aws/lambda/notify"
    assert capsys.readouterr().out == f"{line}\n"
