"""Every kind of hosting through `build` and `deploy`, against the sandbox: what is deployed, updated, and replaced."""

from __future__ import annotations

import json
import shutil
import signal
from typing import Any

import pytest

from ci_scripts.errors import InvocationFailed
from tests.support.deployment import failed, start, succeeded
from tests.support.hosting import Hosting
from tests.support.servers import create_role
from tests.support.stage import ASYNCHRONOUS, QUALITY, REAL_TIME, SERVERLESS, Stage
from tests.support.traffic import asking, at_once, by_s3
from tests.support.waiting import wait_for

# --- each kind: deployed, proven, updated to a second version ------------------------------------------------------


@pytest.mark.parametrize("content", [REAL_TIME, SERVERLESS, ASYNCHRONOUS], ids=lambda each: each["Hosting"])
def test_a_stage_is_hosted_as_it_says_and_then_serves_the_next_version(stage: Stage, content: dict[str, Any]) -> None:
    """And a client that asks all the time is answered by the one or by the other."""
    first = stage.version(5)
    assert f"serves {stage.project.group} version 1" in succeeded(stage.host(content))
    assert stage.answer() == pytest.approx(5, abs=0.5)
    assert ("ServerlessConfig" in stage.variant()) is (content == SERVERLESS)

    second = stage.version(8)
    hosting = Hosting(stage.aws, stage.project, stage.aws.client("sagemaker"))
    ask = (by_s3 if content == ASYNCHRONOUS else at_once)(hosting, stage.endpoint_name)
    with asking(ask, 5) as client:
        assert f"serves {stage.project.group} version 2" in succeeded(stage.host(content))
        wait_for(lambda: client.has_seen(8) or client.failures, "an answer of the second version")
    assert client.failures == []
    assert set(client.versions(5, 8)) == {5, 8}
    assert first != second


def test_serverless_in_staging_and_real_time_in_production_are_one_build(stage: Stage) -> None:
    arn = stage.version(5)
    stage.configure(SERVERLESS)
    log = succeeded(stage.run("build"))
    assert "staging-config.json: serverless, 2 parameters" in log
    assert "prod-config.json: real-time, no parameters" in log
    exports = [json.loads((stage.folder / f"{each}-config-export.json").read_text()) for each in ("staging", "prod")]
    assert [each["Hosting"] for each in exports] == ["serverless", "real-time"]
    assert {each["Parameters"]["ModelPackageName"] for each in exports} == {arn}


def test_the_parameters_reach_the_endpoint_configuration(stage: Stage) -> None:
    stage.version(5)
    sizes = {"MemorySizeInMB": 4096, "MaxConcurrency": 20, "ProvisionedConcurrency": 3}
    succeeded(stage.host({"Hosting": "serverless", "Parameters": sizes}))
    assert stage.variant()["ServerlessConfig"] == sizes


def test_provisioned_concurrency_is_scaled_within_its_bounds(stage: Stage) -> None:
    stage.version(5)
    sizes = {"MaxConcurrency": 20, "ProvisionedConcurrency": 2, "MaxProvisionedConcurrency": 6}
    succeeded(stage.host({"Hosting": "serverless", "Parameters": sizes}))
    key = {"ServiceNamespace": "sagemaker", "ResourceIds": [f"endpoint/{stage.endpoint_name}/variant/AllTraffic"]}
    scaling = stage.aws.client("application-autoscaling")
    [target] = scaling.describe_scalable_targets(**key)["ScalableTargets"]
    assert (target["ScalableDimension"], target["MinCapacity"], target["MaxCapacity"]) == (
        "sagemaker:variant:DesiredProvisionedConcurrency",
        1,
        6,
    )
    succeeded(stage.host({"Hosting": "serverless", "Parameters": {"MaxConcurrency": 20}}))
    assert scaling.describe_scalable_targets(**key)["ScalableTargets"] == []


# --- from one kind to another --------------------------------------------------------------------------------------


