"""What a release consists of besides the images: the wheel, and what installs exactly it and nothing else.

A requirements file is the image's own with the wheel put first, by address and hash: no index is asked for it.
`install_from` of the components installs it where no image can be pulled:

    export SMCI_INSTALL_FROM=https://gitlab.example.com/api/v4/projects/mlops%2Fsagemaker-components
    pip install --require-hashes --requirement \\
      $SMCI_INSTALL_FROM/packages/generic/sagemaker-ci/1.2.3/sagemaker-ci-1.2.3-requirements.txt
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from release import versions
from release.versions import ReleaseError

NAME = "sagemaker-ci"
SUFFIXES = {"deploy": ""} | {name: f"-{name}" for name in ("training-sdk-v3", "training-sdk-v2", "image-build")}
"""Image → what the names of its files have after name and version."""


def build(root: Path, folder: Path) -> None:
    """Write the release's files to `folder`, which must not hold any yet. Raises ReleaseError."""
    version = versions.current(root)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ReleaseError(f"{folder} is not empty")
    _run(root, sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder.resolve()))
    (wheel,) = folder.glob("*.whl")
    for image, suffix in SUFFIXES.items():
        pinned = root / "requirements" / f"{image}.txt"
        file = folder / f"{NAME}-{version}{suffix}-requirements.txt"
        file.write_text(requirements(version, wheel, pinned.read_text()))
        bill = folder / f"{NAME}-{version}{suffix}.cdx.json"
        cyclonedx = str(Path(sys.executable).with_name("cyclonedx-py"))
        options = ["--no-validate", "--output-reproducible", "--pyproject", str(root / "pyproject.toml")]
        _run(root, cyclonedx, "requirements", *options, "--output-file", str(bill.resolve()), str(pinned))
    for file in sorted(folder.iterdir()):
        print(f"{digest(file)}  {file.name}")


def requirements(version: str, wheel: Path, pinned: str) -> str:
    """A requirements file for the wheel and everything it needs, each with its hashes. pip fills in the variable."""
    address = f"${{SMCI_INSTALL_FROM}}/packages/generic/{NAME}/{version}/{wheel.name}"
    return (
        f"# {NAME} {version} and all it needs, for: pip install --require-hashes\n"
        f"{NAME} @ {address} \\\n    --hash=sha256:{digest(wheel)}\n{pinned}"
    )


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(root: Path, program: str, *arguments: str) -> None:
    if shutil.which(program) is None:
        raise ReleaseError(f"{Path(program).name} is not installed; see requirements/release.txt")
    done = subprocess.run([program, *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{Path(program).name} failed\n{done.stdout}{done.stderr}")
