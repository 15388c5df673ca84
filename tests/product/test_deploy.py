"""`sagemaker-ci deploy` against the sandbox's CloudFormation and SageMaker: what becomes of stack and endpoint."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import pytest

from bench.fault_proxy import Call, FaultProxy
from ci_scripts import endpoint, errors
from ci_scripts.change_set import Plan, deploy, execute, prepare
from ci_scripts.stack import physical_ids
from ci_scripts.stack_rules import Action
from tests.support.hosting import archive, model_predicting
from tests.support.servers import IMAGE, ROOT, Aws, Project, create_role, register, sagemaker_ci
from tests.support.waiting import wait_for

SLOW_TO_START = b"""
import time

import xgboost


def model_fn(folder):
    time.sleep(6)
    return xgboost.Booster(model_file=folder + "/xgboost-model")


def output_fn(predictions, accept):
    return "\\n".join(map(str, predictions)), "text/csv"
"""


class Deployment(NamedTuple):
    """A model-deploy repository of a fresh project, and what a person would look at."""

    aws: Aws
    project: Project
    folder: Path

    def register(self, content: bytes, status: str = "Approved") -> str:
        """Register a version whose model archive is `content`."""
        key = f"models/{time.monotonic_ns()}/model.tar.gz"
        self.aws.client("s3").put_object(Bucket=self.project.bucket, Key=key, Body=content)
        return register(self.aws, self.project.group, status, f"s3://{self.project.bucket}/{key}")

    def register_slow(self, answer: float) -> None:
        """Register a version whose container takes its time to start: so long is its endpoint under way."""
        key = f"models/{time.monotonic_ns()}/model.tar.gz"
        content = model_predicting(answer, {"code/inference.py": SLOW_TO_START})
        self.aws.client("s3").put_object(Bucket=self.project.bucket, Key=key, Body=content)
        register(self.aws, self.project.group, model=f"s3://{self.project.bucket}/{key}", program="inference.py")

    def build(self, arn: str = "") -> None:
        result = self.run("build", SMCI_MODEL_PACKAGE_ARN=arn)
        assert result.returncode == 0, result.stdout + result.stderr

    def deploy(self, stage: str = "staging", **variables: str) -> CompletedProcess[str]:
        return self.run("deploy", "--stage", stage, **variables)

    def run(self, *arguments: str, **variables: str) -> CompletedProcess[str]:
        return sagemaker_ci(*arguments, environ=self.project.environ | variables, cwd=self.folder)

    def stack_name(self, stage: str = "staging") -> str:
        return f"sagemaker-{self.project.name}-{self.project.id}-deploy-{stage}"

    def stack(self, stage: str = "staging") -> dict[str, Any] | None:
        name = self.stack_name(stage)
        stacks = self.aws.client("cloudformation").describe_stacks()["Stacks"]
        return next((each for each in stacks if each["StackName"] == name), None)

    def events(self) -> list[str]:
        """`STATUS LogicalId` of every event of the staging stack."""
        if self.stack() is None:
            return []
        found = self.aws.client("cloudformation").describe_stack_events(StackName=self.stack_name())["StackEvents"]
        return [f"{each['ResourceStatus']} {each['LogicalResourceId']}" for each in found]

    def endpoint_status(self) -> str:
        found = endpoint.describe(self.aws.client("sagemaker"), f"{self.project.name}-staging")
        return str(found["EndpointStatus"]) if found else ""

    def prediction(self, stage: str = "staging") -> float:
        runtime = self.aws.client("sagemaker-runtime")
        return float(endpoint.invoke(runtime, f"{self.project.name}-{stage}", b"1,2,3", "text/csv")[0])

    def edit_template(self, old: str, new: str) -> None:
        path = self.folder / "endpoint-config-template.yml"
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    def calls(self, operation: str) -> int:
        """How often `operation` was asked for, by all tests so far."""
        lines = map(json.loads, (self.aws.state / "requests.jsonl").read_text().splitlines())
        return sum(line["operation"] == operation for line in lines)


@pytest.fixture
def deployment(aws: Aws, project: Project, tmp_path: Path) -> Deployment:
    return Deployment(aws, project, Path(shutil.copytree(ROOT / "seed-deploy", tmp_path / "model-deploy")))


def succeeded(result: CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def failed(result: CompletedProcess[str], code: str) -> str:
    """Assert the expected failure; the error line."""
    assert result.returncode == 1, result.stdout + result.stderr
    error, hint = result.stderr.splitlines()
    assert error.startswith(f"error {code}: "), result.stdout + result.stderr
    assert hint.startswith("hint: ")
    return error


def create_user(aws: Aws) -> tuple[str, dict[str, str]]:
    """A user who may do everything: the name, and access keys as variables of a job."""
    iam, name = aws.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    forbid(aws, name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return name, {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def forbid(aws: Aws, user: str, *actions: str) -> None:
    """Let the user do everything but `actions`."""
    statements = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    statements += [{"Effect": "Deny", "Action": action, "Resource": "*"} for action in actions]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    aws.client("iam").put_user_policy(UserName=user, PolicyName="inline", PolicyDocument=policy)


BROKEN_MODEL = archive({"README": b"no model in here"})


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
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy())
    executed = deployment.calls("ExecuteChangeSet")
    log = succeeded(deployment.deploy())
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


def test_a_change_set_that_cannot_be_made_is_refused_and_leaves_nothing_behind(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.edit_template("InitialVariantWeight: 1", "InitialVariantWeight: 1\n          NoSuchProperty: 1")
    deployment.build()
    error = failed(deployment.deploy(), "SMCI-502")
    assert "NoSuchProperty" in error
    assert deployment.stack() is None


@pytest.mark.parametrize(
    ("change", "variables", "said", "advised"),
    [
        (("Ref ModelPackageName", "Ref NoSuchThing"), {}, "NoSuchThing", "correct the template"),
        (
            None,
            {"CLOUDFORMATION_ROLE_ARN": "arn:aws:iam::123456789012:role/no-such-role"},
            "cannot be assumed",
            "CLOUDFORMATION_ROLE_ARN",
        ),
    ],
    ids=["template", "role"],
)
def test_what_cloudformation_refuses_at_once_has_a_code_and_the_hint_for_its_cause(
    deployment: Deployment, change: tuple[str, str] | None, variables: dict[str, str], said: str, advised: str
) -> None:
    deployment.register(model_predicting(4.0))
    if change:
        deployment.edit_template(*change)
    deployment.build()
    result = deployment.deploy(**variables)
    assert said in failed(result, "SMCI-502")
    assert advised in result.stderr.splitlines()[1]
    assert deployment.stack() is None


def test_a_change_set_whose_reasons_may_not_be_seen_is_refused_and_leaves_nothing_behind(
    deployment: Deployment,
) -> None:
    deployment.register(model_predicting(4.0))
    deployment.edit_template("InitialVariantWeight: 1", "InitialVariantWeight: 1\n          NoSuchProperty: 1")
    deployment.build()
    user, keys = create_user(deployment.aws)
    forbid(deployment.aws, user, "cloudformation:DescribeEvents")
    assert "the reasons cannot be seen: " in failed(deployment.deploy(**keys), "SMCI-502")
    assert deployment.stack() is None


def test_a_change_set_that_may_not_be_removed_is_no_reason_to_hide_why_it_failed(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.edit_template("InitialVariantWeight: 1", "InitialVariantWeight: 1\n          NoSuchProperty: 1")
    deployment.build()
    user, keys = create_user(deployment.aws)
    forbid(deployment.aws, user, "cloudformation:DeleteStack")
    result = deployment.deploy(**keys)
    assert "NoSuchProperty" in failed(result, "SMCI-502")
    assert "is left behind: " in result.stdout


def test_a_change_set_whose_answer_was_lost_is_not_made_twice(deployment: Deployment) -> None:
    cloudformation = deployment.aws.client("cloudformation")
    # botocore repeats the request as if no answer had come to the first one.
    cloudformation.meta.events.register(
        "needs-retry.cloudformation.CreateChangeSet", lambda attempts, **_: 0 if attempts == 1 else None
    )
    before = deployment.calls("CreateChangeSet")
    change_set = prepare(cloudformation, queue_plan(deployment), Action.CREATE, poll_seconds=0.1)
    assert change_set is not None
    assert deployment.calls("CreateChangeSet") == before + 2


def test_an_execution_whose_answer_was_lost_is_followed(deployment: Deployment) -> None:
    cloudformation = deployment.aws.client("cloudformation")
    cloudformation.meta.events.register(
        "needs-retry.cloudformation.ExecuteChangeSet", lambda attempts, **_: 0 if attempts == 1 else None
    )
    before = deployment.calls("ExecuteChangeSet")
    deploy(cloudformation, queue_plan(deployment), poll_seconds=0.1)
    assert deployment.calls("ExecuteChangeSet") == before + 2
    assert (deployment.stack() or {})["StackStatus"] == "CREATE_COMPLETE"


def test_an_execution_that_is_refused_because_it_goes_on_already_is_followed(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether AWS takes a request for a repetition is a matter of its token, and of what it remembers."""
    cloudformation, other = deployment.aws.client("cloudformation"), deployment.aws.client("cloudformation")
    cloudformation.meta.events.register(
        "before-parameter-build.cloudformation.ExecuteChangeSet", lambda params, **_: params.pop("ClientRequestToken")
    )

    def first_request() -> None:
        [name] = change_sets(deployment)
        other.execute_change_set(StackName=deployment.stack_name(), ChangeSetName=name, ClientRequestToken=name)

    deploy(cloudformation, queue_plan(deployment), 0.1, confirm=first_request)
    assert "the answer to ExecuteChangeSet was lost" in capsys.readouterr().out
    assert (deployment.stack() or {})["StackStatus"] == "CREATE_COMPLETE"


