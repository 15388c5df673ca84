"""Builds the archive of a Lambda function or a seed: `python infra/archive.py pipeline_trigger --output dist`.

Prints the archive's path and SHA-256. The same sources and the same Python give the same bytes, and the name carries
their hash: CloudFormation updates a function only when the key of its code changes.
"""

from __future__ import annotations

import argparse
import hashlib
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FUNCTIONS = Path(__file__).parent / "functions"
SEEDS = {name: Path(__file__).parents[1] / name for name in ("seed-build", "seed-deploy")}
SHARED = "gitlab_secrets"  # the package that both functions have
RUNTIME = "3.13"  # that of the functions in project.yml and trigger.yml
_NOT_SHIPPED = ("requirements.in", "requirements.txt")


def build(name: str, output: Path) -> Path:
    """Write the archive of one function or seed into `output`; its path. Raises CalledProcessError when pip fails."""
    with tempfile.TemporaryDirectory() as folder:
        entries = _seed(SEEDS[name]) if name in SEEDS else _function(name, Path(folder))
        archive = _write(entries, Path(folder) / "archive.zip")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        output.mkdir(parents=True, exist_ok=True)
        target = output / f"{name}-{digest[:16]}.zip"
        target.write_bytes(archive.read_bytes())
    return target


def _function(name: str, libraries: Path) -> dict[str, Path]:
    _install(FUNCTIONS / name / "requirements.txt", libraries)
    entries = _entries(libraries, keep_out={"bin"})
    for package in (name, SHARED):
        files = _entries(FUNCTIONS / package, keep_out=set(_NOT_SHIPPED))
        entries |= {f"{package}/{path}": file for path, file in files.items()}
    return entries


def _seed(source: Path) -> dict[str, Path]:
    # git knows what belongs to the seed, and what a test run or an editor left there, or somebody's own notes.
    command = ["git", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if listing.returncode or not listing.stdout:
        return _entries(source, keep_out=set())  # an unpacked release: nobody has worked in it
    return {name: source / name for name in listing.stdout.split("\0") if (source / name).is_file()}


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
            entry.external_attr = (0o100755 if path.stat().st_mode & stat.S_IXUSR else 0o100644) << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return target


def main() -> int:
    functions = sorted(path.parent.name for path in FUNCTIONS.glob("*/requirements.txt"))
    parser = argparse.ArgumentParser(description="Build the archive of a Lambda function or a seed.")
    parser.add_argument("name", choices=[*functions, *SEEDS])
    parser.add_argument(
        "--output", type=Path, default=Path("dist"), help="folder for the archive (default %(default)s)"
    )
    arguments = parser.parse_args()
    archive = build(arguments.name, arguments.output)
    print(archive, hashlib.sha256(archive.read_bytes()).hexdigest())
    return 0


if __name__ == "__main__":
    sys.exit(main())
