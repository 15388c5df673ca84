"""Versions: how they are written, how they compare, and every place of this project that names its own."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

SOURCE = Path("ci_scripts/__init__.py")
"""The one place the version comes from; everywhere else repeats it for readers."""

_NUMBER = r"(?:0|[1-9]\d*)"
PATTERN = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-(?:alpha|beta|rc)\.{_NUMBER})?"
"""Semantic versions, with the pre-releases that Python knows, too: the wheel carries the same version."""

# Where the version is written: at a component, an image, the package or one of its files; elsewhere a comment says so.
_COMMENT = r"[`'\"]* *(?:#|<!--) the version of this project\b"
_MENTIONS = [
    re.compile(rf"(?P<before>{before})(?P<version>{PATTERN})(?!\.?\d){after}")
    for before, after in (
        (r'\b__version__ = "', ""),
        (r"sagemaker-components(?:/[\w-]+)?[@:]", ""),
        (r"/(?:deploy|training-sdk-v\d):", ""),
        (r"\bsagemaker[-_]ci(?:==|[-/ ])", ""),
        (r"(?<![\w.])", rf"(?={_COMMENT})"),
    )
]

# History and what is not ours may name any version.
_ELSEWHERE = re.compile(
    r"CHANGELOG\.md|(.*/)?requirements[^/]*\.(in|txt)|requirements/.*|(tests|bench|release|sandbox)/.*|\.[^/]+/.*"
)


class ReleaseError(Exception):
    """A release that cannot be; the message says why."""


class Mention(NamedTuple):
    """A place where the version stands. `path` is relative to the project, `line` counts from 1."""

    path: Path
    line: int
    version: str


def key(version: str) -> tuple[int, int, int, str, int]:
    """What versions are ordered by: a pre-release comes before its release. Raises ReleaseError."""
    if not re.fullmatch(PATTERN, version):
        raise ReleaseError(f"{version or 'an empty VERSION'} is not a version such as 1.2.3 or 1.2.3-rc.1")
    numbers, _, pre = version.partition("-")
    major, minor, patch = map(int, numbers.split("."))
    kind, _, number = pre.partition(".")
    return major, minor, patch, kind or "~", int(number or 0)  # "~" sorts after every letter


def current(root: Path) -> str:
    """The version of the project as it stands. Raises ReleaseError."""
    mentioned = mentions_in((root / SOURCE).read_text(encoding="utf-8"))
    if len(mentioned) != 1:
        raise ReleaseError(f"{SOURCE} does not name one version")
    return mentioned[0][1]


def files(root: Path) -> list[Path]:
    """The files that may name the version, relative to `root`: what git tracks of the product and its pages."""
    listed = git(root, "ls-files", "-z").split("\0")
    return [Path(name) for name in listed if name and not _ELSEWHERE.fullmatch(name) and (root / name).is_file()]


def mentions_in(text: str) -> list[tuple[int, str]]:
    """Line and version of every mention in a text."""
    versions = {match.start("version"): match["version"] for pattern in _MENTIONS for match in pattern.finditer(text)}
    return [(text.count("\n", 0, position) + 1, version) for position, version in sorted(versions.items())]


def mentions(root: Path) -> list[Mention]:
    """Every place that names the version."""
    texts = {path: _text(root / path) for path in files(root)}
    return [Mention(path, *place) for path, text in texts.items() for place in mentions_in(text)]


def replaced(text: str, version: str) -> str:
    """The text with every mention changed to `version`."""
    for pattern in _MENTIONS:
        text = pattern.sub(lambda match: match["before"] + version, text)
    return text


def git(root: Path, *arguments: str) -> str:
    """Run git. Raises ReleaseError with its message."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")
