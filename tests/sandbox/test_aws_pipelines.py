"""Pipeline executions of the sandbox's SageMaker: steps really run, and everything tells what became of them."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.sagemaker_pipelines import Json, World, gate, training


def test_a_good_model_is_registered(world: World) -> None:
    arn = world.start(*gate(world))
    assert world.end(arn)["PipelineExecutionStatus"] == "Succeeded"
    steps = world.steps(arn)
    assert list(steps) == ["Register", "Gate", "Evaluate"], "the service lists the newest step first"
    assert {step["StepStatus"] for step in steps.values()} == {"Succeeded"}
    assert steps["Gate"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    package = steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    description = world.sagemaker.describe_model_package(ModelPackageName=package)
    assert description["ModelApprovalStatus"] == "PendingManualApproval"
    report = f"s3://{world.project.bucket}/out/evaluation"
    assert description["CustomerMetadataProperties"] == {"Execution": arn.rpartition("/")[2], "Report": report}
    assert json.loads(world.object("out/evaluation/evaluation.json"))["metrics"]["mse"]["value"] == 4.5


def test_a_model_above_the_threshold_is_not_registered(world: World) -> None:
    parameters = [{"Name": "Threshold", "Type": "Float", "DefaultValue": 6.0}]
    arn = world.start(
        *gate(world, {"Get": "Parameters.Threshold"}),
        parameters=parameters,
        PipelineParameters=[{"Name": "Threshold", "Value": "4.4"}],
    )
    assert world.end(arn)["PipelineExecutionStatus"] == "Succeeded"
    steps = world.steps(arn)
    assert steps["Gate"]["Metadata"] == {"Condition": {"Outcome": "False"}}
    assert "Register" not in steps
    group = world.project.group
    assert world.sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"] == []


def test_a_failing_step_fails_the_execution_and_its_log_tells_why(world: World) -> None:
    broken = world.processing("Broken", "print('reading'); raise ValueError('no such column')")
    after = world.processing("After", "print('never')", DependsOn=["Broken"])
    arn = world.start(broken, after)
    execution = world.end(arn)
    assert (execution["PipelineExecutionStatus"], execution["FailureReason"]) == (
        "Failed",
        "Step failure: One or multiple steps failed.",
    )
    steps = world.steps(arn)
    assert list(steps) == ["Broken"]
    assert steps["Broken"]["StepStatus"] == "Failed"
    assert steps["Broken"]["FailureReason"] == "ClientError: AlgorithmError: See job logs for more information"
    lines = world.log(steps["Broken"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2])
    assert lines[0] == "reading"
    assert lines[-1] == "ValueError: no such column"


def test_a_containers_own_words_become_the_exit_message(world: World) -> None:
    script = "open('/opt/ml/output/message', 'w').write('bad rows'); raise SystemExit(1)"
    arn = world.start(world.processing("Broken", script))
    world.end(arn)
    job = world.steps(arn)["Broken"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    assert world.sagemaker.describe_processing_job(ProcessingJobName=job)["ExitMessage"] == "bad rows"


def test_stopping_an_execution_stops_its_job(world: World) -> None:
    arn = world.start(world.processing("Sleep", "import time; print('asleep'); time.sleep(60)"))
    job = world.await_job(arn, "Sleep")
    world.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert world.end(arn)["PipelineExecutionStatus"] == "Stopped"
    assert world.steps(arn)["Sleep"]["StepStatus"] == "Stopped"
    description = world.sagemaker.describe_processing_job(ProcessingJobName=job)
    assert description["ProcessingJobStatus"] == "Stopped"
    assert (description["ProcessingEndTime"] - description["ProcessingStartTime"]).total_seconds() < 20
    with pytest.raises(ClientError, match="Only an Executing execution can be stopped"):
        world.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)


def test_a_retry_resumes_from_the_failed_step(world: World) -> None:
    first = world.processing("First", "print('once')")
    script = "import os, sys; sys.exit('gone.txt' not in os.listdir('/opt/ml/processing/data'))"
    world.s3.put_object(Bucket=world.project.bucket, Key="data/always.txt", Body=b"")
    data = {"data": f"s3://{world.project.bucket}/data"}
    arn = world.start(first, world.processing("Second", script, inputs=data, DependsOn=["First"]))
    assert world.end(arn)["PipelineExecutionStatus"] == "Failed"
    before = world.steps(arn)
    world.s3.put_object(Bucket=world.project.bucket, Key="data/gone.txt", Body=b"")
    for _ in range(2):  # the same token again is the same retry
        world.sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="r" * 32)
    assert world.end(arn)["PipelineExecutionStatus"] == "Succeeded"
    after = world.steps(arn)
    assert after["First"] == before["First"]
    assert after["Second"]["StepStatus"] == "Succeeded"
    assert after["Second"]["AttemptCount"] == 2
    with pytest.raises(ClientError, match="Only Failed or Stopped executions can be retried"):
        world.sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="s" * 32)


def test_a_request_token_starts_one_execution(world: World) -> None:
    arn = world.start({"Name": "End", "Type": "Fail", "Arguments": {}}, ClientRequestToken="t" * 32)
    name = arn.split("/")[1]
    start = world.sagemaker.start_pipeline_execution
    assert start(PipelineName=name, ClientRequestToken="t" * 32)["PipelineExecutionArn"] == arn
    assert start(PipelineName=name, ClientRequestToken="u" * 32)["PipelineExecutionArn"] != arn
    listed = world.sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
    assert len(listed) == 2


def test_independent_steps_run_side_by_side(world: World) -> None:
    arn = world.start(*[world.processing(name, "import time; time.sleep(0.5)") for name in ("Left", "Right")])
    world.end(arn)
    left, right = (world.steps(arn)[name] for name in ("Left", "Right"))
    assert left["StartTime"] < right["EndTime"]
    assert right["StartTime"] < left["EndTime"]


def test_a_fail_step_says_what_it_was_told_to(world: World) -> None:
    message = {"Std:Join": {"On": ": ", "Values": ["too bad", {"Get": "Parameters.Limit"}]}}
    fail = {"Name": "Enough", "Type": "Fail", "Arguments": {"ErrorMessage": message}}
    arn = world.start(fail, parameters=[{"Name": "Limit", "Type": "Integer", "DefaultValue": 3}])
    assert world.end(arn)["PipelineExecutionStatus"] == "Failed"
    step = world.steps(arn)["Enough"]
    assert step["FailureReason"] == "too bad: 3"
    assert step["Metadata"] == {"Fail": {"ErrorMessage": "too bad: 3"}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"AppSpecification": {"ImageUri": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine:1"}},
            "ClientError: The sandbox does not have the image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine:1",
        ),
        (
            {"RoleArn": "arn:aws:iam::123456789012:role/nobody"},
            "ClientError: Failed to invoke sagemaker:CreateProcessingJob. Error Details: Could not assume role",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 1}},
            "ClientError: Processing job stopped",
        ),
    ],
)
def test_a_job_that_cannot_run_gives_the_services_reason(world: World, change: Json, reason: str) -> None:
    arn = world.start(world.processing("Work", "import time; time.sleep(30)", Arguments=change))
    assert world.end(arn)["PipelineExecutionStatus"] == "Failed"
    assert world.steps(arn)["Work"]["FailureReason"].startswith(reason)


def test_missing_input_data_is_named(world: World) -> None:
    data = {"data": f"s3://{world.project.bucket}/nothing/here"}
    arn = world.start(world.processing("Work", "", inputs=data))
    world.end(arn)
    assert f'No S3 objects found under S3 URL "{data["data"]}"' in world.steps(arn)["Work"]["FailureReason"]


def test_an_unknown_step_type_fails_clearly(world: World) -> None:
    arn = world.start({"Name": "Ask", "Type": "Callback", "Arguments": {}})
    world.end(arn)
    reason = world.steps(arn)["Ask"]["FailureReason"]
    assert reason.startswith("The sandbox does not have steps of type Callback; it has Condition, Fail, Lambda, Model,")


def test_training_leaves_a_model_archive_and_its_rounds_in_the_log(world: World) -> None:
    arn = world.start(training(world, num_round="3", objective="reg:squarederror"))
    assert world.end(arn)["PipelineExecutionStatus"] == "Succeeded"
    name = world.steps(arn)["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    job = world.sagemaker.describe_training_job(TrainingJobName=name)
    assert job["SecondaryStatus"] == "Completed"
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{world.project.bucket}/models/{name}/output/model.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(world.object(f"models/{name}/output/model.tar.gz"))) as tar:
        assert tar.getnames() == ["xgboost-model"]
    rounds = [line for line in world.log(name, "Training") if "\ttrain-rmse:" in line]
    assert [line.split("\t")[0] for line in rounds] == ["[0]", "[1]", "[2]"]


def test_a_wrong_hyperparameter_is_told_in_the_log_and_cut_off_in_the_failure_reason(world: World) -> None:
    arn = world.start(training(world, num_round="3", depth="7"))
    world.end(arn)
    step = world.steps(arn)["Train"]
    assert step["FailureReason"].startswith("ClientError: AlgorithmError: framework error:")
    # The traceback before it is longer than what SageMaker shows of a reason.
    assert "Extraneous hyperparameter found: depth" not in step["FailureReason"]
    name = step["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    assert any("Extraneous hyperparameter found: depth" in line for line in world.log(name, "Training"))
    job = world.sagemaker.describe_training_job(TrainingJobName=name)
    assert job["ModelArtifacts"] == {
        "S3ModelArtifacts": f"s3://{world.project.bucket}/models/{name}/output/model.tar.gz"
    }


def test_steps_act_as_the_pipelines_role(world: World) -> None:
    arn = world.start(world.processing("Who", "print('me')"))
    world.end(arn)
    session = f"{world.project.pipeline_role.rpartition('/')[2]}/sagemaker-pipeline-{arn.rpartition('/')[2]}-Who"
    calls = [json.loads(line) for line in (world.aws.state / "requests.jsonl").read_text().splitlines()]
    assert "CreateProcessingJob" in {call["operation"] for call in calls if call["principal"].endswith(session)}


def test_a_job_reaches_aws_with_its_roles_credentials(world: World) -> None:
    # As in SageMaker, AWS_REGION is set, which boto3 does not read by itself.
    client = "boto3.client('sts', region_name=os.environ['AWS_REGION'])"
    script = f"import boto3, os; print({client}.get_caller_identity()['Arn'])"
    arn = world.start(world.processing("Who", script))
    assert world.end(arn)["PipelineExecutionStatus"] == "Succeeded"
    job = world.steps(arn)["Who"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    role = world.project.pipeline_role.rpartition("/")[2]
    assert world.log(job) == [f"arn:aws:sts::123456789012:assumed-role/{role}/SageMaker"]


def test_a_pipeline_is_described_updated_and_missed_as_the_service_does(world: World) -> None:
    document = {"Version": "2020-12-01", "Steps": [{"Name": "End", "Type": "Fail", "Arguments": {}}]}
    world.s3.put_object(Bucket=world.project.bucket, Key="definition.json", Body=json.dumps(document).encode())
    location = {"Bucket": world.project.bucket, "ObjectKey": "definition.json"}
    name, role = world.project.group, world.project.pipeline_role
    client: Any = world.sagemaker
    with pytest.raises(ClientError, match=f"pipeline/{name}' does not exist") as missing:
        client.describe_pipeline(PipelineName=name)
    assert missing.value.response["Error"]["Code"] == "ResourceNotFound"
    client.create_pipeline(PipelineName=name, PipelineDefinitionS3Location=location, RoleArn=role)
    before = client.describe_pipeline(PipelineName=name)
    assert json.loads(before["PipelineDefinition"]) == document
    with pytest.raises(ClientError, match="Pipeline names must be unique"):
        client.create_pipeline(PipelineName=name, PipelineDefinitionS3Location=location, RoleArn=role)
    with pytest.raises(ClientError, match="Unable to parse pipeline definition"):
        client.update_pipeline(PipelineName=name, PipelineDefinition='{"Version": "2020-12-01"}')
    client.update_pipeline(PipelineName=name, PipelineDefinition=json.dumps({**document, "Metadata": {}}))
    after = client.describe_pipeline(PipelineName=name)
    assert json.loads(after["PipelineDefinition"]) == {**document, "Metadata": {}}
    assert after["LastModifiedTime"] > before["LastModifiedTime"]


def test_every_update_makes_a_version_and_any_version_can_be_described_and_started(world: World) -> None:
    client, name = world.sagemaker, world.project.group
    texts = [
        json.dumps({"Version": "2020-12-01", "Steps": [{"Name": step, "Type": "Fail", "Arguments": {}}]})
        for step in ("First", "Second")
    ]
    client.create_pipeline(PipelineName=name, PipelineDefinition=texts[0], RoleArn=world.project.pipeline_role)
    assert client.update_pipeline(PipelineName=name, PipelineDefinition=texts[1])["PipelineVersionId"] == 2
    assert client.update_pipeline(PipelineName=name, PipelineDescription="no definition")["PipelineVersionId"] == 2

    def listed(**request: Any) -> list[int]:
        rows = client.list_pipeline_versions(PipelineName=name, **request)["PipelineVersionSummaries"]
        return [row["PipelineVersionId"] for row in rows]

    assert listed() == [2, 1]
    assert listed(SortOrder="Descending", MaxResults=1) == [2]
    assert listed(SortOrder="Ascending", MaxResults=1) == [1]
    for version, text in ((None, texts[1]), (1, texts[0]), (2, texts[1])):
        which = {"PipelineName": name} | ({"PipelineVersionId": version} if version else {})
        assert client.describe_pipeline(**which)["PipelineDefinition"] == text
        arn = client.start_pipeline_execution(**which)["PipelineExecutionArn"]
        ran = client.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)["PipelineDefinition"]
        assert ran == text
        execution = client.describe_pipeline_execution(PipelineExecutionArn=arn)
        assert execution["PipelineVersionId"] == (version or 2)
    with pytest.raises(ClientError, match="has no version 3"):
        client.start_pipeline_execution(PipelineName=name, PipelineVersionId=3)


def test_an_execution_remembers_its_definition(world: World) -> None:
    parameters = [{"Name": name, "Type": "String", "DefaultValue": "x"} for name in ("Given", "Default")]
    fail = {"Name": "End", "Type": "Fail", "Arguments": {}}
    arn = world.start(fail, parameters=parameters, PipelineParameters=[{"Name": "Given", "Value": "y"}])
    client: Any = world.sagemaker
    client.update_pipeline(PipelineName=arn.split("/")[1], PipelineDescription="changed")
    text = client.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)["PipelineDefinition"]
    assert json.loads(text)["Steps"] == [fail]
    with pytest.raises(ClientError, match="Unknown parameters"):
        client.start_pipeline_execution(
            PipelineName=arn.split("/")[1], PipelineParameters=[{"Name": "Other", "Value": "z"}]
        )


def test_a_line_is_cut_at_what_an_event_of_cloudwatch_may_hold(world: World) -> None:
    arn = world.start(world.processing("Work", "print('x' * 2_500_000)"))
    assert world.end(arn)["PipelineExecutionStatus"] == "Succeeded"
    lines = world.log(world.steps(arn)["Work"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2])
    assert [len(line) for line in lines] == [1_048_550, 1_048_550, 2_500_000 - 2 * 1_048_550]
