"""`sagemaker-ci deploy` and stacks that others touch, that are left in between, or that it must leave."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.support.deployment import (  # noqa: F401 - the fixture
    BROKEN_MODEL,
    Deployment,
    create_user,
    deployment,
    failed,
    finished,
    forbid,
    start,
    succeeded,
)
from tests.support.hosting import model_predicting
from tests.support.waiting import wait_for


def test_the_cause_inside_a_nested_stack_is_named(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    s3, bucket = deployment.aws.client("s3"), deployment.project.bucket
    inner = b"Resources: {Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: no.such.name}}}"
    s3.put_object(Bucket=bucket, Key="inner.yml", Body=inner)
    url = f"{deployment.aws.url}/{bucket}/inner.yml"
    deployment.edit_template(
        "\nOutputs:\n",
        f"\n  Alarms:\n    Type: AWS::CloudFormation::Stack\n    Properties:\n      TemplateURL: {url}\n\nOutputs:\n",
    )
    deployment.build()
    result = deployment.deploy()
    error = failed(result, "SMCI-503")
    assert error.startswith("error SMCI-503: CREATE_FAILED Queue (AWS::SQS::Queue): ")
    assert " in the nested stack Alarms; the stack " in error
    assert "in the nested stack Alarms: CREATE_FAILED Queue" in result.stdout


def test_a_stack_that_was_left_in_review_is_deployed_to(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    deployment.aws.client("cloudformation").create_change_set(
        StackName=f"sagemaker-{deployment.project.name}-{deployment.project.id}-deploy-staging",
        ChangeSetName="left-behind",
        ChangeSetType="CREATE",
        TemplateBody="Resources: {Queue: {Type: AWS::SQS::Queue}}",
    )
    assert ": REVIEW_IN_PROGRESS\n" in succeeded(deployment.deploy())
    assert deployment.prediction() == pytest.approx(4.0)


def test_a_cancelled_job_says_what_the_stack_is_doing_and_the_next_run_takes_over(deployment: Deployment) -> None:
    deployment.register_slow(4.0)
    deployment.build()
    job = start(deployment)
    wait_for(lambda: (deployment.stack() or {}).get("StackStatus") == "CREATE_IN_PROGRESS")
    job.send_signal(signal.SIGTERM)
    _, errors = job.communicate(timeout=30)
    assert job.returncode == 1
    assert errors.startswith("error SMCI-103: cancelled by SIGTERM; the stack sagemaker-")
    assert "CREATE_IN_PROGRESS" in errors
    assert "Traceback" not in errors
    succeeded(deployment.deploy())
    assert deployment.prediction() == pytest.approx(4.0)


def test_a_cancelled_job_stays_one_when_nobody_may_look_at_the_stack(deployment: Deployment) -> None:
    deployment.register_slow(4.0)
    deployment.build()
    user, keys = create_user(deployment.aws)
    job = start(deployment, **keys)
    wait_for(lambda: "CREATE_IN_PROGRESS Endpoint" in deployment.events())
    forbid(deployment.aws, user, "cloudformation:DescribeStacks")
    job.send_signal(signal.SIGTERM)
    assert "cancelled by SIGTERM; what is left cannot be seen: " in failed(finished(job), "SMCI-103")


def cancel_an_update(deployment: Deployment) -> subprocess.CompletedProcess[str]:
    """Deploy twice and cancel the second deployment in the console, while SageMaker already moves the endpoint."""
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy())
    deployment.register_slow(9.0)
    deployment.build()
    job = start(deployment)
    cloudformation = deployment.aws.client("cloudformation")
    wait_for(lambda: deployment.endpoint_status() == "Updating")
    cloudformation.cancel_update_stack(
        StackName=deployment.stack_name(), ClientRequestToken="Console-CancelUpdateStack-1"
    )
    return finished(job)


def test_an_update_that_somebody_else_cancels_ends_the_job_with_that_cause(deployment: Deployment) -> None:
    error = failed(cancel_an_update(deployment), "SMCI-503")
    assert "another caller ended the deployment (client request token Console-CancelUpdateStack-1)" in error


def test_a_stack_whose_rollback_failed_is_refused_with_the_way_out_of_it(deployment: Deployment) -> None:
    cancel_an_update(deployment)  # the rollback fails: an endpoint takes no update while it is Updating
    result = deployment.deploy()
    assert "is UPDATE_ROLLBACK_FAILED" in failed(result, "SMCI-501")
    assert f"`aws cloudformation continue-update-rollback --stack-name {deployment.stack_name()}`" in result.stderr

    wait_for(lambda: deployment.endpoint_status() == "InService")
    deployment.aws.client("cloudformation").continue_update_rollback(StackName=deployment.stack_name())
    succeeded(deployment.deploy())
    assert deployment.prediction() == pytest.approx(9.0)


def test_a_stack_that_somebody_else_deletes_meanwhile_ends_the_job_with_that_cause(deployment: Deployment) -> None:
    deployment.register_slow(4.0)
    deployment.build()
    job = start(deployment)
    wait_for(lambda: "CREATE_IN_PROGRESS Endpoint" in deployment.events())
    deployment.aws.client("cloudformation").delete_stack(
        StackName=deployment.stack_name(), ClientRequestToken="Console-DeleteStack-1"
    )
    error = failed(finished(job), "SMCI-503")
    assert "another caller ended the deployment (client request token Console-DeleteStack-1)" in error
    assert "ended in DELETE_COMPLETE" in error


def test_remains_that_cannot_be_deleted_are_an_error_that_names_what_blocks(deployment: Deployment) -> None:
    s3, bucket = deployment.aws.client("s3"), f"{deployment.project.name}-logs"
    deployment.edit_template(
        "\nOutputs:\n",
        f"\n  Logs:\n    Type: AWS::S3::Bucket\n    Properties:\n      BucketName: {bucket}\n\nOutputs:\n",
    )
    kind = "Type: AWS::SageMaker::Endpoint\n"
    deployment.edit_template(kind, f"{kind}    DependsOn: Logs\n")
    deployment.register(BROKEN_MODEL)
    deployment.build()
    job = start(deployment)
    wait_for(lambda: "CREATE_COMPLETE Logs" in deployment.events())  # long before the endpoint has failed
    s3.put_object(Bucket=bucket, Key="log", Body=b"")
    assert "ROLLBACK_FAILED" in failed(finished(job), "SMCI-503")
    error = failed(deployment.deploy(), "SMCI-504")
    assert "DELETE_FAILED Logs (AWS::S3::Bucket): " in error

    s3.delete_object(Bucket=bucket, Key="log")
    deployment.aws.client("cloudformation").delete_stack(StackName=deployment.stack_name())
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy())
