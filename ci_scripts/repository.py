"""What belongs to the repository: commands read and write nothing outside it, whatever links it holds.

The ground floor of everything that touches a file of the consumer's. Free of heavy imports.
"""

from __future__ import annotations

import os
import stat
import sys
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

from ci_scripts.errors import OutsideRepository

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    AnyPath = str | Path


class Unreadable(Exception):
    """A file cannot be used; says why, as the end of a sentence that begins with its name."""


class Missing(Unreadable):
    """There is no such file."""


class Outside(Unreadable):
    """The file is not the repository's."""


def root(base: AnyPath = ".") -> str:
    """The repository that the folder `base` is of, links resolved: GitLab's checkout, else the clone around it.

    Without a clone, `base` is all there is.
    """
    return _root(os.path.realpath(base), os.environ.get("CI_PROJECT_DIR", ""))


@cache
def _root(base: str, checkout: str) -> str:
    if checkout and _is_in(base, os.path.realpath(checkout)):
        return os.path.realpath(checkout)
    folder = base
    while not os.path.lexists(os.path.join(folder, ".git")):  # noqa: PTH118 - answered without pathlib
        parent = os.path.dirname(folder)  # noqa: PTH120
        if parent == folder:
            return base
        folder = parent
    return folder


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def holds(path: AnyPath, base: AnyPath = ".") -> bool:
    """Whether `path`, its links resolved, lies in the repository of `base`."""
    return _is_in(os.path.realpath(path), root(base))


def require(path: AnyPath, base: AnyPath = ".") -> None:
    """Raise OutsideRepository when `path` leads out of the repository."""
    if not holds(path, base):
        raise OutsideRepository(f"{path} leads out of the repository, to {os.path.realpath(path)}")


def open_file(path: AnyPath, base: AnyPath = ".") -> BinaryIO:
    """A regular file of the repository, for reading. Raises Unreadable; a named pipe is not waited for."""
    if not holds(path, base):
        raise Outside("leads out of the repository")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Missing("is a link to a file that is missing" if os.path.islink(path) else "is missing") from None  # noqa: PTH114
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise Unreadable("is a folder, not a file" if stat.S_ISDIR(mode) else "is not a regular file")
    return os.fdopen(descriptor, "rb")


def read(path: AnyPath, most: int, base: AnyPath = ".") -> bytes:
    """The content of a regular file of the repository, of at most `most` bytes. Raises Unreadable."""
    try:
        with open_file(path, base) as file:
            content = file.read(most + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise Unreadable(f"is larger than {most:,} bytes")
    return content


def write(path: AnyPath, content: bytes, base: AnyPath = ".") -> None:
    """Write a file anew. Raises OutsideRepository when its folder is elsewhere; a link in its place is replaced."""
    require(os.path.dirname(path) or ".", base)  # noqa: PTH120
    remove(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def remove(path: AnyPath) -> None:
    """Remove a file, or a link itself, that may be missing. Raises OutsideRepository for what cannot be removed."""
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutsideRepository(
            f"{path} cannot be replaced: {'it is a folder' if os.path.isdir(path) else error.strerror}",  # noqa: PTH112
            hint="This name belongs to a file that sagemaker-ci writes: remove or rename what is there.",
        ) from None


def leave_no_bytecode() -> None:
    """Import the repository's own modules without a `__pycache__` beside them.

    Python takes bytecode for current when size and second of the source are the same, so a change made within a second
    would not count; and uploads of a folder would hold files that no commit has.
    """
    sys.dont_write_bytecode = True


def share_name(package: ModuleType, folder: AnyPath) -> None:
    """Let what the repository keeps under the name of `package`, below `folder`, be imported beside its own modules.

    Whichever of two packages of one name comes first hides the other: the modules of `package` stay, and those of the
    repository are looked for after them.
    """
    own = os.path.join(folder, package.__name__)  # noqa: PTH118 - as the rest of this file, without pathlib's import
    if os.path.isdir(own) and own not in package.__path__:  # noqa: PTH112
        package.__path__.append(own)
