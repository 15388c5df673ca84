"""Commands under faults at single calls of AWS: a selection of what bench/faults.py tries at every call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from bench.fault_proxy import Call, Fault, FaultProxy, operation_of
from bench.fault_scenarios import SCENARIOS
from bench.fault_scenarios.base import Scenario
from bench.faults import attempt, cases, misconduct, run
from tests.sandbox.conftest import Aws

PIPELINES = count(1)  # GitLab's numbers: a newer pipeline has a higher one
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def proxy(aws: Aws) -> Iterator[FaultProxy]:
    with FaultProxy(aws.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def scenario(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Scenario]:
    """A scenario by its name, the same one for all cases."""
    known: dict[str, Scenario] = {}

    def get(name: str) -> Scenario:
        if name not in known:
            known[name] = SCENARIOS[name](aws, tmp_path_factory.mktemp("faults") / "repository")
        return known[name]

    return get


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("deploy-create", Fault("cloudformation.DescribeStacks", 0, "cancel")),
        ("deploy-create", Fault("cloudformation.CreateChangeSet", 0, "kill after")),
        ("deploy-create", Fault("cloudformation.DescribeStackEvents", 0, "cancel")),
        ("deploy-create", Fault("cloudformation.ExecuteChangeSet", 0, "reset")),
        ("deploy-update", Fault("cloudformation.CreateChangeSet", 0, "cancel after")),
        ("deploy-update", Fault("cloudformation.ExecuteChangeSet", 0, "cancel before")),
        ("deploy-update", Fault("cloudformation.ExecuteChangeSet", 0, "burst")),
        ("deploy-unchanged", Fault("cloudformation.CreateChangeSet", 0, "kill after")),
        ("deploy-unchanged", Fault("sagemaker.DescribeModelPackage", 0, "cancel")),
        ("build", Fault("sagemaker.ListModelPackages", 0, "cancel")),
        ("run-pipeline-create", Fault("sagemaker.CreatePipeline", 0, "reset")),
        ("run-pipeline-create", Fault("sagemaker.StartPipelineExecution", 0, "cancel")),
        ("run-pipeline-create", Fault("sagemaker.StartPipelineExecution", 0, "cancel before")),
        ("run-pipeline-create", Fault("sagemaker.StartPipelineExecution", 0, "kill after")),
        ("test", Fault("sagemaker.DescribeEndpoint", 0, "cancel")),
        ("bootstrap-create", Fault("cloudformation.ExecuteChangeSet", 0, "reset")),
        ("bootstrap-create", Fault("s3.PUT object", 0, "cancel")),
        ("doctor", Fault("sts.GetCallerIdentity", 0, "cancel")),
    ],
    ids=str,
)
def test_a_fault_is_survived(scenario: Callable[[str], Scenario], proxy: FaultProxy, name: str, fault: Fault) -> None:
    outcome = attempt(scenario(name), proxy, next(PIPELINES), fault)
    assert outcome.hit
    assert outcome.problems == []


# --- the bench itself ------------------------------------------------------------------------------------------------


def test_what_is_done_after_a_signal_is_noticed(scenario: Callable[[str], Scenario], proxy: FaultProxy) -> None:
    fault = Fault("sagemaker.ListModelPackages", 0, "cancel")
    told = run(scenario("build"), proxy, 1, 1, fault)
    assert list(misconduct(told, fault)) == []
    late = Call("cloudformation.ExecuteChangeSet", 0, after_signal=True)
    assert list(misconduct(told._replace(calls=[*told.calls, late]), fault)) == [
        "did cloudformation.ExecuteChangeSet after it was cancelled"
    ]
    assert list(misconduct(told._replace(code=0), fault)) == ["was cancelled and ended as a success"]
    assert list(misconduct(told._replace(errors="error SMCI-206: no"), fault)) == [
        "was cancelled and does not say so: error SMCI-206: no"
    ]


def test_what_takes_back_is_no_act() -> None:
    acts = {
        operation: Call(operation, 0, after_signal=True).acts
        for operation in ("cloudformation.DeleteChangeSet", "s3.PUT object", "s3.GET bucket cors", "iam.GetRole")
    }
    assert [operation for operation, act in acts.items() if act] == ["s3.PUT object"]


def test_every_kind_comes_to_every_call_and_to_three_of_a_long_wait() -> None:
    calls = [Call("sts.GetCallerIdentity", 0, False), *(Call("x.DescribeIt", number, False) for number in range(9))]
    every = list(cases(calls))
    assert {fault.number for fault in every if fault.operation == "x.DescribeIt"} == {0, 1, 4}
    kinds = {fault.kind for fault in every if fault.operation == "sts.GetCallerIdentity"}
    assert "kill before" not in kinds  # nobody hears of a look
    assert {"kill after", "cancel", "throttle", "reset", "burst"} <= kinds


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "expected"),
    [
        ("POST", "/", {"X-Amz-Target": "SageMaker.DescribeEndpoint"}, b"{}", "sagemaker.DescribeEndpoint"),
        ("POST", "/", {}, b"Action=DescribeStacks&Version=1", "sagemaker.DescribeStacks"),
        ("POST", "/endpoints/e/invocations", {}, b"1,2", "sagemaker.InvokeEndpoint"),
        ("PUT", "/bucket/a/key", {}, b"", "sagemaker.PUT object"),
        ("GET", "/bucket?cors", {}, b"", "sagemaker.GET bucket cors"),
    ],
)
def test_an_operation_is_known_by_its_request(
    method: str, path: str, headers: dict[str, str], body: bytes, expected: str
) -> None:
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/sagemaker/aws4_request, x"}
    assert operation_of(method, path, signed | headers, body) == expected
