"""Which data an execution read, told by the versions that S3 had when it began."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ci_scripts.run_pipeline import data_versions
from ci_scripts.run_pipeline.data_versions import Stored

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
URI = "s3://bucket/abalone.csv"


def reads(name: str, uri: Any) -> dict[str, Any]:
    return {"InputName": name, "S3Input": {"S3Uri": uri}}


def step(name: str, *inputs: dict[str, Any]) -> dict[str, Any]:
    return {"Name": name, "Type": "Processing", "Arguments": {"ProcessingInputs": list(inputs)}}


def test_what_steps_read_from_outside_is_found_and_what_they_hand_on_and_their_code_is_not() -> None:
    join = {"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Parameters.Bucket"}, "more.csv"]}}
    channel = {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://bucket/train"}}}
    definition = {
        "Steps": [
            step("A", reads("data", {"Get": "Parameters.InputDataUrl"}), reads("code", "s3://bucket/code/a.py")),
            step("B", reads("again", {"Get": "Parameters.InputDataUrl"}), reads("model", {"Get": "Steps.A.X"})),
            step("C", reads("joined", join), reads("other", {"Std:Join": {"Values": [{"Get": "Execution.Id"}]}})),
            {"Name": "D", "Type": "Training", "Arguments": {"InputDataConfig": [channel]}},
            {"Name": "E", "Type": "Tuning", "Arguments": {"TrainingJobDefinition": {"InputDataConfig": [channel]}}},
        ]
    }
    assert data_versions.inputs(definition, {"InputDataUrl": URI, "Bucket": "bucket"}) == {
        "data": URI,
        "joined": "s3://bucket/more.csv",
        "train": "s3://bucket/train",
    }


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ([Stored("abalone.csv", "3sL4kq", "e1", False)], f"version 3sL4kq of {URI}"),
        ([Stored("abalone.csv", "", "e1", False)], f"etag e1 of {URI}"),
        ([Stored("abalone.csv", "", "e1", True)], f"etag e1 of {URI} changed since"),
        ([], f"nothing at {URI}"),
        (None, f"more than 1000 objects below {URI}"),
    ],
)
def test_data_is_told_by_its_version_or_by_its_checksum(stored: list[Stored] | None, words: str) -> None:
    assert data_versions.in_words(URI, stored) == words


def test_several_objects_have_one_checksum_which_any_other_version_changes() -> None:
    first = [Stored("a", "1", "", False), Stored("b", "2", "", False)]
    words = data_versions.in_words(URI, first)
    assert words.startswith("sha256:")
    assert words.endswith(f" of 2 objects below {URI}")
    assert data_versions.in_words(URI, first[::-1]) == words
    assert data_versions.in_words(URI, [first[0], Stored("b", "3", "", False)]) != words


class S3:
    """ListObjectVersions and ListObjectsV2 as S3 answers them."""

    def __init__(self, page: dict[str, Any], *, denied: tuple[str, ...] = ()) -> None:
        self.page, self.denied = page, denied

    def _refuse(self, operation: str) -> None:
        if operation in self.denied:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)

    def get_paginator(self, name: str) -> S3:
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        self._refuse("ListObjectVersions")
        return [self.page]

    def list_objects_v2(self, **_: Any) -> dict[str, Any]:
        self._refuse("ListObjectsV2")
        return {"Contents": self.page["Versions"]}


def row(key: str, version: str, hours: float, **more: Any) -> dict[str, Any]:
    return {"Key": key, "VersionId": version, "LastModified": NOON + timedelta(hours=hours), **more}


def test_the_version_is_the_one_that_was_there_when_the_execution_began() -> None:
    versions = [row("abalone.csv", str(hours), hours, ETag='"e"') for hours in (1, -1, -2)]
    s3: Any = S3({"Versions": versions})
    assert data_versions.versions(s3, {"data": URI}, NOON) == ({"data": f"version -1 of {URI}"}, [])


def test_what_was_deleted_by_then_was_not_read() -> None:
    s3: Any = S3({"Versions": [row("abalone.csv", "1", -2, ETag="e")], "DeleteMarkers": [row("abalone.csv", "2", -1)]})
    assert data_versions.versions(s3, {"data": URI}, NOON)[0] == {"data": f"nothing at {URI}"}


def test_a_bucket_without_versions_tells_when_it_was_written_since() -> None:
    s3: Any = S3({"Versions": [row("abalone.csv", "null", 1, ETag='"e"')]})
    assert data_versions.versions(s3, {"data": URI}, NOON)[0] == {"data": f"etag e of {URI} changed since"}


def test_a_bucket_that_shows_no_versions_is_listed_and_one_that_shows_nothing_is_named() -> None:
    page = {"Versions": [row("abalone.csv", "1", -1, ETag='"e"')]}
    listed: Any = S3(page, denied=("ListObjectVersions",))
    assert data_versions.versions(listed, {"data": URI}, NOON)[0] == {"data": f"etag e of {URI}"}
    closed: Any = S3(page, denied=("ListObjectVersions", "ListObjectsV2"))
    versions, [unseen] = data_versions.versions(closed, {"data": URI}, NOON)
    assert versions == {}
    assert unseen == f"versions of {URI} cannot be seen: the stack of infra/steps.yml lets this job list them"
