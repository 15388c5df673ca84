"""Commands and functions under faults at single calls: a selection of what bench/faults.py tries at every call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from bench.fault_proxy import FUNCTION_KINDS, Call, Fault, FaultProxy, gitlab_operation_of, operation_of
from bench.fault_scenarios import FUNCTIONS, SCENARIOS
from bench.fault_scenarios.base import FunctionScenario, Scenario
from bench.faults import attempt, attempt_function, cases, function_cases, misconduct, run
from tests.support.servers import Aws

PIPELINES = count(1)  # GitLab's numbers: a newer pipeline has a higher one
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def proxy(aws: Aws) -> Iterator[FaultProxy]:
    with FaultProxy(aws.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def scenario(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Scenario]:
    """A scenario by its name, the same one for all cases."""
    scenarios: dict[str, Scenario] = {}

    def get(name: str) -> Scenario:
        if name not in scenarios:
            scenarios[name] = SCENARIOS[name](aws, tmp_path_factory.mktemp("faults") / "repository")
        return scenarios[name]

    return get


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("deploy-create", Fault("cloudformation.DescribeStackEvents", 0, "cancel")),
        ("deploy-create", Fault("cloudformation.ExecuteChangeSet", 0, "reset")),
        ("deploy-update", Fault("cloudformation.ExecuteChangeSet", 0, "cancel before")),
        ("deploy-shift", Fault("sagemaker.DescribeEndpoint", 4, "kill after")),
        ("deploy-tidy", Fault("sagemaker.DeleteEndpointConfig", 0, "kill after")),
        ("drift", Fault("cloudformation.DetectStackDrift", 0, "kill after")),
        ("rollback", Fault("cloudformation.ExecuteChangeSet", 0, "kill after")),
        ("teardown", Fault("cloudformation.DeleteStack", 0, "kill after")),
        ("build", Fault("sagemaker.ListModelPackages", 0, "cancel")),
        ("run-pipeline-merge-request", Fault("sagemaker.CreateModelPackageGroup", 0, "kill after")),
        ("cleanup", Fault("sagemaker.StopPipelineExecution", 0, "kill after")),
        ("run-pipeline-create", Fault("sagemaker.StartPipelineExecution", 0, "kill after")),
        ("run-pipeline-create", Fault("sagemaker.UpdateModelPackage", 0, "kill after")),
        ("image-build", Fault("ecr.DescribeImages", 1, "kill before")),
        ("test", Fault("sagemaker.DescribeEndpoint", 0, "cancel")),
        ("bootstrap-create", Fault("cloudformation.ExecuteChangeSet", 0, "reset")),
        ("doctor", Fault("sts.GetCallerIdentity", 0, "cancel")),
    ],
    ids=str,
)
def test_a_fault_is_survived(scenario: Callable[[str], Scenario], proxy: FaultProxy, name: str, fault: Fault) -> None:
    outcome = attempt(scenario(name), proxy, next(PIPELINES), fault)
    assert outcome.hit
    assert outcome.problems == []


@pytest.fixture(scope="module")
def function(
    aws: Aws, proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], FunctionScenario]]:
    """A function's scenario by its name, the same one for all cases."""
    scenarios: dict[str, FunctionScenario] = {}

    def get(name: str) -> FunctionScenario:
        if name not in scenarios:
            scenarios[name] = FUNCTIONS[name](aws, tmp_path_factory.mktemp("functions"), proxy)
        return scenarios[name]

    yield get
    for scenario in scenarios.values():
        scenario.close()


@pytest.mark.parametrize(
    ("name", "fault", "follow_up"),
    [
        ("trigger", Fault("gitlab.POST projects/:id/trigger/pipeline", 0, "kill after"), "retry"),
        ("trigger", Fault("gitlab.POST projects/:id/trigger/pipeline", 0, "error after"), "retry"),
        ("new-data", Fault("gitlab.POST projects/:id/trigger/pipeline", 0, "kill after"), "retry"),
        ("seed-checkin-create", Fault("gitlab.POST projects/:id/triggers", 0, "reset"), "retry"),
        ("seed-checkin-create", Fault("secretsmanager.PutSecretValue", 0, "kill after"), "roll back"),
        ("seed-checkin-create-rollback", Fault("secretsmanager.GetSecretValue", 0, "burst"), "retry"),
        ("seed-checkin-create-rollback", Fault("gitlab.DELETE projects/:id", 0, "kill after"), "retry"),
        ("seed-checkin-update", Fault("gitlab.POST projects/:id/triggers", 0, "kill after"), "roll back"),
        ("seed-checkin-delete", Fault("gitlab.DELETE projects/:id/triggers/:id", 0, "kill after"), "retry"),
    ],
    ids=str,
)
def test_a_function_survives_a_fault(
    function: Callable[[str], FunctionScenario], name: str, fault: Fault, follow_up: str
) -> None:
    outcome = attempt_function(function(name), fault, follow_up)
    assert outcome.hit
    assert outcome.problems == []


def test_the_record_of_a_started_pipeline_is_tried_until_the_invocation_is_nearly_over(
    function: Callable[[str], FunctionScenario],
) -> None:
    """Refused for a third of the invocation's time, the record is written all the same: the message is done at once."""
    outcome = attempt_function(function("trigger"), Fault("dynamodb.UpdateItem", 1, "outage"), "retry")
    assert outcome.hit
    assert not outcome.red
    assert outcome.problems == []


# --- the bench itself ------------------------------------------------------------------------------------------------


def test_what_is_done_after_a_signal_is_noticed(scenario: Callable[[str], Scenario], proxy: FaultProxy) -> None:
    fault = Fault("sagemaker.ListModelPackages", 0, "cancel")
    outcome = run(scenario("build"), proxy, 1, 1, fault)
    assert list(misconduct(outcome, fault)) == []
    late = Call("cloudformation.ExecuteChangeSet", 0, after_signal=True)
    assert list(misconduct(outcome._replace(calls=[*outcome.calls, late]), fault)) == [
        "did cloudformation.ExecuteChangeSet after it was cancelled"
    ]
    assert list(misconduct(outcome._replace(code=0), fault)) == ["was cancelled and ended as a success"]
    assert list(misconduct(outcome._replace(errors="error SMCI-206: no"), fault)) == [
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


def test_every_kind_comes_to_every_call_of_a_function_and_each_follow_up_to_a_death() -> None:
    calls = [Call("gitlab.POST projects", 0, False), Call("s3.GET object", 0, False)]
    every = list(function_cases(calls, ("retry", "roll back")))
    of_post = [(fault.kind, follow_up) for fault, follow_up in every if fault.operation == calls[0].operation]
    assert {kind for kind, _ in of_post} == FUNCTION_KINDS.keys() - {"outage"}
    assert [kind for kind, follow_up in of_post if follow_up == "roll back"] == ["kill before", "kill after"]
    assert {fault.kind for fault, _ in every if fault.operation == "s3.GET object"} == FUNCTION_KINDS.keys() - {
        "broken", "kill before",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v4/projects/7/variables?per_page=20", "gitlab.GET projects/:id/variables"),
        ("/api/v4/projects/team%2Fabalone-build", "gitlab.GET projects/:id"),
        ("/api/v4/user", "gitlab.GET user"),
    ],
)
def test_what_is_asked_of_gitlab_is_known_by_its_path(path: str, expected: str) -> None:
    assert gitlab_operation_of("GET", path, {}, b"") == expected


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
