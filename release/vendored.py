"""`python -m release.vendored`: fetch the scripts of the sandbox's page anew from their npm packages. Needs npm.

vendored.yml says which file of which package; a package whose content is not the one that was pinned is refused, and
tests compare the files with what is written there. To update one: its version, an empty `integrity`, `make vendor`.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "release" / "vendored.yml"
FOLDER = ROOT / "sandbox" / "console" / "static" / "vendor"


def rows() -> list[dict[str, Any]]:
    """Each vendored file: package, version, integrity of the package, path in it, and sha256 of the file."""
    table: list[dict[str, Any]] = yaml.safe_load(TABLE.read_text())
    return table


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    fetched = []
    FOLDER.mkdir(exist_ok=True)
    for row in rows():
        with tempfile.TemporaryDirectory() as folder:
            archive = _pack(f"{row['package']}@{row['version']}", Path(folder))
            integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if row["integrity"] not in ("", integrity):
                raise SystemExit(f"{row['package']} {row['version']} is not what was pinned: {integrity}")
            with tarfile.open(archive) as bundle:
                member = bundle.extractfile(f"package/{row['path']}")
                if member is None:
                    raise SystemExit(f"{row['package']} has no {row['path']}")
                target = FOLDER / row["file"]
                target.write_bytes(member.read())
        fetched.append(row | {"integrity": integrity, "sha256": sha256(target)})
    heading = "".join(line for line in TABLE.read_text().splitlines(keepends=True) if line.startswith("#"))
    TABLE.write_text(heading + yaml.safe_dump(fetched, sort_keys=False, width=120))


def _pack(package: str, folder: Path) -> Path:
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", str(folder), package], check=True)
    [archive] = folder.glob("*.tgz")
    return archive


if __name__ == "__main__":
    main()
