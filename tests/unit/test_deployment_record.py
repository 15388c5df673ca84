"""Records of deployments: their bytes, what they say of the next deployment, and what one goes back to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from ci_scripts import deployment_record, errors, export
from ci_scripts.deployment_record import Record, Standing
from ci_scripts.export import Export
from ci_scripts.job import Job
from ci_scripts.settings import Project

PROJECT = Project("eu-west-1", "abalone", "p-1", None, "bucket")
GROUP = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/abalone-p-1"
PLACE = "s3://bucket/sagemaker-abalone-p-1-history/prod/00000001.json"
LONG_AGO, FAR_AWAY = "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"


def plan(version: int, instances: int = 1) -> Export:
    return Export(
        stage="prod",
        stack_name=PROJECT.stack("prod"),
        endpoint_name=PROJECT.endpoint("prod"),
        model_package_arn=f"{GROUP}/{version}",
        template="Resources: {}\n",
        parameters={"Instances": str(instances), "Note": "ü"},
        tags={},
    )


def job(pipeline: int, began: str = LONG_AGO, attempt: int = 1) -> Job:
    return Job(
        id=f"{pipeline}{attempt}",
        name="prod-deploy",
        url=f"https://gitlab.example.com/team/deploy/-/jobs/{pipeline}{attempt}",
        pipeline_id=str(pipeline),
        pipeline_source="trigger",
        project_id="4711",
        project_path="team/deploy",
        project_url="https://gitlab.example.com/team/deploy",
        ref="main",
        commit="c0ffee",
        person="alice",
        pipeline_created_at=began,
    )


def deploy(
    latest: Record | None,
    at: Job,
    what: Export,
    properties: Mapping[str, str] = MappingProxyType({}),
    *,
    back: bool = False,
) -> Record:
    return deployment_record.following(latest, at, what, export.to_bytes(what), properties, goes_back=back)


def history(*steps: tuple[int, int]) -> list[Record]:
    """The records of these deployments, each the pipeline and the version, oldest first."""
    records: list[Record] = []
    for pipeline, version in steps:
        records.append(deploy(records[-1] if records else None, job(pipeline), plan(version)))
    return records


def stand(latest: Record | None, at: Job, what: Export, event: int | None = None, *, served: bool = False) -> Standing:
    digest = export.digest(export.to_bytes(what))
    return deployment_record.standing(latest, at, what, digest, event, lambda: served)


# --- what a record holds ---------------------------------------------------------------------------------------------


def test_a_record_is_read_back_as_it_was_written() -> None:
    properties = {
        "GitLabCommit": "abc",
        "GitLabProject": "team/build",
        "DataVersion": "v3",
        "Parameter.MaxDepth": "5",
        "Metric.mse.value": "4.43",
        "Owner": "x",
    }
    record = deploy(history((1, 6))[0], job(2), plan(7), properties)
    read = deployment_record.parse(deployment_record.to_bytes(record), PLACE, "prod", PROJECT)
    assert read == record
    assert read.export.encode() == export.to_bytes(plan(7))
    assert read.origin == {"Commit": "abc", "Project": "team/build", "DataVersion": "v3"}
    assert (read.parameters, read.metrics) == ({"MaxDepth": "5"}, {"mse.value": "4.43"})
    assert read.replaced == {"Number": 1, "ModelPackageArn": f"{GROUP}/6"}
    assert read.deployment["PipelineUrl"] == "https://gitlab.example.com/team/deploy/-/pipelines/2"
    assert read.deployment["Person"] == "alice"


def test_a_deployment_outside_gitlab_is_recorded_too() -> None:
    record = deploy(None, Job(*[""] * 10), plan(7))
    assert record.deployment == {}
    assert record.newest_pipelines == {}
    assert record.by == "by a run outside GitLab"
    assert deployment_record.parse(deployment_record.to_bytes(record), PLACE, "prod", PROJECT) == record


def changed(**fields: Any) -> bytes:
    content = json.loads(deployment_record.to_bytes(history((1, 6))[0]))
    return json.dumps(content | fields).encode()


def test_a_record_of_a_newer_schema_is_refused_as_such() -> None:
    content = changed(SchemaVersion=2, Colour="blue")
    with pytest.raises(errors.NewerRecord, match="has version 2 of the schema, this sagemaker-ci knows 1"):
        deployment_record.parse(content, PLACE, "prod", PROJECT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no record of a deployment"),
        (b"\xff", "no record of a deployment"),
        (b"[]", "not of type 'object'"),
        (changed(Event="bought"), "Event"),
        (changed(Export="{}"), "the record was changed"),
        (changed(Colour="blue"), "there is no field 'Colour'"),
    ],
)
def test_what_is_no_record_is_refused_by_its_address(content: bytes, message: str) -> None:
    with pytest.raises(errors.InvalidRecord, match=message) as caught:
        deployment_record.parse(content, PLACE, "prod", PROJECT)
    assert PLACE in caught.value.message


def test_a_record_of_another_project_is_not_taken() -> None:
    other = PROJECT._replace(name="wine")
    with pytest.raises(errors.InvalidRecord, match="StackName"):
        deployment_record.parse(changed(), PLACE, "prod", other)


# --- what the next deployment is -------------------------------------------------------------------------------------

LATEST = history((5, 6), (8, 7))[-1]


@pytest.mark.parametrize(
    ("latest", "at", "what", "event", "expected"),
    [
        (None, job(7), plan(6), None, Standing.FORWARD),
        (None, job(7), plan(6), 7, Standing.FORWARD),  # deployed before there were records
        (LATEST, job(9), plan(8), 8, Standing.FORWARD),
        (LATEST, job(9), plan(7), 8, Standing.FORWARD),  # the same version by a new pipeline
        (LATEST, job(8, attempt=2), plan(7), 8, Standing.SAME),
        (LATEST, Job(*[""] * 10), plan(7), None, Standing.FORWARD),  # a person at a terminal
    ],
)
def test_what_a_deployment_is_that_did_not_serve_before(
    latest: Record | None, at: Job, what: Export, event: int | None, expected: Standing
) -> None:
    assert stand(latest, at, what, event) is expected


@pytest.mark.parametrize(("latest", "event"), [(LATEST, None), (LATEST, 8), (None, 8), (LATEST, 9)])
def test_an_overtaken_pipeline_that_never_deployed_is_refused(latest: Record | None, event: int | None) -> None:
    with pytest.raises(errors.PipelineOvertaken, match=rf"pipeline {event or 8} has deployed to .* since pipeline 7"):
        stand(latest, job(7), plan(6), event)


def test_an_overtaken_pipeline_whose_export_has_served_before_goes_back() -> None:
    assert stand(LATEST, job(5, attempt=2), plan(6), 8, served=True) is Standing.RETURN


def test_a_pipeline_that_was_rolled_back_from_may_be_repeated_by_the_person_who_asks_for_it() -> None:
    back = deploy(LATEST, job(5), plan(6), back=True)
    assert back.event == "rolled back"
    assert stand(back, job(8, attempt=2), plan(7), 5, served=True) is Standing.RETURN


def test_a_version_that_was_rolled_back_from_does_not_return_by_a_pipeline_that_began_before() -> None:
    back = deploy(LATEST, job(5), plan(6), back=True)
    for what in (plan(7), plan(7, instances=2)):
        with pytest.raises(errors.VersionTakenBack, match=r"rolled back from .*/7 on .* \(record 3\)"):
            stand(back, job(9), what, 5)
        assert stand(back, job(9, began=FAR_AWAY), what, 5) is Standing.FORWARD
    assert stand(back, job(9), plan(8), 5) is Standing.FORWARD


def test_what_was_overtaken_stays_so_after_a_rollback() -> None:
    back = deploy(LATEST, job(5), plan(6), back=True)
    with pytest.raises(errors.PipelineOvertaken, match="pipeline 8 has deployed"):
        stand(back, job(7), plan(5), event=5)


# --- marks -----------------------------------------------------------------------------------------------------------


def test_a_rollback_marks_the_version_that_it_takes_back_until_somebody_deploys_it_anew() -> None:
    back = deploy(LATEST, job(5), plan(6), back=True)
    assert dict(back.taken_back) == {f"{GROUP}/7": {"Number": 3, "Time": back.time}}
    assert deploy(back, job(9), plan(8)).taken_back == back.taken_back
    assert deploy(back, job(9), plan(7)).taken_back == {}


def test_a_rollback_of_a_configuration_marks_the_export_and_not_the_version() -> None:
    wider = deploy(LATEST, job(9), plan(7, instances=2))
    back = deploy(wider, job(8), plan(7), back=True)
    assert list(back.taken_back) == [wider.digest]


def test_undoing_a_rollback_marks_nothing() -> None:
    back = deploy(LATEST, job(5), plan(6), back=True)
    undone = deploy(back, job(8), plan(7), back=True)
    assert undone.event == "rolled back"
    assert undone.taken_back == {}


def test_the_same_export_by_another_pipeline_is_no_rollback() -> None:
    again = deploy(LATEST, job(5), plan(7), back=True)
    assert again.event == "deployed"
    assert again.taken_back == {}


# --- what to go back to ----------------------------------------------------------------------------------------------


def test_what_served_before_is_the_newest_other_export_that_was_not_taken_back() -> None:
    records = history((1, 5), (2, 6), (3, 7))
    records.append(deploy(records[-1], job(2), plan(6), back=True))
    records.append(deploy(records[-1], job(4), plan(8)))
    assert deployment_record.before(records[-1], records[-2::-1]).version == "6"
    records.append(deploy(records[-1], job(5), plan(6), back=True))
    assert deployment_record.before(records[-1], records[-2::-1]).version == "5"


def test_where_nothing_served_before_there_is_nothing_to_go_back_to() -> None:
    first = history((1, 5), (2, 5))
    with pytest.raises(errors.NothingToRollBackTo, match="in prod before version 5"):
        deployment_record.before(first[-1], first[:1])


@pytest.mark.parametrize(("reference", "number"), [("6", 3), (f"{GROUP}/6", 3), ("#2", 2), ("5", 1)])
def test_a_version_or_a_record_can_be_chosen(reference: str, number: int) -> None:
    records = [*history((1, 5), (2, 6)), deploy(history((1, 5), (2, 6))[-1], job(3), plan(6, instances=2))]
    assert deployment_record.chosen(reference, records[::-1], "prod").number == number


def test_what_no_record_tells_of_cannot_be_chosen() -> None:
    with pytest.raises(errors.NothingToRollBackTo, match="no record of prod is meant by '9'"):
        deployment_record.chosen("9", history((1, 5)), "prod")
