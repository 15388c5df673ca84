"""`sagemaker-ci deploy`: the asked version serves, or the job says why not."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json

import pytest

from ci_scripts import endpoint, errors
from tests.support.deployment import (  # noqa: F401 - the fixture
    BROKEN_MODEL,
    Deployment,
    change_sets,
    create_user,
    deployment,
    failed,
    forbid,
    start,
    succeeded,
)
from tests.support.hosting import model_predicting
from tests.support.servers import IMAGE, create_role
from tests.support.waiting import wait_for


def test_a_deployed_endpoint_serves_the_asked_model_package(deployment: Deployment) -> None:
    arn = deployment.register(model_predicting(4.0))
    deployment.build()
    log = succeeded(deployment.deploy())
    assert deployment.prediction() == pytest.approx(4.0)
    lines = log.splitlines()
    assert lines[0].split() == ["stage:", "staging"]
    assert lines[3].split() == ["model", "package:", arn]
    assert "add Endpoint (AWS::SageMaker::Endpoint)" in log
    assert "CREATE_COMPLETE Endpoint (AWS::SageMaker::Endpoint)" in log
    dotenv = (deployment.folder / "sagemaker-ci-reports/job.env").read_text()
    assert f"ENDPOINT_NAME={deployment.project.name}-staging\nMODEL_PACKAGE_ARN={arn}\n" in dotenv
    stack = deployment.stack()
    assert stack is not None
    assert {"Key": "sagemaker:deployment-stage", "Value": "staging"} in stack["Tags"]


def test_a_second_deployment_without_change_is_a_success_that_verifies_and_executes_nothing(
    deployment: Deployment,
) -> None:
    # CloudFormation hides such a value wherever it is asked for it.
    deployment.edit_template("Parameters:\n", "Parameters:\n  ApiKey: {Type: String, NoEcho: true}\n")
    for stage in ("staging", "prod"):
        path = deployment.folder / f"{stage}-config.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"Parameters": content.get("Parameters", {}) | {"ApiKey": "hush-hush"}}))
    deployment.register(model_predicting(4.0))
    deployment.build()
    first = succeeded(deployment.deploy())
    executed = deployment.calls("ExecuteChangeSet")
    log = succeeded(deployment.deploy())
    assert "hush-hush" not in first + log
    assert "no change" in log
    assert "is InService and serves" in log
    assert deployment.calls("ExecuteChangeSet") == executed
    stack = deployment.stack()
    assert stack is not None
    change_sets = deployment.aws.client("cloudformation").list_change_sets(StackName=stack["StackId"])["Summaries"]
    assert [each for each in change_sets if each["Status"] == "FAILED"] == []


def of_pipeline(number: int) -> dict[str, str]:
    """GitLab's predefined variables of a job in this pipeline."""
    return {"CI_JOB_ID": f"{number}1", "CI_PIPELINE_ID": str(number), "CI_PROJECT_ID": "4711"}


def test_an_older_approvals_pipeline_does_not_take_back_what_a_newer_one_brought(deployment: Deployment) -> None:
    older, newer = deployment.register(model_predicting(4.0)), deployment.register(model_predicting(9.0))
    deployment.build(newer)
    succeeded(deployment.deploy(**of_pipeline(7)))
    succeeded(deployment.deploy(**of_pipeline(8)))  # no change
    deployment.build(older)
    error = failed(deployment.deploy(**of_pipeline(6)), "SMCI-505")
    assert error.endswith(f"pipeline 8 has deployed to {deployment.stack_name()} since pipeline 6 began")
    assert deployment.prediction() == pytest.approx(9.0)
    succeeded(deployment.deploy(**of_pipeline(9)))  # on purpose: a new pipeline for the older version
    assert deployment.prediction() == pytest.approx(4.0)


def test_a_new_version_replaces_the_old_one_behind_the_same_endpoint(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy())
    deployment.register(model_predicting(9.0))
    deployment.build()
    log = succeeded(deployment.deploy())
    assert "replace Model (AWS::SageMaker::Model)" in log
    assert deployment.prediction() == pytest.approx(9.0)
    assert "CREATE_COMPLETE Endpoint " not in log  # events of the first deployment are not told again


def test_prod_gets_the_exported_version_although_a_newer_one_was_approved_in_between(deployment: Deployment) -> None:
    arn = deployment.register(model_predicting(4.0))
    deployment.build()
    exported = (deployment.folder / "prod-config-export.json").read_bytes()
    succeeded(deployment.deploy("staging"))
    deployment.register(model_predicting(9.0))
    for path in deployment.folder.glob("*-config.json"):
        path.unlink()  # nothing but the export is looked at
    (deployment.folder / "endpoint-config-template.yml").unlink()
    log = succeeded(deployment.deploy("prod"))
    assert arn in log
    assert deployment.prediction("prod") == pytest.approx(4.0)
    assert (deployment.folder / "prod-config-export.json").read_bytes() == exported
    stack = deployment.stack("prod")
    assert stack is not None
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert parameters == json.loads(exported)["Parameters"]


