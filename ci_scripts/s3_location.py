"""A place in S3, as its parts and as a URI."""

from __future__ import annotations

from typing import NamedTuple


class Location(NamedTuple):
    """An object in S3, or the beginning of the keys of several."""

    bucket: str
    key: str

    @classmethod
    def of(cls, uri: str) -> Location:
        """The parts of `s3://bucket/key`."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"