def queue_plan(deployment: Deployment, **properties: Any) -> Plan:
    """The staging stack as one queue."""
    resources = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": properties}}
    return Plan(deployment.stack_name(), {"TemplateBody": json.dumps({"Resources": resources})}, {}, {}, (), None)


def change_sets(deployment: Deployment) -> list[str]:
    """The names of the staging stack's change sets that were not executed."""
    summaries = deployment.aws.client("cloudformation").list_change_sets(StackName=deployment.stack_name())["Summaries"]
    return [each["ChangeSetName"] for each in summaries if not each["ExecutionStatus"].startswith("EXECUTE_")]


def test_change_sets_that_killed_jobs_left_are_removed_by_a_run_without_change(deployment: Deployment) -> None:
    cloudformation, plan = deployment.aws.client("cloudformation"), queue_plan(deployment)
    deploy(cloudformation, plan, poll_seconds=0.1)
    arguments = {"StackName": plan.stack_name, "ChangeSetType": "UPDATE", **plan.template}
    names = [f"sagemaker-ci-local-00000000000{number}" for number in range(2)] + ["by-a-person"]
    for name in names:
        cloudformation.create_change_set(ChangeSetName=name, **arguments)
    wait_for(lambda: change_set_statuses(deployment) == {"FAILED"})
    deploy(cloudformation, plan, poll_seconds=0.1)
    assert change_sets(deployment) == ["by-a-person"]