def test_an_export_that_was_changed_after_build_is_refused(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    report = (deployment.folder / "sagemaker-ci-reports/job.env").read_text()
    variables = dict(line.split("=", 1) for line in report.splitlines())
    path = deployment.folder / "prod-config-export.json"
    path.write_text(path.read_text().replace("ml.t2.medium", "ml.m5.xlarge"))
    failed(deployment.deploy("prod", **variables), "SMCI-408")
    assert deployment.stack("prod") is None


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval"])
def test_a_version_that_lost_its_approval_after_build_is_refused_before_anything_is_touched(
    deployment: Deployment, status: str
) -> None:
    arn = deployment.register(model_predicting(4.0))
    deployment.build()
    deployment.aws.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)
    change_sets = deployment.calls("CreateChangeSet")
    failed(deployment.deploy(), "SMCI-403")
    assert deployment.stack() is None
    assert deployment.calls("CreateChangeSet") == change_sets


def test_a_resource_that_cloudformation_cannot_create_is_the_named_cause_and_the_next_deploy_replaces_the_stack(
    deployment: Deployment,
) -> None:
    arn = deployment.register(model_predicting(4.0))
    key = f"s3://{deployment.project.bucket}/"
    package = deployment.aws.client("sagemaker").describe_model_package(ModelPackageName=arn)
    url = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    deployment.aws.client("s3").delete_object(Bucket=deployment.project.bucket, Key=url.removeprefix(key))
    deployment.build()
    error = failed(deployment.deploy(), "SMCI-503")
    assert "CREATE_FAILED Model (AWS::SageMaker::Model): " in error
    assert "Could not find model data" in error
    stack = deployment.stack()
    assert stack is not None
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"

    deployment.register(model_predicting(4.0))
    deployment.build()
    log = succeeded(deployment.deploy())
    assert "ROLLBACK_COMPLETE, the remains" in log
    assert deployment.prediction() == pytest.approx(4.0)


def test_an_endpoint_that_never_becomes_healthy_is_the_named_cause(deployment: Deployment) -> None:
    deployment.register(BROKEN_MODEL)
    deployment.build()
    error = failed(deployment.deploy(), "SMCI-503")
    assert "CREATE_FAILED Endpoint (AWS::SageMaker::Endpoint): " in error
    assert "ping" in error


def test_a_failure_keeps_its_cause_when_nobody_may_look_what_serves_now(deployment: Deployment) -> None:
    deployment.register(BROKEN_MODEL)
    deployment.build()
    user, keys = create_user(deployment.aws)
    forbid(deployment.aws, user, "sagemaker:DescribeEndpoint")
    role = create_role(deployment.aws, f"for-cfn-{deployment.project.name}", "cloudformation.amazonaws.com")
    result = deployment.deploy(**keys, CLOUDFORMATION_ROLE_ARN=role)
    assert "CREATE_FAILED Endpoint" in failed(result, "SMCI-503")
    assert "what is left cannot be seen: " in result.stdout


def test_a_silent_rollback_is_a_failure_and_the_previous_version_still_serves(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy())
    deployment.register(BROKEN_MODEL)
    deployment.build()
    error = failed(deployment.deploy(), "SMCI-603")
    assert "previous configuration" in error
    assert deployment.prediction() == pytest.approx(4.0)
    stack = deployment.stack()
    assert stack is not None
    assert stack["StackStatus"] == "UPDATE_COMPLETE"  # CloudFormation noticed nothing
    failed(deployment.deploy(), "SMCI-603")  # and a retry, which changes nothing, is no success either

    deployment.register(model_predicting(9.0))
    deployment.build()
    succeeded(deployment.deploy())
    assert deployment.prediction() == pytest.approx(9.0)


def test_a_failed_update_names_its_cause_and_the_previous_version_still_serves(deployment: Deployment) -> None:
    first = deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy())
    deployment.edit_template(
        "\nOutputs:\n",
        "\n  Queue:\n    Type: AWS::SQS::Queue\n    DependsOn: Endpoint\n    Properties:\n"
        "      QueueName: no.such.name\n\nOutputs:\n",
    )
    deployment.register(model_predicting(9.0))
    deployment.build()
    result = deployment.deploy()
    error = failed(result, "SMCI-503")
    assert "Queue (AWS::SQS::Queue)" in error
    assert "UPDATE_ROLLBACK_COMPLETE" in error
    assert f"is InService and serves {first}" in result.stdout
    assert deployment.prediction() == pytest.approx(4.0)


