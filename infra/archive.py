"""Builds the archive of a Lambda function: `python infra/archive.py pipeline_trigger --output dist`.

Prints the archive's path and SHA-256. The same sources and the same Python give the same bytes, and the name carries
their hash: CloudFormation updates a function only when the key of its code changes.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FUNCTIONS = Path(__file__).parent / "functions"
RUNTIME = "3.13"  # as trigger.yml says
_NOT_SHIPPED = ("requirements.in", "requirements.txt")


def build(function: str, output: Path) -> Path:
    """Write the archive of one function into `output`; its path. Raises CalledProcessError when pip fails."""
    source = FUNCTIONS / function
    with tempfile.TemporaryDirectory() as folder:
        libraries = Path(folder)
        _install(source / "requirements.txt", libraries)
        entries = _entries(libraries, keep_out={"bin"})
        entries |= {f"{function}/{name}": path for name, path in _entries(source, keep_out=set(_NOT_SHIPPED)).items()}
        archive = _write(entries, libraries / "archive.zip")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        output.mkdir(parents=True, exist_ok=True)
        target = output / f"{function}-{digest[:16]}.zip"
        target.write_bytes(archive.read_bytes())
    return target


def _install(requirements: Path, target: Path) -> None:
    # Wheels for any platform only: one archive runs on every processor of Lambda, and here.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), "--no-deps", "--no-compile"]
    command += ["--platform", "any", "--implementation", "py", "--abi", "none", "--python-version", RUNTIME]
    command += ["--only-binary", ":all:", "--require-hashes", "--requirement", str(requirements)]
    command += ["--disable-pip-version-check"]
    subprocess.run(command, check=True, stdout=sys.stderr)


def _entries(folder: Path, keep_out: set[str]) -> dict[str, Path]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    named = {path.relative_to(folder).as_posix(): path for path in files}
    # RECORD lists the programs in bin, which name the Python that installed them.
    return {
        name: path
        for name, path in named.items()
        if name.split("/")[0] not in keep_out and not name.endswith(".dist-info/RECORD")
    }


def _write(entries: dict[str, Path], target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(entries.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the archive of a Lambda function.")
    parser.add_argument("function", choices=sorted(path.name for path in FUNCTIONS.iterdir() if path.is_dir()))
    parser.add_argument(
        "--output", type=Path, default=Path("dist"), help="folder for the archive (default %(default)s)"
    )
    arguments = parser.parse_args()
    archive = build(arguments.function, arguments.output)
    print(archive, hashlib.sha256(archive.read_bytes()).hexdigest())
    return 0


if __name__ == "__main__":
    sys.exit(main())