def change_set_statuses(deployment: Deployment) -> set[str]:
    summaries = deployment.aws.client("cloudformation").list_change_sets(StackName=deployment.stack_name())["Summaries"]
    return {each["Status"] for each in summaries if not each["ExecutionStatus"].startswith("EXECUTE_")}


@pytest.mark.parametrize("first", [True, False], ids=["first deployments", "updates"])
def test_of_two_deployments_at_once_the_second_to_execute_tries_again_and_comes_out_last(
    deployment: Deployment, first: bool
) -> None:
    cloudformation = deployment.aws.client("cloudformation")
    if not first:
        deploy(cloudformation, queue_plan(deployment), poll_seconds=0.1)
    other = queue_plan(deployment, DelaySeconds=1)
    confirmed: list[str] = []

    def another_comes_first() -> None:
        if not confirmed:  # between this one's change set and its execution
            deploy(cloudformation, other, poll_seconds=0.1)
        confirmed.append("")

    deploy(cloudformation, queue_plan(deployment, DelaySeconds=2), 0.1, confirm=another_comes_first)
    assert len(confirmed) == 2
    [url] = physical_ids(cloudformation, deployment.stack_name(), "AWS::SQS::Queue")["AWS::SQS::Queue"]
    attributes = deployment.aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["DelaySeconds"])
    assert attributes["Attributes"] == {"DelaySeconds": "2"}
    assert change_sets(deployment) == []