def test_whatever_a_template_expands_to_is_acknowledged(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy())
    stack = deployment.stack()
    assert stack is not None
    assert set(stack["Capabilities"]) == {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"}


def test_an_endpoint_with_another_name_than_the_jobs_expect_is_an_error(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.edit_template("${SageMakerProjectName}-${StageName}", "${SageMakerProjectName}-x-${StageName}")
    deployment.build()
    failed(deployment.deploy(), "SMCI-601")


def test_a_template_that_serves_another_model_is_an_error(deployment: Deployment) -> None:
    other = deployment.register(model_predicting(9.0))
    deployment.register(model_predicting(4.0))
    deployment.edit_template("ModelPackageName: !Ref ModelPackageName", f"ModelPackageName: {other}")
    deployment.build()
    error = failed(deployment.deploy(), "SMCI-604")
    assert f"serves {other}" in error


def test_a_model_of_the_packages_image_and_data_counts_as_the_package(deployment: Deployment) -> None:
    arn = deployment.register(model_predicting(4.0))
    package = deployment.aws.client("sagemaker").describe_model_package(ModelPackageName=arn)
    url = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    deployment.edit_template(
        "- ModelPackageName: !Ref ModelPackageName", f"- Image: {IMAGE}\n          ModelDataUrl: {url}"
    )
    deployment.build()
    succeeded(deployment.deploy())


def test_a_template_too_long_for_a_request_goes_through_the_artifact_bucket(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.edit_template("\nOutputs:\n", "\n" + "# a long comment\n" * 4000 + "\nOutputs:\n")
    deployment.build()
    assert "sent by way of s3://" in succeeded(deployment.deploy())
    assert deployment.prediction() == pytest.approx(4.0)


def test_a_stack_that_is_busy_with_another_update_is_waited_for(deployment: Deployment) -> None:
    deployment.register_slow(4.0)
    deployment.build()
    first = start(deployment)
    wait_for(lambda: (deployment.stack() or {}).get("StackStatus") == "CREATE_IN_PROGRESS")
    log = succeeded(deployment.deploy())
    assert "CREATE_IN_PROGRESS, waiting" in log
    assert "no change" in log
    assert first.wait(timeout=60) == 0


def test_a_failed_endpoint_is_refused_before_the_stack_is_touched(deployment: Deployment) -> None:
    change_sets = break_the_endpoint(deployment).calls("CreateChangeSet")
    failed(deployment.deploy(), "SMCI-605")  # which waited for the endpoint to come to rest
    assert deployment.calls("CreateChangeSet") == change_sets


def test_an_endpoint_that_is_not_in_service_is_not_tested(deployment: Deployment) -> None:
    result = break_the_endpoint(deployment).run("test", "--stage", "staging")
    assert "is Failed: " in failed(result, "SMCI-602")


def break_the_endpoint(deployment: Deployment) -> Deployment:
    """Deploy, then let the endpoint become Failed."""
    sagemaker = deployment.aws.client("sagemaker")
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy())
    # Behind CloudFormation's back: the endpoint is deleted and made anew from a model that cannot start.
    name = f"{deployment.project.name}-staging"
    sagemaker.delete_endpoint(EndpointName=name)
    wait_for(lambda: endpoint.describe(sagemaker, name) is None)
    broken = deployment.register(BROKEN_MODEL)
    sagemaker.create_model(
        ModelName=f"{name}-broken",
        ExecutionRoleArn=deployment.project.model_role,
        Containers=[{"ModelPackageName": broken}],
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName=f"{name}-broken",
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": f"{name}-broken",
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-broken")
    return deployment


def test_an_endpoint_that_does_not_answer_is_an_error_with_the_containers_words(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy())
    runtime = deployment.aws.client("sagemaker-runtime")
    with pytest.raises(errors.InvocationFailed, match="Number of columns does not match"):
        endpoint.invoke(runtime, f"{deployment.project.name}-staging", b"1,2,3,4,5,6,7,8,9,10,11", "text/csv")
    with pytest.raises(errors.InvocationFailed, match="not found"):
        endpoint.invoke(runtime, f"{deployment.project.name}-prod", b"1,2,3", "text/csv")


def test_a_missing_export_is_named(deployment: Deployment) -> None:
    assert "staging-config-export.json is missing" in failed(deployment.deploy(), "SMCI-407")
