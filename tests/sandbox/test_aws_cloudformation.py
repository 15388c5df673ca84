"""The sandbox's CloudFormation does what the product must cope with: states, events, rollback, change sets."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.support.servers import Aws, create_role
from tests.support.stacks import QUEUES, Stacks, outputs, pairs


@pytest.fixture
def stacks(aws: Aws) -> Stacks:
    return Stacks(aws)


# --- states ---------------------------------------------------------------------------------------------------------


def test_a_created_stack_has_its_resources_events_and_outputs(aws: Aws, stacks: Stacks) -> None:
    stack = stacks.create(Delay="7")
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert outputs(stack)["Text"] == "staging-eu-west-1-fine"
    attributes = aws.client("sqs").get_queue_attributes(QueueUrl=outputs(stack)["Url"], AttributeNames=["All"])
    assert attributes["Attributes"]["DelaySeconds"] == "7"
    assert stacks.events() == [
        "stack CREATE_IN_PROGRESS",
        "Dead CREATE_IN_PROGRESS",
        "Dead CREATE_IN_PROGRESS",
        "Dead CREATE_COMPLETE",
        "Main CREATE_IN_PROGRESS",
        "Main CREATE_IN_PROGRESS",
        "Main CREATE_COMPLETE",
        "stack CREATE_COMPLETE",
    ]


def test_a_failed_create_rolls_back_and_says_why(aws: Aws, stacks: Stacks) -> None:
    stack = stacks.create(Broken="yes")
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "ROLLBACK_IN_PROGRESS" in " ".join(stacks.events())
    events = stacks.client.describe_stack_events(StackName=stacks.name)["StackEvents"]
    [failed] = [event for event in events if event["ResourceStatus"] == "CREATE_FAILED"]
    assert failed["LogicalResourceId"] == "Mapping"
    assert "Function not found" in failed["ResourceStatusReason"]
    assert stacks.client.describe_stack_resources(StackName=stacks.name)["StackResources"] == []
    assert not [url for url in aws.client("sqs").list_queues().get("QueueUrls", []) if stacks.name in url]


def test_a_stack_in_rollback_complete_takes_no_update_but_can_be_deleted(stacks: Stacks) -> None:
    stack = stacks.create(Broken="yes")
    with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        stacks.update()
    with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        stacks.change_set("UPDATE")
    stacks.client.delete_stack(StackName=stacks.name)
    assert stacks.settle(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    with pytest.raises(ClientError, match=f"Stack with id {stacks.name} does not exist"):
        stacks.describe()


def test_a_failed_update_restores_the_old_resources(aws: Aws, stacks: Stacks) -> None:
    stacks.create(Delay="1")
    stack = stacks.update(Delay="2", Broken="yes")
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    attributes = aws.client("sqs").get_queue_attributes(QueueUrl=outputs(stack)["Url"], AttributeNames=["All"])
    assert attributes["Attributes"]["DelaySeconds"] == "1"
    assert {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}["Delay"] == "1"
    events = stacks.events()
    assert "Mapping CREATE_FAILED" in events
    assert events[-1] == "stack UPDATE_ROLLBACK_COMPLETE"
    assert stacks.update(Delay="3")["StackStatus"] == "UPDATE_COMPLETE"


def test_an_update_without_changes_is_refused(stacks: Stacks) -> None:
    stacks.create()
    with pytest.raises(ClientError, match=r"No updates are to be performed\."):
        stacks.update()


def test_the_request_token_is_carried_into_the_events(stacks: Stacks) -> None:
    stacks.client.create_stack(StackName=stacks.name, TemplateBody=QUEUES, ClientRequestToken="job-17")
    stacks.settle()
    events = stacks.client.describe_stack_events(StackName=stacks.name)["StackEvents"]
    assert {event["ClientRequestToken"] for event in events} == {"job-17"}


# --- change sets ----------------------------------------------------------------------------------------------------


def test_a_stack_waits_in_review_until_its_change_set_is_executed(stacks: Stacks) -> None:
    change_set = stacks.change_set("CREATE")
    assert (change_set["Status"], change_set["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    assert stacks.describe()["StackStatus"] == "REVIEW_IN_PROGRESS"
    changes = {
        one["ResourceChange"]["LogicalResourceId"]: one["ResourceChange"]["Action"] for one in change_set["Changes"]
    }
    assert changes == {"Dead": "Add", "Main": "Add"}
    stacks.client.execute_change_set(ChangeSetName=change_set["ChangeSetId"], ClientRequestToken="job-18")
    assert stacks.settle()["StackStatus"] == "CREATE_COMPLETE"
    with pytest.raises(ClientError) as refused:
        stacks.client.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
    assert refused.value.response["Error"]["Code"] == "InvalidChangeSetStatus"


def test_a_change_set_is_asked_for_again_only_with_its_token(stacks: Stacks) -> None:
    request = {"StackName": stacks.name, "ChangeSetName": "one", "ChangeSetType": "CREATE", "TemplateBody": QUEUES}
    first = stacks.client.create_change_set(**request, ClientToken="job-19")
    assert stacks.client.create_change_set(**request, ClientToken="job-19")["Id"] == first["Id"]
    with pytest.raises(ClientError, match="ChangeSet one already exists"):
        stacks.client.create_change_set(**request, ClientToken="job-20")


def test_a_request_that_is_repeated_with_its_token_is_carried_out_once(stacks: Stacks) -> None:
    change_set = stacks.change_set("CREATE")["ChangeSetId"]
    for _ in range(2):
        stacks.client.execute_change_set(ChangeSetName=change_set, ClientRequestToken="job-21")
    assert stacks.settle()["StackStatus"] == "CREATE_COMPLETE"
    stacks.client.execute_change_set(ChangeSetName=change_set, ClientRequestToken="job-21")
    assert stacks.events().count("stack CREATE_IN_PROGRESS") == 1
    with pytest.raises(ClientError, match="cannot be executed in its current execution status of"):
        stacks.client.execute_change_set(ChangeSetName=change_set, ClientRequestToken="job-22")
    update = {"StackName": stacks.name, "TemplateBody": QUEUES, "Parameters": pairs({"Delay": "5"})}
    for _ in range(2):
        stacks.client.update_stack(**update, ClientRequestToken="job-23")
    assert stacks.settle()["StackStatus"] == "UPDATE_COMPLETE"
    with pytest.raises(ClientError) as refused:
        stacks.client.update_stack(**update, ClientRequestToken="job-21")
    assert refused.value.response["Error"]["Code"] == "TokenAlreadyExistsException"


def test_the_change_set_of_a_deleted_stack_is_gone_with_it(stacks: Stacks) -> None:
    change_set = stacks.change_set("CREATE")
    stacks.client.delete_stack(StackName=stacks.name)
    stacks.settle(change_set["StackId"])
    stacks.create()
    with pytest.raises(ClientError) as refused:
        stacks.client.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
    assert refused.value.response["Error"]["Code"] == "ChangeSetNotFound"
    assert stacks.settle(change_set["StackId"])["StackStatus"] == "DELETE_COMPLETE"


def test_what_another_resource_gives_may_change_with_it(stacks: Stacks) -> None:
    template = """
    Parameters: {Label: {Type: String}}
    Resources:
      Dead: {Type: AWS::SQS::Queue, Properties: {DelaySeconds: 1, Tags: [{Key: k, Value: !Ref Label}]}}
      Main:
        Type: AWS::SQS::Queue
        Properties: {RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}}
    """
    stacks.create(template, Label="a")
    changes = {
        one["ResourceChange"]["LogicalResourceId"]: one["ResourceChange"]
        for one in stacks.change_set("UPDATE", template, Label="b")["Changes"]
    }
    causes = {
        name: {(each["ChangeSource"], each["Evaluation"], each.get("CausingEntity")) for each in change["Details"]}
        for name, change in changes.items()
    }
    assert causes == {
        "Dead": {("ParameterReference", "Static", "Label"), ("DirectModification", "Dynamic", None)},
        "Main": {("ResourceAttribute", "Dynamic", "Dead.Arn")},
    }
    assert {change["Replacement"] for change in changes.values()} == {"False"}


def test_a_stack_policy_keeps_an_update_off_its_resources(aws: Aws, stacks: Stacks) -> None:
    stacks.create(Delay="1")
    allow = {"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"}
    deny = {"Effect": "Deny", "Action": "Update:Modify", "Principal": "*", "Resource": "LogicalResourceId/Main"}
    policy = json.dumps({"Statement": [allow, deny]})
    stacks.client.set_stack_policy(StackName=stacks.name, StackPolicyBody=policy)
    assert stacks.client.get_stack_policy(StackName=stacks.name)["StackPolicyBody"] == policy
    stack = stacks.update(Delay="2")
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    events = stacks.client.describe_stack_events(StackName=stacks.name)["StackEvents"]
    [failed] = [event for event in events if event["ResourceStatus"] == "UPDATE_FAILED"]
    assert failed["ResourceStatusReason"].startswith("Action denied by stack policy: Statement [#2] does not allow")
    url = outputs(stack)["Url"]
    delay = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["DelaySeconds"])
    assert delay["Attributes"]["DelaySeconds"] == "1"


def test_an_export_is_kept_while_another_stack_imports_it(aws: Aws, stacks: Stacks) -> None:
    name = f"{stacks.name}-url"
    exporting = (
        f"Resources: {{Q: {{Type: AWS::SQS::Queue}}}}\nOutputs: {{U: {{Value: !Ref Q, Export: {{Name: {name}}}}}}}"
    )
    stacks.create(exporting)
    importing = Stacks(aws)
    importing.create(
        f"Resources: {{Q: {{Type: AWS::SQS::Queue, Properties: {{Tags: [{{Key: k, Value: !ImportValue {name}}}]}}}}}}"
    )
    assert stacks.client.list_imports(ExportName=name)["Imports"] == [importing.name]
    with pytest.raises(ClientError, match=f"Export {name} cannot be deleted as it is in use by {importing.name}"):
        stacks.client.delete_stack(StackName=stacks.name)
    imported_by = importing.describe()["StackId"]
    importing.client.delete_stack(StackName=imported_by)
    assert importing.settle(imported_by)["StackStatus"] == "DELETE_COMPLETE"
    stacks.client.delete_stack(StackName=stacks.name)


def test_a_change_set_without_changes_fails_and_says_so(stacks: Stacks) -> None:
    stacks.create()
    change_set = stacks.change_set("UPDATE")
    assert (change_set["Status"], change_set["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert change_set["StatusReason"].startswith("The submitted information didn't contain changes.")


def test_properties_that_do_not_exist_are_told_by_describe_events(stacks: Stacks) -> None:
    template = "Resources: {Queue: {Type: 'AWS::SQS::Queue', Properties: {QueName: one}}}"
    change_set = stacks.change_set("CREATE", template)
    assert change_set["Status"] == "FAILED"
    assert "AWS::EarlyValidation::PropertyValidation" in change_set["StatusReason"]
    events = stacks.client.describe_events(ChangeSetName=change_set["ChangeSetId"], Filters={"FailedEvents": True})
    [event] = events["OperationEvents"]
    assert event["EventType"] == "VALIDATION_ERROR"
    assert event["ValidationStatusReason"] == "#: extraneous key [QueName] is not permitted"
    assert event["ValidationPath"] == "/Resources/Queue/Properties"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"Delay": "901"}, "Parameter 'Delay' must be a number not greater than 900"),
        ({"Delay": "soon"}, "Parameter 'Delay' must be a number"),
        ({"Stage": "test"}, "Parameter 'Stage' must be one of AllowedValues"),
        ({"Label": "X1"}, "Parameter 'Label' must match pattern"),
        ({"Other": "1"}, r"Parameters: \[Other\] do not exist in the template"),
    ],
)
def test_parameters_are_refused_in_the_words_of_the_service(
    stacks: Stacks, parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        stacks.change_set("CREATE", QUEUES, **parameters)
    with pytest.raises(ClientError, match="does not exist"):
        stacks.describe()


def test_a_role_that_does_not_trust_cloudformation_is_refused(aws: Aws, stacks: Stacks) -> None:
    arn = create_role(aws, f"not-for-cfn-{stacks.name}", "sagemaker.amazonaws.com")
    with pytest.raises(ClientError, match="is invalid or cannot be assumed"):
        stacks.client.create_stack(StackName=stacks.name, TemplateBody=QUEUES, RoleARN=arn)
    assert stacks.create()["StackStatus"] == "CREATE_COMPLETE"


def test_resources_are_made_with_the_role_of_the_stack(aws: Aws, stacks: Stacks) -> None:
    name = f"for-cfn-{stacks.name}"
    arn = create_role(aws, name, "cloudformation.amazonaws.com")
    stacks.client.create_stack(StackName=stacks.name, TemplateBody=QUEUES, RoleARN=arn)
    stacks.settle()
    calls = [json.loads(line) for line in (aws.state / "requests.jsonl").read_text().splitlines()]
    assert [call for call in calls if call["operation"] == "CreateQueue" and f"/{name}/" in call["principal"]]


def test_iam_resources_want_a_capability(stacks: Stacks) -> None:
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {"RoleName": f"named-{stacks.name}", "AssumeRolePolicyDocument": {"Statement": []}},
    }
    template = json.dumps({"Resources": {"Role": role}})
    with pytest.raises(ClientError, match=r"Requires capabilities : \[CAPABILITY_NAMED_IAM\]"):
        stacks.create(template)
