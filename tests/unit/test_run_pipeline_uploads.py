"""Names that are made of content alone, and uploads that would change nothing."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from ci_scripts.run_pipeline import uploads

SHA256 = "0" * 64
CONTENT = b"print(1)\n"


def folder(root: Path, text: str = "1") -> Path:
    (root / "code" / "__pycache__").mkdir(parents=True)
    (root / "code" / "train.py").write_text(text)
    (root / "code" / "__pycache__" / "train.pyc").write_text(str(root))
    return root / "code"


def test_the_same_files_have_the_same_name_wherever_they_lie(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "runner-1"), folder(tmp_path / "runner-2")
    assert uploads.digest(one) == uploads.digest(other)
    assert uploads.digest(one) != uploads.digest(folder(tmp_path / "runner-3", "2"))
    (other / "train.py").rename(other / "fit.py")
    assert uploads.digest(one) != uploads.digest(other)


@pytest.mark.parametrize("moment", ["20261129154239", "2026-11-29-15-42-39-123"])
def test_a_time_in_a_name_gives_way_to_the_content(tmp_path: Path, moment: str) -> None:
    code = folder(tmp_path)
    key = uploads.named_by_content(f"abalone/job-{moment}/input/code", str(code))
    assert key == f"abalone/job-{uploads.digest(code)}/input/code"


@pytest.mark.parametrize("prefix", ["data", "abalone/2026/11/29", "runs-20261129/code", "job-202611291542391/x"])
def test_any_other_name_stays(tmp_path: Path, prefix: str) -> None:
    assert uploads.named_by_content(prefix, str(folder(tmp_path))) == prefix


def there(key: str, body: Any, answer: dict[str, Any] | None) -> bool:
    connect: Any = boto3.client
    s3 = connect("s3", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(s3) as stub:
        if answer is None:
            stub.add_client_error("head_object", "404", http_status_code=404)
        else:
            stub.add_response("head_object", answer)
        return uploads.is_there(s3, {"Bucket": "artifacts", "Key": key, "Body": body})


def test_what_is_not_there_is_uploaded() -> None:
    assert not there(f"code/{SHA256}/a.py", CONTENT, None)


def test_a_folder_that_is_named_by_its_content_holds_it() -> None:
    assert there(f"code/{SHA256}/sourcedir.tar.gz", io.BytesIO(b"packed a moment later"), {"ETag": '"x-2"'})


def test_anything_else_is_compared_and_read_to_its_end_again() -> None:
    etag = f'"{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"'
    body = io.BytesIO(CONTENT)
    assert there("data/a.py", body, {"ETag": etag})
    assert body.read() == CONTENT
    assert not there("data/a.py", b"print(2)\n", {"ETag": etag})
    assert not there("data/a.py", object(), {"ETag": etag})


def test_a_note_of_the_sdk_forgets_where_the_code_lay(tmp_path: Path) -> None:
    checkout, notes = tmp_path / "checkout", tmp_path / "notes"
    notes.mkdir()
    note = notes / "sourcecode.json"
    note.write_text(f'{{"source_dir": "{checkout}/pipelines/source", "entry_script": "train.py"}}')
    uploads.leave_out_place(str(notes), checkout)
    assert note.read_text() == '{"source_dir": "pipelines/source", "entry_script": "train.py"}'
