"""The user's code in a container: fetched from where the SDK has put it, with what its requirements.txt names."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from sandbox.aws.containers import archive


class CodeError(Exception):
    """Code that cannot be fetched or prepared."""


def fetch(source: str, folder: Path) -> None:
    """Put the code at `source` (an archive or a folder, in S3 or in the container) into `folder`. Raises CodeError."""
    folder.mkdir(parents=True, exist_ok=True)
    if source.startswith("s3://"):
        path = folder.parent / "sourcedir.tar.gz"
        _download(source, path)
        unpack(path, folder)
        path.unlink()
        return
    path = Path(source.removeprefix("file://"))
    if path.is_dir():
        if path.resolve() != folder.resolve():
            shutil.copytree(path, folder, dirs_exist_ok=True)
    elif path.is_file():
        unpack(path, folder)
    else:
        raise CodeError(f"there is no code at {source}")


def _download(uri: str, target: Path) -> None:
    import boto3
    from botocore.exceptions import ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        boto3.client("s3").download_file(bucket, key, str(target))
    except ClientError as error:
        raise CodeError(f"cannot read {uri}: {error}") from error


def unpack(path: Path, folder: Path) -> None:
    """Extract a .tar.gz whose members stay inside `folder`. Raises CodeError."""
    try:
        with tarfile.open(path, "r:gz") as tar:
            archive.unpack(tar, folder)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise CodeError(f"{path.name} is not a valid tar.gz archive: {error}") from error


def install_requirements(folder: Path) -> None:
    """Install what the code's requirements.txt names; PIP_TARGET says where to, see container.py. Raises CodeError."""
    requirements = folder / "requirements.txt"
    if not requirements.is_file():
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--requirement", str(requirements)]
    if subprocess.run(command, cwd=folder, check=False).returncode:
        raise CodeError(f"Command {' '.join(command)} failed")
