"""Seed archives: from a ZIP file's bytes to the actions of one commit. Pure; refuses what a repository cannot hold."""

from __future__ import annotations

import base64
import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from .reasons import CheckinFailed

MAX_FILES = 1000
# GitLab admits three commits of more than 20 MB in half a minute: https://docs.gitlab.com/api/commits/
MAX_BYTES = 20_000_000
CI_FILE = ".gitlab-ci.yml"
_UTF8_NAME, _ENCRYPTED = 0x800, 0x1
_UNIX = 3
_INVISIBLE = (*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF)
_COMPONENT = re.compile(
    rb"""^([ -]*component:\s*["']?\$CI_SERVER_FQDN/)mlops/sagemaker-components(/[\w-]+@)[^\s"'#]+""", re.MULTILINE
)

_REGISTRY = re.compile(
    rb"""^([ -]*image_registry:\s*["']?\$CI_REGISTRY/)mlops/sagemaker-components(?=[\s"'#]|$)""", re.MULTILINE
)


class SeedFile(NamedTuple):
    path: str
    content: bytes
    executable: bool


def read(archive: bytes) -> list[SeedFile]:
    """Every file of the archive. Raises CheckinFailed for one that is damaged, too large or holds an unfit file."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            files = _files(opened)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise CheckinFailed(f"it is not a sound ZIP archive ({error})") from error
    if CI_FILE not in {file.path for file in files}:
        raise CheckinFailed(f"it has no {CI_FILE} at its top")
    return files


def _files(archive: zipfile.ZipFile) -> list[SeedFile]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MAX_FILES:
        raise CheckinFailed(f"it holds {len(entries)} files, at most {MAX_FILES} are taken")
    # zipfile reads no more of an entry than its header promises, so this also holds against a ZIP bomb.
    size = sum(entry.file_size for entry in entries)
    if size > MAX_BYTES:
        raise CheckinFailed(f"its files have {size:,} bytes, at most {MAX_BYTES:,} are taken")
    files: dict[str, SeedFile] = {}
    for entry in entries:
        path = _checked(_name(entry), entry)
        if path in files:
            raise CheckinFailed(f"it holds {path!r} twice")
        files[path] = SeedFile(path, archive.read(entry), bool(_mode(entry) & stat.S_IXUSR))
    return list(files.values())


def _name(entry: zipfile.ZipInfo) -> str:
    """The entry's name as text, which is what GitLab's API takes.

    Without the UTF-8 flag it is whatever bytes the tool wrote: on Unix those of the file system (UTF-8, else taken as
    Latin-1), elsewhere code page 437, as the ZIP specification says.
    """
    if entry.flag_bits & _UTF8_NAME:
        return entry.filename
    try:
        raw = entry.orig_filename.encode("cp437")
        return raw.decode()
    except UnicodeEncodeError:  # the name came from the entry's Unicode extra field
        return entry.filename
    except UnicodeDecodeError:
        return raw.decode("latin-1") if entry.create_system == _UNIX else entry.filename


def _checked(path: str, entry: zipfile.ZipInfo) -> str:
    parts = path.split("/")
    kind = stat.S_IFMT(_mode(entry))
    if path.startswith("/") or {"", ".", ".."} & set(parts):
        problem = "its path leads out of the repository"
    elif any(_is_dot_git(part) for part in parts):
        problem = "git keeps that name for itself"
    elif "\\" in path or any(ord(character) < 0x20 or ord(character) == 0x7F for character in path):
        problem = "its name has a backslash or a control character"
    elif kind not in (0, stat.S_IFREG):
        problem = "it is a link or a device"
    elif entry.flag_bits & _ENCRYPTED:
        problem = "it is encrypted"
    else:
        return path
    raise CheckinFailed(f"its file {path!r} is refused: {problem}")


def _is_dot_git(part: str) -> bool:
    """Whether some file system takes the name for `.git`: what git itself refuses.

    macOS leaves out invisible characters; Windows dots and spaces at the end, and what follows a colon, and has a short
    name for it. https://github.com/git/git/blob/master/path.c (is_ntfs_dotgit), utf8.c (is_hfs_dotgit)
    """
    visible = part.translate(dict.fromkeys(_INVISIBLE)).casefold()
    return visible.partition(":")[0].rstrip(". ") in (".git", "git~1")


def _mode(entry: zipfile.ZipInfo) -> int:
    return entry.external_attr >> 16 if entry.create_system == _UNIX else 0


def fill_in(files: Iterable[SeedFile], component_path: str, component_version: str) -> list[SeedFile]:
    """The files, with the component project's path and version in `.gitlab-ci.yml`: where it includes components, and
    where their images come from. A registry's paths are in lower case, whatever the project's is.
    """
    path, registry, version = component_path.encode(), component_path.lower().encode(), component_version.encode()

    def filled(content: bytes) -> bytes:
        content = _COMPONENT.sub(lambda match: match[1] + path + match[2] + version, content)
        return _REGISTRY.sub(lambda match: match[1] + registry, content)

    return [file._replace(content=filled(file.content)) if file.path == CI_FILE else file for file in files]


def actions(files: Iterable[SeedFile]) -> list[dict[str, Any]]:
    """The actions of the commit, as https://docs.gitlab.com/api/commits/ takes them."""
    return [
        {
            "action": "create",
            "file_path": file.path,
            "content": base64.b64encode(file.content).decode(),
            "encoding": "base64",
            "execute_filemode": file.executable,
        }
        for file in files
    ]
