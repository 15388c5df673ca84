"""`run-pipeline --from-step`: a commit that changes nothing but the evaluation runs from there."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import re

from tests.support.run_pipeline import MEASURE, Repository, one_line, repository  # noqa: F401 - the fixture


def test_a_commit_that_changes_the_evaluation_alone_runs_from_there(repository: Repository) -> None:
    first = repository.run(prepare="echo prepared")
    assert first.returncode == 0, first.stderr
    better = repository.run("--from-step", "Evaluate", pipeline=101, job=2, evaluate=MEASURE.replace("4.25", "3.5"))
    assert better.returncode == 0, better.stdout + better.stderr

    newer, older = repository.executions()
    number = older["PipelineExecutionArn"].rpartition("/")[2]
    assert f"running Evaluate, CheckMse, Register alone; what they need is of execution {number}\n" in better.stdout
    assert re.search(rf"Prepare .* reused +taken from execution {number}\n", better.stdout)
    assert "mse 3.5 <= MseThreshold 6.0" in better.stdout
    rows = repository.aws.client("sagemaker").list_pipeline_execution_steps(
        PipelineExecutionArn=newer["PipelineExecutionArn"]
    )["PipelineExecutionSteps"]
    jobs = {each["StepName"]: each["Metadata"].get("ProcessingJob", {}).get("Arn", "") for each in rows}
    assert number in jobs["Prepare"]
    assert number not in jobs["Evaluate"]
    assert [each["CustomerMetadataProperties"]["Metric.metrics.mse"] for each in repository.packages()] == [
        "4.25",
        "3.5",
    ]
    # Once more, from a step whose outputs are of that selective execution.
    third = repository.run("--from-step", "CheckMse", pipeline=102, job=3, evaluate=MEASURE)
    assert third.returncode == 0, third.stderr
    assert "mse 3.5 <= MseThreshold 6.0" in third.stdout


def test_a_step_that_is_not_there_and_an_execution_that_is_not_there_are_refused(repository: Repository) -> None:
    unknown = repository.run("--check", "--from-step", "Evalaute")
    assert one_line(unknown, "321").endswith("no step 'Evalaute'; it has Prepare, Evaluate, CheckMse, Register")
    nothing = repository.run("--from-step", "Evaluate")
    assert "has succeeded yet" in one_line(nothing, "322")
    assert repository.executions() == []
    # What needs nothing of other steps needs no execution either.
    whole = repository.run("--from-step", "Prepare")
    assert whole.returncode == 0, whole.stderr
