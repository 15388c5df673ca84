"""SageMaker resources in the sandbox's CloudFormation: endpoints that come up, move to new models, or fail."""

from __future__ import annotations

from tests.support.hosted import TEMPLATE, Hosted
from tests.support.hosting import archive, model_predicting
from tests.support.stacks import outputs


def test_an_endpoint_moves_to_a_new_model_and_the_old_one_goes(hosted: Hosted) -> None:
    first = hosted.stacks.create(TEMPLATE, **hosted.parameters(model_predicting(3.5)))
    assert (first["StackStatus"], hosted.prediction()) == ("CREATE_COMPLETE", 3.5)
    change_set = hosted.stacks.change_set("UPDATE", TEMPLATE, **hosted.parameters(model_predicting(4.5)))
    changes = {
        one["ResourceChange"]["LogicalResourceId"]: one["ResourceChange"]["Replacement"]
        for one in change_set["Changes"]
    }
    assert changes == {"Model": "True", "EndpointConfig": "True", "Endpoint": "False"}
    hosted.stacks.client.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
    second = hosted.stacks.settle()
    assert (second["StackStatus"], hosted.prediction()) == ("UPDATE_COMPLETE", 4.5)
    assert outputs(second)["Arn"] == outputs(first)["Arn"]
    assert outputs(first)["Model"] not in hosted.names("models")
    assert outputs(second)["Model"] in hosted.names("models")
    events = hosted.stacks.events()
    assert events.index("stack UPDATE_COMPLETE_CLEANUP_IN_PROGRESS") < events.index("Model DELETE_COMPLETE")


def test_an_endpoint_that_does_not_come_up_fails_the_stack_in_sagemakers_words(hosted: Hosted) -> None:
    stack = hosted.stacks.create(TEMPLATE, **hosted.parameters(archive({"readme.txt": b"no model here"})))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert list(hosted.failures()) == ["Endpoint"]
    assert "did not pass the ping health check" in hosted.failures()["Endpoint"]
    assert hosted.endpoint not in hosted.names("endpoints")


def test_what_the_api_refuses_fails_the_resource_and_nothing_is_left(hosted: Hosted) -> None:
    parameters = hosted.parameters(model_predicting(1.0)) | {"Role": "arn:aws:iam::123456789012:role/nobody"}
    stack = hosted.stacks.create(TEMPLATE, **parameters)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    [(name, reason)] = hosted.failures().items()
    assert name == "Model"
    assert "Service: SageMaker, Status Code: 400" in reason


def test_a_failed_update_leaves_the_old_endpoint_serving(hosted: Hosted) -> None:
    before = hosted.stacks.create(TEMPLATE, **hosted.parameters(model_predicting(2.5)))
    after = hosted.stacks.update(TEMPLATE, **hosted.parameters(model_predicting(7.5), Count="0"))
    assert after["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert hosted.prediction() == 2.5
    assert outputs(after) == outputs(before)
    assert list(hosted.failures()) == ["EndpointConfig"]


def test_an_update_that_sagemaker_takes_back_by_itself_completes(hosted: Hosted) -> None:
    hosted.stacks.create(TEMPLATE, **hosted.parameters(model_predicting(2.5)))
    old = hosted.sagemaker.describe_endpoint(EndpointName=hosted.endpoint)["EndpointConfigName"]
    after = hosted.stacks.update(TEMPLATE, **hosted.parameters(archive({"readme.txt": b"no model here"})))
    # CloudFormation looks at the endpoint's status only; noticing this is the product's task.
    assert after["StackStatus"] == "UPDATE_COMPLETE"
    assert hosted.sagemaker.describe_endpoint(EndpointName=hosted.endpoint)["EndpointConfigName"] == old
    assert hosted.prediction() == 2.5
