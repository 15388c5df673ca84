"""`sagemaker-ci deploy` and its change sets: refused, lost, left behind, and two at once."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.fault_proxy import Call, FaultProxy
from ci_scripts import errors
from ci_scripts.change_set import Plan, deploy, execute, prepare
from ci_scripts.stack import physical_ids
from ci_scripts.stack_rules import Action
from tests.support.deployment import Deployment, change_sets, create_user, deployment, failed, forbid  # noqa: F401 - the fixture
from tests.support.hosting import model_predicting
from tests.support.waiting import wait_for


def test_a_change_set_that_cannot_be_made_is_refused_and_leaves_nothing_behind(deployment: Deployment) -> None:
    deployment.register(model_predicting(4.0))
    deployment.edit_template("InitialVariantWeight: 1", "InitialVariantWeight: 1\n          NoSuchProperty: 1")
    deployment.build()
    error = failed(deployment.deploy(), "SMCI-502")
    assert "NoSuchProperty" in error
    assert deployment.stack() is None


@pytest.mark.parametrize(
    ("change", "variables", "message", "advised"),
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
    deployment: Deployment, change: tuple[str, str] | None, variables: dict[str, str], message: str, advised: str
) -> None:
    deployment.register(model_predicting(4.0))
    if change:
        deployment.edit_template(*change)
    deployment.build()
    result = deployment.deploy(**variables)
    assert message in failed(result, "SMCI-502")
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
    cloudformation = deployment.aws.own_client("cloudformation")
    # botocore repeats the request as if no answer had come to the first one.
    cloudformation.meta.events.register(
        "needs-retry.cloudformation.CreateChangeSet", lambda attempts, **_: 0 if attempts == 1 else None
    )
    before = deployment.calls("CreateChangeSet")
    change_set = prepare(cloudformation, queue_plan(deployment), Action.CREATE, poll_seconds=0.1)
    assert change_set is not None
    assert deployment.calls("CreateChangeSet") == before + 2


def test_an_execution_whose_answer_was_lost_is_followed(deployment: Deployment) -> None:
    cloudformation = deployment.aws.own_client("cloudformation")
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
    cloudformation, other = deployment.aws.own_client("cloudformation"), deployment.aws.client("cloudformation")
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