def test_a_deployment_that_others_always_come_before_gives_up_with_an_error(deployment: Deployment) -> None:
    cloudformation = deployment.aws.client("cloudformation")
    delays = iter(range(1, 10))

    def another_comes_first() -> None:
        deploy(cloudformation, queue_plan(deployment, DelaySeconds=next(delays)), poll_seconds=0.1)

    with pytest.raises(errors.StackContended, match="another deployment changed the stack"):
        deploy(cloudformation, queue_plan(deployment), 0.1, confirm=another_comes_first)
    assert next(delays) == 4  # three attempts
    assert change_sets(deployment) == []


def test_a_stack_in_review_that_another_job_is_about_to_create_is_not_taken_from_it(deployment: Deployment) -> None:
    cloudformation = deployment.aws.client("cloudformation")
    another = prepare(cloudformation, queue_plan(deployment, DelaySeconds=1), Action.CREATE, poll_seconds=0.1)
    assert another is not None

    def refuse() -> None:
        raise errors.ModelPackageNotApproved("withdrawn")

    with pytest.raises(errors.ModelPackageNotApproved):
        deploy(cloudformation, queue_plan(deployment), 0.1, confirm=refuse)
    assert change_sets(deployment) == [another.name]
    execute(cloudformation, another, poll_seconds=0.1)
    assert (deployment.stack() or {})["StackStatus"] == "CREATE_COMPLETE"


def test_a_version_that_lost_its_approval_right_before_execution_is_not_deployed(deployment: Deployment) -> None:
    arn = deployment.register(model_predicting(4.0))
    deployment.build()
    with FaultProxy(deployment.aws.url) as proxy:

        def withdraw(call: Call) -> None:
            if call.operation == "cloudformation.DescribeChangeSet":
                sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")

        sagemaker, proxy.before = deployment.aws.client("sagemaker"), withdraw
        result = deployment.deploy(AWS_ENDPOINT_URL=proxy.url)
    failed(result, "SMCI-403")
    assert "is Approved" in result.stdout
    assert "cloudformation.ExecuteChangeSet" not in [call.operation for call in proxy.calls]
    assert deployment.stack() is None


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


def test_whatever_a_template_expands_to_is_acknowledged(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy())
    found = deployment.stack()
    assert found is not None
    assert set(found["Capabilities"]) == {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"}


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


def start(deployment: Deployment, **variables: str) -> subprocess.Popen[str]:
    """`deploy --stage staging` in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "ci_scripts.cli", "deploy", "--stage", "staging"],
        cwd=deployment.folder,
        env=deployment.project.environ | {"POLL_SECONDS": "0.3"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(job: subprocess.Popen[str]) -> CompletedProcess[str]:
    """What came of a job that was started, soon."""
    stdout, stderr = job.communicate(timeout=60)
    return CompletedProcess(job.args, job.returncode, stdout, stderr)


def test_a_cancelled_job_says_what_the_stack_is_doing_and_the_next_run_takes_over(deployment: Deployment) -> None:
    deployment.register_slow(4.0)
    deployment.build()
    job = start(deployment)
    wait_for(lambda: (deployment.stack() or {}).get("StackStatus") == "CREATE_IN_PROGRESS")
    job.send_signal(signal.SIGTERM)
    _, said = job.communicate(timeout=30)
    assert job.returncode == 1
    assert said.startswith("error SMCI-103: cancelled by SIGTERM; the stack sagemaker-")
    assert "CREATE_IN_PROGRESS" in said
    assert "Traceback" not in said
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
    wait_for(lambda: "CREATE_IN_PROGRESS Endpoint" in deployment.events())
    s3.put_object(Bucket=bucket, Key="log", Body=b"")
    assert "ROLLBACK_FAILED" in failed(finished(job), "SMCI-503")
    error = failed(deployment.deploy(), "SMCI-504")
    assert "DELETE_FAILED Logs (AWS::S3::Bucket): " in error

    s3.delete_object(Bucket=bucket, Key="log")
    deployment.aws.client("cloudformation").delete_stack(StackName=deployment.stack_name())
    deployment.register(model_predicting(4.0))
    deployment.build()
    succeeded(deployment.deploy())


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
