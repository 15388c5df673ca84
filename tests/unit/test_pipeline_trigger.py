"""How often a model package was approved, decided from SageMaker's events alone."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_trigger import announcements, approvals

EVENTS = Path(__file__).parent / "events"


def event(name: str, **detail: Any) -> dict[str, Any]:
    """An event file, with fields of `detail` replaced or, with None, taken out."""
    content: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    content["detail"] = {key: value for key, value in (content["detail"] | detail).items() if value is not None}
    return content


def transitions(story: str) -> list[str]:
    """`"A1 R2 A3"`: Approved at second 1, Rejected at 2, Approved at 3; `P` is PendingManualApproval."""
    names = {"A": "Approved", "R": "Rejected", "P": "PendingManualApproval"}
    return [f"2026-11-22T17:00:{int(word[1:]):02}.000000+00:00 {names[word[0]]}" for word in story.split()]


@pytest.mark.parametrize(
    ("story", "runs"),
    [
        ("", 0),
        ("P0", 0),
        ("P0 R1", 0),
        ("A0", 1),  # registered as Approved
        ("P0 A1", 1),
        ("P0 A1 A1 A2", 1),  # copies, one with a later time
        ("P0 A1 A9", 1),  # set to Approved once more
        ("P0 A1 R2", 1),
        ("P0 A1 R2 A3", 2),
        ("P0 A1 A2 R3 R4 A5 A6", 2),
        ("A1 P2 A3 R4 A5", 3),
        # Times that are equal: the order with the most approvals is taken, lest one be lost.
        ("A1 R5 A5", 2),
        ("P0 A5 R5", 1),
        ("P0 A5 R5 A6", 2),
        ("A1 A5 P5 R5 A6", 2),
        ("R5 P5", 0),
    ],
)
def test_approval_runs_are_counted_by_time(story: str, runs: int) -> None:
    assert approvals.count_runs(transitions(story)) == runs


@pytest.mark.parametrize("story", ["P0 A1 A2 R3 R4 A5", "A1 R2 A3 P4 A5", "P0 A1 A1 A2"])
def test_the_count_only_grows_in_whatever_order_events_arrive(story: str) -> None:
    everything = transitions(story)
    for order in itertools.permutations(everything):
        counts = list(running_counts(order))
        assert counts == sorted(counts)
        assert counts[-1] == approvals.count_runs(everything)


def running_counts(order: Iterable[str]) -> Iterable[int]:
    so_far: set[str] = set()
    for transition in order:
        so_far.add(transition)
        yield approvals.count_runs(so_far)


@pytest.mark.parametrize(
    ("story", "rejections"),
    [
        ("", 0),
        ("P0 R1", 0),  # never approved
        ("P0 A1", 0),
        ("A0 R1", 1),
        ("P0 A1 P2 R3", 1),
        ("P0 A1 R2 R2 R3", 1),  # copies, and set to Rejected once more
        ("P0 A1 R2 P3 R4", 1),  # not approved in between
        ("P0 R1 A2 R3", 1),
        ("P0 A1 R2 A3 R4", 2),
        ("P0 A1 R2 A3", 1),
        ("P0 A5 R5", 1),  # the approval may have been first
        ("A1 R5 A5 R6", 2),
    ],
)
def test_rejections_of_what_had_been_approved_are_counted_by_time(story: str, rejections: int) -> None:
    assert approvals.count_rejections(transitions(story)) == rejections


@pytest.mark.parametrize(
    ("story", "status"),
    [("P0 A1 R2", "Rejected"), ("R2 A1 A3", "Approved"), ("A1 A5 R5", "Approved"), ("R5", "Rejected")],
)
def test_a_rejection_counts_as_the_latest_status_only_when_nothing_else_has_its_time(story: str, status: str) -> None:
    assert approvals.latest_status(transitions(story)) == status


@pytest.mark.parametrize(
    ("name", "transition"),
    [
        ("created", "2026-11-22T16:40:02.000000+00:00 PendingManualApproval"),
        ("created_approved", "2026-11-22T16:40:02.000000+00:00 Approved"),
        ("approved", "2026-11-22T17:00:14.000000+00:00 Approved"),
        ("rejected", "2026-11-22T17:05:14.000000+00:00 Rejected"),
    ],
)
def test_an_event_tells_the_status_and_since_when(name: str, transition: str) -> None:
    change = approvals.read(event(name))
    assert change is not None
    assert change.transition == transition
    assert change.group == "abalone-p-sandbox01"
    assert change.model_package_arn.endswith(":model-package/abalone-p-sandbox01/2")


def test_an_update_of_another_field_of_an_approved_package_is_no_approval() -> None:
    assert approvals.read(event("metadata_of_approved")) is None


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2026-11-22T17:00:14Z", "2026-11-22T17:00:14.020Z"),
        ("2026-11-22T17:00:14.9Z", "2026-11-22T17:00:15Z"),
        ("2026-11-22T18:00:14+02:00", "2026-11-22T17:00:14Z"),
        (1795366814000, "2026-11-22T17:00:15Z"),
        (1795366814, 1795366814020),
        ("1795366814000", "1795366814020"),
        ("1795366814", "2026-11-22T17:00:15Z"),
    ],
)
def test_transitions_sort_by_time_however_it_is_written(earlier: object, later: object) -> None:
    first, second = (approvals.read(event("approved", LastModifiedTime=time)) for time in (earlier, later))
    assert first is not None
    assert second is not None
    assert first.transition < second.transition


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ({"ModelPackageArn": None}, "ModelPackageArn"),
        ({"ModelApprovalStatus": None}, "ModelApprovalStatus"),
        ({"LastModifiedTime": None, "CreationTime": None}, "CreationTime"),
        ({"LastModifiedTime": "yesterday"}, "yesterday"),
        ({"LastModifiedTime": "99999999999999999999"}, "not a time"),
        ({"ModelPackageArn": "arn:aws:sagemaker:eu-west-1:123456789012:model/abalone"}, "not the ARN"),
    ],
)
def test_a_malformed_event_is_told_apart(detail: dict[str, Any], message: str) -> None:
    bare = {key: value for key, value in event("approved", **detail).items() if key not in ("resources", "time")}
    with pytest.raises(approvals.MalformedEvent, match=message):
        approvals.read(bare)


def test_an_event_without_its_own_times_has_that_of_the_event() -> None:
    """Neither does the time of creation stand for that of an approval, which would hide a rejection in between."""
    times = ("2026-11-22T17:00:14Z", "2026-11-22T17:05:14Z", "2026-11-22T17:09:14Z")
    sent = zip(("approved", "rejected", "approved"), times, strict=True)
    changes = [approvals.read(event(name, LastModifiedTime=None) | {"time": time}) for name, time in sent]
    assert approvals.count_runs({change.transition for change in changes if change}) == 2


def test_an_event_without_arn_and_group_is_about_its_resource() -> None:
    change = approvals.read(event("approved", ModelPackageArn=None, ModelPackageGroupName=None))
    assert change is not None
    assert change.model_package_arn == event("approved")["resources"][0]
    assert change.group == "abalone-p-sandbox01"


def test_an_event_of_2022_counts_as_the_status_that_it_tells() -> None:
    """It does not say what was updated. The edit of an approved version adds nothing to an approval that is known; of
    one approved before the trigger existed it cannot be told from an approval, and none may be lost."""
    older = {"UpdatedModelPackageFields": None, "ModelLifeCycle": None}
    approval = approvals.read(event("approved"))
    edit = approvals.read(event("approved", LastModifiedTime="2026-11-22T18:00:00Z", **older))
    assert approval is not None
    assert edit is not None
    assert approvals.count_runs({approval.transition, edit.transition}) == 1
    assert approvals.count_runs({edit.transition}) == 1
    rejection = approvals.read(event("rejected", **older))
    assert rejection is not None
    assert approvals.count_runs({approval.transition, rejection.transition}) == 1


@given(st.sets(st.tuples(st.integers(0, 4), st.sampled_from("APR")), max_size=7), st.randoms(use_true_random=False))
def test_no_further_event_lowers_the_count(story: set[tuple[int, str]], shuffled: Random) -> None:
    ordered = [transitions(f"{status}{second}")[0] for second, status in sorted(story)]
    shuffled.shuffle(ordered)
    counts = list(running_counts(ordered))
    assert counts == sorted(counts)
    rejections = [approvals.count_rejections(ordered[:number]) for number in range(len(ordered) + 1)]
    assert rejections == sorted(rejections)
    assert rejections[-1] <= counts[-1] if counts else True


@pytest.mark.parametrize("body", [{}, [], {"detail": None}, {**event("approved"), "detail-type": "Something else"}])
def test_what_is_no_event_is_told_apart(body: Any) -> None:
    with pytest.raises(approvals.MalformedEvent):
        approvals.read(body)


@pytest.mark.parametrize(
    ("name", "stage"), [("rejected", ""), ("rejected_in_production", "Production"), ("created", ""), ("approved", "")]
)
def test_an_event_tells_where_the_version_is_deployed(name: str, stage: str) -> None:
    change = approvals.read(event(name))
    assert change is not None
    assert change.stage == stage


def test_a_version_that_waits_is_announced_by_the_event_that_tells_where_it_comes_from() -> None:
    waiting = announcements.read(event("stamped"))
    assert waiting is not None
    assert waiting.stamped
    assert waiting.subject == "Version 2 of abalone-p-sandbox01 waits for approval"
    assert waiting.message.splitlines() == [
        "Version 2 of the model package group abalone-p-sandbox01 waits for approval.",
        "",
        "Model package group: abalone-p-sandbox01",
        "Version: 2",
        "Registered: 2026-11-22T16:40:02Z",
        "Repository: mlops/abalone-model-build",
        "Commit: 0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
        "Branch: main",
        "GitLab pipeline: https://gitlab.example.com/mlops/abalone-model-build/-/pipelines/41",
        "GitLab job: https://gitlab.example.com/mlops/abalone-model-build/-/jobs/97",
        "SageMaker pipeline execution: "
        "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/abalone-p-sandbox01/execution/4r83jejmhorv",
        "Metrics (ModelQuality, Statistics): s3://artifacts/abalone/evaluation.json",
        "Look at it: https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1"
        "#/model-packages/abalone-p-sandbox01/2",
    ]


def test_a_version_that_something_else_registered_says_what_is_known_of_it() -> None:
    waiting = announcements.read(event("created"))
    assert waiting is not None
    assert not waiting.stamped
    assert "Registered by: arn:aws:sagemaker:eu-west-1:123456789012:pipeline/" in waiting.message
    bare = announcements.read(event("created", MetadataProperties=None, ModelMetrics=None))
    assert bare is not None
    assert "Registered by: unknown" in bare.message


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("created_approved", {}),
        ("approved", {}),
        ("rejected", {}),
        ("metadata_of_approved", {}),
        ("stamped", {"UpdatedModelPackageFields": ["ApprovalDescription"]}),
        ("stamped", {"CustomerMetadataProperties": {"HeldOutDataUri": "s3://artifacts/test.csv"}}),
        ("stamped", {"ModelApprovalStatus": "Approved"}),
        ("rejected", {"ModelApprovalStatus": "PendingManualApproval"}),  # back to Pending: it is not new
    ],
)
def test_nothing_else_is_announced(name: str, detail: dict[str, Any]) -> None:
    assert announcements.read(event(name, **detail)) is None


def test_the_subject_of_the_longest_name_is_one_that_sns_takes() -> None:
    group = "a" * 63
    arn = f"arn:aws-cn:sagemaker:cn-north-1:123456789012:model-package/{group}/100000"
    waiting = announcements.read(event("created", ModelPackageArn=arn, ModelPackageGroupName=group))
    assert waiting is not None
    assert len(waiting.subject) < 100
    assert "https://cn-north-1.console.amazonaws.cn/sagemaker/" in waiting.message