def test_a_serverless_endpoint_becomes_a_real_time_one_while_it_serves(stage: Stage) -> None:
    stage.version(5)
    succeeded(stage.host(SERVERLESS))
    created = stage.aws.client("sagemaker").describe_endpoint(EndpointName=stage.endpoint_name)["CreationTime"]
    succeeded(stage.host(REAL_TIME))
    assert stage.variant()["InstanceType"] == "ml.t2.medium"
    assert stage.prediction() == pytest.approx(5, abs=0.5)
    after = stage.aws.client("sagemaker").describe_endpoint(EndpointName=stage.endpoint_name)["CreationTime"]
    assert after == created


def test_what_cannot_be_changed_in_place_is_said_before_anything_happens(stage: Stage) -> None:
    stage.version(5)
    succeeded(stage.host(REAL_TIME))
    before = stage.config()["EndpointConfigName"]
    error = failed(stage.host(SERVERLESS), "SMCI-608")
    assert f"endpoint {stage.endpoint_name} is real-time and is to be serverless" in error
    assert stage.config()["EndpointConfigName"] == before
    assert set(stage.resources().values()) == {"CREATE_COMPLETE"}

    log = succeeded(stage.host(SERVERLESS, REPLACE_ENDPOINT="true"))
    assert "is deleted and made anew" in log
    assert stage.variant()["ServerlessConfig"]["MaxConcurrency"] == 5
    assert stage.prediction() == pytest.approx(5, abs=0.5)
    pages = stage.aws.client("sagemaker").get_paginator("list_endpoint_configs").paginate()
    assert before not in [each["EndpointConfigName"] for page in pages for each in page["EndpointConfigs"]]


# --- a second model ------------------------------------------------------------------------------------------------


def test_a_challenger_that_is_not_approved_is_refused_with_everything_else_that_is_wrong(stage: Stage) -> None:
    waiting = stage.version(8, "PendingManualApproval")
    stage.version(5)
    stage.configure(
        {"Hosting": "real-time", "Parameters": {"ChallengerModelPackageName": waiting, "EndpointInstanceCount": 0}}
    )
    result = stage.run("build")
    assert "2 problems" in failed(result, "SMCI-406")
    refused = f"ChallengerModelPackageName: model package {waiting} is PendingManualApproval, not Approved"
    assert f"staging-config.json: Parameters.{refused}" in result.stdout
    assert "staging-config.json: Parameters.EndpointInstanceCount: 0 is less than the MinValue 1" in result.stdout


def test_a_challenger_shares_the_requests_and_each_variant_is_proven_by_its_own_version(stage: Stage) -> None:
    challenger = stage.version(8)
    stage.version(5)
    parameters = {"ChallengerModelPackageName": challenger, "ChampionWeight": 50, "ChallengerWeight": 50}
    succeeded(stage.host({"Hosting": "real-time", "Parameters": parameters}))
    assert [each["VariantName"] for each in stage.config()["ProductionVariants"]] == ["AllTraffic", "Challenger"]
    assert {round(stage.prediction()) for _ in range(40)} == {5, 8}


# --- batch transform -----------------------------------------------------------------------------------------------


def batch(stage: Stage, **parameters: Any) -> dict[str, Any]:
    """A configuration for rows that are put into the project's bucket."""
    key = f"{stage.project.name}-{stage.project.id}/rows/today.csv"
    rows = b"".join(b"%d,2,3\n" % number for number in range(8))
    stage.aws.client("s3").put_object(Bucket=stage.project.bucket, Key=key, Body=rows)
    uri = f"s3://{stage.project.bucket}/{key.rpartition('/')[0]}/"
    return {"Hosting": "batch-transform", "Parameters": {"InputUri": uri, **parameters}}


