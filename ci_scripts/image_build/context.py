"""What an image is made of: the files that its build sees, laid out as they count, and the tag that names them.

Called by command.py. The tag is a hash of everything that goes into the build, so that the same content has the same
image whatever commit, branch or runner it comes from. `.dockerignore` is read as Docker's own Python SDK reads it, and
BuildKit gets a copy of exactly the files that were hashed: it can see none that does not count.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from ci_scripts import repository
from ci_scripts.errors import BuilderMissing, ImageSourcesUnusable
from ci_scripts.image_build.options import Options
from ci_scripts.job import REPORTS

_ALWAYS_IGNORED = (".git", REPORTS)
"""Of a commit or of a job, and of no image."""
_MOST_BYTES = 1_000_000  # of a .dockerignore or a Dockerfile
_FORM = "1"
"""Which form of the hash this is: another one gives every image another tag."""


class Content(NamedTuple):
    """The sources of one image."""

    folder: Path
    """Where BuildKit finds them."""
    tag: str
    files: int
    size: int
    """In bytes."""

    def __str__(self) -> str:
        return f"{self.files} files, {self.size:,} bytes"


def lay_out(options: Options, target: Path) -> Content:
    """Copy what the build may see into the empty folder `target`, and name it.

    Times and owners do not count, and of the rights of a file only whether it can be executed: what a checkout gives
    files depends on the runner. Raises ImageSourcesUnusable, or OutsideRepository.
    """
    source = Path(options.context)
    repository.require(source)
    if not source.is_dir():
        raise ImageSourcesUnusable(f"there is no folder {options.context!r} here")
    if not (source / options.dockerfile).is_file():
        raise ImageSourcesUnusable(f"there is no {options.dockerfile} in {options.context}")
    settings = [_FORM, options.platform, options.target, options.dockerfile, sorted(options.build_args.items())]
    digest = hashlib.sha256(json.dumps(settings).encode())
    count, size = 0, 0
    for name in sorted(_seen(source, options.dockerfile)):
        path, copied = source / name, target / name
        if not path.is_symlink() and path.is_dir():
            continue
        copied.parent.mkdir(parents=True, exist_ok=True)
        digest.update(json.dumps([name, *_copy(path, copied)]).encode())
        count, size = count + 1, size + copied.lstat().st_size
    return Content(target, f"content-{digest.hexdigest()[:40]}", count, size)


def base_registries(options: Options, region: str) -> list[str]:
    """The registries of ECR in the region that a Dockerfile names, such as that of AWS's deep learning containers."""
    import re

    text = _text(Path(options.context) / options.dockerfile)
    return sorted(set(re.findall(rf"\b\d{{12}}\.dkr\.ecr\.{re.escape(region)}\.amazonaws\.com(?:\.cn)?", text)))


def _seen(source: Path, dockerfile: str) -> set[str]:
    """What `.dockerignore` leaves, as paths relative to `source`. BuildKit takes `<Dockerfile>.dockerignore` first."""
    try:
        from docker.utils import build
    except ImportError:
        raise BuilderMissing(
            "Docker's SDK for Python, which reads .dockerignore, is not in the image of the job",
            hint="Leave out the input `image`: the component's own has it. Else install it into yours.",
        ) from None

    patterns = list(_ALWAYS_IGNORED)
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        if (source / name).exists():
            lines = (line.strip() for line in _text(source / name).splitlines())
            patterns += [line for line in lines if line and not line.startswith("#")]
            break
    try:
        return {str(path) for path in build.exclude_paths(str(source), patterns, dockerfile=dockerfile)}
    except OSError as error:
        raise ImageSourcesUnusable(f"{error.filename} cannot be read: {error.strerror}") from None


def _copy(path: Path, target: Path) -> tuple[str, str]:
    """Copy a file, or a link as a link. What of it counts: its kind and its content."""
    if path.is_symlink():
        target.symlink_to(where := os.readlink(path))  # noqa: PTH115 - as it is written
        return "link", where
    try:
        with repository.open_file(path) as file, target.open("wb") as copy:
            shutil.copyfileobj(file, copy)
    except repository.Unreadable as error:
        raise ImageSourcesUnusable(f"{path} {error}") from None
    executable = bool(path.stat().st_mode & 0o111)
    target.chmod(0o755 if executable else 0o644)
    with target.open("rb") as file:
        return ("program" if executable else "file"), hashlib.file_digest(file, "sha256").hexdigest()


def _text(path: Path) -> str:
    try:
        return repository.read(path, _MOST_BYTES).decode("utf-8-sig", errors="replace")
    except repository.Unreadable as error:
        raise ImageSourcesUnusable(f"{path} {error}") from None
