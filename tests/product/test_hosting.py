"""Every kind of hosting through `build` and `deploy`, against the sandbox: what is deployed, updated, and replaced."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from ci_scripts.s3_location import Location
from tests.support.hosting import model_predicting
from tests.support.servers import ROOT, Aws, Project, create_role, register, sagemaker_ci
from tests.support.waiting import wait_for

REAL_TIME = {"Hosting": "real-time"}
ASYNCHRONOUS = {"Hosting": "asynchronous"}
SERVERLESS = {"Hosting": "serverless", "Parameters": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}


class Stage(NamedTuple):
    """A model-deploy repository without a template of its own, and its stage staging."""

    aws: Aws
    project: Project
    folder: Path

    @property
    def endpoint_name(self) -> str:
        return f"{self.project.name}-staging"

    def register(self, answer: float, status: str = "Approved") -> str:
        """Register a version whose model answers `answer`."""
        key = f"models/{time.monotonic_ns()}/model.tar.gz"
        content = model_predicting(answer)
        self.aws.client("s3").put_object(Bucket=self.project.bucket, Key=key, Body=content)
        return register(self.aws, self.project.group, status, f"s3://{self.project.bucket}/{key}")

    def configure(self, content: dict[str, Any], stage: str = "staging") -> None:
        (self.folder / f"{stage}-config.json").write_text(json.dumps(content))

    def run(self, *arguments: str, **variables: str) -> CompletedProcess[str]:
        return sagemaker_ci(*arguments, environ=self.project.environ | variables, cwd=self.folder)

    def deploy(self, content: dict[str, Any], **variables: str) -> CompletedProcess[str]:
        """Deploy the newest approved version as `content` says."""
        self.configure(content)
        succeeded(self.run("build"))
        return self.run("deploy", "--stage", "staging", **variables)

    def config(self) -> dict[str, Any]:
        sagemaker = self.aws.client("sagemaker")
        name = sagemaker.describe_endpoint(EndpointName=self.endpoint_name)["EndpointConfigName"]
        return dict(sagemaker.describe_endpoint_config(EndpointConfigName=name))

    def variant(self) -> dict[str, Any]:
        return dict(self.config()["ProductionVariants"][0])

    def prediction(self) -> float:
        runtime = self.aws.client("sagemaker-runtime")
        answer = runtime.invoke_endpoint(EndpointName=self.endpoint_name, Body=b"1,2,3", ContentType="text/csv")
        return float(answer["Body"].read())

    def answer(self) -> float:
        """What the endpoint answers, asked in the way of its kind."""
        if "AsyncInferenceConfig" not in self.config():
            return self.prediction()
        s3, runtime = self.aws.client("s3"), self.aws.client("sagemaker-runtime")
        key = f"requests/{time.monotonic_ns()}"
        s3.put_object(Bucket=self.project.bucket, Key=key, Body=b"1,2,3")
        uri = f"s3://{self.project.bucket}/{key}"
        accepted = runtime.invoke_endpoint_async(
            EndpointName=self.endpoint_name, InputLocation=uri, ContentType="text/csv"
        )
        place = Location.of(accepted["OutputLocation"])
        listed = wait_for(lambda: s3.list_objects_v2(Bucket=place.bucket, Prefix=place.key).get("Contents"))
        assert listed
        return float(s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read())

    def resources(self) -> dict[str, str]:
        """The resources of the stack: logical id → status."""
        name = f"sagemaker-{self.project.name}-{self.project.id}-deploy-staging"
        found = self.aws.client("cloudformation").list_stack_resources(StackName=name)["StackResourceSummaries"]
        return {each["LogicalResourceId"]: each["ResourceStatus"] for each in found}


@pytest.fixture
def stage(aws: Aws, project: Project, tmp_path: Path) -> Stage:
    folder = Path(shutil.copytree(ROOT / "seed-deploy", tmp_path / "model-deploy"))
    (folder / "endpoint-config-template.yml").unlink()
    (folder / "prod-config.json").write_text('{"Hosting": "real-time"}')
    return Stage(aws, project, folder)


def succeeded(result: CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def failed(result: CompletedProcess[str], code: str) -> str:
    assert result.returncode == 1, result.stdout + result.stderr
    error, _hint = result.stderr.splitlines()
    assert error.startswith(f"error {code}: "), result.stdout + result.stderr
    return error


# --- each kind: deployed, proven, updated to a second version ------------------------------------------------------


@pytest.mark.parametrize("content", [REAL_TIME, SERVERLESS, ASYNCHRONOUS], ids=lambda each: each["Hosting"])
def test_a_stage_is_hosted_as_it_says_and_then_serves_the_next_version(stage: Stage, content: dict[str, Any]) -> None:
    first = stage.register(5)
    assert f"serves {stage.project.group} version 1" in succeeded(stage.deploy(content))
    assert stage.answer() == pytest.approx(5, abs=0.5)
    assert ("ServerlessConfig" in stage.variant()) is (content == SERVERLESS)

    second = stage.register(8)
    assert f"serves {stage.project.group} version 2" in succeeded(stage.deploy(content))
    assert stage.answer() == pytest.approx(8, abs=0.5)
    assert first != second


def test_serverless_in_staging_and_real_time_in_production_are_one_build(stage: Stage) -> None:
    arn = stage.register(5)
    stage.configure(SERVERLESS)
    told = succeeded(stage.run("build"))
    assert "staging-config.json: serverless, 2 parameters" in told
    assert "prod-config.json: real-time, no parameters" in told
    exports = [json.loads((stage.folder / f"{each}-config-export.json").read_text()) for each in ("staging", "prod")]
    assert [each["Hosting"] for each in exports] == ["serverless", "real-time"]
    assert {each["Parameters"]["ModelPackageName"] for each in exports} == {arn}


def test_the_parameters_reach_the_endpoint_configuration(stage: Stage) -> None:
    stage.register(5)
    sizes = {"MemorySizeInMB": 4096, "MaxConcurrency": 20, "ProvisionedConcurrency": 3}
    succeeded(stage.deploy({"Hosting": "serverless", "Parameters": sizes}))
    assert stage.variant()["ServerlessConfig"] == sizes


# --- from one kind to another --------------------------------------------------------------------------------------


def test_a_serverless_endpoint_becomes_a_real_time_one_while_it_serves(stage: Stage) -> None:
    stage.register(5)
    succeeded(stage.deploy(SERVERLESS))
    created = stage.aws.client("sagemaker").describe_endpoint(EndpointName=stage.endpoint_name)["CreationTime"]
    succeeded(stage.deploy(REAL_TIME))
    assert stage.variant()["InstanceType"] == "ml.t2.medium"
    assert stage.prediction() == pytest.approx(5, abs=0.5)
    after = stage.aws.client("sagemaker").describe_endpoint(EndpointName=stage.endpoint_name)["CreationTime"]
    assert after == created


def test_what_cannot_be_changed_in_place_is_said_before_anything_happens(stage: Stage) -> None:
    stage.register(5)
    succeeded(stage.deploy(REAL_TIME))
    before = stage.config()["EndpointConfigName"]
    error = failed(stage.deploy(SERVERLESS), "SMCI-608")
    assert f"endpoint {stage.endpoint_name} is real-time and is to be serverless" in error
    assert stage.config()["EndpointConfigName"] == before
    assert set(stage.resources().values()) == {"CREATE_COMPLETE"}

    told = succeeded(stage.deploy(SERVERLESS, REPLACE_ENDPOINT="true"))
    assert "is deleted and made anew" in told
    assert stage.variant()["ServerlessConfig"]["MaxConcurrency"] == 5
    assert stage.prediction() == pytest.approx(5, abs=0.5)
    pages = stage.aws.client("sagemaker").get_paginator("list_endpoint_configs").paginate()
    assert before not in [each["EndpointConfigName"] for page in pages for each in page["EndpointConfigs"]]


# --- a second model ------------------------------------------------------------------------------------------------


def test_a_challenger_that_is_not_approved_is_refused_with_everything_else_that_is_wrong(stage: Stage) -> None:
    waiting = stage.register(8, "PendingManualApproval")
    stage.register(5)
    stage.configure(
        {"Hosting": "real-time", "Parameters": {"ChallengerModelPackageName": waiting, "EndpointInstanceCount": 0}}
    )
    result = stage.run("build")
    assert "2 problems" in failed(result, "SMCI-406")
    refused = f"ChallengerModelPackageName: model package {waiting} is PendingManualApproval, not Approved"
    assert f"staging-config.json: Parameters.{refused}" in result.stdout
    assert "staging-config.json: Parameters.EndpointInstanceCount: 0 is less than the MinValue 1" in result.stdout


def test_a_challenger_shares_the_requests_and_each_variant_is_proven_by_its_own_version(stage: Stage) -> None:
    challenger = stage.register(8)
    stage.register(5)
    parameters = {"ChallengerModelPackageName": challenger, "ChampionWeight": 50, "ChallengerWeight": 50}
    succeeded(stage.deploy({"Hosting": "real-time", "Parameters": parameters}))
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
    stage.register(5)
    told = succeeded(stage.deploy(batch(stage)))
    assert f"a run on the first 5 rows of s3://{stage.project.bucket}/" in told
    assert f"batch transform {stage.endpoint_name} runs {stage.project.group} version 1" in told
    stage.register(8)
    assert "version 2" in succeeded(stage.deploy(batch(stage)))
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


def test_a_batch_transform_without_rows_says_so(stage: Stage) -> None:
    stage.register(5)
    content = {"Hosting": "batch-transform", "Parameters": {"InputUri": f"s3://{stage.project.bucket}/nothing/"}}
    error = failed(stage.deploy(content), "SMCI-610")
    assert f"there are no rows at s3://{stage.project.bucket}/nothing/" in error


def test_a_schedule_needs_its_role(stage: Stage) -> None:
    stage.register(5)
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
    stage.register(5)
    succeeded(stage.deploy(SERVERLESS))
    assert "is serverless and is to be batch-transform" in failed(stage.deploy(batch(stage)), "SMCI-608")
    succeeded(stage.deploy(batch(stage), REPLACE_ENDPOINT="true"))
    with pytest.raises(ClientError, match="not found"):
        stage.prediction()
    succeeded(stage.deploy(REAL_TIME))
    assert stage.prediction() == pytest.approx(5, abs=0.5)
    assert set(stage.resources()) == {"Model", "EndpointConfig", "Endpoint"}


# --- test, whatever the kind ---------------------------------------------------------------------------------------

QUALITY = """
data: {path: held-out.csv}
checks:
  - {metric: mae, max: 1.0}