def test_a_batch_transform_is_proven_by_a_run_on_its_first_rows_and_then_runs_the_next_version(stage: Stage) -> None:
    stage.version(5)
    log = succeeded(stage.host(batch(stage)))
    assert f"a run on the first 5 rows of s3://{stage.project.bucket}/" in log
    assert f"batch transform {stage.endpoint_name} runs {stage.project.group} version 1" in log
    stage.version(8)
    assert "version 2" in succeeded(stage.host(batch(stage)))
    assert set(stage.resources()) == {"Model", "Pipeline"}

    sagemaker = stage.aws.client("sagemaker")
    arn = sagemaker.start_pipeline_execution(PipelineName=stage.endpoint_name)["PipelineExecutionArn"]
    wait_for(
        lambda: (
            sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"] == "Succeeded"
        )
    )
    folder = f"{stage.project.name}-{stage.project.id}/batch-transform/staging/{arn.rpartition('/')[2]}"
    written = (
        stage.aws.client("s3").get_object(Bucket=stage.project.bucket, Key=f"{folder}/today.csv.out")["Body"].read()
    )
    assert [round(float(line)) for line in written.split()] == [8] * 8


def test_a_cancelled_job_stops_the_run_that_was_to_prove_it(stage: Stage) -> None:
    stage.register_slow(5)
    stage.configure(batch(stage))
    succeeded(stage.run("build"))
    sagemaker = stage.aws.client("sagemaker")

    def states() -> list[str]:
        try:
            executions = sagemaker.list_pipeline_executions(PipelineName=stage.endpoint_name)
        except sagemaker.exceptions.ResourceNotFound:
            return []
        return [each["PipelineExecutionStatus"] for each in executions["PipelineExecutionSummaries"]]

    job = start(stage)
    wait_for(lambda: states() == ["Executing"])
    job.send_signal(signal.SIGTERM)
    _, errors = job.communicate(timeout=60)
    assert errors.startswith("error SMCI-103: cancelled by SIGTERM; ")
    wait_for(lambda: states() == ["Stopped"])


def test_a_batch_transform_without_rows_says_so(stage: Stage) -> None:
    stage.version(5)
    content = {"Hosting": "batch-transform", "Parameters": {"InputUri": f"s3://{stage.project.bucket}/nothing/"}}
    error = failed(stage.host(content), "SMCI-610")
    assert f"there are no rows at s3://{stage.project.bucket}/nothing/" in error


def test_a_schedule_needs_its_role(stage: Stage) -> None:
    stage.version(5)
    nightly = batch(stage, ScheduleExpression="cron(0 2 * * ? *)")
    stage.configure(nightly)
    result = stage.run("build")
    failed(result, "SMCI-406")
    assert "Parameters.ScheduleExpression: a schedule needs a role to start the pipeline with" in result.stdout
    role = create_role(
        stage.aws,
        f"schedule-{stage.project.name}",
        "scheduler.amazonaws.com",
        [{"Effect": "Allow", "Action": "sagemaker:StartPipelineExecution", "Resource": "*"}],
    )
    succeeded(stage.run("build", SCHEDULE_ROLE_ARN=role))
    succeeded(stage.run("deploy", "--stage", "staging"))
    schedule = stage.aws.client("scheduler").get_schedule(Name=stage.endpoint_name)
    assert schedule["ScheduleExpression"] == "cron(0 2 * * ? *)"


def test_an_endpoint_gives_way_to_a_batch_transform_only_when_that_was_asked_for(stage: Stage) -> None:
    stage.version(5)
    succeeded(stage.host(SERVERLESS))
    assert "is serverless and is to be batch-transform" in failed(stage.host(batch(stage)), "SMCI-608")
    succeeded(stage.host(batch(stage), REPLACE_ENDPOINT="true"))
    with pytest.raises(InvocationFailed, match="not found"):
        stage.prediction()
    succeeded(stage.host(REAL_TIME))
    assert stage.prediction() == pytest.approx(5, abs=0.5)
    assert set(stage.resources()) == {"Model", "EndpointConfig", "Endpoint"}


