"""What a SageMaker job reads from and leaves in S3, between the bucket and the folder the container sees as /opt/ml."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from moto.sagemaker.exceptions import ValidationError


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def encrypted(key: str | None) -> dict[str, str]:
    """Arguments of PutObject for what SageMaker encrypts with a key of the account, if one is named."""
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}


def inside(opt_ml: Path, local_path: str) -> Path:
    """The host's name of a path under /opt/ml. Raises ValidationError for a path that leads out of it."""
    parts = PurePosixPath(local_path).parts
    if parts[:3] != ("/", "opt", "ml") or ".." in parts:
        raise ValidationError(f"LocalPath {local_path!r} is not valid: it must be a path under /opt/ml/processing")
    return opt_ml.joinpath(*parts[3:])


def require(s3: Any, uri: str, role_arn: str, region: str) -> None:
    """Raise ValidationError when nothing is stored under `uri`, as Create*Job does before a job exists."""
    bucket, _ = split(uri)
    try:
        exists = any(True for _ in _objects(s3, uri))
    except s3.exceptions.ClientError:
        exists = False
    if not exists:
        raise ValidationError(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
            f"exists in the selected region ({region}), that objects exist under that S3 prefix, and that the role "
            f'"{role_arn}" has "s3:ListBucket" permissions on bucket "{bucket}".'
        )


def download(s3: Any, uri: str, target: Path) -> None:
    """Copy everything under the prefix `uri` into `target`; an object of exactly that name keeps its last part."""
    bucket, _ = split(uri)
    target.mkdir(parents=True, exist_ok=True)
    for key, relative in _objects(s3, uri):
        path = target / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(path))


def upload(s3: Any, source: Path, uri: str) -> None:
    """Copy every file in `source` under `uri`; nothing to copy is no error, as with S3UploadMode EndOfJob."""
    bucket, prefix = split(uri)
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        s3.upload_file(str(path), bucket, f"{prefix.rstrip('/')}/{path.relative_to(source).as_posix()}")


def pack(source: Path, archive: Path) -> None:
    """A .tar.gz of what is in `source`, members named relative to it: how SageMaker stores a model."""
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(source.iterdir()):
            tar.add(path, arcname=path.name)


def _objects(s3: Any, uri: str) -> Iterator[tuple[str, str]]:
    """Keys under the prefix `uri`, each with its path below the prefix."""
    bucket, prefix = split(uri)
    folder = f"{prefix.rstrip('/')}/" if prefix else ""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for key in (item["Key"] for item in page.get("Contents", [])):
            if key.endswith("/"):
                continue  # the console's marker of an empty folder
            yield key, key[len(folder) :] if key.startswith(folder) else PurePosixPath(key).name
