"""The sandbox's GitLab: what becomes of jobs, given the jobs before them."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.gitlab.run.scheduling import JobState, changes, composite, retries_left, revived, superseded


def job(name: str, stage: int, status: str = "created", **more: Any) -> JobState:
    return JobState(name, stage, status, **more)


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        pytest.param([], "success", id="nothing before"),
        pytest.param([("success", False), ("skipped", False)], "success", id="a skipped job does not matter"),
        pytest.param([("skipped", False)], "skipped", id="all skipped"),
        pytest.param([("success", False), ("failed", False)], "failed", id="one failed"),
        pytest.param([("success", False), ("failed", True)], "success", id="allowed to fail"),
        pytest.param([("success", False), ("manual", False)], "manual", id="a blocking manual job blocks"),
        pytest.param([("success", False), ("manual", True)], "success", id="an optional manual job does not"),
        pytest.param([("failed", False), ("manual", False)], "manual", id="manual before failed"),
        pytest.param([("running", False), ("failed", False)], "running", id="running before failed"),
        pytest.param([("success", False), ("created", False)], "running", id="not finished"),
        pytest.param([("pending", False), ("created", False)], "pending", id="waiting for a runner"),
        pytest.param([("success", False), ("canceled", False)], "canceled", id="canceled"),
        pytest.param([("running", False), ("canceling", False)], "running", id="one still runs"),
        pytest.param([("success", False), ("canceling", False)], "canceling", id="being canceled"),
        pytest.param([("success", False), ("waiting_for_resource", False)], "waiting_for_resource", id="resource"),
    ],
)
def test_the_status_of_several_jobs(jobs: list[tuple[str, bool]], expected: str) -> None:
    states = [job(str(i), 0, status, allow_failure=allowed) for i, (status, allowed) in enumerate(jobs)]
    assert composite(states) == expected


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        pytest.param([job("a", 0), job("b", 1)], {"a": "pending"}, id="the first stage starts"),
        pytest.param([job("a", 0, "running"), job("b", 1)], {}, id="the second waits"),
        pytest.param([job("a", 0, "success"), job("b", 1)], {"b": "pending"}, id="then it runs"),
        pytest.param([job("a", 0, "failed"), job("b", 1), job("c", 2)], {"b": "skipped", "c": "skipped"}, id="or not"),
        pytest.param([job("a", 0, "failed"), job("b", 1, when="manual")], {"b": "skipped"}, id="a manual job neither"),
        pytest.param([job("a", 0, "success"), job("b", 1, when="manual")], {"b": "manual"}, id="manual after success"),
        pytest.param(
            [job("a", 0, "failed"), job("b", 1, when="on_failure"), job("c", 1, when="always")],
            {"b": "pending", "c": "pending"},
            id="on_failure and always run after a failure",
        ),
        pytest.param(
            [job("a", 0, "success"), job("b", 1, when="on_failure")], {"b": "skipped"}, id="on_failure skipped"
        ),
        pytest.param([job("a", 0, "failed", allow_failure=True), job("b", 1)], {"b": "pending"}, id="allowed failure"),
        pytest.param([job("a", 0, "manual"), job("b", 1)], {}, id="a blocking manual job holds the next stage"),
        pytest.param(
            [job("a", 0, "manual", allow_failure=True), job("b", 1)], {"b": "pending"}, id="an optional one does not"
        ),
        pytest.param(
            [job("a", 0, "running"), job("b", 0, "success"), job("c", 1, needs=("b",))],
            {"c": "pending"},
            id="needs do not wait for the stage",
        ),
        pytest.param(
            [job("a", 0, "running"), job("c", 1, needs=())], {"c": "pending"}, id="empty needs wait for nothing"
        ),
        pytest.param([job("a", 0, "failed"), job("c", 1, needs=("a",))], {"c": "skipped"}, id="a failed need"),
        pytest.param(
            [job("a", 0, "manual", allow_failure=True), job("c", 1, needs=("a",))],
            {"c": "skipped"},
            id="a need that nobody plays",
        ),
        pytest.param([job("a", 0, "manual"), job("c", 1, needs=("a",))], {}, id="a need that somebody has to play"),
        pytest.param([job("a", 0), job("b", 0, needs=("a",))], {"a": "pending"}, id="a need in the same stage"),
    ],
)
def test_what_happens_next(jobs: list[JobState], expected: dict[str, str]) -> None:
    assert changes(jobs) == expected


def test_a_retried_job_gives_the_skipped_jobs_after_it_another_chance() -> None:
    jobs = [
        job("build", 0, "success"),
        job("test", 1, "failed"),
        job("lint", 1, "skipped", needs=("build",)),
        job("pack", 2, "skipped", needs=("test",)),
        job("ship", 3, "skipped", needs=("pack",)),
        job("deploy", 2, "skipped"),
        job("docs", 2, "success"),
    ]
    assert revived(jobs, "test") == {"pack", "ship", "deploy"}


@pytest.mark.parametrize(
    ("retry", "attempt", "reason", "code", "expected"),
    [
        (None, 0, "script_failure", 1, False),
        ({"max": 2}, 1, "script_failure", 1, True),
        ({"max": 2}, 2, "script_failure", 1, False),
        (None, 1, "scheduler_failure", None, True),
        ({"max": 2}, 0, "missing_dependency_failure", None, False),
        ({"max": 1}, 0, "script_failure", 1, True),
        ({"max": 1, "when": ["runner_system_failure"]}, 0, "script_failure", 1, False),
        ({"max": 1, "when": ["runner_system_failure"]}, 0, "runner_system_failure", None, True),
        ({"max": 1, "exit_codes": [42]}, 0, "script_failure", 42, True),
        ({"max": 1, "exit_codes": [42]}, 0, "script_failure", 1, False),
    ],
)
def test_a_failed_job_is_retried_as_its_keyword_says(
    retry: dict[str, Any] | None, attempt: int, reason: str, code: int | None, expected: bool
) -> None:
    assert retries_left(retry, attempt, reason, code) is expected


@pytest.mark.parametrize(
    ("last_id", "last_sha", "expected"),
    [(None, None, False), (5, "new", True), (5, "old", False), (2, "new", False)],
)
def test_a_deployment_is_outdated_when_a_newer_one_of_another_commit_succeeded(
    last_id: int | None, last_sha: str | None, expected: bool
) -> None:
    assert superseded(3, "old", last_id, last_sha) is expected