"""


@pytest.mark.parametrize("kind", ["real-time", "serverless", "asynchronous", "batch-transform"])
def test_the_same_tests_and_thresholds_measure_every_kind(stage: Stage, kind: str) -> None:
    stage.register(5)
    succeeded(stage.deploy(batch(stage) if kind == "batch-transform" else {"Hosting": kind}))
    (stage.folder / "quality.yml").write_text(QUALITY)
    (stage.folder / "held-out.csv").write_text("".join(f"5,{number},2,3\n" for number in range(30)))
    shutil.rmtree(stage.folder / "tests")
    fixture = "batch" if kind == "batch-transform" else "endpoint"
    (stage.folder / "tests").mkdir()
    (stage.folder / "tests" / "test_it.py").write_text(
        f"def test_it({fixture}):\n    assert [round(each) for each in {fixture}.predict([[1, 2, 3]] * 2)] == [5, 5]\n"
    )
    told = succeeded(stage.run("test", "--stage", "staging"))
    assert "2 passed" in told


def test_what_an_asynchronous_endpoint_could_not_answer_fails_the_test_with_the_containers_words(stage: Stage) -> None:
    stage.register(5)
    succeeded(stage.deploy(ASYNCHRONOUS))
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
    wanted = [{"VariantName": "AllTraffic", "DesiredInstanceCount": count}]
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=stage.endpoint_name, DesiredWeightsAndCapacities=wanted
    )
    wait_for(lambda: counts(stage)[0] == count)


def test_what_was_scaled_to_three_is_three_after_the_next_version(stage: Stage) -> None:
    stage.register(5)
    succeeded(stage.deploy(autoscaled()))
    assert counts(stage) == (1, 1)
    scale(stage, 3)
    stage.register(8)
    succeeded(stage.deploy(autoscaled(EnableDataCapture=True)))
    assert counts(stage) == (3, 1)
    assert stage.prediction() == pytest.approx(8, abs=0.5)
    assert stage.config()["DataCaptureConfig"]["EnableCapture"] is True  # not that of before


def test_another_instance_type_under_autoscaling_is_said_before_anything_happens(stage: Stage) -> None:
    stage.register(5)
    succeeded(stage.deploy(autoscaled()))
    larger = autoscaled(EndpointInstanceType="ml.m5.xlarge")
    error = failed(stage.deploy(larger), "SMCI-608")
    assert "are ml.t2.medium and are to be ml.m5.xlarge: SageMaker changes no instance type" in error
    succeeded(stage.deploy(autoscaled(MaxInstanceCount=0)))
    succeeded(stage.deploy(larger))
    assert stage.variant()["InstanceType"] == "ml.m5.xlarge"


def test_an_idle_asynchronous_endpoint_may_have_no_instance(stage: Stage) -> None:
    stage.register(5)
    succeeded(stage.deploy({"Hosting": "asynchronous", "Parameters": {"MinInstanceCount": 0, "MaxInstanceCount": 2}}))
    scale(stage, 0)
    stage.register(8)
    succeeded(stage.deploy({"Hosting": "asynchronous", "Parameters": {"MinInstanceCount": 0, "MaxInstanceCount": 2}}))
    assert counts(stage)[0] == 0
