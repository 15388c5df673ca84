"""Archives of others, unpacked without leaving their folder."""

from __future__ import annotations

import tarfile
from pathlib import Path


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Extract every member into `folder`. Raises TarError for one that would be written, or would point, outside of it.

    `extractall(filter="data")` does the same since Python 3.11.4, which Debian 12 does not have.
    """
    inside = folder.resolve()
    for member in archive:
        path = inside / member.name
        target = inside / member.linkname if member.islnk() else path.parent / member.linkname
        places = [path, target] if member.islnk() or member.issym() else [path]
        if member.isdev() or not all(place.resolve().is_relative_to(inside) for place in places):
            raise tarfile.ExtractError(f"{member.name!r} leads out of the archive's folder")
        archive.extract(member, folder, set_attrs=False)
