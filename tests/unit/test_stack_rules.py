"""Decisions about CloudFormation stacks, as tables over values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.session import get_session

from ci_scripts import stack_rules
from ci_scripts.errors import StackFailed
from ci_scripts.job import current
from ci_scripts.stack_rules import Action

STACK = "AWS::CloudFormation::Stack"
ID = "arn:aws:cloudformation:eu-west-1:123456789012:stack/s/1"

ACTIONS = {
    None: Action.CREATE,
    "DELETE_COMPLETE": Action.CREATE,
    "CREATE_COMPLETE": Action.UPDATE,
    "UPDATE_COMPLETE": Action.UPDATE,
    "UPDATE_ROLLBACK_COMPLETE": Action.UPDATE,
    "IMPORT_COMPLETE": Action.UPDATE,
    "IMPORT_ROLLBACK_COMPLETE": Action.UPDATE,
    "REVIEW_IN_PROGRESS": Action.CREATE,
    "ROLLBACK_COMPLETE": Action.DELETE,
    "ROLLBACK_FAILED": Action.DELETE,
    "CREATE_IN_PROGRESS": Action.WAIT,
    "ROLLBACK_IN_PROGRESS": Action.WAIT,
    "DELETE_IN_PROGRESS": Action.WAIT,
    "UPDATE_IN_PROGRESS": Action.WAIT,
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": Action.WAIT,
    "UPDATE_ROLLBACK_IN_PROGRESS": Action.WAIT,
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": Action.WAIT,
    "IMPORT_IN_PROGRESS": Action.WAIT,
    "IMPORT_ROLLBACK_IN_PROGRESS": Action.WAIT,
    "CREATE_FAILED": Action.REFUSE,
    "DELETE_FAILED": Action.REFUSE,
    "UPDATE_FAILED": Action.REFUSE,
    "UPDATE_ROLLBACK_FAILED": Action.REFUSE,
    "IMPORT_ROLLBACK_FAILED": Action.REFUSE,
}


@pytest.mark.parametrize(("status", "action"), ACTIONS.items())
def test_every_stack_status_calls_for_one_action(status: str | None, action: Action) -> None:
    assert stack_rules.next_action(status) is action


def test_the_table_names_every_status_that_cloudformation_has() -> None:
    statuses = get_session().get_service_model("cloudformation").shape_for("StackStatus").metadata["enum"]
    assert set(statuses) == ACTIONS.keys() - {None}


@pytest.mark.parametrize("status", [status for status, action in ACTIONS.items() if action is Action.REFUSE])
def test_every_refusal_says_what_to_do_with_the_stack(status: str) -> None:
    assert "the-stack" in (stack_rules.hint("the-stack", status) or "")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (
            "The submitted information didn't contain changes. Submit different information to create a change set.",
            True,
        ),
        ("No updates are to be performed.", True),
        ("Parameters: [X] must have values", False),
        ("", False),
    ],
)
def test_both_texts_of_a_change_set_without_changes_are_known(reason: str, expected: bool) -> None:
    assert stack_rules.says_no_change(reason) is expected


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Role arn:aws:iam::123456789012:role/cfn is invalid or cannot be assumed", "CLOUDFORMATION_ROLE_ARN"),
        ("Template format error: Unresolved resource dependencies [X] in the Resources block of the template", ""),
    ],
)
def test_a_refused_change_set_has_a_hint_for_its_cause(text: str, named: str) -> None:
    assert named in (stack_rules.refusal_hint(text) or "")
    assert bool(stack_rules.refusal_hint(text)) is bool(named)


def event(
    number: int, status: str, name: str = "Endpoint", kind: str = "AWS::SageMaker::Endpoint", reason: str = ""
) -> dict[str, Any]:
    return {
        "EventId": str(number),
        "StackId": ID,
        "ResourceStatus": status,
        "LogicalResourceId": name,
        "ResourceType": kind,
        "PhysicalResourceId": ID if kind == STACK else name,
        "ResourceStatusReason": reason,
        "Timestamp": NOW + timedelta(seconds=number),
    }


def test_only_events_after_the_last_seen_one_are_new_oldest_first() -> None:
    pages = [[event(5, "A"), event(4, "A")], [event(3, "A"), event(2, "A")], [event(1, "A")]]
    assert [each["EventId"] for each in stack_rules.newer(pages, "2")] == ["3", "4", "5"]
    assert [each["EventId"] for each in stack_rules.newer(pages, None)] == ["1", "2", "3", "4", "5"]
    assert stack_rules.newer(pages, "5") == []


def test_no_page_is_asked_for_beyond_the_last_seen_event() -> None:
    def pages() -> Iterator[list[dict[str, Any]]]:
        yield [event(2, "A"), event(1, "A")]
        raise AssertionError("a needless page")

    assert [each["EventId"] for each in stack_rules.newer(pages(), "1")] == ["2"]


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        ("UPDATE_IN_PROGRESS", STACK, False),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", STACK, False),
        ("UPDATE_COMPLETE", STACK, True),
        ("ROLLBACK_IN_PROGRESS", STACK, False),
        ("ROLLBACK_COMPLETE", STACK, True),
        ("DELETE_FAILED", STACK, True),
        ("CREATE_COMPLETE", "AWS::SageMaker::Endpoint", False),
    ],
)
def test_an_operation_ends_with_an_event_of_the_stack_itself(status: str, kind: str, expected: bool) -> None:
    assert stack_rules.ends_operation(event(1, status, kind=kind), ID) is expected


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [([], None), (["ours"], True), (["theirs"], False), (["theirs", "ours"], True), ([None], False)],
)
def test_the_events_tell_whether_what_was_refused_goes_on_all_the_same(
    tokens: list[str | None], expected: bool | None
) -> None:
    events = [
        event(1, "UPDATE_IN_PROGRESS", "s", STACK) | ({"ClientRequestToken": each} if each else {}) for each in tokens
    ]
    assert stack_rules.begun(events, "ours") is expected


AT = current({"CI_JOB_ID": "99", "CI_PIPELINE_ID": "7", "CI_PROJECT_ID": "4711"})
HEX = "-0123456789ab"


@pytest.mark.parametrize(
    ("name", "status", "execution", "minutes", "abandoned"),
    [
        ("sagemaker-ci-4711-7-98" + HEX, "CREATE_COMPLETE", "AVAILABLE", 0, True),  # an earlier attempt of this job
        ("sagemaker-ci-4711-7-99" + HEX, "CREATE_COMPLETE", "AVAILABLE", 0, False),  # this job
        ("sagemaker-ci-4711-6-90" + HEX, "CREATE_COMPLETE", "AVAILABLE", 5, False),  # may be about to execute it
        ("sagemaker-ci-4711-6-90" + HEX, "CREATE_COMPLETE", "AVAILABLE", 61, True),
        ("sagemaker-ci-4711-6-90" + HEX, "CREATE_IN_PROGRESS", "UNAVAILABLE", 0, False),
        ("sagemaker-ci-4711-6-90" + HEX, "CREATE_COMPLETE", "OBSOLETE", 0, True),
        ("sagemaker-ci-4711-6-90" + HEX, "CREATE_COMPLETE", "EXECUTE_COMPLETE", 61, False),
        ("sagemaker-ci-4711-7-98" + HEX, "CREATE_COMPLETE", "EXECUTE_IN_PROGRESS", 0, False),
        ("sagemaker-ci-4711-6-90" + HEX, "FAILED", "UNAVAILABLE", 0, True),
        ("sagemaker-ci-4711-6-90" + HEX, "DELETE_IN_PROGRESS", "UNAVAILABLE", 61, False),
        ("sagemaker-ci-local" + HEX, "FAILED", "UNAVAILABLE", 0, True),
        ("sagemaker-ci-local" + HEX, "CREATE_COMPLETE", "AVAILABLE", 59, False),
        ("sagemaker-ci-by-a-person", "FAILED", "UNAVAILABLE", 600, False),
        ("review", "CREATE_COMPLETE", "AVAILABLE", 600, False),
    ],
)
def test_only_change_sets_that_no_run_will_execute_count_as_left_behind(
    name: str, status: str, execution: str, minutes: int, abandoned: bool
) -> None:
    summary = {
        "ChangeSetName": name,
        "Status": status,
        "ExecutionStatus": execution,
        "CreationTime": NOW - timedelta(minutes=minutes),
    }
    assert stack_rules.is_abandoned(summary, AT, NOW) is abandoned


def test_what_names_a_change_set_is_known_again() -> None:
    for at in (AT, current({})):
        summary = {"ChangeSetName": stack_rules.client_token(at), "Status": "FAILED", "CreationTime": NOW}
        assert stack_rules.is_abandoned(summary, AT, NOW)


def of_pipeline(number: int, status: str, project: str, pipeline: str) -> dict[str, Any]:
    """An event of the stack itself, of a deployment that this pipeline made."""
    at = current({"CI_JOB_ID": "99", "CI_PIPELINE_ID": pipeline, "CI_PROJECT_ID": project})
    return event(number, status, kind=STACK) | {"ClientRequestToken": stack_rules.client_token(at)}


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([[of_pipeline(1, "CREATE_COMPLETE", "4711", "7")]], 7),
        ([[of_pipeline(2, "UPDATE_COMPLETE", "4711", "8")], [of_pipeline(1, "CREATE_COMPLETE", "4711", "7")]], 8),
        # A deployment that failed left what was there before.
        (
            [[of_pipeline(2, "UPDATE_ROLLBACK_COMPLETE", "4711", "8"), of_pipeline(1, "CREATE_COMPLETE", "4711", "7")]],
            7,
        ),
        ([[event(3, "UPDATE_COMPLETE"), of_pipeline(1, "CREATE_COMPLETE", "4711", "7")]], 7),
        # Numbers of another project, or of another GitLab, cannot be compared.
        ([[of_pipeline(2, "UPDATE_COMPLETE", "12", "8"), of_pipeline(1, "CREATE_COMPLETE", "4711", "7")]], None),
        # A person's update, or one from a laptop.
        ([[event(2, "UPDATE_COMPLETE", kind=STACK), of_pipeline(1, "CREATE_COMPLETE", "4711", "7")]], None),
        ([[of_pipeline(1, "UPDATE_COMPLETE", "", "")]], None),
        ([[]], None),
    ],
)
def test_the_pipeline_that_made_a_stack_what_it_is_can_be_told(
    pages: list[list[dict[str, Any]]], expected: int | None
) -> None:
    assert stack_rules.last_pipeline(pages, "4711") == expected


def by(token: str, *events: dict[str, Any]) -> list[dict[str, Any]]:
    return [each | {"ClientRequestToken": token} for each in events]


BEGUN = event(1, "UPDATE_IN_PROGRESS", "s", STACK)
BROKEN = event(2, "UPDATE_FAILED", "Queue", reason="no such name")
STOPPED = event(3, "UPDATE_FAILED", reason="Resource update cancelled")
RESTORED = event(4, "UPDATE_ROLLBACK_COMPLETE", "s", STACK)
STUCK = event(4, "UPDATE_ROLLBACK_FAILED", "s", STACK)
GONE = event(4, "DELETE_COMPLETE", "s", STACK)


@pytest.mark.parametrize(
    ("events", "what", "hint"),
    [
        (by("ours", BEGUN, BROKEN, STOPPED, RESTORED), "UPDATE_FAILED Queue", "restored the previous deployment"),
        (by("ours", BEGUN) + by("theirs", STOPPED, RESTORED), "another caller .*theirs", "Ask who"),
        (by("ours", BEGUN, STOPPED) + by("theirs", RESTORED), "another caller .*theirs", "Ask who"),
        (by("ours", BEGUN) + by("theirs", GONE), "another caller .*theirs", "Ask who"),
        (by("ours", BEGUN) + by("theirs", STUCK), "another caller .*theirs", "continue-update-rollback"),
        (by("ours", BEGUN, BROKEN) + by("theirs", GONE), "UPDATE_FAILED Queue .*DELETE_COMPLETE", None),
        ([BEGUN, STOPPED, RESTORED], "Resource update cancelled", "restored the previous deployment"),
        (by("ours", BEGUN, RESTORED), "no event names the cause", "restored the previous deployment"),
    ],
)
def test_a_failure_names_its_cause_or_that_somebody_else_ended_the_deployment(
    events: list[dict[str, Any]], what: str, hint: str | None
) -> None:
    failure = stack_rules.failure(events, "ours", "the-stack")
    assert re.search(what, failure.message)
    assert failure.message.endswith(f"the stack the-stack ended in {events[-1]['ResourceStatus']}")
    assert (hint or StackFailed.hint) in failure.hint


NESTED = event(2, "CREATE_FAILED", "Alarms", STACK, "Embedded stack ... [Queue]") | {
    "PhysicalResourceId": ID + "-Alarms"
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ID + "-Alarms"),
        ({"ResourceStatus": "CREATE_IN_PROGRESS"}, None),
        ({"ResourceStatusReason": "Resource creation cancelled"}, None),
        ({"PhysicalResourceId": ID}, None),  # the stack itself
        ({"PhysicalResourceId": ""}, None),  # refused before there was one
        ({"ResourceType": "AWS::SQS::Queue"}, None),
    ],
)
def test_a_failed_nested_stack_tells_where_its_cause_is(change: dict[str, str], expected: str | None) -> None:
    assert stack_rules.nested_stack(NESTED | change) == expected


def test_the_cause_in_a_nested_stack_is_named_with_the_way_to_it() -> None:
    inner = [
        event(3, "CREATE_FAILED", "Deep", STACK),
        event(4, "CREATE_FAILED", "Queue", "AWS::SQS::Queue", "no such name"),
    ]
    message = stack_rules.failure([BEGUN, NESTED, RESTORED], "ours", "s", {NESTED["EventId"]: inner}).message
    assert message == (
        "CREATE_FAILED Queue (AWS::SQS::Queue): no such name in the nested stack Deep in the nested stack Alarms; "
        "the stack s ended in UPDATE_ROLLBACK_COMPLETE"
    )


def test_only_events_since_a_moment_are_read() -> None:
    def pages() -> Iterator[list[dict[str, Any]]]:
        yield [event(3, "A"), event(2, "A"), event(1, "A")]
        raise AssertionError("a needless page")

    assert [each["EventId"] for each in stack_rules.since(pages(), NOW + timedelta(seconds=2))] == ["2", "3"]


def test_the_root_cause_is_the_first_failure_that_is_no_cancellation() -> None:
    events = [
        event(1, "CREATE_IN_PROGRESS"),
        event(2, "CREATE_FAILED", "Alarm", reason="Resource creation cancelled"),
        event(3, "CREATE_FAILED", "Model", reason="Could not access model data"),
        event(4, "CREATE_FAILED", "Endpoint", reason="Later"),
        event(5, "DELETE_FAILED", "Model", reason="Last"),
    ]
    cause = stack_rules.root_cause(events)
    assert cause is not None
    assert cause["EventId"] == "3"


def test_a_cancellation_is_named_when_nothing_else_is_known() -> None:
    cause = stack_rules.root_cause([event(2, "UPDATE_FAILED", reason="Resource update cancelled")])
    assert cause is not None
    assert cause["EventId"] == "2"
    assert stack_rules.root_cause([event(1, "CREATE_COMPLETE")]) is None


def test_an_event_is_one_line_also_when_its_reason_is_not() -> None:
    text = stack_rules.event_text(event(1, "CREATE_FAILED", reason="two\n  lines"))
    assert text == "CREATE_FAILED Endpoint (AWS::SageMaker::Endpoint): two lines"


@pytest.mark.parametrize(
    ("action", "replacement", "verb"),
    [
        ("Add", None, "add"),
        ("Remove", None, "remove"),
        ("Modify", "False", "modify"),
        ("Modify", "True", "replace"),
        ("Modify", "Conditional", "modify or replace"),
    ],
)
def test_a_change_is_told_in_words(action: str, replacement: str | None, verb: str) -> None:
    resource = {"Action": action, "LogicalResourceId": "Model", "ResourceType": "AWS::SageMaker::Model"}
    change = {"ResourceChange": resource | ({"Replacement": replacement} if replacement else {})}
    assert stack_rules.change_text(change) == f"{verb} Model (AWS::SageMaker::Model)"
