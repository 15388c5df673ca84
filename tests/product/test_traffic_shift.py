"""A stage whose configuration has `Deployment`: requests move over in steps, and back when an alarm fires."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws.cloudformation.resources.sagemaker import notice_rollbacks
from tests.support.deployment import failed, finished, start, succeeded
from tests.support.hosting import Hosting, model_predicting
from tests.support.servers import ROOT, register
from tests.support.stage import Stage
from tests.support.waiting import wait_for

TEN = {"EndpointInstanceCount": 10}
CANARY = {"Strategy": "canary", "CanarySize": "10%", "WaitIntervalInSeconds": 300, "TerminationWaitInSeconds": 60}
LINEAR = {"Strategy": "linear", "LinearStepSize": "20%", "WaitIntervalInSeconds": 150, "TerminationWaitInSeconds": 60}
TIRING = """
import xgboost

asked = 0


def model_fn(folder):
    return xgboost.Booster(model_file=folder + "/xgboost-model")


def predict_fn(data, model):
    global asked
    asked += 1
    if asked > {answers}:
        raise ValueError("tired")
    return model.predict(data)


def output_fn(predictions, accept):
    return "\\n".join(map(str, predictions)), "text/csv"
"""


def shifted(deployment: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    return {"Hosting": "real-time", "Deployment": deployment, "Parameters": TEN | parameters}


def bad_version(stage: Stage, answers: int) -> str:
    """Register a version that passes its health check, and fails after so many requests."""
    key = f"models/{stage.project.name}/bad/model.tar.gz"
    content = model_predicting(9, {"code/inference.py": TIRING.format(answers=answers).encode()})
    stage.aws.client("s3").put_object(Bucket=stage.project.bucket, Key=key, Body=content)
    url = f"s3://{stage.project.bucket}/{key}"
    return register(stage.aws, stage.project.group, model=url, program="inference.py")


class Traffic:
    """What a client was answered that asks without a pause, once each time."""

    def __init__(self) -> None:
        self.answers: list[float] = []
        self.failures: list[str] = []

    @property
    def share_of_failures(self) -> float:
        return len(self.failures) / max(len(self.answers) + len(self.failures), 1)


@contextmanager
def asking(stage: Stage) -> Iterator[Traffic]:
    traffic, ended = Traffic(), threading.Event()
    runtime = Hosting(stage.aws, stage.project, None).client("sagemaker-runtime", retries={"total_max_attempts": 1})

    def ask() -> None:
        while not ended.is_set():
            try:
                answer = runtime.invoke_endpoint(
                    EndpointName=stage.endpoint_name, Body=b"1,2,3", ContentType="text/csv"
                )
                traffic.answers.append(float(answer["Body"].read()))
            except ClientError as error:
                traffic.failures.append(str(error))
            ended.wait(0.02)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield traffic
    finally:
        ended.set()
        thread.join()


def test_a_good_version_takes_the_requests_over_and_the_log_says_how_far_it_is(stage: Stage) -> None:
    stage.version(5)
    log = succeeded(stage.host(shifted(CANARY)))
    assert "is new: nothing is shifted, canary is for its updates" in log
    stage.version(8)
    with asking(stage) as traffic:
        log = succeeded(stage.host(shifted(CANARY), POLL_SECONDS="0.3"))
    assert "10 % Baking (Baking for 300 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity" in log
    assert "100 % Baking (Baking for 60 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity" in log
    assert traffic.failures == []
    assert {round(answer) for answer in traffic.answers} == {5, 8}
    assert stage.prediction() == pytest.approx(8, abs=0.5)


def test_a_repository_keeps_its_own_template_and_is_guarded_all_the_same(stage: Stage) -> None:
    template = (ROOT / "seed-deploy" / "endpoint-config-template.yml").read_text()
    (stage.folder / "endpoint-config-template.yml").write_text(template)
    stage.version(5)
    content = {"Deployment": {"Strategy": "all-at-once", "TerminationWaitInSeconds": 60}}
    succeeded(stage.host(content))
    assert set(stage.resources()) == {"Model", "EndpointConfig", "Invocation5XXErrorsAlarm", "Endpoint"}
    assert (stage.folder / "endpoint-config-template.yml").read_text() == template
    stage.version(8)
    assert "100 % Baking" in succeeded(stage.host(content, POLL_SECONDS="0.3"))
    alarms = stage.aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=stage.stack_name())["MetricAlarms"]
    [dimensions] = [each["Dimensions"] for each in alarms]
    assert {"Name": "EndpointConfigName", "Value": stage.config()["EndpointConfigName"]} in dimensions
    succeeded(stage.host({}))
    assert set(stage.resources()) == {"Model", "EndpointConfig", "Endpoint"}


def test_every_mistake_is_named_at_once(stage: Stage) -> None:
    stage.version(5)
    stage.configure({"Hosting": "serverless", "Deployment": {"Strategy": "canary", "CanarySize": "60%"}})
    stage.configure({"Hosting": "real-time", "Deployment": {"Strategy": "canary"}}, "prod")
    result = stage.run("build")
    assert "3 problems" in failed(result, "SMCI-406")
    assert "staging-config.json: Deployment: SageMaker has deployment guardrails for real-time and" in result.stdout
    assert "staging-config.json: Deployment.CanarySize: 60% is not from 1% to 50%" in result.stdout
    assert "prod-config.json: Deployment.Strategy: canary takes 2 instances or more" in result.stdout


# --- before anything changes ----------------------------------------------------------------------------------------


def test_a_shift_that_outlives_the_job_is_refused_unless_it_is_the_first_deployment(stage: Stage) -> None:
    stage.version(5)
    hour = {"CI_JOB_TIMEOUT": "1800"}
    succeeded(stage.host(shifted(CANARY), **hour))
    before = stage.config()["EndpointConfigName"]
    stage.version(8)
    error = failed(stage.host(shifted(CANARY), **hour), "SMCI-411")
    assert "canary may take 36 min and 5 min around it, 41 min in all; this job has 30 min of its 30 min left" in error
    assert stage.config()["EndpointConfigName"] == before


def test_an_alarm_of_ones_own_has_to_be_there_and_off(stage: Stage) -> None:
    cloudwatch, name = stage.aws.client("cloudwatch"), f"{stage.project.name}-sales"
    content = shifted(CANARY | {"Alarms": {"Names": [name]}})
    stage.version(5)
    succeeded(stage.host(content))
    stage.version(8)
    assert f"there is no metric alarm {name}" in failed(stage.host(content), "SMCI-412")
    put_alarm(stage, name, TreatMissingData="breaching")
    assert f"{name} is in ALARM already: Threshold Crossed" in failed(stage.deploy(), "SMCI-412")
    put_alarm(stage, name, TreatMissingData="notBreaching")
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"] == "OK"
    succeeded(stage.deploy())


def put_alarm(stage: Stage, name: str, **settings: Any) -> None:
    stage.aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="Shop",
        MetricName=name,
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
        **settings,
    )


# --- back -----------------------------------------------------------------------------------------------------------


def test_what_autoscaling_made_of_the_instances_is_what_the_new_version_begins_with(stage: Stage) -> None:
    scaled = {"MinInstanceCount": 2, "MaxInstanceCount": 6, "EndpointInstanceCount": 2}
    content = {"Hosting": "real-time", "Deployment": CANARY | {"CanarySize": "20%"}, "Parameters": scaled}
    stage.version(5)
    succeeded(stage.host(content))
    sagemaker = stage.aws.client("sagemaker")
    desired = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 5}]
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=stage.endpoint_name, DesiredWeightsAndCapacities=desired
    )
    wait_for(lambda: stage.endpoint_status() == "InService")
    stage.version(8)
    log = succeeded(stage.host(content, POLL_SECONDS="0.3"))
    assert (
        "20 % Baking (Baking for 300 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1"
        in log
    )
    [variant] = sagemaker.describe_endpoint(EndpointName=stage.endpoint_name)["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 5


def test_rolling_and_an_asynchronous_endpoint_are_guarded_as_well(stage: Stage) -> None:
    rolling = {"Strategy": "rolling", "MaximumBatchSize": "30%", "WaitIntervalInSeconds": 60}
    content = {"Hosting": "asynchronous", "Deployment": rolling, "Parameters": TEN}
    stage.version(5)
    succeeded(stage.host(content))
    stage.version(8)
    log = succeeded(stage.host(content, POLL_SECONDS="0.3"))
    assert all(f"{share} % Baking" in log for share in (30, 60, 90, 100)), log
    assert stage.answer() == pytest.approx(8, abs=0.5)


@pytest.mark.parametrize(
    ("deployment", "answers", "most"), [(CANARY, 0, 0.1), (LINEAR, 30, 0.6)], ids=["canary", "linear"]
)
@pytest.mark.parametrize("noticed", [False, True], ids=["silently", "noticed"])
def test_an_alarm_in_the_middle_brings_the_old_version_back_and_the_job_names_it(
    stage: Stage, deployment: dict[str, Any], answers: int, most: float, noticed: bool
) -> None:
    stage.version(5)
    succeeded(stage.host(shifted(deployment)))
    bad_version(stage, answers)
    notice_rollbacks(stage.aws.state, noticed=noticed)
    try:
        with asking(stage) as traffic:
            result = stage.host(shifted(deployment), POLL_SECONDS="0.3")
    finally:
        notice_rollbacks(stage.aws.state, noticed=False)
    error = failed(result, "SMCI-413")
    assert f"alarm {stage.stack_name()}-Invocation5XXErrors: Threshold Crossed: 1 datapoint [" in error
    assert "was greater than the threshold (0.01)" in error
    assert f"endpoint {stage.endpoint_name} is InService and serves" in error
    assert error.endswith(f"{stage.project.group}/1")
    assert ("40 % Baking" in result.stdout) is (deployment is LINEAR), result.stdout
    assert "100 %" not in result.stdout
    assert 0 < traffic.share_of_failures <= most
    assert all("Received server error (500)" in failure for failure in traffic.failures), traffic.failures[:2]
    assert {round(stage.prediction()) for _ in range(30)} == {5}
    if not noticed:  # CloudFormation believes that the version is deployed: who comes later is told, too
        assert f"alarm {stage.stack_name()}-Invocation5XXErrors" in failed(stage.deploy(), "SMCI-413")


def test_an_alarm_that_is_off_again_when_the_job_looks_is_named_from_its_history(stage: Stage) -> None:
    name = f"{stage.project.name}-sales"
    put_alarm(stage, name, TreatMissingData="notBreaching")
    content = shifted(CANARY | {"WaitIntervalInSeconds": 600, "Alarms": {"Names": [name]}})
    stage.version(5)
    succeeded(stage.host(content))
    stage.version(8)
    stage.build()
    job = start(stage, POLL_SECONDS="30")  # it looks once: after all is over
    sagemaker, cloudwatch = stage.aws.client("sagemaker"), stage.aws.client("cloudwatch")
    wait_for(lambda: "canary capacity" in str(sagemaker.describe_endpoint(EndpointName=stage.endpoint_name)))
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="nobody buys anything")
    error = failed(finished(job, seconds=120), "SMCI-413")
    assert f"alarm {name}: nobody buys anything; endpoint {stage.endpoint_name} is InService and serves" in error
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"] == "OK"


def test_going_back_is_guarded_in_the_same_way_and_then_the_version_can_be_tried_again(stage: Stage) -> None:
    stage.version(5)
    succeeded(stage.host(shifted(CANARY)))
    bad_version(stage, 0)
    with asking(stage):
        result = stage.host(shifted(CANARY), POLL_SECONDS="0.3")
    failed(result, "SMCI-413")
    assert "run `sagemaker-ci rollback --stage staging`" in result.stderr
    log = succeeded(stage.run("rollback", "--stage", "staging", POLL_SECONDS="0.3"))
    assert "shift:         canary, guarded by" in log
    assert "10 % Baking" in log
    with asking(stage):
        failed(stage.deploy(POLL_SECONDS="0.3"), "SMCI-413")
    assert {round(stage.prediction()) for _ in range(10)} == {5}
