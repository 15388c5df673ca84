"""`sagemaker-ci rollback`: back to what served before, whatever a lost job or a second person does meanwhile."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from subprocess import CompletedProcess

import pytest

from bench.fault_proxy import Call, FaultProxy
from tests.support.deployment import Deployment, create_user, deployment, failed, forbid, succeeded  # noqa: F401
from tests.support.hosting import model_predicting
from tests.support.records import deploy_version, events_of, of_pipeline, records, two_versions


def test_a_rollback_brings_back_what_served_before_byte_for_byte(deployment: Deployment) -> None:
    older, newer = two_versions(deployment)
    for path in deployment.folder.iterdir():
        if path.is_file():
            path.unlink()  # no export, no checkout
    log = succeeded(deployment.run("rollback", "--stage", "staging", **of_pipeline(8, attempt=2, person="bob")))
    assert "staging now: version 2, deployed on " in log
    assert "back to:  version 1, deployed on " in log
    assert deployment.prediction() == pytest.approx(4.0)
    assert events_of(deployment)[2:] == ["rolled back 1 of 8"]
    first, _, last = records(deployment)
    assert last["Export"] == first["Export"]
    assert newer in last["TakenBack"]

    again = deployment.run("rollback", "--stage", "staging", **of_pipeline(9, person="carol"))
    assert "staging was rolled back to version 1 on " in failed(again, "SMCI-513")
    assert ", by bob, https://gitlab.example.com/" in again.stderr
    same = deployment.run("rollback", "--stage", "staging", "--to", older, **of_pipeline(9))
    assert "staging serves version 1 already" in failed(same, "SMCI-512")
    retried = succeeded(deployment.run("rollback", "--stage", "staging", **of_pipeline(8, attempt=3)))
    assert "record 3 of staging tells of it already, by bob" in retried
    gone = deployment.run("rollback", "--stage", "staging", SMCI_ROLLBACK_FROM=newer, **of_pipeline(9))
    assert f"Nothing to do: {newer} is not what staging serves." in succeeded(gone)

    undone = deployment.run("rollback", "--stage", "staging", SMCI_ROLLBACK_TO="2", **of_pipeline(9))
    succeeded(undone)
    assert deployment.prediction() == pytest.approx(9.0)
    assert events_of(deployment)[3:] == ["rolled back 2 of 9"]
    assert records(deployment)[-1]["TakenBack"] == {}


def test_what_no_record_tells_of_is_rolled_back_to_the_newest_record(deployment: Deployment) -> None:
    older, newer = deployment.register(model_predicting(4.0)), deployment.register(model_predicting(9.0))
    succeeded(deploy_version(deployment, older, **of_pipeline(7)))
    user, keys = create_user(deployment.aws)
    forbid(deployment.aws, user, "s3:PutObject")
    failed(deploy_version(deployment, newer, **of_pipeline(8), **keys), "SMCI-509")  # it serves, and is not recorded
    assert deployment.prediction() == pytest.approx(9.0)
    log = succeeded(deployment.run("rollback", "--stage", "staging", **of_pipeline(8, attempt=3)))
    assert f"staging now: the stack holds {newer}, which no record tells of" in log
    assert deployment.prediction() == pytest.approx(4.0)
    assert events_of(deployment) == ["deployed 1 of 7"]


@pytest.mark.parametrize("from_serving", [False, True])
def test_a_rollback_that_is_not_on_record_is_finished_by_the_next(deployment: Deployment, from_serving: bool) -> None:
    older, newer = two_versions(deployment)
    user, keys = create_user(deployment.aws)
    forbid(deployment.aws, user, "s3:PutObject")
    from_newer = {"SMCI_ROLLBACK_FROM": newer} if from_serving else {}
    lost = deployment.run("rollback", "--stage", "staging", **of_pipeline(8, attempt=2), **keys, **from_newer)
    failed(lost, "SMCI-509")
    log = succeeded(deployment.run("rollback", "--stage", "staging", **of_pipeline(9), **from_newer))
    assert "What follows record 2 has begun and is not on record. This rollback finishes it." in log
    assert deployment.prediction() == pytest.approx(4.0)
    assert events_of(deployment)[2:] == ["rolled back 1 of 9"]
    assert newer in records(deployment)[-1]["TakenBack"]
    assert older == records(deployment)[-1]["ModelPackageArn"]


def test_of_two_rollbacks_at_once_one_wins_and_the_other_is_told(deployment: Deployment) -> None:
    two_versions(deployment)

    def roll_back(pipeline: int) -> CompletedProcess[str]:
        return deployment.run("rollback", "--stage", "staging", **of_pipeline(pipeline))

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(roll_back, (8, 9)))
    assert deployment.prediction() == pytest.approx(4.0)
    assert len(records(deployment)) == 3
    told_of = [result.stdout + result.stderr for result in results]
    others = [text for text in told_of if "record 3 of staging: rolled back" not in text]
    assert len(others) == 1
    assert any(
        sentence in others[0]
        for sentence in ("error SMCI-513", "error SMCI-514", "record 3 of staging tells of it already")
    ), others[0]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("cloudformation.CreateChangeSet", "record 3 of staging tells of it already, by carol"),
        ("cloudformation.DescribeChangeSet", "error SMCI-514"),
        ("cloudformation.ExecuteChangeSet", "error SMCI-514"),
        ("s3.PUT object", "record 3 of staging tells of it already, by carol"),
    ],
)
def test_a_rollback_that_another_one_overtakes_is_told(deployment: Deployment, operation: str, message: str) -> None:
    two_versions(deployment)
    with FaultProxy(deployment.aws.url) as proxy:

        def overtake(call: Call) -> None:
            if call.operation == operation and call.number == 0:
                succeeded(deployment.run("rollback", "--stage", "staging", **of_pipeline(9, person="carol")))

        proxy.before = overtake
        result = deployment.run("rollback", "--stage", "staging", **of_pipeline(8), AWS_ENDPOINT_URL=proxy.url)
    assert message in result.stdout + result.stderr
    assert events_of(deployment)[2:] == ["rolled back 1 of 9"]
    assert deployment.prediction() == pytest.approx(4.0)


def test_what_a_rollback_goes_back_to_must_be_approved_still(deployment: Deployment) -> None:
    older, _ = two_versions(deployment)
    deployment.aws.client("sagemaker").update_model_package(ModelPackageArn=older, ModelApprovalStatus="Rejected")
    failed(deployment.run("rollback", "--stage", "staging", **of_pipeline(8)), "SMCI-403")
    assert deployment.prediction() == pytest.approx(9.0)


def test_where_nothing_is_recorded_there_is_nothing_to_go_back_to(deployment: Deployment) -> None:
    assert "nothing is recorded of prod" in failed(deployment.run("rollback", "--stage", "prod"), "SMCI-512")
