"""Uploads that would change nothing: what lies in S3 already is not sent again.

Called by calls.py for every upload of a compilation, and by sdk.py for the names that the SageMaker SDK gives to code.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# A folder that is named by what it holds, by SHA-256: by the SDK a step's code, by sdk.py what the SDK names by time.
_NAMED_BY_CONTENT = re.compile(r"(^|/)[0-9a-f]{64}/")

# How both versions of the SDK name a job: `base-20261129154239` and `base-2026-11-29-15-42-39-123`.
_NAMED_BY_TIME = re.compile(r"(?<=-)(\d{14}|\d{4}(-\d\d){5}-\d{3})(?=/|$)")


def is_there(s3: S3Client, params: Mapping[str, Any]) -> bool:
    """Whether an upload, by the parameters of its call, would write what lies there already.

    By its name, if a folder is named by its content, else by the hash that S3 gives an object which was written at
    once and is not encrypted with a key of KMS. False whenever it cannot be seen.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        stored = s3.head_object(Bucket=params["Bucket"], Key=params["Key"])
    except (BotoCoreError, ClientError):
        return False
    if _NAMED_BY_CONTENT.search(params["Key"]):
        return True
    content = _content(params.get("Body"))
    return content is not None and stored["ETag"].strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest()


def size(params: Mapping[str, Any]) -> int:
    """Bytes that a call of S3 sends."""
    return len(_content(params.get("Body")) or b"")


def _content(body: Any) -> bytes | None:
    """The bytes to be sent, which are still all there afterwards."""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    if not (hasattr(body, "read") and hasattr(body, "seek") and hasattr(body, "tell")):
        return None
    start = body.tell()
    content = body.read()
    body.seek(start)
    return content if isinstance(content, bytes) else None


def named_by_content(key_prefix: str, path: str) -> str:
    """A prefix of keys with the hash of a file or folder in place of the time in it, if there is one."""
    return _NAMED_BY_TIME.sub(lambda _: digest(Path(path)), key_prefix) if Path(path).exists() else key_prefix


def leave_out_place(path: str, here: Path) -> None:
    """Take the checkout's place out of the note that version 3 of the SDK puts beside a script, in a folder of its own.

    The container reads the script's name there, and nothing of where the code lay.
    """
    note = Path(path) / "sourcecode.json"
    if note.is_file() and not note.is_relative_to(here):
        note.write_text(note.read_text(encoding="utf-8").replace(f"{here}/", ""), encoding="utf-8")


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files below a folder with their names in it; where the folder is does not matter."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    checksum = hashlib.sha256()
    for each in files:
        if each.parent.name != "__pycache__":  # made when the code was first imported
            name = each.name if each == path else each.relative_to(path).as_posix()
            content = each.read_bytes()
            checksum.update(f"{name}\0{len(content)}\0".encode() + content)
    return checksum.hexdigest()
