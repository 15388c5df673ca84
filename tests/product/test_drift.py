"""The command `drift` against a stage in the sandbox: what callers send, and what somebody changed by hand."""

# ruff: noqa: F811 - the fixture is used under the name it is imported by

from __future__ import annotations

from tests.support.deployment import failed, succeeded
from tests.support.waiting import wait_for
from tests.support.watched_stage import Watched, watched  # noqa: F401 - the fixture


def test_too_few_rows_are_not_judged_and_pass(watched: Watched) -> None:
    watched.forget()
    log = succeeded(watched.drift())
    assert "0 rows are too few to judge: at least 100" in log
    assert watched.facts()["Data"]["Judged"] is False
    assert "Not judged: 0 rows are too few" in watched.report("drift.html")


def test_rows_like_those_of_training_are_no_drift(watched: Watched) -> None:
    watched.forget()
    watched.send(watched.callers)
    log = succeeded(watched.drift())
    assert "no drift in 11 columns" in log
    data = watched.facts()["Data"]
    assert (data["Rows"], data["Judged"], data["Findings"]) == (len(watched.callers), True, [])
    assert [each["Name"] for each in data["Features"]][-1] == "prediction"
    assert "prod_drift_psi_prediction" in watched.report("metrics.txt")


def test_a_shifted_column_is_named_and_red(watched: Watched) -> None:
    watched.forget()
    shifted = watched.callers.copy()
    shifted["length"] += shifted["length"].std()
    watched.send(shifted)
    error = failed(watched.drift(), "SMCI-712")
    assert "column 4" in error
    assert "distribution, mean" in error
    assert {each["Feature"] for each in watched.facts()["Data"]["Findings"]} >= {"column 4"}
    assert "<td>column 4</td>" in watched.report("drift.html")


def test_an_endpoint_that_somebody_updated_by_hand_is_told(watched: Watched) -> None:
    sagemaker = watched.aws.client("sagemaker")
    before = sagemaker.describe_endpoint(EndpointName=watched.endpoint)["EndpointConfigName"]
    config = sagemaker.describe_endpoint_config(EndpointConfigName=before)
    variants = [config["ProductionVariants"][0] | {"InitialInstanceCount": 2}]
    name = f"{watched.endpoint}-by-hand"
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
    sagemaker.update_endpoint(EndpointName=watched.endpoint, EndpointConfigName=name)
    error = failed(watched.drift(), "SMCI-711")
    assert error.startswith("error SMCI-711: prod is not as it was deployed: what is served: endpoint")
    assert "on another configuration than the stack's" in error
    where = {each["Where"]: each["What"] for each in watched.facts()["Configuration"]["Differences"]}
    assert where["Endpoint (AWS::SageMaker::Endpoint) /EndpointConfigName"] == f"{name} instead of {before}"
    assert "by-hand instead of" in watched.report("drift.html")
    sagemaker.update_endpoint(EndpointName=watched.endpoint, EndpointConfigName=before)
    wait_for(lambda: sagemaker.describe_endpoint(EndpointName=watched.endpoint)["EndpointStatus"] == "InService")


def test_an_endpoint_that_somebody_deleted_by_hand_is_told(watched: Watched) -> None:
    watched.aws.client("sagemaker").delete_endpoint(EndpointName=watched.endpoint)
    error = failed(watched.drift(), "SMCI-711")
    assert f"what is served: there is no endpoint {watched.endpoint} and 1 more" in error
    where = {each["Where"]: each["What"] for each in watched.facts()["Configuration"]["Differences"]}
    assert where["Endpoint (AWS::SageMaker::Endpoint)"].endswith(f"endpoint/{watched.endpoint} was deleted")


def test_nonsense_is_refused_before_anything_is_asked_of_aws(watched: Watched) -> None:
    wrong = ("--window", "yesterday", "--minimum-rows", "1", "--confidence", "95", "--retrain-project", "mlops/build")
    error = failed(watched.run("drift", *wrong, SMCI_WATCH="production"), "SMCI-102")
    for problem in ("--stage is 'production'", "--window is", "--minimum-rows is", "--confidence is '95'", "RETRAIN_"):
        assert problem in error
