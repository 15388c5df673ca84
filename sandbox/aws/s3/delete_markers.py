"""In a bucket with versions, deleting a key that never was leaves a delete marker. moto leaves nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from moto.s3.models import FakeDeleteMarker, FakeKey, S3Backend


def install() -> None:
    backend: Any = S3Backend
    mark = backend._set_delete_marker

    def mark_anything(self: Any, bucket_name: str, key_name: str) -> Any:
        keys = self.get_bucket(bucket_name).keys
        if key_name in keys:
            return mark(self, bucket_name, key_name)
        keys[key_name] = marker = FakeDeleteMarker(cast(FakeKey, SimpleNamespace(name=key_name)))
        return marker

    backend._set_delete_marker = mark_anything
