"""`sagemaker-ci run-pipeline` in jobs that are cancelled, retried, or run at the same time."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import pytest

from ci_scripts import job
from ci_scripts.errors import JobCancelled
from tests.support.run_pipeline import MEASURE, Race, Repository, race, repository, start, status  # noqa: F401 - the fixtures
from tests.support.waiting import wait_for


def test_a_cancelled_job_stops_its_execution_and_a_retry_resumes_it(repository: Repository) -> None:
    with start(repository, prepare="test -f /opt/ml/processing/data/go || sleep 60") as process:
        wait_for(lambda: status(repository, "Prepare") == "Executing")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    [execution] = repository.executions()
    assert errors.splitlines()[0] == (
        f"error SMCI-103: cancelled by SIGTERM; pipeline execution {execution['PipelineExecutionArn']} is being stopped"
    )
    wait_for(lambda: repository.executions()[0]["PipelineExecutionStatus"] == "Stopped")

    repository.aws.client("s3").put_object(Bucket=repository.project.bucket, Key="data/go", Body=b"")
    retried = repository.run(job=2, prepare="test -f /opt/ml/processing/data/go || sleep 60")
    assert retried.returncode == 0, retried.stderr
    assert [each["PipelineExecutionStatus"] for each in repository.executions()] == ["Succeeded"]


@pytest.mark.parametrize("delay", [0, 0.005, 0.01, 0.02, 0.04])  # seconds; StartPipelineExecution takes about 0.02
def test_a_job_cancelled_while_it_starts_leaves_nothing_running(repository: Repository, delay: float) -> None:
    with start(repository, prepare="sleep 60") as process:
        assert process.stdout
        while not process.stdout.readline().endswith(" created, version 1\n"):
            assert process.poll() is None
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("error SMCI-103: cancelled by SIGTERM")
    wait_for(lambda: all(each["PipelineExecutionStatus"] == "Stopped" for each in repository.executions()))


def test_a_retried_job_that_is_cancelled_while_it_looks_for_its_execution_stops_it(race: Race) -> None:
    with start(race.repository, prepare="sleep 60") as process:
        wait_for(lambda: status(race.repository, "Prepare") == "Executing")
        process.kill()

    def cancel() -> None:
        with suppress(job.Cancelled):  # as a library may
            os.kill(os.getpid(), signal.SIGTERM)

    race.before("ListPipelineExecutions", cancel)
    with pytest.raises(JobCancelled, match="is being stopped"), job.cancellation():
        race.run()
    wait_for(lambda: race.repository.executions()[0]["PipelineExecutionStatus"] == "Stopped")


def test_a_job_cancelled_before_it_has_started_its_execution_starts_none(race: Race) -> None:
    def cancel() -> None:
        raise job.Cancelled("cancelled by SIGTERM")

    race.before("StartPipelineExecution", cancel)
    with pytest.raises(JobCancelled, match=r"^cancelled by SIGTERM; no pipeline execution of .+ was started$"):
        race.run()
    assert race.repository.executions() == []


def test_a_cancelled_job_says_so_although_its_execution_cannot_be_stopped(race: Race) -> None:
    def cancel() -> None:
        sagemaker = race.repository.aws.client("sagemaker")
        [execution] = race.repository.executions()
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution["PipelineExecutionArn"])
        wait_for(lambda: race.repository.executions()[0]["PipelineExecutionStatus"] == "Stopped")
        sagemaker.delete_pipeline(PipelineName=race.repository.project.group)
        raise job.Cancelled("cancelled by SIGTERM")

    race.before("DescribePipelineExecution", cancel)
    with pytest.raises(JobCancelled, match=r"^cancelled by SIGTERM; pipeline .+ could not be stopped: .+"):
        race.run()


def test_a_retried_job_reports_the_execution_it_has(repository: Repository) -> None:
    repository.run(job=1)
    again = repository.run(job=2)
    assert again.returncode == 0, again.stderr
    assert "of an earlier attempt of this job has succeeded: nothing is started again" in again.stdout
    assert len(repository.executions()) == 1
    assert len(repository.packages()) == 1
    assert "MODEL_PACKAGE_ARN=" in repository.report("job.env")


def test_a_second_pipeline_for_the_same_new_data_trains_nothing_anew_and_one_for_other_data_does(
    repository: Repository,
) -> None:
    moment, later = "2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z"
    assert repository.run("--new-data", moment, pipeline=100).returncode == 0
    second = repository.run("--new-data", moment, job=2, pipeline=101)
    assert f"for the same new data ({moment}) has succeeded: nothing is started again" in second.stdout
    assert len(repository.executions()) == 1
    assert repository.run("--new-data", later, job=3, pipeline=102).returncode == 0
    assert len(repository.executions()) == 2


def test_a_retried_job_resumes_a_failed_execution_at_the_failed_step(repository: Repository) -> None:
    evaluate = f"test -f /opt/ml/processing/data/go && {MEASURE}"
    assert repository.run(job=1, evaluate=evaluate).returncode == 1
    prepared = repository.steps()["Prepare"]["Metadata"]
    repository.aws.client("s3").put_object(Bucket=repository.project.bucket, Key="data/go", Body=b"")
    retried = repository.run(job=2, evaluate=evaluate)
    assert retried.returncode == 0, retried.stderr
    assert "of an earlier attempt of this job ended badly: resuming it where it failed" in retried.stdout
    assert repository.steps()["Prepare"]["Metadata"] == prepared
    assert len(repository.packages()) == 1


def test_a_retry_does_not_bring_back_the_definition_of_an_older_commit(repository: Repository) -> None:
    repository.run(pipeline=100, prepare="echo old")
    repository.run(pipeline=101, job=2, prepare="echo new")
    repository.run(pipeline=100, job=3, prepare="echo old")
    answer = repository.aws.client("sagemaker").describe_pipeline(PipelineName=repository.project.group)
    assert "echo new" in answer["PipelineDefinition"]
    assert len(repository.executions()) == 2


# --- two jobs at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("deployed", "state"), [("", "created"), ("echo old", "updated"), ("echo mine", "unchanged")])
def test_a_job_runs_its_own_definition_although_another_one_updates_the_pipeline_before_it_starts(
    race: Race, deployed: str, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if deployed:
        race.create(deployed)
    race.before("StartPipelineExecution", lambda: race.update("echo theirs"))
    assert race.ran() == race.text("echo mine")
    assert f" {state}, version " in capsys.readouterr().out


def test_an_unchanged_pipeline_that_another_job_updates_meanwhile_is_brought_back(race: Race) -> None:
    race.create("echo mine")
    race.before("ListPipelineVersions", lambda: race.update("echo theirs"))
    assert race.ran() == race.text("echo mine")


def test_a_pipeline_that_another_job_creates_first_is_updated(race: Race) -> None:
    race.before("CreatePipeline", lambda: race.create("echo theirs"))
    assert race.ran() == race.text("echo mine")
