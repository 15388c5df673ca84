"""What a release consists of besides the images: the wheel, and what installs exactly it and nothing else.

A requirements file is the image's own with the wheel and its hash put first, so that one command installs the package
where no image can be pulled; `install_from` of the components runs it:

    SMCI_INSTALL_FROM=https://gitlab.example.com/api/v4/projects/mlops%2Fsagemaker-components
    pip install --require-hashes --requirement $SMCI_INSTALL_FROM/packages/generic/sagemaker-ci/$VERSION/requirements-deploy.txt
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
IMAGES = ("deploy", "training")


def build(root: Path, folder: Path) -> None:
    """Write the release's files to `folder`, which must not hold any yet. Raises ReleaseError."""
    version = versions.current(root)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ReleaseError(f"{folder} is not empty")
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir",
         str(folder.resolve()), str(root))  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    for image in IMAGES:
        file = folder / f"requirements-{image}.txt"
        file.write_text(requirements(version, wheel, (root / "requirements" / f"{image}.txt").read_text()))
        bill = folder / f"bill-of-materials-{image}.cdx.json"
        cyclonedx = str(Path(sys.executable).with_name("cyclonedx-py"))
        options = ["--no-validate", "--output-reproducible", "--pyproject", str(root / "pyproject.toml")]
        _run(cyclonedx, "requirements", *options, "--output-file", str(bill), str(file))
    for file in sorted(folder.iterdir()):
        print(f"{digest(file)}  {file.name}")


def requirements(version: str, wheel: Path, pinned: str) -> str:
    """A requirements file for the wheel and everything it needs, each with its hashes."""
    # pip puts the variable in. The address of the file itself, so that no index has to be asked for this name.
    address = f"${{SMCI_INSTALL_FROM}}/packages/generic/{NAME}/{version}/{wheel.name}"
    return (
        f"# {NAME} {version} and all it needs. SMCI_INSTALL_FROM: API address of the project that published it.\n"
        f"{NAME} @ {address} \\\n    --hash=sha256:{digest(wheel)}\n{pinned}"
    )


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(program: str, *arguments: str) -> None:
    if shutil.which(program) is None:
        raise ReleaseError(f"{Path(program).name} is not installed; see requirements/release.txt")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{Path(program).name} failed\n{done.stdout}{done.stderr}")