# --- test, whatever the kind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real-time", "serverless", "asynchronous", "batch-transform"])
def test_the_same_tests_and_thresholds_measure_every_kind(stage: Stage, kind: str) -> None:
    stage.version(5)
    succeeded(stage.host(batch(stage) if kind == "batch-transform" else {"Hosting": kind}))
    (stage.folder / "quality.yml").write_text(QUALITY)
    (stage.folder / "held-out.csv").write_text("".join(f"5,{number},2,3\n" for number in range(30)))
    shutil.rmtree(stage.folder / "tests")
    fixture = "batch" if kind == "batch-transform" else "endpoint"
    (stage.folder / "tests").mkdir()
    (stage.folder / "tests" / "test_it.py").write_text(
        f"def test_it({fixture}):\n    assert [round(each) for each in {fixture}.predict([[1, 2, 3]] * 2)] == [5, 5]\n"
    )
    log = succeeded(stage.run("test", "--stage", "staging"))
    assert "2 passed" in log


def test_what_an_asynchronous_endpoint_could_not_answer_fails_the_test_with_the_containers_words(stage: Stage) -> None:
    stage.version(5)
    succeeded(stage.host(ASYNCHRONOUS))
    (stage.folder / "quality.yml").unlink()
    (stage.folder / "tests" / "test_endpoint.py").write_text(
        "def test_it(endpoint):\n    endpoint.invoke(b'not,numbers', 'text/csv')\n"
    )
    result = stage.run("test", "--stage", "staging")
    assert "1 of 1 tests failed" in failed(result, "SMCI-708")
    assert f"endpoint {stage.endpoint_name} answered with an error:" in result.stdout


# --- autoscaling ---------------------------------------------------------------------------------------------------


def autoscaled(**parameters: Any) -> dict[str, Any]:
    return {"Hosting": "real-time", "Parameters": {"MaxInstanceCount": 4, **parameters}}


def counts(stage: Stage) -> tuple[int, int]:
    """Instances that the variant has, and that its configuration begins with."""
    [variant] = stage.aws.client("sagemaker").describe_endpoint(EndpointName=stage.endpoint_name)["ProductionVariants"]
    return variant["CurrentInstanceCount"], stage.variant()["InitialInstanceCount"]


def scale(stage: Stage, count: int) -> None:
    """What Application Auto Scaling does under load."""
    sagemaker = stage.aws.client("sagemaker")
    desired = [{"VariantName": "AllTraffic", "DesiredInstanceCount": count}]
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=stage.endpoint_name, DesiredWeightsAndCapacities=desired
    )
    wait_for(lambda: counts(stage)[0] == count)


def test_what_was_scaled_to_three_is_three_after_the_next_version(stage: Stage) -> None:
    stage.version(5)
    succeeded(stage.host(autoscaled()))
    assert counts(stage) == (1, 1)
    scale(stage, 3)
    stage.version(8)
    succeeded(stage.host(autoscaled(EnableDataCapture=True)))
    assert counts(stage) == (3, 1)
    assert stage.prediction() == pytest.approx(8, abs=0.5)
    assert stage.config()["DataCaptureConfig"]["EnableCapture"] is True  # not that of before


def test_another_instance_type_under_autoscaling_is_said_before_anything_happens(stage: Stage) -> None:
    stage.version(5)
    succeeded(stage.host(autoscaled()))
    larger = autoscaled(EndpointInstanceType="ml.m5.xlarge")
    error = failed(stage.host(larger), "SMCI-608")
    assert "are ml.t2.medium and are to be ml.m5.xlarge: SageMaker changes no instance type" in error
    succeeded(stage.host(autoscaled(MaxInstanceCount=0)))
    succeeded(stage.host(larger))
    assert stage.variant()["InstanceType"] == "ml.m5.xlarge"


def test_an_idle_asynchronous_endpoint_may_have_no_instance(stage: Stage) -> None:
    stage.version(5)
    succeeded(stage.host({"Hosting": "asynchronous", "Parameters": {"MinInstanceCount": 0, "MaxInstanceCount": 2}}))
    scale(stage, 0)
    stage.version(8)
    succeeded(stage.host({"Hosting": "asynchronous", "Parameters": {"MinInstanceCount": 0, "MaxInstanceCount": 2}}))
    assert counts(stage)[0] == 0
