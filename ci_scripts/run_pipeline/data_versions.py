"""Which versions of the data an execution read: what its definition names outside itself, as S3 had it when it began.

Called by records.py before a package is stamped. A list of versions tells ids and checksums and shows no content, so
that the job needs no right to read the data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ci_scripts import aws_errors
from ci_scripts.run_pipeline import definition
from ci_scripts.s3_location import Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MOST_INPUTS, _MOST_OBJECTS = 4, 1000
_CODE = ("code", "entrypoint", "sourcecode", "sm_")
"""How the SageMaker SDK begins the names of inputs that are code, which the commit tells."""


class Stored(NamedTuple):
    """An object as it was."""

    key: str
    version: str
    """Its version id; empty in a bucket without versions."""
    etag: str
    changed: bool
    """Whether it was written after the moment that counts, and no older version is kept."""


def inputs(defined: definition.Definition, parameters: Mapping[str, Any]) -> dict[str, str]:
    """The S3 URIs that steps read and no step of the pipeline makes, by the name of the input; at most four."""
    uris: dict[str, str] = {}
    for step in definition.steps(defined).values():
        for name, uri in _read_by(step.get("Arguments") or {}):
            resolved = _resolved(uri, parameters)
            code = name.lower().startswith(_CODE)
            if resolved.startswith("s3://") and not code and resolved not in uris.values() and name not in uris:
                uris[name] = resolved
    return dict(list(uris.items())[:_MOST_INPUTS])


def _read_by(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for each in arguments.get("ProcessingInputs") or []:
        yield str(each.get("InputName")), (each.get("S3Input") or {}).get("S3Uri")
    training = arguments.get("TrainingJobDefinition") or arguments
    for each in training.get("InputDataConfig") or []:
        source = (each.get("DataSource") or {}).get("S3DataSource") or {}
        yield str(each.get("ChannelName")), source.get("S3Uri")


def _resolved(node: Any, parameters: Mapping[str, Any]) -> str:
    """The text of an expression that parameters decide alone; empty if a step or the execution does."""
    if isinstance(node, str):
        return node
    if not isinstance(node, Mapping):
        return ""
    if isinstance(node.get("Get"), str):
        root, _, name = node["Get"].partition(".")
        return str(parameters.get(name, "")) if root == "Parameters" else ""
    join = node.get("Std:Join")
    if not isinstance(join, Mapping):
        return ""
    parts = [_resolved(each, parameters) for each in join.get("Values") or []]
    return str(join.get("On", "")).join(parts) if all(parts) else ""


def versions(s3: S3Client, uris: Mapping[str, str], moment: datetime) -> tuple[dict[str, str], list[str]]:
    """For each input what it was at that moment, in words; and a sentence for each that cannot be seen."""
    from botocore.exceptions import BotoCoreError, ClientError

    descriptions: dict[str, str] = {}
    unseen = []
    for name, uri in uris.items():
        try:
            descriptions[name] = in_words(uri, _stored(s3, Location.of(uri), moment))
        except ClientError as error:
            denied = "the stack of infra/steps.yml lets this job list them"
            why = denied if aws_errors.code(error) in aws_errors.DENIED else aws_errors.text(error)
            unseen.append(f"versions of {uri} cannot be seen: {why}")
        except BotoCoreError as error:
            unseen.append(f"versions of {uri} cannot be seen: {error}")
    return descriptions, unseen


def in_words(uri: str, stored: list[Stored] | None) -> str:
    """`version 3sL4kq of s3://...`, or for several objects one checksum of all their versions; None is too many."""
    if stored is None:
        return f"more than {_MOST_OBJECTS} objects below {uri}"
    if not stored:
        return f"nothing at {uri}"
    changed = " changed since" if any(each.changed for each in stored) else ""
    if len(stored) == 1:
        [only] = stored
        return f"{f'version {only.version}' if only.version else f'etag {only.etag}'} of {uri}{changed}"
    text = "\n".join(sorted(f"{each.key} {each.version or each.etag}" for each in stored))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()} of {len(stored)} objects below {uri}{changed}"


def _stored(s3: S3Client, place: Location, moment: datetime) -> list[Stored] | None:
    from botocore.exceptions import ClientError

    try:
        return _by_versions(s3, place, moment)
    except ClientError as error:
        if aws_errors.code(error) not in aws_errors.DENIED:
            raise
    # The bucket of another team may let itself be listed, and nothing more.
    page = s3.list_objects_v2(Bucket=place.bucket, Prefix=place.key, MaxKeys=_MOST_OBJECTS)
    if page.get("IsTruncated"):
        return None
    return [
        Stored(each["Key"], "", each["ETag"].strip('"'), each["LastModified"] > moment)
        for each in page.get("Contents", [])
    ]


def _by_versions(s3: S3Client, place: Location, moment: datetime) -> list[Stored] | None:
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=place.bucket, Prefix=place.key)
    newest: dict[str, Stored | None] = {}
    for page in pages:
        rows: list[Any] = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        # Newest first, so that the first one that was there at the moment is the one that counts.
        for each in sorted(rows, key=lambda row: row["LastModified"], reverse=True):
            key = str(each["Key"])
            version = "" if each["VersionId"] == "null" else str(each["VersionId"])
            late = each["LastModified"] > moment
            if key not in newest and (not late or not version):
                stored = Stored(key, version, str(each.get("ETag", "")).strip('"'), late) if "ETag" in each else None
                newest[key] = stored
        if len(newest) > _MOST_OBJECTS:
            return None
    return [each for each in newest.values() if each is not None]
